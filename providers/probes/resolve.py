"""Addresses of names, by the system's resolver, remembered for a short time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

TTL_S = 30.0
THREADS = 16
MOST_ADDRESSES = 4


class Resolver:
    """``getaddrinfo`` on threads of its own, one look-up per name at a time; failures are not remembered."""

    def __init__(self, *, ttl_s: float = TTL_S, clock: Callable[[], float] = monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._asked: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._threads: ThreadPoolExecutor | None = None

    async def look_up(self, host: str) -> tuple[str, ...]:
        """Addresses of *host*, at most four, in the system's order. Raises OSError when there are none."""
        known = self._known.get(host)
        if known is not None and known[0] > self._clock():
            return known[1]
        asked = self._asked.get(host)
        if asked is None:
            if self._threads is None:
                # The loop's own executor is shared and small: a hung DNS server must not stop other work.
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")
            asked = asyncio.get_running_loop().run_in_executor(self._threads, _addresses, host)
            asked.add_done_callback(lambda done: self._learn(host, done))
            self._asked[host] = asked
        return await asyncio.shield(asked)

    def only(self, host: str) -> str | None:
        """The address of *host*, when it is known now and there is just one."""
        known = self._known.get(host)
        return known[1][0] if known is not None and len(known[1]) == 1 and known[0] > self._clock() else None

    def close(self) -> None:
        """Let go of the threads; a look-up that hangs is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _learn(self, host: str, done: asyncio.Future[tuple[str, ...]]) -> None:
        self._asked.pop(host, None)
        if not done.cancelled() and done.exception() is None:
            self._known[host] = (self._clock() + self._ttl_s, done.result())


def _addresses(host: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))[:MOST_ADDRESSES]
