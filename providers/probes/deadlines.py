"""Deadlines of exchanges, kept in one queue per duration: a timer for each probe would cost more than its answer."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Protocol


class Timed(Protocol):
    """Something that is over by itself, or has to be by a time."""

    over: bool

    def out_of_time(self) -> None:
        """The deadline has come."""
        ...


class Deadlines:
    """Calls ``out_of_time`` at a deadline, unless the thing is over by then.

    Things with the same duration come due in the order in which they were added, so that each duration needs one
    timer, set for the oldest that is not over.
    """

    def __init__(self) -> None:
        self._queues: dict[float, deque[tuple[float, Timed]]] = {}

    def add(self, item: Timed, duration_s: float, started: float) -> None:
        """Give *item* *duration_s* from *started*, which must not be before that of the item added before."""
        queue = self._queues.get(duration_s)
        if queue is None:
            queue = self._queues[duration_s] = deque()
            asyncio.get_running_loop().call_later(duration_s, self._come, duration_s)
        while queue and queue[0][1].over:
            queue.popleft()
        queue.append((started + duration_s, item))

    def _come(self, duration_s: float) -> None:
        queue = self._queues[duration_s]
        now = perf_counter()
        while queue and (queue[0][1].over or queue[0][0] <= now):
            item = queue.popleft()[1]
            if not item.over:
                item.out_of_time()
        if queue:
            # The loop's clock counts milliseconds: one more, or the timer comes before its time, again and again.
            asyncio.get_running_loop().call_later(max(0.0, queue[0][0] - now) + 0.001, self._come, duration_s)
        else:
            del self._queues[duration_s]
