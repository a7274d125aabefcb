"""What people say to a run that is under way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.names import RunId


class ActKind(StrEnum):
    APPROVE = "approve"
    """A yes to the step that asks for one."""
    DENY = "deny"
    """A no to it: the run ends and puts back what it can."""
    ABORT = "abort"
    """End the run, and put back what can be put back."""
    PAUSE = "pause"
    """Begin no further step."""
    RESUME = "resume"
    SKIP = "skip"
    """Let a step pass."""
    RETRY = "retry"
    """Try a step again."""
    SWITCH = "switch"
    """From planned to unplanned, or back."""
    EXTEND = "extend"
    """Give a step more time."""


@dataclass(frozen=True, slots=True)
class RunAct:
    """Update ``act`` of a run. *id* makes a retry harmless."""

    id: str
    kind: ActKind
    by: str
    reason: str
    step: str | None = None
    """The step that is meant; None where there is one only that can be meant."""
    planned: bool | None = None
    """For SWITCH: what the move is from now on."""
    seconds: float = 0.0
    """For EXTEND."""


@dataclass(frozen=True, slots=True)
class EarlyAct:
    """Update ``act_early`` of a service: an act on its run that waits for a leader, done as soon as that run begins."""

    run: RunId
    act: RunAct


@dataclass(frozen=True, slots=True)
class Acted:
    """Answer to a RunAct: what it did, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a run waits for a person for."""

    step: str | None
    text: str
    roles: tuple[str, ...] = ()
    """Whose yes it waits for; empty: anybody's."""
    approved: tuple[str, ...] = ()
    """Who has said yes so far."""
    needed: int = 0
    """How many must; 0: it is no approval."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Query ``state`` of a run: what people may do with it now."""

    states: tuple[tuple[str, str], ...]
    """Each step and its state."""
    planned: bool
    paused: str = ""
    waiting: tuple[Waiting, ...] = ()
