"""A runbook: a template of typed steps, before it meets a topology. Frozen values; ``runbooks.parse`` builds them.

A new type of step is one more task here, one more table row in DEFAULTS, one more schema in ``runbooks.schemas``
and one more case in ``runbooks.planner``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from runbooks.plan import Analysis, Hook, OnFailure, OnSilence, OnUnweighable, When

API_VERSION = "failover/v1"
KIND = "Runbook"
DEEPEST = 5
"""How deep runbooks and branches may stand in one another."""


class StepType(StrEnum):
    """What a step of a runbook may be."""

    PROMOTE = "promote"
    VERIFY = "verify"
    STEER = "steer"
    CONVERGE = "converge"
    DRAIN = "drain"
    FENCE = "fence"
    DEMOTE = "demote"
    APPROVE = "approve"
    CHECK = "check"
    CALL = "call"
    NOTIFY = "notify"
    WAIT = "wait"
    PARALLEL = "parallel"
    RUNBOOK = "runbook"


class ParameterType(StrEnum):
    """What a parameter of a runbook may hold."""

    DURATION = "duration"
    INTEGER = "integer"
    NUMBER = "number"
    PERCENTS = "percents"
    """A list of whole percents, rising: the stages of a shift."""
    TEXT = "text"
    BOOLEAN = "boolean"


Value = str | int | float | bool | tuple[int, ...]
"""What stands for a parameter, as it would be written in the file: a duration is text."""
Values = tuple[tuple[str, Value], ...]
"""Parameter names and values, sorted."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value of a runbook that a service, a caller or an outer runbook may choose."""

    name: str
    type: ParameterType
    default: Value | None = None
    """None: it must be given."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class PromoteTask:
    """Bring the target to serving capacity, dark."""

    replicas: int | None = None
    """None: the workload's own ``serving``."""
    type: StepType = StepType.PROMOTE


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """Ask the target until it has answered well *passes* times in a row, from *vantages* places at once."""

    passes: int = 2
    vantages: int = 1
    type: StepType = StepType.VERIFY


@dataclass(frozen=True, slots=True)
class SteerTask:
    """Move the weights: at once, or by stages of the whole move with a hold and an analysis after each."""

    stages: tuple[int, ...] = ()
    """Whole percents of the move, rising; 100 is added where it is missing. Empty: at once."""
    hold_s: float = 60.0
    """How long each stage but the last stands before the next."""
    analysis: Analysis | None = None
    """What decides whether the next stage comes; None: the hold alone."""
    unweighable: OnUnweighable = "refuse"
    """What becomes of the stages where the steering cannot weigh."""
    jitter_s: float = 0.0
    """Where others move to the same place: it begins up to so much later, and each hold is longer by as much."""
    type: StepType = StepType.STEER


@dataclass(frozen=True, slots=True)
class ConvergeTask:
    """Wait until every authoritative server gives the new answer, then one old TTL.

    The step's timeout covers the servers; the TTL is added to it when the plan is made.
    """

    type: StepType = StepType.CONVERGE


@dataclass(frozen=True, slots=True)
class DrainTask:
    """Let requests in flight finish at the source, within the step's timeout."""

    type: StepType = StepType.DRAIN


@dataclass(frozen=True, slots=True)
class FenceTask:
    """Make sure that the old active can serve no more: its workload is kept at nothing."""

    type: StepType = StepType.FENCE


@dataclass(frozen=True, slots=True)
class DemoteTask:
    """Return the source to standby capacity after *bake_s*; the bake is added to the step's timeout."""

    bake_s: float = 1800.0
    type: StepType = StepType.DEMOTE


@dataclass(frozen=True, slots=True)
class ApproveTask:
    """Wait until *people* of a role have said yes. The step's timeout is how long each of the roles is waited for."""

    role: str | None = None
    """None: anybody."""
    people: int = 1
    """Different ones. With two, whoever started the run is none of them."""
    escalate: tuple[str, ...] = ()
    """Roles that are asked one after another, as well, when a timeout has passed without an answer."""
    on_timeout: OnSilence = "abort"
    """What silence means in the end."""
    type: StepType = StepType.APPROVE


@dataclass(frozen=True, slots=True)
class CheckTask:
    """Ask the safety rules once more, in the light of now."""

    rules: tuple[str, ...] = ()
    """Names of rules; empty: all of them."""
    type: StepType = StepType.CHECK


