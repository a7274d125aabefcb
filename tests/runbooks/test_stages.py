"""Moves by stages: what each stage writes, what stands between them, and how they go back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.move import MoveKind
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.steering import Fence, Routing, SteeringChange
from orchestrator.core.topology import Answer, Shares, Weights, Workload
from runbooks.books import book
from runbooks.course import Do, Undo, next_actions, standing
from runbooks.model import Runbook
from runbooks.parse import parse
from runbooks.plan import Analyse, Plan, Steer, Step, Wait, When
from runbooks.planner import Unplannable, text
from runbooks.progress import Event, Progress, advance, begin, switched
from runbooks.stages import partway

EU, US, AP = EndpointId("eu"), EndpointId("us"), EndpointId("ap")


def gently(stages: str = "[5, 25, 50]", more: str = "") -> Runbook:
    return parse(
        "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: gently}\nsteps:\n"
        f"  - {{id: shift, type: steer, stages: {stages}, hold: 30s{more}}}\n"
        "  - {id: converge, type: converge, on_failure: rollback}\n",
        "gently.yaml",
    )


@pytest.fixture
def weighing(world: Any) -> Any:
    """The small world behind a steering that weighs."""
    world.service = replace(world.service, steering=replace(world.steering, provider="local", shares=Shares.WEIGHTED))
    return world


def steers(plan: Plan) -> list[tuple[Step, Steer]]:
    return [(step, step.work) for step in plan.steps if isinstance(step.work, Steer)]


# ------------------------------------------------------------------ weights

names = st.sampled_from([EndpointId(name) for name in "abcdef"])


@st.composite
def moves(draw: st.DrawFn) -> tuple[Weights, Weights]:
    """Weights before and after a move of all kinds of endpoints, as a plan has them."""
    ids = sorted(draw(st.sets(names, min_size=2, max_size=6)))
    weights = st.lists(st.integers(0, 100), min_size=len(ids), max_size=len(ids)).filter(any)
    before, after = draw(weights), draw(weights)
    return tuple(zip(ids, before, strict=True)), tuple(zip(ids, after, strict=True))


def total(weights: Weights) -> int:
    return sum(weight for _, weight in weights)


@given(moves())
def test_each_stage_is_a_part_of_the_move(move: tuple[Weights, Weights]) -> None:
    """The sum stays, nobody goes back from one stage to the next, nothing is empty, and the last is the whole move."""
    before, after = move
    came = [dict(partway(before, after, percent)) for percent in range(1, 101)]
    assert all(sorted(each) == [name for name, _ in after] for each in came)
    assert {sum(each.values()) for each in came} == {total(after)}
    assert all(weight >= 0 for each in came for weight in each.values())
    for name, to in after:
        course = [each[name] for each in came]
        assert course[-1] == to
        assert course in (sorted(course), sorted(course, reverse=True))


@given(moves())
def test_whoever_gains_has_something_from_the_first_stage_on(move: tuple[Weights, Weights]) -> None:
    """A stage in which the target gets nothing would prove nothing."""
    one, other = move
    # The same shares in another order: a move that keeps the sum.
    before, after = one, tuple(zip((name for name, _ in one), (w for _, w in reversed(one)), strict=True))
    first, old = dict(partway(before, after, 1)), dict(before)
    assert all(first[name] >= old[name] + 1 for name, to in after if to > old[name])
    assert total(partway(one, other, 1)) == total(other)


@pytest.mark.parametrize(
    ("before", "after", "percent", "weights"),
    [
        ((100, 0), (0, 100), 5, (95, 5)),
        ((100, 0), (0, 100), 1, (99, 1)),
        ((100, 0), (50, 50), 10, (95, 5)),
        ((50, 50, 0), (0, 0, 100), 25, (37, 38, 25)),
        ((100, 0, 0), (34, 33, 33), 1, (98, 1, 1)),
        ((1, 0), (0, 100), 50, (50, 50)),
        ((100, 0), (0, 100), 100, (0, 100)),
    ],
)
def test_stages_are_what_a_person_would_write(before: Any, after: Any, percent: int, weights: Any) -> None:
    """Whole shares, rounded; a source that was said in other numbers counts by its share."""
    ids = ("a", "b", "c")
    made = partway(tuple(zip(ids, before, strict=False)), tuple(zip(ids, after, strict=False)), percent)
    assert sorted(weight for _, weight in made) == sorted(weights)


# ------------------------------------------------------------------ plans


def test_each_stage_writes_upon_the_one_before(weighing: Any) -> None:
    """Generations rise by one, each write names the fence and the answer that the one before it leaves."""
    plan = weighing.plan(weighing.move(MoveKind.SWITCHOVER), book_=gently())
    assert [step.id for step in plan.steps] == [
        *("shift.5", "shift.5.hold", "shift.25", "shift.25.hold", "shift.50", "shift.50.hold", "shift.100"),
        "converge",
    ]
    made = steers(plan)
    assert [work.weights for _, work in made] == [((EU, 100 - n), (US, n)) for n in (5, 25, 50, 100)]
    assert [(step.generation, work.expects) for step, work in made] == [(n, n) for n in (41, 42, 43, 44)]
    assert plan.steps[-1].generation == 45
    assert made[0][1].stands == weighing.routing.fence
    for (step, work), (_, follows) in pairwise(made):
        left = left_by(plan, step, work)
        assert (follows.stands, follows.was) == (left, work.answer)
        assert follows.lineage == ((left.generation, left.token), *left.lineage)[:4]
    assert all(after.after == (before.id,) for before, after in pairwise(plan.steps))


def left_by(plan: Plan, step: Step, work: Steer) -> Fence:
    change = SteeringChange(work.expects, work.was, work.weights, work.answer, plan.run, step.id, work.lineage)
    return change.fence


def test_a_hold_asks_target_and_source_side_by_side(weighing: Any) -> None:
    """With an analysis the source is asked too, while it serves; of a dead source nobody asks."""
    one = gently("[50]", ", analysis: {samples: 4}")
    analyse = next(
        s for s in weighing.plan(weighing.move(MoveKind.SWITCHOVER), book_=one).steps if s.id == "shift.50.hold"
    )
    assert isinstance(analyse.work, Analyse)
    assert analyse.work.source is not None
    assert (analyse.work.target.endpoint, analyse.work.source.endpoint, analyse.work.hold_s) == (US, EU, 30.0)
    assert analyse.timeout_s > analyse.work.hold_s
    unplanned = weighing.plan(weighing.move(MoveKind.FAILOVER), book_=one)
    alone = next(step.work for step in unplanned.steps if isinstance(step.work, Analyse))
    assert alone.source is None


def test_a_stage_too_small_to_change_anything_is_left_out(weighing: Any) -> None:
    """Of two shares there are no five percent: a write that changes nothing is not made."""
    weighing.routing = replace(weighing.routing, fence=replace(weighing.routing.fence, weights=((EU, 2), (US, 0))))
    plan = weighing.plan(weighing.move(MoveKind.SWITCHOVER, after=((EU, 0), (US, 2))), book_=gently())
    assert [step.id for step, _ in steers(plan)] == ["shift.5", "shift.100"]


def test_plain_dns_cannot_move_by_stages(world: Any) -> None:
    """The step is named, and what the steering can express."""
    with pytest.raises(Unplannable, match=r"step 'shift' cannot move by stages: .* spreads traffic evenly"):
        world.plan(world.move(MoveKind.SWITCHOVER), book_=gently())


def test_an_outage_does_not_wait_for_stages_that_it_has_no_part_in(world: Any) -> None:
    """Plain DNS cannot shift gently; a failover by the same runbook moves at once, and says nothing of stages."""
    plan = world.plan(world.move(MoveKind.FAILOVER), book_=book("canary-shift"))
    assert [step.id for step, _ in steers(plan)] == ["shift-at-once"]
    with pytest.raises(Unplannable, match="cannot move by stages"):
        world.plan(world.move(MoveKind.SWITCHOVER), book_=book("canary-shift"))


def test_a_failback_goes_by_stages_where_the_steering_can_weigh(weighing: Any) -> None:
    """Little by little, each stage looked at beside the stand-in; what is over goes back in one write."""
    plan = weighing.plan(weighing.move(MoveKind.FAILBACK))
    assert [step.id for step in plan.taken(planned=True)] == [
        *("promote", "verify", "steer.10", "steer.10.hold", "steer.50", "steer.50.hold", "steer.100"),
        *("converge", "drain"),
    ]
    looked_at = [step.work for step in plan.steps if isinstance(step.work, Analyse)]
    assert all(work.analysis is not None and work.source is not None for work in looked_at)


def test_a_failback_by_plain_dns_is_one_write_and_says_why(world: Any) -> None:
    """Where no share can be expressed the runbook says what is done instead, and the plan says it to whoever reads."""
    for change in (lambda: None, world.cname):
        change()
        plan = world.plan(world.move(MoveKind.FAILBACK))
        [(step, work)] = [made for made in steers(plan) if made[0].when is not When.UNPLANNED]
        assert (step.id, work.weights) == ("steer", plan.after)
        assert step.text.endswith("at once and not by stages: rfc2136 cannot weigh")
        assert (step.undo, step.on_failure) != (None, "halt")


def test_a_failback_from_an_unknown_answer_is_one_write(weighing: Any) -> None:
    """Shares that are not known cannot shrink by stages: the plan says that, and moves everything."""
    weighing.routing = Routing(Answer("addresses", ("127.0.9.9",)), 30)
    plan = weighing.plan(weighing.move(MoveKind.FAILBACK))
    texts = [step.text for step, _ in steers(plan)]
    assert texts[0].endswith("at once and not by stages: where traffic goes now is no known share")


def test_stages_that_plain_dns_can_express_are_kept(world: Any) -> None:
    """Halves are even: a failback that is asked to stop half way does so without weights."""
    plan = world.plan(world.move(MoveKind.FAILBACK), book_=book("failback", {"stages": "50,100"}))
    assert [step.id for step, _ in steers(plan)] == ["steer.50", "steer.100", "steer-at-once"]


def rooms(plan: Plan) -> dict[str, tuple[int, int]]:
    """Which steps look for how many replicas, and for which stage."""
    looks = ((step.id, step.work.room) for step in plan.steps if isinstance(step.work, Analyse))
    return {name: (room.ready, room.percent) for name, room in looks if room is not None}


def test_no_stage_comes_before_the_replicas_that_carry_it(weighing: Any) -> None:
    """Of a load of 6, and 8 that three replicas carry, half needs two of them, and all of it three."""
    weighing.service = replace(weighing.service, policy=replace(weighing.service.policy, capacity=6))
    plan = weighing.plan(weighing.move(MoveKind.FAILBACK))
    assert rooms(plan) == {"steer.10.hold": (2, 50), "steer.50.hold": (3, 100)}
    light = replace(weighing.service.policy, capacity=2)
    weighing.service = replace(weighing.service, policy=light)
    assert rooms(weighing.plan(weighing.move(MoveKind.FAILBACK))) == {
        "steer.10.hold": (1, 50),
        "steer.50.hold": (1, 100),
    }


def test_where_the_load_is_not_known_each_stage_needs_its_part(weighing: Any) -> None:
    """Nobody has said how much there is to carry: half of the move needs half of the replicas, rounded up."""
    assert rooms(weighing.plan(weighing.move(MoveKind.FAILBACK))) == {
        "steer.10.hold": (2, 50),
        "steer.50.hold": (3, 100),
    }
    shared = weighing.move(MoveKind.FAILBACK, after=((EU, 50), (US, 50)))
    assert rooms(weighing.plan(shared)) == {"steer.10.hold": (2, 50), "steer.50.hold": (3, 100)}


def test_a_failback_that_promotes_nothing_looks_before_its_first_stage(weighing: Any) -> None:
    """A runbook without a promotion has nobody who waited for replicas: the first stage is looked at as the others."""
    plan = weighing.plan(weighing.move(MoveKind.FAILBACK), book_=gently("[50]"))
    assert [step.id for step in plan.steps][:2] == ["shift.ready", "shift.50"]
    assert plan.steps[0].text == "see that 2 replicas of us are ready, for 50 %"
    assert rooms(plan) == {"shift.ready": (2, 50), "shift.50.hold": (3, 100)}


@given(load=st.integers(1, 500), capacity=st.integers(1, 500), replicas=st.integers(1, 50), stage=st.integers(1, 99))
def test_what_is_ready_carries_what_comes(
    worlds: Callable[[], Any], load: int, capacity: int, replicas: int, stage: int
) -> None:
    """The replicas that a stage asks for carry its part of the load, by what all of them carry; never one too many."""
    world = worlds()
    us = replace(world.service.endpoints[1], capacity=capacity, workload=Workload("local", "us", replicas, 0))
    world.service = replace(
        world.service,
        endpoints=(world.service.endpoints[0], us),
        steering=replace(world.steering, provider="local", shares=Shares.WEIGHTED),
        policy=replace(world.service.policy, capacity=load),
    )
    plan = world.plan(world.move(MoveKind.FAILBACK), book_=gently(f"[{stage}]"))
    [first, *_] = [step.work.room for step in plan.steps if isinstance(step.work, Analyse) and step.work.room]
    need = -(-load * stage // 100)
    assert first.ready * capacity >= need * replicas or first.ready == replicas
    assert first.ready == 1 or (first.ready - 1) * capacity < need * replicas


def test_an_endpoint_that_nothing_scales_has_nothing_to_count(weighing: Any) -> None:
    """Without a workload nobody can say what is ready: its declared capacity is what the safety rules ask about."""
    bare = tuple(replace(each, workload=None) for each in weighing.service.endpoints)
    weighing.service = replace(weighing.service, endpoints=bare)
    assert rooms(weighing.plan(weighing.move(MoveKind.FAILBACK))) == {}


# ------------------------------------------------------------------ several that gain


@pytest.fixture
def shared(weighing: Any) -> Any:
    """Three endpoints behind a steering that weighs, all traffic at eu."""
    weighing.three()
    weighing.routing = Routing(
        Answer("addresses", ("127.0.1.10",)), 30, Fence(7, "run-7", "steer", ((AP, 0), (EU, 100), (US, 0)))
    )
    return weighing


def looked(plan: Plan) -> list[tuple[str, list[str], str | None]]:
    """Each look of *plan*: the step, whom it looks at, and beside whom."""
    looks = ((step.id, step.work) for step in plan.steps if isinstance(step.work, Analyse))
    return [
        (name, [each.place.endpoint for each in work.gainers], work.source.endpoint if work.source else None)
        for name, work in looks
    ]


def test_whoever_gains_is_looked_at_in_each_stage(shared: Any) -> None:
    """us and ap share what eu had: both are asked beside eu behind each stage, and the plan names both."""
    move = shared.move(MoveKind.SWITCHOVER, after=((AP, 40), (EU, 0), (US, 60)))
    plan = shared.plan(move, book_=gently("[10, 50]", ", analysis: {samples: 5}"))
    assert looked(plan) == [("shift.10.hold", [US, AP], EU), ("shift.50.hold", [US, AP], EU)]
    text = next(step.text for step in plan.steps if step.id == "shift.10.hold")
    assert text == (
        "hold 10 % for 30s, and go on only if each of us and ap fails at most 0 % of 5 answers, at most 2 times as "
        "slow as eu; 50 % then needs 2 replicas of us and 2 replicas of ap ready"
    )


def test_one_that_serves_already_and_gets_more_is_looked_at(shared: Any) -> None:
    """us carries half, and gets all that eu had with ap: more than it had is as much a question as any at all."""
    shared.three()
    after = ((AP, 20), (EU, 0), (US, 80))
    plan = shared.plan(shared.move(MoveKind.SWITCHOVER, target=AP, after=after), book_=gently("[50]", ", analysis: {}"))
    assert looked(plan) == [("shift.50.hold", [AP, US], EU)]
    kept = shared.move(MoveKind.SWITCHOVER, target=AP, after=((AP, 50), (EU, 0), (US, 50)))
    assert looked(shared.plan(kept, book_=gently("[50]", ", analysis: {}"))) == [("shift.50.hold", [AP], EU)]


def test_each_that_gains_has_its_replicas_counted(shared: Any) -> None:
    """Of a load of 12, ap is to carry a third and us the rest: each stage needs of both what carries their part."""
    shared.service = replace(shared.service, policy=replace(shared.service.policy, capacity=12))
    after = ((AP, 34), (EU, 0), (US, 66))
    plan = shared.plan(shared.move(MoveKind.FAILBACK, after=after), book_=gently("[50]"))
    first, second = (step for step in plan.steps if isinstance(step.work, Analyse))
    needs = [
        {each.place.endpoint: each.room and each.room.ready for each in step.work.gainers}
        for step in (first, second)
        if isinstance(step.work, Analyse)
    ]
    assert needs == [{US: 2, AP: 2}, {US: 3, AP: 2}]
    assert first.text == "see that 2 replicas of us and 2 replicas of ap are ready, for 50 %"
    assert second.text == "hold 50 % for 30s; 100 % then needs 3 replicas of us and 2 replicas of ap ready"


def test_who_was_waited_for_is_not_counted_again(shared: Any) -> None:
    """us and ap are promoted, and eu carries on with more: only eu's replicas are looked at before the first stage."""
    shared.routing = Routing(
        Answer("addresses", ("127.0.2.10",)), 30, Fence(7, "run-7", "steer", ((AP, 0), (EU, 0), (US, 100)))
    )
    promote = parse(
        "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: back}\nsteps:\n  - {id: promote, type: promote}\n"
        "  - {id: shift, type: steer, stages: [50], hold: 30s}\n",
        "back.yaml",
    )
    move = shared.move(MoveKind.FAILBACK, source=(US,), target=EU, after=((AP, 50), (EU, 50), (US, 0)))
    assert [step.id for step in shared.plan(move, book_=promote).steps][:3] == ["promote-eu", "promote-ap", "shift.50"]
    shared.routing = Routing(
        Answer("addresses", ("127.0.1.10", "127.0.2.10")), 30, Fence(7, "r", "s", ((AP, 0), (EU, 20), (US, 80)))
    )
    plan = shared.plan(move, book_=promote)
    assert [step.id for step in plan.steps][:3] == ["promote-eu", "promote-ap", "shift.50"]
    us_home = shared.move(MoveKind.FAILBACK, source=(US,), target=AP, after=((AP, 50), (EU, 50), (US, 0)))
    plan = shared.plan(us_home, book_=promote)
    assert [step.id for step in plan.steps][:3] == ["promote", "shift.ready", "shift.50"]
    assert plan.steps[1].text.startswith("see that ")
    assert " of eu are ready, for 50 %" in plan.steps[1].text


