"""Small real servers on loopback that behave, and misbehave, as endpoints do."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from real.ports import free_port

Behaviour = Callable[["Site", asyncio.StreamReader, asyncio.StreamWriter, "Asked"], Awaitable[None]]


@dataclass
class Asked:
    """One request as the server saw it."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int
    sni: str | None = None


@dataclass
class Site:
    """A server whose behaviour can be changed while it runs."""

    behave: Behaviour
    address: str = "127.0.0.1"
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    context: ssl.SSLContext | None = None
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    sni: str | None = None

    @property
    def url(self) -> str:
        scheme = "https" if self.context else "http"
        return f"{scheme}://{self.address}:{self.port}"

    async def start(self) -> None:
        """Listen; the same port again after ``kill``."""
        self.port = self.port or free_port(self.address)
        if self.context is not None:
            self.context.sni_callback = lambda _socket, name, _context: setattr(self, "sni", name)
        self.server = await asyncio.start_server(self._serve, self.address, self.port, ssl=self.context)

    def kill(self) -> None:
        """Gone at once: the port refuses, open connections are reset."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in tuple(self.writers):
            writer.transport.abort()

    async def close(self) -> None:
        self.kill()
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.writers.add(writer)
        self.connections += 1
        mine = self.connections
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.split("\r\n")
                headers = {name.lower(): value for name, _, value in (row.partition(": ") for row in rest if row)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(line, headers, body, mine, self.sni)
                self.asked.append(asked)
                await self.behave(self, reader, writer, asked)
                await writer.drain()
                if headers.get("connection") == "close":
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            self.tasks.discard(task)
            writer.close()


@asynccontextmanager
async def site(behave: Behaviour, **settings: object) -> AsyncIterator[Site]:
    """A running site that is gone afterwards."""
    made = Site(behave, **settings)  # type: ignore[arg-type]  # settings are Site's own fields
    await made.start()
    try:
        yield made
    finally:
        await made.close()


def answers(status: int = 200, body: bytes = b"ok", headers: tuple[str, ...] = (), after_s: float = 0.0) -> Behaviour:
    """Answer every request alike."""

    async def behave(_site: Site, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _asked: Asked) -> None:
        if after_s:
            await asyncio.sleep(after_s)
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return behave


def says(raw: bytes, *, then: str = "wait") -> Behaviour:
    """Write *raw*, and then ``wait`` for ever, ``close``, ``reset``, or go on (``next``)."""

    async def behave(_site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _asked: Asked) -> None:
        writer.write(raw)
        await writer.drain()
        if then == "wait":
            await reader.read()
        elif then == "close":
            writer.close()
        elif then == "reset":
            reset(writer)

    return behave


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


HANGS = says(b"")


def streams(*events: object, pause_s: float = 0.0, then: str = "done", newline: str = "\n") -> Behaviour:
    """Stream *events* as chunked server-sent events, cut in awkward places; ``done`` ends with [DONE]."""

    async def behave(_site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _asked: Asked) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        text = "".join(f"data: {json.dumps(event)}{newline * 2}" for event in events)
        text = f": a comment{newline}{text}" + (f"data: [DONE]{newline * 2}" if then == "done" else "")
        data = text.encode()
        for start in range(0, len(data), 37):
            part = data[start : start + 37]
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)
        if then == "hang":
            await reader.read()
        writer.write(b"0\r\n\r\n")

    return behave


def token(text: str, finish: str | None = None) -> dict[str, object]:
    """One chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


@dataclass(frozen=True)
class Authority:
    """A certificate authority for one test."""

    directory: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def path(self) -> str:
        return str(self.directory / "ca.pem")

    def context(self, *names: str, days: float = 90.0) -> ssl.SSLContext:
        """A server's context with a certificate for *names* that expires in *days*."""
        key = ec.generate_private_key(ec.SECP256R1())
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        certificate = _build(names[0], self.certificate.subject, key, end, names).sign(self.key, hashes.SHA256())
        path = self.directory / f"{names[0]}-{days}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def authority(directory: Path) -> Authority:
    """A new authority whose certificate is in *directory*."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365)
    certificate = (
        _build("test authority", name, key, end, ())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(directory, key, certificate)


def _build(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime.datetime, names: tuple[str, ...]
) -> x509.CertificateBuilder:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=400))
        .not_valid_after(end)
    )
    if not names:
        return builder
    return builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
