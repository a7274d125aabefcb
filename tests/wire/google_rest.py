"""What Google's REST APIs have in common: JSON over HTTP, errors of one form, and troubles on the way."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
Answer = tuple[int, str, str]
"""Status, reason and text of an error."""
Meets = Callable[[str, str], Answer | None]
"""What a request meets instead of the server: by method and path. None: nothing."""
LOST = (0, "", "")
"""The request has its effect, and its answer is lost."""


class Refusal(Exception):
    """An error answer: older APIs name a reason ("notFound"), newer ones a status ("NOT_FOUND")."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status, self.reason, self.text = status, reason, text

    @property
    def document(self) -> Json:
        error: Json = {"code": self.status, "message": self.text}
        if self.reason.isupper():
            return {"error": {**error, "status": self.reason}}
        one = {"message": self.text, "domain": "global", "reason": self.reason}
        return {"error": {**error, "errors": [one]}}


class RestServer(ABC):
    """An API on a port of loopback."""

    def __init__(self) -> None:
        self.meets: Meets = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        """Method and path of every request."""
        self.authorizations: list[str | None] = []
        """Who asked, by each request's own word."""
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @abstractmethod
    def answer(self, method: str, path: list[str], query: dict[str, str], body: Json) -> Json:
        """The answer to one request. Raises Refusal."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def leave(self) -> None:
        """Nobody listens any more, and what was connected is cut."""
        self._server.shutdown()
        self._server.server_close()
        for each in list(self._server.connected):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.connected: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connected.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self.connected.discard(request)
        super().close_request(request)

    def server_bind(self) -> None:
        # Without the look for this machine's name, which may ask a name server.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()


def _handler(server: RestServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Nothing: a test reads no access log."""

        def do_GET(self) -> None:
            self._do({})

        def do_POST(self) -> None:
            self._do(json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}"))

        do_PATCH = do_POST  # noqa: N815 - the name that the server looks for

        def _do(self, body: Json) -> None:
            server.seen.append((self.command, self.path))
            server.authorizations.append(self.headers.get("authorization"))
            met = server.meets(self.command, self.path)
            parts = urlsplit(self.path)
            path = [unquote(part) for part in parts.path.strip("/").split("/")]
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            try:
                if met is not None and met != LOST:
                    raise Refusal(*met)
                status, document = 200, server.answer(self.command, path, query, body)
            except Refusal as refusal:
                status, document = refusal.status, refusal.document
            if met == LOST:
                self.close_connection = True
                return
            said = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json; charset=UTF-8")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    return Handler
