"""A run: its start, its steps, and the news of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.move import MoveKind
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.record import Entry
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Answer, Notify, Service, SteeringSpec, Weights
from runbooks.plan import Place, Plan, Work


@dataclass(frozen=True, slots=True)
class Carry:
    """Start of a run: the plan, where its steps may run (in order), and what led to it."""

    plan: Plan
    service: Service
    queues: tuple[str, ...]
    entries: tuple[Entry, ...]
    notify: tuple[Notify, ...] = ()
    drill: str | None = None
    led: datetime | None = None
    """Until when a leader may be at work on its first steps; None: it begins by itself. One of many: it tells people
    only what went wrong."""


@dataclass(frozen=True, slots=True)
class StepTask:
    """One attempt at one step. The effect token is the same for every attempt."""

    service: ServiceId
    name: str
    run: RunId
    step: str
    work: Work
    timeout_s: float
    generation: int = 0
    """The generation that stands when the step begins: acts that take capacity away read it back first."""
    base: int = 0
    """The generation that the run was planned from."""
    steering: SteeringSpec | None = None
    replicas_before: int | None = None
    """For the undo of a promote: what its step found."""
    sources: tuple[Place, ...] = ()
    """For the undo of a steer: traffic goes back only to endpoints that are healthy now."""
    own: Answer | None = None
    """What names the step's endpoint in the answer: while it stands there, no capacity is taken away."""

    source: tuple[EndpointId, ...] = ()
    """The endpoints that the run takes traffic from."""
    target: EndpointId | None = None
    """The endpoint that gets it."""
    kind: MoveKind = MoveKind.SWITCHOVER
    after: Weights = ()
    """Where the run ends: for rules that are asked again."""
    overrides: tuple[str, ...] = ()
    """Rules that the run sets aside by name."""

    @property
    def key(self) -> str:
        """The effect token."""
        return f"{self.run}/{self.step}"


@dataclass(frozen=True, slots=True)
class RecheckRequest:
    """Is *sources* still down? Answered with why not, or the empty text."""

    service: ServiceId
    sources: tuple[EndpointId, ...]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step's activity answers: small."""

    entries: tuple[Entry, ...] = ()
    """Moments seen in the world while it ran (answer changed, model ready), for the timeline."""
    routing: Routing | None = None
    replicas_before: int | None = None
    text: str = ""
