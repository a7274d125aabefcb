"""The record of a run: what everyone reads. CLI, page, notifications and reports render this and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.core.move import MoveKind, Objection, Trigger
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.topology import Weights


class RunStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    UNDONE = "undone"
    """Failed, and everything it had done was put back."""
    HALTED = "halted"
    """Failed, and left as it stands for a person: going back would be worse."""
    STALE = "stale"
    """Refused by the fence: somebody else is ahead."""
    ABORTED = "aborted"
    OBSERVED = "observed"
    """Nothing was written: the record of what would have been done."""


class Mark(StrEnum):
    """The moments every run is measured by."""

    LAST_GOOD = "last-good"
    DETECTED = "detected"
    DECIDED = "decided"
    STARTED = "started"
    STEP_STARTED = "step-started"
    STEP_DONE = "step-done"
    STEP_FAILED = "step-failed"
    STEP_SKIPPED = "step-skipped"
    UNDO_STARTED = "undo-started"
    UNDO_DONE = "undo-done"
    UNDO_FAILED = "undo-failed"
    STEERED = "steered"
    """The primary took the write."""
    CHANGED = "changed"
    """An authoritative server gave the new answer."""
    CONVERGED = "converged"
    VERIFIED = "verified"
    ACT = "act"
    """A person changed the run: approved, paused, skipped ..."""
    NOTE = "note"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Entry:
    at: datetime
    """UTC."""
    mark: Mark
    text: str
    """One sentence for a person."""
    step: str | None = None
    seconds: float | None = None
    """How long what ended here took."""


SWITCHED = "switched to unplanned"
"""How the act begins that makes a planned run an unplanned one."""
_PLANNED = frozenset({MoveKind.SWITCHOVER, MoveKind.FAILBACK})


@dataclass(frozen=True, slots=True)
class StepBrief:
    """One line of the plan, for progress displays."""

    id: str
    kind: str
    text: str
    timeout_s: float
    expected_s: float = 0.0
    """How long it usually takes; much longer is stuck."""


@dataclass(frozen=True, slots=True)
class Record:
    run: RunId
    service: ServiceId
    kind: MoveKind
    trigger: Trigger
    status: RunStatus
    started: datetime
    """When it was decided."""
    objective_s: float
    source: tuple[EndpointId, ...]
    target: EndpointId
    before: Weights
    after: Weights
    revision: int
    """Topology revision that the plan was made from."""
    generation: int
    """Generation that the plan expects to replace."""
    runbook: str
    steps: tuple[StepBrief, ...]
    objections: tuple[Objection, ...] = ()
    """What stood against it and was overridden, or (observed) what held it."""
    drill: str | None = None
    entries: tuple[Entry, ...] = ()
    closed: datetime | None = None

    def first(self, mark: Mark) -> Entry | None:
        """The first entry with *mark*."""
        return next((entry for entry in self.entries if entry.mark is mark), None)

    def span_s(self, begin: Mark, end: Mark) -> float | None:
        """Seconds from the first *begin* to the first *end*; None while either is missing."""
        a, b = self.first(begin), self.first(end)
        return None if a is None or b is None else (b.at - a.at).total_seconds()

    @property
    def ttd_s(self) -> float | None:
        """Time to detect, from the last good probe."""
        return self.span_s(Mark.LAST_GOOD, Mark.DETECTED)

    @property
    def planned(self) -> bool:
        """Whether the source still served when the traffic left: there is no outage to recover from, and no objective.

        A run that people have switched to unplanned is none.
        """
        switched = any(entry.mark is Mark.ACT and entry.text.startswith(SWITCHED) for entry in self.entries)
        return self.kind in _PLANNED and self.first(Mark.LAST_GOOD) is None and not switched

    @property
    def ttr_s(self) -> float | None:
        """Time to recover: from the last good probe (planned moves: from the decision) until converged."""
        begin = Mark.LAST_GOOD if self.first(Mark.LAST_GOOD) else Mark.DECIDED
        return self.span_s(begin, Mark.CONVERGED)