def apart(plan: Plan) -> float:
    """How long the plan waits before its first write, so that not all steer in one second."""
    return sum(step.work.seconds for step in plan.steps if step.id == "steer.apart" and isinstance(step.work, Wait))


def holds_s(plan: Plan) -> list[float]:
    return [step.work.hold_s for step in plan.steps if isinstance(step.work, Analyse)]


def test_a_failback_among_others_keeps_its_distance(weighing: Any) -> None:
    """It begins later than the others, holds a little longer, and the plan says the seconds: no more than was asked."""
    alone = weighing.plan(weighing.move(MoveKind.FAILBACK))
    assert (apart(alone), holds_s(alone)) == (0.0, [60.0, 60.0])
    plan = weighing.plan(weighing.move(MoveKind.FAILBACK), crowded=True)
    assert 0.1 <= apart(plan) <= 30.0
    assert all(60.1 <= seconds <= 90.0 for seconds in holds_s(plan))
    assert len({apart(plan), *holds_s(plan)}) == 3
    said = next(step.text for step in plan.steps if step.id == "steer.apart")
    assert said == f"hold for {apart(plan):g}s: not all that move there steer in the same second"
    short = weighing.plan(
        weighing.move(MoveKind.FAILBACK), book_=book("failback", {"hold": "2s", "jitter": "1m"}), crowded=True
    )
    assert all(2.1 <= seconds <= 4.0 for seconds in holds_s(short)), "a hold is never more than doubled"


