"""Connections that carry exchanges: transports that may idle between two, and bare sockets that live for one."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Protocol, cast

import httptools

from orchestrator.core.topology import ProbeSpec
from providers.probes.question import Wording
from providers.probes.readiness import Readiness
from providers.probes.tls import expiry

LONGEST_LIFE_S = 90.0
"""A kept-alive connection is replaced after a third of this to all of it: new addresses and certificates show."""

LONGEST_HEAD = 64 * 1024
"""Bytes kept of status lines and header fields. An answer whose fields are longer is no HTTP that anybody serves."""
LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes after which an answer is given up: reading what never ends would keep the other probes waiting."""

FIRST_FINAL = 200
"""Answers with a status below this are interim (RFC 9110 section 15.2): another one follows."""


class Carried(Protocol):
    """What a connection carries: an exchange, told of everything that happens to it."""

    question: Question
    over: bool
    received: int
    headless: bool
    status: int
    head: bytes

    def connected(self, link: Link) -> None: ...
    def take(self, body: bytes) -> None: ...
    def complete(self, *, reusable: bool) -> None: ...
    def garbled(self) -> None: ...
    def endless(self) -> None: ...
    def lost(self, exc: Exception | None) -> None: ...


class Question(Wording):
    """One probe of one endpoint. Made by ``Probes.prepare``; it keeps at most one idle connection.

    *on_lost* is called when the peer closes or resets the idle connection: news that cost nothing to learn.
    """

    __slots__ = ("closed", "idle", "on_lost")

    def __init__(self, spec: ProbeSpec, url: str, name: str) -> None:
        super().__init__(spec, url, name)
        self.idle: Link | None = None
        self.on_lost: Callable[[], None] | None = None
        self.closed = False

    def forget_connection(self) -> None:
        """Close the idle connection; nobody is told."""
        link, self.idle = self.idle, None
        if link is not None:
            link.drop()


class Link(asyncio.Protocol):
    """One TCP or TLS connection; it carries one asking at a time and may idle between two."""

    def __init__(self, asking: Carried) -> None:
        self.asking: Carried | None = asking
        self.question = asking.question
        self.transport: asyncio.Transport | None = None
        self.expires: float | None = None
        self.retire_at = 0.0
        self._parser: httptools.HttpResponseParser | None = None
        if self.question.plain:
            # The parser makes no call for what is None, and a plain question needs neither.
            self.on_body = self.on_headers_complete = None  # type: ignore[assignment, method-assign]  # see above

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        asking = self.asking
        if asking is None or asking.over:
            self.drop()
            return
        if self.question.target.tls:
            self.expires = expiry(transport.get_extra_info("ssl_object"))
        spread = (hash((self.question.url, self.question.spec.id)) & 1023) / 1024
        self.retire_at = perf_counter() + LONGEST_LIFE_S * (1 + 2 * spread) / 3
        asking.connected(self)

    def send(self, data: bytes) -> None:
        """Send a request. The parser lives as long as the connection."""
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        if self.transport is not None:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        asking = self.asking
        if asking is None or self._parser is None:
            self._lost_idle()  # words nobody asked for: a server that says 408 or goodbye
            self.drop()
            return
        asking.received += len(data)
        if asking.status < FIRST_FINAL and len(asking.head) < LONGEST_HEAD:
            asking.head += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            asking.complete(reusable=False)
        except httptools.HttpParserError:
            if self.question.idle is self:  # a good answer, and bytes too many behind it: no connection to keep
                self.question.forget_connection()
            asking.garbled()
        if asking.received > LONGEST_HEAD:
            asking.endless()

    def connection_lost(self, exc: Exception | None) -> None:
        asking, self.asking, self.transport, self._parser = self.asking, None, None, None
        if asking is None:
            self._lost_idle()
        elif not asking.over:
            asking.lost(exc)

    def drop(self) -> None:
        """Close at once; what is under way is not told."""
        self.asking = None
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()

    def _lost_idle(self) -> None:
        question = self.question
        if question.idle is self:
            question.idle = None
            if question.on_lost is not None:
                question.on_lost()

    # What httptools calls.

    def on_headers_complete(self) -> None:
        if self.asking is not None and self._parser is not None:
            self.asking.status = self._parser.get_status_code()
            if self.asking.headless and self.asking.status >= FIRST_FINAL:
                self.asking.complete(reusable=False)

    def on_body(self, body: bytes) -> None:
        if self.asking is not None:
            self.asking.take(body)

    def on_message_complete(self) -> None:
        asking, parser = self.asking, self._parser
        if asking is None or parser is None:
            return
        status = parser.get_status_code()
        if status < FIRST_FINAL and not parser.should_upgrade():
            return
        asking.status = status
        asking.complete(reusable=parser.should_keep_alive())


class Dart(Link):
    """A plain TCP connection for one exchange, on a bare socket: a transport and its task cost as much as the check.

    Requests must fit the send buffer of a new connection; *on_failed* is told why there is no connection.
    """

    def __init__(
        self, asking: Carried, address: str, readiness: Readiness, on_failed: Callable[[OSError], None]
    ) -> None:
        super().__init__(asking)
        self._readiness = readiness
        self._on_failed = on_failed
        self._connected = False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            code = self._socket.connect_ex((address, self.question.target.port))
        except OSError as error:
            self._fail_soon(error)
            return
        if code in {0, errno.EINPROGRESS}:
            readiness.until_writable(self._socket, self)
        else:
            self._fail_soon(OSError(code, "connect"))

    def send(self, data: bytes) -> None:
        if self._socket is None:
            return
        self._parser = httptools.HttpResponseParser(self)
        try:
            if self._socket.send(data) != len(data):
                self._gone(None)
        except OSError as error:
            self._gone(error)

    def drop(self) -> None:
        self.asking = None
        raw, self._socket = self._socket, None
        if raw is not None:
            self._readiness.close(raw)

    def ready(self) -> None:
        if self._socket is None:
            return
        if self._connected:
            self._read(self._socket)
        else:
            self._take_up(self._socket)

    def _take_up(self, raw: socket.socket) -> None:
        asking = self.asking
        if asking is None:
            return
        code = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.drop()
            self._on_failed(OSError(code, "connect"))
            return
        self._connected = True
        self._readiness.until_readable(raw, self)
        asking.connected(self)

    def _read(self, raw: socket.socket) -> None:
        try:
            data = raw.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(error)
            return
        if data:
            self.data_received(data)
        else:
            self._gone(None)

    def _gone(self, error: OSError | None) -> None:
        asking = self.asking
        self.drop()
        if asking is not None and not asking.over:
            asking.lost(error)

    def _fail_soon(self, error: OSError) -> None:
        # Not at once: the asker may be starting many, one from the end of another.
        asyncio.get_running_loop().call_soon(self._on_failed, error)
