"""A region that is lost: its reports travel together, and many services are led out of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.governing import SlotAnswer, SlotRequest
from orchestrator.core.names import Domain, RunId, ServiceId, VantageId
from orchestrator.core.quorum import Report
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Notify
from workflows.wire.evacuation import Departure, Fate
from workflows.wire.run import Carry, HeadStart
from workflows.wire.watching import Heartbeats


@dataclass(frozen=True, slots=True)
class Fallen:
    """One service that has endpoints down in the region, as one vantage sees it."""

    report: Report
    tier: int = 3
    """1 goes first."""
    depends: tuple[ServiceId, ...] = ()
    """Services that go before it, where they leave too."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Signal ``heard``: what one vantage says of many services that have endpoints down in *domain*."""

    domain: Domain
    vantage: VantageId
    region: Domain
    """Where the vantage stands."""
    vantages: int
    """How many are configured."""
    at_once: int
    """How many may be on the move at one time."""
    fallen: tuple[Fallen, ...]


@dataclass(frozen=True, slots=True)
class LeadRequest:
    """Update ``lead``: decide now on these reports. A leader carries out what can be done at once."""

    id: str
    domain: Domain
    reports: tuple[Report, ...]
    heartbeats: Heartbeats
    until: datetime
    """When its run begins by itself, if nobody has led it till then."""
    instead: RunId | None = None
    """The run that the governor refused: another choice is wanted."""
    refused: SlotAnswer | None = None


@dataclass(frozen=True, slots=True)
class Led:
    """Answer: the run that waits for its leader; or none, and why."""

    run: RunId | None = None
    carry: Carry | None = None
    slot: SlotRequest | None = None
    """What the governor is asked on its behalf."""
    may_proceed: bool = False
    """Whether it goes on where the governor is silent."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Following:
    """One service that is to be led, with what each vantage says of it."""

    service: ServiceId
    reports: tuple[Report, ...]
    before: RunId | None = None
    """The run that could not be granted before."""
    last: bool = False
    """If it cannot be granted now, the service sees to it by itself."""


@dataclass(frozen=True, slots=True)
class LeadTask:
    """Lead these services out of *domain*."""

    id: str
    domain: Domain
    services: tuple[Following, ...]
    crowd: int = 0
    """How many services leave it in all."""


@dataclass(frozen=True, slots=True)
class Lead:
    """What came of leading one service."""

    service: ServiceId
    fate: Fate
    run: RunId | None = None
    text: str = ""
    head: HeadStart | None = None
    """What its service is yet to be told; None: nothing."""


@dataclass(frozen=True, slots=True)
class LeadAnswer:
    """One for each service of the task, in its order; and who is to be told that a region is lost."""

    leads: tuple[Lead, ...]
    notify: tuple[Notify, ...] = ()


@dataclass(frozen=True, slots=True)
class HandOver:
    """Tell services that their runs go on, and what was reported meanwhile."""

    heads: tuple[tuple[ServiceId, HeadStart], ...] = ()
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Steered:
    """Signal ``steered``: the traffic of an unplanned move has moved; its run goes on."""

    run: RunId
    routing: Routing


@dataclass(frozen=True, slots=True)
class Heard:
    """One service of which something is down in the region, and that nobody leads yet."""

    service: ServiceId
    since: datetime
    tier: int
    depends: tuple[ServiceId, ...] = ()
    reports: tuple[Report, ...] = ()
    """One for each vantage."""
    before: RunId | None = None
    """The run that could not be granted at the last try."""
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Vantage:
    """A vantage that speaks of the region."""

    id: VantageId
    region: Domain
    """Where it stands."""
    at: datetime
    """When it spoke last."""


@dataclass(frozen=True, slots=True)
class LostState:
    """What the workflow of a lost region takes along when its history has become long."""

    id: str
    """Of the event; it stays the same."""
    started: datetime
    spoke: tuple[Vantage, ...]
    majority: int
    at_once: int
    batches: int
    waiting: tuple[Heard, ...]
    departures: tuple[Departure, ...]
    heads: tuple[tuple[datetime, ServiceId, HeadStart], ...]
    late: tuple[Report, ...]
    notify: tuple[Notify, ...] | None
    stopped: str
