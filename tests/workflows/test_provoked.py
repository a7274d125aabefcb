"""A drill's fault at a running service: what it brings about is the drill's, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Workload
from providers import registry
from providers.base import FaultKind, FaultState
from real.scenery import EU, refusal, service
from real.stage import Stage, stage
from workflows.activities.rehearsing import Rehearsing
from workflows.wire import FaultTask
from workflows.wire.drill import FaultNews


@dataclass
class Faults:
    """Where faults go in and come out."""

    there: set[str] = field(default_factory=set)

    async def inject(self, kind: FaultKind, target: str, *, key: str, deadline: datetime) -> FaultState:
        self.there.add(key)
        return FaultState(key, kind, target, True, False)

    async def state(self, *, key: str) -> FaultState | None:
        return FaultState(key, FaultKind.KILL, "eu", True, False) if key in self.there else None

    async def clear(self, *, key: str) -> None:
        self.there.discard(key)


@pytest.fixture
async def play(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A service that automation moves, and whose runs somebody has to look at."""
    faults = Faults()
    monkeypatch.setattr(registry, "faults", lambda _: faults)
    async with stage(played=service(acknowledge=True)) as made:
        yield made


async def task(play: Stage) -> FaultTask:
    until = await play.env.get_current_time() + timedelta(minutes=10)
    news = FaultNews(play.service.id, "d-1", EU, until)
    return FaultTask("drill:d-1", FaultKind.KILL, Workload("fake", "eu"), until, news)


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.HALTED])
async def test_what_the_fault_brings_about_is_the_drills_and_no_flapping(play: Stage, status: RunStatus) -> None:
    """The record names the drill; however the run ends, and though the drill goes no further, it counts for nothing."""
    if status is RunStatus.HALTED:
        play.world.failing["converge"] = refusal("Refused", "ns2 gives another answer")
    await play.open()
    await play.all_say(eu="healthy", us="healthy")
    drill = Rehearsing(play.client)
    await ActivityEnvironment().run(drill.inject, await task(play))
    await play.all_say(eu="down", us="healthy")
    seen = await play.closed()
    assert (seen.last_runs[0].status, seen.last_runs[0].drill) == (status, "d-1")
    assert seen.unacknowledged is None


async def test_trouble_after_the_fault_is_out_is_real(play: Stage) -> None:
    """The drill was ended before anything came of it; then eu falls for real: that run counts."""
    await play.open()
    await play.all_say(eu="healthy", us="healthy")
    drill, fault = Rehearsing(play.client), await task(play)
    await ActivityEnvironment().run(drill.inject, fault)
    await ActivityEnvironment().run(drill.clear, fault)
    await play.pass_(seconds=5)
    await play.all_say(eu="down", us="healthy")
    seen = await play.closed()
    assert (seen.last_runs[0].status, seen.last_runs[0].drill) == (RunStatus.COMPLETED, None)
    assert seen.unacknowledged is not None


async def test_a_service_that_is_gone_hinders_no_fault(play: Stage) -> None:
    """Nobody is there to be told: the fault goes in, and comes out, all the same."""
    drill, fault = Rehearsing(play.client), await task(play)
    seen = await ActivityEnvironment().run(drill.inject, fault)
    assert seen.active
    assert not (await ActivityEnvironment().run(drill.clear, fault)).active
