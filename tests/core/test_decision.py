"""Deciding: hold, ask or go, from values alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from core.building import (
    AP,
    EU,
    US,
    ago,
    ask_for,
    assessment,
    endpoint,
    fenced,
    requests,
    rules,
    service,
    situation,
    situations,
)
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decision import Ask, Decision, Go, Hold, Request, Situation, consider, decide, in_order, wait_s
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import Domain, RunId
from orchestrator.core.quorum import Verdict
from orchestrator.core.steering import Routing, answer_for, evenly, full, serving
from orchestrator.core.topology import Answer, Mode, Role, Workload

FAILOVER, SWITCHOVER, FAILBACK, _ = MoveKind
HEALTHY, DEGRADED, DOWN, UNKNOWN = Verdict
WELL = {"eu": HEALTHY}


def went(decision: Decision) -> Move:
    assert isinstance(decision, Go), decision
    return decision.move


def held(decision: Decision) -> list[str]:
    assert isinstance(decision, Hold), decision
    return rules(decision.reasons)


# ------------------------------------------------------------------ automation


def test_nothing_wrong_is_a_hold_without_reasons() -> None:
    """A healthy service is left alone."""
    assert decide(situation(verdicts=WELL)) == Hold(())


def test_an_endpoint_that_is_down_loses_its_traffic_to_the_best_target() -> None:
    """In automatic mode, with nothing against it, the failover goes ahead."""
    chat = service(prefer=(US, AP))
    move = went(decide(situation(chat)))
    assert move == Move(chat.id, FAILOVER, (EU,), US, full(chat.endpoints, US), (Domain("cloud/eu"),))


def test_targets_are_tried_as_the_policy_prefers_then_active_then_by_id() -> None:
    """The order is the topology's, and the same every time."""
    endpoints = (endpoint("ap"), endpoint("eu"), endpoint("us"), endpoint("za", role=Role.ACTIVE))
    assert in_order(situation(service(*endpoints))) == ("eu", "za", "ap", "us")
    assert in_order(situation(service(*endpoints, prefer=(US, US, AP)))) == ("us", "ap", "eu", "za")


def test_a_target_that_had_no_room_is_tried_last() -> None:
    """The policy prefers us, which refused to be made ready lately: another one is chosen, and us if there is none."""
    preferred = service(prefer=(US, AP))
    assert went(decide(replace(situation(preferred), fruitless=(US,)))).target == AP
    assert went(decide(replace(situation(preferred), fruitless=(AP, US)))).target == US
    assert went(decide(situation())).target == AP


def test_a_target_that_a_person_must_decide_on_comes_after_one_that_is_sound() -> None:
    """A preferred but degraded target is passed over while another is well."""
    assert went(decide(situation(service(prefer=(US,)), verdicts={"us": DEGRADED}))).target == AP


def test_where_every_target_needs_a_person_automation_asks() -> None:
    """The question is about the best of them."""
    asked = decide(situation(service(prefer=(US,), capacity=None)))
    assert isinstance(asked, Ask)
    assert asked.move.target == US
    assert rules(asked.reasons) == ["capacity-unknown"]


def test_where_no_target_will_do_automation_holds_with_the_reasons_of_the_best() -> None:
    """The best is the one that the fewest rules forbid."""
    facts = situation(service(endpoint("eu"), endpoint("us"), endpoint("ap", answer=None), prefer=(AP,)), paused="ann")
    assert held(decide(facts)) == ["paused"]


def test_everything_down_leaves_routing_as_it_is() -> None:
    """When nothing is known to work, nothing is moved and people are told."""
    for verdict in (DOWN, UNKNOWN):
        assert held(decide(situation(verdicts={"us": verdict, "ap": DOWN}))) == ["everything-down"]
    silent = decide(situation(verdicts={"eu": UNKNOWN, "us": DOWN, "ap": DOWN}))
    assert held(silent) == ["everything-down", "unknown"]


def cold() -> Any:
    """The active endpoint is dead and the only standby runs nothing yet."""
    off = endpoint("us", workload=Workload("local", "us", serving=2, standby=0))
    return situation(service(endpoint("eu"), off), verdicts={"us": DOWN})


def test_a_cold_standby_is_a_question_not_a_dead_end() -> None:
    """A standby without replicas is down because it is off: automation asks, and a person may promote it."""
    asked = decide(cold())
    assert isinstance(asked, Ask)
    assert "target-cold" in rules(asked.reasons)
    assert went(consider(cold(), ask_for(FAILOVER, "us"))).target == US


