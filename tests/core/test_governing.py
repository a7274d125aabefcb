"""Governing: leave to move is granted once, given back once, and never beyond what there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from core.building import AP, EU, NOW, US, endpoint, fenced, rules, service, situation
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator.core import governing
from orchestrator.core.crowd import Moving
from orchestrator.core.decision import Ask, Go, Hold, decide
from orchestrator.core.governing import Ledger, SlotAnswer, SlotRequest
from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import Domain, RunId, ServiceId
from orchestrator.core.orders import Limits, Orders, Pool
from orchestrator.core.situation import Situation
from orchestrator.core.steering import full
from orchestrator.core.topology import Ungoverned

LATER = NOW + timedelta(minutes=2)
H100 = (Pool("h100", 100),)
CALM = Ledger(1, Limits(at_once=3, per_domain=2, change_guard=100), H100, services=10)


def wish(
    name: str, amount: int = 0, number: int = 1, into: str = "cloud/us", aside: tuple[str, ...] = ()
) -> SlotRequest:
    needs = (("h100", amount),) if amount else ()
    moving = Moving(ServiceId(name), (Domain(into),))
    return SlotRequest(RunId(f"{name}-{number}"), f"failover/{name}/{number}", moving, needs, aside)


def asking(ledger: Ledger, *wishes: SlotRequest) -> tuple[Ledger, SlotAnswer]:
    """All of them in a row, and the last one's answer."""
    answer = SlotAnswer(granted=False)
    for each in wishes:
        ledger, answer = governing.acquire(ledger, each, now=NOW, until=LATER)
    return ledger, answer


def test_two_services_do_not_count_on_the_same_standby() -> None:
    """The first gets the pool; the second is told who has it; once that is given back, it may go."""
    ledger, first = asking(CALM, wish("chat", 60))
    assert first.granted
    ledger, second = asking(ledger, wish("code", 60))
    assert not second.granted
    assert [(each.rule, each.asks) for each in second.objections] == [("pool-full", True)]
    assert second.objections[0].text == (
        "pool 'h100' carries 100 requests in flight, 60 are promised to 'chat' and 60 would come to it; free some of "
        "it or choose a target elsewhere"
    )
    ledger, third = asking(governing.release(ledger, RunId("chat-1")), wish("code", 60))
    assert third.granted
    assert [each.request.moving.service for each in ledger.grants] == ["code"]


def test_what_stands_in_a_pool_counts_after_its_run_as_well() -> None:
    """A service that has moved into a pool stays in it: its run is over, its requests are not."""
    ledger = governing.stands(CALM, ServiceId("chat"), (("h100", 60),))
    assert not asking(ledger, wish("code", 60))[1].granted
    # Its own move within the pool takes nothing more, and while it is on its way it counts once.
    ledger, own = asking(ledger, wish("chat", 60))
    assert own.granted
    assert [each.amount for each in governing.promised(ledger)] == [60]
    assert asking(
        governing.stands(governing.release(ledger, RunId("chat-1")), ServiceId("chat"), ()), wish("code", 60)
    )[1].granted


def test_a_full_pool_holds_up_nobody_who_takes_less_of_it() -> None:
    """Where a pool is promised beyond what it carries, a service that shrinks in it may still move."""
    ledger = governing.stands(
        governing.stands(CALM, ServiceId("chat"), (("h100", 90),)), ServiceId("code"), (("h100", 60),)
    )
    assert asking(ledger, wish("code", 60))[1].granted
    assert not asking(ledger, wish("code", 61))[1].granted


def test_a_wish_that_is_heard_twice_is_granted_once() -> None:
    """A lost answer asked for again is the same one; what arrives after it was given back holds nothing."""
    ledger, first = asking(CALM, wish("chat", 60))
    again, second = asking(ledger, wish("chat", 60))
    assert (again, second) == (ledger, first)
    ledger = governing.release(governing.release(ledger, RunId("chat-1")), RunId("chat-1"))
    ledger, late = asking(ledger, wish("chat", 60))
    assert not late.granted
    assert not late.objections
    assert not ledger.grants
    ledger = governing.release(CALM, RunId("code-1"))
    assert not asking(ledger, wish("code", 60))[1].granted, "given back before it arrived"


def test_a_service_holds_one_grant() -> None:
    """A service has one run at a time: the next one's grant ends the last one's, which nobody gave back."""
    ledger, answer = asking(CALM, wish("chat", 60), wish("chat", 60, 2))
    assert answer.granted
    assert [each.request.token for each in ledger.grants] == ["chat-2"]
    assert asking(ledger, wish("chat", 60))[0] == ledger


