"""A TCP proxy before a name server that loses the replies to updates, or holds updates back, on purpose."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

UPDATE = 5
"""The opcode of an update (RFC 2136, section 1.3)."""


class LossyProxy:
    """Forwards DNS over TCP to *target* ("host:port"). While ``drop`` is above 0, each reply to an update is swallowed.

    A swallowed reply has been given by the server: what was asked has happened. While ``way`` is cleared, updates
    wait on their way to the server, even when whoever sent them has gone.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.drop = 0
        self.dropped = 0
        self.held = 0
        self.answered = 0
        self.caught_up = asyncio.Event()
        """The server has answered at least as many updates as were held."""
        self.way = asyncio.Event()
        self.way.set()
        self._server: asyncio.Server | None = None
        self._onward: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def at(self) -> str:
        """``host:port`` of the proxy."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._onward:
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        onward_reader, onward_writer = await asyncio.open_connection(host, int(port))
        self._onward.append(onward_writer)
        for task in (
            asyncio.create_task(self._questions(reader, onward_writer)),
            asyncio.create_task(self._replies(onward_reader, writer)),
        ):
            self._tasks.add(task)

    async def _questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                size = await reader.readexactly(2)
                message = await reader.readexactly(int.from_bytes(size, "big"))
                if (message[2] >> 3) & 0xF == UPDATE:
                    self.held += not self.way.is_set()
                    await self.way.wait()
                writer.write(size + message)
                await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                size = await reader.readexactly(2)
                message = await reader.readexactly(int.from_bytes(size, "big"))
                update = (message[2] >> 3) & 0xF == UPDATE
                self.answered += update
                if update and self.answered >= self.held:
                    self.caught_up.set()
                if self.drop > 0 and update:
                    self.drop -= 1
                    self.dropped += 1
                    continue
                writer.write(size + message)
                await writer.drain()
        writer.close()
