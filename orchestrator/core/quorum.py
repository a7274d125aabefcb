"""The quorum: many vantages' opinions become one verdict per endpoint. Silence is neither health nor failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.core.health import OPINION, EndpointState, Health
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId, encloses, region_of
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
    """The latest good probe by those who tell the verdict, or else by any vantage; TTD and TTR count from it."""
    first_bad: datetime | None
    """The earliest failed probe of the present streak, by any vantage that votes."""
    proven: bool
    votes: int = 0
    """Machines that have a vote and an opinion: down needs most of the configured vantages."""


def fold(views: tuple[View, ...], report: Report, *, now: datetime) -> tuple[View, ...]:
    """*views* with *report* taken in, if ``(epoch, seq)`` is newer than what that vantage said before.

    An endpoint that was down and of which the report knows nothing keeps its old opinion: a new epoch begins
    with unknowns, and a down holds until proved otherwise. An endpoint that a newer topology left out is forgotten.
    """
    old = next((view for view in views if view.vantage == report.vantage), None)
    if old is not None and (report.epoch, report.seq) <= (old.epoch, old.seq):
        return views
    opinions = {
        state.endpoint: Opinion(state, _ago(now, state.last_good_age_s), _ago(now, state.first_bad_age_s))
        for state in report.states
    }
    for opinion in old.opinions if old else ():
        said = opinions.get(opinion.state.endpoint)
        forgotten = said is None and old is not None and report.revision > old.revision
        silent = said is None or said.state.health is Health.UNKNOWN
        if opinion.state.health is Health.DOWN and silent and not forgotten:
            opinions[opinion.state.endpoint] = opinion
    view = View(
        vantage=report.vantage,
        host=report.host,
        epoch=report.epoch,
        seq=report.seq,
        revision=report.revision,
        isolated=report.isolated,
        heard=now if old is None else max(now, old.heard),
        opinions=tuple(opinions[endpoint] for endpoint in sorted(opinions)),
    )
    others = tuple(other for other in views if other.vantage != report.vantage)
    return tuple(sorted((*others, view), key=lambda each: each.vantage))


def _ago(now: datetime, age_s: float | None) -> datetime | None:
    """*now* less *age_s*; None for an age that no clock can have measured."""
    try:
        return None if age_s is None else now - timedelta(seconds=max(age_s, 0.0))
    except (OverflowError, ValueError):
        return None


def hear(views: tuple[View, ...], heartbeats: tuple[tuple[VantageId, datetime], ...]) -> tuple[View, ...]:
    """*views* with the server-stamped heartbeats of the probers taken in; never makes a view older."""
    heard: dict[VantageId, datetime] = {}
    for vantage, at in heartbeats:
        heard[vantage] = max(at, heard.get(vantage, at))
    return tuple(replace(view, heard=max(view.heard, heard.get(view.vantage, view.heard))) for view in views)


@dataclass(frozen=True, slots=True)
class _Ballot:
    """The voters' opinions of one endpoint, and who has no vote and why."""

    voters: tuple[tuple[VantageId, Opinion], ...]
    """Each has an opinion; sorted by vantage."""
    votes: tuple[Health, ...]
    """One per machine: vantages on one machine see with one eye."""
    configured: int
    absent: tuple[str, ...]
    """Phrases for a person: ``silent: v3``, ``isolated: v2``."""

    def saying(self, *healths: Health) -> tuple[tuple[VantageId, Opinion], ...]:
        return tuple((vantage, opinion) for vantage, opinion in self.voters if OPINION[opinion.state.health] in healths)

    def count(self, health: Health) -> int:
        return self.votes.count(health)


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
    isolated, outside the endpoint's own region, and on hosts of their own. Where no vantage is configured outside
    the region, those inside may say healthy or degraded, never down.
    Proven: most of the voters saw its completions complete.
    """
    outside = tuple(v for v in vantages if not encloses(region_of(endpoint.region), v.region))
    ballot = _ballot(
        endpoint, views, vantages, outside or vantages, now=now, fresh_s=fresh_s, simulates_hosts=simulates_hosts
    )
    verdict = _verdict(ballot, may_be_down=bool(outside))
    tellers = ballot.saying(Health.DOWN) if verdict is Verdict.DOWN else ballot.voters
    goods = [opinion.last_good for _, opinion in tellers if opinion.last_good is not None]
    if not goods:
        # Whoever began to look after the outage did has seen no good answer; an older word of another vantage stands.
        known = (opinion for view in views for opinion in view.opinions if opinion.state.endpoint == endpoint.id)
        goods = [opinion.last_good for opinion in known if opinion.last_good is not None]
    proofs = sum(opinion.state.proven for _, opinion in ballot.voters)
    return Assessment(
        endpoint=endpoint.id,
        verdict=verdict,
        text=_text(verdict, ballot, None if outside else region_of(endpoint.region)),
        last_good=max(goods, default=None),
        first_bad=min((o.first_bad for _, o in tellers if o.first_bad is not None), default=None),
        proven=verdict in {Verdict.HEALTHY, Verdict.DEGRADED} and proofs * 2 > len(ballot.voters),
        votes=len(ballot.votes),
    )


def _ballot(
    endpoint: Endpoint,
    views: tuple[View, ...],
    vantages: tuple[Vantage, ...],
    allowed: tuple[Vantage, ...],
    *,
    now: datetime,
    fresh_s: float,
    simulates_hosts: bool,
) -> _Ballot:
    """The ballot on *endpoint*; of the configured *vantages* only those *allowed* may vote."""
    voters: list[tuple[VantageId, Opinion]] = []
    hosts: dict[str, set[Health]] = {}
    absent: dict[str, list[VantageId]] = {}
    by_vantage = {view.vantage: view for view in views}
    for vantage in sorted({v.id for v in vantages}):
        view = by_vantage.get(vantage)
        if vantage not in {v.id for v in allowed}:
            absent.setdefault("in its own region", []).append(vantage)
        elif view is None or (now - view.heard).total_seconds() > fresh_s:
            absent.setdefault("silent", []).append(vantage)
        elif view.isolated:
            absent.setdefault("isolated", []).append(vantage)
        else:
            opinion = next((o for o in view.opinions if o.state.endpoint == endpoint.id), None)
            if opinion is None or opinion.state.health is Health.UNKNOWN:
                absent.setdefault("no opinion yet", []).append(vantage)
                continue
            voters.append((vantage, opinion))
            host = f"vantage {vantage}" if simulates_hosts else f"host {view.host}"
            hosts.setdefault(host, set()).add(OPINION[opinion.state.health])
    return _Ballot(
        voters=tuple(voters),
        votes=tuple(_vote(hosts[host]) for host in sorted(hosts)),
        configured=len({v.id for v in vantages}),
        absent=tuple(f"{why}: {', '.join(who)}" for why, who in sorted(absent.items())),
    )


def _vote(opinions: set[Health]) -> Health:
    """One machine's vote. A machine that sees it both down and not has seen it degraded."""
    return next(iter(opinions)) if len(opinions) == 1 else Health.DEGRADED