def test_what_is_set_aside_is_granted_and_named() -> None:
    """A person who sets the pool's rule aside is let through, and the answer says what was set aside."""
    ledger, answer = asking(CALM, wish("chat", 60), wish("code", 60, aside=("pool-full",)))
    assert answer.granted
    assert rules(answer.objections) == ["pool-full"]
    assert governing.promised(ledger) == (governing.Promise("h100", 120, "'chat', 'code'"),)
    assert asking(ledger, wish("code", 60, aside=("pool-full",)))[1].objections == answer.objections


def test_runs_at_one_time_are_bounded_in_all_and_by_region() -> None:
    """The third into one region is refused, and the fourth of three anywhere."""
    ledger, answer = asking(CALM, wish("a"), wish("b"), wish("c"))
    assert rules(answer.objections) == ["too-many-at-once"]
    ledger, answer = asking(ledger, wish("c", into="cloud/ap"))
    assert answer.granted
    assert rules(asking(ledger, wish("d", into="cloud/za"))[1].objections) == ["too-many-at-once"]


def test_who_was_refused_is_called_when_something_is_free() -> None:
    """The most important first, then who was refused first, no more than there are places; who has gone is not."""
    full, _ = asking(CALM, *(wish(name, into=f"cloud/{name}") for name in "abc"))
    full, _ = asking(full, wish("late"), replace(wish("vital"), tier=1), wish("last"))
    assert [each.service for each in full.waiting] == ["vital", "late", "last"]
    assert governing.called(full) == (full, ())
    ledger, services = governing.called(governing.release(full, RunId("a-1"), RunId("b-1")))
    assert services == ("vital", "late")
    assert [each.service for each in ledger.waiting] == ["last"]
    ledger, answer = asking(ledger, wish("last"))
    assert answer.granted
    assert not ledger.waiting


def test_who_waits_for_a_pool_is_called_when_it_has_room() -> None:
    """A place that is free elsewhere is nothing to him; what he takes there already counts for him."""
    ledger = replace(CALM, pools=(*H100, Pool("a100", 50)))
    ledger, _ = asking(ledger, wish("chat", 80), wish("other", into="cloud/ap"))
    ledger, answer = asking(ledger, wish("code", 40))
    assert rules(answer.objections) == ["pool-full"]
    ledger = governing.release(ledger, RunId("other-1"))
    assert governing.called(ledger) == (ledger, ())
    assert governing.called(governing.release(ledger, RunId("chat-1")))[1] == ("code",)
    there = governing.stands(ledger, ServiceId("code"), (("h100", 20),))
    assert governing.called(there)[1] == (), "80 and 40 are too many, though 20 of them are there"


def test_whose_leader_asks_is_called_where_a_pool_has_no_room() -> None:
    """For a place his leader asks again; of a full pool nobody would tell him."""
    full, _ = asking(CALM, wish("chat", 80), wish("b", into="cloud/ap"), wish("c", into="cloud/za"))
    assert not asking(full, replace(wish("led"), calls=False))[0].waiting
    ledger, _ = asking(full, replace(wish("led", 40), calls=False))
    assert governing.called(governing.release(ledger, RunId("chat-1")))[1] == ("led",)


def test_whoever_had_several_choices_is_called_for_any_of_them() -> None:
    """The first choice's pool was full, and the second choice's as well: room in either of them calls."""
    ledger = replace(CALM, pools=(*H100, Pool("a100", 50)))
    elsewhere = replace(wish("code", into="cloud/ap"), needs=(("a100", 40),))
    taken = governing.stands(governing.stands(ledger, ServiceId("x"), (("h100", 90),)), ServiceId("y"), (("a100", 45),))
    waiting, answer = asking(taken, wish("code", 40), elsewhere)
    assert rules(answer.objections) == ["pool-full"]
    assert [each.service for each in waiting.waiting] == ["code"]
    assert governing.called(waiting)[1] == ()
    for gone in ("x", "y"):
        assert governing.called(governing.stands(waiting, ServiceId(gone), ()))[1] == ("code",)
    again, _ = asking(waiting, replace(elsewhere, token=RunId("code-2")))
    assert governing.called(governing.stands(again, ServiceId("x"), ()))[1] == (), "that was another decision"


