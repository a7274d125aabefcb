"""What travels: workflow ids, task queues, and the messages between CLI, workflows, activities and probers.

One message, one frozen value. Nothing here holds a secret: only pointers to them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.decision import Request
from orchestrator.core.move import Objection
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId, VantageId
from orchestrator.core.quorum import Assessment, Seed, View
from orchestrator.core.record import Entry, Record, RunStatus
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Mode, Notify, Service, SteeringSpec, Vantage, Workload
from runbooks.plan import Place, Plan, Work

CONTROL_QUEUE = "control"
"""Workflow tasks, and local activities with them. Every worker polls it."""

TOPOLOGY_ID = "topology"


def service_id(service: ServiceId) -> str:
    return f"service/{service}"


def run_workflow_id(service: ServiceId, run: RunId) -> str:
    return f"failover/{service}/{run}"


def watch_id(vantage: VantageId, shard: int) -> str:
    return f"watch/{vantage}/{shard}"


def drill_id(service: ServiceId, drill: str) -> str:
    return f"drill/{service}/{drill}"


def shard_of(service: ServiceId, shards: int) -> int:
    """The shard that probes *service*: by its hash, so that every shard sees all domains."""
    return zlib.crc32(service.encode()) % max(1, shards)


def steps_queue(domain: Domain) -> str:
    """The queue of the workers that stand in *domain*; steps name it to run outside a failing domain."""
    return f"steps/{domain}"


def probe_queue(vantage: VantageId) -> str:
    return f"probe/{vantage}"


# ------------------------------------------------------------------ topology


@dataclass(frozen=True, slots=True)
class Apply:
    """Replace the topology, if *expects* is still its revision.

    *document* is canonical JSON, compressed by zlib and in base64: a thousand services fit one payload.
    """

    expects: int
    digest: str
    document: str
    by: str


@dataclass(frozen=True, slots=True)
class Applied:
    revision: int
    digest: str
    document: str = ""
    by: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """What the publication of a topology needs: the one in force before, and the one to put in force."""

    before: Applied
    after: Applied


@dataclass(frozen=True, slots=True)
class Slice:
    """One service, as its workflow needs it."""

    revision: int
    service: Service
    vantages: tuple[Vantage, ...]
    notify: tuple[Notify, ...] = ()
    simulates_hosts: bool = False
    shards: int = 1


@dataclass(frozen=True, slots=True)
class ProbeSlice:
    """What one (vantage, shard) probes."""

    revision: int
    services: tuple[Service, ...]


# ------------------------------------------------------------------ watching


@dataclass(frozen=True, slots=True)
class Watch:
    """Start of one epoch of probing by one (vantage, shard)."""

    vantage: Vantage
    shard: int
    epoch: int
    shards: int
    seed: Seed | None = None


@dataclass(frozen=True, slots=True)
class WatchState:
    """What a watch workflow carries from one execution to the next."""

    vantage: Vantage
    shard: int
    shards: int
    epoch: int = 0
    seed: Seed | None = None
    notify: tuple[Notify, ...] = ()
    silent_since: datetime | None = None
    told_silent: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Server-stamped last heartbeat of the probers of every vantage that is running."""

    heard: tuple[tuple[VantageId, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class LookRequest:
    """Read, in one local activity, what a decision needs: the probers' heartbeats and the routing."""

    service: ServiceId
    vantages: tuple[VantageId, ...]
    shard: int
    steering: SteeringSpec | None
    budget_s: float = 0.35


@dataclass(frozen=True, slots=True)
class Look:
    heartbeats: Heartbeats
    routing: Routing | None = None
    routing_error: str = ""


# ------------------------------------------------------------------ the service workflow


@dataclass(frozen=True, slots=True)
class FailoverRequest:
    """Update ``request``: a person, or a drill, asks for a run. *id* makes a retry harmless."""

    id: str
    request: Request
    drill: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """Answer to a FailoverRequest that started a run (or to its retry)."""

    run: RunId
    workflow: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answer to a FailoverRequest that no run came of. Every reason at once."""

    reasons: tuple[Objection, ...]
    held_by: RunId | None = None
    started_by: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class SetMode:
    mode: Mode
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunClosed:
    """A run's last act, signalled to its service: frees the lock."""

    run: RunId
    status: RunStatus
    record: Record
    routing: Routing | None = None


@dataclass(frozen=True, slots=True)
class AdoptRequest:
    """Update ``adopt``: take the live record under the fence, answer unchanged."""

    by: str


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """The run that holds a service."""

    run: RunId
    workflow: str
    by: str
    request: str = ""
    """Id of the request that started it; empty for automation."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered with a run, kept so that its retry gets the same answer."""

    request: str
    run: RunId
    workflow: str


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a service workflow carries from one execution to the next: everything it knows."""

    slice: Slice
    mode: Mode | None = None
    """Set by a person over the topology's; a topology that changes the mode ends it."""
    paused: str | None = None
    views: tuple[View, ...] = ()
    routing: Routing | None = None
    routing_error: str = ""
    run: ActiveRun | None = None
    last_closed: datetime | None = None
    held: tuple[Objection, ...] = ()
    hold: tuple[Objection, ...] = ()
    question: Question | None = None
    answered: tuple[Answered, ...] = ()
    last_runs: tuple[Record, ...] = ()
    detected: tuple[tuple[EndpointId, datetime], ...] = ()
    """Since when each endpoint's verdict has been down."""
    told: tuple[str, ...] = ()
    """What people were told in the present incident, so that they are told once."""
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """An Ask that waits for a person: what would be done, and why it needs one."""

    id: str
    asked: datetime
    source: tuple[EndpointId, ...]
    target: EndpointId
    reasons: tuple[Objection, ...]


@dataclass(frozen=True, slots=True)
class EndpointBrief:
    """An endpoint as a page shows it."""

    id: EndpointId
    region: Domain
    role: str
    url: str
    weight: int | None
    """Share of traffic by the routing last read; None: not known."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Query ``status``: all that a page needs to know of one service now."""

    service: ServiceId
    name: str
    revision: int
    mode: Mode
    as_of: datetime
    assessments: tuple[Assessment, ...]
    views: tuple[View, ...]
    routing: Routing | None
    paused: str | None = None
    run: RunId | None = None
    run_started_by: str | None = None
    question: Question | None = None
    held: tuple[Objection, ...] = ()
    hold: tuple[Objection, ...] = ()
    """Why nothing is done now, where something looks wrong."""
    last_runs: tuple[Record, ...] = ()
    """The newest few, entries included."""
    endpoints: tuple[EndpointBrief, ...] = ()
    shards: int = 1


@dataclass(frozen=True, slots=True)
class StatusQuestion:
    """Query argument: workflows have no clock of their own between tasks, so the asker brings his."""

    now: datetime
    heartbeats: Heartbeats = Heartbeats()


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """Query argument: what would come of *request* (None: of the orchestrator's own decision) in this light?"""

    now: datetime
    look: Look
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be done now, and why (not)."""

    decision: str
    """``hold``, ``ask`` or ``go``."""
    reasons: tuple[Objection, ...]
    plan: Plan | None = None
    """What it would do, or would have done."""


# ------------------------------------------------------------------ the run


@dataclass(frozen=True, slots=True)
class Carry:
    """Start of a run: the plan, where its steps may run (in order), and what led to it."""

    plan: Plan
    service: Service
    queues: tuple[str, ...]
    entries: tuple[Entry, ...]
    notify: tuple[Notify, ...] = ()
    drill: str | None = None


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
    """The run's own generation: acts that take capacity away read it back first."""
    steering: SteeringSpec | None = None
    replicas_before: int | None = None
    """For the undo of a promote: what its step found."""
    sources: tuple[Place, ...] = ()
    """For the undo of a steer: traffic goes back only to endpoints that are healthy now."""

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


@dataclass(frozen=True, slots=True)
class Telling:
    """Something people should know. Detached: nothing waits for it."""

    notify: tuple[Notify, ...]
    service: ServiceId
    event: str
    """Stable name: ``run.started``, ``run.closed``, ``everything-down``, ``vantage-silent`` ..."""
    text: str
    at: datetime
    run: RunId | None = None


# ------------------------------------------------------------------ drills


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


@dataclass(frozen=True, slots=True)
class FaultTask:
    """Put a fault in, or take it out. The deadline is absolute: a retry never extends it."""

    key: str
    kind: str
    workload: Workload
    deadline: datetime


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


@dataclass(frozen=True, slots=True)
class RunQuestion:
    """Wait until *run* (None: the next run that is not one of *known*) is closed."""

    service: ServiceId
    within_s: float
    run: RunId | None = None
    known: tuple[RunId, ...] = ()


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
class DrillPhase:
    name: str
    """steady, fault, failover, clear, failback, steady-again"""
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
    """running, passed, failed, inconclusive"""
    text: str = ""
    objective_s: float = 0.0
    phases: tuple[DrillPhase, ...] = ()
    ended: datetime | None = None
    failover: RunId | None = None
    failback: RunId | None = None
    ttd_s: float | None = None
    ttr_s: float | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """What the history store is given: a record, or a drill's report. Detached."""

    record: Record | None = None
    drill: DrillReport | None = None


@dataclass(frozen=True, slots=True)
class Herald:
    """Start of a herald: one piece of news."""

    telling: Telling | None = None
    publication: Publication | None = None
