"""Facts: what has happened in a history that the invariants are about."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.decision import Decision, Request
from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import View
from orchestrator.core.record import RunStatus
from orchestrator.core.situation import Situation
from orchestrator.core.steering import Routing, SteeringChange
from runbooks.plan import Plan
from runbooks.progress import Progress


@dataclass(frozen=True, slots=True)
class Wrote:
    """A write of ours has landed."""

    change: SteeringChange
    before: Routing
    after: Routing
    step: str
    """The step of the plan that it belongs to."""
    back: bool
    """It is the undo of that step."""


@dataclass(frozen=True, slots=True)
class Took:
    """Capacity was taken from an endpoint."""

    endpoint: EndpointId
    run: str
    step: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Decided:
    """The service has decided: by itself, or on a person's *request*."""

    situation: Situation
    request: Request | None
    decision: Decision
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Began:
    """A run has begun."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Ended:
    """A run has closed."""

    plan: Plan
    progress: Progress
    status: RunStatus
    text: str


Fact = Wrote | Took | Decided | Began | Ended
