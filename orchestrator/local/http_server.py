"""A small HTTP/1.1 server side on asyncio and httptools: it starts in tens of milliseconds and streams cheaply."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import httptools

_BODY_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: bytes


Handler = Callable[[Request, "Connection"], Awaitable[None]]


@dataclass(eq=False)
class Connection(asyncio.Protocol):
    """One client's connection. Requests on it are answered one after the other, in order."""

    handler: Handler
    closing: Callable[[], bool]
    """Whether answers should end the connection (a drain)."""
    transport: asyncio.Transport | None = None
    _parser: httptools.HttpRequestParser = field(init=False)
    _url: bytes = b""
    _body: bytearray = field(default_factory=bytearray)
    _pending: deque[tuple[Request, bool]] = field(default_factory=deque)
    _task: asyncio.Task[None] | None = None
    _close: bool = False
    _streaming: bool = False

    def __post_init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    # ------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._task is not None:
            # The client is gone: its stream must not hold a slot.
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.answer(HTTPStatus.BAD_REQUEST, b"not HTTP\n", "text/plain", close=True)

    # ------------------------------------------------------------ httptools

    def on_message_begin(self) -> None:
        self._url = b""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > _BODY_LIMIT:
            self.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too large\n", "text/plain", close=True)

    def on_message_complete(self) -> None:
        path = self._url.split(b"?", 1)[0].decode("ascii", "replace")
        request = Request(self._parser.get_method().decode("ascii"), path, bytes(self._body))
        self._pending.append((request, self._parser.should_keep_alive()))
        self._next()

    # ------------------------------------------------------------ answers

    def _next(self) -> None:
        if self._task is not None or not self._pending or self.transport is None:
            return
        request, keep_alive = self._pending.popleft()
        self._close = not keep_alive
        self._task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            await self.handler(request, self)
        finally:
            self._task = None
            if self.transport is not None and self._close:
                self.transport.close()
        self._next()

    def answer(
        self, status: HTTPStatus, body: bytes, kind: str, *, headers: dict[str, str] | None = None, close: bool = False
    ) -> None:
        """Send a whole response."""
        if self.transport is None:
            return
        head = self._head(status, {"content-type": kind, "content-length": str(len(body))} | (headers or {}), close)
        self.transport.write(head + body)
        if close:
            self.transport.close()

    def answer_json(self, status: HTTPStatus, document: Any, *, headers: dict[str, str] | None = None) -> None:
        """Send a whole response of JSON."""
        self.answer(status, json.dumps(document).encode(), "application/json", headers=headers)

    def begin_stream(self, headers: dict[str, str]) -> None:
        """Start a chunked event stream."""
        if self.transport is not None:
            shared = {"content-type": "text/event-stream", "cache-control": "no-cache", "transfer-encoding": "chunked"}
            self.transport.write(self._head(HTTPStatus.OK, shared | headers, close=False))

    def send_event(self, data: str) -> None:
        """Send one server-sent event as a chunk of its own."""
        if self.transport is not None:
            event = f"data: {data}\n\n".encode()
            self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))

    def end_stream(self) -> None:
        if self.transport is not None:
            self.transport.write(b"0\r\n\r\n")

    def _head(self, status: HTTPStatus, headers: dict[str, str], close: bool) -> bytes:
        self._close = self._close or close or self.closing()
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        if self._close:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
