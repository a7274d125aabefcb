"""Safety rules: every reason at once, each a sentence, none lost with the evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core.building import (
    AP,
    EU,
    NOW,
    US,
    ago,
    assessment,
    endpoint,
    fenced,
    moves,
    rules,
    service,
    situation,
    situations,
)
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decision import REASONS, Situation
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import Domain, EndpointId, RunId
from orchestrator.core.orders import Freeze, Orders, Pool, Span, Weekly
from orchestrator.core.quorum import Verdict
from orchestrator.core.safety import NAMES, RULES, Yields, before_person, objections, rule
from orchestrator.core.signals import Effect, Evidence
from orchestrator.core.steering import evenly, full
from orchestrator.core.topology import Answer, Workload

TO_US = Move(service().id, MoveKind.FAILOVER, (EU,), US, full(service().endpoints, US), (Domain("cloud/eu"),))
PLANNED = replace(TO_US, kind=MoveKind.SWITCHOVER, failing=())


def found(move: Move = TO_US, *args: Any, **changes: Any) -> list[str]:
    return rules(objections(move, situation(*args, **changes)))


def edited(name: str) -> Any:
    return replace(fenced(service(), EU), answer=endpoint(name).answer)


def test_a_sound_move_meets_no_objection() -> None:
    """A healthy, proven target with room, under our fence, away from a dead endpoint: nothing speaks against."""
    assert found() == []


NEVER_ENDS = Span(ago(60), ago(-60))
ORDERS = Orders(jurisdictions=((Domain("cloud"), "us"), (Domain("cloud/eu"), "eu")))
POOLED = service(endpoint("eu"), endpoint("us", pool="h100"))
COLD = endpoint("us", workload=Workload("local", "us", serving=2, standby=0))
CASES: list[tuple[str, dict[str, Any]]] = [
    ("target-unknown", {"verdicts": {"us": Verdict.UNKNOWN}}),
    ("target-down", {"verdicts": {"us": Verdict.DOWN}}),
    ("target-degraded", {"verdicts": {"us": Verdict.DEGRADED}}),
    ("target-doubted", {"evidence": (Evidence(US, "xid", Effect.DOUBT, "3", NOW),)}),
    ("target-doubted", {"evidence": (Evidence(US, "spot", Effect.DRAIN, "reclaimed in 2 min", NOW),)}),
    ("capacity-unknown", {"chat": service(capacity=None)}),
    ("capacity-unknown", {"chat": service(endpoint("eu"), endpoint("us", capacity=None))}),
    ("capacity-short", {"chat": service(capacity=101)}),
    ("no-steering", {"chat": service(steering=None)}),
    ("routing-unknown", {"routing": None}),
    ("not-adopted", {"routing": replace(fenced(service(), EU), fence=None)}),
    ("changed-outside", {"routing": edited("ap")}),
    ("changed-outside", {"routing": replace(edited("ap"), answer=None)}),
    ("changed-outside", {"routing": replace(edited("ap"), answer=Answer("addresses", ("203.0.113.9",)))}),
    ("everything-down", {"verdicts": dict.fromkeys(("ap", "us"), Verdict.DOWN)}),
    ("target-cold", {"chat": service(endpoint("eu"), COLD), "verdicts": {"us": Verdict.DOWN}}),
    ("unsteerable", {"chat": service(endpoint("eu"), endpoint("us", answer=None))}),
    ("same-region", {"chat": service(endpoint("eu"), endpoint("us", region=Domain("cloud/eu/z2")))}),
    ("already-there", {"carrying": (US,)}),
    ("source-healthy", {"verdicts": {"eu": Verdict.HEALTHY}}),
    ("one-run-at-a-time", {"run": RunId("run-2")}),
    ("paused", {"paused": "ann: maintenance"}),
    ("paused", {"paused": ""}),
    ("cool-down", {"last_closed": ago(299)}),
    ("confirm", {"chat": service(confirm_s=31)}),
    ("too-few-serving", {"chat": service(least=2)}),
    ("residency", {"chat": service(residency=("eu",)), "orders": ORDERS}),
    ("residency", {"chat": service(residency=("eu",))}),
    ("freeze", {"orders": Orders(freezes=(Freeze("audit", NEVER_ENDS, unplanned=True),))}),
    ("freeze", {"chat": service(freezes=(Freeze("audit", Weekly((2,), 0, 1440), unplanned=True),))}),
    ("gate", {"orders": Orders(gate="the vendor is at work")}),
    ("gate", {"orders": Orders(gate="")}),
    ("not-acknowledged", {"chat": service(acknowledge=True), "automatic": (ago(9999),)}),
    ("pool-full", {"chat": POOLED, "orders": Orders(pools=(Pool("h100", 99),)), "promised": (("h100", 20),)}),
    ("pool-full", {"chat": POOLED}),
    ("change-guard", {"crowd": (Objection("change-guard", "4 of 10 services are on the move already", asks=True),)}),
    ("too-many-at-once", {"crowd": (Objection("too-many-at-once", "10 services are on the move already"),)}),
    ("setback", {"crowd": (Objection("setback", "the failback of 'code' had to turn back", asks=True),)}),
    ("governor-silent", {"crowd": (Objection("governor-silent", "the governor did not answer in time", asks=True),)}),
    ("held", {"held": (Objection("recreated", "the service workflow was lost"),)}),
]


@pytest.mark.parametrize(("name", "changes"), CASES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(CASES)])
def test_each_rule_objects_to_what_it_is_there_for(name: str, changes: dict[str, Any]) -> None:
    """The reason is given by its name, as one sentence of its own."""
    said = [o for o in objections(TO_US, situation(**changes)) if o.rule == name]
    assert said, f"{name} does not object"
    for objection in said:
        assert len(objection.text) > 30
        assert not objection.text.endswith(".")
        assert "None" not in objection.text


def test_a_target_without_completed_answers_is_not_proven() -> None:
    """A target that is merely up has not been seen to serve."""
    facts = situation()
    bare = tuple(replace(a, proven=False) for a in facts.assessments)
    assert rules(objections(TO_US, replace(facts, assessments=bare))) == ["target-not-proven"]


def test_all_reasons_come_at_once() -> None:
    """Nobody mends one thing only to hear of the next."""
    said = found(run=RunId("run-2"), paused="ann", last_closed=ago(1), routing=None, verdicts={"us": Verdict.DEGRADED})
    expected = ["routing-unknown", "one-run-at-a-time", "target-degraded", "target-not-proven", "paused", "cool-down"]
    assert said == expected


def test_the_table_covers_itself() -> None:
    """Every rule has a name of its own, a sentence, and a case above; no other reason borrows its name."""
    assert len(set(NAMES)) == len(NAMES)
    assert {name for name, _ in CASES} | {"target-not-proven"} == set(NAMES)
    assert all(each.why.endswith(".") and rule(each.name) is each for each in RULES)
    assert not set(NAMES) & {name for name, _ in REASONS}


def test_what_can_never_be_overridden() -> None:
    """These must be mended, not talked over; the same whether the move is planned or not."""
    never = {each.name for each in RULES if each.unplanned is Yields.NEVER}
    # In an outage a named person may answer for where the data goes; nobody may while there is no need.
    assert never | {"residency"} == {each.name for each in RULES if each.planned is Yields.NEVER}
    assert never == {
        "no-steering",
        "routing-unknown",
        "not-adopted",
        "changed-outside",
        "unsteerable",
        "already-there",
        "one-run-at-a-time",
        "target-down",
    }
    assert not any(each.asks for each in RULES if each.unplanned is Yields.NEVER)


def test_capacity_is_reckoned_for_the_share_that_comes() -> None:
    """Two endpoints of 50 carry 80 together, and one of them alone does not."""
    chat = service(*(endpoint(name, capacity=50) for name in ("ap", "eu", "us")))
    facts = situation(chat)
    assert rules(objections(replace(TO_US, after=full(chat.endpoints, US)), facts)) == ["capacity-short"]
    assert rules(objections(replace(TO_US, after=evenly(chat.endpoints, (AP, US))), facts)) == []
    thirds = service(*(endpoint(name, capacity=30) for name in ("ap", "eu", "us")), capacity=90)
    whole = replace(TO_US, source=(), after=evenly(thirds.endpoints, (AP, EU, US)))
    assert "capacity-short" not in rules(objections(whole, situation(thirds)))


def test_every_endpoint_that_begins_to_serve_is_looked_at() -> None:
    """A move that brings two endpoints in is not judged by its target alone."""
    both = replace(TO_US, after=evenly(service().endpoints, (AP, US)))
    assert found(both, verdicts={"ap": Verdict.DOWN}) == ["target-down", "target-not-proven"]


def test_confirm_ends_to_the_second() -> None:
    """Ten seconds after the first failure automation may act, and not before."""
    facts = situation()
    for seconds, expected in ((9.99, ["confirm"]), (10.0, [])):
        seen = (assessment("eu", Verdict.DOWN, first_bad=ago(seconds)), *facts.assessments[2:])
        assert rules(objections(TO_US, replace(facts, assessments=seen))) == expected
    seen = (assessment("eu", Verdict.DOWN, first_bad=None), *facts.assessments[2:])
    assert rules(objections(TO_US, replace(facts, assessments=seen))) == ["confirm"]


# ------------------------------------------------------------------ people


def test_a_request_is_the_yes_to_what_asks_while_the_source_is_down() -> None:
    """In an outage a person's word moves traffic to a weaker target, and what was set aside is recorded."""
    facts = situation(service(capacity=101), verdicts={"us": Verdict.DEGRADED}, last_closed=ago(1))
    against, aside = before_person(objections(TO_US, facts), TO_US, ())
    assert against == ()
    assert rules(aside) == ["target-degraded", "target-not-proven", "capacity-short"]


