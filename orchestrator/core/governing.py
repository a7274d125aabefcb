"""Governing: who is on the move now, and what each shared pool is promised to. Pure: the governor keeps the ledger.

A grant is known by its token, the id of the run that it is for, so that the same wish twice is one grant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.core.crowd import Moving, crowding, moving
from orchestrator.core.decision import Decision, Go
from orchestrator.core.easing import Return, Setback, after, holding_up
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import Domain, RunId, ServiceId, rehearses
from orchestrator.core.orders import Limits, Pool
from orchestrator.core.situation import Situation
from orchestrator.core.targets import gaining, pool_asks, pool_stands, services_named
from orchestrator.core.topology import Ungoverned

Needs = tuple[tuple[str, int], ...]
"""Requests in flight by shared pool; sorted."""
USUAL = Limits()
REMEMBERED = 512
"""Tokens that were given back, so that a wish which arrives after them is not granted."""
CHOICES = 3
"""Moves that a service asks leave for in one decision, at most: what is refused may make another one the best."""


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """A run that is about to start asks whether it may."""

    token: RunId
    workflow: str
    """The run's workflow, which is asked after when nothing was heard of it for long."""
    moving: Moving
    needs: Needs = ()
    aside: tuple[str, ...] = ()
    """Rules that are set aside for it: it is granted though they object."""
    tier: int = 3
    """When places are free again, 1 is told first."""
    calls: bool = True
    """Whether its service is told to look again when a place is free; else whoever asks asks again. Where a pool has no
    room it is told in any case when there is some."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to move, until it is given back or its run is found to be over."""

    request: SlotRequest
    since: datetime
    until: datetime
    """When its run is asked after."""
    aside: tuple[Objection, ...] = ()
    """What was set aside."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a service's traffic takes of the shared pools where it goes now."""

    service: ServiceId
    needs: Needs


@dataclass(frozen=True, slots=True)
class Refused:
    """A service that was refused, and is told to look again when something is free."""

    service: ServiceId
    tier: int
    since: datetime
    token: RunId | None = None
    """The run that it asked for last."""
    wishes: tuple[Needs, ...] = ((),)
    """For each of its choices, what it would take of the pools that were too full; empty: another thing spoke against
    it."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that the governor knows."""

    revision: int = 0
    limits: Limits = USUAL
    pools: tuple[Pool, ...] = ()
    services: int = 0
    """How many there are in all."""
    grants: tuple[Grant, ...] = ()
    """At most one for each service; the oldest first."""
    standing: tuple[Standing, ...] = ()
    """Sorted by service; those that take nothing are left out."""
    waiting: tuple[Refused, ...] = ()
    """Who would have gone: by tier, then who was refused first."""
    over: tuple[RunId, ...] = ()
    """Tokens given back, the oldest first."""
    setbacks: tuple[Setback, ...] = ()
    """Regions that did not bear the return of a service; see ``core.easing``."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a shared pool is promised to."""

    pool: str
    amount: int
    to: str
    """Some of the services, in words: an answer stays small however many there are."""


@dataclass(frozen=True, slots=True)
class SlotAnswer:
    """Whether a run may start, what speaks against it (or was set aside), and what is promised to other services."""

    granted: bool
    objections: tuple[Objection, ...] = ()
    promised: tuple[Promise, ...] = ()
    alongside: int = 0
    """How many others are on the move into the same regions."""


# ------------------------------------------------------------------ what a service says


def slot_request(
    move: Move, situation: Situation, token: RunId, workflow: str, evacuating: Domain | None = None
) -> SlotRequest:
    """What the run of *move* asks for.

    Services that flee one region are one change, evacuated or not: each verdict of down is a majority's, from outside.
    """
    if evacuating is None and not move.planned and len(move.failing) == 1:
        evacuating = move.failing[0]
    return SlotRequest(
        token,
        workflow,
        moving(move, situation, evacuating),
        pool_asks(move, situation),
        tier=situation.service.policy.tier,
    )


def standing(situation: Situation) -> Needs | None:
    """What the service's traffic takes of shared pools now; None: it is not known where the traffic goes."""
    return pool_stands(situation)


def told(situation: Situation, answer: SlotAnswer) -> Situation:
    """*situation* in the light of what the governor refused: rules find there what they object to."""
    return replace(
        situation,
        crowd=tuple(each for each in answer.objections if each.rule != "pool-full"),
        promised=tuple((each.pool, each.amount) for each in answer.promised),
        holders=tuple((each.pool, each.to) for each in answer.promised),
    )


