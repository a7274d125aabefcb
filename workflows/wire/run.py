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
from workflows.wire.acts import RunAct


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step's activity answers: small."""

    entries: tuple[Entry, ...] = ()
    """Moments seen in the world while it ran (answer changed, model ready), for the timeline."""
    routing: Routing | None = None
    replicas_before: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ahead:
    """A step that a leader has carried out, under the run's own effect token."""

    step: str
    result: StepResult
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class HeadStart:
    """Signal ``go_on`` to a service: what of its run is done already, and when it began."""

    run: RunId
    began: datetime
    done: tuple[Ahead, ...] = ()


@dataclass(frozen=True, slots=True)
class Carry:
    """Start of a run: the plan, where its steps may run (in order), and what led to it."""

    plan: Plan
    service: Service
    queues: tuple[str, ...]
    entries: tuple[Entry, ...]
    notify: tuple[Notify, ...] = ()
    drill: str | None = None
    one_of_many: bool = False
    """It leaves a region that is lost, with others: people are told of that once, and of this run what went wrong."""
    head: HeadStart | None = None
    """What a leader has done of it."""
    acts: tuple[RunAct, ...] = ()
    """What people have said of it while it waited for its leader: done first."""


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
