"""The moves that a service could make: away from what fails, where a person wants it, and home. Pure and total.

None of them is judged here: ``safety`` says what speaks against each, and ``decision`` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.errors import Unsteerable
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId, region_of
from orchestrator.core.quorum import Verdict
from orchestrator.core.signals import Effect, against
from orchestrator.core.situation import Shift, Situation
from orchestrator.core.steering import answer_for, evenly, full, serving
from orchestrator.core.topology import Role, Weights

_OF_ROOM = frozenset({"capacity-short", "pool-full"})
"""Rules by which a home may be too small for everything: a person who sets one aside wants it all the same."""
MOST_SHARING = 8
"""Targets that share what one of them cannot take alone, at most."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a person (or a drill, for the way home) asks for."""

    kind: MoveKind
    trigger: Trigger
    target: EndpointId | None = None
    """None: the best one that no rule speaks against."""
    runbook: str | None = None
    """None: the one that the service's policy names."""
    values: tuple[tuple[str, str], ...] = ()
    """For the runbook's parameters, as text; sorted."""
    leaving: tuple[EndpointId, ...] = ()
    """The endpoints that traffic must leave, each that carries none ignored; empty: all that carry it."""
    after: Weights | None = None
    """The weights wanted, where they are known exactly (the last good ones); then *target* is where most goes."""
    expires: datetime | None = None
    """When the service asks to go back to where traffic went before; None: the move is for good."""


def in_order(situation: Situation) -> tuple[EndpointId, ...]:
    """The service's endpoints as targets are tried: as the policy prefers, then role active, then by id.

    Those that a signal speaks against come late, and those that could not be made ready lately come last: capacity
    that was refused is not there a minute later.
    """
    prefer = {endpoint: index for index, endpoint in reversed(list(enumerate(situation.service.policy.prefer)))}
    ranked = sorted(
        situation.service.endpoints,
        key=lambda e: (
            e.id in situation.fruitless,
            bool(against(situation.evidence, e.id, Effect.DOUBT, Effect.DRAIN)),
            prefer.get(e.id, len(situation.service.policy.prefer)),
            e.role is not Role.ACTIVE,
            e.id,
        ),
    )
    return tuple(endpoint.id for endpoint in ranked)


def able(situation: Situation) -> tuple[EndpointId, ...]:
    """Endpoints that may take traffic, in order; cold standbys last."""
    warm = tuple(e for e in in_order(situation) if not situation.cold(e) and situation.verdict(e) is not Verdict.DOWN)
    return (*warm, *(e for e in in_order(situation) if situation.cold(e)))


def away(
    situation: Situation,
    targets: tuple[EndpointId, ...],
    kind: MoveKind = MoveKind.FAILOVER,
    leaving: tuple[EndpointId, ...] = (),
) -> Iterator[Move]:
    """Moves that take every dead endpoint out, and those of *leaving*; the gentlest first.

    The others carry on alone; or a target takes the place of what is taken out; or a target takes everything; or
    several targets share what none of them could take alone.
    """
    endpoints = situation.service.endpoints
    staying = tuple(e for e in situation.carrying if e not in situation.dead and e not in leaving)
    for target in targets:
        if target in staying:
            yield _move(situation, kind, target, evenly(endpoints, staying))
    for target in targets:
        if staying and target not in situation.carrying:
            yield _move(situation, kind, target, evenly(endpoints, (*staying, target)))
    for target in targets:
        if (target,) != staying:
            yield _move(situation, kind, target, full(endpoints, target))
    fresh = tuple(e for e in targets if e not in situation.carrying)
    # A runbook promotes and proves each of them.
    for count in range(2, min(len(fresh), MOST_SHARING + 1) + 1):
        yield _move(situation, kind, fresh[0], evenly(endpoints, (*staying, *fresh[:count])))


def shift_of(request: Request, run: RunId, before: Weights | None) -> Shift | None:
    """What a service remembers of a move for a time, once its run has moved traffic away from *before*."""
    if request.expires is None or before is None:
        return None
    return Shift(run, request.trigger.by, request.trigger.reason, request.expires, before)


def back_from(situation: Situation, shift: Shift) -> Iterator[Move]:
    """The way back from *shift*: to where traffic went before it, as far as that still exists; else home."""
    endpoints = situation.service.endpoints
    given = dict(shift.before)
    left = tuple(e.id for e in endpoints if given.get(e.id, 0) > 0)
    if not left:
        yield from _home(situation, None, in_order(situation))
        return
    whole = tuple(sorted((e.id, given.get(e.id, 0)) for e in endpoints))
    before = whole if len(left) == len(serving(shift.before)) else evenly(endpoints, left)
    target = max((e for e in left if e not in situation.carrying), key=lambda e: given[e], default=left[0])
    yield _move(situation, MoveKind.FAILBACK, target, before)