def weighed(choose: Callable[[Situation], Decision], situation: Situation, ledger: Ledger) -> Decision:
    """What *choose* comes to where the governor, who keeps *ledger*, is asked as well. Nothing is granted."""
    token = RunId("weighed")
    decision = choose(situation)
    for _ in range(CHOICES):
        if not isinstance(decision, Go) or not asked_about(decision.move):
            break
        request = replace(slot_request(decision.move, situation, token, ""), aside=aside(decision))
        answer = judge(ledger, request, now=situation.now)
        if answer.granted:
            return replace(decision, alongside=answer.alongside)
        situation = told(situation, answer)
        decision = choose(situation)
    return decision


def beside(now: Situation, move: Move, ledger: Ledger) -> Situation:
    """*now* with what has come of the others since the run of *move* was granted."""
    return replace(now, crowd=(*now.crowd, *holding_up(moving(move, now), ledger.setbacks, now.now)))


def may_proceed(move: Move, situation: Situation) -> bool:
    """Whether automation makes *move* though the governor is silent.

    A pool may be promised to others: there nobody moves in the dark unless the policy says so. Without one, what the
    governor guards is only how much moves at once, and an outage does not wait for that.
    """
    said = situation.service.policy.without_governor
    if said is not None:
        return said is Ungoverned.PROCEED
    return not any(e is not None and e.pool for e in map(situation.endpoint, gaining(move, situation)))


def asked_about(move: Move) -> bool:
    """Whether the governor is asked about *move*: a preparation moves no traffic, and a drill's shadow has none."""
    return move.kind is not MoveKind.PREPARATION and not rehearses(move.service)


def aside(decision: Go) -> tuple[str, ...]:
    """The rules that are set aside for what was decided; sorted."""
    return tuple(sorted({each.rule for each in decision.overridden}))


# ------------------------------------------------------------------ what the governor does


def judge(ledger: Ledger, request: SlotRequest, *, now: datetime) -> SlotAnswer:
    """What is answered to *request*: granted where nothing speaks against it but what is set aside for it."""
    service, others = request.moving.service, _others(ledger, request)
    promises = promised(ledger, besides=service)
    found = (
        *_too_full(ledger, request, promises),
        *crowding(request.moving, others, ledger.services, ledger.limits),
        *holding_up(request.moving, ledger.setbacks, now),
    )
    granted = all(each.rule in request.aside for each in found)
    return SlotAnswer(granted, found, promises, _alongside(request, others))


def _others(ledger: Ledger, request: SlotRequest) -> tuple[Moving, ...]:
    return tuple(e.request.moving for e in ledger.grants if e.request.moving.service != request.moving.service)


def _alongside(request: SlotRequest, others: tuple[Moving, ...]) -> int:
    """How many of *others* bring traffic to a region of *request*."""
    return sum(any(region in request.moving.into for region in each.into) for each in others)


def acquire(ledger: Ledger, request: SlotRequest, *, now: datetime, until: datetime) -> tuple[Ledger, SlotAnswer]:
    """*ledger* with *request* granted, or as it was. The same token again gets the same answer, and a token that was
    given back gets nothing. A service has one run at a time: a new grant ends the one that it had before."""
    if request.token in ledger.over:
        return ledger, SlotAnswer(granted=False)
    service = request.moving.service
    for each in ledger.grants:
        if each.request.token == request.token:
            promises, beside = promised(ledger, besides=service), _alongside(request, _others(ledger, request))
            return ledger, SlotAnswer(granted=True, objections=each.aside, promised=promises, alongside=beside)
    answer = judge(ledger, request, now=now)
    if not answer.granted:
        waits = request.calls or any(_short(ledger, request, answer.promised))
        return (_waiting(ledger, request, answer, now) if waits else ledger), answer
    ledger = replace(ledger, waiting=tuple(each for each in ledger.waiting if each.service != service))
    before = tuple(each.request.token for each in ledger.grants if each.request.moving.service == service)
    ledger = release(ledger, *before)
    return replace(ledger, grants=(*ledger.grants, Grant(request, now, until, answer.objections))), answer


def _waiting(ledger: Ledger, request: SlotRequest, answer: SlotAnswer, now: datetime) -> Ledger:
    """*ledger* with the service of *request* among those that wait; its choices in one decision have one token."""
    service = request.moving.service
    before = tuple(each for each in ledger.waiting if each.service == service and each.token == request.token)
    short = tuple((pool, amount) for pool, amount, _ in _short(ledger, request, answer.promised))
    wishes = dict.fromkeys((*(wish for each in before for wish in each.wishes), short))
    others = (each for each in ledger.waiting if each.service != service)
    waits = (*others, Refused(service, request.tier, now, request.token, tuple(wishes)))
    return replace(ledger, waiting=tuple(sorted(waits, key=lambda each: (each.tier, each.since))))


def release(ledger: Ledger, *tokens: RunId) -> Ledger:
    """*ledger* without the grants of *tokens*, which are never granted again."""
    grants = tuple(each for each in ledger.grants if each.request.token not in tokens)
    fresh = tuple(token for token in dict.fromkeys(tokens) if token not in ledger.over)
    return replace(ledger, grants=grants, over=(*ledger.over, *fresh)[-REMEMBERED:]) if fresh else ledger


