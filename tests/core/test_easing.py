"""Easing: services that go home keep a distance, and a region that did not bear one return is not given the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from core.building import CHAT, EU, NOW, US, ask_for, endpoint, rules, service, situation
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import governing
from orchestrator.core.crowd import Moving
from orchestrator.core.decision import Decision, Go, Hold, consider
from orchestrator.core.easing import (
    FIRST_S,
    FORGOTTEN_S,
    LONGEST_S,
    Return,
    Setback,
    after,
    holding_up,
    jitter_s,
    regions_into,
    staying,
)
from orchestrator.core.easing import return_of as said_of
from orchestrator.core.governing import Ledger, SlotAnswer, SlotRequest
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import Domain, RunId, ServiceId
from orchestrator.core.orders import Limits
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Entry, Mark, Record, RunStatus, StepBrief
from orchestrator.core.situation import Situation

HERE, THERE = Domain("cloud/eu"), Domain("cloud/us")
SLOW = "eu beside us: the target's first token takes 2.00 s and the source's 0.20 s"
CALM = Ledger(1, Limits(at_once=9, per_domain=9, change_guard=100), services=10)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def going(name: str = "code", *into: Domain, home: bool = True) -> Moving:
    return Moving(ServiceId(name), into or (HERE,), home=home)


def slow(number: int = 1, *regions: Domain) -> Return:
    return Return(RunId(f"chat-{number}"), CHAT, regions or (HERE,), SLOW)


def held_s(setbacks: tuple[Setback, ...]) -> float:
    [one] = setbacks
    return (one.until - one.at).total_seconds()


# ------------------------------------------------------------------ apart


@given(seed=st.text(), longest=st.floats(0.1, 3600))
def test_a_distance_is_as_long_as_asked_for_at_most(seed: str, longest: float) -> None:
    """It is never nothing, never more than was asked for, and the same each time it is worked out."""
    seconds = jitter_s(seed, longest)
    assert 0.1 <= seconds <= longest + 0.05
    assert seconds == jitter_s(seed, longest)


def test_services_that_go_home_together_are_spread_evenly() -> None:
    """Of a thousand services about as many begin in each fifth of the time, however alike their names are."""
    begins = [jitter_s(f"service-{number}/7/begin", 30.0) for number in range(1000)]
    fifths = [sum(6 * n <= at < 6 * n + 6 for at in begins) for n in range(5)]
    assert all(160 <= count <= 240 for count in fifths), fifths


# ------------------------------------------------------------------ what a run says


def record(status: RunStatus = RunStatus.UNDONE, *entries: Entry, kind: MoveKind = MoveKind.FAILBACK) -> Record:
    holds = (StepBrief(f"steer.{n}.hold", "analyse", "", 90) for n in (10, 50))
    return Record(
        run=RunId("chat-1"),
        service=CHAT,
        kind=kind,
        trigger=Trigger("ann", "eu is mended"),
        status=status,
        started=NOW,
        objective_s=60,
        source=(US,),
        target=EU,
        before=((EU, 0), (US, 100)),
        after=((EU, 100), (US, 0)),
        revision=1,
        generation=7,
        runbook="failback",
        steps=(StepBrief("verify", "verify", "", 60), *holds),
        entries=entries,
    )


FAILED = Entry(NOW, Mark.STEP_FAILED, SLOW, "steer.10.hold")
PASSED = Entry(NOW, Mark.STEP_DONE, "10 of 10 answers good", "steer.10.hold")


def test_a_failback_that_turned_back_at_a_stage_speaks_of_its_region() -> None:
    """The words of the analysis are kept: the next person reads why."""
    assert said_of(record(RunStatus.UNDONE, FAILED), service()) == Return(RunId("chat-1"), CHAT, (HERE,), SLOW)
    assert said_of(record(RunStatus.HALTED, PASSED, FAILED), service()) is not None


def test_a_failback_whose_stages_passed_speaks_well_of_its_region() -> None:
    """Also where one of them was tried again, after no clear answer."""
    assert said_of(record(RunStatus.COMPLETED, FAILED, PASSED), service()) == Return(RunId("chat-1"), CHAT, (HERE,))


@pytest.mark.parametrize(
    "ended",
    [
        record(RunStatus.UNDONE, Entry(NOW, Mark.STEP_FAILED, "no answers", "verify")),
        record(RunStatus.ABORTED, FAILED),
        record(RunStatus.STALE, FAILED),
        record(RunStatus.COMPLETED),
        record(RunStatus.COMPLETED, PASSED, replace(FAILED, step="steer.50.hold")),
        record(RunStatus.HALTED, FAILED, PASSED, Entry(NOW, Mark.STEP_FAILED, "no answer", "steer.100")),
        record(RunStatus.UNDONE, FAILED, kind=MoveKind.SWITCHOVER),
        replace(record(RunStatus.UNDONE, FAILED), steps=()),
    ],
    ids=["not verified", "ended", "overtaken", "not looked at", "skipped", "halted later", "no failback", "no stages"],
)
def test_what_saw_no_traffic_in_the_region_says_nothing_of_it(ended: Record) -> None:
    """Only a stage that was judged does: no data is no verdict, neither way."""
    assert said_of(ended, service()) is None


# ------------------------------------------------------------------ what is remembered


def test_a_region_that_did_not_bear_a_return_holds_up_the_next() -> None:
    """The sentence names the region, the run, the reason, the end, and how to go all the same."""
    setbacks = after((), slow(), NOW)
    [objection] = holding_up(going(), setbacks, later(1))
    assert (objection.rule, objection.asks) == ("setback", True)
    assert objection.text == (
        f"the failback of service 'chat' into cloud/eu had to turn back at 2025-01-01T12:00:00Z ({SLOW}; run chat-1), "
        "so nothing else goes home there until 2025-01-01T12:05:00Z; wait until then, or look at the region and go all "
        "the same by naming the rule setback, and why"
    )
    assert not list(holding_up(going(), setbacks, later(FIRST_S)))
    assert not list(holding_up(going("code", THERE), setbacks, later(1)))


def test_who_is_on_the_way_stays_for_the_setback_that_lasts_longest() -> None:
    """Of its own regions and of other runs only, and no longer than it lasts."""
    short, long = (replace(after((), slow(n), NOW)[0], until=later(60.0 * n)) for n in (1, 2))
    other = replace(long, region=THERE, until=later(900))
    mine = RunId("code-1")
    assert staying((short, other, long), (HERE,), mine, NOW) == long
    assert staying((short, other, long), (HERE, THERE), mine, NOW) == other
    assert staying((short,), (HERE,), short.run, NOW) is None, "it has turned back itself"
    assert staying((short, long), (HERE,), mine, later(120)) is None
    assert staying((), (HERE,), mine, NOW) is None


def test_a_run_asks_about_the_regions_that_it_brings_traffic_to() -> None:
    """The target's, and those of others that begin to carry; not one that carried before, nor one that it leaves."""
    chat = service()
    assert regions_into(chat, EU, ((EU, 0), (US, 100)), ((EU, 50), (US, 50))) == (HERE,)
    assert regions_into(chat, EU, ((EU, 50), (US, 50)), ((EU, 100), (US, 0))) == (HERE,)
    assert regions_into(chat, EU, ((EU, 0), (US, 0)), ((EU, 50), (US, 50))) == (HERE, THERE)


