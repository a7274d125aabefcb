"""An HTTP server on loopback that keeps state in memory, for wire servers: one answer at a time, no connection kept.

What goes wrong on the way is part of it: a request may meet mischief, and the server may go away altogether.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from real.saboteur import Mischief, Reply


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Answers requests by ``answer``. ``effects`` counts the writes that have changed something."""

    def __init__(self) -> None:
        self.effects = 0
        self.seen: list[Request] = []
        self.mischief: list[Mischief] = []
        self._away = False
        self._lock = threading.Lock()
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Nothing: a test reads no access log."""

            def do_GET(self) -> None:
                self.close_connection = True
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                reply = wire._reply(Request(self.command, self.path, dict(self.headers.items()), body))
                if reply is None:
                    return
                with contextlib.suppress(OSError):
                    self.send_response(reply.status)
                    for name, value in reply.headers:
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(reply.body)))
                    self.send_header("connection", "close")
                    self.end_headers()
                    self.wfile.write(reply.body)

            do_POST = do_GET  # noqa: N815 - the server looks for this name
            do_PUT = do_GET  # noqa: N815
            do_DELETE = do_GET  # noqa: N815
            do_HEAD = do_GET  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.02}, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: Request) -> Reply:
        """What the server says. One request at a time."""
        raise NotImplementedError

    def leave(self) -> None:
        """Nobody listens any more."""
        if not self._away:
            self._away = True
            if self._thread.ident is not None:  # else shutdown would wait for ever
                self._server.shutdown()
            self._server.server_close()

    close = leave

    def _reply(self, request: Request) -> Reply | None:
        """None: the connection is cut without an answer."""
        with self._lock:
            if self._away:
                return None
            self.seen.append(request)
            struck = self._strike(request)
            if struck is not None and struck.reply is not None:
                return struck.reply
            reply = self.answer(request)
            return None if struck is not None else reply

    def _strike(self, request: Request) -> Mischief | None:
        for each in self.mischief:
            if each.times > 0 and each.matches(request.method, request.path, request.body):
                each.times -= 1
                return each
        return None
