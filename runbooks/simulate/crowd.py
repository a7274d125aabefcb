"""Many histories, on several processors: how many ran, what happened in them, and which seeds broke something."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from runbooks.simulate.history import Violation
from runbooks.simulate.telling import play

CHUNK = 250
_Chunk = tuple[int, int, tuple[tuple[str, float], ...]]
"""The first seed, how many, and the weather."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What many histories came to."""

    histories: int
    events: int
    seconds: float
    counts: Counter[str]
    violations: tuple[Violation, ...]

    def text(self) -> Iterator[str]:
        """Line by line, as it is printed."""
        for violation in self.violations:
            yield from told(violation)
            yield ""
        for what, number in sorted(self.counts.items()):
            yield f"{number:10d}  {what}"
        per = self.seconds / self.histories * 1000 if self.histories else 0.0
        yield (
            f"{self.histories} histories, {self.events} events, {self.seconds:.1f} s "
            f"({per:.2f} ms each): {len(self.violations)} broke an invariant"
        )


def told(violation: Violation) -> Iterator[str]:
    """A violation, line by line: what, the last events, and how to see it again."""
    yield f"seed {violation.seed}, event {violation.event}: {violation.invariant}: {violation.text}"
    yield from violation.story
    faults = "".join(f" --fault {name}={chance:g}" for name, chance in violation.weather)
    yield f"see it again: python -m runbooks.simulate --seed {violation.seed}{faults}"


def crowd(
    first: int,
    histories: int,
    weather: Mapping[str, float] = MappingProxyType({}),
    *,
    jobs: int = 1,
    so_far: Callable[[int, int], None] = lambda played, broken: None,
) -> Tally:
    """*histories* histories of the seeds from *first* on, by so many processes.

    *so_far* hears now and then how many were played, and how many of them broke an invariant.
    """
    begun = time.perf_counter()
    faults = tuple(sorted(weather.items()))
    chunks = [(n, min(CHUNK, first + histories - n), faults) for n in range(first, first + histories, CHUNK)]
    counts: Counter[str] = Counter()
    events, played, violations = 0, 0, list[Violation]()
    for (_, number, _), (chunk_events, chunk_counts, chunk_violations) in zip(
        chunks, _played(chunks, jobs), strict=True
    ):
        events += chunk_events
        counts.update(chunk_counts)
        violations += chunk_violations
        played += number
        so_far(played, len(violations))
    return Tally(histories, events, time.perf_counter() - begun, counts, tuple(violations))


def _played(chunks: list[_Chunk], jobs: int) -> Iterator[tuple[int, Counter[str], list[Violation]]]:
    if jobs <= 1:
        yield from map(_chunk, chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_chunk, chunks)


def _chunk(chunk: _Chunk) -> tuple[int, Counter[str], list[Violation]]:
    first, number, faults = chunk
    counts: Counter[str] = Counter()
    events, violations, weather = 0, list[Violation](), dict(faults)
    for seed in range(first, first + number):
        outcome = play(seed, weather)
        events += outcome.events
        counts.update(outcome.counts)
        if outcome.violation is not None:
            violations.append(outcome.violation)
    return events, counts, violations
