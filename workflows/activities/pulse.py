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
SILENT_S = 2.0
"""A worker that was silent for so long has been given up, and its step is done elsewhere."""
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
            due = time.monotonic() + min(every_s, max(0.0, within_s - passed))
            while (rest_s := due - time.monotonic()) > 0:
                await asyncio.sleep(min(rest_s, BEAT_S))
                self._beat(*self._found)

    async def hold(self, seconds: float) -> None:
        """Let *seconds* pass."""
        async for _ in self.turns(seconds, BEAT_S):
            pass

    async def through(self, work: Awaitable[_T]) -> _T:
        """*work*, beating while it takes its time: a slow provider is not a dead worker."""
        return (await self._timed(work))[0]

    async def fresh(self, reading: Awaitable[_T]) -> _T:
        """What *reading* found, for an act that follows from it at once; it may take its time.

        Raises Transient where this process did not run meanwhile: it finds an old answer in its hands, and somebody
        else has long gone on in its place.
        """
        found, gap_s = await self._timed(reading)
        if gap_s > SILENT_S:
            raise Transient(f"this process stood still for {gap_s:.0f} s, too long to act upon what it read: once more")
        return found

    async def _timed(self, work: Awaitable[_T]) -> tuple[_T, float]:
        """*work*, and the longest time between two beats."""
        task = asyncio.ensure_future(work)
        gap_s, last = 0.0, time.monotonic()
        try:
            while not task.done():
                self._beat(*self._found)
                await asyncio.wait([task], timeout=BEAT_S)
                now = time.monotonic()
                gap_s, last = max(gap_s, now - last), now
        finally:
            task.cancel()
        return task.result(), gap_s
