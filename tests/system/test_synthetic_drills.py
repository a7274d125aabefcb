"""A synthetic drill takes the real path with a canary record, and nothing real moves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from temporalio.client import WorkflowExecutionStatus

from orchestrator.core.names import shadow
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import RunStatus
from real.system import CANARY, CHAT, FENCE, PAIR, System, until
from workflows.wire import DrillReport, DrillRequest

PHASES = ["canary", "steady", "fault", "failover", "clear", "failback", "steady-again", "retire"]


async def drilled(system: System) -> DrillReport:
    """A synthetic drill, to its end."""
    request = DrillRequest("d-1", CHAT, "region-blackhole", by="alice", level="synthetic")
    await system.plane.drill(request)
    return await until(
        lambda: system.plane.drill_report(CHAT, "d-1"), lambda report: report.verdict != "running", "its end", 60.0
    )


async def watched(system: System, answers: list[tuple[str, ...]], over: asyncio.Event) -> None:
    """Note every answer of the canary's name, and see that nobody doubts the real service."""
    while not over.is_set():
        answer = await system.dns.ask(CANARY, "A")
        if answer and answers[-1:] != [answer]:
            answers.append(answer)
        status = await system.status()
        assert status.run is None
        assert {each.verdict for each in status.assessments} == {Verdict.HEALTHY}, status.assessments
        await asyncio.sleep(0.05)


async def test_a_synthetic_drill_moves_a_canary_and_nothing_else(tmp_path: Path) -> None:
    """Probers are told to see a black hole: the canary moves by itself and comes home, measured by its record.

    The real name, its fence, its workloads and the opinion of its endpoints stay as they are.
    """
    async with System.start(tmp_path, vantages=PAIR, canary=True) as system:
        await system.steady()
        system.eye.begin()
        fence, scaled = await system.dns.ask(FENCE, "TXT"), await system.world.endpoint("ohio")
        answers: list[tuple[str, ...]] = []
        over = asyncio.Event()
        watching = asyncio.create_task(watched(system, answers, over))
        report = await drilled(system)
        over.set()
        await watching
        assert report.verdict == "passed", report
        assert report.text.endswith("and went home; pretended: promote")
        assert [phase.name for phase in report.phases] == PHASES
        assert report.ttd_s is not None
        assert report.ttr_s is not None
        assert report.ttd_s < report.ttr_s < report.objective_s
        assert report.failover is not None
        record = await system.plane.record(report.failover)
        assert (record.service, record.status, record.drill) == (shadow(CHAT), RunStatus.COMPLETED, "d-1")
        assert answers == [system.answer(place) for place in ("paris", "ohio", "paris")]
        assert system.eye.told == (system.answer("paris"),)
        assert await system.dns.ask(FENCE, "TXT") == fence
        assert system.eye.writes == 3, "the canary's three, and no other"
        assert (await system.world.endpoint("ohio"))["desired"] == scaled["desired"]
        assert not (await system.status()).last_runs
        left = [
            each.id
            async for each in system.plane.client.list_workflows("ExecutionStatus = 'Running'")
            if each.status is WorkflowExecutionStatus.RUNNING and shadow(CHAT) in each.id
        ]
        assert not left
