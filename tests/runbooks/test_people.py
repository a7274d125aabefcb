"""People in a run: what it waits for, who may say yes, and what holding, skipping, trying again and switching do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.errors import IllegalTransition
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.record import RunStatus
from runbooks.course import Close, Do, Hold, Undo, next_actions, released
from runbooks.model import Runbook
from runbooks.parse import parse
from runbooks.plan import Approve, Asked, Plan, When
from runbooks.planner import Unplannable
from runbooks.printed import brief
from runbooks.progress import Event, Progress, StepState, advance, begin, switched

HEAD = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: mine}\nsteps:\n"
ASKS = """\
  - {id: promote, type: promote}
  - {id: verify, type: verify, on_failure: ask}
  - {id: steer, type: steer}
  - {id: converge, type: converge, on_failure: ask}
  - {id: drain, type: drain}
"""
BESIDE = """\
  - id: beside
    type: parallel
    branches:
      - [{id: promote, type: promote}, {id: verify, type: verify}]
      - [{id: hold, type: wait, for: 30s, on_failure: halt}]
  - {id: steer, type: steer}
"""


def book(steps: str) -> Runbook:
    return parse(HEAD + steps, "mine.yaml")


def planned(world: Any, steps: str, kind: MoveKind = MoveKind.SWITCHOVER, by: str = "erin") -> Plan:
    plan: Plan = world.plan(world.move(kind), book_=book(steps), trigger=Trigger(by, "maintenance"))
    return plan


def play(plan: Plan, *happens: tuple[str, Event], progress: Progress | None = None) -> Progress:
    progress = progress or begin(plan)
    for step, event in happens:
        progress = advance(progress, step, event, "so it was")
    return progress


def done(*steps: str) -> list[tuple[str, Event]]:
    return [each for step in steps for each in ((step, Event.START), (step, Event.SUCCEED))]


def failed(step: str, event: Event = Event.FAIL) -> list[tuple[str, Event]]:
    return [(step, Event.START), (step, event)]


def doing(plan: Plan, progress: Progress) -> list[str]:
    actions = next_actions(plan, progress)
    assert all(isinstance(each, Do) for each in actions), actions
    return [each.step.id for each in actions if isinstance(each, Do)]


def closed(plan: Plan, progress: Progress) -> Close:
    (action,) = next_actions(plan, progress)
    assert isinstance(action, Close), action
    return action


# ------------------------------------------------------------------ approvals


def test_an_approval_carries_who_may_give_it(world: Any) -> None:
    """Roles become people when the plan is made: what an approver reads is who is asked, in which order."""
    world.roles = (("leads", ("carol",)), ("oncall", ("bob", "alice")))
    steps = "  - {id: ok, type: approve, role: oncall, escalate: [leads], timeout: 5m}\n  - {id: steer, type: steer}\n"
    step = planned(world, steps).steps[0]
    roles = (Asked("oncall", ("alice", "bob")), Asked("leads", ("carol",)))
    assert step.work == Approve(roles, 1, 300.0, "abort")
    assert (step.timeout_s, step.attempts) == (600.0, 1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("role: onkall", "step 'ok' asks role 'onkall', in which there is nobody; name its people under roles"),
        ("role: empty", "asks role 'empty', in which there is nobody"),
        ("role: oncall, people: 3", "needs a yes from 3 people of role 'oncall', and only 2 may give it"),
        ("role: oncall, people: 2, escalate: [nobody]", "asks role 'nobody', in which there is nobody"),
    ],
)
def test_an_approval_that_nobody_could_give_is_no_plan(world: Any, more: str, said: str) -> None:
    """It is refused when planned, and not found out in the night: roles without people, too few of them."""
    world.roles = (("empty", ()), ("oncall", ("alice", "bob")))
    with pytest.raises(Unplannable) as caught:
        planned(world, f"  - {{id: ok, type: approve, {more}}}\n  - {{id: steer, type: steer}}\n")
    assert said in str(caught.value)


def test_whoever_started_the_run_is_not_one_of_two(world: Any) -> None:
    """Two people are two others; with one, the starter may be that one."""
    world.roles = (("oncall", ("alice", "bob")),)
    two = "  - {id: ok, type: approve, role: oncall, people: 2}\n  - {id: steer, type: steer}\n"
    with pytest.raises(Unplannable, match="only 1 may give it"):
        planned(world, two, by="alice")
    assert planned(world, two).steps
    assert planned(world, two.replace(", people: 2", ""), by="alice").steps


# ------------------------------------------------------------------ asked


def test_a_failure_that_asks_waits_for_a_person(world: Any) -> None:
    """Nothing goes on and nothing goes back until somebody says retry, skip or abort."""
    plan = planned(world, ASKS)
    asked = play(plan, *done("promote"), *failed("verify"))
    (held,) = next_actions(plan, asked)
    assert held == Hold("step verify needs a person (so it was): retry it, skip it, or abort the run", plan.steps[1])
    assert doing(plan, play(plan, ("verify", Event.RETRY), progress=asked)) == ["verify"]
    assert doing(plan, play(plan, ("verify", Event.SKIP), progress=asked)) == ["steer"]
    (back,) = next_actions(plan, play(plan, ("", Event.ABORT), progress=asked))
    assert back == Undo(plan.steps[0])


@pytest.mark.parametrize("event", [Event.FAIL, Event.REFUSE])
def test_an_abort_is_an_answer_in_the_last_step_too(world: Any, event: Event) -> None:
    """Nothing is left but the question: a person who aborts ends the run, planned or not."""
    for kind, status in ((MoveKind.SWITCHOVER, RunStatus.ABORTED), (MoveKind.FAILOVER, RunStatus.HALTED)):
        plan = planned(world, ASKS.replace("  - {id: drain, type: drain}\n", ""), kind)
        asked = play(plan, *done("promote", "verify", "steer"), *failed("converge", event))
        assert isinstance(next_actions(plan, asked)[0], Hold)
        stopped = play(plan, ("", Event.ABORT), progress=asked)
        if kind is MoveKind.SWITCHOVER:
            undone = [(s, e) for s in ("steer", "promote") for e in (Event.UNDO, Event.SUCCEED_UNDO)]
            stopped = play(plan, *undone, progress=stopped)
        assert closed(plan, stopped).status is status


def test_no_clear_answer_asks_whatever_the_plan_says(world: Any) -> None:
    """Inconclusive is neither pass nor fail, although this step would roll back."""
    plan = planned(world, ASKS.replace(", on_failure: ask", ""))
    asked = play(plan, *done("promote"), *failed("verify", Event.ASK))
    assert asked.state("verify") is StepState.ASKING
    assert isinstance(next_actions(plan, asked)[0], Hold)
    passed = play(plan, ("verify", Event.SKIP), progress=asked)
    assert doing(plan, passed) == ["steer"]
    end = closed(plan, play(plan, *done("steer", "converge", "drain"), progress=passed))
    assert (end.status, end.text.endswith("Noted: verify: so it was.")) == (RunStatus.COMPLETED, True)


# ------------------------------------------------------------------ held, skipped, stopped


def test_a_run_that_is_held_begins_nothing(world: Any) -> None:
    """What is under way is finished; the next step waits until somebody lets the run go on."""
    plan = planned(world, ASKS)
    held = play(plan, *done("promote"), ("verify", Event.START), ("", Event.PAUSE))
    assert doing(plan, held) == ["verify"]
    held = play(plan, ("verify", Event.SUCCEED), progress=held)
    assert next_actions(plan, held) == (Hold("so it was"),)
    assert doing(plan, play(plan, ("", Event.RESUME), progress=held)) == ["steer"]


def test_a_run_that_is_held_in_its_last_step_is_over_with_it(world: Any) -> None:
    """There is nothing left that could wait."""
    plan = planned(world, ASKS)
    last = play(plan, *done("promote", "verify", "steer", "converge"), ("drain", Event.START), ("", Event.PAUSE))
    assert closed(plan, play(plan, ("drain", Event.SUCCEED), progress=last)).status is RunStatus.COMPLETED


def test_a_run_that_is_held_goes_back_all_the_same(world: Any) -> None:
    """Holding a run keeps no step from being put back: a failure in it is not left standing."""
    plan = planned(world, ASKS)
    failing = play(plan, *done("promote", "verify"), ("steer", Event.START), ("", Event.PAUSE), ("steer", Event.REFUSE))
    assert next_actions(plan, failing) == (Undo(plan.steps[0]),)


def test_a_step_that_was_skipped_ahead_does_not_let_later_ones_overtake(world: Any) -> None:
    """What comes after it still waits for what came before it."""
    plan = planned(world, ASKS)
    ahead = play(plan, ("promote", Event.START), ("verify", Event.SKIP))
    assert doing(plan, ahead) == ["promote"]
    assert doing(plan, play(plan, ("promote", Event.SUCCEED), progress=ahead)) == ["steer"]


def test_on_the_way_back_nobody_skips_or_tries_again(world: Any) -> None:
    """It is said so, instead of leaving half of it standing."""
    plan = planned(world, ASKS)
    back = play(plan, *done("promote", "verify"), *failed("steer"), ("steer", Event.UNDO))
    for event in (Event.SKIP, Event.RETRY):
        with pytest.raises(IllegalTransition, match=f"on its way back, and {event} cannot happen"):
            advance(back, "steer", event)


def test_an_abort_comes_too_late_for_a_run_with_nothing_left(world: Any) -> None:
    """Steps of the other kind of move are left over; they do not keep a run that is done from being complete."""
    plan = planned(world, ASKS + "  - {id: tell, type: notify, text: down, when: unplanned}\n")
    over = play(plan, *done("promote", "verify", "steer", "converge", "drain"))
    assert advance(over, "", Event.ABORT, "late") == over
    assert closed(plan, over).status is RunStatus.COMPLETED


# ------------------------------------------------------------------ side by side


def test_branches_run_together_and_fail_together(world: Any) -> None:
    """Both begin at once; when one fails the other is finished first, and only then is anything put back."""
    plan = planned(world, BESIDE)
    assert doing(plan, begin(plan)) == ["promote", "hold"]
    one = play(plan, ("hold", Event.START), *failed("promote"))
    assert doing(plan, one) == ["hold"]
    assert next_actions(plan, play(plan, ("hold", Event.SUCCEED), progress=one)) == (Undo(plan.steps[0]),)


def test_a_branch_that_only_waits_does_not_hold_up_the_way_back(world: Any) -> None:
    """A promotion fails while people are asked beside it: nobody is asked any longer, and what was done goes back."""
    steps = """\
  - {id: first, type: promote}
  - id: beside
    type: parallel
    branches:
      - [{id: ok, type: approve}]
      - [{id: call, type: call, hook: {url: "https://h.example.com"}}]
      - [{id: rules, type: check}]
  - {id: steer, type: steer}