def _verdict(ballot: _Ballot, *, may_be_down: bool) -> Verdict:
    downs, degraded, healthy = (ballot.count(h) for h in (Health.DOWN, Health.DEGRADED, Health.HEALTHY))
    if may_be_down and downs >= 2 and downs * 2 > ballot.configured:
        return Verdict.DOWN
    if degraded * 2 > len(ballot.votes) or (downs and healthy):
        return Verdict.DEGRADED
    return Verdict.HEALTHY if healthy and not downs else Verdict.UNKNOWN


def _text(verdict: Verdict, ballot: _Ballot, inside: Domain | None) -> str:
    """The verdict in words: from where it is seen so, who sees it otherwise, and who has no vote."""
    parts = []
    for health in (Health.DOWN, Health.DEGRADED, Health.HEALTHY):
        seen = ballot.saying(health)
        if not seen:
            continue
        detail = next((o.state.detail for _, o in seen if o.state.detail), "") if health is not Health.HEALTHY else ""
        who = ", ".join(vantage for vantage, _ in seen)
        parts.append(
            f"{health} from {len(seen)} of {ballot.configured} vantages ({who}){': ' + detail if detail else ''}"
        )
    if verdict is Verdict.UNKNOWN:
        parts.insert(
            0,
            "unknown: too few vantages with a vote see it down" if ballot.voters else "unknown: no vantage has a vote",
        )
        if len(ballot.votes) < len(ballot.voters):
            parts.append(f"votes count by machine, and there are {len(ballot.votes)} for {len(ballot.voters)} vantages")
    if inside is not None:
        parts.append(f"no vantage stands outside {inside}, so it can never be found down")
    return "; ".join((*parts, *ballot.absent))