def test_a_warm_target_comes_before_a_cold_one() -> None:
    """Where something is ready to serve, nothing is loaded first."""
    off = endpoint("ap", workload=Workload("local", "ap", serving=2, standby=0))
    facts = situation(service(off, endpoint("eu"), endpoint("us"), prefer=(AP,)), verdicts={"ap": DOWN})
    assert went(decide(facts)).target == US


def test_several_cold_standbys_may_get_traffic_together() -> None:
    """A run promotes and proves everyone who begins to get traffic: a person may spread over what runs nothing yet."""
    off = tuple(endpoint(name, workload=Workload("local", name, serving=2, standby=0)) for name in ("ap", "us"))
    facts = situation(service(off[0], endpoint("eu"), off[1]), verdicts={"eu": HEALTHY, "ap": DOWN, "us": DOWN})
    both = consider(facts, replace(ask_for(SWITCHOVER), after=((AP, 50), (US, 50))))
    assert (went(both).after, went(both).target) == (((AP, 50), ("eu", 0), (US, 50)), AP)
    assert went(consider(facts, replace(ask_for(SWITCHOVER), after=((EU, 50), (US, 50)), target=US))).target == US


def test_exact_weights_are_proved_where_traffic_begins() -> None:
    """Half of the traffic returns to an endpoint that has none: it is the target, which the run promotes and asks."""
    facts = situation(verdicts={"eu": HEALTHY})
    move = went(consider(facts, replace(ask_for(SWITCHOVER), after=((EU, 50), (US, 50)))))
    assert (move.target, move.source) == (US, ())


def test_a_standby_that_should_run_and_does_not_is_no_cold_one() -> None:
    """A warm standby that is down is broken, and nobody can send traffic there."""
    warm = endpoint("us", workload=Workload("local", "us", serving=2, standby=1))
    facts = situation(service(endpoint("eu"), warm), verdicts={"us": DOWN})
    assert held(decide(facts)) == ["everything-down"]
    assert "target-down" in held(consider(facts, ask_for(FAILOVER, "us")))


def test_an_active_endpoint_that_is_degraded_moves_no_region() -> None:
    """Overload is not death."""
    assert held(decide(situation(verdicts={"eu": DEGRADED}))) == ["degraded"]


def test_an_active_endpoint_that_nobody_sees_keeps_its_traffic() -> None:
    """Silence is not failure; the reason says who is missing."""
    decision = decide(situation(verdicts={"eu": UNKNOWN}))
    assert held(decision) == ["unknown"]
    assert isinstance(decision, Hold)
    assert "unknown from 2 of 3 vantages" in decision.reasons[0].text


def test_a_standby_that_is_down_moves_nothing() -> None:
    """Only endpoints with traffic are worth a run."""
    assert decide(situation(verdicts={"eu": HEALTHY, "us": DOWN, "ap": UNKNOWN})) == Hold(())


@pytest.mark.parametrize("name", ["approval", "manual", "observe"])
def test_modes_other_than_automatic_leave_the_act_to_people(name: str) -> None:
    """Observe says what it would do, manual holds, approval asks."""
    decision = decide(situation(service(mode=Mode(name))))
    if name == "approval":
        assert isinstance(decision, Ask)
        assert rules(decision.reasons) == ["approval"]
    else:
        assert held(decision) == [name]
        assert isinstance(decision, Hold)
        assert (decision.move is not None) == (name == "observe")


def test_observe_says_what_would_have_held_it_too() -> None:
    """The record of what would be done is honest about what stands against it."""
    chat = service(mode=Mode.OBSERVE)
    decision = decide(situation(chat, routing=replace(fenced(chat, EU), fence=None)))
    assert held(decision) == ["observe", "not-adopted"]


def test_cool_down_holds_automation_but_not_a_question() -> None:
    """In approval mode a person may say yes soon after a run; confirm still damps the question."""
    assert held(decide(situation(last_closed=ago(10)))) == ["cool-down"]
    assert isinstance(decide(situation(service(mode=Mode.APPROVAL), last_closed=ago(10))), Ask)
    assert held(decide(situation(service(mode=Mode.APPROVAL, confirm_s=99)))) == ["confirm"]


def test_a_service_without_steering_says_what_is_missing() -> None:
    """It is watched by the role of its endpoints, and an outage names the cure."""
    chat = service(steering=None)
    assert "no-steering" in held(decide(situation(chat, routing=None)))
    assert decide(situation(chat, routing=None, verdicts=WELL)) == Hold(())


