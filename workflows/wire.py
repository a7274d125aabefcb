"""What travels: workflow ids, task queues, and the messages between CLI, workflows, activities and probers.

One message, one frozen value. Nothing here holds a secret: only pointers to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.decision import Request
from orchestrator.core.move import Objection
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId, VantageId
from orchestrator.core.quorum import Assessment, View
from orchestrator.core.record import Entry, Record, RunStatus
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Mode, Notify, Service, Vantage

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


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Server-stamped last heartbeat of the probers of every vantage that is running."""

    heard: tuple[tuple[VantageId, datetime], ...]
    server_now: datetime | None = None


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
    routing: Routing | None = None


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


# ------------------------------------------------------------------ the run


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
    """Empty in a schedule: the workflow makes one from its own id."""
    service: ServiceId
    fault: str
    """A ``providers.base.FaultKind`` value."""
    target: EndpointId | None = None
    """None: the endpoint that carries the traffic."""
    by: str = "schedule"
    max_s: float = 120.0
    """The fault comes out at this age at the latest."""


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