"""
    plan = planned(world, steps)
    going = play(plan, *done("first"), ("ok", Event.START), ("call", Event.START), *failed("rules", Event.REFUSE))
    assert released(plan, play(plan, *done("first"), ("ok", Event.START))).state("ok") is StepState.RUNNING
    freed = released(plan, going)
    assert (freed.state("ok"), freed.state("call")) == (StepState.FAILED, StepState.RUNNING)
    assert doing(plan, freed) == ["call"]
    back = play(plan, ("call", Event.SUCCEED), progress=freed)
    assert next_actions(plan, back) == (Undo(plan.steps[0]),)
    end = closed(plan, play(plan, ("first", Event.UNDO), ("first", Event.SUCCEED_UNDO), progress=back))
    assert end.text.startswith("rules: so it was; everything done was put back.")


def test_one_that_halts_wins_over_one_that_goes_back(world: Any) -> None:
    """Two branches fail: halt means that nothing is put back, whatever the other says, and names its own reason."""
    plan = planned(world, BESIDE)
    both = play(plan, *failed("hold"), *done("promote"))
    both = advance(advance(both, "verify", Event.START), "verify", Event.FAIL, "no good answer")
    end = closed(plan, both)
    assert end.status is RunStatus.HALTED
    assert end.text.startswith("hold: so it was. Nothing was put back.")


def test_what_ran_side_by_side_goes_back_side_by_side(world: Any) -> None:
    """Branches do not wait for one another on the way back, and what came before them waits for both."""
    steps = """\
  - {id: first, type: call, hook: {url: "https://h.example.com"}, back: {url: "https://h.example.com/b"}}
  - id: beside
    type: parallel
    branches:
      - [{id: promote, type: promote}]
      - [{id: call, type: call, hook: {url: "https://h.example.com"}, back: {url: "https://h.example.com/b"}}]
  - {id: steer, type: steer}
