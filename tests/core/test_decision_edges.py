"""Edges of deciding: each test here is a rule that could be broken without any other test noticing."""

from __future__ import annotations

from dataclasses import replace

from core.building import (
    AP,
    CHAT,
    EU,
    US,
    ask_for,
    endpoint,
    fenced,
    rules,
    service,
    situation,
)

from orchestrator.core.decision import Decision, Go, Hold, consider, decide
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.quorum import Verdict
from orchestrator.core.safety import before_person, objections
from orchestrator.core.steering import Routing, full
from orchestrator.core.topology import Answer, Role

FAILBACK, FAILOVER, SWITCHOVER = MoveKind.FAILBACK, MoveKind.FAILOVER, MoveKind.SWITCHOVER
WELL = {"eu": Verdict.HEALTHY}
BLIND = dict.fromkeys(("ap", "eu", "us"), Verdict.UNKNOWN)


def went(decision: Decision) -> Move:
    assert isinstance(decision, Go)
    return decision.move


def reasons(decision: Decision) -> tuple[Objection, ...]:
    assert isinstance(decision, Hold)
    return decision.reasons


def test_silence_everywhere_is_not_called_an_outage() -> None:
    """Where nobody sees anything and nothing is down, the reason is the silence, and nothing else is alleged."""
    assert rules(reasons(decide(situation(verdicts=BLIND)))) == ["unknown"]
    known = situation(verdicts=WELL | {"us": Verdict.DOWN, "ap": Verdict.UNKNOWN})
    assert reasons(decide(known)) == ()


def test_a_record_that_cannot_be_read_is_no_worry_while_nothing_is_down() -> None:
    """It is told when it matters: when something is down and nobody knows what carries the traffic."""
    assert reasons(decide(situation(verdicts=WELL, routing=None))) == ()
    found = reasons(decide(situation(verdicts=WELL | {"us": Verdict.DOWN}, routing=None)))
    assert rules(found) == ["routing-unknown"]


def test_a_request_without_a_reason_is_a_request() -> None:
    """Only who overrides a rule must say why."""
    assert went(consider(situation(), ask_for(FAILOVER, reason=""))).target == AP


def test_nowhere_to_go_is_said_for_the_way_that_was_asked() -> None:
    """The way home lacks an active endpoint; a failover lacks another endpoint."""
    alone = situation(service(endpoint("eu", role=Role.STANDBY)))
    (home,) = reasons(consider(alone, ask_for(FAILBACK)))
    assert "no endpoint of role active" in home.text
    (away,) = reasons(consider(situation(service(endpoint("eu")), verdicts=WELL), ask_for(SWITCHOVER)))
    assert "no other endpoint" in away.text


def test_a_planned_move_without_a_target_goes_to_one_that_carries_nothing_yet() -> None:
    """Who asks traffic to move means somewhere else, whatever the policy prefers."""
    chat = service(prefer=(EU, US, AP))
    facts = situation(chat, carrying=(EU, US), verdicts=WELL, routing=fenced(chat, EU, US))
    assert went(consider(facts, ask_for(SWITCHOVER))).target == AP


def test_the_way_home_with_a_target_is_the_way_home() -> None:
    """It keeps its name and its runbook, and who carries traffic at home already keeps it, unless it is down."""
    chat = service(endpoint("ap"), endpoint("eu"), endpoint("us", role=Role.ACTIVE))
    away = situation(chat, carrying=(AP,), verdicts=WELL)
    move = went(consider(away, ask_for(FAILBACK, "us")))
    assert (move.kind, move.source, dict(move.after)) == (FAILBACK, (AP,), {"ap": 0, "eu": 0, "us": 100})
    half = situation(chat, carrying=(EU,), verdicts=WELL)
    move = went(consider(half, ask_for(FAILBACK, "us")))
    assert (move.kind, move.source, dict(move.after)) == (FAILBACK, (), {"ap": 0, "eu": 50, "us": 50})
    broken = situation(chat, carrying=(AP, EU))
    move = went(consider(broken, ask_for(FAILBACK, "us", "source-healthy")))
    assert (move.source, dict(move.after)) == ((AP, EU), {"ap": 0, "eu": 0, "us": 100})


def test_a_hand_edit_is_told_with_what_is_answered_and_what_was_meant() -> None:
    """A person learns what the record says now, and where the last generation had sent the traffic."""
    chat = service()
    move = Move(CHAT, FAILOVER, (EU,), US, full(chat.endpoints, US))
    foreign = replace(fenced(chat, EU), answer=Answer("addresses", ("203.0.113.9",)))
    texts = {o.rule: o.text for o in objections(move, situation(chat, routing=foreign))}
    assert "answers 203.0.113.9, which is no known set" in texts["changed-outside"]
    edited = replace(fenced(chat, EU), answer=endpoint("ap").answer)
    texts = {o.rule: o.text for o in objections(move, situation(chat, routing=edited))}
    assert "generation 7 sent it to eu" in texts["changed-outside"]
    gone = Routing(None, 10, fenced(chat, EU).fence)
    texts = {o.rule: o.text for o in objections(move, situation(chat, routing=gone))}
    assert "answers nothing" in texts["changed-outside"]


def test_an_endpoint_that_works_loses_its_traffic_only_by_name() -> None:
    """In a failover that takes a healthy endpoint's traffic too, a person says that it is meant."""
    chat = service()
    facts = situation(chat, carrying=(EU, US))
    move = Move(CHAT, FAILOVER, (EU, US), AP, full(chat.endpoints, AP))
    against, aside = before_person(objections(move, facts), move, ())
    assert (rules(against), aside) == (["source-healthy"], ())
    against, aside = before_person(objections(move, facts), move, ("source-healthy",))
    assert (against, rules(aside)) == ((), ["source-healthy"])
