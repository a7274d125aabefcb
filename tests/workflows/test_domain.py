"""The domain workflow: an evacuation in waves, bounded, and held up by nobody."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.worker import Worker

from orchestrator.runtime.sandbox import runner
from real.region import FULL, PARIS, Region
from real.stage import time_skipping, until
from workflows.domain import DomainWorkflow
from workflows.wire import CONTROL_QUEUE, domain_id
from workflows.wire.evacuation import (
    Departed,
    EvacuationReport,
    EvacuationRequest,
    EvacuationStop,
    Fate,
)

NUMBERS = itertools.count(1)


@dataclass
class Evacuations:
    client: Any
    region: Region

    async def begin(self, **more: Any) -> WorkflowHandle[Any, EvacuationReport]:
        request = EvacuationRequest(f"e-{next(NUMBERS)}", PARIS, "alice", "the cooling failed", **more)
        handle: WorkflowHandle[Any, EvacuationReport] = await self.client.start_workflow(
            "domain", request, id=domain_id(PARIS), task_queue=CONTROL_QUEUE, result_type=EvacuationReport
        )
        return handle


@pytest.fixture
async def evacuations() -> AsyncIterator[Evacuations]:
    region = Region()
    async with (
        time_skipping() as env,
        Worker(
            env.client,
            task_queue=CONTROL_QUEUE,
            workflows=[DomainWorkflow],
            activities=[region.list_inside, region.depart, region.await_arrival],
            workflow_runner=runner(),
        ),
    ):
        yield Evacuations(env.client, region)


def fates(report: EvacuationReport) -> dict[str, str]:
    return {str(each.service): str(each.fate) for each in report.departures}


async def seen(handle: Any) -> EvacuationReport:
    report: EvacuationReport = await handle.query("report", result_type=EvacuationReport)
    return report


async def test_the_important_leave_first(evacuations: Evacuations) -> None:
    """Tier 1 has moved before tier 2 is asked, and a dependency before what needs it; the record names every run."""
    region = evacuations.region
    region.add("batch", 3)
    region.add("chat", 1, "embed")
    region.add("embed", 3)
    region.add("search", 2)
    report = await (await evacuations.begin()).result()
    assert region.order == ["embed", "chat", "search", "batch"]
    assert set(fates(report).values()) == {"moved"}
    assert [each.run for each in report.departures] == ["embed-run", "chat-run", "search-run", "batch-run"]
    assert report.ended is not None
    assert (report.by, report.reason) == ("alice", "the cooling failed")


async def test_one_refusal_holds_up_nobody(evacuations: Evacuations) -> None:
    """A service that is refused and one that fails stand in the record with their reasons; all others move."""
    region = evacuations.region
    for name in ("a", "b", "c", "d"):
        region.add(name)
    region.answers["b"] = Departed(Fate.REFUSED, text="endpoint 'us' is down itself")
    region.answers["c"] = Departed(Fate.FAILED, text="no worker answered")
    region.answers["d"] = Departed(Fate.NOTHING, text="it sends no traffic to alpha/paris")
    report = await (await evacuations.begin()).result()
    assert fates(report) == {"a": "moved", "b": "refused", "c": "failed", "d": "nothing to move"}
    assert next(each.text for each in report.departures if each.service == "b") == "endpoint 'us' is down itself"


async def test_no_more_at_once_than_asked_for(evacuations: Evacuations) -> None:
    """Twelve services of one tier, three at once: never more than three move at one time."""
    for number in range(12):
        evacuations.region.add(f"s{number:02}")
    report = await (await evacuations.begin(at_once=3)).result()
    assert report.count(Fate.MOVED) == 12
    assert evacuations.region.most <= 3


async def test_a_slow_service_holds_up_the_next_wave_for_a_while_only(evacuations: Evacuations) -> None:
    """A run that waits for an approver for long does not keep the next tier in the region that is lost."""
    region = evacuations.region
    region.add("slow", 1)
    region.add("next", 2)
    gate = region.gates["slow"] = asyncio.Event()
    handle = await evacuations.begin(patience_s=0.5)
    found = await until(lambda: seen(handle), lambda report: fates(report).get("next") == "moved")
    assert fates(found) == {"slow": "moving", "next": "moved"}
    gate.set()
    assert (await handle.result()).count(Fate.MOVED) == 2


async def test_a_service_waits_its_turn_where_too_much_is_on_the_move(evacuations: Evacuations) -> None:
    """The governor lets two move at one time: the others wait and are shown so, none is refused, and all move."""
    region = evacuations.region
    region.room = 2
    for number in range(6):
        region.add(f"s{number}")
    gate = asyncio.Event()
    region.gates |= {f"s{number}": gate for number in range(6)}
    handle = await evacuations.begin()
    found = await until(lambda: seen(handle), lambda report: [each.text for each in report.departures].count(FULL) == 4)
    assert sorted(fates(found).values()) == ["moving"] * 2 + ["waiting"] * 4
    gate.set()
    assert (await handle.result()).count(Fate.MOVED) == 6
    assert region.most == 2


async def test_what_waits_its_turn_stays_when_the_evacuation_is_stopped(evacuations: Evacuations) -> None:
    """Stop reaches a service at once that waits for others to arrive."""
    region = evacuations.region
    region.room = 0
    region.add("chat")
    handle = await evacuations.begin()
    await until(lambda: seen(handle), lambda report: report.departures != () and report.departures[0].text == FULL)
    await handle.execute_update("stop", EvacuationStop("bob", "cooling is back"))
    assert fates(await handle.result()) == {"chat": "left"}


async def test_stopped_by_a_person_no_further_service_leaves(evacuations: Evacuations) -> None:
    """Stop: the run under way ends by itself, those whose turn had not come stay, and the record says who said so."""
    region = evacuations.region
    region.add("first", 1)
    region.add("second", 2)
    gate = region.gates["first"] = asyncio.Event()
    handle = await evacuations.begin()
    await until(lambda: seen(handle), lambda report: fates(report).get("first") == "moving")
    await handle.execute_update("stop", EvacuationStop("bob", "cooling is back"))
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("stop", EvacuationStop("bob", "again"))
    gate.set()
    report = await handle.result()
    assert fates(report) == {"first": "moved", "second": "left"}
    assert report.stopped == "stopped by bob: cooling is back"


async def test_an_empty_region_is_evacuated_at_once(evacuations: Evacuations) -> None:
    """A domain without services ends with an empty record, not with an error."""
    handle = await evacuations.begin()
    async with asyncio.timeout(timedelta(seconds=20).total_seconds()):
        assert (await handle.result()).departures == ()
