"""What holds for every service: the gate, freeze windows, jurisdictions, pools; and moves for a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from core.building import (
    AP,
    CHAT,
    EU,
    NOW,
    US,
    ago,
    ask_for,
    endpoint,
    freezes,
    orders,
    rules,
    service,
    situation,
    situations,
)
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decision import Ask, Decision, Go, Hold, consider, decide, wait_s
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.moves import shift_of
from orchestrator.core.names import Domain, RunId
from orchestrator.core.orders import Freeze, Orders, Pool, Span, Weekly, frozen_until, hours
from orchestrator.core.quorum import Verdict
from orchestrator.core.safety import before_person, objections
from orchestrator.core.situation import Shift, Situation
from orchestrator.core.steering import full, serving
from orchestrator.core.topology import Mode, Workload
from orchestrator.core.waiting import KEPT, LONGEST_COOLDOWN_S, cooldown_s, remembered

FAILOVER, SWITCHOVER, FAILBACK = MoveKind.FAILOVER, MoveKind.SWITCHOVER, MoveKind.FAILBACK
TO_US = Move(CHAT, FAILOVER, (EU,), US, full(service().endpoints, US), (Domain("cloud/eu"),))
WELL = {"eu": Verdict.HEALTHY}


def asked(decision: Decision) -> list[str]:
    assert isinstance(decision, Ask), decision
    return rules(decision.reasons)


def held(decision: Decision) -> list[str]:
    assert isinstance(decision, Hold), decision
    return rules(decision.reasons)


def went(decision: Decision) -> Move:
    assert isinstance(decision, Go), decision
    return decision.move


def text(name: str, facts: Situation, move: Move = TO_US) -> str:
    (said,) = (each.text for each in objections(move, facts) if each.rule == name)
    return said


# ------------------------------------------------------------------ freeze windows


def moment(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


YEAR_END = Freeze("year end", Span(moment("2026-12-24"), moment("2026-12-27")))
WEEKEND = Freeze("nobody is in", Weekly((5, 6), 0, 1440))
NIGHT = Freeze("batch", Weekly((4,), 22 * 60, 6 * 60))
BERLIN = Freeze("nobody is in", Weekly((5, 6), 0, 1440, "Europe/Berlin"))
FREEZES = [
    (YEAR_END, "2026-12-23T23:59:59", None),
    (YEAR_END, "2026-12-24T00:00:00", "2026-12-27T00:00:00"),
    (YEAR_END, "2026-12-27T00:00:00", None),
    # 2 January 2026 is a Friday.
    (WEEKEND, "2026-01-02T23:59:59", None),
    (WEEKEND, "2026-01-03T00:00:00", "2026-01-05T00:00:00"),
    (WEEKEND, "2026-01-04T23:59:59", "2026-01-05T00:00:00"),
    (NIGHT, "2026-01-02T21:59:00", None),
    (NIGHT, "2026-01-02T22:00:00", "2026-01-03T06:00:00"),
    (NIGHT, "2026-01-03T05:59:00", "2026-01-03T06:00:00"),
    (NIGHT, "2026-01-03T22:00:00", None),
    # Berlin is an hour ahead in winter, two in summer; the clocks go forward on 29 March 2026.
    (BERLIN, "2026-01-02T22:59:00", None),
    (BERLIN, "2026-01-02T23:00:00", "2026-01-04T23:00:00"),
    (BERLIN, "2026-03-28T12:00:00", "2026-03-29T22:00:00"),
    (BERLIN, "2026-07-03T22:00:00", "2026-07-05T22:00:00"),
]


@pytest.mark.parametrize(("freeze", "now", "until"), FREEZES, ids=[f"{f.reason}-{now}" for f, now, _ in FREEZES])
def test_a_freeze_window_begins_and_ends_to_the_second(freeze: Freeze, now: str, until: str | None) -> None:
    """Dates, days of the week, hours over midnight and summer time are read as people mean them."""
    assert frozen_until(freeze, moment(now)) == (moment(until) if until else None)


def test_a_zone_that_nobody_knows_counts_as_frozen() -> None:
    """A machine without the zone's rules does not guess that it is no freeze."""
    freeze = Freeze("audit", Weekly((0,), 0, 60, "Moon/Tycho"))
    assert frozen_until(freeze, NOW) == NOW + timedelta(hours=1)


@given(freeze=freezes, now=st.integers(0, 40_000_000).map(ago))
def test_the_end_of_a_window_lies_ahead_and_outside(freeze: Freeze, now: datetime) -> None:
    """Whoever waits until the time that is told meets no freeze then, unless it goes on all week."""
    until = frozen_until(freeze, now)
    if until is not None:
        assert until > now
        assert frozen_until(freeze, until) is None or until - now >= timedelta(days=8)


