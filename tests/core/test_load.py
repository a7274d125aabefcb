"""Observed load: what counts of it, how long, and what it makes of the rules on capacity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from core.building import AP, EU, NOW, US, ago, endpoint, fenced, moves, rules, service, situation, situations
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import governing
from orchestrator.core.decision import Ask, Go, Situation, decide
from orchestrator.core.load import KEPT_S, WINDOW_S, Observed, gathered, remembered, taken_in, while_shifting
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import Domain, EndpointId, RunId
from orchestrator.core.orders import Orders, Pool
from orchestrator.core.quorum import Verdict
from orchestrator.core.safety import objections
from orchestrator.core.steering import Fence, Routing, evenly, full
from orchestrator.core.targets import needed
from orchestrator.core.underway import UnderWay, still_against

TO_US = Move(service().id, MoveKind.FAILOVER, (EU,), US, full(service().endpoints, US), (Domain("cloud/eu"),))
OF_CAPACITY = {"capacity-unknown", "capacity-short", "pool-full"}
seconds = st.integers(0, 2000)
sightings = st.builds(Observed, st.sampled_from([AP, EU, US]), st.integers(0, 300), seconds.map(ago))


ONE_STANDBY = service(endpoint("eu"), endpoint("us"))


def saw(endpoint: EndpointId, in_flight: int, age_s: float = 0.0) -> Observed:
    return Observed(endpoint, in_flight, ago(age_s))


def texts(found: tuple[Objection, ...]) -> list[str]:
    return [each.text for each in found if each.rule in OF_CAPACITY]


# ------------------------------------------------------------------ what counts


@given(st.lists(sightings, max_size=12))
def test_the_most_of_the_last_minute_counts(said: list[Observed]) -> None:
    """For each endpoint one observation: nothing of its last minute was more, and nothing older counts."""
    found = gathered(*said)
    assert [each.endpoint for each in found] == sorted({each.endpoint for each in said})
    assert set(found) <= set(said)
    for each in found:
        same = [other for other in said if other.endpoint == each.endpoint]
        lately = [o for o in same if max(s.at for s in same) - o.at <= timedelta(seconds=WINDOW_S)]
        assert each.in_flight == max(other.in_flight for other in lately)
        assert each in lately


@given(st.lists(sightings, max_size=8), st.lists(sightings, max_size=8), st.permutations(range(8)))
def test_the_order_in_which_vantages_are_heard_changes_nothing(
    one: list[Observed], other: list[Observed], order: list[int]
) -> None:
    """Whoever is heard first, and what has been gathered already, makes no difference."""
    said = [*one, *other]
    mixed = [said[i] for i in order if i < len(said)] + said[8:]
    assert gathered(*mixed) == gathered(*said)
    assert gathered(*gathered(*said)) == gathered(*said)


def test_load_is_forgotten_after_a_while() -> None:
    """What nobody has seen for a quarter of an hour says nothing any more."""
    known = (saw(EU, 37, KEPT_S + 1), saw(US, 3, KEPT_S))
    assert remembered(known, (), now=NOW) == (saw(US, 3, KEPT_S),)


def test_the_load_of_what_is_down_stays_known() -> None:
    """It was seen just before the endpoint fell: hours later it is still what has to find room."""
    known = (saw(EU, 37, 7200),)
    assert remembered(known, ((EU, ago(7190)),), now=NOW) == known
    assert remembered(known, ((EU, ago(7200 - KEPT_S - 1)),), now=NOW) == ()


def test_what_is_down_is_not_believed_to_be_idle() -> None:
    """A vantage beside it still finds it well, and counts what clients have left of it: what it carried stays known."""
    known, down = (saw(EU, 37, 70), saw(US, 3, 70)), ((EU, ago(60)),)
    told = (saw(EU, 0), saw(US, 5))
    assert taken_in(known, told, down) == (saw(EU, 37, 70), saw(US, 5))
    assert taken_in(known, told, ()) == (saw(EU, 0), saw(US, 5))
    assert taken_in((), (saw(EU, 31, 80),), down) == (saw(EU, 31, 80),)


# ------------------------------------------------------------------ the rules


def test_more_than_was_declared_asks_a_person() -> None:
    """80 are declared and fit; 137 were seen and do not: the question says which number is meant, and when it was."""
    facts = situation(ONE_STANDBY, observed=(saw(EU, 137, 15),))
    decision = decide(facts)
    assert isinstance(decision, Ask)
    assert {reason.rule for reason in decision.reasons} == {"capacity-short"}
    assert decision.reasons[0].text == (
        "endpoint 'us' can carry 100 requests in flight and 137 would come to it (observed 137 requests in flight at "
        "2025-01-01T11:59:45Z, 80 declared); raise its capacity or shed load first"
    )


def test_the_load_is_spread_where_one_target_cannot_take_it() -> None:
    """80 are declared and one target would do; 137 were seen, and two of them carry that without a question."""
    decision = decide(situation(observed=(saw(EU, 137),)))
    assert isinstance(decision, Go)
    assert decision.move.after == evenly(service().endpoints, (AP, US))


def test_less_than_was_declared_changes_nothing() -> None:
    """A quiet night is no reason to move onto something that cannot carry the day; the sentence says both numbers."""
    chat = service(endpoint("eu"), endpoint("us", capacity=50))
    decision = decide(situation(chat, observed=(saw(EU, 3),)))
    assert isinstance(decision, Ask)
    assert "80 would come to it (observed 3 requests in flight at 2025-01-01T12:00:00Z, 80 declared)" in (
        decision.reasons[0].text
    )


def test_what_was_observed_stands_in_for_what_nobody_declared() -> None:
    """No capacity in the policy: with the load observed automation moves, without it a person is asked."""
    chat = service(endpoint("eu"), endpoint("us"), capacity=None)
    assert isinstance(decide(situation(chat)), Ask)
    assert isinstance(decide(situation(chat, observed=(saw(EU, 90),))), Go)
    short = decide(situation(chat, observed=(saw(EU, 137),)))
    assert isinstance(short, Ask)
    assert "(observed 137 requests in flight at 2025-01-01T12:00:00Z, none declared)" in short.reasons[0].text


def test_a_part_of_the_load_is_the_least_that_is_needed() -> None:
    """Of two endpoints that carry traffic one tells its load: a person is asked, and told what is known."""
    chat = service(capacity=None)
    to_us = replace(TO_US, source=(AP, EU))
    part = objections(to_us, situation(chat, (AP, EU), observed=(saw(AP, 137),)))
    unknown, short = texts(part)
    assert unknown == (
        "how many requests in flight service 'chat' needs is not known, and at least that much it is: observed 137 "
        "requests in flight at ap alone at 2025-01-01T12:00:00Z; set its policy's capacity"
    )
    assert "(observed 137 requests in flight at ap alone at 2025-01-01T12:00:00Z, none declared)" in short
    both = objections(to_us, situation(chat, (AP, EU), observed=(saw(AP, 40, 5), saw(EU, 30, 9))))
    assert texts(both) == []


def test_the_observed_load_is_shared_like_the_traffic() -> None:
    """140 observed are too much for one target of 100, and 70 each for two of them are not."""
    halves = replace(TO_US, after=evenly(service().endpoints, (AP, US)))
    facts = situation(observed=(saw(EU, 140),))
    assert rules(objections(halves, facts)) == []
    assert rules(objections(TO_US, facts)) == ["capacity-short"]


def test_who_carries_no_traffic_has_no_load_to_move() -> None:
    """What still runs at an endpoint that has left the answer is not counted."""
    need = needed(situation(observed=(saw(AP, 500), saw(EU, 1))))
    assert (need.amount, need.text) == (80, "observed 1 request in flight at 2025-01-01T12:00:00Z, 80 declared")


def test_requests_seen_at_both_ends_of_a_shift_count_once() -> None:
    """Half way through its stages a run asks again: what has just left the one endpoint is at the other one."""
    chat = service(capacity=None)
    begun = Routing(fenced(chat, EU, US).answer, 10, Fence(8, "run-9", "steer.50", evenly(chat.endpoints, (EU, US))))
    seen = (saw(EU, 70), saw(US, 40))
    move = replace(TO_US, kind=MoveKind.SWITCHOVER, failing=())
    facts = situation(chat, verdicts={"eu": Verdict.HEALTHY}, routing=begun, observed=seen, run=RunId("run-9"))
    assert "capacity-short" in rules(objections(move, facts))
    assert still_against(facts, UnderWay(RunId("run-9"), move), by="automatic") == ()
    assert while_shifting(seen) == (saw(EU, 70), saw(US, 0))
    assert while_shifting(()) == ()


# ------------------------------------------------------------------ shared pools

POOLED = service(endpoint("eu"), endpoint("us", pool="h100"))
H100 = Orders(pools=(Pool("h100", 150),))


def test_a_move_asks_a_pool_for_what_was_observed() -> None:
    """Beside 60 that others have, the declared 80 fit into a pool of 150 and the observed 95 do not."""
    facts = situation(POOLED, orders=H100, promised=(("h100", 60),))
    assert rules(objections(TO_US, facts)) == []
    more = replace(facts, observed=(saw(EU, 95),))
    (said,) = texts(objections(TO_US, more))
    assert said == (
        "pool 'h100' carries 150 requests in flight, 60 are promised to other services and 95 would come to it "
        "(observed 95 requests in flight at 2025-01-01T12:00:00Z, 80 declared); free some of it or choose a target "
        "elsewhere"
    )
    request = governing.slot_request(TO_US, more, RunId("run-2"), "failover/chat/run-2")
    assert request.needs == (("h100", 95),)


@given(st.lists(sightings, max_size=4))
def test_what_stands_in_the_ledger_does_not_follow_the_load(said: list[Observed]) -> None:
    """A service at rest tells the governor nothing new, whatever is observed of it."""
    at_rest = situation(POOLED, (US,), orders=H100)
    assert governing.standing(replace(at_rest, observed=gathered(*said))) == (("h100", 80),)


# ------------------------------------------------------------------ whatever the situation


@given(situations().flatmap(lambda where: st.tuples(st.just(where), moves(where))), st.data())
def test_more_load_never_removes_an_objection(case: tuple[Situation, Move], data: st.DataObject) -> None:
    """Each observation may grow: every rule that objected still does, and the governor is asked for no less."""
    where, move = case
    names = st.sampled_from([each.id for each in where.service.endpoints] or [EU])
    said = gathered(*data.draw(st.lists(st.builds(Observed, names, st.integers(0, 200), seconds.map(ago)), max_size=4)))
    more = tuple(replace(each, in_flight=each.in_flight + data.draw(st.integers(0, 200))) for each in said)
    less, grown = replace(where, observed=said), replace(where, observed=more)
    assert set(rules(objections(move, less))) <= set(rules(objections(move, grown)))
    asks = [dict(governing.slot_request(move, each, RunId("r"), "w").needs) for each in (less, grown)]
    assert all(amount <= asks[1][pool] for pool, amount in asks[0].items())


@given(situations().flatmap(lambda where: st.tuples(st.just(where), moves(where))), st.lists(sightings, max_size=4))
def test_beside_a_declared_number_an_observation_only_adds(case: tuple[Situation, Move], said: list[Observed]) -> None:
    """Beside a declared capacity no observation makes a move easier; without one it answers what nobody could."""
    where, move = case
    before = set(rules(objections(move, where)))
    after = set(rules(objections(move, replace(where, observed=gathered(*said)))))
    gone = before - after
    assert not gone or (where.service.policy.capacity is None and gone <= {"capacity-unknown", "pool-full"})


@pytest.mark.parametrize("change", [lambda s: replace(s, observed=(saw(EndpointId("gone"), 900),)), lambda s: s])
def test_nothing_observed_leaves_the_declared_rule(change: Callable[[Situation], Situation]) -> None:
    """Nothing observed of what carries the traffic: the rules and their words are those of the declared number."""
    facts = change(situation(service(capacity=101)))
    assert texts(objections(TO_US, facts)) == [
        "endpoint 'us' can carry 100 requests in flight and 101 would come to it; raise its capacity or shed load first"
    ]
