"""Synthetic drills: a shadow of the service, told faults that end by themselves, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from orchestrator.core.names import shadow
from orchestrator.core.record import Mark, RunStatus
from orchestrator.core.rehearsal import shadow_of
from real.actors import CHAT, Canary, Rehearsal
from real.scenery import EU, World, service
from real.stage import desk, stage, time_skipping, until
from runbooks.books import packed
from workflows.activities.rehearsing import Rehearsing
from workflows.wire import (
    CONTROL_QUEUE,
    DrillReport,
    DrillRequest,
    ServiceState,
    drill_id,
    service_id,
)
from workflows.wire.drill import Told

PHASES = ["canary", "steady", "fault", "failover", "clear", "governor", "failback", "steady-again", "retire"]
MINE = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: mine}
steps:
  - {id: promote, type: promote}
  - {id: database, type: call, hook: {url: "http://127.0.0.1:1/promote"}}
  - {id: verify, type: verify}
  - {id: steer, type: steer}
  - {id: fence, type: fence}
"""


@dataclass
class Ground:
    """Where drills are held."""

    env: WorkflowEnvironment
    world: World
    rehearsal: Rehearsal
    canary: Canary

    async def start(self, name: str = "d-1", **changes: Any) -> WorkflowHandle[object, DrillReport]:
        request = DrillRequest(name, CHAT, "region-blackhole", by="ann", **{"level": "synthetic"} | changes)
        return await self.env.client.start_workflow(
            "drill", request, id=drill_id(CHAT, name), task_queue=CONTROL_QUEUE, result_type=DrillReport
        )

    async def told(self, handle: WorkflowHandle[object, DrillReport]) -> Told:
        told: Told = await handle.query("told", result_type=Told)
        return told

    async def phase(self, handle: WorkflowHandle[object, DrillReport], name: str) -> None:
        async def last() -> str:
            report: DrillReport = await handle.query("report", result_type=DrillReport)
            return report.phases[-1].name if report.phases else ""

        await until(last, lambda found: found == name)


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    async with time_skipping() as env:
        world, rehearsal, canary = World(env.get_current_time), Rehearsal(), Canary()
        acts = (*world.activities(), *rehearsal.activities(), *canary.activities())
        acts = (*acts, Rehearsing(env.client).whose_turn)
        async with desk(env.client, world, *acts):
            yield Ground(env, world, rehearsal, canary)


async def test_a_synthetic_drill_that_passes_leaves_nothing_behind(ground: Ground) -> None:
    """Canary, shadow, a told fault, failover, home again: passed, and its shadow and its watches are gone."""
    handle = await ground.start()
    report = await handle.result()
    assert [(phase.name, phase.ok) for phase in report.phases] == [(name, True) for name in PHASES]
    assert (report.verdict, report.target, report.level) == ("passed", EU, "synthetic")
    assert not ground.rehearsal.injected, "no fault was put into the world"
    assert len(ground.canary.put) == len(ground.canary.settled) == 1
    assert (await ground.told(handle)).pretence is None
    described = await ground.env.client.get_workflow_handle(service_id(shadow(CHAT))).describe()
    assert described.status is not None
    assert described.status.name == "COMPLETED"


async def test_what_the_governor_would_refuse_fails_a_drill_that_went_well(ground: Ground) -> None:
    """The shadow takes nothing of shared pools; where the real move would find none left, the drill says so."""
    ground.canary.full = "the governor would refuse: pool 'h100' carries 300 requests in flight, 280 are promised"
    report = await (await ground.start()).result()
    assert report.verdict == "failed"
    assert report.text == f"{ground.canary.full}; apart from that it recovered in 9.0 s, objective 30 s, and went home"
    assert [phase.name for phase in report.phases if not phase.ok] == ["governor"]


