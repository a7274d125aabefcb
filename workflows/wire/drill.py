"""Drills: what is asked, waited for and reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.move import MoveKind
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.record import Record
from orchestrator.core.rehearsal import Pretence
from orchestrator.core.topology import Service, Weights, Workload
from orchestrator.core.waiting import at
from runbooks.plan import Plan
from workflows.wire.topology import Slice

DRY, SYNTHETIC = "dry", "synthetic"
"""Levels of drills in which no fault goes in."""
SKIPPED = "skipped"
"""The verdict on a drill that never began, because another one of its service was under way."""


@dataclass(frozen=True, slots=True)
class DrillRequest:
    id: str
    """Last part of the workflow's id; empty in a schedule, which gives each drill an id of its own."""
    service: ServiceId
    fault: str
    """A ``providers.base.FaultKind`` value."""
    target: EndpointId | None = None
    """None: the endpoint that carries the traffic."""
    by: str = "schedule"
    max_s: float = 120.0
    """The fault comes out at this age at the latest."""
    level: str = "fault"
    """``fault``: it is put in. ``dry``: nothing is, and nothing is written; what would be done is asked and proved.
    ``synthetic``: probers are told to see it, and a canary record moves in place of the real one."""
    overrides: tuple[str, ...] = ()
    """Rules that it sets aside by name: ``freeze`` is the one that a drill may."""
    reason: str = ""
    """Why, where it sets one aside."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A drill that is under way, and keeps others of its service from beginning."""

    drill: str
    service: ServiceId
    level: str
    fault: str
    by: str
    since: datetime

    @property
    def text(self) -> str:
        """Why another one cannot begin, and what to do about it."""
        return (
            f"service '{self.service}' is being drilled already: drill {self.drill} (level {self.level}, "
            f"{self.fault}), begun by {self.by} at {at(self.since)}; wait for its end (failover drill show "
            f"{self.service} {self.drill}), or end it with: failover drill abort {self.service} {self.drill}"
        )


@dataclass(frozen=True, slots=True)
class WhoseTurn:
    """The drill of a service that is under way; None: there is none, or a dry one."""

    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class AbortDrill:
    """Update ``abort``: end the drill now, with everything that it has put in taken out."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class FaultNews:
    """Signal ``faulted`` to a service: a drill is about to put a fault in at one of its endpoints, or it is out."""

    service: ServiceId
    drill: str
    endpoint: EndpointId
    until: datetime
    """When it comes out by itself."""
    out: bool = False


@dataclass(frozen=True, slots=True)
class FaultTask:
    """Put a fault in, or take it out. The deadline is absolute: a retry never extends it."""

    key: str
    kind: str
    workload: Workload
    deadline: datetime
    news: FaultNews | None = None
    """What its service is told of it."""


@dataclass(frozen=True, slots=True)
class FaultSeen:
    """What the world says about a drill's fault."""

    active: bool
    expired: bool


@dataclass(frozen=True, slots=True)
class SteadyQuestion:
    """Wait until the service is well: every endpoint healthy, no run, the traffic at *home* (None: anywhere)."""

    service: ServiceId
    within_s: float
    home: EndpointId | None = None


@dataclass(frozen=True, slots=True)
class Steady:
    """A service in steady state, or the reasons why it is not."""

    ok: bool
    text: str
    active: EndpointId | None = None
    workload: Workload | None = None
    objective_s: float = 0.0
    runs: tuple[RunId, ...] = ()
    """The runs it had before."""
    frozen: str = ""
    """The freeze window that forbids a drill now; empty: none."""


@dataclass(frozen=True, slots=True)
class RunQuestion:
    """Wait until *run* (None: the next run that is not one of *known*) is closed."""

    service: ServiceId
    within_s: float
    run: RunId | None = None
    known: tuple[RunId, ...] = ()
    drill: str = ""
    """The drill that says yes where a person would be asked only because the target must be promoted; empty: none."""


@dataclass(frozen=True, slots=True)
class FailbackTask:
    """Ask the service to go home, in the name of a drill."""

    service: ServiceId
    drill: str
    target: EndpointId
    by: str


@dataclass(frozen=True, slots=True)
class RunSeen:
    """The run that a drill was waiting for, or why there is none."""

    record: Record | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class DryQuestion:
    """What would be done if *target* (None: whatever carries the traffic) were down?"""

    service: ServiceId
    target: EndpointId | None = None


@dataclass(frozen=True, slots=True)
class DryDecision:
    """What would be decided, and the plan that it would become."""

    ok: bool
    text: str
    target: EndpointId | None = None
    """The endpoint that was taken for down."""
    service: Service | None = None
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class DrySeen:
    """Whether something that a plan needs is there."""

    ok: bool
    text: str
    cold: bool = False
    """Nothing of it runs now, so nothing of it can be asked."""
    colds: tuple[EndpointId, ...] = ()
    """The endpoints of which nothing runs now."""


@dataclass(frozen=True, slots=True)
class GovernorQuestion:
    """Would the governor let *service* make this move now? Nothing is taken by asking."""

    service: ServiceId
    kind: MoveKind
    source: tuple[EndpointId, ...]
    target: EndpointId
    after: Weights


@dataclass(frozen=True, slots=True)
class ShadowQuestion:
    """What would stand in for *service*, its canary record at *target* (None: where the traffic is)?"""

    service: ServiceId
    drill: str
    target: EndpointId | None = None


@dataclass(frozen=True, slots=True)
class ShadowSeen:
    """The service that stands in for the real one, and where its canary begins; or why there can be none."""

    text: str
    slice: Slice | None = None
    home: EndpointId | None = None


@dataclass(frozen=True, slots=True)
class CanaryTask:
    """Put the canary record of *service*, which is a shadow, at *home*, or leave it there."""

    service: Service
    drill: str
    home: EndpointId


@dataclass(frozen=True, slots=True)
class Told:
    """Query ``told`` of a drill: what its probers are to see."""

    pretence: Pretence | None = None


@dataclass(frozen=True, slots=True)
class DrillPhase:
    name: str
    """steady, fault, failover, clear, failback, steady-again; synthetic: canary before them, governor after clear, and
    retire at the end; dry: decide, governor, capacity, target, steering"""
    ok: bool | None
    """None: still running."""
    text: str
    started: datetime
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class DrillReport:
    id: str
    service: ServiceId
    fault: str
    target: EndpointId
    by: str
    started: datetime
    verdict: str
    """running, passed, partial (passed as far as it went: the text says what was not rehearsed), failed, inconclusive,
    skipped (another drill of the service was under way)"""
    text: str = ""
    objective_s: float = 0.0
    phases: tuple[DrillPhase, ...] = ()
    ended: datetime | None = None
    failover: RunId | None = None
    failback: RunId | None = None
    ttd_s: float | None = None
    ttr_s: float | None = None
    level: str = "fault"
