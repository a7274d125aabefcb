"""Health: one vantage's opinion of an endpoint, folded from outcomes by a transition table with rise and fall.

Times are seconds on the vantage's own monotonic clock; reports carry ages, never these times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.core.errors import IllegalTransition
from orchestrator.core.names import EndpointId
from orchestrator.core.probe import PASSING, SOFT, Outcome, OutcomeKind
from orchestrator.core.topology import ProbeKind, ProbeSpec


class Health(StrEnum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    """Was healthy, has failed fewer than *fall* times."""
    DEGRADED = "degraded"
    DOWN = "down"
    RECOVERING = "recovering"
    """Was down, has passed fewer than *rise* times."""


class Signal(StrEnum):
    PASSED = "passed"
    PASSED_ENOUGH = "passed-enough"
    SOFT = "soft"
    SOFT_ENOUGH = "soft-enough"
    FAILED = "failed"
    FAILED_ENOUGH = "failed-enough"


NEXT: dict[tuple[Health, Signal], Health] = {
    (Health.UNKNOWN, Signal.PASSED): Health.HEALTHY,
    (Health.UNKNOWN, Signal.PASSED_ENOUGH): Health.HEALTHY,
    (Health.UNKNOWN, Signal.SOFT): Health.UNKNOWN,
    (Health.UNKNOWN, Signal.SOFT_ENOUGH): Health.DEGRADED,
    (Health.UNKNOWN, Signal.FAILED): Health.UNKNOWN,
    (Health.UNKNOWN, Signal.FAILED_ENOUGH): Health.DOWN,
    (Health.HEALTHY, Signal.PASSED): Health.HEALTHY,
    (Health.HEALTHY, Signal.PASSED_ENOUGH): Health.HEALTHY,
    (Health.HEALTHY, Signal.SOFT): Health.HEALTHY,
    (Health.HEALTHY, Signal.SOFT_ENOUGH): Health.DEGRADED,
    (Health.HEALTHY, Signal.FAILED): Health.SUSPECT,
    (Health.HEALTHY, Signal.FAILED_ENOUGH): Health.DOWN,
    (Health.SUSPECT, Signal.PASSED): Health.HEALTHY,
    (Health.SUSPECT, Signal.PASSED_ENOUGH): Health.HEALTHY,
    (Health.SUSPECT, Signal.SOFT): Health.SUSPECT,
    (Health.SUSPECT, Signal.SOFT_ENOUGH): Health.DEGRADED,
    (Health.SUSPECT, Signal.FAILED): Health.SUSPECT,
    (Health.SUSPECT, Signal.FAILED_ENOUGH): Health.DOWN,
    (Health.DEGRADED, Signal.PASSED): Health.DEGRADED,
    (Health.DEGRADED, Signal.PASSED_ENOUGH): Health.HEALTHY,
    (Health.DEGRADED, Signal.SOFT): Health.DEGRADED,
    (Health.DEGRADED, Signal.SOFT_ENOUGH): Health.DEGRADED,
    (Health.DEGRADED, Signal.FAILED): Health.DEGRADED,
    (Health.DEGRADED, Signal.FAILED_ENOUGH): Health.DOWN,
    (Health.DOWN, Signal.PASSED): Health.RECOVERING,
    (Health.DOWN, Signal.PASSED_ENOUGH): Health.HEALTHY,
    (Health.DOWN, Signal.SOFT): Health.RECOVERING,
    (Health.DOWN, Signal.SOFT_ENOUGH): Health.DEGRADED,
    (Health.DOWN, Signal.FAILED): Health.DOWN,
    (Health.DOWN, Signal.FAILED_ENOUGH): Health.DOWN,
    (Health.RECOVERING, Signal.PASSED): Health.RECOVERING,
    (Health.RECOVERING, Signal.PASSED_ENOUGH): Health.HEALTHY,
    (Health.RECOVERING, Signal.SOFT): Health.RECOVERING,
    (Health.RECOVERING, Signal.SOFT_ENOUGH): Health.DEGRADED,
    (Health.RECOVERING, Signal.FAILED): Health.DOWN,
    (Health.RECOVERING, Signal.FAILED_ENOUGH): Health.DOWN,
}

OPINION = {
    Health.UNKNOWN: Health.UNKNOWN,
    Health.HEALTHY: Health.HEALTHY,
    Health.SUSPECT: Health.HEALTHY,
    Health.DEGRADED: Health.DEGRADED,
    Health.RECOVERING: Health.DOWN,
    Health.DOWN: Health.DOWN,
}
"""What a state says to others: suspicion and recovery are not opinions yet."""


@dataclass(frozen=True, slots=True)
class ProbeHealth:
    """One probe's state at one endpoint, seen from one vantage."""

    health: Health = Health.UNKNOWN
    passes: int = 0
    softs: int = 0
    fails: int = 0
    last_good_at: float | None = None
    first_bad_at: float | None = None
    """When the answers began that led to the present opinion or may change it: for ``down`` the first failure of its
    streak (soft answers before it do not count), kept while recovering; None while all is well."""
    completed_at: float | None = None
    """Last completed inference."""
    detail: str = ""

    @property
    def opinion(self) -> Health:
        return OPINION[self.health]

    @property
    def settled(self) -> bool:
        """No count towards down or up is under way: another probe soon would teach nothing."""
        if self.health is Health.DEGRADED:
            return self.fails == 0
        return self.health in {Health.HEALTHY, Health.DOWN}


