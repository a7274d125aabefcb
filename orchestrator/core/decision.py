"""Deciding: from verdicts, routing and policy to hold, ask or go. Pure and total."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from orchestrator.core import safety
from orchestrator.core.errors import Unsteerable
from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import EndpointId, nearest, region_of
from orchestrator.core.quorum import Verdict
from orchestrator.core.situation import Situation
from orchestrator.core.steering import answer_for, evenly, full, serving
from orchestrator.core.topology import Mode, Role, Weights

__all__ = [
    "REASONS",
    "Ask",
    "Decision",
    "Go",
    "Hold",
    "Request",
    "Situation",
    "consider",
    "decide",
    "in_order",
    "wait_s",
]


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


@dataclass(frozen=True, slots=True)
class Hold:
    """Do nothing, and say why."""

    reasons: tuple[Objection, ...]
    move: Move | None = None
    """What would have been done (``observe``), or what a person asked for and did not get."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must say yes."""

    move: Move
    reasons: tuple[Objection, ...]


@dataclass(frozen=True, slots=True)
class Go:
    """Act now."""

    move: Move
    overridden: tuple[Objection, ...] = ()


Decision = Hold | Ask | Go


REASONS: tuple[tuple[str, str], ...] = (
    ("observe", "The service is in mode observe: what would be done is recorded, nothing is written."),
    ("manual", "The service is in mode manual: people start every run."),
    ("approval", "The service is in mode approval: a person says yes before every run."),
    ("degraded", "An endpoint that is slow or throttles is not dead; its region is not moved."),
    ("unknown", "Nobody can say whether the endpoint that carries the traffic works."),
    ("no-target", "There is no other endpoint to move to."),
    ("no-such-endpoint", "The request names an endpoint that the service does not have."),
    ("unknown-override", "The request overrides a rule that does not exist."),
    ("override-unexplained", "An override names the person and the reason."),
)
"""What may stand in an answer besides the safety rules (``safety.RULES``), each with its sentence for the docs."""


# ------------------------------------------------------------------ automation


def decide(situation: Situation) -> Decision:
    """What the orchestrator does by itself now. Total: it never raises (times carry a zone).

    It acts only when an endpoint that carries traffic is down. In mode ``observe`` the first reason is ``observe``
    and the others are what would have held the move or made it ask.
    """
    if not situation.dead:
        return Hold(_worries(situation))
    targets = _able(situation)
    if situation.dark and not any(situation.cold(target) for target in targets):
        return Hold((Objection("everything-down", safety.dark_text(situation)),))
    options = [(move, safety.objections(move, situation)) for move in _away(situation, targets)]
    if not options:
        return Hold((_no_target(situation),))
    return _by_mode(situation, *min(options, key=lambda option: _weight_of(option[1])))


def _by_mode(situation: Situation, move: Move, found: tuple[Objection, ...]) -> Decision:
    """What the mode makes of the best *move* and of what was *found* against it."""
    service = situation.service.id
    would = f"endpoint '{move.target}' would get the traffic"
    match situation.mode:
        case Mode.OBSERVE:
            return Hold((Objection("observe", f"service '{service}' is in mode observe: {would}"), *found), move)
        case Mode.MANUAL:
            text = f"service '{service}' is in mode manual; start a run with: failover run {service}"
            return Hold((Objection("manual", text), *found))
        case Mode.APPROVAL:
            # Cool-down keeps automatic runs apart; a run that a person approves is not one.
            found = tuple(objection for objection in found if objection.rule != "cool-down")
            yes = Objection("approval", f"service '{service}' is in mode approval: {would}", asks=True)
            return Ask(move, (yes, *found)) if _only_asks(found) else Hold(found)
        case Mode.AUTOMATIC:
            if not found:
                return Go(move)
            return Ask(move, found) if _only_asks(found) else Hold(found)
    assert_never(situation.mode)


