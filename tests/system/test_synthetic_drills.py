"""A synthetic drill takes the real path with a canary record, and nothing real moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from temporalio.client import WorkflowExecutionStatus

from orchestrator.core.names import EndpointId, shadow
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Endpoint, Role, Topology
from real.system import CANARY, CHAT, FENCE, PAIR, System, until
from workflows.wire import DrillReport, DrillRequest

PHASES = ["canary", "steady", "fault", "failover", "clear", "governor", "failback", "steady-again", "retire"]


async def drilled(system: System, name: str = "d-1") -> DrillReport:
    """A synthetic drill, to its end."""
    request = DrillRequest(name, CHAT, "region-blackhole", by="alice", level="synthetic")
    await system.plane.drill(request)
    return await until(
        lambda: system.plane.drill_report(CHAT, name), lambda report: report.verdict != "running", "its end", 60.0
    )


async def watched(system: System, answers: list[tuple[str, ...]], over: asyncio.Event) -> None:
    """Note every answer of the canary's name, and see that nobody doubts the real service."""
    while not over.is_set():
        answer = await system.dns.ask(CANARY, "A", timeout_s=5.0)
        if answer and answers[-1:] != [answer]:
            answers.append(answer)
        status = await system.status()
        assert status.run is None
        assert {each.verdict for each in status.assessments} == {Verdict.HEALTHY}, status.assessments
        await asyncio.sleep(0.05)


async def of_the_shadow(system: System) -> list[str]:
    """The workflows of the shadow that run; Temporal's list of them lags behind."""
    return [
        each.id
        async for each in system.plane.client.list_workflows("ExecutionStatus = 'Running'")
        if each.status is WorkflowExecutionStatus.RUNNING and shadow(CHAT) in each.id
    ]


def cold(topology: Topology) -> Topology:
    """*topology* with its standbys scaled to nothing."""
    (chat,) = topology.services

    def scaled_down(endpoint: Endpoint) -> Endpoint:
        if endpoint.role is not Role.STANDBY or endpoint.workload is None:
            return endpoint
        return replace(endpoint, workload=replace(endpoint.workload, standby=0))

    return replace(topology, services=(replace(chat, endpoints=tuple(map(scaled_down, chat.endpoints))),))


async def test_a_synthetic_drill_moves_a_canary_and_nothing_else(tmp_path: Path) -> None:
    """Probers are told to see a black hole: the canary moves by itself and comes home, measured by its record.

    The real name, its fence, its workloads and the opinion of its endpoints stay as they are. Once the standby is cold,
    the drill says yes to it as a person would, and passes in part only: promotion and proof were not rehearsed.
    """
    async with System.start(tmp_path, vantages=PAIR, canary=True, change=cold, regions=2) as system:
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
        await until(lambda: of_the_shadow(system), lambda left: not left, "the end of the shadow")

        await system.world.scale("ohio", 0, key="cold")
        ohio = EndpointId("ohio")
        await until(
            system.status,
            lambda status: any(a.endpoint == ohio and a.verdict is Verdict.DOWN for a in status.assessments),
            "a cold standby",
        )
        report = await drilled(system, "d-2")
        assert report.verdict == "partial", report
        assert report.text.startswith("passed in part only: recovered in ")
        assert report.text.endswith(
            "promotion of ohio and its proof were not rehearsed: it is a cold standby, and a synthetic drill takes no "
            "capacity"
        )
        assert [(phase.name, phase.ok) for phase in report.phases] == [(name, True) for name in PHASES]
        assert "but ohio, cold until promoted" in report.phases[1].text
        assert report.failover is not None
        record = await system.plane.record(report.failover)
        assert (record.trigger.by, [each.rule for each in record.objections]) == ("drill:d-2", ["target-cold"])
        assert (await system.world.endpoint("ohio"))["desired"] == 0
        assert system.eye.told[-1] == system.answer("paris")
