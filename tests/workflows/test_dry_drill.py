"""Drills that only ask: what they find becomes phases and a verdict."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from temporalio.client import Client

from real.actors import CHAT, Canary, Readiness, Rehearsal
from real.scenery import US, World
from real.stage import desk, time_skipping
from workflows.activities.rehearsing import Rehearsing
from workflows.wire import CONTROL_QUEUE, DrillReport, DrillRequest, drill_id


@dataclass
class Ground:
    """Where they are held."""

    client: Client
    world: World
    canary: Canary
    readiness: Readiness

    async def drill(self) -> DrillReport:
        request = DrillRequest("d-1", CHAT, "region-blackhole", by="ann", level="dry")
        report: DrillReport = await self.client.execute_workflow(
            "drill", request, id=drill_id(CHAT, "d-1"), task_queue=CONTROL_QUEUE, result_type=DrillReport
        )
        return report


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    async with time_skipping() as env:
        world, canary, readiness = World(env.get_current_time), Canary(), Readiness()
        acts = (*world.activities(), *Rehearsal().activities(), *canary.activities(), *readiness.activities())
        async with desk(env.client, world, *acts, Rehearsing(env.client).whose_turn):
            yield Ground(env.client, world, canary, readiness)


async def test_what_a_dry_drill_cannot_ask_and_what_the_governor_refuses_is_no_pass(ground: Ground) -> None:
    """All that is needed is there: passed. A cold target passes in part only, and a refusal of the governor fails."""
    report = await ground.drill()
    assert (report.verdict, ground.world.steps) == ("passed", ["verify"])
    assert report.text.startswith("us is ready; it would take about ")
    ground.readiness.colds = (US,)
    report = await ground.drill()
    assert report.verdict == "partial"
    assert report.text.startswith("passed in part only: us is cold, and promotion and proof were not tried; ")
    assert ground.world.steps == ["verify"], "nobody asks what runs nothing"
    ground.canary.full = "the governor would refuse: pool 'h100' carries 300 requests in flight, 280 are promised"
    report = await ground.drill()
    assert (report.verdict, report.text) == ("failed", ground.canary.full)
    assert [phase.name for phase in report.phases] == ["decide", "governor", "capacity", "target", "steering"]
