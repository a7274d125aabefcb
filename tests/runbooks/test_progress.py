"""Carrying out: whatever happens, in whatever order, a plan completes, unwinds or halts, and never makes it worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import IllegalTransition
from orchestrator.core.move import MoveKind
from orchestrator.core.record import RunStatus
from runbooks.course import Close, Do, Undo, next_action, one_way_step
from runbooks.model import Runbook
from runbooks.plan import Plan, Steer
from runbooks.progress import NEXT, Event, Progress, StepState, advance, begin, diagram

Made = Callable[[MoveKind], Plan]
FAILOVER, SWITCHOVER = MoveKind.FAILOVER, MoveKind.SWITCHOVER
MOVES = [kind for kind in MoveKind if kind is not MoveKind.PREPARATION]


@pytest.fixture(scope="session")
def plans(request: pytest.FixtureRequest) -> list[Plan]:
    """One plan of each kind, one over an unknown answer, and one with demote: made once, they never change."""
    from orchestrator.core.steering import Routing
    from orchestrator.core.topology import Answer

    world = request.getfixturevalue("worlds")
    out = [world().plan(world().move(kind)) for kind in MOVES]
    first = world()
    first.routing = Routing(Answer("addresses", ("127.0.9.9",)), 30)
    out.append(first.plan(first.move(SWITCHOVER)))
    from runbooks.books import book

    out.append(world().plan(world().move(SWITCHOVER), book_=book("switchover", {"demote": True})))
    return out


def play(plan: Plan, *happens: tuple[str, Event]) -> Progress:
    """The progress after those events, each at its step."""
    progress = begin(plan)
    for step, event in happens:
        progress = advance(progress, step, event, "it broke")
    return progress


def done(*steps: str) -> list[tuple[str, Event]]:
    return [each for step in steps for each in ((step, Event.START), (step, Event.SUCCEED))]


def undone(*steps: str) -> list[tuple[str, Event]]:
    return [each for step in steps for each in ((step, Event.UNDO), (step, Event.SUCCEED_UNDO))]


def closed(plan: Plan, progress: Progress) -> Close:
    action = next_action(plan, progress)
    assert isinstance(action, Close), action
    return action


def undoing(plan: Plan, progress: Progress) -> str:
    action = next_action(plan, progress)
    assert isinstance(action, Undo), action
    return action.step.id


# ------------------------------------------------------------------ stories


def test_a_plan_is_carried_out_in_order(plan_of: Made) -> None:
    """Each step is asked for once the one before is done, and the end says where traffic goes."""
    plan = plan_of(SWITCHOVER)
    progress = begin(plan)
    for step in plan.steps:
        assert next_action(plan, progress) == Do(step)
        progress = advance(advance(progress, step.id, Event.START), step.id, Event.SUCCEED)
    assert closed(plan, progress) == Close(
        RunStatus.COMPLETED, "switchover of chat is complete. Traffic goes to us. us is scaled to 3."
    )


def test_a_failure_before_traffic_moved_is_put_back(plan_of: Made) -> None:
    """A target that does not verify is returned to what it was."""
    plan = plan_of(FAILOVER)
    events = [*done("promote"), ("verify", Event.START), ("verify", Event.FAIL)]
    assert undoing(plan, play(plan, *events)) == "promote"
    assert closed(plan, play(plan, *events, *undone("promote"))) == Close(
        RunStatus.UNDONE,
        "verify: it broke; everything done was put back. Traffic was not moved: it goes to eu.",
    )


def test_a_planned_move_is_undone_in_reverse(plan_of: Made) -> None:
    """After a steer that does not converge, traffic goes back first and capacity after it."""
    plan = plan_of(SWITCHOVER)
    events = [*done("promote", "verify", "steer"), ("converge", Event.START), ("converge", Event.FAIL)]
    assert undoing(plan, play(plan, *events)) == "steer"
    assert undoing(plan, play(plan, *events, *undone("steer"))) == "promote"
    end = closed(plan, play(plan, *events, *undone("steer", "promote")))
    assert end.status is RunStatus.UNDONE
    assert "Traffic goes to eu again." in end.text


def test_an_unplanned_move_never_goes_back_once_traffic_moved(plan_of: Made) -> None:
    """The source is down: a later failure halts, and the text says where traffic goes."""
    plan = plan_of(FAILOVER)
    events = [*done("promote", "verify", "steer"), ("converge", Event.START), ("converge", Event.FAIL)]
    assert closed(plan, play(plan, *events)) == Close(
        RunStatus.HALTED,
        "converge: it broke. Nothing was put back: there is no safe way back behind step steer. "
        "Traffic goes to us. us is scaled to 3. Look first: failover explain chat; "
        "to go back once eu is well: failover run chat --to eu.",
    )


def test_a_planned_steer_of_unknown_outcome_is_undone(plan_of: Made) -> None:
    """A write that may have landed is taken back like one that did."""
    plan = plan_of(SWITCHOVER)
    events = [*done("promote", "verify"), ("steer", Event.START), ("steer", Event.FAIL)]
    assert undoing(plan, play(plan, *events)) == "steer"


def test_an_unplanned_steer_of_unknown_outcome_halts(plan_of: Made) -> None:
    """It may carry the traffic: the target keeps its capacity, and a person reads the routing."""
    plan = plan_of(FAILOVER)
    end = closed(plan, play(plan, *done("promote", "verify"), ("steer", Event.START), ("steer", Event.FAIL)))
    assert end.status is RunStatus.HALTED
    assert "Traffic goes to eu or to us: read the routing." in end.text
    assert end.text.endswith(
        "Look first: failover explain chat; to finish the move: failover run chat --to us; "
        "to go back once eu is well: failover run chat --to eu."
    )


def test_an_unplanned_steer_that_was_refused_is_put_back(plan_of: Made) -> None:
    """A refusal surely moved nothing (the old endpoint is well again): the target's capacity is returned."""
    plan = plan_of(FAILOVER)
    events = [*done("promote", "verify"), ("steer", Event.START), ("steer", Event.REFUSE)]
    assert undoing(plan, play(plan, *events)) == "promote"
    assert closed(plan, play(plan, *events, *undone("promote"))).status is RunStatus.UNDONE


