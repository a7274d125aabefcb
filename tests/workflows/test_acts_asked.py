"""Acts as the control plane takes them: to a run that waits, to one that is closed, and to none."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.names import RunId
from orchestrator.core.record import RunStatus
from orchestrator.runtime.control import ControlPlane, NoSuch, RefusedByRule
from real.scenery import World, service
from real.stage import RealTime, Stage, real_time, staff, until
from workflows.wire import ActKind, RunAct

STEPS = "  - {id: yes, type: approve, role: sre, timeout: 10m}\n  - {id: steer, type: steer}\n"


def yes(by: str = "alice", act: str = "act-1") -> RunAct:
    return RunAct(act, ActKind.APPROVE, by, "it is time")


async def acting(runs: Any) -> None:
    """A person's acts on one run, from its first question to after its end."""
    plane = ControlPlane(runs.stage.client)
    handle = await runs.by(STEPS)
    run = RunId(handle.id.rpartition("/")[2])
    state = await until(lambda: plane.run_state(run), lambda found: bool(found.waiting))
    assert (state.waiting[0].step, state.waiting[0].needed) == ("yes", 1)
    with pytest.raises(RefusedByRule, match="'mallory' is in none of the roles that are asked"):
        await plane.act(run, yes("mallory"))
    answer = await plane.act(run, yes())
    assert answer.text == "yes approved by alice: it is time"
    assert (await handle.result()).status is RunStatus.COMPLETED
    with pytest.raises(RefusedByRule, match=f"run {run} is completed, and nothing can be done to it any more"):
        await plane.act(run, RunAct("act-2", ActKind.ABORT, "alice", "too late"))
    assert dict((await plane.run_state(run)).states)["steer"] == "done"
    with pytest.raises(NoSuch, match="there is no run 'chat-20240101-000000-ffff'"):
        await plane.act(RunId("chat-20240101-000000-ffff"), yes())
    with pytest.raises(NoSuch, match="there is no run 'nonsense'"):
        await plane.run_state(RunId("nonsense"))


async def test_acts_reach_the_run_and_its_refusals_come_back(runs: Any) -> None:
    """A refusal is the run's own sentence; a closed run says how it ended; a run that nobody knows is none."""
    await acting(runs)


async def test_the_same_on_a_server_of_its_own(runs: Any) -> None:
    """What the test server answers is what Temporal's own server answers."""
    async with real_time() as client:
        clock = RealTime(client)
        world = World(clock.get_current_time)
        async with staff(client, world):
            runs.stage = Stage(clock, world, service())
            await acting(runs)


async def test_an_act_that_is_sent_twice_is_done_once(runs: Any) -> None:
    """A retry under the same id gets the first answer, also from another connection, and the record has one act."""
    handle = await runs.by(
        "  - {id: yes, type: approve, role: sre, people: 2, timeout: 10m}\n  - {id: steer, type: steer}\n"
    )
    run = RunId(handle.id.rpartition("/")[2])
    one, other = ControlPlane(runs.stage.client), ControlPlane(runs.stage.client)
    await until(lambda: one.run_state(run), lambda found: bool(found.waiting))
    assert await one.act(run, yes()) == await other.act(run, yes())
    assert (await one.run_state(run)).waiting[0].approved == ("alice",)
    await one.act(run, yes("bob", "act-2"))
    record = await handle.result()
    assert [entry.text for entry in record.entries if entry.mark == "act"] == [
        "yes approved by alice: it is time",
        "yes approved by bob: it is time",
    ]
