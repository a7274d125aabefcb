"""What is said to a service workflow and by it, and what it carries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.crashes import Crash
from orchestrator.core.decision import Request
from orchestrator.core.governing import Ledger
from orchestrator.core.lastgood import LastGood, Standing
from orchestrator.core.load import Observed
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from orchestrator.core.provoked import Faulted
from orchestrator.core.quorum import Assessment, View
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.signals import Evidence
from orchestrator.core.situation import Shift
from orchestrator.core.steering import Former, Routing
from orchestrator.core.targets import Load
from orchestrator.core.topology import Mode
from orchestrator.core.underway import UnderWay
from runbooks.plan import Plan
from workflows.wire.topology import Slice
from workflows.wire.watching import NOTHING_HEARD, Heartbeats, Look

OF_QUESTIONS = "q-"
"""How the ids of questions begin; the id of a run follows: that of the record that a no leaves behind."""


@dataclass(frozen=True, slots=True)
class FailoverRequest:
    """Update ``request``: a person, or a drill, asks for a run. *id* makes a retry harmless."""

    id: str
    request: Request
    drill: str | None = None
    saved: Plan | None = None
    """A plan made earlier for the same wish: exactly its steps run, and only if nothing they stand on has moved."""
    evacuating: Domain | None = None
    """The failure domain that everything leaves: the services that leave it together are one change."""


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
class Acknowledge:
    """Update ``acknowledge``: a person has seen what automation did, and it may go on."""

    by: str
    reason: str = ""


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
    target: EndpointId | None = None
    """The endpoint whose fall stops it before traffic moves; None where it was down from the start (a cold standby)."""
    kind: MoveKind | None = None
    """What it does: a preparation gives way to a move that must be made."""
    shift: Shift | None = None
    """What the service remembers once it is complete, where it moves traffic for a time only."""
    beside: tuple[EndpointId, ...] = ()
    """Others that begin to carry traffic with the target, and whose fall stops it as well."""


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
    automatic: tuple[datetime, ...] = ()
    """When its automatic runs closed; see ``waiting.remembered``."""
    acknowledged: datetime | None = None
    """When a person last said that they have seen what automation did."""
    shift: Shift | None = None
    """The move for a time that still stands."""
    standing: Standing | None = None
    """The routing in force, and since when it serves well."""
    last_good: LastGood | None = None
    """Where ``restore-last-good`` goes."""
    loads: tuple[Observed, ...] = ()
    """The load of its endpoints as it was last heard of; what is too old is left out where it is used."""
    evidence: tuple[Evidence, ...] = ()
    """The signals that were active at its endpoints when they were last heard of."""
    crashes: tuple[Crash, ...] = ()
    """When it did not serve as it should: a revision of the topology is good only without."""
    remembers: datetime | None = None
    """It knows nothing from before, for its workflow was lost and made anew; None: it knows all."""
    former: Former | None = None
    """What its record says by our own hand, though the topology has changed the answers of its endpoints since."""
    faulted: Faulted | None = None
    """The last fault that a drill has put in."""


@dataclass(frozen=True, slots=True)
class Question:
    """An Ask that waits for a person: what would be done, and why it needs one."""

    id: str
    asked: datetime
    source: tuple[EndpointId, ...]
    target: EndpointId
    reasons: tuple[Objection, ...]
    move: Move | None = None
    """What a yes does."""
    told: int = 1
    """How often people have been told of it."""
    denied: str = ""
    """Who said no, and why: it is asked no more while the same move is all that could be made."""
    answered: str = ""
    """Id of the answer that said no, so that its retry gets the same answer."""


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """Update ``answer``: a person says yes or no to a question of the service. *id* makes a retry harmless."""

    id: str
    question: str
    yes: bool
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndpointBrief:
    """An endpoint as a page shows it."""

    id: EndpointId
    region: Domain
    role: str
    url: str
    weight: int | None
    """Share of traffic by the routing last read; None: not known."""
    in_flight: int | None = None
    """The most requests in flight within a minute, by its own count; None: not known."""
    in_flight_at: datetime | None = None
    """When that was."""
    signals: str = ""
    """The signals that are active at it, in words; empty: none."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A freeze window that the present lies in."""

    reason: str
    until: datetime
    unplanned: bool = False
    """Whether automation also asks before it moves traffic away from what is down."""


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
    last_good: LastGood | None = None
    shards: int = 1
    shift: Shift | None = None
    """The move for a time that still stands."""
    unacknowledged: datetime | None = None
    """When the automatic run closed that automation waits for a person to look at; None: it waits for nobody."""
    acknowledged: datetime | None = None
    """When a person last said that they have seen what automation did."""
    freezes: tuple[Frozen, ...] = ()
    """The freeze windows that the present lies in."""
    gate: str | None = None
    """Why all automation is off; None: it is on."""
    load: Load | None = None
    """What its endpoints that carry traffic have in flight; None: that is known of none of them."""
    cost: str = ""
    """What its readiness costs, and what standbys that serve now add, in words; empty: no price is known."""


@dataclass(frozen=True, slots=True)
class StatusQuestion:
    """Query argument: workflows have no clock of their own between tasks, so the asker brings his."""

    now: datetime
    heartbeats: Heartbeats = NOTHING_HEARD


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """Query argument: what would come of *request* (None: of the orchestrator's own decision) in this light?"""

    now: datetime
    look: Look
    request: Request | None = None
    down: tuple[EndpointId, ...] = ()
    """Endpoints that are taken for down, whatever is seen of them: a drill that only asks."""
    ledger: Ledger | None = None
    """What the governor holds; None: it is not asked."""
    under_way: UnderWay | None = None
    """A run that asks again: answered with what stands against its move now, and no plan."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be done now, and why (not)."""

    decision: str
    """``hold``, ``ask`` or ``go``."""
    reasons: tuple[Objection, ...]
    plan: Plan | None = None
    """What it would do, or would have done."""
