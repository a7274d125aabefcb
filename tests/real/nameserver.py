"""What the real name servers of the tests have in common: a process, a key, a zone, and questions to them."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsigkeyring
import dns.update

from real.ports import free_port

ADDRESS = "127.0.0.1"
"""Servers listen only on addresses that an interface carries; of 127.0.0.0/8 that is this one."""


async def ask(address: str, name: str, kind: str, *, timeout_s: float = 5.0) -> tuple[str, ...]:
    """Sorted values of *kind* at *name*, asked of ``address`` ("host:port") over UDP; empty where there are none.

    TXT values come joined and without quotes. Raises dns.exception.Timeout and OSError.
    """
    host, _, port = address.rpartition(":")
    query = dns.message.make_query(name, kind, flags=0)
    reply = await dns.asyncquery.udp(query, host, timeout=timeout_s, port=int(port), ignore_unexpected=True)
    wanted = dns.rdatatype.from_text(kind)
    values = [rdata for rrset in reply.answer if rrset.rdtype == wanted for rdata in rrset]
    if wanted == dns.rdatatype.TXT:
        return tuple(sorted(b"".join(rdata.strings).decode() for rdata in values))
    return tuple(sorted(rdata.to_text() for rdata in values))


@dataclass
class NameServer:
    """A name server as a process with a directory of its own. Its zone outlives stop and kill until the next start."""

    PROGRAM: ClassVar[str]
    """What it is called in its failures and in the name of its directory."""

    zone: str = "example."
    records: tuple[str, ...] = ()
    """Zone file lines beside SOA, NS and the server's own address: ``chat 5 A 127.0.1.10``."""
    key: str = "failover."
    secret: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    algorithm: str = "hmac-sha256"
    port: int = 0
    """0: a free port is found."""
    directory: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.port = self.port or free_port(ADDRESS)
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.PROGRAM}-"))

    @property
    def at(self) -> str:
        """``host:port``, as a topology writes it."""
        return f"{ADDRESS}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def prepare(self) -> tuple[str, ...]:
        """Write what the server reads at its start; return the command that runs it in the foreground."""
        raise NotImplementedError

    async def start(self, *, within_s: float = 45.0) -> None:
        """Start, and wait until the zone is served. Raises RuntimeError with the log's end when it is not."""
        try:
            command = self.prepare()
        except BaseException:
            self.close()
            raise
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220  spawning takes a millisecond and outlives the loop
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = asyncio.get_running_loop().time() + within_s
        while asyncio.get_running_loop().time() < deadline and self.process.poll() is None:
            try:
                if await ask(self.at, self.zone, "SOA", timeout_s=0.05):
                    return
            except (dns.exception.DNSException, OSError):
                pass
            await asyncio.sleep(0.01)
        said = self.log()[-2000:]
        self.close()
        raise RuntimeError(f"{self.PROGRAM} did not serve {self.zone}: {said}")

    def stop(self) -> None:
        """End it as an operator does (SIGTERM), and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: the port stays open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        """What it has said so far."""
        path = self.directory / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    async def ask(self, name: str, kind: str, *, timeout_s: float = 5.0) -> tuple[str, ...]:
        """Sorted values of *kind* at *name*, by this server's own word."""
        return await ask(self.at, name, kind, timeout_s=timeout_s)

    async def edit(self, name: str, kind: str, *values: str, ttl_s: int = 5) -> None:
        """Replace the RRset as a person with nsupdate would, with no prerequisite; no values: delete it."""
        update = dns.update.UpdateMessage(self.zone)
        update.use_tsig(dns.tsigkeyring.from_text({self.key: self.secret}), algorithm=self.algorithm)
        update.delete(dns.name.from_text(name), kind)
        for value in values:
            update.add(dns.name.from_text(name), ttl_s, kind, value)
        reply = await dns.asyncquery.tcp(update, ADDRESS, timeout=10.0, port=self.port)
        if reply.rcode() != dns.rcode.NOERROR:
            raise RuntimeError(f"{self.at} answered {dns.rcode.to_text(reply.rcode())} to an edit of {name}")

    def zone_file(self) -> Path:
        """The zone as it begins; once written it stays, for what was changed since is kept beside it."""
        path = self.directory / "zone.db"
        if not path.exists():
            lines = (
                f"$ORIGIN {self.zone}",
                "$TTL 5",
                "@ SOA ns hostmaster 1 60 5 86400 1",
                "@ NS ns",
                f"ns A {ADDRESS}",
                *self.records,
            )
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _end(self, how: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self._signal(how)
        self._signal(signal.SIGCONT)  # a frozen process takes SIGTERM only once it runs again
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