def test_plain_dns_keeps_its_distance_too(world: Any) -> None:
    """There is one write, and the wait stands before it; without a jitter there is none."""
    plan = world.plan(world.move(MoveKind.FAILBACK), crowded=True)
    assert [step.id for step in plan.taken(planned=True)][2:5] == ["steer.apart", "steer.asked", "steer"]
    none = world.plan(world.move(MoveKind.FAILBACK), book_=book("failback", {"jitter": "0s"}), crowded=True)
    assert apart(none) == 0.0


def test_the_distance_is_the_same_in_the_plan_that_is_shown(weighing: Any) -> None:
    """Whatever run it is for, a service waits as long at one generation, and not at the next."""
    plan = weighing.plan(weighing.move(MoveKind.FAILBACK), crowded=True)
    assert apart(weighing.plan(weighing.move(MoveKind.FAILBACK), crowded=True, run=RunId("preview"))) == apart(plan)
    weighing.routing = replace(weighing.routing, fence=replace(weighing.routing.fence, generation=77))
    assert apart(weighing.plan(weighing.move(MoveKind.FAILBACK), crowded=True)) != apart(plan)


def test_an_outage_keeps_no_distance(weighing: Any) -> None:
    """What is down is left at once, whatever the runbook says and however many leave it."""
    runbook = gently("[50]", ", jitter: 30s")
    plan = weighing.plan(weighing.move(MoveKind.FAILOVER), book_=runbook, crowded=True)
    assert not [step for step in plan.steps if step.id.endswith((".apart", ".asked"))]
    assert holds_s(plan) == [30.0]