def test_a_window_is_told_in_words() -> None:
    """The objection says when, until when and why."""
    assert hours(Weekly((5, 6), 0, 1440)) == "sat and sun 00:00-24:00 UTC"
    facts = situation(orders=Orders(freezes=(WEEKEND,)), now=moment("2026-01-03T10:00:00"), verdicts=WELL)
    planned = replace(TO_US, kind=SWITCHOVER, failing=())
    assert text("freeze", facts, planned) == (
        "nothing is moved that need not be until 2026-01-05T00:00:00Z (sat and sun 00:00-24:00 UTC), because: nobody "
        "is in; wait until then"
    )


def test_a_window_without_an_end_does_not_promise_one() -> None:
    """A window that covers the whole week, or is in a zone that nobody knows, is told as what it is."""
    planned = replace(TO_US, kind=SWITCHOVER, failing=())
    always = Freeze("audit", Weekly(tuple(range(7)), 0, 1440))
    said = text("freeze", situation(orders=Orders(freezes=(always,)), verdicts=WELL), planned)
    assert said.startswith("nothing is moved that need not be at any time (mon, tue, wed, thu, fri, sat and sun 00:00")
    moon = Freeze("audit", Weekly((0,), 0, 60, "Moon/Tycho"))
    assert text("freeze", situation(orders=Orders(freezes=(moon,)), verdicts=WELL), planned) == (
        "nothing is moved that need not be while nobody here knows time zone 'Moon/Tycho' of a freeze window, because: "
        "audit; install the time zone database on this machine"
    )


AUDIT = Freeze("audit", Span(ago(60), ago(-600)))


def test_a_freeze_holds_planned_moves_until_somebody_overrides_it_by_name() -> None:
    """Nothing that need not move moves; the reason and the person are in the record if it must."""
    facts = situation(orders=Orders(freezes=(AUDIT,)), verdicts=WELL)
    assert held(consider(facts, ask_for(SWITCHOVER, "us"))) == ["freeze"]
    decision = consider(facts, ask_for(SWITCHOVER, "us", "freeze"))
    assert isinstance(decision, Go)
    assert rules(decision.overridden) == ["freeze"]


def test_a_freeze_does_not_keep_automation_from_an_outage() -> None:
    """A dead endpoint loses its traffic in a freeze, too; unless the window says that people decide then."""
    assert went(decide(situation(orders=Orders(freezes=(AUDIT,))))).target == AP
    strict = situation(service(freezes=(replace(AUDIT, unplanned=True),)))
    assert asked(decide(strict)) == ["freeze"]
    assert wait_s(strict) == 600
    assert wait_s(situation(orders=Orders(freezes=(AUDIT,)))) is None
    assert went(consider(strict, ask_for(FAILOVER, "us"))).target == US


def test_a_service_is_frozen_by_its_own_windows_too() -> None:
    """One service may be frozen while the others are not, and both reasons are told."""
    both = situation(service(freezes=(AUDIT,)), orders=Orders(freezes=(AUDIT,)), verdicts=WELL)
    assert held(consider(both, ask_for(SWITCHOVER, "us"))) == ["freeze", "freeze"]


# ------------------------------------------------------------------ gate


def test_the_gate_makes_automation_ask() -> None:
    """With all automation off every service asks, and a person's run goes ahead and records it."""
    facts = situation(orders=Orders(gate="the vendor is at work"))
    assert asked(decide(facts)) == ["gate"]
    assert text("gate", facts) == (
        "automation of all services is off (the vendor is at work); turn it on with 'automation: on' in the topology"
    )
    decision = consider(facts, ask_for(FAILOVER))
    assert isinstance(decision, Go)
    assert rules(decision.overridden) == ["gate"]


# ------------------------------------------------------------------ residency

LAWS = Orders(
    jurisdictions=((Domain("cloud"), "us"), (Domain("cloud/eu"), "eu"), (Domain("cloud/us/z1"), "eu")),
)


def test_the_longest_domain_says_whose_law_holds() -> None:
    """A zone can stand under another law than its cloud; a domain that nobody names has none."""
    assert [LAWS.jurisdiction(Domain(each)) for each in ("cloud/eu/z9", "cloud/us", "cloud/us/z1", "other/x")] == [
        "eu",
        "us",
        "eu",
        None,
    ]