def _only_asks(found: tuple[Objection, ...]) -> bool:
    return all(objection.asks for objection in found)


def wait_s(situation: Situation) -> float | None:
    """Seconds until ``decide`` could answer otherwise by time alone (confirm, cool-down); None: time changes nothing.

    Always above 0: one timer of this length is enough, and then this is asked again.
    """
    if not situation.dead:
        return None
    failing = [e for e in situation.carrying if situation.verdict(e) in {Verdict.DOWN, Verdict.UNKNOWN}]
    lefts = [safety.confirm_left_s(endpoint, situation) for endpoint in failing]
    ahead = [left for left in (*lefts, safety.cooldown_left_s(situation)) if left is not None and 0 < left < math.inf]
    return min(ahead, default=None)


def _worries(situation: Situation) -> tuple[Objection, ...]:
    """What looks wrong though no endpoint that carries traffic is down."""
    service, found = situation.service.id, []
    for endpoint in situation.carrying:
        seen = situation.assessment(endpoint)
        if seen.verdict is Verdict.UNKNOWN:
            text = f"nobody can say whether endpoint '{endpoint}' works, so its traffic stays: {seen.text}"
            found.append(Objection("unknown", text))
        elif seen.verdict is Verdict.DEGRADED:
            text = (
                f"endpoint '{endpoint}' is degraded, which moves no region by itself ({seen.text}); "
                f"relieve it, or move by hand with: failover run {service}"
            )
            found.append(Objection("degraded", text))
    downs = any(situation.verdict(endpoint.id) is Verdict.DOWN for endpoint in situation.service.endpoints)
    if downs and situation.shares is None:
        found[:0] = safety.about_routing(situation)
    if found and downs and situation.dark:
        found.insert(0, Objection("everything-down", safety.dark_text(situation)))
    return tuple(found)


def _weight_of(found: tuple[Objection, ...]) -> tuple[int, bool]:
    """Sorts moves: nothing against, then only what a person may decide, then the fewest rules that forbid."""
    return sum(not objection.asks for objection in found), bool(found)


# ------------------------------------------------------------------ people


def consider(situation: Situation, request: Request) -> Decision:
    """What comes of a person's request: Go, or Hold with every objection not overridden. Never Ask.

    A Hold carries the move that was refused, where there is one: a person may still want to see it.

    The kind of the move follows the facts: it is a failover if an endpoint that loses traffic is down, else the
    planned move that was asked for (a failover away from a working endpoint is a switchover).
    """
    wrong = _mistakes(situation, request)
    if request.target is not None and situation.endpoint(request.target) is None:
        return Hold(wrong)
    weighed = []
    for move in _requested(situation, request):
        found = safety.objections(move, situation)
        weighed.append((move, *safety.before_person(found, move, request.trigger.overrides)))
    if not weighed:
        return Hold((*wrong, _no_target(situation, request.kind)))
    move, against, aside = min(weighed, key=lambda each: (len(each[1]), bool(each[2])))
    return Hold((*wrong, *against), move) if wrong or against else Go(move, aside)


def _mistakes(situation: Situation, request: Request) -> tuple[Objection, ...]:
    found: list[Objection] = []
    known = tuple(str(endpoint.id) for endpoint in situation.service.endpoints)
    if request.target is not None and request.target not in known:
        text = f"service '{situation.service.id}' has no endpoint '{request.target}'{_meant(request.target, known)}"
        found.append(Objection("no-such-endpoint", text))
    found += [
        Objection("unknown-override", f"no safety rule is called '{name}'{_meant(name, safety.NAMES)}")
        for name in request.trigger.overrides
        if name not in safety.NAMES
    ]
    if request.trigger.overrides and not (request.trigger.by.strip() and request.trigger.reason.strip()):
        text = f"overriding {', '.join(request.trigger.overrides)} needs a person and a reason: say who and why"
        found.append(Objection("override-unexplained", text))
    return tuple(found)