def test_what_cannot_be_steered_at_all_is_not_moved_at_once_either(world: Any) -> None:
    """An endpoint without an answer is no matter of stages: the reason is the same as without them."""
    eu, us = world.service.endpoints
    world.service = replace(world.service, endpoints=(eu, replace(us, answer=None)))
    with pytest.raises(Unplannable, match="endpoint 'us' has no answer"):
        world.plan(world.move(MoveKind.FAILBACK))


def test_stages_need_to_know_where_traffic_goes_now(weighing: Any) -> None:
    """An answer of no known endpoint has no shares that could shrink."""
    weighing.routing = Routing(Answer("addresses", ("127.0.9.9",)), 30)
    with pytest.raises(Unplannable, match="its traffic cannot move by stages"):
        weighing.plan(weighing.move(MoveKind.SWITCHOVER), book_=gently())


# ------------------------------------------------------------------ back, and on at once


def walked(plan: Plan, *steps: str) -> Progress:
    progress = begin(plan)
    for step in steps:
        progress = advance(advance(progress, step, Event.START), step, Event.SUCCEED)
    return progress


def test_every_stage_goes_all_the_way_back(weighing: Any) -> None:
    """Whatever stage fails, its undo is the whole way: the last one first, in one write, and no stage between."""
    plan = weighing.plan(weighing.move(MoveKind.SWITCHOVER), book_=gently())
    assert {(work.before, work.origin) for _, work in steers(plan)} == {(plan.before, weighing.routing.answer)}
    assert {step.undo for step, _ in steers(plan)} == {
        "steer chat.example. back to eu, at a new generation, if healthy then"
    }
    progress = walked(plan, "shift.5", "shift.5.hold", "shift.25")
    progress = advance(advance(progress, "shift.25.hold", Event.START), "shift.25.hold", Event.FAIL, "too slow")
    assert next_actions(plan, progress) == (Undo(plan.steps[2]),)