def observe(health: ProbeHealth, outcome: Outcome, *, now: float, rise: int, fall: int) -> ProbeHealth:
    """Fold *outcome* into *health*. Total: every state takes every signal.

    *now* is when the answer was judged, on the same clock as before. Streaks of passes, soft answers and
    failures are counted apart: a pass ends the others, a soft answer ends failures (what answers is not dead),
    a failure lets soft answers count on.
    """
    if outcome.kind in PASSING:
        passes, softs, fails = health.passes + 1, 0, 0
        signal = Signal.PASSED_ENOUGH if passes >= rise else Signal.PASSED
    elif outcome.kind in SOFT:
        passes, softs, fails = 0, health.softs + 1, 0
        # A certificate does not flap: one that does not fit is an opinion at once.
        enough = softs >= fall or outcome.kind is OutcomeKind.MISMATCH
        signal = Signal.SOFT_ENOUGH if enough else Signal.SOFT
    else:
        passes, softs, fails = 0, health.softs, health.fails + 1
        signal = Signal.FAILED_ENOUGH if fails >= fall else Signal.FAILED
    try:
        state = NEXT[health.health, signal]
    except KeyError as missing:
        raise IllegalTransition(f"health has no transition from {health.health} on {signal}") from missing
    good = outcome.kind in PASSING
    return replace(
        health,
        health=state,
        passes=passes,
        softs=softs,
        fails=fails,
        last_good_at=now if good else health.last_good_at,
        first_bad_at=_first_bad(health, outcome.kind, state, now),
        completed_at=now if outcome.completed else health.completed_at,
        detail=outcome.detail,
    )


def _first_bad(before: ProbeHealth, kind: OutcomeKind, state: Health, now: float) -> float | None:
    """When the present trouble began: see ``ProbeHealth.first_bad_at``."""
    if kind in PASSING:
        return None if state is Health.HEALTHY else before.first_bad_at
    anew = kind not in SOFT and before.fails == 0 and before.opinion is not Health.DOWN
    return now if anew or before.first_bad_at is None else before.first_bad_at


@dataclass(frozen=True, slots=True)
class EndpointState:
    """One vantage's opinion of one endpoint, in ages: what travels in a report."""

    endpoint: EndpointId
    health: Health
    """An opinion: unknown, healthy, degraded or down."""
    detail: str = ""
    last_good_age_s: float | None = None
    first_bad_age_s: float | None = None
    proven: bool = False
    """Its completions complete (or it is no model and its probes pass)."""


_WORST = (Health.DOWN, Health.DEGRADED, Health.HEALTHY, Health.UNKNOWN)


def summarize(endpoint: EndpointId, probes: tuple[tuple[ProbeSpec, ProbeHealth], ...], *, now: float) -> EndpointState:
    """The opinion of an endpoint from the states of its probes: the worst of those that have one.

    Its ages are those of the probes that tell this opinion: the first bad answer is the earliest of theirs, the
    last good one the latest before it (a slow probe's old answer does not make an outage older than it is).
    An inference counts as proof for three of its probe's intervals.
    """
    opinions = {health.opinion for _, health in probes}
    worst = next((state for state in _WORST if state in opinions), Health.UNKNOWN)
    tellers = [(spec, health) for spec, health in probes if health.opinion is worst]
    goods = [health.last_good_at for _, health in tellers if health.last_good_at is not None]
    bads = [health.first_bad_at for _, health in tellers if health.first_bad_at is not None]
    first_bad = min(bads, default=None)
    before = [good for good in goods if first_bad is None or good <= first_bad]
    last_good = max(before, default=min(goods, default=None))
    chats = [(spec, health) for spec, health in probes if spec.kind is ProbeKind.CHAT]
    proven = worst is Health.HEALTHY and all(
        health.opinion is Health.HEALTHY
        and health.completed_at is not None
        and now - health.completed_at <= 3 * spec.interval_s
        for spec, health in chats
    )
    return EndpointState(
        endpoint=endpoint,
        health=worst,
        detail=next((f"{spec.id}: {health.detail}" for spec, health in tellers if health.detail), ""),
        last_good_age_s=None if last_good is None else now - last_good,
        first_bad_age_s=None if first_bad is None else now - first_bad,
        proven=proven,
    )