def test_an_outage_under_a_record_that_cannot_be_read_is_told() -> None:
    """Who carries the traffic is then not known, and that is said."""
    assert held(decide(situation(routing=None, verdicts={"eu": HEALTHY, "us": DOWN}))) == ["routing-unknown"]
    foreign = Routing(Answer("addresses", ("203.0.113.9",)), 10, None)
    assert held(decide(situation(routing=foreign, verdicts={"eu": HEALTHY, "us": DOWN}))) == ["changed-outside"]


def test_after_a_hand_edit_the_endpoint_that_clients_see_is_watched() -> None:
    """The live answer says who carries traffic; the edit itself keeps automation from writing."""
    edited = replace(fenced(service(), EU), answer=endpoint("us").answer)
    assert decide(situation(routing=edited)) == Hold(())
    assert held(decide(situation(routing=edited, verdicts={"eu": HEALTHY, "us": DOWN}))) == ["changed-outside"]


# ------------------------------------------------------------------ several that serve


def test_one_of_several_is_taken_out_where_the_others_can_carry_on() -> None:
    """No standby is woken when those that serve have the room."""
    move = went(decide(situation(carrying=(EU, US))))
    assert (move.source, move.target, move.after) == ((EU,), US, full(service().endpoints, US))
    three = went(decide(situation(carrying=(AP, EU, US))))
    assert (three.source, dict(three.after)) == ((EU,), {"ap": 50, "eu": 0, "us": 50})


def test_a_standby_takes_the_place_of_the_dead_where_the_others_lack_room() -> None:
    """The healthy endpoint keeps its share."""
    chat = service(endpoint("ap", capacity=50), endpoint("eu"), endpoint("us", capacity=50))
    move = went(decide(situation(chat, carrying=(EU, US))))
    assert (move.source, move.target, dict(move.after)) == ((EU,), AP, {"ap": 50, "eu": 0, "us": 50})


def test_automation_never_takes_traffic_from_an_endpoint_that_works() -> None:
    """Where only a third endpoint could carry everything, a person is asked."""
    chat = service(endpoint("ap"), endpoint("eu"), endpoint("us", capacity=10))
    asked = decide(situation(chat, carrying=(EU, US)))
    assert isinstance(asked, Ask)
    assert asked.move.after == full(chat.endpoints, US)
    assert rules(asked.reasons) == ["capacity-short"]


def test_two_dead_of_three_leave_together() -> None:
    """One move takes every dead endpoint out, and its workers are sought outside all of their regions."""
    move = went(decide(situation(carrying=(AP, EU, US), verdicts={"ap": DOWN})))
    assert (move.source, move.after, move.failing) == (
        (AP, EU),
        full(service().endpoints, US),
        (Domain("cloud/ap"), Domain("cloud/eu")),
    )


# ------------------------------------------------------------------ people


def test_a_person_may_fail_over_without_waiting() -> None:
    """Confirm, cool-down and mode bind automation; the person's word is enough."""
    facts = situation(service(mode=Mode.MANUAL, confirm_s=99), last_closed=ago(1))
    move = went(consider(facts, ask_for(FAILOVER, "us")))
    assert (move.kind, move.target) == (FAILOVER, US)


def test_a_failover_from_a_working_endpoint_is_a_switchover() -> None:
    """The source still serves, so it is drained and can be gone back to."""
    move = went(consider(situation(verdicts=WELL), ask_for(FAILOVER, "us")))
    assert (move.kind, move.source, move.failing) == (SWITCHOVER, (EU,), ())


def test_a_switchover_from_a_dead_endpoint_is_a_failover() -> None:
    """What is down cannot be drained or gone back to, whatever it was called."""
    move = went(consider(situation(), ask_for(SWITCHOVER, "us")))
    assert (move.kind, move.failing) == (FAILOVER, (Domain("cloud/eu"),))


def test_without_a_target_the_best_one_is_taken() -> None:
    """The one that no rule speaks against, in the policy's order."""
    chat = service(prefer=(US,))
    assert went(consider(situation(chat), ask_for(FAILOVER))).target == US
    assert went(consider(situation(chat, verdicts={"us": DOWN}), ask_for(FAILOVER))).target == AP
    assert went(consider(situation(chat, verdicts=WELL), ask_for(SWITCHOVER))).target == US