def test_a_stage_that_was_refused_leaves_the_one_before_to_be_put_back(weighing: Any) -> None:
    """A refusal surely wrote nothing: the stage before it stands, and is the one that goes back."""
    plan = weighing.plan(weighing.move(MoveKind.SWITCHOVER), book_=gently())
    progress = walked(plan, "shift.5", "shift.5.hold")
    progress = advance(advance(progress, "shift.25", Event.START), "shift.25", Event.REFUSE, "no")
    assert next_actions(plan, progress) == (Undo(plan.steps[0]),)


def test_an_unplanned_move_by_stages_never_goes_back(weighing: Any) -> None:
    """Behind its first write a failure halts, and the end says that the move stands half way."""
    plan = weighing.plan(weighing.move(MoveKind.FAILOVER), book_=gently())
    assert {step.undo for step, _ in steers(plan)} == {None}
    progress = walked(plan, "shift.5", "shift.5.hold", "shift.25")
    progress = advance(advance(progress, "shift.25.hold", Event.START), "shift.25.hold", Event.FAIL, "too slow")
    (end,) = next_actions(plan, progress)
    assert "The move stands half way: traffic goes to eu 75 and us 25." in str(end)
    assert "failover run chat --to us; to go back once eu is well: failover run chat --to eu" in str(end)