def requested(situation: Situation, request: Request) -> Iterator[Move]:
    """The moves that would satisfy *request*, the best target first."""
    order = in_order(situation)
    wanted = (request.target,) if request.target is not None else ()
    if request.kind is MoveKind.PREPARATION:
        for target in wanted or _idle_first(situation, order):
            yield preparation(situation, target)
        return
    if request.after is not None:
        yield from _exactly(situation, request.kind, request.target, request.after)
        return
    if request.leaving:
        yield from _leaving(situation, request.kind, request.leaving, wanted or able(situation) or order)
        return
    if request.kind is MoveKind.FAILBACK:
        yield from _home(situation, request.target, order, whole=bool(_OF_ROOM & set(request.trigger.overrides)))
        return
    if request.kind is MoveKind.FAILOVER and situation.dead:
        yield from away(situation, wanted or able(situation) or order)
        return
    fresh = tuple(e for e in order if e not in situation.carrying)
    targets = fresh or (order if len(order) > 1 else ())
    for target in wanted or targets:
        yield _move(situation, request.kind, target, full(situation.service.endpoints, target))


def _leaving(
    situation: Situation, kind: MoveKind, leaving: tuple[EndpointId, ...], targets: tuple[EndpointId, ...]
) -> Iterator[Move]:
    """The moves that take *leaving* out; where they carry nothing, the one that changes nothing."""
    if any(e in leaving for e in situation.carrying):
        yield from away(situation, tuple(e for e in targets if e not in leaving), kind, leaving)
        return
    stays = situation.shares or evenly(situation.service.endpoints, situation.carrying)
    for target in situation.carrying[:1]:
        yield _move(situation, kind, target, stays)


def preparation(situation: Situation, target: EndpointId) -> Move:
    """Make *target* ready: traffic stays as it is."""
    stays = situation.shares or evenly(situation.service.endpoints, situation.carrying)
    return Move(situation.service.id, MoveKind.PREPARATION, (), target, stays)


def _idle_first(situation: Situation, order: tuple[EndpointId, ...]) -> tuple[EndpointId, ...]:
    """Endpoints in the order in which they would be made ready: standbys without traffic before the others."""
    standbys = {e.id for e in situation.service.endpoints if e.role is Role.STANDBY}
    return tuple(sorted(order, key=lambda e: (e in situation.carrying, e not in standbys, order.index(e))))


def _exactly(situation: Situation, kind: MoveKind, target: EndpointId | None, after: Weights) -> Iterator[Move]:
    """The move to the weights *after*, with 0 for every endpoint that they do not name."""
    given = dict(after)
    whole = tuple(sorted((e.id, given.get(e.id, 0)) for e in situation.service.endpoints))
    if target is None:
        # A run promotes its target and asks it for proof: that is for whoever begins to carry traffic.
        fresh = tuple(each for each in whole if each[1] > 0 and each[0] not in situation.carrying)
        target = max(fresh or whole, key=lambda each: each[1], default=(None, 0))[0]
    if target is not None:
        yield _move(situation, kind, target, whole)


def _home(
    situation: Situation, target: EndpointId | None, order: tuple[EndpointId, ...], *, whole: bool = False
) -> Iterator[Move]:
    """The way home: to the endpoints of role active, sharing evenly where there are several that work.

    Where home cannot take everything, it shares with those that stand in for it, unless it is the *whole* or nothing.
    """
    endpoints = situation.service.endpoints
    active = tuple(e for e in order if any(e == each.id and each.role is Role.ACTIVE for each in endpoints))
    staying = tuple(e for e in active if e in situation.carrying and e not in situation.dead)
    if target is not None:
        together = (*staying, target) if target in active else (target,)
        yield _move(situation, MoveKind.FAILBACK, target, _steerable(situation, together, target))
        return
    fit = tuple(e for e in active if situation.verdict(e) is Verdict.HEALTHY)
    waiting = tuple(e for e in active if e not in situation.carrying)
    for home in waiting or active:
        yield _move(situation, MoveKind.FAILBACK, home, _steerable(situation, (*staying, *fit, home), home))
    working = tuple(e for e in situation.carrying if e not in situation.dead)
    for home in waiting if working and not whole else ():
        yield _move(situation, MoveKind.FAILBACK, home, _steerable(situation, (*working, home), home))


def _steerable(situation: Situation, together: tuple[EndpointId, ...], alone: EndpointId) -> Weights:
    """Even shares for *together*, or everything to *alone* where the answer cannot name several (CNAME)."""
    endpoints = situation.service.endpoints
    weights = evenly(endpoints, together)
    try:
        answer_for(endpoints, weights)
    except Unsteerable:
        return full(endpoints, alone)
    return weights


def _move(situation: Situation, kind: MoveKind, target: EndpointId, after: Weights) -> Move:
    """The move to *after*. Its sources are the endpoints that lose all their traffic: they can be drained."""
    keeps = serving(after)
    source = tuple(e for e in situation.carrying if e not in keeps)
    down = tuple(e for e in source if e in situation.dead)
    if down:
        kind = MoveKind.FAILOVER
    elif kind is MoveKind.FAILOVER:
        kind = MoveKind.SWITCHOVER
    regions = {region_of(e.region) for e in situation.service.endpoints if e.id in down}
    return Move(situation.service.id, kind, source, target, after, tuple(sorted(regions)))
