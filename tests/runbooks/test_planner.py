"""Planning: what a plan carries, and the moves that cannot be planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.errors import FailoverError
from orchestrator.core.move import MoveKind
from orchestrator.core.names import EndpointId
from orchestrator.core.record import StepBrief
from orchestrator.core.steering import Fence, Routing, encode
from orchestrator.core.topology import Answer, ProbeKind, Shares
from runbooks.books import book
from runbooks.model import Runbook
from runbooks.plan import Converge, Demote, Drain, Plan, Promote, Steer, Verify
from runbooks.planner import Unplannable, as_nsupdate, brief

EU, US, AP = EndpointId("eu"), EndpointId("us"), EndpointId("ap")
MOVES = [kind for kind in MoveKind if kind is not MoveKind.PREPARATION]
ALL_KINDS = pytest.mark.parametrize("kind", MOVES)


def kinds(plan: Plan) -> list[str]:
    return [step.work.kind for step in plan.taken(planned=plan.planned)]


def work(plan: Plan, kind: type) -> Any:
    return next(step.work for step in plan.steps if isinstance(step.work, kind))


def refused(world: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(Unplannable) as caught:
        world.plan(world.move(*args, **kwargs))
    assert isinstance(caught.value, FailoverError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unplanned_move_promotes_verifies_steers_and_converges(world: Any) -> None:
    """A failover asks nothing of the old endpoint and gives no capacity back."""
    assert kinds(world.plan(world.move(MoveKind.FAILOVER))) == ["promote", "verify", "steer", "converge"]


@pytest.mark.parametrize("kind", [MoveKind.SWITCHOVER, MoveKind.FAILBACK])
def test_a_planned_move_also_drains(world: Any, kind: MoveKind) -> None:
    """A planned move lets the old endpoint finish; it demotes nothing unless switched on."""
    assert kinds(world.plan(world.move(kind))) == ["promote", "verify", "steer", "converge", "drain"]


def test_demote_is_opt_in_and_bakes(world: Any, with_demote: Runbook) -> None:
    """Switched on, demote returns the source to standby after the bake, which its budget includes."""
    plan = world.plan(world.move(MoveKind.SWITCHOVER), book_=with_demote)
    demote = work(plan, Demote)
    assert (demote.endpoint, demote.replicas, demote.bake_s) == (EU, 1, 1800.0)
    assert plan.steps[-1].timeout_s == 1800.0 + 300.0
    assert plan.steps[-1].undo is None


def test_a_target_without_workload_is_not_promoted(world: Any) -> None:
    """Where nothing can be scaled, the step is simply not in the plan."""
    world.cname()
    assert kinds(world.plan(world.move(MoveKind.SWITCHOVER))) == ["verify", "steer", "converge"]


def test_promote_takes_the_replicas_of_the_book_or_else_of_the_workload(world: Any) -> None:
    """The book's number wins over the workload's own."""
    assert work(world.plan(world.move(MoveKind.FAILOVER)), Promote).replicas == 3
    failover = book("region-failover")
    first = replace(failover.steps[0], task=replace(failover.steps[0].task, replicas=7))  # type: ignore[call-arg]  # it is a promote
    other = replace(failover, steps=(first, *failover.steps[1:]))
    assert work(world.plan(world.move(MoveKind.FAILOVER), book_=other), Promote).replicas == 7


def test_verify_asks_for_completed_inference_where_it_can(world: Any) -> None:
    """With a chat probe verify uses it alone; without one it uses every probe."""
    verify = work(world.plan(world.move(MoveKind.FAILOVER)), Verify)
    assert [probe.kind for probe in verify.place.probes] == [ProbeKind.CHAT]
    assert (verify.passes, verify.place.name, verify.place.endpoint) == (2, "chat.example", US)
    http = tuple(replace(e, probes=e.probes[:1]) for e in world.service.endpoints)
    world.service = replace(world.service, endpoints=http)
    verify = work(world.plan(world.move(MoveKind.FAILOVER)), Verify)
    assert [probe.id for probe in verify.place.probes] == ["http"]


def test_steer_carries_the_fence_and_the_answer_as_they_were_read(world: Any) -> None:
    """The plan names what it replaces, so that a stale plan meets a changed world and stops."""
    plan = world.plan(world.move(MoveKind.FAILOVER))
    steer = work(plan, Steer)
    assert (steer.expects, steer.was) == (41, Answer("addresses", ("127.0.1.10",)))
    assert steer.lineage == ((41, "run-41/steer"), (40, "run-40/steer"))
    assert steer.weights == plan.after == ((EU, 0), (US, 100))
    assert steer.answer == Answer("addresses", ("127.0.2.10",))
    assert steer.before == plan.before == ((EU, 100), (US, 0))
    assert steer.stands == world.routing.fence
    assert plan.generation == 41


def test_converge_holds_for_the_old_ttl(world: Any) -> None:
    """Caches keep the old answer for the TTL it had; the step's budget leaves room for it."""
    plan = world.plan(world.move(MoveKind.FAILOVER))
    converge = work(plan, Converge)
    assert (converge.hold_s, converge.answer) == (30.0, Answer("addresses", ("127.0.2.10",)))
    assert plan.steps[-1].timeout_s == 60.0 + 30.0
    world.routing = replace(world.routing, ttl_s=0)
    assert work(world.plan(world.move(MoveKind.FAILOVER)), Converge).hold_s == 10.0