async def test_a_told_fault_that_expired_proves_nothing(ground: Ground) -> None:
    """Everybody is told one deadline, which nothing moves; when it passes before the drill is done: inconclusive."""
    ground.rehearsal.waiting = asyncio.Event()
    handle = await ground.start(max_s=0.5)
    await ground.phase(handle, "failover")
    first = (await ground.told(handle)).pretence
    assert first is not None
    assert first.until - first.since == timedelta(seconds=0.5)
    assert first.url == service().endpoint(EU).url
    # Time is not skipped while an activity is at work.
    await until(ground.env.get_current_time, lambda now: now > first.until)
    assert (await ground.told(handle)).pretence == first
    ground.rehearsal.waiting.set()
    report = await handle.result()
    assert report.verdict == "inconclusive"
    assert "by itself" in report.text
    assert [phase.name for phase in report.phases][-2:] == ["clear", "retire"]
    assert len(ground.canary.settled) == 1


async def test_a_second_drill_is_told_of_the_first_and_a_cancelled_one_takes_everything_out(ground: Ground) -> None:
    """One drill moves the canary; another touches nothing. Cancelled with the fault in, the first puts all back."""
    ground.rehearsal.waiting = asyncio.Event()
    first = await ground.start()
    await ground.phase(first, "failover")
    report = await (await ground.start("d-2")).result()
    assert report.verdict == "skipped"
    assert "drill d-1 (level synthetic, region-blackhole), begun by ann" in report.text
    assert [task.drill for task in ground.canary.put] == ["d-1"]
    assert not ground.canary.settled
    await first.cancel()
    report = await first.result()
    assert (report.verdict, report.text) == ("inconclusive", "the drill was cancelled")
    assert (await ground.told(first)).pretence is None
    assert [task.drill for task in ground.canary.settled] == ["d-1"]


async def test_a_canary_that_is_refused_or_cannot_come_home_is_told(ground: Ground) -> None:
    """The key may not write the name: not begun, with the server's sentence. It is lost at the end: failed."""
    ground.canary.refuses = "name server 192.0.2.53 does not let TSIG key 'k.' change _drill.chat.example."
    report = await (await ground.start()).result()
    assert report.verdict == "inconclusive"
    assert report.text == f"not begun: {ground.canary.refuses}"
    assert [(phase.name, phase.ok) for phase in report.phases] == [("canary", False), ("retire", True)]
    assert report.phases[0].text == ground.canary.refuses
    assert not ground.canary.settled
    ground.canary.refuses, ground.canary.lost = "", "_drill.chat.example. may not be at eu: no answer"
    report = await (await ground.start("d-2")).result()
    assert report.verdict == "failed"
    assert report.text.startswith("recovered in 9.0 s")
    assert report.text.endswith("_drill.chat.example. may not be at eu: no answer")


async def test_a_run_of_a_shadow_touches_no_capacity_and_calls_nobody() -> None:
    """The plan is the real one; promotion, calls, draining and fencing in it are pretended, whatever runbook it is."""
    async with stage(played=shadow_of(service(runbook_unplanned="mine"))) as play:
        books = (("mine.yaml", packed(MINE, "mine.yaml")),)
        piece = replace(play.slice(), books=books, drill="d-1")
        await play.client.start_workflow(
            "service", ServiceState(piece), id=service_id(play.service.id), task_queue=CONTROL_QUEUE
        )
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        status = await play.closed()
        (record,) = status.last_runs
        assert (record.status, record.drill) == (RunStatus.COMPLETED, "d-1")
        pretended = {step.id for step in record.steps if step.text.startswith("pretended: ")}
        assert pretended == {"promote", "database", "fence"}
        done = {entry.step: entry.text for entry in record.entries if entry.mark is Mark.STEP_DONE}
        assert done["promote"] == "pretended: scale us to 2 replicas before it gets traffic, and wait until ready"
        assert play.world.steps == ["verify", "steer"]
        assert not play.world.scaled
        assert not play.world.called
        assert not play.world.asked, "the governor is not asked"
        assert play.world.routing.generation == 8