def test_a_pool_that_nobody_declared_carries_nothing() -> None:
    """What a pool carries must be known to be promised."""
    assert rules(asking(replace(CALM, pools=()), wish("chat", 1))[1].objections) == ["pool-full"]


def test_an_older_topology_changes_nothing() -> None:
    """Limits and pools are those of the newest revision; what left the topology takes nothing; runs go on."""
    ledger, _ = asking(governing.stands(CALM, ServiceId("gone"), (("h100", 9),)), wish("chat", 60))
    newer = governing.configured(ledger, 3, Limits(), (), (ServiceId("chat"), ServiceId("code")))
    assert (newer.revision, newer.services, newer.pools, newer.standing) == (3, 2, (), ())
    assert newer.grants == ledger.grants
    assert governing.configured(newer, 2, CALM.limits, H100, ()) == newer


def test_a_run_that_lives_long_keeps_its_grant() -> None:
    """A grant is asked after when its time is over; one that is renewed is left alone until then."""
    ledger, _ = asking(CALM, wish("chat", 60))
    assert not governing.due(ledger, NOW)
    assert [each.request.token for each in governing.due(ledger, LATER)] == ["chat-1"]
    ledger = governing.renewed(ledger, (RunId("chat-1"),), LATER + timedelta(minutes=2))
    assert not governing.due(ledger, LATER)


# ------------------------------------------------------------------ deciding with the governor

POOLED = service(endpoint("ap"), endpoint("eu"), endpoint("us", pool="h100"), prefer=(US, AP))


def facts(**changes: Any) -> Situation:
    return situation(POOLED, orders=Orders(pools=H100), **changes)


def test_services_that_flee_one_region_are_one_change() -> None:
    """Two of three services leave the region that is down: no guard; a planned move beside them is asked about."""
    guarded = replace(CALM, limits=Limits(), services=3)
    flight = decide(facts())
    assert isinstance(flight, Go)
    first = governing.slot_request(flight.move, facts(), RunId("chat-1"), "w")
    assert first.moving.evacuating == "cloud/eu"
    second = replace(first, token=RunId("code-1"), needs=(), moving=replace(first.moving, service=ServiceId("code")))
    ledger, answer = asking(guarded, first, second)
    assert answer.granted
    assert rules(asking(ledger, wish("planned", into="cloud/ap"))[1].objections) == ["change-guard"]


def test_another_target_is_chosen_where_the_best_ones_pool_is_taken() -> None:
    """A service whose preferred standby is promised to somebody else goes to the next one by itself."""
    alone = decide(facts())
    assert isinstance(alone, Go)
    assert alone.move.target == US
    decision = governing.weighed(decide, facts(), governing.stands(CALM, ServiceId("code"), (("h100", 60),)))
    assert isinstance(decision, Go)
    assert decision.move.target == AP
    assert governing.weighed(decide, facts(), CALM) == alone


def test_where_there_is_no_other_target_a_person_is_asked() -> None:
    """The question names the pool and who has it."""
    only = replace(POOLED, endpoints=tuple(each for each in POOLED.endpoints if each.id != AP))
    ledger = governing.stands(CALM, ServiceId("code"), (("h100", 60),))
    decision = governing.weighed(decide, situation(only, orders=Orders(pools=H100)), ledger)
    assert isinstance(decision, Ask)
    assert rules(decision.reasons) == ["pool-full"]
    assert "60 are promised to 'code'" in decision.reasons[0].text


def test_automation_waits_where_too_much_is_on_the_move() -> None:
    """Beyond the limit nobody is asked: the service waits for its turn."""
    ledger, _ = asking(CALM, *(wish(name, into=f"cloud/{name}") for name in "abc"))
    decision = governing.weighed(decide, facts(), ledger)
    assert isinstance(decision, Hold)
    assert rules(decision.reasons) == ["too-many-at-once"]


def test_nobody_is_asked_about_a_preparation() -> None:
    """Making an endpoint ready moves no traffic."""
    assert not governing.asked_about(Move(POOLED.id, MoveKind.PREPARATION, (), US, full(POOLED.endpoints, EU)))


def test_traffic_that_goes_nobody_knows_where_says_nothing_of_pools() -> None:
    """What a service takes is told only where its routing could be read."""
    assert governing.standing(facts(routing=None)) is None
    assert governing.standing(facts()) == ()
    assert governing.standing(facts(routing=fenced(POOLED, US))) == (("h100", 80),)


# ------------------------------------------------------------------ in any order, with duplicates