"""
    plan = planned(world, steps)
    back = play(plan, *done("first", "promote", "call"), *failed("steer", Event.REFUSE))
    assert next_actions(plan, back) == (Undo(plan.steps[2]), Undo(plan.steps[1]))
    one = play(plan, ("promote", Event.UNDO), ("call", Event.UNDO), ("call", Event.SUCCEED_UNDO), progress=back)
    assert next_actions(plan, one) == (Undo(plan.steps[1]),)
    assert next_actions(plan, play(plan, ("promote", Event.SUCCEED_UNDO), progress=one)) == (Undo(plan.steps[0]),)


# ------------------------------------------------------------------ planned, unplanned


def test_a_run_that_becomes_unplanned_waits_for_the_dead_no_longer(world: Any) -> None:
    """The drain under way is let go, and displays show the steps of the move as it is now."""
    plan = planned(world, ASKS)
    draining = play(plan, *done("promote", "verify", "steer", "converge"), ("drain", Event.START))
    over = switched(plan, draining, planned=False)
    end = closed(plan, over)
    assert (end.status, end.text.endswith("Noted: drain: no part of the move any more.")) == (RunStatus.COMPLETED, True)
    assert [line.id for line in brief(plan, planned=False)] == ["promote", "verify", "steer", "converge"]


def test_a_run_that_becomes_unplanned_does_not_go_back(world: Any) -> None:
    """Its source is down now: what failed behind the steer halts, although it was planned to roll back."""
    plan = planned(world, ASKS.replace("converge, on_failure: ask", "converge, on_failure: rollback"))
    moved = play(plan, *done("promote", "verify", "steer"), ("converge", Event.START))
    end = closed(plan, play(plan, ("converge", Event.FAIL), progress=switched(plan, moved, planned=False)))
    assert end.status is RunStatus.HALTED
    assert "no safe way back behind step steer" in end.text
    assert isinstance(next_actions(plan, play(plan, ("converge", Event.FAIL), progress=moved))[0], Undo)


def test_a_step_whose_turn_is_over_is_not_made_up_for(world: Any) -> None:
    """A run that becomes planned late does not go back to what it left out before steps that have begun."""
    steps = ASKS.replace("  - {id: steer", "  - {id: ok, type: approve, when: planned}\n  - {id: steer")
    plan = planned(world, steps, MoveKind.FAILOVER)
    assert "ok" not in [step.id for step in plan.taken(planned=False)]
    early, late = play(plan, *done("promote", "verify")), play(plan, *done("promote", "verify", "steer"))
    assert doing(plan, early) == ["steer"]
    assert doing(plan, switched(plan, early, planned=True)) == ["ok"]
    assert doing(plan, switched(plan, late, planned=True)) == ["converge"]


def test_a_question_about_a_step_that_is_no_part_any_more_is_dropped(world: Any) -> None:
    """Nobody is asked about a drain when the move has become unplanned."""
    plan = planned(world, ASKS.replace("type: drain", "type: drain, on_failure: ask"))
    asked = play(plan, *done("promote", "verify", "steer", "converge"), *failed("drain"))
    assert isinstance(next_actions(plan, asked)[0], Hold)
    assert closed(plan, switched(plan, asked, planned=False)).status is RunStatus.COMPLETED


# ------------------------------------------------------------------ preparations


def test_a_preparation_needs_no_steering(world: Any) -> None:
    """A service that is only watched can have its standby made ready; nothing in the plan is about traffic."""
    world.service, world.routing = replace(world.service, steering=None), None
    us = world.move(MoveKind.PREPARATION).target
    move = Move(world.service.id, MoveKind.PREPARATION, (), us, ())
    plan: Plan = world.plan(move, book_=book("  - {id: promote, type: promote}\n  - {id: verify, type: verify}\n"))
    assert [(step.id, step.when, step.generation) for step in plan.steps] == [
        ("promote", When.ALWAYS, 0),
        ("verify", When.ALWAYS, 0),
    ]
    end = closed(plan, play(plan, *done("promote", "verify")))
    assert end.text == "preparation of chat is complete. us is scaled to 3."
    back = play(plan, *done("promote"), *failed("verify"), ("promote", Event.UNDO), ("promote", Event.SUCCEED_UNDO))
    assert closed(plan, back).text == "verify: so it was; everything done was put back."


def test_a_preparation_moves_no_traffic(world: Any) -> None:
    """A runbook that steers is refused as one, and steps that follow a steer make no sense without it."""
    move = Move(world.service.id, MoveKind.PREPARATION, (), world.move(MoveKind.SWITCHOVER).target, ())
    for steps, said in (
        ("  - {id: steer, type: steer}\n", "moves traffic, so it is no preparation"),
        ("  - {id: verify, type: verify}\n  - {id: converge, type: converge}\n", "'converge'"),
    ):
        with pytest.raises(Unplannable, match=said):
            world.plan(move, book_=book(steps))
