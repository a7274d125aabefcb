"""An evacuation: what is asked, what becomes of each service, and the one record of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.core.evacuation import Leaving
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId


@dataclass(frozen=True, slots=True)
class EvacuationRequest:
    """Start of an evacuation: everything leaves *domain*."""

    id: str
    domain: Domain
    by: str
    reason: str
    at_once: int = 10
    """Services that move at one time."""
    patience_s: float = 120.0
    """How long a wave holds up the next one: what takes longer goes on beside it."""
    overrides: tuple[str, ...] = ()
    """Safety rules set aside by name, for every service."""


class Fate(StrEnum):
    """What has become of one service."""

    WAITING = "waiting"
    MOVING = "moving"
    MOVED = "moved"
    NOTHING = "nothing to move"
    """It sends no traffic there."""
    REFUSED = "refused"
    """A safety rule or the fence; the text says why."""
    FAILED = "failed"
    LEFT = "left"
    """The evacuation was stopped before its turn."""


OVER = frozenset({Fate.MOVED, Fate.NOTHING, Fate.REFUSED, Fate.FAILED, Fate.LEFT})


@dataclass(frozen=True, slots=True)
class Departure:
    """One service's part of an evacuation."""

    service: ServiceId
    wave: int
    """From 1."""
    tier: int
    fate: Fate = Fate.WAITING
    run: RunId | None = None
    text: str = ""
    began: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class EvacuationReport:
    """Query ``report``: the evacuation so far, and its one record once it is over."""

    id: str
    domain: Domain
    by: str
    reason: str
    started: datetime
    departures: tuple[Departure, ...] = ()
    stopped: str = ""
    """Who stopped it, and why."""
    ended: datetime | None = None

    def count(self, *fates: Fate) -> int:
        """How many services met one of *fates*."""
        return sum(each.fate in fates for each in self.departures)


@dataclass(frozen=True, slots=True)
class EvacuationStop:
    """Update ``stop``: no further service leaves."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Inside:
    """The services that have endpoints in a domain."""

    services: tuple[Leaving, ...]


@dataclass(frozen=True, slots=True)
class DepartureTask:
    """Ask one service to leave its *endpoints*."""

    evacuation: str
    domain: Domain
    service: ServiceId
    endpoints: tuple[EndpointId, ...]
    by: str
    reason: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Departed:
    """What came of it: a run under way, the end already, or (waiting) nothing yet: too much is on the move."""

    fate: Fate
    run: RunId | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ArrivalQuestion:
    """Wait until the run of a service that leaves is closed."""

    service: ServiceId
    run: RunId
