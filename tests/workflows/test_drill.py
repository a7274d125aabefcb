"""The drill workflow: a fault in, a failover that must happen by itself, the fault out, and the way home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from orchestrator.core.record import RunStatus
from real.actors import CHAT, Rehearsal
from real.scenery import EU, US, World, refusal
from real.stage import desk, time_skipping, until
from workflows import options
from workflows.wire import (
    CONTROL_QUEUE,
    DrillReport,
    DrillRequest,
    drill_id,
)

PHASES = ["steady", "fault", "failover", "clear", "failback", "steady-again"]


@dataclass
class Ground:
    """Where drills are held."""

    env: WorkflowEnvironment
    world: World
    rehearsal: Rehearsal

    async def start(self, **changes: Any) -> WorkflowHandle[object, DrillReport]:
        request = DrillRequest(**{"id": "d-1", "service": CHAT, "fault": "region-blackhole", "by": "ann"} | changes)
        return await self.env.client.start_workflow(
            "drill", request, id=drill_id(CHAT, "d-1"), task_queue=CONTROL_QUEUE, result_type=DrillReport
        )

    async def drill(self, **changes: Any) -> DrillReport:
        return await (await self.start(**changes)).result()


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    async with time_skipping() as env:
        world, rehearsal = World(env.get_current_time), Rehearsal()
        async with desk(env.client, world, *world.activities(), *rehearsal.activities()):
            yield Ground(env, world, rehearsal)


def phases(report: DrillReport) -> list[tuple[str, bool | None]]:
    return [(phase.name, phase.ok) for phase in report.phases]


async def test_a_drill_that_passes(ground: Ground) -> None:
    """Steady, fault, failover by itself, fault out, home again, steady: passed, with the time it took."""
    report = await ground.drill()
    assert phases(report) == [(name, True) for name in PHASES]
    assert report.verdict == "passed"
    assert report.text == "recovered in 9.0 s, objective 30 s, and went home"
    assert (report.ttd_s, report.ttr_s, report.objective_s) == (1.0, 9.0, 30.0)
    assert (report.failover, report.failback) == ("chat-20240101-000000-0001", "chat-20240101-000000-0002")
    assert report.target == EU
    assert ground.rehearsal.cleared == ["drill:d-1"]
    assert all(phase.ended is not None for phase in report.phases)
    await until(lambda: asyncio.sleep(0, ground.world.published), bool)
    assert ground.world.published[0].drill == report


async def test_recovering_above_the_objective_fails_the_drill(ground: Ground) -> None:
    """It recovered and went home, but later than the objective allows."""
    ground.rehearsal.took_s = 31.5
    report = await ground.drill()
    assert report.verdict == "failed"
    assert report.text == "recovered in 31.5 s, above the objective of 30 s"
    assert report.phases[-1].name == "steady-again"


async def test_no_failover_fails_the_drill_and_the_fault_comes_out(ground: Ground) -> None:
    """Nothing happens by itself: failed, with what kept it, and the fault is taken out."""
    ground.rehearsal.reacts = False
    report = await ground.drill()
    assert report.verdict == "failed"
    assert "mode observe" in report.text
    assert ground.rehearsal.fault is None
    assert [name for name, _ in phases(report)] == ["steady", "fault", "failover", "clear"]


async def test_a_run_that_halts_fails_the_drill(ground: Ground) -> None:
    """A failover that began and did not complete is no pass, and the fault comes out."""
    ground.rehearsal.ended = RunStatus.HALTED
    report = await ground.drill()
    assert report.verdict == "failed"
    assert "ended as halted" in report.text
    assert ground.rehearsal.cleared == ["drill:d-1"]


async def test_a_fault_that_expired_proves_nothing(ground: Ground) -> None:
    """The fault came out by itself at its deadline: inconclusive, whatever the service did."""
    ground.rehearsal.expired = True
    report = await ground.drill()
    assert report.verdict == "inconclusive"
    assert "by itself" in report.text
    assert phases(report)[-1] == ("clear", False)


async def test_nothing_is_put_in_while_a_freeze_window_lasts(ground: Ground) -> None:
    """A drill can wait: in a freeze it does not begin and says why, unless somebody set the freeze aside by name."""
    ground.rehearsal.frozen = "nothing is moved that need not be until 2027-01-02T00:00:00Z, because: the year ends"
    report = await ground.drill()
    assert report.verdict == "inconclusive"
    assert report.text == f"not begun: {ground.rehearsal.frozen}"
    assert not ground.rehearsal.injected
    assert (await ground.drill(overrides=("freeze",), reason="the new standby is in")).verdict == "passed"


async def test_a_service_that_is_not_well_is_left_alone(ground: Ground) -> None:
    """A service that is not steady is not drilled: nothing is put in."""
    ground.rehearsal.well = False
    report = await ground.drill()
    assert report.verdict == "inconclusive"
    assert "eu is down" in report.text
    assert not ground.rehearsal.injected
    assert phases(report) == [("steady", False)]


@pytest.mark.parametrize("case", ["no workload", "no traffic"])
async def test_where_no_fault_can_be_put_in_nothing_begins(ground: Ground, case: str) -> None:
    """An endpoint without a workload, or without traffic, is not drilled."""
    if case == "no workload":
        ground.rehearsal.workload = None
    report = await ground.drill(target=EU if case == "no workload" else US)
    assert report.verdict == "inconclusive"
    assert "not begun" in report.text
    assert not ground.rehearsal.injected


async def test_the_fault_comes_out_in_the_end(ground: Ground) -> None:
    """Taking the fault out fails several times: it is tried until it is out, and the drill goes on."""
    ground.rehearsal.broken[options.CLEAR] = [ApplicationError("not now", type="Transient")] * 5
    report = await ground.drill()
    assert report.verdict == "passed"
    assert ground.rehearsal.cleared == ["drill:d-1"]


async def test_a_fault_that_may_be_in_is_taken_out(ground: Ground) -> None:
    """Putting the fault in failed, and it may have landed all the same: it is taken out."""
    ground.rehearsal.broken[options.INJECT] = [refusal("Refused", "no such fault")]
    report = await ground.drill()
    assert report.verdict == "inconclusive"
    assert "no such fault" in report.text
    assert phases(report) == [("steady", True), ("fault", False), ("clear", True)]
    assert ground.rehearsal.fault is None
    assert ground.rehearsal.cleared == ["drill:d-1"]


async def test_a_retry_never_lengthens_a_fault(ground: Ground) -> None:
    """The fault's deadline is set once, before it is put in; each attempt names the same one."""
    ground.rehearsal.broken[options.INJECT] = [ApplicationError("not now", type="Transient")] * 3
    began = await ground.env.get_current_time()
    await ground.drill(max_s=60.0)
    deadlines = {task.deadline for task in ground.rehearsal.injected}
    assert len(ground.rehearsal.injected) == 4
    assert len(deadlines) == 1
    assert deadlines.pop() - began < timedelta(seconds=62)


