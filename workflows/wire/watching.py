"""Watching as it travels: epochs, heartbeats, and what a decision reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.load import Observed
from orchestrator.core.names import ServiceId, VantageId
from orchestrator.core.quorum import Seed
from orchestrator.core.signals import Evidence
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Notify, Service, SteeringSpec, Vantage


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a watch of a drill probes: one service that is there for the drill only."""

    drill: str
    """The drill's workflow: it is asked what probers are told to see."""
    service: Service
    revision: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Start of one epoch of probing by one (vantage, shard)."""

    vantage: Vantage
    shard: int
    epoch: int
    shards: int
    seed: Seed | None = None
    rehearsed: Rehearsed | None = None
    """None: it probes its share of the topology."""


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
    rehearsed: Rehearsed | None = None


@dataclass(frozen=True, slots=True)
class LoadsBeat:
    """The second detail of a prober's heartbeat: what each endpoint has in flight, and what signals say of it. The
    first one is the ``Seed``."""

    packed: str
    """By service, its endpoints with their requests in flight and how many seconds old that was when it was packed; see
    ``workflows.activities.loads``. Some 10 KB for the 2,000 endpoints that it holds at most."""
    age_s: float
    """Since it was packed."""
    signals: str = ""
    """By service, the signals that are active at its endpoints; see ``workflows.activities.signals``."""


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Server-stamped last heartbeat of the probers of every vantage that is running."""

    heard: tuple[tuple[VantageId, datetime], ...] = ()
    loads: tuple[Observed, ...] = ()
    """The load of the endpoints of the one service that is asked about, by those heartbeats."""
    evidence: tuple[Evidence, ...] = ()
    """The signals that are active at them, by those heartbeats."""


NOTHING_HEARD = Heartbeats()


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