def test_nobody_who_flees_is_held_up() -> None:
    """What leaves an endpoint that is down goes wherever it may, also into that region."""
    assert not list(holding_up(going(home=False), after((), slow(), NOW), later(1)))


def test_each_setback_holds_up_twice_as_long_and_not_for_ever() -> None:
    """Five minutes, ten, twenty, and two hours at most; told twice is told once."""
    setbacks: tuple[Setback, ...] = ()
    lasts = []
    now = NOW
    for number in range(8):
        setbacks = after(setbacks, slow(number), now)
        assert after(setbacks, slow(number), now + timedelta(seconds=5)) == setbacks
        lasts.append(held_s(setbacks))
        now = setbacks[0].until
    assert lasts[:4] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S]
    assert lasts[-1] == LONGEST_S
    [text] = [each.text for each in holding_up(going(), setbacks, setbacks[0].at)]
    assert "run chat-7, 8 in a row" in text


def test_a_region_that_bore_a_return_is_as_any_other() -> None:
    """One that went home all the way ends it, for that region only; long after, nothing is remembered."""
    both = after((), slow(1, HERE, THERE), NOW)
    well = after(both, Return(RunId("code-1"), ServiceId("code"), (HERE,)), later(9))
    assert [each.region for each in well] == [THERE]
    long_after = later(FIRST_S + FORGOTTEN_S)
    assert held_s(after(both, slow(2), long_after)) == FIRST_S


ends = st.builds(
    lambda number, regions, failed: Return(RunId(f"r-{number}"), CHAT, tuple(sorted(regions)), SLOW if failed else ""),
    st.integers(0, 9),
    st.sets(st.sampled_from([HERE, THERE]), min_size=1),
    st.booleans(),
)


