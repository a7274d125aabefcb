"""Safety: every reason why a move must not be made now, all of them at once, from a table of named rules.

The table also says what a person's request does to each rule, so that CLI, docs and decision agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.errors import Unsteerable
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import EndpointId, encloses
from orchestrator.core.quorum import Verdict
from orchestrator.core.situation import Situation
from orchestrator.core.steering import answer_for, evenly, serving, stands, weights_in
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


def gaining(move: Move, situation: Situation) -> tuple[EndpointId, ...]:
    """The target, and every other endpoint that begins to carry traffic."""
    begin = {e for e in serving(move.after) if e not in situation.carrying}
    return tuple(sorted({move.target} | begin))


def load(move: Move, situation: Situation) -> Iterator[tuple[EndpointId, int | None, int | None]]:
    """Each endpoint that would serve, its capacity, and the requests in flight that would come to it."""
    serves = serving(move.after)
    even = move.after == evenly(situation.service.endpoints, serves)
    total = sum(weight for _, weight in move.after if weight > 0)
    need = situation.service.policy.capacity
    for name, weight in move.after:
        if weight <= 0:
            continue
        endpoint = situation.endpoint(name)
        part, parts = (1, len(serves)) if even else (weight, total)
        yield name, endpoint.capacity if endpoint else None, None if need is None else -(-need * part // parts)


def confirm_left_s(endpoint: EndpointId, situation: Situation) -> float | None:
    """Seconds until *endpoint* has been failing for ``confirm_s``; 0 or less: it has; None: nobody knows since when."""
    first_bad = situation.assessment(endpoint).first_bad
    if situation.service.policy.confirm_s <= 0:
        return 0.0
    if first_bad is None:
        return None
    return situation.service.policy.confirm_s - (situation.now - first_bad).total_seconds()


def cooldown_left_s(situation: Situation) -> float:
    """Seconds until automation may run again after the last run; 0 or less: it may."""
    if situation.last_closed is None:
        return 0.0
    return situation.service.policy.cooldown_s - (situation.now - situation.last_closed).total_seconds()


# ------------------------------------------------------------------ the target


def _target_unknown(move: Move, situation: Situation) -> Iterator[str]:
    for name in gaining(move, situation):
        if situation.verdict(name) is Verdict.UNKNOWN and not situation.cold(name):
            seen = situation.assessment(name).text
            yield f"nobody can say whether endpoint '{name}' works ({seen}); get its vantages going or choose another"


def _target_down(move: Move, situation: Situation) -> Iterator[str]:
    for name in gaining(move, situation):
        if situation.verdict(name) is Verdict.DOWN and not situation.cold(name):
            yield f"endpoint '{name}' is down itself ({situation.assessment(name).text}); choose another target"


def _target_cold(move: Move, situation: Situation) -> Iterator[str]:
    for name in gaining(move, situation):
        if situation.cold(name):
            yield (
                f"endpoint '{name}' is a cold standby without replicas: it gets traffic only once it is promoted and "
                "has completed inferences, which takes as long as loading its model"
            )


def _target_degraded(move: Move, situation: Situation) -> Iterator[str]:
    for name in gaining(move, situation):
        if situation.verdict(name) is Verdict.DEGRADED:
            yield f"endpoint '{name}' is degraded ({situation.assessment(name).text}); relieve it or choose another"


def _target_not_proven(move: Move, situation: Situation) -> Iterator[str]:
    for name in gaining(move, situation):
        if not situation.assessment(name).proven and not situation.cold(name):
            yield f"no completed answer of endpoint '{name}' has been seen lately; try it with: failover probe {name}"


def _capacity_unknown(move: Move, situation: Situation) -> Iterator[str]:
    service = situation.service
    if service.policy.capacity is None:
        yield f"how many requests in flight service '{service.id}' needs is not known; set its policy's capacity"
    for name, capacity, _ in load(move, situation):
        if capacity is None:
            yield f"how many requests in flight endpoint '{name}' can carry is not known; set its capacity"


def _capacity_short(move: Move, situation: Situation) -> Iterator[str]:
    for name, capacity, need in load(move, situation):
        if capacity is not None and need is not None and capacity < need:
            yield (
                f"endpoint '{name}' can carry {capacity} requests in flight and {need} would come to it; "
                "raise its capacity or shed load first"
            )


def _same_region(move: Move, situation: Situation) -> Iterator[str]:
    for name in gaining(move, situation):
        endpoint = situation.endpoint(name)
        near = [domain for domain in move.failing if endpoint and encloses(domain, endpoint.region)]
        if near:
            yield f"endpoint '{name}' stands in {near[0]}, where the trouble is; choose a target elsewhere"


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
            f"the live record of '{steering.name}' could not be read at {steering.primary}; "
            "see why with: failover doctor --dns"
        )


def _not_adopted(_: Move | None, situation: Situation) -> Iterator[str]:
    service, routing = situation.service, situation.routing
    if service.steering is not None and routing is not None and routing.fence is None:
        yield f"the live record of '{service.name}' is not under our fence yet; run first: failover adopt {service.id}"


def _changed_outside(_: Move | None, situation: Situation) -> Iterator[str]:
    service, routing = situation.service, situation.routing
    if service.steering is None or routing is None or stands(routing, service.endpoints):
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


def _unsteerable(move: Move, situation: Situation) -> Iterator[str]:
    try:
        answer_for(situation.service.endpoints, move.after)
    except Unsteerable as error:
        yield f"service '{situation.service.id}' cannot be steered to endpoint '{move.target}': {error}"


def _already_there(move: Move, situation: Situation) -> Iterator[str]:
    if situation.shares is not None and _shared(situation.shares) == _shared(move.after):
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
        "look whether the vantages or the endpoints are at fault"
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


def _paused(_: Move, situation: Situation) -> Iterator[str]:
    if situation.paused is not None:
        service, why = situation.service.id, situation.paused or "no reason given"
        yield f"service '{service}' is paused ({why}); resume it with: failover resume {service}"


def _cool_down(_: Move, situation: Situation) -> Iterator[str]:
    left, policy = cooldown_left_s(situation), situation.service.policy
    if left > 0:
        yield (
            f"the last run of service '{situation.service.id}' closed {_seconds(policy.cooldown_s - left)} ago and "
            f"automation waits {_seconds(policy.cooldown_s)}; act by hand with: failover run {situation.service.id}"
        )


def _confirm(move: Move, situation: Situation) -> Iterator[str]:
    need = situation.service.policy.confirm_s
    for name in move.source:
        # An unknown source counts as failing since nobody knows when: silence must not shorten the wait.
        if situation.verdict(name) not in {Verdict.DOWN, Verdict.UNKNOWN}:
            continue
        left = confirm_left_s(name, situation)
        if left is None:
            yield f"no vantage says since when endpoint '{name}' fails; automation waits for {_seconds(need)} of it"
        elif left > 0:
            yield (
                f"endpoint '{name}' has been failing for {_seconds(need - left)} and automation waits for "
                f"{_seconds(need)}; act now with: failover run {situation.service.id}"
            )


def _held(_: Move, situation: Situation) -> Iterator[str]:
    for standing in situation.held:
        service = situation.service.id
        yield (
            f"automation of service '{service}' is held ({standing.rule}: {standing.text}); "
            f"release it with: failover resume {service}"
        )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if abs(seconds) < 10 else f"{seconds:.0f} s"


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
    Rule("target-unknown", "Silence is not health: nothing moves to where nobody looks.", _target_unknown, _O, _O),
    Rule("target-down", "Nothing moves to an endpoint that is down.", _target_down, _N, _N),
    Rule("target-cold", "A cold standby has yet to load its model and prove itself.", _target_cold, _R, _R, asks=True),
    Rule("target-degraded", "A degraded target may fall under more load.", _target_degraded, _R, _O, asks=True),
    Rule("target-not-proven", "A target is proven by completed answers.", _target_not_proven, _R, _O, asks=True),
    Rule("capacity-unknown", "Unknown capacity means ask.", _capacity_unknown, _R, _R, asks=True),
    Rule("capacity-short", "More load than a target carries takes it down too.", _capacity_short, _R, _O, asks=True),
    Rule("same-region", "What took the source down may take its neighbour.", _same_region, _R, _R, asks=True),
    Rule("source-healthy", "An endpoint that is not down keeps its traffic.", _source_healthy, _O, _O, asks=True),
    Rule("paused", "Automation that was paused waits until somebody resumes it.", _paused, _R, _R),
    Rule("held", "Automation was held for a reason that still stands.", _held, _R, _R),
    Rule("cool-down", "Automation does not chase its own tail: runs keep a distance.", _cool_down, _U, _U),
    Rule("confirm", "A short blip must not move traffic by itself.", _confirm, _U, _U),
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
    """Why it is not known which endpoints carry the traffic; empty where it is known."""
    checks = (("routing-unknown", _routing_unknown), ("changed-outside", _changed_outside))
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
