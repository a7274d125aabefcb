"""Safety: every reason why a move must not be made now, all of them at once, from a table of named rules.

The table also says what a person's request does to each rule, so that CLI, docs and decision agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core import targets, waiting
from orchestrator.core.errors import Unsteerable
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import Verdict
from orchestrator.core.situation import Situation
from orchestrator.core.steering import answer_for, serving, stands, weights_in
from orchestrator.core.topology import Weights


class Yields(StrEnum):
    """What a rule does before a person's explicit request."""

    UNASKED = "automation-only"
    """It binds automation alone and is not even recorded."""
    TO_THE_REQUEST = "recorded"
    """The request is the yes: the objection is recorded, and the move is made."""
    TO_ITS_NAME = "override"
    """The person must override it by name, with a reason."""
    NEVER = "never"
    """Nobody can override it: mend what it says first."""


Check = Callable[[Move, Situation], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One safety rule: what it is called, why it exists, and before whom it yields."""

    name: str
    why: str
    """One sentence for docs and ``--help``."""
    check: Check
    """One text for each way in which the move breaks the rule."""
    unplanned: Yields
    """Before a person, while the source is down."""
    planned: Yields
    """Before a person, while the source still serves: there is no hurry."""
    asks: bool = False
    """Automation asks a person instead of holding."""

    def yields(self, move: Move) -> Yields:
        return self.planned if move.planned else self.unplanned


# ------------------------------------------------------------------ the steering


def _no_steering(_: Move | None, situation: Situation) -> Iterator[str]:
    service = situation.service
    if service.steering is None:
        yield (
            f"service '{service.id}' has no steering, so nothing here can move '{service.name}'; "
            "add 'steering' (zone, primary server, key) to its topology"
        )


def _routing_unknown(_: Move | None, situation: Situation) -> Iterator[str]:
    steering = situation.service.steering
    if steering is not None and situation.routing is None:
        yield (
            f"the live record of '{steering.name}' could not be read at {steering.at}; "
            "see why with: failover doctor --dns"
        )


def _not_adopted(_: Move | None, situation: Situation) -> Iterator[str]:
    service, routing = situation.service, situation.routing
    if service.steering is not None and routing is not None and routing.fence is None:
        yield f"the live record of '{service.name}' is not under our fence yet; run first: failover adopt {service.id}"


def _changed_outside(_: Move | None, situation: Situation) -> Iterator[str]:
    service, routing = situation.service, situation.routing
    if service.steering is None or routing is None or stands(routing, service.endpoints) or situation.outdated:
        return
    says = ", ".join(routing.answer.values) if routing.answer else "nothing"
    if weights_in(routing.answer, service.endpoints) is None:
        yield (
            f"'{service.name}' answers {says}, which is no known set of endpoints; "
            f"put the record or the topology right, then run: failover adopt {service.id}"
        )
    elif routing.fence is not None:
        meant = ", ".join(serving(routing.fence.weights)) or "no endpoint"
        yield (
            f"'{service.name}' answers {says}, but generation {routing.generation} sent it to {meant}: "
            f"find out who edited it, then run: failover adopt {service.id}"
        )


def _answer_outdated(_: Move | None, situation: Situation) -> Iterator[str]:
    """No rule, but worth telling: nothing is in the way of a move, and only a move writes the new answer."""
    service, routing = situation.service, situation.routing
    if situation.outdated and routing is not None and routing.answer is not None:
        inside = serving(situation.shares or ())
        yield (
            f"'{service.name}' still answers {', '.join(routing.answer.values)}, as an earlier topology said of "
            f"{' and '.join(inside)}; to write what it says now: failover run {service.id} --to {inside[0]}"
        )


def _unsteerable(move: Move, situation: Situation) -> Iterator[str]:
    try:
        answer_for(situation.service.endpoints, move.after)
    except Unsteerable as error:
        yield f"service '{situation.service.id}' cannot be steered to endpoint '{move.target}': {error}"


def _already_there(move: Move, situation: Situation) -> Iterator[str]:
    if situation.shares is not None and not situation.outdated and _shared(situation.shares) == _shared(move.after):
        yield f"traffic of service '{situation.service.id}' is there already ({', '.join(serving(move.after))})"


def _shared(weights: Weights) -> dict[EndpointId, int]:
    return {endpoint: weight for endpoint, weight in weights if weight > 0}


# ------------------------------------------------------------------ the service


def _everything_down(move: Move, situation: Situation) -> Iterator[str]:
    # A cold standby is meant to be down, and proves itself before it gets traffic: target-cold asks a person.
    if situation.dark and not situation.cold(move.target):
        yield dark_text(situation)


def dark_text(situation: Situation) -> str:
    """Why nothing is moved when nothing is known to work."""
    service = situation.service
    seen = ", ".join(f"{e.id} {situation.verdict(e.id)}" for e in service.endpoints) or "it has none"
    return (
        f"no endpoint of service '{service.id}' is known to work ({seen}), so routing stays as it is; "
        "look whether the vantages or the endpoints are at fault with: failover doctor"
    )


def _source_healthy(move: Move, situation: Situation) -> Iterator[str]:
    for name in move.source if move.kind is MoveKind.FAILOVER else ():
        verdict = situation.verdict(name)
        if verdict is not Verdict.DOWN:
            yield f"endpoint '{name}' is {verdict}, not down, and would lose its traffic; choose a target beside it"


def _one_run_at_a_time(_: Move, situation: Situation) -> Iterator[str]:
    if situation.run is not None:
        service = situation.service.id
        yield f"run {situation.run} holds service '{service}'; wait for its end: failover show {situation.run}"


def _crowded(name: str) -> Check:
    """What was found, by that name, in what moves elsewhere: it is known outside the service only."""

    def check(_: Move, situation: Situation) -> Iterator[str]:
        yield from (each.text for each in situation.crowd if each.rule == name)

    return check


# ------------------------------------------------------------------ the table

_U, _R, _O, _N = Yields.UNASKED, Yields.TO_THE_REQUEST, Yields.TO_ITS_NAME, Yields.NEVER

RULES: tuple[Rule, ...] = (
    Rule("no-steering", "A service without steering is watched; nothing can move it.", _no_steering, _N, _N),
    Rule("routing-unknown", "What cannot be read must not be replaced.", _routing_unknown, _N, _N),
    Rule("not-adopted", "A record that is not under our fence belongs to somebody else.", _not_adopted, _N, _N),
    Rule("changed-outside", "A hand edit of the answer is kept until a person has looked.", _changed_outside, _N, _N),
    Rule("unsteerable", "The answer must be one that DNS can give, and never empty.", _unsteerable, _N, _N),
    Rule("already-there", "A move that changes nothing is not made.", _already_there, _N, _N),
    Rule("one-run-at-a-time", "Two runs of one service would undo each other.", _one_run_at_a_time, _N, _N),
    Rule("everything-down", "When nothing is known to work, routing stays as it is.", _everything_down, _O, _O),
    Rule(
        "target-unknown", "Silence is not health: nothing moves to where nobody looks.", targets.target_unknown, _O, _O
    ),
    Rule("target-down", "Nothing moves to an endpoint that is down.", targets.target_down, _N, _N),
    Rule(
        "target-cold",
        "A cold standby has yet to load its model and prove itself.",
        targets.target_cold,
        _R,
        _R,
        asks=True,
    ),
    Rule("target-degraded", "A degraded target may fall under more load.", targets.target_degraded, _R, _O, asks=True),
    Rule("target-doubted", "What a signal speaks against is no safe place.", targets.target_doubted, _R, _O, asks=True),
    Rule("target-not-proven", "A target is proven by completed answers.", targets.target_not_proven, _R, _O, asks=True),
    Rule("capacity-unknown", "Unknown capacity means ask.", targets.capacity_unknown, _R, _R, asks=True),
    Rule(
        "capacity-short",
        "More load than a target carries takes it down too.",
        targets.capacity_short,
        _R,
        _O,
        asks=True,
    ),
    Rule("pool-full", "Services that share hardware are counted together.", targets.pool_full, _R, _O, asks=True),
    Rule("too-few-serving", "Enough endpoints serve after a move.", targets.too_few_serving, _R, _O, asks=True),
    Rule("residency", "A service's data stays in its jurisdictions.", targets.outside_residency, _O, _N),
    Rule("same-region", "What took the source down may take its neighbour.", targets.same_region, _R, _R, asks=True),
    Rule("source-healthy", "An endpoint that is not down keeps its traffic.", _source_healthy, _O, _O, asks=True),
    Rule(
        "change-guard", "Much that moves at once is a person's to decide.", _crowded("change-guard"), _R, _O, asks=True
    ),
    Rule("too-many-at-once", "What moves at one time is bounded.", _crowded("too-many-at-once"), _O, _O),
    Rule(
        "setback",
        "A region that did not bear the return of one service is not given the next.",
        _crowded("setback"),
        _U,
        _O,
        asks=True,
    ),
    Rule(
        "governor-silent",
        "Where nobody counts what moves elsewhere, a person decides.",
        _crowded("governor-silent"),
        _R,
        _R,
        asks=True,
    ),
    Rule("freeze", "In a freeze window nothing moves that need not.", waiting.frozen, _R, _O, asks=True),
    Rule("gate", "Somebody has turned all automation off.", waiting.gate, _R, _R, asks=True),
    Rule("paused", "Automation that was paused waits until somebody resumes it.", waiting.paused, _R, _R),
    Rule("held", "Automation was held for a reason that still stands.", waiting.held, _R, _R),
    Rule("not-acknowledged", "A person looks at what automation did.", waiting.not_acknowledged, _U, _U),
    Rule("cool-down", "Automation does not chase its own tail: runs keep a distance.", waiting.cool_down, _U, _U),
    Rule("confirm", "A short blip must not move traffic by itself.", waiting.confirm, _U, _U),
)
"""All rules, in the order in which people read them: what is missing, what is wrong with the target, what says wait."""

NAMES = tuple(rule.name for rule in RULES)


def rule(name: str) -> Rule | None:
    """The rule of that name, or None."""
    return next((each for each in RULES if each.name == name), None)


def objections(move: Move, situation: Situation) -> tuple[Objection, ...]:
    """Every reason why automation must not make *move* now; empty means it may.

    A vantage, a capacity or a record that is not known counts against the move: silence is not health.
    """
    return tuple(Objection(each.name, text, each.asks) for each in RULES for text in each.check(move, situation))


def about_routing(situation: Situation) -> tuple[Objection, ...]:
    """What is wrong with the record itself: it is not known who carries the traffic, or it says what is outdated."""
    checks = (
        ("routing-unknown", _routing_unknown),
        ("changed-outside", _changed_outside),
        ("answer-outdated", _answer_outdated),
    )
    return tuple(Objection(name, text) for name, check in checks for text in check(None, situation))


def before_person(
    found: tuple[Objection, ...], move: Move, overrides: tuple[str, ...]
) -> tuple[tuple[Objection, ...], tuple[Objection, ...]]:
    """*found* as a person's request meets it: what still stands against *move*, and what is set aside and recorded."""
    against: list[Objection] = []
    aside: list[Objection] = []
    for objection in found:
        known = rule(objection.rule)
        yields = known.yields(move) if known else Yields.NEVER
        if yields is Yields.UNASKED:
            continue
        set_aside = yields is Yields.TO_THE_REQUEST or (yields is Yields.TO_ITS_NAME and objection.rule in overrides)
        (aside if set_aside else against).append(objection)
    return tuple(against), tuple(aside)
