"""A runbook: a template of typed steps, before it meets a topology. Frozen values; ``runbooks.parse`` builds them.

A new type of step is one more task here, one more table row in DEFAULTS, one more schema in ``runbooks.parse``
and one more case in ``runbooks.planner``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from runbooks.plan import OnFailure

API_VERSION = "failover/v1"
KIND = "Runbook"


class StepType(StrEnum):
    """What a step of a runbook may be."""

    PROMOTE = "promote"
    VERIFY = "verify"
    STEER = "steer"
    CONVERGE = "converge"
    DRAIN = "drain"
    DEMOTE = "demote"


class When(StrEnum):
    """The moves that a step is part of."""

    PLANNED = "planned"
    UNPLANNED = "unplanned"
    ALWAYS = "always"

    def holds(self, *, planned: bool) -> bool:
        """Whether the step is part of a move that is (not) *planned*."""
        return self is When.ALWAYS or (self is When.PLANNED) == planned


@dataclass(frozen=True, slots=True)
class PromoteTask:
    """Bring the target to serving capacity, dark."""

    replicas: int | None = None
    """None: the workload's own ``serving``."""
    type: StepType = StepType.PROMOTE


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """Ask the target until it has answered well *passes* times in a row."""

    passes: int = 2
    type: StepType = StepType.VERIFY


@dataclass(frozen=True, slots=True)
class SteerTask:
    """Move the weights."""

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
class DemoteTask:
    """Return the source to standby capacity after *bake_s*; the bake is added to the step's timeout."""

    bake_s: float = 1800.0
    type: StepType = StepType.DEMOTE


Task = PromoteTask | VerifyTask | SteerTask | ConvergeTask | DrainTask | DemoteTask


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a step has where its author says nothing."""

    timeout_s: float
    attempts: int
    on_failure: OnFailure


DEFAULTS: Mapping[StepType, Defaults] = MappingProxyType(
    {
        StepType.PROMOTE: Defaults(300.0, 3, "rollback"),
        StepType.VERIFY: Defaults(60.0, 3, "rollback"),
        StepType.STEER: Defaults(15.0, 5, "rollback"),
        StepType.CONVERGE: Defaults(60.0, 3, "halt"),
        StepType.DRAIN: Defaults(120.0, 3, "continue"),
        StepType.DEMOTE: Defaults(300.0, 3, "halt"),
    }
)


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


@dataclass(frozen=True, slots=True)
class Runbook:
    name: str
    description: str
    steps: tuple[BookStep, ...]

    def chosen(self, *, planned: bool) -> tuple[BookStep, ...]:
        """The steps that a move which is (not) *planned* takes."""
        return tuple(step for step in self.steps if step.enabled and step.when.holds(planned=planned))
