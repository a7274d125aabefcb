"""A region is evacuated by a person: planned while it works, unplanned while it is down."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.core.move import MoveKind
from orchestrator.core.names import Domain, RunId
from orchestrator.runtime.connection import NoSuch
from real.system import CHAT, PAIR, System, until
from workflows.wire.evacuation import EvacuationReport, EvacuationRequest, Fate

PARIS = Domain("alpha/paris")


async def over(system: System) -> EvacuationReport:
    return await until(
        lambda: system.plane.evacuations.report(PARIS),
        lambda report: report.ended is not None,
        "the evacuation is over",
    )


async def test_everything_leaves_a_region_that_works(tmp_path: Path) -> None:
    """Evacuate: the service moves by a planned run, clients go elsewhere, and a second evacuation has nothing to do."""
    async with System.start(tmp_path, vantages=PAIR) as system:
        await system.steady()
        with pytest.raises(NoSuch, match="never evacuated"):
            await system.plane.evacuations.report(PARIS)
        await system.plane.evacuations.begin(EvacuationRequest("e-1", PARIS, "alice", "the cooling failed"))
        report = await over(system)
        (chat,) = report.departures
        assert (chat.service, chat.fate) == (CHAT, Fate.MOVED)
        assert chat.run is not None
        record = await system.plane.record(RunId(chat.run), CHAT)
        assert record.kind is MoveKind.SWITCHOVER
        assert record.trigger.by == "alice"
        assert record.trigger.reason == "evacuation of alpha/paris: the cooling failed"
        assert system.answer("paris")[0] not in system.eye.told[-1]
        await until(system.status, lambda status: status.run is None, "the end of the run")
        await system.plane.evacuations.begin(EvacuationRequest("e-2", PARIS, "alice", "once more"))
        again = await until(
            lambda: system.plane.evacuations.report(PARIS),
            lambda report: report.id == "e-2" and report.ended is not None,
            "the second evacuation is over",
        )
        assert [each.fate for each in again.departures] == [Fate.NOTHING]