@pytest.mark.parametrize("kind", MOVES)
def test_a_stale_plan_stops_without_compensation(plan_of: Made, kind: MoveKind) -> None:
    """Somebody else is ahead: whatever would be put back is theirs now."""
    plan = plan_of(kind)
    end = closed(plan, play(plan, *done("promote", "verify"), ("steer", Event.START), ("steer", Event.STALE)))
    assert end.status is RunStatus.STALE
    assert "plan again" in end.text


def test_an_undo_that_meets_a_newer_write_stops(plan_of: Made) -> None:
    """Somebody steered while this run went back: nothing more is undone."""
    plan = plan_of(SWITCHOVER)
    events = [*done("promote", "verify", "steer"), ("converge", Event.START), ("converge", Event.FAIL)]
    progress = play(plan, *events, ("steer", Event.UNDO), ("steer", Event.STALE))
    end = closed(plan, progress)
    assert end.status is RunStatus.STALE
    assert end.text.endswith("nothing more was put back, read the routing and plan again. us is scaled to 3.")


def test_an_undo_that_fails_calls_a_human(plan_of: Made) -> None:
    """Neither forward nor back: the run halts, says so, and touches nothing more."""
    plan = plan_of(SWITCHOVER)
    events = [*done("promote", "verify", "steer"), ("converge", Event.START), ("converge", Event.FAIL)]
    end = closed(plan, play(plan, *events, ("steer", Event.UNDO), ("steer", Event.FAIL_UNDO)))
    assert end.status is RunStatus.HALTED
    assert "call a human" in end.text
    assert "Traffic goes to eu or to us: read the routing." in end.text
    assert end.text.endswith(
        "Look first: failover explain chat; to finish the move: failover run chat --to us; "
        "to go back once eu is well: failover run chat --to eu."
    )


def test_an_undo_that_was_not_tried_leaves_no_doubt_where_traffic_goes(plan_of: Made) -> None:
    """The source died behind the steer: the end says where traffic goes for certain, and the one way that is left."""
    plan = plan_of(SWITCHOVER)
    events = [*done("promote", "verify", "steer"), ("converge", Event.START), ("converge", Event.FAIL)]
    end = closed(plan, play(plan, *events, ("steer", Event.UNDO), ("steer", Event.REFUSE_UNDO)))
    assert end.status is RunStatus.HALTED
    assert end.text.endswith(
        "call a human. Traffic goes to us. us is scaled to 3. Look first: failover explain chat; "
        "to go back once eu is well: failover run chat --to eu."
    )


def test_a_failure_to_drain_is_noted_and_passed(plan_of: Made) -> None:
    """on_failure: continue goes on, and the end tells of it."""
    plan = plan_of(SWITCHOVER)
    steps = done("promote", "verify", "steer", "converge")
    end = closed(plan, play(plan, *steps, ("drain", Event.START), ("drain", Event.FAIL)))
    assert end.status is RunStatus.COMPLETED
    assert end.text.endswith("Noted: drain: it broke.")


