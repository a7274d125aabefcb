"""Model servers that stream tokens, and clients that read them through a proxy: who was served by whom, who was cut.

async with Upstream("eu") as eu:
    told = await stream(eu.url, tokens=20)
    assert (told.server, told.whole) == ("eu", True)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from real.ports import free_port

TOKENS, PACE_S = 40, 0.02
DONE = b"data: [DONE]"


@dataclass(frozen=True, slots=True)
class Told:
    """What one client was told."""

    server: str
    """Who served it; empty: nobody."""
    whole: bool
    """The stream came to its end."""
    began: float
    ended: float
    """By ``time.perf_counter``."""


@dataclass
class Upstream:
    """An HTTP server whose answers are streams of server-sent tokens. A path says how many: ``/40``."""

    name: str
    port: int = field(default_factory=free_port)
    pace_s: float = PACE_S
    in_flight: int = 0
    _server: asyncio.Server | None = None
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.at}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def serving(self, count: int) -> None:
        """Wait until so many are served at once."""
        while self.in_flight < count:
            self._more.clear()
            await self._more.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The loop that ends cancels who waits for another request; nobody has to hear of that.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                tokens = int(head.split(b" ", 2)[1].rpartition(b"/")[2] or 0)
                self.in_flight += 1
                self._more.set()
                try:
                    await self._stream(writer, tokens)
                finally:
                    self.in_flight -= 1
        writer.close()

    async def _stream(self, writer: asyncio.StreamWriter, tokens: int) -> None:
        head = (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
            f"x-served-by: {self.name}\r\n\r\n"
        )
        writer.write(head.encode())
        for number in range(tokens):
            writer.write(_chunk(f"data: token {number}\n\n".encode()))
            await writer.drain()
            await asyncio.sleep(self.pace_s)
        writer.write(_chunk(DONE + b"\n\n") + b"0\r\n\r\n")
        await writer.drain()


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def stream(url: str, *, tokens: int = TOKENS, headers: str = "") -> Told:
    """Ask once, on a connection of its own, and read to the end. Never raises for what the server does."""
    parts = urlsplit(url)
    began = time.perf_counter()
    server, whole = "", False
    with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(f"GET /{tokens} HTTP/1.1\r\nhost: chat\r\n{headers}connection: close\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if head.startswith("http/1.1 200"):
                server = head.partition("x-served-by: ")[2].partition("\r\n")[0]
            body = await reader.read()
            whole = DONE in body and body.endswith(b"0\r\n\r\n") and body.count(b"token") == tokens
        finally:
            writer.close()
    return Told(server, whole, began, time.perf_counter())