def test_a_planned_move_to_a_weaker_target_must_name_what_it_overrides() -> None:
    """There is no hurry away from an endpoint that works: each weakness is overridden by name."""
    facts = situation(service(capacity=101), verdicts={"eu": Verdict.HEALTHY})
    against, aside = before_person(objections(PLANNED, facts), PLANNED, ())
    assert (rules(against), aside) == (["capacity-short"], ())
    against, aside = before_person(objections(PLANNED, facts), PLANNED, ("capacity-short",))
    assert (against, rules(aside)) == ((), ["capacity-short"])


def test_cool_down_and_confirm_bind_automation_alone() -> None:
    """A person need not wait, and nothing is said of it."""
    facts = situation(service(confirm_s=99), last_closed=ago(1), held=(Objection("recreated", "lost"),), paused="bo")
    against, aside = before_person(objections(TO_US, facts), TO_US, ())
    assert (against, rules(aside)) == ((), ["paused", "held"])


def test_an_objection_of_an_unknown_rule_stands() -> None:
    """What the table does not know is not waved through."""
    strange = Objection("strange", "a newer version said so")
    assert before_person((strange,), TO_US, ("strange",)) == ((strange,), ())


# ------------------------------------------------------------------ evidence


def gravity(found: tuple[Objection, ...]) -> int:
    """0: go, 1: ask, 2: hold."""
    return 2 if any(not o.asks for o in found) else 1 if found else 0


