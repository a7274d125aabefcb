"""The activities of synthetic drills: the canary record at a real name server, and probers that hear what to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from orchestrator.core.health import Health
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.quorum import Report
from orchestrator.core.rehearsal import Pretence, shadow_of
from orchestrator.core.steering import decode
from orchestrator.core.topology import Notify, NotifyKind, ProbeKind, ProbeSpec, Service, Vantage
from real.bind import least
from real.stage import endpoint
from real.steering import NAME, BindWorld
from workflows.activities.shadowing import Shadowing
from workflows.activities.telling import Herald
from workflows.wire import Telling, Watch
from workflows.wire.drill import CanaryTask, DrySeen, Told
from workflows.wire.watching import Rehearsed

CANARY, FENCE = f"_drill.{NAME}", f"_failover._drill.{NAME}"
EU, US = EndpointId("eu"), EndpointId("us")


@dataclass
class Drill:
    """Temporal as these activities know it: a drill that says what to see, and a shadow that takes reports."""

    told: Told = field(default_factory=Told)
    away: bool = False
    reports: list[Report] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def get_workflow_handle(self, _: str) -> Drill:
        return self

    async def query(self, what: str, *_: object, **__: object) -> Told:
        if what != "told":
            raise RPCError("there is no such workflow", RPCStatusCode.NOT_FOUND, b"")
        if self.away:
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
        return self.told

    async def signal(self, _: str, report: Report) -> None:
        self.reports.append(report)
        self.news.set()

    async def until(self, health: Health) -> None:
        async with asyncio.timeout(10):
            while not (self.reports and self.reports[-1].states[0].health is health):
                self.news.clear()
                await self.news.wait()


def acting(drill: Drill) -> Shadowing:
    return Shadowing(drill, host="here")  # type: ignore[arg-type]  # a client's few verbs are enough


def task(world: BindWorld, drill: str = "d-1") -> CanaryTask:
    eu = replace(endpoint("eu", "alpha/paris", "127.0.1.10"), answer=world.home)
    us = replace(endpoint("us", "beta/ohio", "127.0.2.10"), answer=world.away)
    return CanaryTask(shadow_of(Service(ServiceId("chat"), NAME.rstrip("."), (eu, us), world.spec)), drill, EU)


async def did(act: Callable[[CanaryTask], Any], what: CanaryTask) -> DrySeen:
    seen: DrySeen = await ActivityEnvironment().run(act, what)
    return seen


@pytest.fixture
async def world() -> AsyncIterator[BindWorld]:
    bind = BindWorld()
    bind.server.policy = (*least(NAME), *least(CANARY))
    bind.server.clauses = "check-names ignore;"
    await bind.open()
    yield bind
    bind.close()


async def test_every_drill_proves_the_write_and_leaves_the_canary_at_home(world: BindWorld) -> None:
    """Put up by the first, written anew by each, once; brought home at the end where it is not; the real name stays."""
    server, shadowing = world.server, acting(Drill())
    real = await world.now()
    for _ in range(2):
        seen = await did(shadowing.canary, task(world))
        assert (seen.ok, seen.text) == (True, f"{CANARY} is at eu, generation 1")
    assert (await did(shadowing.canary, task(world, "d-2"))).text == f"{CANARY} is at eu, generation 2"
    assert (await did(shadowing.settle, task(world, "d-2"))).text == f"{CANARY} is at eu, generation 2"
    away = replace(task(world, "every tuesday"), home=US)
    assert (await did(shadowing.canary, away)).text == f"{CANARY} is at us, generation 3"
    assert (await did(shadowing.settle, task(world, "every tuesday"))).text == f"{CANARY} is at eu, generation 4"
    fence = decode((await server.ask(FENCE, "TXT"))[0])
    assert (fence.run, fence.step, fence.weights) == ("drill-every-tuesday", "home", ((EU, 100), (US, 0)))
    assert await server.ask(CANARY, "A") == ("127.0.1.10",)
    assert await world.now() == real
    assert await server.ask(f"_failover.{NAME}", "TXT") == ()


async def test_what_no_drill_wrote_is_left_alone(world: BindWorld) -> None:
    """Somebody has records at the canary's name: the drill says so, and writes nothing."""
    await world.server.edit(CANARY, "A", "192.0.2.7")
    seen = await did(acting(Drill()).canary, task(world))
    assert not seen.ok
    assert seen.text.startswith(f"{CANARY} answers 192.0.2.7, which no drill has written")
    assert await world.server.ask(FENCE, "TXT") == ()


async def test_a_key_without_the_grant_is_told_what_to_add() -> None:
    """The key may steer the real name and nothing more: the sentence holds the lines that are missing, and the trap."""
    bind = BindWorld()
    await bind.open()
    try:
        seen = await did(acting(Drill()).canary, task(bind))
    finally:
        bind.close()
    assert not seen.ok
    for line in least(CANARY):
        assert line.format(key="failover.") in seen.text
    assert "check-names ignore" in seen.text


async def test_a_prober_that_takes_over_in_the_middle_sees_the_fault_at_once_and_its_end() -> None:
    """Whoever begins with the fault in never says that all is well; at the deadline it ends, though nobody says so."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    probe = ProbeSpec("tcp", ProbeKind.TCP, interval_s=0.1, timeout_s=0.1, fall=2, rise=1)
    eu = replace(endpoint("eu", "alpha/paris", "127.0.0.1"), url=url, probes=(probe,))
    now = datetime.now(UTC)
    drill = Drill(Told(Pretence("d-1", url, "process-kill", now - timedelta(seconds=9), now + timedelta(seconds=3))))
    service = Service(ServiceId("chat.drill"), "chat.example", (eu,))
    watch = Watch(
        Vantage(VantageId("v1"), Domain("alpha/paris")), 1, 3, 1, rehearsed=Rehearsed("drill/chat/d-1", service, 1)
    )
    probing = asyncio.ensure_future(ActivityEnvironment().run(acting(drill).probe, watch))
    await drill.until(Health.DOWN)
    drill.away = True
    await drill.until(Health.HEALTHY)
    assert datetime.now(UTC) >= now + timedelta(seconds=3)
    healths = [report.states[0].health for report in drill.reports]
    assert Health.HEALTHY not in healths[: healths.index(Health.DOWN)]
    probing.cancel()
    await asyncio.wait([probing])
    server.close()


async def test_who_is_told_sees_at_once_that_it_is_a_drill(tmp_path: Path) -> None:
    """News of a shadow begins with the word; news of a real service is as it was written."""
    notes = tmp_path / "notes"
    people = (Notify(NotifyKind.EXEC, command=("/bin/sh", "-c", f"cat >> {notes}; echo >> {notes}")),)
    for service in ("chat.drill", "chat"):
        news = Telling(people, ServiceId(service), "run.started", "failover: eu to us", datetime.now(UTC))
        await ActivityEnvironment().run(Herald().tell, news)
    told = [json.loads(line)["text"] for line in notes.read_text().splitlines()]
    assert told == ["drill, no real traffic moves: failover: eu to us", "failover: eu to us"]
