"""A step that failed may have landed, also once a person has had it tried again: nobody forgets that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.move import MoveKind
from orchestrator.core.record import RunStatus
from runbooks.books import book
from runbooks.course import Close, Undo, next_action
from runbooks.plan import Plan
from runbooks.progress import Event, Progress, StepState, advance, begin

Made = Callable[[MoveKind], Plan]


@pytest.fixture
def asking(world: Any) -> Made:
    """Plans whose steer asks a person when it fails."""

    def make(kind: MoveKind) -> Plan:
        usual = book({MoveKind.FAILOVER: "region-failover", MoveKind.SWITCHOVER: "switchover"}[kind])
        steps = tuple(replace(step, on_failure="ask") if step.id == "steer" else step for step in usual.steps)
        made: Plan = world.plan(world.move(kind), book_=replace(usual, steps=steps))
        return made

    return make


def retried(plan: Plan) -> Progress:
    """The steer has failed without a word, and a person wants it tried again; it has not begun yet."""
    progress = begin(plan)
    for step in ("promote", "verify"):
        progress = advance(advance(progress, step, Event.START), step, Event.SUCCEED)
    progress = advance(advance(progress, "steer", Event.START), "steer", Event.FAIL, "no word")
    return advance(progress, "steer", Event.RETRY)


def test_an_abort_before_the_next_try_puts_it_back(asking: Made) -> None:
    """The first try may have moved the traffic: it is taken back, not taken for never begun."""
    plan = asking(MoveKind.SWITCHOVER)
    progress = advance(retried(plan), "", Event.ABORT, "ann: enough")
    action = next_action(plan, progress)
    assert isinstance(action, Undo)
    assert action.step.id == "steer"


def test_an_abort_before_the_next_try_of_an_unplanned_move_halts(asking: Made) -> None:
    """There is no way back, and a person is told to read the routing."""
    plan = asking(MoveKind.FAILOVER)
    action = next_action(plan, advance(retried(plan), "", Event.ABORT, "ann: enough"))
    assert isinstance(action, Close)
    assert action.status is RunStatus.HALTED
    assert "Traffic goes to eu or to us: read the routing." in action.text


def test_a_refusal_of_the_next_try_says_nothing_of_the_first(asking: Made) -> None:
    """Surely without effect is only a step of which no earlier try may have landed."""
    plan = asking(MoveKind.SWITCHOVER)
    progress = advance(advance(retried(plan), "steer", Event.START), "steer", Event.REFUSE, "no")
    assert progress.state("steer") is StepState.FAILED


def test_a_step_that_is_skipped_instead_stands_as_it_is(asking: Made) -> None:
    """What is skipped before its next try may stand, and is put back if the run is."""
    plan = asking(MoveKind.SWITCHOVER)
    assert advance(retried(plan), "steer", Event.SKIP).state("steer") is StepState.FAILED
