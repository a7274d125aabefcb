"""Deadlines of exchanges, kept in buckets of 10 ms: a timer of its own for each probe costs more than its answer."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter
from typing import Protocol

GRAIN_S = 0.01


class Timed(Protocol):
    """Something that has to be over by a time."""

    def out_of_time(self) -> None:
        """The deadline has come."""
        ...


class Bucket:
    """What has to be over by one moment; its timer goes when the last is taken out."""

    __slots__ = ("_items", "_number", "_owner", "_timer")

    def __init__(self, owner: Deadlines, number: int) -> None:
        self._owner = owner
        self._number = number
        self._items: set[Timed] = set()
        pause_s = number * GRAIN_S - perf_counter()
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._come)

    def add(self, item: Timed) -> None:
        self._items.add(item)

    def discard(self, item: Timed) -> None:
        """*item* is over, or has another deadline."""
        items = self._items
        items.discard(item)
        if not items:
            self._timer.cancel()
            self._owner.forget(self._number, self)

    def _come(self) -> None:
        self._owner.forget(self._number, self)
        for item in tuple(self._items):
            item.out_of_time()


class Deadlines:
    """Calls ``out_of_time`` at a deadline or at most 10 ms after it, unless taken out of its bucket before."""

    def __init__(self) -> None:
        self._buckets: dict[int, Bucket] = {}

    def add(self, at: float, item: Timed) -> Bucket:
        """Call ``item.out_of_time`` when ``perf_counter`` reaches *at*; discard it from the bucket to prevent that."""
        number = math.ceil(at / GRAIN_S)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = Bucket(self, number)
        bucket.add(item)
        return bucket

    def forget(self, number: int, bucket: Bucket) -> None:
        """*bucket* is done with."""
        if self._buckets.get(number) is bucket:
            del self._buckets[number]