def _meant(name: str, known: tuple[str, ...]) -> str:
    close = nearest(name, known)
    return f"; did you mean '{close}'?" if close else f"; there are: {', '.join(known)}"


def _no_target(situation: Situation, kind: MoveKind = MoveKind.FAILOVER) -> Objection:
    service = situation.service.id
    if kind is MoveKind.FAILBACK:
        return Objection(
            "no-target", f"service '{service}' has no endpoint of role active to go home to; name a target"
        )
    return Objection("no-target", f"service '{service}' has no other endpoint to move to; add one to its topology")


# ------------------------------------------------------------------ the moves there are


def in_order(situation: Situation) -> tuple[EndpointId, ...]:
    """The service's endpoints as targets are tried: as the policy prefers, then role active, then by id."""
    prefer = {endpoint: index for index, endpoint in reversed(list(enumerate(situation.service.policy.prefer)))}
    ranked = sorted(
        situation.service.endpoints,
        key=lambda e: (prefer.get(e.id, len(situation.service.policy.prefer)), e.role is not Role.ACTIVE, e.id),
    )
    return tuple(endpoint.id for endpoint in ranked)


def _able(situation: Situation) -> tuple[EndpointId, ...]:
    """Endpoints that may take traffic, in order; cold standbys last."""
    warm = tuple(e for e in in_order(situation) if not situation.cold(e) and situation.verdict(e) is not Verdict.DOWN)
    return (*warm, *(e for e in in_order(situation) if situation.cold(e)))


def _away(situation: Situation, targets: tuple[EndpointId, ...]) -> Iterator[Move]:
    """Moves that take every dead endpoint out, the gentlest first.

    The others carry on alone; or a target takes the place of the dead; or a target takes everything.
    """
    endpoints = situation.service.endpoints
    alive = tuple(e for e in situation.carrying if e not in situation.dead)
    for target in targets:
        if target in alive:
            yield _move(situation, MoveKind.FAILOVER, target, evenly(endpoints, alive))
    for target in targets:
        if alive and target not in situation.carrying:
            yield _move(situation, MoveKind.FAILOVER, target, evenly(endpoints, (*alive, target)))
    for target in targets:
        if (target,) != alive:
            yield _move(situation, MoveKind.FAILOVER, target, full(endpoints, target))


def _requested(situation: Situation, request: Request) -> Iterator[Move]:
    """The moves that would satisfy *request*, the best target first."""
    order = in_order(situation)
    if request.kind is MoveKind.FAILBACK:
        yield from _home(situation, request.target, order)
        return
    if request.kind is MoveKind.FAILOVER and situation.dead:
        able = _able(situation) or order
        yield from _away(situation, (request.target,) if request.target is not None else able)
        return
    fresh = tuple(e for e in order if e not in situation.carrying)
    targets = fresh or (order if len(order) > 1 else ())
    for target in (request.target,) if request.target is not None else targets:
        yield _move(situation, request.kind, target, full(situation.service.endpoints, target))


def _home(situation: Situation, target: EndpointId | None, order: tuple[EndpointId, ...]) -> Iterator[Move]:
    """The way home: to the endpoints of role active, sharing evenly where there are several that work."""
    endpoints = situation.service.endpoints
    active = tuple(e for e in order if any(e == each.id and each.role is Role.ACTIVE for each in endpoints))
    staying = tuple(e for e in active if e in situation.carrying and e not in situation.dead)
    if target is not None:
        together = (*staying, target) if target in active else (target,)
        yield _move(situation, MoveKind.FAILBACK, target, _steerable(situation, together, target))
        return
    fit = tuple(e for e in active if situation.verdict(e) is Verdict.HEALTHY)
    for home in tuple(e for e in active if e not in situation.carrying) or active:
        yield _move(situation, MoveKind.FAILBACK, home, _steerable(situation, (*staying, *fit, home), home))


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
