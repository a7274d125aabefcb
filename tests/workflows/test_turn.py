"""Drills of one service are held one after another, whatever their level."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

from orchestrator.core.errors import BadInput
from orchestrator.runtime import schedules
from real.actors import CHAT, Rehearsal
from real.scenery import World
from real.stage import RealTime, desk, real_time, until
from workflows.activities.rehearsing import Rehearsing
from workflows.wire import CONTROL_QUEUE, DrillReport, DrillRequest, drill_id
from workflows.wire.drill import AbortDrill


@dataclass
class Ground:
    """Where drills are held, on a server on which time passes by itself."""

    client: Client
    world: World
    rehearsal: Rehearsal

    async def start(self, name: str, *, scheduled: bool = False, **changes: Any) -> WorkflowHandle[object, DrillReport]:
        request = DrillRequest("" if scheduled else name, CHAT, "region-blackhole", by="ann", **changes)
        return await self.client.start_workflow(
            "drill", request, id=drill_id(CHAT, name), task_queue=CONTROL_QUEUE, result_type=DrillReport
        )

    async def in_failover(self, handle: WorkflowHandle[object, DrillReport]) -> None:
        await until(
            lambda: handle.query("report", result_type=DrillReport),
            lambda report: report.phases and report.phases[-1].name == "failover",
        )


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    async with real_time() as client:
        world, rehearsal = World(RealTime(client).get_current_time), Rehearsal()
        async with desk(client, world, *rehearsal.activities(), Rehearsing(client).whose_turn):
            yield Ground(client, world, rehearsal)


async def test_no_second_drill_begins_while_one_is_under_way(ground: Ground) -> None:
    """Whatever its level, it is told which drill is under way and the cure; only what a schedule skips is published.

    Once the first is over the next begins. Ended by a person, a drill takes its fault out and names who ended it.
    """
    ground.rehearsal.waiting = asyncio.Event()
    first = await ground.start("d-1")
    await ground.in_failover(first)
    said = "not begun: service 'chat' is being drilled already: drill d-1 (level fault, region-blackhole), begun by ann"
    for number, level in enumerate(("fault", "synthetic", "dry")):
        report = await (await ground.start(f"d-more-{number}", level=level)).result()
        assert (report.verdict, report.phases) == ("skipped", ())
        assert report.text.startswith(said)
        assert report.text.endswith("or end it with: failover drill abort chat d-1")
    assert not ground.world.published
    report = await (await ground.start("tuesday-9", scheduled=True)).result()
    assert (report.id, report.verdict) == ("tuesday-9", "skipped")
    await until(lambda: asyncio.sleep(0, ground.world.published), bool)
    assert ground.world.published[0].drill == report
    assert [task.key for task in ground.rehearsal.injected] == ["drill:d-1"]

    await first.execute_update("abort", AbortDrill("bob", "a real incident"), result_type=DrillReport)
    report = await first.result()
    assert report.verdict == "inconclusive"
    assert report.text.startswith(
        "bob ended the drill: a real incident; a failover that comes late may move the traffic"
    )
    assert ground.rehearsal.cleared == ["drill:d-1"]
    await over(ground)


async def over(ground: Ground) -> None:
    """A drill that had its turn after one that was ended, and is over."""
    ground.rehearsal.waiting, ground.rehearsal.fault = None, None
    handle = await ground.start("d-next")
    assert (await handle.result()).phases[0].ok


async def test_of_two_who_ask_in_the_same_second_one_is_held(ground: Ground) -> None:
    """Both begin at once: one passes, and the other names it. A turn that was lost with its drill is free."""
    ground.rehearsal.waiting = asyncio.Event()
    handles = await asyncio.gather(*(ground.start(f"d-{each}") for each in range(4)))
    results = [asyncio.create_task(handle.result()) for handle in handles]
    await until(lambda: asyncio.sleep(0, [each.done() for each in results]), lambda done: sum(done) == 3)
    ground.rehearsal.waiting.set()
    reports = await asyncio.gather(*results)
    (held,) = (report for report in reports if report.verdict == "passed")
    others = [report for report in reports if report is not held]
    assert {report.verdict for report in others} == {"skipped"}
    assert all(f"drill {held.id} (level fault" in report.text for report in others)

    ground.rehearsal.waiting = asyncio.Event()
    lost = await ground.start("d-lost")
    await ground.in_failover(lost)
    await lost.terminate()
    await over(ground)


async def test_a_scheduled_drill_that_meets_another_is_skipped_and_says_so(ground: Ground) -> None:
    """Two schedules whose time comes together: one drill is held, the other is in the history as skipped."""
    ground.rehearsal.waiting = asyncio.Event()
    request = DrillRequest("", CHAT, "region-blackhole", by="ann")
    for name in ("monthly", "weekly"):
        await schedules.create(ground.client, name, "0 9 1 * *", request)
        await ground.client.get_schedule_handle(f"drill-schedule/{name}").trigger()
        if name == "monthly":
            await until(lambda: asyncio.sleep(0, ground.rehearsal.injected), bool)
    await until(lambda: asyncio.sleep(0, ground.world.published), bool)
    ground.rehearsal.waiting.set()
    skipped = ground.world.published[0].drill
    assert skipped is not None
    assert skipped.verdict == "skipped"
    assert "drill monthly-" in skipped.text
    monthly, weekly = await schedules.known(ground.client)
    assert monthly.last.startswith("monthly-")
    assert weekly.last == skipped.id


async def test_a_schedule_that_can_never_run_is_refused(ground: Ground) -> None:
    """A name that no id can be made of, a cron that is none, and a day that never comes: told, and nothing is kept."""
    request = DrillRequest("", CHAT, "region-blackhole", by="ann")
    for name, cron, said in (
        ("a/b c", "0 9 * * 2", "'a/b c' cannot name a schedule"),
        ("", "0 9 * * 2", "'' cannot name a schedule"),
        ("x", "99 9 * * 2", "'99 9 * * 2' is not a cron expression: Minute is not in range"),
        ("x", "0 9 30 2 *", "the time '0 9 30 2 *' never comes"),
    ):
        with pytest.raises(BadInput, match=re.escape(said)):
            await schedules.create(ground.client, name, cron, request)
    assert await schedules.known(ground.client) == ()
