"""When probes start: a timing wheel of ticks, slots without drift, and how late starts were."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from zlib import crc32

Item = TypeVar("Item")

FIRST_WITHIN_S = 1.0
"""A probe with a long interval starts within this time all the same: an epoch opens with an answer from everybody."""


class Wheel(Generic[Item]):
    """Items by the tick in which they are due. Starting many together costs a third of starting each alone."""

    def __init__(self, tick_s: float, *, now: float) -> None:
        self._tick_s = tick_s
        self._next = math.floor(now / tick_s)
        self._due: dict[int, list[Item]] = {}

    def add(self, due: float, item: Item) -> None:
        """Put *item* into the first tick that is not before *due*."""
        tick = math.ceil(due / self._tick_s)
        if tick < self._next:  # noqa: PLR1730 - ten thousand times a second: max() costs as much as the rest
            tick = self._next
        there = self._due.get(tick)
        if there is None:
            self._due[tick] = [item]
        else:
            there.append(item)

    def take(self, now: float) -> Iterator[Item]:
        """Everything that is due, tick by tick."""
        last = math.floor(now / self._tick_s)
        while self._next <= last:
            tick = self._next
            self._next += 1
            yield from self._due.pop(tick, ())

    @property
    def next_at(self) -> float:
        """When the next tick begins."""
        return self._next * self._tick_s


class Slots:
    """The starts of one probe: ``base + phase + n * interval``, each displaced by jitter; completion moves nothing.

    The phase comes from *key*, so that probes spread over the interval and vantages over each other.
    """

    __slots__ = ("_base", "_interval_s", "_jitter_s", "_noise", "_number", "due")

    def __init__(self, key: str, *, interval_s: float, jitter: float, now: float) -> None:
        unit = crc32(key.encode()) / 2**32
        self._interval_s = interval_s
        self._jitter_s = jitter * interval_s
        self._noise = crc32(key.encode(), 1) & 0x7FFFFFFF
        self._base = now + unit * interval_s
        self.due = now + unit * min(interval_s, FIRST_WITHIN_S)
        """When the next start is meant to be."""
        self._number = 0 if interval_s > FIRST_WITHIN_S and self._base - self.due > interval_s / 2 else 1

    def advance(self, now: float) -> int:
        """Go on to the next slot after *now*; returns how many slots were missed, which are not made up for."""
        at = self._base + self._number * self._interval_s
        missed = 0
        if at <= now:
            missed = math.floor((now - at) / self._interval_s) + 1
            at += missed * self._interval_s
        self._number += missed + 1
        self._noise = (self._noise * 1103515245 + 12345) & 0x7FFFFFFF
        self.due = at + self._jitter_s * (self._noise / 2**31)
        return missed


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late probes started, in seconds after the moment meant; the wait for the tick is part of it."""

    count: int
    p50_s: float
    p99_s: float
    most_s: float
    missed: int
    """Slots skipped because the probe before was still under way, or because the process was away."""


class LatenessMeter:
    """A histogram in milliseconds up to two seconds."""

    __slots__ = ("_bins", "_most", "missed")

    def __init__(self) -> None:
        self._bins = [0] * 2001
        self._most = 0.0
        self.missed = 0

    def add(self, late_s: float) -> None:
        if late_s > self._most:  # noqa: PLR1730 - as in Wheel.add
            self._most = late_s
        self._bins[int(late_s * 1000) if 0 <= late_s < 2 else 2000 if late_s > 0 else 0] += 1

    def read(self) -> Lateness:
        """The figures since the meter was made."""
        count = sum(self._bins)
        return Lateness(count, self._quantile(0.5, count), self._quantile(0.99, count), self._most, self.missed)

    def _quantile(self, share: float, count: int) -> float:
        seen = 0
        for milliseconds, number in enumerate(self._bins):
            seen += number
            if number and seen >= share * count:
                return milliseconds / 1000
        return 0.0
