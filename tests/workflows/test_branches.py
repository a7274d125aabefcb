"""Steps side by side, stages, and runs that are switched on their way, as the driver carries them out."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from orchestrator.core.move import MoveKind
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.topology import Shares
from real.scenery import AT_HOME, AWAY, refusal
from real.stage import until
from runbooks.books import book
from workflows.wire import Acted, ActKind, RunAct, RunState

NUMBERS = itertools.count(1)
BESIDE = """\
  - id: beside
    type: parallel
    branches:
      - [{id: promote, type: promote}, {id: verify, type: verify}]
      - [{id: call, type: call, hook: {url: "https://hooks.example.com/x"}, back: {url: "https://hooks.example.com/y"}}]
      - [{id: yes, type: approve, role: sre, timeout: 10m}]
  - {id: steer, type: steer}
"""


async def act(handle: WorkflowHandle[object, Record], kind: ActKind, **more: Any) -> None:
    said = RunAct(f"branch-{next(NUMBERS)}", kind, "alice", "because of a reason", **more)
    await handle.execute_update("act", said, result_type=Acted)


async def states(handle: WorkflowHandle[object, Record]) -> dict[str, str]:
    found: RunState = await handle.query("state", result_type=RunState)
    return dict(found.states)


async def test_branches_are_under_way_at_the_same_time(runs: Any) -> None:
    """Scaling, a hook and a question to people go on side by side; the traffic moves when all three are over."""
    gates = runs.world.gates = {"promote": asyncio.Event(), "call": asyncio.Event()}
    handle = await runs.by(BESIDE)
    together = {"promote": "running", "call": "running", "yes": "running", "verify": "pending", "steer": "pending"}
    await until(lambda: states(handle), lambda found: found == together)
    await act(handle, ActKind.APPROVE)
    gates["call"].set()
    await until(lambda: states(handle), lambda found: (found["call"], found["yes"]) == ("done", "done"))
    assert not runs.world.wrote
    gates["promote"].set()
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert runs.world.routing.fence.weights == AWAY


async def test_a_branch_that_fails_does_not_wait_for_people_beside_it(runs: Any) -> None:
    """The target does not verify while sre is asked for ten minutes: the question is dropped, and all goes back now."""
    runs.world.failing["verify"] = refusal("Refused", "no good answer")
    handle = await runs.by(BESIDE)
    record = await handle.result()
    assert record.status is RunStatus.UNDONE
    assert record.entries[-1].text.startswith("verify: no good answer; everything done was put back.")
    assert record.closed is not None
    assert (record.closed - record.started).total_seconds() < 60
    assert runs.world.replicas == {"eu": 2, "us": 1}
    assert [url for _, url in runs.world.called] == ["https://hooks.example.com/x", "https://hooks.example.com/y"]
    assert not runs.world.wrote


def weighing(runs: Any) -> None:
    """The stage's service behind a steering that weighs."""
    steering = replace(runs.stage.service.steering, provider="local", shares=Shares.WEIGHTED)
    runs.stage.service = replace(runs.stage.service, steering=steering)


async def test_a_move_by_stages_writes_stage_by_stage(runs: Any) -> None:
    """Four writes under one run, each upon the one before, and the last is the whole move."""
    weighing(runs)
    plan = runs.plan(MoveKind.SWITCHOVER, book("canary-shift", {"hold": "1s"}))
    record = await (await runs.begin(plan)).result()
    assert record.status is RunStatus.COMPLETED
    assert [token.rpartition("/")[2] for token in runs.world.wrote] == [f"shift.{n}" for n in (5, 25, 50, 100)]
    assert runs.world.routing.generation == 7 + 4
    assert next(entry.step for entry in record.entries if entry.mark is Mark.STEERED) == "shift.5"


async def test_a_stage_that_does_badly_brings_everything_back_in_one_write(runs: Any) -> None:
    """The target fails its analysis at 25 %: one write returns to where traffic was, and the capacity goes back."""
    weighing(runs)
    runs.world.failing["shift.25.hold"] = refusal("Refused", "3 of 20 answers failed")
    plan = runs.plan(MoveKind.SWITCHOVER, book("canary-shift", {"hold": "1s"}))
    record = await (await runs.begin(plan)).result()
    assert record.status is RunStatus.UNDONE
    assert [token.rpartition("/")[2] for token in runs.world.wrote] == ["shift.5", "shift.25", "shift.25-undo"]
    assert runs.world.routing.fence.weights == AT_HOME
    assert runs.world.replicas == {"eu": 2, "us": 1}


async def test_a_source_that_dies_half_way_is_left_at_once(runs: Any) -> None:
    """Switched to unplanned at 25 %, the run makes the rest of the move in one write upon its own last generation."""
    weighing(runs)
    runs.world.gates["shift.25.hold"] = asyncio.Event()
    plan = runs.plan(MoveKind.SWITCHOVER, book("canary-shift", {"hold": "1s"}))
    handle = await runs.begin(plan)
    await until(lambda: states(handle), lambda found: found["shift.25.hold"] == "running")
    await act(handle, ActKind.SWITCH, planned=False)
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert [token.rpartition("/")[2] for token in runs.world.wrote] == ["shift.5", "shift.25", "shift-at-once"]
    assert (runs.world.routing.generation, runs.world.routing.fence.weights) == (7 + 3, AWAY)
    assert "drain" not in runs.world.steps


async def test_who_switches_to_unplanned_is_believed_over_the_verdict(runs: Any) -> None:
    """The probes still call the source healthy: half way is no place to stay, and the target has been proved."""
    weighing(runs)
    runs.world.recheck_says = "eu is healthy again"
    runs.world.gates["shift.25.hold"] = asyncio.Event()
    plan = runs.plan(MoveKind.SWITCHOVER, book("canary-shift", {"hold": "2s"}))
    handle = await runs.begin(plan)
    await until(lambda: states(handle), lambda found: found["shift.25.hold"] == "running")
    await act(handle, ActKind.SWITCH, planned=False)
    record = await handle.result()
    assert (record.status, runs.world.routing.fence.weights) == (RunStatus.COMPLETED, AWAY)
    assert {"shift.5", "shift.25", "shift.25.hold", "shift-at-once"} <= {step.id for step in record.steps}


async def test_a_run_is_not_switched_to_where_nothing_moves(runs: Any) -> None:
    """A runbook that steers in planned moves only is no unplanned one: the switch is refused with what helps."""
    runs.world.gates["verify"] = asyncio.Event()
    only = "  - {id: verify, type: verify}\n  - {id: steer, type: steer, when: planned}\n"
    handle = await runs.by(only)
    await until(lambda: states(handle), lambda found: found["verify"] == "running")
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await act(handle, ActKind.SWITCH, planned=False)
    assert isinstance(caught.value.cause, ApplicationError)
    said = "runbook 'mine' moves no traffic once it is switched; abort the run and start another"
    assert caught.value.cause.message == said
    runs.world.gates["verify"].set()
    assert (await handle.result()).status is RunStatus.COMPLETED