async def test_a_cancelled_drill_takes_its_fault_out(ground: Ground) -> None:
    """Cancelled while the failover is waited for: the fault comes out, and the report says so."""
    ground.rehearsal.waiting = asyncio.Event()
    handle = await ground.start()
    await until(
        lambda: handle.query("report", result_type=DrillReport),
        lambda report: report.phases and report.phases[-1].name == "failover",
    )
    await handle.cancel()
    report = await asyncio.wait_for(handle.result(), 15)
    ground.rehearsal.waiting.set()
    assert report.verdict == "inconclusive"
    assert "cancelled" in report.text
    assert phases(report)[-2:] == [("failover", False), ("clear", True)]
    assert ground.rehearsal.cleared == ["drill:d-1"]


async def test_a_drill_cancelled_while_it_takes_its_fault_out(ground: Ground) -> None:
    """Cancelled in the middle of taking the fault out: the fault comes out all the same."""
    ground.rehearsal.clearing = asyncio.Event()
    handle = await ground.start()
    await until(
        lambda: handle.query("report", result_type=DrillReport),
        lambda report: report.phases and report.phases[-1].name == "clear",
    )
    await handle.cancel()
    await until(lambda: asyncio.sleep(0.05, ground.rehearsal.asked), lambda asked: asked)
    ground.rehearsal.clearing.set()
    report = await asyncio.wait_for(handle.result(), 15)
    assert ground.rehearsal.fault is None
    assert ("clear", True) in phases(report)


async def test_the_way_home_that_fails_is_a_failure(ground: Ground) -> None:
    """The way home is refused for good: the drill says that its own step failed, and the fault is out."""
    ground.rehearsal.broken[options.ASK_FAILBACK] = [refusal("Bug", "the service is gone")]
    report = await ground.drill()
    assert report.verdict in {"failed", "inconclusive"}
    assert "the service is gone" in report.text
    assert phases(report)[-1] == ("failback", False)
    assert ground.rehearsal.fault is None
