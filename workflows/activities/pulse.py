"""The pulse of a step under way: whoever waits for it hears that it is not dead, and what it has found so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from providers.base import Transient

Beat = Callable[..., None]
"""Called with what was found so far, at least every half second; with nothing while there is nothing to keep."""

POLL_S = 0.05
BEAT_S = 0.5
FRESH_S = 5.0
"""A worker that was silent for less than half of it has been given up, and its step is done elsewhere."""
_T = TypeVar("_T")


class Pulse:
    """The pulse of one attempt at one step."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self._found: tuple[object, ...] = ()

    def found(self, *details: object) -> None:
        """Say *details* now and with each beat to come: the undo must know them, however this attempt ends."""
        self._found = details
        self._beat(*details)

    async def turns(self, within_s: float, every_s: float = POLL_S) -> AsyncIterator[float]:
        """Turns until *within_s* are over, beating; yields the seconds that have passed."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < within_s:
            self._beat(*self._found)
            yield passed
            await asyncio.sleep(min(every_s, max(0.0, within_s - passed)))

    async def hold(self, seconds: float) -> None:
        """Let *seconds* pass."""
        async for _ in self.turns(seconds, BEAT_S):
            pass

    async def through(self, work: Awaitable[_T]) -> _T:
        """*work*, beating while it takes its time: a slow provider is not a dead worker."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                self._beat(*self._found)
                await asyncio.wait([task], timeout=BEAT_S)
        finally:
            task.cancel()
        return task.result()

    async def fresh(self, reading: Awaitable[_T]) -> _T:
        """What *reading* found, for an act that follows from it at once.

        Raises Transient where it took longer than FRESH_S: a process that was frozen meanwhile finds an old answer in
        its hands, and somebody else has long gone on in its place.
        """
        began = time.monotonic()
        found = await self.through(reading)
        took = time.monotonic() - began
        if took > FRESH_S:
            raise Transient(f"reading the world took {took:.0f} s, too long to act upon what it said: it is read again")
        return found
