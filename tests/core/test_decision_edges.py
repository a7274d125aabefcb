"""Edges of deciding: each test here is a rule that could be broken without any other test noticing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core.building import (
    AP,
    CHAT,
    EU,
    US,
    ago,
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
from orchestrator.core.topology import Answer, Role, Workload

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


@pytest.mark.parametrize(
    ("changes", "verdict", "is_cold"),
    [
        ({}, Verdict.DOWN, True),
        ({}, Verdict.UNKNOWN, True),
        ({}, Verdict.HEALTHY, False),
        ({}, Verdict.DEGRADED, False),
        ({"role": Role.ACTIVE}, Verdict.DOWN, False),
        ({"workload": Workload("local", "us", serving=2, standby=1)}, Verdict.DOWN, False),
        ({"workload": Workload("local", "us", serving=0, standby=0)}, Verdict.DOWN, False),
        ({"workload": None}, Verdict.DOWN, False),
    ],
)
def test_only_a_standby_that_is_meant_to_be_off_is_cold(
    changes: dict[str, Any], verdict: Verdict, is_cold: bool
) -> None:
    """Cold sets aside that a target is down, so nothing else may be taken for it."""
    off = endpoint("us", **({"workload": Workload("local", "us", serving=2, standby=0)} | changes))
    chat = service(endpoint("eu"), off)
    facts = situation(chat, verdicts={"us": verdict})
    assert facts.cold(US) is is_cold
    assert not situation(chat, carrying=(US,), verdicts={"us": verdict}).cold(US)
    move = Move(CHAT, FAILOVER, (EU,), US, full(chat.endpoints, US))
    about = {"target-cold", "target-down", "target-unknown", "target-not-proven", "everything-down"}
    found = set(rules(objections(move, facts))) & about
    if is_cold:
        assert found == {"target-cold"}
    else:
        assert "target-cold" not in found
        assert ("target-down" in found) is (verdict is Verdict.DOWN)


def test_a_service_that_is_not_steered_has_no_record_to_be_changed() -> None:
    """Without steering only that is said, whatever was read elsewhere."""
    chat = service(steering=None)
    move = Move(CHAT, FAILOVER, (EU,), US, full(chat.endpoints, US))
    foreign = replace(fenced(chat, EU), answer=Answer("addresses", ("203.0.113.9",)))
    assert rules(objections(move, situation(chat, routing=foreign)))[:1] == ["no-steering"]
    assert not {"changed-outside", "not-adopted", "routing-unknown"} & set(
        rules(objections(move, situation(chat, routing=foreign)))
    )


def test_the_wait_is_told_in_seconds_that_add_up() -> None:
    """How long it fails and how long automation waits, how long ago the last run closed and how long it rests."""
    chat = service(confirm_s=100.0, cooldown_s=300.0)
    texts = {o.rule: o.text for o in reasons(decide(situation(chat, last_closed=ago(60))))}
    assert "has been failing for 30 s and automation waits for 100 s" in texts["confirm"]
    assert "closed 60 s ago and automation waits 300 s" in texts["cool-down"]
