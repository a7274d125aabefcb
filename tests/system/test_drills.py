"""A drill on the running product: it takes the real path, and its fault always comes out."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from orchestrator.core.record import RunStatus
from real.system import CHAT, PAIR, System, until
from workflows.wire import DrillReport, DrillRequest, drill_id


def _request(*, max_s: float = 60.0) -> DrillRequest:
    return DrillRequest("d1", CHAT, "region-blackhole", by="test", max_s=max_s)


async def _phase(system: System) -> str:
    return (await _report(system)).phases[-1].name


async def _report(system: System) -> DrillReport:
    return await system.plane.drill_report(CHAT, "d1")


async def test_a_drill_passes_although_its_worker_dies(tmp_path: Path) -> None:
    """The worker that carries the drill is killed with the fault in: the drill passes, and the fault is out."""
    async with System.start(tmp_path) as system:
        await system.steady()
        await system.plane.drill(_request())
        await until(lambda: _phase(system), lambda name: name == "failover", "the fault")
        fault = await system.world.fault("drill:d1")
        assert fault is not None
        assert fault["active"]
        await system.kill(await system.executor(drill_id(CHAT, "d1")))
        report = await until(lambda: _report(system), lambda seen: seen.verdict != "running", "the verdict", 60.0)
        assert report.verdict == "passed", report
        assert report.ttd_s is not None
        assert report.ttr_s is not None
        assert report.ttd_s < report.ttr_s < report.objective_s == 30.0
        names = [phase.name for phase in report.phases]
        assert names == ["steady", "fault", "failover", "clear", "failback", "steady-again"]
        fault = await system.world.fault("drill:d1")
        assert fault is not None
        assert (fault["active"], fault["expired"]) == (False, False)
        assert system.eye.told == (system.answer("paris"), system.answer("ohio"), system.answer("paris"))
        assert system.eye.writes == 2
        records = {report.failover, report.failback}
        status = await until(system.status, lambda s: {r.run for r in s.last_runs} == records, "both records")
        assert {record.status for record in status.last_runs} == {RunStatus.COMPLETED}
        assert {record.drill for record in status.last_runs} == {"d1"}, "the failover that it provoked is its own, too"


async def test_the_fault_of_a_drill_comes_out_by_itself(tmp_path: Path) -> None:
    """Everything that runs the drill is killed: the fault is gone at its deadline, and the drill never says passed."""
    async with System.start(tmp_path, vantages=PAIR) as system:
        await system.steady()
        began = time.monotonic()
        await system.plane.drill(_request(max_s=4.0))
        await until(lambda: system.world.fault("drill:d1"), bool, "the fault")
        await asyncio.gather(*(system.kill(key) for key in system.running.workers))

        async def expired() -> bool:
            seen = await system.world.fault("drill:d1")
            return seen is not None and bool(seen["expired"]) and not seen["active"]

        await until(expired, bool, "the end of the fault", 15.0)
        assert time.monotonic() - began > 3.0
        for vantage in system.topology.vantages:
            await system.start_worker(vantage)
        report = await until(lambda: _report(system), lambda seen: seen.verdict != "running", "the verdict")
        assert report.verdict == "inconclusive", report
        assert report.ended is not None
