"""Readiness of sockets that live for one exchange: one epoll for all of them, which the event loop watches as a whole.

A loop's own reader costs eight system calls and two objects for each socket, as much as the check itself.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Protocol

MOST_AT_ONCE = 512
"""Sockets that are served before the loop turns to its other work."""


class Waiting(Protocol):
    """Who waits for a socket."""

    def ready(self) -> None:
        """The socket can be written to or read from, or it failed."""
        ...


class Readiness:
    """Calls ``ready`` of whoever waits for a socket. A socket that is closed is waited for no more."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[int, Waiting] = {}

    def until_writable(self, raw: socket.socket, who: Waiting) -> None:
        """Begin to wait for *raw*."""
        self._add(raw, select.EPOLLOUT, who)

    def until_readable(self, raw: socket.socket, who: Waiting) -> None:
        """Begin to wait for *raw*, or wait for this from now on."""
        if raw.fileno() in self._waiting:
            self._started().modify(raw, select.EPOLLIN)
        else:
            self._add(raw, select.EPOLLIN, who)

    def close(self, raw: socket.socket) -> None:
        """Close *raw*; the kernel forgets that it was waited for."""
        self._waiting.pop(raw.fileno(), None)
        raw.close()

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._epoll is not None and self._loop is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._epoll = self._loop = None
        self._waiting.clear()

    def _add(self, raw: socket.socket, event: int, who: Waiting) -> None:
        self._started().register(raw, event)
        self._waiting[raw.fileno()] = who

    def _started(self) -> select.epoll:
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._epoll.fileno(), self._serve)
        return self._epoll

    def _serve(self) -> None:
        if self._epoll is None:
            return
        events = self._epoll.poll(0, MOST_AT_ONCE)
        # Looked up before any is served: a number may belong to another socket by then, and who closed his knows it.
        for who in [self._waiting[number] for number, _ in events if number in self._waiting]:
            who.ready()
