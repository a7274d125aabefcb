"""One streamed completion over one connection, on asyncio and httptools alone: hundreds a second cost little."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import httptools


class RequestFailed(Exception):
    """The request did not complete; the text is one short phrase."""


class ClientConnection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.tokens = 0
        self.reusable = True
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._done: asyncio.Future[None] | None = None
        self._finished = False
        self._tail = b""

    # ------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        self._transport = None
        self._fail("reset" if isinstance(exc, ConnectionError) else "cut")

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("not HTTP")

    # ------------------------------------------------------------ httptools

    def on_body(self, body: bytes) -> None:
        # Events are counted, not read: the server sends each as a chunk of its own.
        self.tokens += body.count(b'"content"')
        self._tail = (self._tail + body)[-32:]
        if b"[DONE]" in self._tail:
            self._finished = True

    def on_message_complete(self) -> None:
        if self._parser is None or self._done is None or self._done.done():
            return
        if not self._parser.should_keep_alive():
            self.reusable = False
        status = self._parser.get_status_code()
        if status != 200:
            self._fail(f"status {status}")
        elif not self._finished:
            self._fail("incomplete")
        else:
            self._done.set_result(None)

    def _fail(self, phrase: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(RequestFailed(phrase))

    # ------------------------------------------------------------ asking

    async def complete(self, request: bytes) -> None:
        """Send *request* and wait for the last event of its stream. Raises RequestFailed."""
        if self._transport is None:
            raise RequestFailed("cut")
        self.tokens, self._finished, self._tail = 0, False, b""
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._done

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()


def completion_request(name: str, model: str, max_tokens: int, *, keep: bool) -> bytes:
    """The bytes of a streamed completion request to *name*."""
    message = {"role": "user", "content": "Is all well?"}
    body = json.dumps({"model": model, "stream": True, "max_tokens": max_tokens, "messages": [message]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {name}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    return head.encode("ascii") + body