def test_data_stays_in_its_jurisdictions() -> None:
    """Automation goes to the next target that is allowed, and holds where there is none."""
    chat = service(endpoint("ap"), endpoint("eu"), endpoint("us", region=Domain("cloud/us/z1")), residency=("eu",))
    facts = situation(chat, orders=LAWS)
    assert went(decide(facts)).target == US
    alone = situation(service(endpoint("ap"), endpoint("eu"), residency=("eu",)), orders=LAWS)
    assert held(decide(alone)) == ["residency"]
    to_ap = Move(CHAT, FAILOVER, (EU,), AP, full(alone.service.endpoints, AP))
    assert text("residency", alone, to_ap) == (
        "endpoint 'ap' stands in cloud/ap, jurisdiction 'us', and the data of service 'chat' must stay in eu; choose a "
        "target there"
    )


def test_everyone_who_would_serve_is_looked_at() -> None:
    """A move that leaves a part of the traffic outside is no better for its target being inside."""
    chat = service(endpoint("ap"), endpoint("eu"), endpoint("us", region=Domain("cloud/us/z1")), residency=("eu",))
    both = Move(CHAT, FAILOVER, (EU,), US, ((AP, 50), (EU, 0), (US, 50)))
    assert "endpoint 'ap' stands in cloud/ap" in text("residency", situation(chat, orders=LAWS), both)


def test_a_jurisdiction_that_nobody_knows_is_outside() -> None:
    """What is not known to be allowed is not allowed."""
    facts = situation(service(residency=("eu",)))
    assert "endpoint 'us' stands in cloud/us, whose jurisdiction is not known" in text("residency", facts)


def test_a_person_overrides_residency_in_an_outage_only() -> None:
    """While the service is down a named person may answer for where data goes; while it works nobody may."""
    chat = service(residency=("eu",))
    down = situation(chat, orders=LAWS)
    assert held(consider(down, ask_for(FAILOVER, "us"))) == ["residency"]
    assert went(consider(down, ask_for(FAILOVER, "us", "residency"))).target == US
    well = situation(chat, orders=LAWS, verdicts=WELL)
    assert held(consider(well, ask_for(SWITCHOVER, "us", "residency"))) == ["residency"]


@given(facts=situations())
def test_automation_never_moves_data_out(facts: Situation) -> None:
    """Whatever happens, an automatic move sends traffic only to where the service's data may be."""
    decision = decide(facts)
    allowed = facts.service.policy.residency
    if isinstance(decision, Go) and allowed:
        for name in serving(decision.move.after):
            found = facts.endpoint(name)
            assert found is not None
            assert facts.orders.jurisdiction(found.region) in allowed


# ------------------------------------------------------------------ enough that serve, shared pools


def test_enough_endpoints_serve_after_a_move() -> None:
    """With two wanted, two standbys take over together; with only one left a person is asked."""
    move = went(decide(situation(service(least=2))))
    assert serving(move.after) == ("ap", "us")
    facts = situation(service(least=2), verdicts={"ap": Verdict.DOWN})
    assert asked(decide(facts)) == ["too-few-serving"]
    assert text("too-few-serving", facts) == (
        "2 endpoints of service 'chat' are to serve after a move and 1 would (us); bring another one into service, or "
        "lower its policy's serving.least"
    )


def test_what_does_not_work_does_not_count_as_serving() -> None:
    """An endpoint that nobody has heard of is no second one."""
    both = replace(TO_US, after=((AP, 50), (EU, 0), (US, 50)))
    facts = situation(service(least=2), verdicts={"ap": Verdict.UNKNOWN})
    assert "too-few-serving" in rules(objections(both, facts))


def test_two_small_targets_share_what_neither_could_take_alone() -> None:
    """Where one standby is too small the traffic spreads, and no one is asked for what fits."""
    chat = service(*(endpoint(name, capacity=50) for name in ("ap", "eu", "us")))
    assert serving(went(decide(situation(chat))).after) == ("ap", "us")
    small = service(endpoint("ap", capacity=39), endpoint("eu"), endpoint("us", capacity=50))
    assert asked(decide(situation(small))) == ["capacity-short"]


def test_what_has_to_be_promoted_shares_as_well() -> None:
    """Every endpoint that begins to get traffic is promoted first: a standby below its capacity takes its part."""
    small = endpoint("us", capacity=50, workload=Workload("local", "us", serving=2, standby=1))
    chat = service(endpoint("ap", capacity=50), endpoint("eu"), small)
    assert serving(went(decide(situation(chat))).after) == ("ap", "us")


