"""A run that is switched in the middle of a write: the write is finished first, then the run is another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.move import MoveKind
from orchestrator.core.topology import Shares
from runbooks.books import book
from runbooks.course import Do, next_actions
from runbooks.plan import Plan
from runbooks.progress import Event, Progress, StepState, advance, begin, switched


@pytest.fixture
def shift(world: Any) -> Plan:
    """A canary shift: by stages while it is planned, at once from when it is not."""
    world.service = replace(world.service, steering=replace(world.steering, provider="local", shares=Shares.WEIGHTED))
    made: Plan = world.plan(world.move(MoveKind.SWITCHOVER), book_=book("canary-shift"))
    return made


def done(progress: Progress, *steps: str) -> Progress:
    for step in steps:
        progress = advance(advance(progress, step, Event.START), step, Event.SUCCEED)
    return progress


def under_way(plan: Plan, progress: Progress) -> list[str]:
    return [action.step.id for action in next_actions(plan, progress) if isinstance(action, Do)]


def test_a_write_under_way_is_finished_before_the_next(shift: Plan) -> None:
    """Nobody could say whether it has landed: the write of the other kind of move waits for its end."""
    progress = advance(done(begin(shift), "promote", "verify"), "shift.5", Event.START)
    progress = switched(shift, progress, planned=False)
    assert progress.state("shift.5") is StepState.RUNNING
    assert under_way(shift, progress) == ["shift.5"]
    progress = advance(progress, "shift.5", Event.SUCCEED)
    assert under_way(shift, progress) == ["shift-at-once"]


def test_a_move_at_once_is_not_taken_back_to_stages(shift: Plan) -> None:
    """Switched to planned while all traffic was being moved: it has moved, and the stages are over."""
    progress = switched(shift, begin(shift), planned=False)
    progress = advance(done(progress, "promote", "verify"), "shift-at-once", Event.START)
    progress = switched(shift, progress, planned=True)
    assert under_way(shift, progress) == ["shift-at-once"]
    progress = advance(progress, "shift-at-once", Event.SUCCEED)
    assert under_way(shift, progress) == ["converge"]