class Governor(RuleBasedStateMachine):
    """Services that ask, ask again, give back, are forgotten and come late, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = CALM
        self.now = NOW
        self.seen: dict[RunId, SlotAnswer] = {}
        self.wishes: dict[RunId, SlotRequest] = {}
        self.back: set[RunId] = set()
        self.forced: set[RunId] = set()

    @rule(
        name=st.sampled_from("abcde"),
        number=st.integers(1, 3),
        amount=st.sampled_from([0, 30, 50, 101]),
        into=st.sampled_from(["cloud/us", "cloud/ap"]),
        person=st.booleans(),
    )
    def ask(self, name: str, number: int, amount: int, into: str, *, person: bool) -> None:
        request = wish(name, amount, number, into, aside=("pool-full", "too-many-at-once") if person else ())
        request = self.wishes.setdefault(request.token, request)
        held = {each.request.token for each in self.ledger.grants}
        self.ledger, answer = governing.acquire(
            self.ledger, request, now=self.now, until=self.now + timedelta(seconds=60)
        )
        if request.token in self.back:
            assert not answer.granted
        if request.token in held:
            assert answer.granted
        if answer.granted:
            assert request.token in {each.request.token for each in self.ledger.grants}
            if answer.objections:
                self.forced.add(request.token)
            gone = held - {each.request.token for each in self.ledger.grants}
            assert all(token.startswith(name) for token in gone), "nobody takes another one's grant away"
            self.back |= gone

    @rule()
    def call(self) -> None:
        before = len(self.ledger.waiting)
        self.ledger, services = governing.called(self.ledger)
        assert len(self.ledger.waiting) + len(services) == before

    @rule(name=st.sampled_from("abcde"), number=st.integers(1, 3))
    def give_back(self, name: str, number: int) -> None:
        self.back.add(RunId(f"{name}-{number}"))
        self.ledger = governing.release(self.ledger, RunId(f"{name}-{number}"))

    @rule(seconds=st.integers(1, 90), alive=st.booleans())
    def time_passes(self, seconds: int, *, alive: bool) -> None:
        self.now += timedelta(seconds=seconds)
        tokens = tuple(each.request.token for each in governing.due(self.ledger, self.now))
        before = self.ledger
        if alive:
            self.ledger = governing.renewed(self.ledger, tokens, self.now + timedelta(seconds=60))
            assert len(self.ledger.grants) == len(before.grants)
        else:
            self.back |= set(tokens)
            self.ledger = governing.release(self.ledger, *tokens)

    @invariant()
    def nothing_is_promised_twice(self) -> None:
        taken = [dict(each.request.needs).get("h100", 0) for each in self.ledger.grants if not self._forced(each)]
        assert sum(taken) <= 100

    @invariant()
    def no_more_than_so_many_are_on_the_move(self) -> None:
        grants = [each for each in self.ledger.grants if not self._forced(each)]
        assert len(grants) <= CALM.limits.at_once
        for domain in ("cloud/us", "cloud/ap"):
            assert sum(domain in each.request.moving.into for each in grants) <= CALM.limits.per_domain

    @invariant()
    def one_for_each_service_and_none_that_was_given_back(self) -> None:
        services = [each.request.moving.service for each in self.ledger.grants]
        assert len(set(services)) == len(services)
        assert not {each.request.token for each in self.ledger.grants} & self.back

    @invariant()
    def who_waits_has_nothing(self) -> None:
        waiting = [each.service for each in self.ledger.waiting]
        assert len(set(waiting)) == len(waiting)

    def _forced(self, grant: governing.Grant) -> bool:
        return grant.request.token in self.forced


Governor.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestGovernor = Governor.TestCase


def test_only_a_shared_pool_makes_a_silent_governor_a_reason_to_ask() -> None:
    """An outage does not wait for a count of what moves; a pool that others may hold is another matter."""
    move = Move(ServiceId("chat"), MoveKind.FAILOVER, (EU,), US, full(service().endpoints, US))
    alone = situation()
    (ap, eu, us) = alone.service.endpoints
    shared = replace(alone, service=replace(alone.service, endpoints=(ap, eu, replace(us, pool="h100"))))
    assert governing.may_proceed(move, alone)
    assert not governing.may_proceed(move, shared)
    for said, goes in ((Ungoverned.ASK, False), (Ungoverned.PROCEED, True)):
        for facts in (alone, shared):
            policy = replace(facts.service.policy, without_governor=said)
            told = replace(facts, service=replace(facts.service, policy=policy))
            assert governing.may_proceed(move, told) is goes