def test_services_that_share_a_pool_are_counted_together() -> None:
    """What other services were promised is gone; both endpoints of a move in one pool add up."""
    chat = service(endpoint("ap", pool="h100"), endpoint("eu"), endpoint("us", pool="h100"))
    pools = Orders(pools=(Pool("h100", 100),))
    assert asked(decide(situation(chat, orders=pools, promised=(("h100", 30),)))) == ["pool-full"]
    assert went(decide(situation(chat, orders=pools, promised=(("h100", 20), ("a100", 99))))).target == AP
    facts = situation(chat, orders=pools, promised=(("h100", 30),))
    assert text("pool-full", facts) == (
        "pool 'h100' carries 100 requests in flight, 30 are promised to other services and 80 would come to it; free "
        "some of it or choose a target elsewhere"
    )


# ------------------------------------------------------------------ flapping and acknowledgement


@pytest.mark.parametrize(
    ("runs", "waits"), [((), 300), ((10,), 300), ((10, 400), 600), ((10, 400, 800), 1200), ((10, 400, 30000), 600)]
)
def test_each_automatic_run_doubles_the_wait_for_the_next(runs: tuple[int, ...], waits: float) -> None:
    """A service that flaps is left alone for longer each time; a run of long ago does not count."""
    facts = situation(last_closed=ago(10), automatic=tuple(sorted(ago(each) for each in runs)))
    assert cooldown_s(facts) == waits


def test_the_wait_never_passes_a_day() -> None:
    """However much it flaps, a service is automated again tomorrow; a longer cool-down that a person wrote stands."""
    often = tuple(sorted(ago(each) for each in range(20)))
    assert cooldown_s(situation(last_closed=ago(0), automatic=often)) == LONGEST_COOLDOWN_S
    assert cooldown_s(situation(service(cooldown_s=90000.0), last_closed=ago(0), automatic=often)) == 90000
    assert cooldown_s(situation(service(cooldown_s=0.0), last_closed=ago(0), automatic=often)) == 0


def test_a_longer_wait_says_why() -> None:
    """The objection names the runs that made it longer."""
    facts = situation(last_closed=ago(10), automatic=(ago(800), ago(400), ago(10)))
    assert text("cool-down", facts) == (
        "the last run of service 'chat' closed 10 s ago and automation waits 20 min after 3 automatic runs within 6 h; "
        "act by hand with: failover run chat"
    )


def test_the_wait_does_not_shrink_while_it_passes() -> None:
    """Runs that leave the window while automation waits still count: else a flapping service would be let off."""
    chat = service(cooldown_s=3600.0, flap_window_s=4000.0)
    closed = (ago(3900), ago(10))
    before = situation(chat, last_closed=ago(10), automatic=closed)
    after = replace(before, now=NOW + timedelta(seconds=7000))
    assert cooldown_s(before) == cooldown_s(after) == 7200


def test_what_a_service_remembers_is_bounded() -> None:
    """Twenty runs are enough to tell flapping by; the same one told twice counts once."""
    kept: tuple[datetime, ...] = ()
    for seconds in range(40, 0, -1):
        kept = remembered(remembered(kept, ago(seconds)), ago(seconds))
    assert kept == tuple(ago(seconds) for seconds in range(KEPT, 0, -1))


def test_automation_waits_for_a_person_who_has_looked() -> None:
    """With acknowledge, a second automatic run needs somebody's word; a person's own run does not."""
    chat = service(acknowledge=True)
    facts = situation(chat, last_closed=ago(9000), automatic=(ago(20000), ago(9000)))
    assert held(decide(facts)) == ["not-acknowledged"]
    assert text("not-acknowledged", facts).endswith("look at it, then: failover ack chat")
    assert held(decide(replace(facts, acknowledged=ago(10000)))) == ["not-acknowledged"]
    assert went(decide(replace(facts, acknowledged=ago(100)))).target == AP
    assert went(decide(replace(facts, automatic=()))).target == AP
    assert went(decide(replace(facts, service=service()))).target == AP
    assert before_person(objections(TO_US, facts), TO_US, ()) == ((), ())
    assert asked(decide(replace(facts, mode=Mode.APPROVAL))) == ["approval"]


# ------------------------------------------------------------------ moves for a time


def shifted(**changes: Any) -> Situation:
    """*ann* moved the traffic from eu to us for a time that is over; everything is well."""
    before = full(service().endpoints, EU)
    shift = Shift(RunId("run-1"), "ann", "a load test", ago(1), before)
    return situation(carrying=(US,), verdicts=WELL, shift=shift, **changes)