def test_failback_goes_to_the_active_endpoint() -> None:
    """The way home needs no target."""
    facts = situation(carrying=(US,), verdicts=WELL)
    move = went(consider(facts, ask_for(FAILBACK)))
    assert (move.kind, move.source, move.target) == (FAILBACK, (US,), EU)
    assert "target-down" in held(consider(situation(carrying=(US,)), ask_for(FAILBACK)))
    assert held(consider(situation(verdicts=WELL), ask_for(FAILBACK))) == ["already-there"]


def test_failback_of_a_shared_service_brings_back_every_active_endpoint_that_works() -> None:
    """Home is where all the active ones share; those that serve already keep serving."""
    chat = service(endpoint("ap"), endpoint("eu"), endpoint("us", role=Role.ACTIVE))
    move = went(consider(situation(chat, carrying=(US,), verdicts=WELL), ask_for(FAILBACK)))
    assert (move.source, move.target, dict(move.after)) == ((), EU, {"ap": 0, "eu": 50, "us": 50})
    move = went(consider(situation(chat, carrying=(AP,), verdicts=WELL), ask_for(FAILBACK)))
    assert (move.source, dict(move.after)) == ((AP,), {"ap": 0, "eu": 50, "us": 50})
    both = situation(chat, carrying=(EU, US), verdicts=WELL)
    assert held(consider(both, ask_for(FAILBACK))) == ["already-there"]


def test_failback_without_an_active_endpoint_asks_for_a_target() -> None:
    """There is no home to go to."""
    chat = service(endpoint("eu", role=Role.STANDBY), endpoint("us"))
    assert held(consider(situation(chat, verdicts=WELL), ask_for(FAILBACK))) == ["no-target"]
    assert went(consider(situation(chat, verdicts=WELL), ask_for(FAILBACK, "us"))).target == US


def test_nobody_can_send_traffic_to_where_it_is_known_not_to_work() -> None:
    """No override reaches that far."""
    said = held(consider(situation(verdicts={"us": DOWN}), ask_for(FAILOVER, "us", "target-down")))
    assert said == ["target-down"]


def test_overrides_are_by_name_and_recorded() -> None:
    """What was set aside stays with the decision."""
    facts = situation(verdicts={"eu": HEALTHY, "us": DEGRADED})
    assert held(consider(facts, ask_for(SWITCHOVER, "us"))) == ["target-degraded", "target-not-proven"]
    decision = consider(facts, ask_for(SWITCHOVER, "us", "target-degraded", "target-not-proven"))
    assert isinstance(decision, Go)
    assert rules(decision.overridden) == ["target-degraded", "target-not-proven"]


def test_a_person_may_move_to_the_last_region_that_works() -> None:
    """Most regions fell, so every vantage suspects itself and nothing is known: a person who knows better names it."""
    facts = situation(verdicts=dict.fromkeys(("ap", "eu", "us"), UNKNOWN))
    doubts = ["everything-down", "target-unknown", "target-not-proven"]
    assert held(consider(facts, ask_for(FAILOVER, "us"))) == doubts
    assert went(consider(facts, ask_for(FAILOVER, "us", *doubts))).target == "us"
    down = situation(verdicts={"us": DOWN, "ap": DOWN})
    assert "target-down" in held(consider(down, ask_for(FAILOVER, "us", *doubts)))


def test_a_mistake_in_a_request_is_answered_with_the_nearest_name() -> None:
    """Unknown rules and endpoints are refused, all at once, with what was probably meant."""
    decision = consider(situation(), ask_for(FAILOVER, "usa", "target-degrade"))
    assert isinstance(decision, Hold)
    assert rules(decision.reasons) == ["no-such-endpoint", "unknown-override"]
    assert "did you mean 'us'?" in decision.reasons[0].text
    assert "did you mean 'target-degraded'?" in decision.reasons[1].text


def test_an_override_needs_a_reason() -> None:
    """Who set a rule aside, and why, is part of the record."""
    assert held(consider(situation(), ask_for(FAILOVER, "us", "capacity-short", reason=" "))) == [
        "override-unexplained"
    ]


def test_a_service_with_one_endpoint_has_nowhere_to_go() -> None:
    """That is said, not guessed."""
    alone = service(endpoint("eu"))
    assert held(consider(situation(alone, verdicts=WELL), ask_for(SWITCHOVER))) == ["no-target"]
    assert "everything-down" in held(consider(situation(alone), ask_for(FAILOVER)))


# ------------------------------------------------------------------ waiting