def test_nothing_is_undone_once_capacity_was_given_back(world: Any, with_demote: Runbook) -> None:
    """GPUs given back may not come back, so a failing demote halts where it is."""
    plan = world.plan(world.move(SWITCHOVER), book_=with_demote)
    steps = done("promote", "verify", "steer", "converge", "drain")
    end = closed(plan, play(plan, *steps, ("demote", Event.START), ("demote", Event.FAIL)))
    assert end.status is RunStatus.HALTED
    assert "eu may have returned to 1." in end.text


def test_halt_leaves_everything_as_it_is(plan_of: Made) -> None:
    """on_failure: halt puts nothing back, even before traffic moved."""
    plan = plan_of(SWITCHOVER)
    plan = replace(plan, steps=tuple(replace(step, on_failure="halt") for step in plan.steps))
    end = closed(plan, play(plan, *done("promote"), ("verify", Event.START), ("verify", Event.FAIL)))
    assert (end.status, "Nothing was put back." in end.text) == (RunStatus.HALTED, True)
    assert end.text.endswith("to finish the move: failover run chat --to us.")


def test_a_person_can_stop_a_run_and_it_unwinds(plan_of: Made) -> None:
    """The step that runs is brought to an end first, the rest is skipped, and what was done is put back."""
    plan = plan_of(SWITCHOVER)
    running = advance(play(plan, *done("promote"), ("verify", Event.START)), "", Event.ABORT, "alice: wrong region")
    assert next_action(plan, running) == Do(plan.steps[1])
    assert running.state("steer") is StepState.SKIPPED
    stopped = advance(running, "verify", Event.SUCCEED)
    assert undoing(plan, stopped) == "promote"
    end = closed(plan, advance(advance(stopped, "promote", Event.UNDO), "promote", Event.SUCCEED_UNDO))
    assert end.status is RunStatus.ABORTED
    assert end.text.startswith("stopped: alice: wrong region; everything done was put back.")


def test_a_person_cannot_turn_an_unplanned_move_back(plan_of: Made) -> None:
    """Stopped after traffic has moved, the run halts there."""
    plan = plan_of(FAILOVER)
    moved = advance(play(plan, *done("promote", "verify", "steer")), "", Event.ABORT, "bob")
    assert closed(plan, moved).status is RunStatus.HALTED
    assert moved.state("converge") is StepState.SKIPPED


def test_stopping_a_run_that_is_over_changes_nothing(plan_of: Made) -> None:
    """Too late is too late: a finished run stays complete, and one on its way back goes on with that."""
    plan = plan_of(SWITCHOVER)
    whole = play(plan, *done(*(step.id for step in plan.steps)))
    assert advance(whole, "", Event.ABORT, "late") == whole
    back = play(plan, *done("promote"), ("verify", Event.START), ("verify", Event.FAIL), ("promote", Event.UNDO))
    assert advance(back, "", Event.ABORT, "late") == back


def test_stopping_in_the_last_step_of_an_unplanned_move_lets_it_complete(plan_of: Made) -> None:
    """There is nothing left to skip and no way back: it is simply done."""
    plan = plan_of(FAILOVER)
    last = play(plan, *done("promote", "verify", "steer"), ("converge", Event.START))
    assert closed(plan, advance(advance(last, "", Event.ABORT, "bob"), "converge", Event.SUCCEED)).status is (
        RunStatus.COMPLETED
    )


# ------------------------------------------------------------------ the table


def test_a_pair_that_the_table_lacks_is_illegal(plan_of: Made) -> None:
    """Every state and event outside the table is refused with a sentence that names both."""
    plan = plan_of(SWITCHOVER)
    for state, event in product(StepState, Event):
        if event in {Event.ABORT, Event.PAUSE, Event.RESUME} or (state, event) in NEXT:
            continue
        progress = replace(begin(plan), states=(("promote", state),))
        with pytest.raises(IllegalTransition, match=f"{event} cannot happen to (it|step 'promote') then"):
            advance(progress, "promote", event)


def test_a_step_that_the_plan_lacks_is_illegal(plan_of: Made) -> None:
    """A misspelt step is an error, not a new step."""
    with pytest.raises(IllegalTransition, match="no step 'promot'"):
        advance(begin(plan_of(SWITCHOVER)), "promot", Event.START)


def test_the_diagram_shows_every_transition() -> None:
    """The picture in the docs is drawn from the table."""
    said = diagram()
    for (state, event), after in NEXT.items():
        arrow = f"    {state} --> {after.replace('-', '_')}: ".replace("undo-failed", "undo_failed")
        line = next(line for line in said.splitlines() if line.startswith(arrow))
        assert event in line


