"""A step of a run that is under way: its attempts, and what the state machine is told when they have failed."""

from __future__ import annotations

from dataclasses import dataclass, field

from runbooks.plan import Call, Demote, Drain, FenceOff, Promote, Steer, Step
from runbooks.progress import Event
from runbooks.simulate.hands import Task

FINAL = frozenset({"Refused", "UndoFailed", "NoWayBack", "Inconclusive"})
"""Errors that another attempt would meet again, as in ``workflows.attempting``."""
OVERTAKEN = frozenset({"StaleGeneration", "ChangedOutside"})


@dataclass(slots=True)
class Ballot:
    """The approval that a step waits for."""

    people: int
    yes: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Doing:
    """A step that is under way, forward or *back*."""

    step: Step
    back: bool
    task: Task | None = None
    attempt: int = 0
    tries: int = 0
    ended: bool = False
    stopping: bool = False
    """Its executor was told to end, and is waited for."""


def told(doing: Doing, kind: str) -> Event:
    """What the state machine is told of a failure, as ``workflows.attempting`` has it. In doubt, FAIL."""
    if kind in OVERTAKEN:
        return Event.STALE
    if kind == "Inconclusive":
        return Event.ASK
    work = doing.step.work
    surely = kind in FINAL and (isinstance(work, Steer | Promote) or (isinstance(work, Call) and kind == "BadInput"))
    return Event.REFUSE if surely and doing.tries <= 1 else Event.FAIL


def told_back(doing: Doing, kind: str) -> Event:
    """The same of an undo. In doubt whether anything was put back, FAIL_UNDO."""
    if kind in OVERTAKEN:
        return Event.STALE
    return Event.REFUSE_UNDO if kind == "NoWayBack" and doing.tries <= 1 else Event.FAIL_UNDO


def endpoint_of(step: Step) -> str | None:
    """The endpoint whose capacity *step* changes."""
    return step.work.endpoint if isinstance(step.work, Promote | Drain | FenceOff | Demote) else None
