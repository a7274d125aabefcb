"""A dry drill asks everything and does nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.core.topology import Topology
from real.system import CHAT, PAIR, System, until
from workflows.wire import DrillReport, DrillRequest

QUICK = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: quick}
steps:
  - {id: promote, type: promote}
  - {id: verify, type: verify, timeout: 3s}
  - {id: steer, type: steer}
"""


def quick(topology: Topology) -> Topology:
    """*topology* with a runbook that is soon impatient."""
    (chat,) = topology.services
    policy = replace(chat.policy, runbook_unplanned="quick")
    return replace(topology, services=(replace(chat, policy=policy),), books=(("quick.yaml", QUICK),))


async def drilled(system: System, name: str) -> DrillReport:
    """A dry drill, to its end."""
    await system.plane.drill(DrillRequest(name, CHAT, "region-blackhole", by="alice", level="dry"))
    return await until(
        lambda: system.plane.drill_report(CHAT, name), lambda report: report.verdict != "running", "the drill ends"
    )


async def test_a_dry_drill_proves_readiness_and_writes_nothing(tmp_path: Path) -> None:
    """Plan, capacity, target and record are looked at and pass; a target that completes nothing fails the drill.

    Nothing is written, scaled or moved by either. Probers ask for no completion meanwhile, or they might find the lie
    before the drill has decided.
    """
    async with System.start(tmp_path, vantages=PAIR, change=quick, chat_interval="5m") as system:
        await system.steady()
        before, scaled = await system.eye.serial(), await system.world.endpoint("ohio")
        report = await drilled(system, "d-dry")
        assert report.verdict == "passed", report.text
        assert [(phase.name, phase.ok) for phase in report.phases] == [
            ("decide", True),
            ("governor", True),
            ("capacity", True),
            ("target", True),
            ("steering", True),
        ]
        assert report.target == "paris"
        assert "good completions in a row" in report.phases[3].text
        for endpoint in ("ohio", "tokyo"):
            await system.world.inject("health-lies", endpoint, key=f"lies-{endpoint}")
        report = await drilled(system, "d-hollow")
        assert report.verdict == "failed", report.text
        assert "ohio did not give 2 good answers in a row within 3" in report.text
        assert await system.eye.serial() == before
        assert (await system.world.endpoint("ohio"))["desired"] == scaled["desired"]
        assert not await system.runs()