@pytest.mark.parametrize("book_", ["canary-shift", "failback"])
def test_a_move_that_is_made_does_not_stand_half_way(weighing: Any, book_: str) -> None:
    """A step that would move the rest at once is left out of a planned move: without it the move is whole."""
    plan = weighing.plan(weighing.move(MoveKind.SWITCHOVER), book_=book(book_))
    progress = walked(plan, *(step.id for step in plan.taken(planned=True)))
    (end,) = next_actions(plan, progress)
    assert str(end.text) == "switchover of chat is complete. Traffic goes to us. us is scaled to 3."


def test_a_run_that_is_switched_half_way_moves_the_rest_at_once(weighing: Any) -> None:
    """The source died at 25 %: one write upon what the run itself has left, and none of its planned ones."""
    plan = weighing.plan(weighing.move(MoveKind.SWITCHOVER), book_=book("canary-shift"))
    assert "shift-at-once" in [step.id for step in plan.steps]
    assert "shift-at-once" not in [step.id for step in plan.taken(planned=True)]
    made = walked(plan, "promote", "verify", "shift.5", "shift.5.hold", "shift.25")
    (now,) = next_actions(plan, switched(plan, made, planned=False))
    assert isinstance(now, Do)
    assert now.step.id == "shift-at-once"
    step = standing(plan, made, now.step)
    stage = next(each for each in plan.steps if each.id == "shift.25")
    assert isinstance(step.work, Steer)
    assert isinstance(stage.work, Steer)
    assert (step.generation, step.work.expects, step.work.was) == (43, 43, stage.work.answer)
    assert step.work.stands == left_by(plan, stage, stage.work)
    assert step.work.weights == plan.after
    over = advance(
        advance(switched(plan, made, planned=False), "shift-at-once", Event.START), "shift-at-once", Event.SUCCEED
    )
    (then,) = next_actions(plan, over)
    assert isinstance(then, Do)
    assert (then.step.id, standing(plan, over, then.step).generation) == ("converge", 44)


def test_a_run_that_is_not_switched_stands_where_it_was_planned_to(weighing: Any) -> None:
    """Each step of a plan that goes as planned is carried out as it stands there, to the letter."""
    for kind in (MoveKind.SWITCHOVER, MoveKind.FAILOVER):
        plan = weighing.plan(weighing.move(kind), book_=book("canary-shift"))
        progress = begin(plan)
        for step in plan.taken(planned=plan.planned):
            assert standing(plan, progress, step) == step
            progress = advance(advance(progress, step.id, Event.START), step.id, Event.SUCCEED)


def test_what_follows_a_step_of_the_other_kind_of_move_is_read_in_its_order(weighing: Any) -> None:
    """A step behind one that is no part of the move waits for what that one waits for, and says nothing else."""
    plan = weighing.plan(weighing.move(MoveKind.SWITCHOVER), book_=book("canary-shift"))
    (line,) = [line for line in text(plan).splitlines() if ". converge: " in line]
    assert "[after" not in line
    assert "[after nothing]" not in text(plan)