def test_every_source_that_loses_all_traffic_is_drained(world: Any) -> None:
    """Two sources give two drain steps with ids of their own; one that keeps a share is left alone."""
    world.three()
    plan = world.plan(world.move(MoveKind.SWITCHOVER, source=(EU, US), target=AP))
    assert [step.id for step in plan.steps if isinstance(step.work, Drain)] == ["drain-eu", "drain-us"]
    shared = world.move(MoveKind.SWITCHOVER, source=(EU, US), target=AP, after=((AP, 50), (EU, 0), (US, 50)))
    assert [step.id for step in world.plan(shared).steps if isinstance(step.work, Drain)] == ["drain"]


def test_nothing_rolls_back_behind_an_unplanned_steer(world: Any) -> None:
    """Whatever a book says, a step after an unplanned steer halts, and the steer has no undo."""
    plan = world.plan(world.move(MoveKind.FAILOVER), book_=book("switchover"))
    steer = kinds(plan).index("steer")
    assert plan.steps[steer].undo is None
    assert [step.on_failure for step in plan.taken(planned=False)[steer + 1 :]] == ["halt"]
    assert [step.on_failure for step in plan.steps[: steer + 1]] == ["rollback"] * (steer + 1)


def test_nothing_rolls_back_behind_a_first_write_over_an_unknown_answer(world: Any) -> None:
    """An answer that no endpoint explains is not written again, so later steps halt."""
    world.routing = Routing(Answer("addresses", ("127.0.9.9",)), 30)
    plan = world.plan(world.move(MoveKind.SWITCHOVER))
    steer = work(plan, Steer)
    assert (steer.expects, steer.lineage, steer.before, steer.stands) == (0, (), None, None)
    assert plan.before == ()
    assert [step.undo for step in plan.steps if step.id == "steer"] == [None]
    assert [step.on_failure for step in plan.steps if step.id == "converge"] == ["halt"]


def test_weights_before_come_from_the_fence_while_it_explains_the_answer(world: Any) -> None:
    """A weighing steering keeps its weights in the fence; a fence that does not fit gives way to the answer."""
    world.three()
    fence = Fence(8, "run-8", "steer", ((AP, 0), (EU, 90), (US, 10)))
    world.routing = replace(world.routing, fence=fence)
    move = world.move(MoveKind.SWITCHOVER, source=(EU, US), target=AP)
    assert world.plan(move).before == fence.weights
    world.routing = replace(world.routing, fence=replace(fence, weights=((AP, 0), (EU, 100), (US, 0))))
    assert world.plan(move).before == ((AP, 0), (EU, 50), (US, 50))
    gone = ((EU, 50), (EndpointId("old"), 50))
    world.routing = replace(world.routing, fence=replace(fence, weights=gone))
    assert world.plan(move).before == ((AP, 0), (EU, 50), (US, 50))


@ALL_KINDS
def test_step_ids_are_unique_and_fit_a_fence(world: Any, kind: MoveKind) -> None:
    """Each step's id is its own and can stand in the fence."""
    plan = world.plan(world.move(kind))
    names = [step.id for step in plan.steps]
    assert len(set(names)) == len(names)
    for name in names:
        assert encode(Fence(1, plan.run, name, plan.after))


@ALL_KINDS
def test_a_brief_has_one_line_for_each_step(world: Any, kind: MoveKind) -> None:
    """Displays get id, kind, text and budget of each step, in order, one line each."""
    plan = world.plan(world.move(kind))
    taken = plan.taken(planned=plan.planned)
    assert brief(plan) == tuple(StepBrief(s.id, s.work.kind, s.text, s.timeout_s, s.expected_s) for s in taken)
    assert not any("\n" in line.text for line in brief(plan))


