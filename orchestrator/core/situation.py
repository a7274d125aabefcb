"""The situation of one service: everything a decision may look at, and what can be read from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.load import Observed
from orchestrator.core.move import Objection
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.orders import NO_ORDERS, Orders
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.signals import Effect, Evidence, against
from orchestrator.core.steering import Former, Routing, serving, shares_now
from orchestrator.core.topology import Endpoint, Mode, Role, Service, Weights


@dataclass(frozen=True, slots=True)
class Shift:
    """A planned move that a person made for a time only."""

    run: RunId
    by: str
    reason: str
    expires: datetime
    before: Weights
    """Where traffic went, and goes again when it has expired."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a decision may look at."""

    service: Service
    assessments: tuple[Assessment, ...]
    """One per endpoint."""
    routing: Routing | None
    """None: it could not be read."""
    mode: Mode
    now: datetime
    paused: str | None = None
    """Who paused it and why."""
    run: RunId | None = None
    """The run that holds the service."""
    last_closed: datetime | None = None
    """When the last run closed: cool-down counts from here."""
    held: tuple[Objection, ...] = ()
    """Standing reasons not to automate: ``changed-outside``, ``recreated`` ..."""
    revision: int = 0
    orders: Orders = NO_ORDERS
    """What holds for every service."""
    automatic: tuple[datetime, ...] = ()
    """When the service's automatic runs closed, the latest at least."""
    acknowledged: datetime | None = None
    """When a person last said that they have seen what automation did."""
    shift: Shift | None = None
    """The move for a time that still stands."""
    promised: tuple[tuple[str, int], ...] = ()
    """Requests in flight of each shared pool that are promised to other services."""
    holders: tuple[tuple[str, str], ...] = ()
    """Which services those are, in words, by pool; empty: not known."""
    fruitless: tuple[EndpointId, ...] = ()
    """Targets that could not be made ready lately: they are tried last."""
    crowd: tuple[Objection, ...] = ()
    """What speaks against one move more while others are on their way; see ``core.crowd``."""
    observed: tuple[Observed, ...] = ()
    """The load of its endpoints, where it is known; at most one for each."""
    evidence: tuple[Evidence, ...] = ()
    """The signals that are active at its endpoints."""
    former: Former | None = None
    """What the record says by our own hand, though the topology has changed the answers of its endpoints since."""

    def endpoint(self, endpoint: EndpointId) -> Endpoint | None:
        """The endpoint of that id, or None."""
        return next((e for e in self.service.endpoints if e.id == endpoint), None)

    def assessment(self, endpoint: EndpointId) -> Assessment:
        """The verdict on *endpoint*; unknown where nobody has said anything."""
        for assessment in self.assessments:
            if assessment.endpoint == endpoint:
                return assessment
        return Assessment(endpoint, Verdict.UNKNOWN, "no vantage has said anything yet", None, None, False)

    def verdict(self, endpoint: EndpointId) -> Verdict:
        return self.assessment(endpoint).verdict

    @property
    def shares(self) -> Weights | None:
        """How traffic is spread by the routing as it was read; None: not known."""
        return None if self.routing is None else shares_now(self.routing, self.service.endpoints, self.former)

    @property
    def outdated(self) -> bool:
        """Whether the record says what an earlier topology said: ours, and to be written anew by the next move."""
        return self.routing is not None and self.former is not None and self.former.holds(self.routing)

    @property
    def carrying(self) -> tuple[EndpointId, ...]:
        """The endpoints that carry traffic: by the routing, and where that is not known, those of role active."""
        shares = self.shares
        if shares is None:
            return tuple(sorted(e.id for e in self.service.endpoints if e.role is Role.ACTIVE))
        return tuple(sorted(e for e in serving(shares) if self.endpoint(e) is not None))

    @property
    def dead(self) -> tuple[EndpointId, ...]:
        """The endpoints that carry traffic and are down."""
        return tuple(e for e in self.carrying if self.verdict(e) is Verdict.DOWN)

    @property
    def leaving(self) -> tuple[EndpointId, ...]:
        """The endpoints that carry traffic and that a signal says to leave in good time."""
        return tuple(e for e in self.carrying if against(self.evidence, e, Effect.DRAIN) and e not in self.dead)

    @property
    def dark(self) -> bool:
        """Whether no endpoint is known to work: all are down or unknown. Then routing stays as it is (fail static)."""
        return all(self.verdict(e.id) in {Verdict.DOWN, Verdict.UNKNOWN} for e in self.service.endpoints)

    def cold(self, endpoint: EndpointId) -> bool:
        """Whether *endpoint* is a standby that runs nothing until it is promoted: its silence says nothing of it."""
        found = self.endpoint(endpoint)
        if found is None or found.workload is None or endpoint in self.carrying:
            return False
        idle = found.role is Role.STANDBY and found.workload.standby == 0 < found.workload.serving
        return idle and self.verdict(endpoint) in {Verdict.DOWN, Verdict.UNKNOWN}
