"""Addresses of names, by the system's resolver, remembered for a short time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

TTL_S = 30.0
STALE_S = 3600.0
"""How old an answer may be that serves while no newer one can be had (RFC 8767): a resolver that is away is no
endpoint that is down."""
PATIENCE_S = 0.1
"""How long a newer answer is waited for where an old one is at hand."""
THREADS = 256
"""They are started as they are needed. A zone whose servers are dead holds one for each of its names, for as long as
the system's resolver tries; other names must not wait behind them."""
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
        """Addresses of *host*, at most four, in the system's order. Raises OSError when there are none.

        Where the resolver does not answer, or cannot (EAI_AGAIN), the last answer serves for an hour.
        """
        known = self._known.get(host)
        if known is not None and known[0] > self._clock():
            return known[1]
        asked = self._asked.get(host) or self._ask(host)
        if known is None or known[0] + STALE_S <= self._clock():
            return await asyncio.shield(asked)
        await asyncio.wait({asked}, timeout=PATIENCE_S)
        if asked.done() and not asked.cancelled() and (asked.exception() is None or host not in self._known):
            return asked.result()
        return known[1]

    def only(self, host: str) -> str | None:
        """The address of *host*, when it is known now and there is just one."""
        known = self._known.get(host)
        return known[1][0] if known is not None and len(known[1]) == 1 and known[0] > self._clock() else None

    def close(self) -> None:
        """Let go of the threads; a look-up that hangs is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _ask(self, host: str) -> asyncio.Future[tuple[str, ...]]:
        if self._threads is None:
            # The loop's own executor is shared and small: a hung DNS server must not stop other work.
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")
        asked = self._asked[host] = asyncio.get_running_loop().run_in_executor(self._threads, _addresses, host)
        asked.add_done_callback(lambda done: self._learn(host, done))
        return asked

    def _learn(self, host: str, done: asyncio.Future[tuple[str, ...]]) -> None:
        self._asked.pop(host, None)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._known[host] = (self._clock() + self._ttl_s, done.result())
        elif not (isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN):
            self._known.pop(host, None)  # the name itself is gone, or never was


def _addresses(host: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))[:MOST_ADDRESSES]
