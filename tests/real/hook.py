"""A user's own automation behind an HTTP hook: a real server that does a thing once for each key it is given."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answered:
    """One answer: a status, a body, headers; or something that is none."""

    status: int = 200
    body: str = '{"ok": true}'
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    """The thing is done, and the connection is cut before the answer."""
    never: bool = False
    """The thing is done, and no answer ever comes."""


@dataclass
class Automation:
    """It keeps the keys that it has seen, and what was done for them."""

    address: str = "127.0.0.1"
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)
    """By key: the body of the request that did it."""
    script: list[Answered] = field(default_factory=list)
    """The answers to come, one each; then plain good ones."""
    echo: Callable[[Asked], str] | None = None
    """What the body of each answer says."""

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            request = Asked(method, path, headers, json.loads(body) if body else None)
            self.asked.append(request)
            answer = self.script.pop(0) if self.script else Answered()
            if answer.status < 300:
                self.done.setdefault(headers.get("idempotency-key", ""), request.body)
            await self._answer(writer, answer, request)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, answer: Answered, request: Asked) -> None:
        if answer.never:
            await asyncio.Event().wait()
        if answer.lost:
            return
        text = (self.echo(request) if self.echo else answer.body).encode()
        lines = [f"{name}: {value}" for name, value in answer.headers.items()]
        head = [f"HTTP/1.1 {answer.status} Said", f"content-length: {len(text)}", "connection: close", *lines]
        writer.write("\r\n".join([*head, "", ""]).encode() + text)
        await writer.drain()


@contextlib.asynccontextmanager
async def automation() -> AsyncIterator[Automation]:
    """A server that listens until the block ends."""
    made = Automation()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await made._serve(reader, writer)
        finally:
            serving.discard(task)

    server = await asyncio.start_server(serve, made.address, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
