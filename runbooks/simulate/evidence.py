"""Evidence that disappears: knowing less must never make a decision bolder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from orchestrator.core import quorum, safety
from orchestrator.core.health import Health
from orchestrator.core.move import Move, Objection
from orchestrator.core.names import EndpointId
from orchestrator.core.situation import Situation
from orchestrator.core.steering import serving
from orchestrator.core.topology import Policy
from runbooks.simulate.facts import Decided
from runbooks.simulate.history import History
from runbooks.simulate.serving import FRESH_S


def objections_never_shrink(history: History) -> Iterator[str]:
    """How a decision of the present event becomes bolder when something is not known any more."""
    for fact in history.stage.these(Decided):
        move = fact.decision.move
        if move is None or history.stage.events % 2:
            continue
        lost = tuple(_losses(history, fact, move))
        # One thing at every other decision, another one each time: all of them would take most of the time.
        what, lose = lost[history.stage.events // 2 % len(lost)]
        before = _gravity(safety.objections(move, fact.situation))
        after = _gravity(safety.objections(move, lose())) if before else 0
        if after < before:
            yield f"without {what}, {_WORDS[before]} becomes {_WORDS[after]}"


_WORDS = ("go", "ask", "hold")


def _gravity(found: tuple[Objection, ...]) -> int:
    """0: go, 1: ask, 2: hold."""
    return 2 if any(not each.asks for each in found) else 1 if found else 0


def _losses(history: History, fact: Decided, move: Move) -> Iterator[tuple[str, Callable[[], Situation]]]:
    """What may be lost of what the decision was made from, and the situation without it."""
    facts = fact.situation
    yield "the routing", lambda: replace(facts, routing=None)
    yield "what the service needs", lambda: _with_service(facts, policy=replace(facts.service.policy, capacity=None))
    for name in sorted({move.target, *serving(move.after)}):
        yield f"a word about {name}", partial(_without_word, facts, name)
        yield f"proof of {name}", partial(_without_proof, facts, name)
        yield f"the capacity of {name}", partial(_without_capacity, facts, name)
        if name not in facts.carrying:
            yield f"the good word for {name}", partial(_without_praise, history, fact, name)


def _with_service(facts: Situation, *, policy: Policy) -> Situation:
    return replace(facts, service=replace(facts.service, policy=policy))


def _without_word(facts: Situation, name: EndpointId) -> Situation:
    return replace(facts, assessments=tuple(each for each in facts.assessments if each.endpoint != name))


def _without_proof(facts: Situation, name: EndpointId) -> Situation:
    seen = facts.assessments
    return replace(facts, assessments=tuple(replace(a, proven=a.proven and a.endpoint != name) for a in seen))


def _without_capacity(facts: Situation, name: EndpointId) -> Situation:
    endpoints = facts.service.endpoints
    unknown = tuple(replace(e, capacity=None) if e.id == name else e for e in endpoints)
    return replace(facts, service=replace(facts.service, endpoints=unknown))


def _without_praise(history: History, fact: Decided, name: EndpointId) -> Situation:
    """The situation without the opinions that speak well of *name*."""
    views = tuple(
        replace(
            view,
            opinions=tuple(
                each
                for each in view.opinions
                if each.state.endpoint != name or each.state.health is not Health.HEALTHY or not each.state.proven
            ),
        )
        for view in fact.views
    )
    endpoint = next(e for e in fact.situation.service.endpoints if e.id == name)
    now = fact.situation.now
    again = quorum.assess(endpoint, views, history.setting.vantages, now=now, fresh_s=FRESH_S)
    found = tuple(again if each.endpoint == name else each for each in fact.situation.assessments)
    return replace(fact.situation, assessments=found)