def test_one_timer_is_enough() -> None:
    """The wait is until the next rule lets go by time alone."""
    assert wait_s(situation(verdicts=WELL)) is None
    assert wait_s(situation()) is None
    assert wait_s(situation(service(confirm_s=42))) == 12.0
    assert wait_s(situation(service(confirm_s=42, cooldown_s=15), last_closed=ago(10))) == 5.0


@given(facts=situations(), part=st.floats(0.01, 0.99))
def test_nothing_changes_before_the_timer(facts: Situation, part: float) -> None:
    """Until then the decision is the same but for the seconds in its texts; at the timer a rule lets go."""
    wait = wait_s(facts)
    early = replace(facts, now=facts.now + timedelta(seconds=1000.0 if wait is None else wait * part))
    assert shape(decide(early)) == shape(decide(facts))
    if wait is not None:
        assert wait > 0
        later = wait_s(replace(facts, now=facts.now + timedelta(seconds=wait + 1e-5)))
        assert later is None or later > 0


def shape(decision: Decision) -> tuple[Any, ...]:
    reasons: tuple[Objection, ...] = decision.overridden if isinstance(decision, Go) else decision.reasons
    # A freeze that begins meanwhile is one more reason, and changes nothing of what is done.
    return type(decision), [name for name in rules(reasons) if name != "freeze"], decision.move


# ------------------------------------------------------------------ whatever happens


def sound(move: Move, facts: Situation) -> None:
    """What every move that is carried out or asked about must be."""
    serves = serving(move.after)
    assert answer_for(facts.service.endpoints, move.after).values
    assert move.target in serves
    assert sum(weight for _, weight in move.after) == 100
    assert tuple(sorted(e.id for e in facts.service.endpoints)) == tuple(e for e, _ in move.after)
    assert facts.verdict(move.target) in {HEALTHY, DEGRADED}
    assert all(facts.verdict(e) in {HEALTHY, DEGRADED} for e in serves if e not in facts.carrying)
    assert not set(move.source) & set(serves)
    assert facts.run is None
    assert facts.routing is not None
    assert facts.routing.fence is not None
    assert move.planned == (not set(move.source) & set(facts.dead))


@given(facts=situations())
def test_automation_is_total_and_never_leaves_a_name_empty(facts: Situation) -> None:
    """Any situation has an answer; what goes ahead or is asked keeps the name served by an endpoint that works."""
    decision = decide(facts)
    if isinstance(decision, Hold):
        assert decision.move is None or facts.mode is Mode.OBSERVE
        assert all(reason.text for reason in decision.reasons)
        assert decision.reasons or not facts.dead
        return
    sound(decision.move, facts)
    assert facts.mode in {Mode.AUTOMATIC, Mode.APPROVAL}
    assert decision.move.kind is FAILOVER
    assert facts.dead
    assert not facts.dark
    assert not set(facts.dead) & set(serving(decision.move.after))
    assert facts.paused is None
    assert not facts.held
    if isinstance(decision, Go):
        assert facts.mode is Mode.AUTOMATIC
        assert all(facts.verdict(e) is DOWN for e in decision.move.source)


@given(facts=situations(), request_=requests())
def test_a_persons_request_is_answered_in_any_situation(facts: Situation, request_: Request) -> None:
    """Go or hold, never a question back; and a yes is always sound."""
    decision = consider(facts, request_)
    if isinstance(decision, Hold):
        assert decision.reasons
        return
    assert isinstance(decision, Go)
    assert request_.target in {None, decision.move.target}
    if request_.kind is MoveKind.PREPARATION:
        assert decision.move.source == ()
        assert facts.run is None
        return
    sound(decision.move, facts)
    assert not set(request_.leaving) & set(serving(decision.move.after)) or request_.after is not None
    assert request_.after is None or dict(request_.after).items() <= dict(decision.move.after).items()


@given(facts=situations())
def test_knowing_the_run_automation_waits_for_its_end(facts: Situation) -> None:
    """While a run holds the service nothing else starts."""
    assert isinstance(decide(replace(facts, run=RunId("run-9"))), Hold)


@given(facts=situations())
def test_to_decide_twice_is_to_decide_the_same(facts: Situation) -> None:
    """A decision depends on its situation and on the order of nothing."""
    mixed = replace(facts, assessments=facts.assessments[::-1])
    assert decide(facts) == decide(mixed)


def test_healthy_verdicts_are_what_the_builder_says() -> None:
    """The small world of these tests is sound to begin with."""
    facts = situation()
    assert facts.assessments[0] == assessment("ap")
    assert facts.shares == evenly(facts.service.endpoints, (EU,))