# ------------------------------------------------------------------ properties

_answers = {
    Do: st.sampled_from([Event.SUCCEED] * 4 + [Event.FAIL, Event.REFUSE, Event.STALE, None]),
    Undo: st.sampled_from([Event.SUCCEED_UNDO] * 4 + [Event.FAIL_UNDO, Event.STALE, None]),
}


class Walk:
    """One run driven at random: outcomes, interruptions (None) and a person who stops it."""

    def __init__(self, plan: Plan, data: st.DataObject) -> None:
        self.plan = plan
        self.data = data
        self.progress = begin(plan)
        self.log: list[tuple[str, Event, str]] = []
        self.undone_after_pivot = False
        self.close: Close | None = None
        self.order: list[str] = []

    def tell(self, step: str, event: Event) -> None:
        detail = f"{event} of {step}"
        self.log.append((step, event, detail))
        self.progress = advance(self.progress, step, event, detail)

    def pivoted(self) -> bool:
        steer = next(step for step in self.plan.steps if isinstance(step.work, Steer))
        return not self.plan.planned and self.progress.state(steer.id) in {StepState.DONE, StepState.FAILED}

    def run(self) -> Walk:
        interruptions = 0
        while True:
            if self.data.draw(st.integers(0, 9)) == 0:
                self.tell("", Event.ABORT)
            action = next_action(self.plan, self.progress)
            if isinstance(action, Close):
                self.close = action
                return self
            going = action.step.id
            if isinstance(action, Undo):
                self.undone_after_pivot |= self.pivoted()
                if going not in self.order:
                    self.order.append(going)
            self.tell(going, Event.START if isinstance(action, Do) else Event.UNDO)
            answer = self.data.draw(_answers[type(action)])
            if answer is None and interruptions < 5:
                interruptions += 1  # the driver died here; the next one asks again
                continue
            if answer is None:
                answer = Event.SUCCEED if isinstance(action, Do) else Event.SUCCEED_UNDO
            if self.data.draw(st.integers(0, 19)) == 0:
                self.tell("", Event.ABORT)
            self.tell(going, answer)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), which=st.integers(0, 4), rules=st.lists(st.sampled_from(["rollback", "halt", "continue"])))
def test_every_run_ends_and_never_makes_it_worse(
    plans: list[Plan], data: st.DataObject, which: int, rules: list[Any]
) -> None:
    """Whatever fails, dies or is stopped: each step is done once, undone at most once, and the end is true."""
    plan = plans[which]
    given_rules = dict(enumerate(rules))
    plan = replace(
        plan,
        steps=tuple(replace(s, on_failure=given_rules.get(n, s.on_failure)) for n, s in enumerate(plan.steps)),
    )
    walk = Walk(plan, data).run()
    assert walk.close is not None
    assert not walk.undone_after_pivot
    for step in plan.steps:
        events = [event for name, event, _ in walk.log if name == step.id]
        assert events.count(Event.SUCCEED) <= 1
        assert events.count(Event.SUCCEED_UNDO) <= 1
        assert walk.progress.state(step.id) not in {StepState.RUNNING, StepState.UNDOING}
    ids = [step.id for step in plan.steps]
    assert walk.order == sorted(walk.order, key=ids.index, reverse=True)
    holds(plan, walk.progress, walk.close.status)
    again = begin(plan)
    for name, event, detail in walk.log:
        again = advance(again, name, event, detail)
    assert again == walk.progress
    assert next_action(plan, again) == walk.close


def holds(plan: Plan, progress: Progress, status: RunStatus) -> None:
    """What each way of ending promises of the steps."""
    states = dict(progress.states)
    standing = {StepState.DONE, StepState.FAILED}
    match status:
        case RunStatus.COMPLETED:
            failed = {name for name, _ in progress.failures}
            taken = {step.id for step in plan.taken(planned=plan.planned)}
            assert all(states[name] is StepState.DONE or name in failed for name in taken)
            assert all(step.on_failure == "continue" for step in plan.steps if step.id in failed)
        case RunStatus.UNDONE | RunStatus.ABORTED:
            assert not any(states[step.id] in standing for step in plan.steps if step.undo)
            assert not any(states[step.id] in standing for step in plan.steps if isinstance(step.work, Steer))
        case RunStatus.STALE:
            assert progress.stale
        case RunStatus.HALTED:
            stopped = StepState.UNDO_FAILED in states.values() or one_way_step(plan, progress) is not None
            assert stopped or any(s.on_failure == "halt" and states[s.id] is not StepState.DONE for s in plan.steps)
        case _:
            raise AssertionError(status)
