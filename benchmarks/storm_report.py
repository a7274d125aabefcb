"""What ``storm.py`` reports: its figures, its bars, and both as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FIRST_S, LAST_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class PoolUse:
    """What a shared pool came to carry."""

    capacity: int
    asked: int
    """By all that would have liked to come."""
    most_by_dns: int
    """The most at any moment, by the answers that clients got."""
    by_dns: int
    """At the end."""
    by_ledger: int | None
    """At the end, by what the governor says; None: it did not answer."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """How long it took to be ready."""

    apply_s: float
    adopt_s: float
    settle_s: float
    """From the end of apply until every service was well and adopted."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of the services."""

    services: int
    moved: int
    not_moved: dict[str, int]
    """Why, by the rules that the services name when all runs are closed; a service may name several."""
    examples: dict[str, str]
    """One sentence for each of these rules."""
    left_behind: tuple[str, ...]
    """Services that stayed though a place that they may go to has room."""
    runs: dict[str, int]
    """How runs ended."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    first_verdict_after_fault: float
    last_verdict_after_fault: float
    first_write_after_verdict: float
    first_write_after_fault: float
    last_write_after_verdict: float
    last_write_after_last_verdict: float
    last_write_after_fault: float
    writes: int
    """Updates that the name server took."""
    writes_a_second: float
    from_own_verdict: dict[str, float]
    """From a service's own verdict to its changed answer: median, p90, most."""
    written_by: dict[str, float]
    """After the first verdict: when a share of all that moved had moved."""
    longest_pause: float
    """Between two updates."""
    verdicts_by: dict[str, int]
    """How many are known by the workers' logs, and how many by a run's record alone (``detected``, a little later)."""
    stages: dict[str, tuple[float, float]]
    """After the fault, by the records: median and most of each mark."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What clients could have met."""

    empty: int
    """Updates that left a name without an answer."""
    elsewhere: int
    """Updates that sent a name to no endpoint of its service alone."""
    back: int
    """Updates that moved a name a second time."""
    generations_wrong: tuple[str, ...]
    """Services whose fence did not count exactly one more (not moved: none)."""
    unanswered: int
    """Polls that the name server left unanswered."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything."""

    settings: dict[str, Any]
    prepared: Prepared
    timing: Timing
    moved: Moved
    guard_refusals: int
    refusals: dict[str, int]
    """Every refusal in the histories of the governor and of the domains, by rule; asking again counts again."""
    pools: dict[str, PoolUse]
    outside: Outside
    closed_s: float
    """After the storm, until the last run had written its record to the end."""
    cpu_s: dict[str, float]
    """From the fault to the last write, by process."""
    cpu_window_s: float
    steady_cpu_percent: dict[str, float]
    """Of one core, before the fault."""
    complaints: dict[str, int]
    """Warnings and errors in the workers' logs since they began."""

    def bars(self) -> dict[str, bool]:
        """What has to hold, and whether it does."""
        took, out = self.timing, self.outside
        over = [n for n, p in self.pools.items() if max(p.most_by_dns, p.by_ledger or 0) > p.capacity]
        return {
            f"first write {took.first_write_after_verdict:.3f} s after the verdict < {FIRST_S:g} s": (
                took.first_write_after_verdict < FIRST_S
            ),
            f"last write {took.last_write_after_verdict:.1f} s after the verdict < {LAST_S:g} s": (
                took.last_write_after_verdict < LAST_S
            ),
            f"{self.guard_refusals} refusals by the change guard": self.guard_refusals == 0,
            f"{len(over)} pools over-promised": not over,
            f"{len(self.moved.left_behind)} services left behind": not self.moved.left_behind,
            f"{out.empty} answers empty, {out.elsewhere} elsewhere, {out.back} moved twice": (
                not out.empty and not out.elsewhere and not out.back
            ),
            f"{len(out.generations_wrong)} fences wrong": not out.generations_wrong,
        }


def text(report: Report) -> str:
    """The report as people read it."""
    return "\n".join(
        (
            *_of_services(report),
            *_of_time(report.timing),
            *_of_pools(report),
            *_of_cpu(report),
            *(f"{'holds ' if holds else 'MISSED'} {bar}" for bar, holds in report.bars().items()),
        )
    )


def _listed(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in found.items()) or "none"


def _of_services(report: Report) -> Iterator[str]:
    moved, ready = report.moved, report.prepared
    yield (
        f"ready: applied in {ready.apply_s:.1f} s, adopted in {ready.adopt_s:.1f} s, "
        f"all well {ready.settle_s:.1f} s after apply"
    )
    yield f"{moved.services} services: {moved.moved} moved, {moved.services - moved.moved} not"
    yield f"why not, by the rules that they name: {_listed(moved.not_moved)}"
    yield from (f"  {rule}: {sentence}" for rule, sentence in moved.examples.items())
    yield (
        f"left behind: {', '.join(moved.left_behind[:10]) or 'none'}; runs: {_listed(moved.runs)}, "
        f"the last closed {report.closed_s:g} s after the storm"
    )
    yield f"refusals on the way, asking again counted again: {_listed(report.refusals)}"


def _of_time(took: Timing) -> Iterator[str]:
    yield (
        f"verdicts after the fault: first {took.first_verdict_after_fault:.3f} s, "
        f"last {took.last_verdict_after_fault:.3f} s (known by {_listed(took.verdicts_by)})"
    )
    yield (
        f"first write: {took.first_write_after_verdict:.3f} s after the first verdict, "
        f"{took.first_write_after_fault:.3f} s after the fault"
    )
    yield (
        f"last write: {took.last_write_after_verdict:.2f} s after the first verdict, "
        f"{took.last_write_after_last_verdict:.2f} s after the last, "
        f"{took.last_write_after_fault:.2f} s after the fault"
    )
    yield (
        f"writes: {took.writes} updates, {took.writes_a_second:g} a second, longest pause {took.longest_pause:g} s; "
        f"share of services moved, seconds after the first verdict: {_listed(took.written_by)}"
    )
    yield f"from a service's own verdict to its new answer, s: {_listed(took.from_own_verdict)}"
    yield "by the records, s after the fault (median, most): " + ", ".join(
        f"{mark} {mid:.2f} {most:.2f}" for mark, (mid, most) in took.stages.items()
    )


def _of_pools(report: Report) -> Iterator[str]:
    for name, pool in report.pools.items():
        yield (
            f"pool {name}: carries {pool.capacity}, asked for {pool.asked}, by DNS {pool.by_dns} "
            f"(most {pool.most_by_dns}), by the ledger {pool.by_ledger}"
        )


def _of_cpu(report: Report) -> Iterator[str]:
    yield f"CPU while all was well, % of one core: {_listed(report.steady_cpu_percent)}"
    total = sum(report.cpu_s.values())
    yield (
        f"CPU seconds in the {report.cpu_window_s:g} s from the fault to the last write, {total:.1f} in all: "
        f"{_listed(report.cpu_s)}"
    )
    yield f"complaints in the workers' logs: {_listed(report.complaints)}"
    yield f"polls that the name server left unanswered: {report.outside.unanswered}"
