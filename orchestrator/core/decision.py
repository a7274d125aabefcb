"""Deciding: from verdicts, routing and policy to hold, ask or go. Pure and total."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

from orchestrator.core import safety, waiting
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.moves import Request, able, away, back_from, in_order, requested
from orchestrator.core.names import EndpointId, nearest
from orchestrator.core.quorum import Verdict
from orchestrator.core.situation import Situation
from orchestrator.core.steering import serving
from orchestrator.core.topology import Mode, Weights

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
    alongside: int = 0
    """How many other services are on the move into the same regions."""


Decision = Hold | Ask | Go


REASONS: tuple[tuple[str, str], ...] = (
    ("observe", "The service is in mode observe: what would be done is recorded, nothing is written."),
    ("manual", "The service is in mode manual: people start every run."),
    ("approval", "The service is in mode approval: a person says yes before every run."),
    ("denied", "A person has said no to the move that would be made; it is not asked again before the world changes."),
    ("degraded", "An endpoint that is slow or throttles is not dead; its region is not moved."),
    ("unknown", "Nobody can say whether the endpoint that carries the traffic works."),
    ("no-target", "There is no other endpoint to move to."),
    ("no-such-endpoint", "The request names an endpoint that the service does not have."),
    ("unknown-override", "The request overrides a rule that does not exist."),
    ("override-unexplained", "An override names the person and the reason."),
    ("bad-runbook", "The request names a runbook that there is not, or values that do not fit it."),
    ("no-last-good", "No routing is known to have served well for its bake time, so there is none to restore."),
    ("unplannable", "What was decided cannot be planned; the sentence says what is missing."),
    ("world-moved", "A saved plan is refused when anything that it stands on has changed since."),
    ("bad-weights", "Weights that are asked for are whole, sum to 100, and give the target something."),
    ("shift-expired", "A move that a person made for a time is over, and the service asks to go back."),
    ("bad-expiry", "A move for a time says who makes it and why, and ends in the future."),
    ("contradiction", "The request names an endpoint as the target and as one that traffic must leave."),
)
"""What may stand in an answer besides the safety rules (``safety.RULES``), each with its sentence for the docs."""

OF_TRAFFIC = frozenset(
    {
        "no-steering",
        "routing-unknown",
        "not-adopted",
        "changed-outside",
        "unsteerable",
        "already-there",
        "everything-down",
        "target-unknown",
        "target-down",
        "target-cold",
        "target-degraded",
        "target-doubted",
        "target-not-proven",
        "capacity-unknown",
        "capacity-short",
        "pool-full",
        "too-few-serving",
        "residency",
        "same-region",
        "source-healthy",
        "change-guard",
        "setback",
        "too-many-at-once",
        "governor-silent",
        "freeze",
        "not-acknowledged",
        "cool-down",
        "confirm",
    }
)
"""Rules that only a move of traffic can break; the others bind a preparation, too."""


# ------------------------------------------------------------------ automation


def decide(situation: Situation) -> Decision:
    """What the orchestrator does by itself now. Total: it never raises (times carry a zone).

    It acts only when an endpoint that carries traffic is down, or a signal says to leave one in good time. In mode
    ``observe`` the first reason is ``observe`` and the others are what would have held the move or made it ask.
    """
    if not situation.dead:
        return _over(situation) or _leave(situation) or Hold(_worries(situation))
    targets = able(situation)
    if situation.dark and not any(situation.cold(target) for target in targets):
        return Hold((Objection("everything-down", safety.dark_text(situation)),))
    options = [(move, safety.objections(move, situation)) for move in away(situation, targets)]
    if not options:
        return Hold((_no_target(situation),))
    return _by_mode(situation, *min(options, key=lambda option: _weight_of(option[1])))


def _over(situation: Situation) -> Decision | None:
    """The question whether to go back from a move that was made for a time; None while it lasts, and once back."""
    shift = situation.shift
    if shift is None or situation.now < shift.expires:
        return None
    options = [(move, safety.objections(move, situation)) for move in back_from(situation, shift)]
    if not options or any(each.rule == "already-there" for _, found in options for each in found):
        return None
    move, found = min(options, key=lambda option: _weight_of(option[1]))
    text = (
        f"the move of service '{situation.service.id}' by {shift.by} was to end at {waiting.at(shift.expires)} "
        f"({shift.reason}) and traffic goes back to {', '.join(serving(move.after))} once a person says so"
    )
    # Nothing here is automatic: what only keeps automatic runs apart says nothing of it.
    return _by_mode(situation, move, (Objection("shift-expired", text, asks=True), *_for_people(found)))


def _leave(situation: Situation) -> Decision | None:
    """The planned move away from what a signal says to leave; None where none does, or there is nowhere to go."""
    leaving = situation.leaving
    if not leaving or situation.dark:
        return None
    targets = tuple(each for each in able(situation) if each not in leaving)
    options = [
        (move, safety.objections(move, situation)) for move in away(situation, targets, MoveKind.SWITCHOVER, leaving)
    ]
    if not options:
        return Hold((_no_target(situation), *_worries(situation)))
    return _by_mode(situation, *min(options, key=lambda option: _weight_of(option[1])))


def _for_people(found: tuple[Objection, ...]) -> tuple[Objection, ...]:
    """*found* without what keeps automatic runs apart: a run that a person approves is not one."""
    return tuple(objection for objection in found if objection.rule not in {"cool-down", "not-acknowledged"})


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
            found = _for_people(found)
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
    """Seconds until ``decide`` could answer otherwise by time alone; None: time changes nothing.

    What passes is the time to confirm, the cool-down, a freeze window that binds automation, and the time that a
    move was made for. Always above 0: one timer of this length is enough, and then this is asked again.
    """
    if not situation.dead and not situation.leaving:
        left = (situation.shift.expires - situation.now).total_seconds() if situation.shift else 0.0
        return left if left > 0 else None
    failing = [e for e in situation.carrying if situation.verdict(e) in {Verdict.DOWN, Verdict.UNKNOWN}]
    lefts = [waiting.confirm_left_s(endpoint, situation) for endpoint in failing]
    lefts += [waiting.cooldown_left_s(situation), *waiting.frozen_left_s(situation)]
    return min((left for left in lefts if left is not None and 0 < left < math.inf), default=None)


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
    if any(each.rule == "no-such-endpoint" for each in wrong):
        return Hold(wrong)
    weighed = []
    for move in requested(situation, request):
        found = tuple(each for each in safety.objections(move, situation) if _concerns(each, move))
        weighed.append((move, *safety.before_person(found, move, request.trigger.overrides)))
    if not weighed:
        return Hold((*wrong, _no_target(situation, request.kind)))
    move, against, aside = min(weighed, key=lambda each: (len(each[1]), bool(each[2])))
    return Hold((*wrong, *against), move) if wrong or against else Go(move, aside)


def _concerns(objection: Objection, move: Move) -> bool:
    """Whether *objection* is about *move*: where no traffic moves, what is said of traffic is not."""
    return move.kind is not MoveKind.PREPARATION or objection.rule not in OF_TRAFFIC


def _mistakes(situation: Situation, request: Request) -> tuple[Objection, ...]:
    found: list[Objection] = []
    known = tuple(str(endpoint.id) for endpoint in situation.service.endpoints)
    named = (request.target, *request.leaving, *(name for name, _ in request.after or ()))
    for name in dict.fromkeys(name for name in named if name is not None and name not in known):
        text = f"service '{situation.service.id}' has no endpoint '{name}'{_meant(name, known)}"
        found.append(Objection("no-such-endpoint", text))
    if request.target is not None and request.target in request.leaving:
        text = f"traffic is to leave endpoint '{request.target}' and to go there; name another target, or none"
        found.append(Objection("contradiction", text))
    if request.expires is not None and (text := _bad_expiry(situation, request)):
        found.append(Objection("bad-expiry", text))
    if request.after is not None and (text := _bad_weights(request.after, request.target)):
        found.append(Objection("bad-weights", text))
    found += [
        Objection("unknown-override", f"no safety rule is called '{name}'{_meant(name, safety.NAMES)}")
        for name in request.trigger.overrides
        if name not in safety.NAMES
    ]
    if request.trigger.overrides and not (request.trigger.by.strip() and request.trigger.reason.strip()):
        text = f"overriding {', '.join(request.trigger.overrides)} needs a person and a reason: say who and why"
        found.append(Objection("override-unexplained", text))
    return tuple(found)


def _bad_expiry(situation: Situation, request: Request) -> str:
    """What is wrong with a move for a time; empty: nothing."""
    if request.expires is None:
        return ""
    if request.kind in {MoveKind.FAILBACK, MoveKind.PREPARATION}:
        return f"a {request.kind} is not made for a time: there is nothing to go back from; leave its end out"
    if request.expires <= situation.now:
        return f"the move would be over at {waiting.at(request.expires)}, before it begins; choose a later time"
    if not (request.trigger.by.strip() and request.trigger.reason.strip()):
        return "a move for a time says who makes it and why, for those who will be asked about it: give a reason"
    return ""


def _bad_weights(after: Weights, target: EndpointId | None) -> str:
    """What is wrong with the weights *after*; empty: nothing."""
    said = " ".join(f"{endpoint}:{weight}" for endpoint, weight in after) or "(none)"
    if any(not 0 <= weight <= 100 for _, weight in after) or sum(weight for _, weight in after) != 100:
        return f"the weights {said} are not whole percents that sum to 100; correct them"
    if len(dict(after)) != len(after):
        return f"the weights {said} name an endpoint twice; name each once"
    if target is not None and not dict(after).get(target):
        return f"the weights {said} give nothing to the target '{target}'; give it some, or name no target"
    return ""


def _meant(name: str, known: tuple[str, ...]) -> str:
    close = nearest(name, known)
    return f"; did you mean '{close}'?" if close else f"; there are: {', '.join(known)}"


def _no_target(situation: Situation, kind: MoveKind = MoveKind.FAILOVER) -> Objection:
    service = situation.service.id
    if kind is MoveKind.PREPARATION:
        return Objection("no-target", f"service '{service}' has no endpoint to make ready; add one to its topology")
    if kind is MoveKind.FAILBACK:
        return Objection(
            "no-target", f"service '{service}' has no endpoint of role active to go home to; name a target"
        )
    return Objection("no-target", f"service '{service}' has no other endpoint to move to; add one to its topology")