def test_a_move_for_a_time_asks_to_go_back() -> None:
    """When its time has passed the service asks to send traffic where it went before, and never does so by itself."""
    for mode in (Mode.AUTOMATIC, Mode.APPROVAL):
        decision = decide(shifted(mode=mode, last_closed=ago(5), automatic=(ago(5),)))
        assert [each for each in asked(decision) if each != "approval"] == ["shift-expired"]
        assert isinstance(decision, Ask)
        assert (decision.move.kind, decision.move.target) == (FAILBACK, EU)
        assert decision.move.after == full(service().endpoints, EU)
    assert "by ann was to end at 2025-01-01T11:59:59Z (a load test)" in decision.reasons[-1].text
    assert held(decide(shifted(mode=Mode.OBSERVE))) == ["observe", "shift-expired"]
    assert held(decide(shifted(mode=Mode.MANUAL))) == ["manual", "shift-expired"]


def test_a_move_for_a_time_is_quiet_until_then() -> None:
    """Nothing is said before its end, and the service wakes to the second."""
    facts = shifted()
    assert facts.shift is not None
    lasting = replace(facts, shift=replace(facts.shift, expires=ago(-90)))
    assert decide(lasting) == Hold(())
    assert wait_s(lasting) == 90
    ending = replace(facts, shift=replace(facts.shift, expires=NOW))
    assert asked(decide(ending)) == ["shift-expired"]
    assert wait_s(facts) is None


def test_the_way_back_is_held_where_it_is_not_safe() -> None:
    """An expired move does not go back to an endpoint that is down; the reason is told with it."""
    facts = shifted()
    down = replace(facts, assessments=situation(carrying=(US,)).assessments)
    assert held(decide(down)) == ["shift-expired", "target-down", "target-not-proven"]


def test_a_move_for_a_time_is_over_when_traffic_is_back() -> None:
    """Somebody who went back by hand is not asked again; where its endpoints are gone the way home is asked for."""
    assert decide(replace(shifted(), routing=situation().routing)) == Hold(())
    facts = shifted()
    assert facts.shift is not None
    gone = replace(facts, shift=replace(facts.shift, before=((AP, 0), ("gone", 100))))
    decision = decide(gone)
    assert isinstance(decision, Ask)
    assert decision.move.target == EU


def test_an_outage_comes_before_an_expired_move() -> None:
    """When what serves now is down, traffic moves as always."""
    facts = replace(shifted(), assessments=situation(verdicts={**WELL, "us": Verdict.DOWN}).assessments)
    assert went(decide(facts)).kind is FAILOVER


EXPIRIES: list[tuple[MoveKind, float, str, str]] = [
    (SWITCHOVER, -60, "", "says who makes it and why"),
    (SWITCHOVER, 0, "a test", "before it begins; choose a later time"),
    (FAILBACK, -60, "a test", "there is nothing to go back from"),
    (MoveKind.PREPARATION, -60, "a test", "there is nothing to go back from"),
]


@pytest.mark.parametrize(("kind", "seconds", "reason", "told"), EXPIRIES)
def test_a_move_for_a_time_needs_a_reason_and_a_future(kind: MoveKind, seconds: float, reason: str, told: str) -> None:
    """Without a comment nobody knows later why it was made; an end in the past, or of the way home, is a mistake."""
    request = replace(ask_for(kind, "us", reason=reason), expires=ago(seconds))
    decision = consider(situation(verdicts=WELL), request)
    assert "bad-expiry" in held(decision)
    assert any(told in each.text for each in decision.reasons if each.rule == "bad-expiry")  # type: ignore[union-attr]  # held() has seen that it is a Hold


def test_what_a_service_remembers_of_a_move_for_a_time() -> None:
    """Who made it, why, until when, and where traffic went before."""
    request = replace(ask_for(SWITCHOVER, "us"), expires=ago(-60))
    before = full(service().endpoints, EU)
    assert went(consider(situation(verdicts=WELL), request)).target == US
    assert shift_of(request, RunId("run-9"), before) == Shift(RunId("run-9"), "ann", "a test", ago(-60), before)
    assert shift_of(ask_for(SWITCHOVER, "us"), RunId("run-9"), before) is None


# ------------------------------------------------------------------ all of them


@given(facts=situations(), more=orders(), crowd=st.booleans())
def test_orders_only_ever_add_objections(facts: Situation, more: Orders, *, crowd: bool) -> None:
    """No freeze, gate, pool or crowd makes automation act where it would not have acted without them."""
    free = replace(facts, orders=replace(more, gate=None, freezes=(), pools=()), crowd=(), promised=())
    bound = replace(facts, orders=more, crowd=(Objection("too-many-at-once", "many"),) if crowd else ())
    pooled = any(each.pool for each in facts.service.endpoints)
    if not pooled and not isinstance(decide(free), Go):
        assert not isinstance(decide(bound), Go)
