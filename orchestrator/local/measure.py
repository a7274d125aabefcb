"""The demo's figures, from what was seen from outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.local.requests import POOLED, RESOLVING, RequestRecord
from orchestrator.local.watchers import Change

FAST_S = 0.5
"""What a failover may take beyond waiting for probes and for the world."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the endpoints were probed. Seconds."""

    interval: float
    timeout: float
    fall: int
    vantages: int


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where the time went, from the fault (failover) or the request (failback)."""

    detect: float
    """Fault to verdict; 0 for a planned move."""
    decide: float
    """Verdict, or request, to the first step."""
    promote: float
    """Until the target had loaded its model, and proved it by completions: the world's time."""
    steer: float
    """From the steer step's start to the new answer, as DNS gave it."""
    converge: float
    """From the new answer until no TTL-obeying client asked the old address: one TTL, or longer where one was seen."""
    total: float
    """Fault, or request, to that moment: when clients had moved."""
    orchestration: float
    """Total, less waiting for probes (detect) and for the world (promote, converge)."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests that clients began while it lasted."""

    total: int
    failed: int
    failed_after_converged: int


@dataclass(frozen=True, slots=True)
class Phase:
    """One way: out, or home."""

    seconds: Seconds
    requests: Requests
    """Of clients that obey the TTL."""
    pooled_requests: Requests
    """Of clients that keep connections."""
    record: Record


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What ``failover demo --json`` prints, apart from the records."""

    scenario: str
    passed: bool
    settings: Settings
    failover: Phase
    failback: Phase
    history_events: int = 0

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "scenario": self.scenario,
            "passed": self.passed,
            "settings": _fields(self.settings),
            "failover": _phase(self.failover),
            "failback": _phase(self.failback),
            "temporal": {"history_events": self.history_events},
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """What the observers saw."""

    requests: list[RequestRecord]
    changes: list[Change]
    journal: list[dict[str, Any]]
    address: dict[str, str]
    """Of each endpoint."""
    ttl_s: float
    """How long a client that obeys may keep an answer."""


Way = tuple[Record, float, float]
"""A run's record, when it was called for, and when its window ends. Unix seconds."""


def measure(scenario: str, settings: Settings, seen: Seen, out: Way, home: Way) -> DemoReport:
    """The report of a demo that went *out* and came *home*."""
    failover, failback = _measured(seen, out), _measured(seen, home)
    passed = (
        failover.record.status is RunStatus.COMPLETED
        and failback.record.status is RunStatus.COMPLETED
        and failback.requests.failed == 0
        and failover.requests.failed_after_converged == 0
        and failback.requests.failed_after_converged == 0
        and failover.seconds.total <= failover.record.objective_s
    )
    return DemoReport(scenario, passed, settings, failover, failback)


def _measured(seen: Seen, way: Way) -> Phase:
    record, began, ended = way
    target = seen.address[record.target]
    old = {seen.address[endpoint] for endpoint in record.source}
    changed = next((c.at for c in seen.changes if c.at >= began and c.addresses == (target,)), ended)
    late = [r.started for r in seen.requests if r.population == RESOLVING and r.address in old and r.started > changed]
    converged = max((at for at in late if at < ended), default=changed)
    converged = max(converged, min(ended, changed + seen.ttl_s))
    detected = _at(record, Mark.DETECTED)
    first = _at(record, Mark.STEP_STARTED) or changed
    steering = next(
        (e.at.timestamp() for e in record.entries if e.mark is Mark.STEP_STARTED and e.step == "steer"), first
    )
    detect = detected - began if detected else 0.0
    total = converged - began
    seconds = Seconds(
        detect=detect,
        decide=first - (detected or began),
        promote=steering - first,
        steer=changed - steering,
        converge=converged - changed,
        total=total,
        orchestration=total - detect - _world_s(record, seen, first, steering) - (converged - changed),
    )
    return Phase(
        seconds=Seconds(*(round(value, 3) for value in _fields(seconds).values())),
        requests=_requests(seen, RESOLVING, began, ended, converged),
        pooled_requests=_requests(seen, POOLED, began, ended, converged),
        record=record,
    )


def _world_s(record: Record, seen: Seen, first: float, steering: float) -> float:
    """Seconds between *first* and *steering* that the world took: loading the model, completing inferences.

    The loading by the world's own journal; the completions by the verify step, which does nothing but wait for them.
    """
    scaled = _journal(seen, "replicas.wanted", record.target, first, steering)
    ready = _journal(seen, "replicas.ready", record.target, first, steering)
    loading = ready - scaled if scaled is not None and ready is not None else 0.0
    verify = next((e.seconds or 0.0 for e in record.entries if e.mark is Mark.STEP_DONE and e.step == "verify"), 0.0)
    return min(loading + verify, steering - first)


def _journal(seen: Seen, event: str, endpoint: str, begin: float, end: float) -> float | None:
    """When the world noted *event* of *endpoint*, between *begin* and *end*."""
    for each in seen.journal:
        at = datetime.fromisoformat(each["at"]).timestamp()
        if each["event"] == event and each.get("endpoint") == endpoint and begin <= at <= end:
            return at
    return None


def _requests(seen: Seen, population: str, began: float, ended: float, converged: float) -> Requests:
    inside = [r for r in seen.requests if r.population == population and began <= r.started < ended]
    failed = [r for r in inside if not r.ok]
    return Requests(len(inside), len(failed), sum(r.started > converged for r in failed))


def _at(record: Record, mark: Mark) -> float | None:
    entry = record.first(mark)
    return entry.at.timestamp() if entry else None


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "seconds": _fields(phase.seconds),
        "requests": _fields(phase.requests),
        "pooled_requests": _fields(phase.pooled_requests),
    }
