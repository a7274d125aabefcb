"""The stage of one history: simulated time, what is still to happen, chance, and the story so far.

Everything that happens comes from one ``random.Random(seed)``: the same seed is the same history, event by event.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from runbooks.simulate.facts import Fact

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
KEPT = 400
"""Lines of the story that are kept where nobody reads along."""

_T = TypeVar("_T")


class Stage:
    """Simulated time and chance. Things happen one after another; nothing happens at the same time."""

    def __init__(self, seed: int, *, whole: bool = False) -> None:
        self.seed = seed
        self.rng = Random(seed)  # noqa: S311  a history is replayed from its seed; nothing is kept secret with it
        self.now = 0.0
        """Seconds since the history began; true time, which nobody in it can read."""
        self.skew_s = 0.0
        """How far the server's clock is from true time."""
        self.events = 0
        self.calm = False
        """No more faults: what is under way comes to its end."""
        self.counts: Counter[str] = Counter()
        self.facts: list[Fact] = []
        """What the present event has done, for the invariants to look at."""
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = 0
        self._lines: deque[tuple[int, float, str, tuple[object, ...]]] = deque(maxlen=None if whole else KEPT)

    # ------------------------------------------------------------------ time

    def after(self, delay_s: float, act: Callable[..., None], *args: object) -> None:
        """Let *act* happen *delay_s* from now."""
        self._number += 1
        heapq.heappush(self._heap, (self.now + delay_s, self._number, act, args))

    def next(self) -> bool:
        """Let the next thing happen; whether there was one."""
        if not self._heap:
            return False
        self.now, _, act, args = heapq.heappop(self._heap)
        self.events += 1
        act(*args)
        return True

    def wall(self) -> datetime:
        """The server's clock, which may be stepped."""
        return BEGIN + timedelta(seconds=self.now + self.skew_s)

    # ------------------------------------------------------------------ chance

    def chance(self, probability: float) -> bool:
        """Yes, with that probability; never once it is calm."""
        return probability > 0.0 and not self.calm and self.rng.random() < probability

    def pick(self, several: Sequence[_T]) -> _T:
        """One of *several*. Cheaper than ``Random.choice``, which is asked often."""
        return several[int(self.rng.random() * len(several))]

    def between(self, least: float, most: float) -> float:
        """A number between *least* and *most*."""
        return least + (most - least) * self.rng.random()

    # ------------------------------------------------------------------ the story

    def say(self, text: str, *args: object) -> None:
        """One line of the story; put together only when somebody reads it, so *args* must not change."""
        self._lines.append((self.events, self.now, text, args))

    def count(self, what: str) -> None:
        """Something interesting has happened."""
        self.counts[what] += 1

    def tell(self, fact: Fact) -> None:
        """Something that the invariants are about has happened."""
        self.facts.append(fact)

    def these(self, kind: type[_T]) -> list[_T]:
        """What the present event has done, of one kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def story(self, last: int | None = None) -> tuple[str, ...]:
        """The story, or what was told of the *last* so many events that say anything."""
        numbers = sorted({number for number, *_ in self._lines})
        since = numbers[-last] if last is not None and len(numbers) > last else 0
        return tuple(
            f"{number:5d}  {now:8.2f} s  {text.format(*args)}"
            for number, now, text, args in self._lines
            if number >= since
        )