def ended(ledger: Ledger, end: Return, *, now: datetime) -> Ledger:
    """*ledger* once a failback is over: the region bore it, or holds up the next ones."""
    return replace(ledger, setbacks=after(ledger.setbacks, end, now))


def renewed(ledger: Ledger, tokens: tuple[RunId, ...], until: datetime) -> Ledger:
    """*ledger* in which the runs of *tokens* are not asked after before *until*."""
    grants = tuple(replace(each, until=until) if each.request.token in tokens else each for each in ledger.grants)
    return replace(ledger, grants=grants)


def due(ledger: Ledger, now: datetime) -> tuple[Grant, ...]:
    """The grants whose runs are to be asked after."""
    return tuple(each for each in ledger.grants if each.until <= now)


def stands(ledger: Ledger, service: ServiceId, needs: Needs) -> Ledger:
    """*ledger* with what the service's traffic takes of shared pools now."""
    others = tuple(each for each in ledger.standing if each.service != service)
    more = (Standing(service, needs),) if needs else ()
    return replace(ledger, standing=tuple(sorted((*others, *more), key=lambda each: each.service)))


def called(ledger: Ledger) -> tuple[Ledger, tuple[ServiceId, ...]]:
    """The services that are told to look again now, no more than there are places; they wait no longer.

    Who was refused for a full pool is told when it has room: hundreds may wait for one, while everything else moves.
    """
    free = max(0, ledger.limits.at_once - len(ledger.grants))
    taken = {each.pool: each.amount for each in promised(ledger)} if ledger.waiting and free else {}
    room = {pool.id: pool.capacity - taken.get(pool.id, 0) for pool in ledger.pools}
    own = {(each.service, pool): amount for each in ledger.standing for pool, amount in each.needs}
    ready = tuple(
        each.service
        for each in ledger.waiting
        if any(
            all(amount <= room.get(pool, 0) + own.get((each.service, pool), 0) for pool, amount in wish)
            for wish in each.wishes
        )
    )[:free]
    return replace(ledger, waiting=tuple(each for each in ledger.waiting if each.service not in ready)), ready


def configured(
    ledger: Ledger, revision: int, limits: Limits, pools: tuple[Pool, ...], services: tuple[ServiceId, ...]
) -> Ledger:
    """*ledger* under another topology; an older revision changes nothing. A run under way keeps its grant."""
    if revision < ledger.revision:
        return ledger
    there = frozenset(services)
    kept = tuple(each for each in ledger.standing if each.service in there)
    waiting = tuple(each for each in ledger.waiting if each.service in there)
    return replace(
        ledger, revision=revision, limits=limits, pools=pools, services=len(there), standing=kept, waiting=waiting
    )


def promised(ledger: Ledger, besides: ServiceId | None = None) -> tuple[Promise, ...]:
    """What each pool is promised to, *besides* one service; sorted by pool.

    A service on its way counts with what it takes where it goes now or with what it will take, whichever is more.
    """
    takes: dict[str, dict[ServiceId, int]] = {}
    takers = [(each.service, each.needs) for each in ledger.standing]
    takers += [(each.request.moving.service, each.request.needs) for each in ledger.grants]
    for service, needs in takers:
        for pool, amount in needs:
            if service != besides and amount > 0:
                there = takes.setdefault(pool, {})
                there[service] = max(amount, there.get(service, 0))
    return tuple(
        Promise(pool, sum(there.values()), services_named(tuple(sorted(there))))
        for pool, there in sorted(takes.items())
    )


def _too_full(ledger: Ledger, request: SlotRequest, promises: tuple[Promise, ...]) -> Iterator[Objection]:
    carries = {each.id: each.capacity for each in ledger.pools}
    for pool, coming, before in _short(ledger, request, promises):
        yield Objection(
            "pool-full",
            f"pool '{pool}' carries {carries.get(pool, 0)} requests in flight, {before.amount} are promised to "
            f"{before.to} and {coming} would come to it; free some of it or "
            "choose a target elsewhere",
            asks=True,
        )


def _short(ledger: Ledger, request: SlotRequest, promises: tuple[Promise, ...]) -> Iterator[tuple[str, int, Promise]]:
    """The pools that have no room for *request*, with what would come to each and what is promised of it already."""
    taken = {each.pool: each for each in promises}
    carries = {each.id: each.capacity for each in ledger.pools}
    own = {
        pool: amount
        for each in ledger.standing
        if each.service == request.moving.service
        for pool, amount in each.needs
    }
    for pool, coming in request.needs:
        before = taken.get(pool, Promise(pool, 0, "nobody"))
        # What it takes already is no less there for a move that stays below it.
        if coming > own.get(pool, 0) and before.amount + coming > carries.get(pool, 0):
            yield pool, coming, before
