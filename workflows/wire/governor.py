"""What is said to the governor. What it is asked, answers and keeps are ``core.governing``'s values."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.easing import Return, Setback
from orchestrator.core.governing import Ledger, Needs, SlotAnswer, SlotRequest
from orchestrator.core.names import Domain, RunId, ServiceId
from orchestrator.core.orders import Limits, Pool


@dataclass(frozen=True, slots=True)
class GovernorState:
    """What the governor carries from one execution to the next."""

    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Regime:
    """Signal ``configure``: how much may move at one time, under one revision of the topology."""

    revision: int
    limits: Limits
    pools: tuple[Pool, ...]
    services: tuple[ServiceId, ...]


@dataclass(frozen=True, slots=True)
class Arrival:
    """The traffic of one service that was led has moved, and takes this of shared pools where it goes now."""

    token: RunId
    service: ServiceId
    needs: Needs


@dataclass(frozen=True, slots=True)
class SlotRequests:
    """Update ``acquire``: the runs that are about to start on one worker, each with its own token."""

    requests: tuple[SlotRequest, ...]
    arrivals: tuple[Arrival, ...] = ()
    """What has arrived before; a signal would be one task more."""


@dataclass(frozen=True, slots=True)
class SlotAnswers:
    """One for each request, in their order."""

    answers: tuple[SlotAnswer, ...]


@dataclass(frozen=True, slots=True)
class Stand:
    """What a service's traffic takes of shared pools where it goes now."""

    service: ServiceId
    needs: Needs


@dataclass(frozen=True, slots=True)
class GiveBack:
    """A run is over, has moved its traffic, or never began."""

    token: RunId
    end: Return | None = None
    """How a failback ended, where it says something of the regions that it went into."""


@dataclass(frozen=True, slots=True)
class News:
    """Signal ``told``: what one service has to tell."""

    stand: Stand | None = None
    """None: it takes what it took."""
    back: tuple[GiveBack, ...] = ()


@dataclass(frozen=True, slots=True)
class SetbackQuestion:
    """Query ``setbacks``: which of *regions* did not bear the return of a service?"""

    regions: tuple[Domain, ...]


@dataclass(frozen=True, slots=True)
class Setbacks:
    """What is remembered of them."""

    found: tuple[Setback, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Signal ``arrived``: their places are free."""

    arrivals: tuple[Arrival, ...]
