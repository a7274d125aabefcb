"""The quorum: many vantages' opinions become one verdict per endpoint. Silence is neither health nor failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.core.health import EndpointState
from orchestrator.core.names import EndpointId, ServiceId, VantageId
from orchestrator.core.topology import Endpoint, Vantage


class Verdict(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Report:
    """What one vantage's shard says of one service now: levels, not edges. All endpoints of the service."""

    service: ServiceId
    vantage: VantageId
    shard: int
    host: str
    """The machine it was probed from; two vantages on one machine see with one eye."""
    epoch: int
    """Counted up by the watch workflow each time probing (re)starts."""
    seq: int
    """Counted up within an epoch."""
    revision: int
    """Topology revision that the prober works from."""
    isolated: bool
    """The vantage sees unrelated domains fail together and suspects itself."""
    states: tuple[EndpointState, ...]


@dataclass(frozen=True, slots=True)
class Seeded:
    """One endpoint that was not healthy when its prober was last heard from."""

    service: ServiceId
    state: EndpointState


@dataclass(frozen=True, slots=True)
class Seed:
    """What a prober's heartbeat carries, and the next epoch begins with: the endpoints that are not healthy."""

    revision: int = 0
    states: tuple[Seeded, ...] = ()


@dataclass(frozen=True, slots=True)
class Opinion:
    """An endpoint's state as a vantage sees it, in times of the receiver's clock."""

    state: EndpointState
    last_good: datetime | None
    first_bad: datetime | None


@dataclass(frozen=True, slots=True)
class View:
    """The latest word of one vantage on one service."""

    vantage: VantageId
    host: str
    epoch: int
    seq: int
    revision: int
    isolated: bool
    heard: datetime
    """When it was last known alive: a report received, or its prober's heartbeat as the server stamped it."""
    opinions: tuple[Opinion, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict on one endpoint, with the reasons in words."""

    endpoint: EndpointId
    verdict: Verdict
    text: str
    """``down from 2 of 3 vantages (v2, v3): http: connect timed out``."""
    last_good: datetime | None
    """The latest good probe by any vantage that votes; what TTD and TTR are measured from."""
    first_bad: datetime | None
    """The earliest failed probe of the present streak, by any vantage that votes."""
    proven: bool


def fold(views: tuple[View, ...], report: Report, *, now: datetime) -> tuple[View, ...]:
    """*views* with *report* taken in, if ``(epoch, seq)`` is newer than what that vantage said before."""
    raise NotImplementedError


def hear(views: tuple[View, ...], heartbeats: tuple[tuple[VantageId, datetime], ...]) -> tuple[View, ...]:
    """*views* with the server-stamped heartbeats of the probers taken in; never makes a view older."""
    raise NotImplementedError


def assess(
    endpoint: Endpoint,
    views: tuple[View, ...],
    vantages: tuple[Vantage, ...],
    *,
    now: datetime,
    fresh_s: float,
    simulates_hosts: bool = False,
) -> Assessment:
    """The verdict on *endpoint*.

    Down needs a majority of the configured *vantages*, at least two, each fresh (heard within *fresh_s*), not
    isolated, outside the endpoint's own region, and on hosts of their own.
    """
    raise NotImplementedError