@dataclass(frozen=True, slots=True)
class CallTask:
    """An HTTP hook, and the one that takes it back."""

    hook: Hook
    back: Hook | None = None
    type: StepType = StepType.CALL


@dataclass(frozen=True, slots=True)
class NotifyTask:
    """Tell people. Nothing waits for it."""

    text: str
    type: StepType = StepType.NOTIFY


@dataclass(frozen=True, slots=True)
class WaitTask:
    """Hold for *seconds*; they are added to the step's timeout."""

    seconds: float
    type: StepType = StepType.WAIT


@dataclass(frozen=True, slots=True)
class ParallelTask:
    """Branches that run side by side; what comes after waits for all of them."""

    branches: tuple[tuple[BookStep, ...], ...]
    type: StepType = StepType.PARALLEL


@dataclass(frozen=True, slots=True)
class RunbookTask:
    """The steps of another runbook, in place of this one."""

    runbook: str
    values: Values = ()
    type: StepType = StepType.RUNBOOK


Task = (
    PromoteTask
    | VerifyTask
    | SteerTask
    | ConvergeTask
    | DrainTask
    | FenceTask
    | DemoteTask
    | ApproveTask
    | CheckTask
    | CallTask
    | NotifyTask
    | WaitTask
    | ParallelTask
    | RunbookTask
)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a step has where its author says nothing."""

    timeout_s: float
    attempts: int
    on_failure: OnFailure
    expected_s: float
    """How long it usually takes where nobody has said or measured it."""


DEFAULTS: Mapping[StepType, Defaults] = MappingProxyType(
    {
        StepType.PROMOTE: Defaults(300.0, 3, "rollback", 60.0),
        StepType.VERIFY: Defaults(60.0, 3, "rollback", 2.0),
        StepType.STEER: Defaults(15.0, 5, "rollback", 0.5),
        StepType.CONVERGE: Defaults(60.0, 3, "halt", 1.0),
        StepType.DRAIN: Defaults(120.0, 3, "continue", 10.0),
        StepType.FENCE: Defaults(60.0, 3, "halt", 5.0),
        StepType.DEMOTE: Defaults(300.0, 3, "halt", 10.0),
        StepType.APPROVE: Defaults(600.0, 1, "rollback", 120.0),
        StepType.CHECK: Defaults(10.0, 3, "rollback", 0.5),
        StepType.CALL: Defaults(60.0, 3, "rollback", 2.0),
        StepType.NOTIFY: Defaults(10.0, 1, "continue", 0.1),
        StepType.WAIT: Defaults(5.0, 1, "continue", 0.0),
        StepType.PARALLEL: Defaults(0.0, 1, "rollback", 0.0),
        StepType.RUNBOOK: Defaults(0.0, 1, "rollback", 0.0),
    }
)
"""Of a parallel and a nested runbook only the steps inside have timeouts: theirs are not used."""


@dataclass(frozen=True, slots=True)
class BookStep:
    """One step of a runbook."""

    id: str
    task: Task
    timeout_s: float
    """For all attempts together."""
    attempts: int
    on_failure: OnFailure
    when: When = When.ALWAYS
    enabled: bool = True
    """False: the step stands in the book for people to switch on, and is in no plan."""
    undo: bool = True
    """False: what it did stays when the run is put back."""
    expected_s: float | None = None
    """How long it usually takes; None: as measured in earlier runs, or else the type's default."""


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook whose parameters have values."""

    name: str
    description: str
    steps: tuple[BookStep, ...]
    parameters: tuple[Parameter, ...] = ()
    values: Values = ()
    """What its parameters are."""

    def chosen(self, *, planned: bool) -> tuple[BookStep, ...]:
        """The steps that a move which is (not) *planned* takes."""
        return tuple(step for step in self.steps if step.enabled and step.when.holds(planned=planned))


def every(steps: tuple[BookStep, ...]) -> Iterator[BookStep]:
    """All enabled steps of a book, those of branches too; what a nested runbook holds is not known here."""
    for step in steps:
        if not step.enabled:
            continue
        yield step
        if isinstance(step.task, ParallelTask):
            for branch in step.task.branches:
                yield from every(branch)


def steers(steps: tuple[BookStep, ...]) -> bool:
    """Whether one of *steps* moves traffic; nested runbooks not looked into."""
    return any(isinstance(step.task, SteerTask) for step in every(steps))