@given(st.lists(st.tuples(ends, st.integers(0, 20000)), max_size=12))
def test_whatever_happened_each_region_is_remembered_once_and_not_for_ever(told: list[tuple[Return, int]]) -> None:
    """Setbacks stay sorted, one for a region, and end within two hours; a return that passed leaves none there."""
    setbacks, now = tuple[Setback, ...](), NOW
    for end, pause in told:
        now += timedelta(seconds=pause)
        setbacks = after(setbacks, end, now)
        regions = [each.region for each in setbacks]
        assert all(a < b for a, b in pairwise(regions))
        assert all(FIRST_S <= (each.until - each.at).total_seconds() <= LONGEST_S for each in setbacks)
        assert set(regions).isdisjoint(end.regions) or end.failed
        # Silence ends it: nobody is held up for ever.
        assert not list(holding_up(going("x", HERE, THERE), setbacks, now + timedelta(seconds=LONGEST_S)))


# ------------------------------------------------------------------ no more than home can carry


def home_of(capacity: int, *overrides: str) -> Decision:
    """What comes of asking for the way home, to where *capacity* of 80 requests in flight can be carried."""
    chat = service(endpoint("eu", capacity=capacity), endpoint("us"))
    facts = situation(chat, (US,), verdicts={"eu": Verdict.HEALTHY})
    return consider(facts, ask_for(MoveKind.FAILBACK, None, *overrides))


def test_a_home_that_cannot_carry_everything_shares_with_its_stand_in() -> None:
    """Half of the load fits where all of it does not: the stand-in keeps its part, and nobody is overloaded."""
    went = home_of(50)
    assert isinstance(went, Go)
    assert (went.move.after, went.move.source, went.move.target) == (((EU, 50), (US, 50)), (), EU)
    whole = home_of(80)
    assert isinstance(whole, Go)
    assert whole.move.after == ((EU, 100), (US, 0))


def test_a_home_that_cannot_carry_half_of_it_gets_nothing_unless_a_person_insists() -> None:
    """The refusal says how much it carries and how much would come."""
    held = home_of(30)
    assert isinstance(held, Hold)
    assert rules(held.reasons) == ["capacity-short"]
    assert "endpoint 'eu' can carry 30 requests in flight and 80 would come to it" in held.reasons[0].text
    for capacity in (30, 50):
        went = home_of(capacity, "capacity-short")
        assert isinstance(went, Go)
        assert went.move.after == ((EU, 100), (US, 0)), "whoever sets the rule aside wants all of it"


# ------------------------------------------------------------------ what the governor makes of it


def wish(name: str, *aside: str, home: bool = True) -> SlotRequest:
    return SlotRequest(RunId(f"{name}-1"), f"failover/{name}/1", going(name, home=home), aside=aside)


def asked(ledger: Ledger, request: SlotRequest, seconds: float = 1) -> SlotAnswer:
    return governing.acquire(ledger, request, now=later(seconds), until=later(200))[1]


def test_the_governor_grants_no_return_into_that_region_for_a_while() -> None:
    """By itself it asks a person; named by one it goes; later it goes anyway, and what flees is never asked."""
    ledger = governing.ended(CALM, slow(), now=NOW)
    refused = asked(ledger, wish("code"))
    assert (refused.granted, rules(refused.objections)) == (False, ["setback"])
    assert asked(ledger, wish("code", "setback")).granted
    assert asked(ledger, wish("code"), FIRST_S + 1).granted
    assert asked(ledger, wish("code", home=False)).granted


def test_it_says_how_many_others_go_to_the_same_region() -> None:
    """What is on its way elsewhere does not count, nor does the service itself."""
    ledger = CALM
    for request in (wish("one"), wish("two", home=False), replace(wish("far"), moving=going("far", THERE))):
        ledger, _ = governing.acquire(ledger, request, now=NOW, until=later(200))
    assert asked(ledger, wish("code")).alongside == 2
    assert asked(ledger, wish("one")).alongside == 1, "the same token again is answered the same"


HOME = situation(carrying=(US,), verdicts={"eu": Verdict.HEALTHY})


def weighed(ledger: Ledger, *overrides: str) -> Decision:
    def choose(now: Situation) -> Decision:
        return consider(now, ask_for(MoveKind.FAILBACK, "eu", *overrides))

    return governing.weighed(choose, HOME, ledger)


def test_a_person_is_told_before_they_ask_and_may_go_all_the_same() -> None:
    """A plan of a failback names what holds it up; with the rule named and a reason it goes, and that is recorded."""
    ledger = governing.ended(CALM, slow(), now=HOME.now - timedelta(seconds=5))
    held = weighed(ledger)
    assert isinstance(held, Hold)
    assert rules(held.reasons) == ["setback"]
    went = weighed(ledger, "setback")
    assert isinstance(went, Go)
    assert rules(went.overridden) == ["setback"]
    assert isinstance(weighed(CALM), Go)
