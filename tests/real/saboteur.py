"""An HTTP proxy before a server that can answer in its stead, lose its answers, or be away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

Matches = Callable[[str, str, bytes], bool]
"""Whether a request is meant: by method, path and body."""


@dataclass(frozen=True)
class Reply:
    """An answer of the proxy itself."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Mischief:
    """What happens to the next requests that match."""

    matches: Matches
    times: int
    reply: Reply | None = None
    """Given instead of asking the server; None: the server is asked, and its answer is lost."""


@dataclass
class Saboteur:
    """Forwards HTTP to *target* (``host:port``) but for the mischief. Each request has a connection of its own."""

    target: str
    hold_s: float = 0.0
    """How long a client whose answer is lost is kept waiting before its connection is cut."""
    mischief: list[Mischief] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request."""
    _server: ThreadingHTTPServer | None = None
    _closed: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> Self:
        saboteur = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Nothing: a test reads no access log."""

            def handle_any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                saboteur.seen.append((self.command, self.path))
                struck = saboteur.strike(self.command, self.path, body)
                if struck is not None and struck.reply is not None:
                    self._answer(struck.reply.status, list(struck.reply.headers), struck.reply.body)
                    return
                status, headers, answer = saboteur.forward(self.command, self.path, body, list(self.headers.items()))
                if struck is not None:
                    saboteur._closed.wait(saboteur.hold_s)
                    self.close_connection = True
                    return
                self._answer(status, headers, answer)

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in headers:
                        if name.lower() not in {"content-length", "connection", "transfer-encoding", "date", "server"}:
                            self.send_header(name, value)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(body)

            def __getattr__(self, name: str) -> Callable[[], None]:
                # The server looks for do_GET and its like.
                if name.startswith("do_"):
                    return self.handle_any
                raise AttributeError(name)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    @property
    def at(self) -> str:
        """``host:port`` of the proxy."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.at}"

    def strike(self, method: str, path: str, body: bytes) -> Mischief | None:
        """The mischief that this request meets, counted down."""
        with self._lock:
            for each in self.mischief:
                if each.times > 0 and each.matches(method, path, body):
                    each.times -= 1
                    return each
        return None

    def forward(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's own answer."""
        connection = HTTPConnection(self.target, timeout=30)
        try:
            connection.request(method, path, body, dict(headers) | {"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def leave(self) -> None:
        """Nobody listens any more."""
        self._closed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    close = leave

    async def aleave(self) -> None:
        await asyncio.to_thread(self.leave)