def lose(facts: Situation, what: str, name: EndpointId) -> Situation:
    """*facts* with one piece of evidence gone."""
    chat, seen, routing = facts.service, facts.assessments, facts.routing
    losses: dict[str, dict[str, Any]] = {
        "assessment": {"assessments": tuple(a for a in seen if a.endpoint != name)},
        "proof": {"assessments": tuple(replace(a, proven=a.proven and a.endpoint != name) for a in seen)},
        "first-bad": {"assessments": tuple(replace(a, first_bad=None) for a in seen)},
        "routing": {"routing": None},
        "fence": {"routing": replace(routing, fence=None) if routing else None},
        "capacity": {
            "service": replace(
                chat,
                endpoints=tuple(replace(e, capacity=None) if e.id == name else e for e in chat.endpoints),
            )
        },
        "need": {"service": replace(chat, policy=replace(chat.policy, capacity=None))},
        "jurisdictions": {"orders": replace(facts.orders, jurisdictions=())},
        "pools": {"orders": replace(facts.orders, pools=())},
        "zone": {"orders": replace(facts.orders, freezes=tuple(_elsewhere(each) for each in facts.orders.freezes))},
        "acknowledged": {"acknowledged": None},
    }
    return replace(facts, **losses[what])


def _elsewhere(freeze: Freeze) -> Freeze:
    """*freeze* in a time zone that this machine does not know."""
    return replace(freeze, when=replace(freeze.when, zone="Moon/Tycho")) if isinstance(freeze.when, Weekly) else freeze


EVIDENCE = (
    *("assessment", "routing", "fence", "proof", "first-bad", "capacity", "need"),
    *("jurisdictions", "pools", "zone", "acknowledged"),
)


@given(facts=situations(), data=st.data(), what=st.sampled_from(EVIDENCE))
def test_objections_never_shrink_as_evidence_disappears(facts: Situation, data: st.DataObject, what: str) -> None:
    """Knowing less never turns a hold into a question, or a question into an act."""
    move = data.draw(moves(facts))
    less = lose(facts, what, data.draw(st.sampled_from([*(e.id for e in facts.service.endpoints), EU])))
    before, after = objections(move, facts), objections(move, less)
    assert gravity(after) >= gravity(before)
    # A person's yes covers a capacity that nobody knows, but not one that is known to be too small.
    if what not in {"capacity", "need", "pools"}:
        stands_before, _ = before_person(before, move, ())
        stands_after, _ = before_person(after, move, ())
        assert bool(stands_after) >= bool(stands_before)


@given(facts=situations(), data=st.data())
def test_rules_are_total_and_speak_in_table_order(facts: Situation, data: st.DataObject) -> None:
    """Any move in any situation gets its reasons, in the order in which people read them."""
    said = rules(objections(data.draw(moves(facts)), facts))
    assert [NAMES.index(name) for name in said] == sorted(NAMES.index(name) for name in said)


def test_the_clock_of_the_tests_stands_still() -> None:
    """Nothing here reads the time of day."""
    assert situation().now == NOW