# ------------------------------------------------------------------ refusals


def test_without_steering_there_is_no_plan(world: Any) -> None:
    """A service that is only watched cannot be moved, and the answer says what is missing."""
    world.service = replace(world.service, steering=None)
    assert "'chat' has no steering" in refused(world, MoveKind.FAILOVER)


def test_an_endpoint_without_an_answer_cannot_take_traffic(world: Any) -> None:
    """The endpoint that lacks addresses is named."""
    eu, us = world.service.endpoints
    world.service = replace(world.service, endpoints=(eu, replace(us, answer=None)))
    assert "endpoint 'us' has no answer" in refused(world, MoveKind.FAILOVER)


def test_plain_dns_cannot_weigh(world: Any) -> None:
    """Shares that the steering cannot express are refused when planned, not when carried out."""
    said = refused(world, MoveKind.SWITCHOVER, after=((EU, 90), (US, 10)))
    assert "cannot express eu 90 and us 10" in said
    assert world.plan(world.move(MoveKind.SWITCHOVER, after=((EU, 50), (US, 50)))).after == ((EU, 50), (US, 50))


def test_thirds_count_as_equal(world: Any) -> None:
    """Weights that differ only by rounding are equal shares."""
    world.three()
    move = world.move(MoveKind.SWITCHOVER, source=(), target=AP, after=((AP, 34), (EU, 33), (US, 33)))
    assert len(work(world.plan(move), Steer).answer.values) == 3


def test_a_steering_that_weighs_takes_any_shares(world: Any) -> None:
    """The local world's DNS weighs, so the same move is planned there."""
    world.service = replace(world.service, steering=replace(world.steering, provider="local", shares=Shares.WEIGHTED))
    after = ((EU, 90), (US, 10))
    assert work(world.plan(world.move(MoveKind.SWITCHOVER, after=after)), Steer).weights == after


def test_a_cname_takes_one_endpoint(world: Any) -> None:
    """Two endpoints behind a CNAME are refused with that reason."""
    world.cname()
    assert "a CNAME allows one endpoint" in refused(world, MoveKind.SWITCHOVER, after=((EU, 50), (US, 50)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target": AP}, "no endpoint 'ap'"),
        ({"source": (AP,)}, "no endpoint 'ap'"),
        ({"after": ((US, 100),)}, "do not name each endpoint"),
        ({"after": ((EU, 100), (US, 0))}, "would give it no traffic"),
        ({"after": ((EU, 0), (US, 0))}, "would give it no traffic"),
    ],
)
def test_a_move_that_does_not_fit_the_service_is_refused(world: Any, changed: Any, said: str) -> None:
    """Names that do not exist and weights that leave the target without traffic are no plan."""
    assert said in refused(world, MoveKind.FAILOVER, **changed)


def test_a_move_to_where_traffic_is_already_is_refused(world: Any) -> None:
    """There is nothing to move."""
    assert "already" in refused(world, MoveKind.FAILOVER, source=(), target=EU)


def test_a_target_that_nothing_probes_is_refused(world: Any) -> None:
    """What cannot be asked cannot be verified."""
    world.service = replace(world.service, endpoints=tuple(replace(e, probes=()) for e in world.service.endpoints))
    assert "endpoint 'us' of service 'chat' has no probe" in refused(world, MoveKind.FAILOVER)


def test_a_book_without_a_steer_is_refused(world: Any) -> None:
    """A runbook that moves nothing in this kind of move is named, with the place to choose another."""
    empty = Runbook("rest", "", ())
    with pytest.raises(Unplannable, match="runbook 'rest'"):
        world.plan(world.move(MoveKind.FAILOVER), book_=empty)


def test_a_fence_that_cannot_be_written_is_refused(world: Any) -> None:
    """A fence is checked when planned, before anything has been scaled."""
    steps = tuple(replace(step, id="has spaces") for step in book("region-failover").steps)
    with pytest.raises(Unplannable, match="cannot be fenced"):
        world.plan(world.move(MoveKind.FAILOVER), book_=replace(book("region-failover"), steps=steps))


def test_a_plan_that_steers_nothing_has_no_script(world: Any) -> None:
    """There is no change to make by hand in a plan without a steer step."""
    plan = world.plan(world.move(MoveKind.FAILOVER))
    with pytest.raises(FailoverError, match="steers nothing"):
        as_nsupdate(replace(plan, steps=plan.steps[:1]))
