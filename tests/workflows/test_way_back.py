"""The way back takes the time that asking the old endpoint takes."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.core.move import MoveKind
from orchestrator.core.record import RunStatus
from real.scenery import refusal
from real.stage import until
from runbooks.plan import Promote
from workflows.wire import StepTask


async def test_the_undo_of_a_steer_may_take_longer_than_a_write(runs: Any) -> None:
    """Before traffic goes back the old endpoint is asked for a completion; three seconds of that are no failure."""
    runs.world.failing["converge"] = refusal("Refused", "ns2 has the old answer")
    gate = runs.world.gates["steer-undo"] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER)
    await until(lambda: asyncio.sleep(0, runs.doing("steer-undo")), lambda times: times > 0)
    asyncio.get_running_loop().call_later(3.0, gate.set)
    record = await handle.result()
    assert record.status is RunStatus.UNDONE
    assert runs.doing("steer-undo") == 1


async def test_steps_know_what_names_their_endpoint(runs: Any) -> None:
    """Steps that change capacity carry their endpoint's own answer, so that a hand edit is seen."""
    await runs.record(MoveKind.SWITCHOVER)
    tasks: dict[str, StepTask] = {task.step: task for _, task in runs.world.tasks}
    answers = {endpoint.id: endpoint.answer for endpoint in runs.stage.service.endpoints}
    assert tasks["promote"].own == answers["us"]
    assert tasks["drain"].own == answers["eu"]
    assert isinstance(tasks["promote"].work, Promote)
    assert tasks["steer"].own is None
