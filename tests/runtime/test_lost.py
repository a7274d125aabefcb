"""A service whose workflow somebody ended: it is not shown as if it were watched, and applying again mends it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus

from orchestrator.core.names import Domain, ServiceId, VantageId
from orchestrator.core.topology import ProbeKind, ProbeSpec, Service, Topology, Vantage
from orchestrator.runtime.connection import ControlPlaneAway, NoSuch
from orchestrator.runtime.up import up
from real.stage import endpoint
from real.system import until

CHAT, MORE = ServiceId("chat"), ServiceId("more")


def topology(port: int) -> Topology:
    tcp = ProbeSpec("tcp", ProbeKind.TCP, interval_s=0.5, timeout_s=0.3, rise=1)
    eu = replace(endpoint("eu", "alpha/paris", "127.0.0.1"), url=f"tcp://127.0.0.1:{port}", probes=(tcp,))
    services = tuple(Service(name, f"{name}.example", (eu,)) for name in (CHAT, MORE))
    vantage = Vantage(VantageId("v1"), Domain("watch/east"))
    return Topology(regions=(Domain("alpha/paris"), Domain("watch/east")), vantages=(vantage,), services=services)


async def test_a_terminated_service_is_told_and_made_anew_by_the_same_topology(tmp_path: Path) -> None:
    """Its last knowledge is not shown as the present; the same apply starts it again, held until a person resumes."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    wanted = topology(server.sockets[0].getsockname()[1])
    async with server, up(wanted, tmp_path, keep_database=False) as running:
        plane = running.plane
        assert (await plane.status(CHAT)).service == CHAT
        assert await plane.stuck() == ()
        await plane.client.get_workflow_handle("service/chat").terminate("by mistake")
        with pytest.raises(ControlPlaneAway, match=r"it was terminated: .*failover apply"):
            await plane.status(CHAT)
        lost, other = await plane.statuses()
        assert [held.rule for held in lost.held] == ["no-answer"]
        assert not other.held
        assert [text for text in await plane.stuck() if "service/chat was terminated" in text]
        applied, known = await plane.topology()
        again = await plane.apply(known, expects=applied.revision, by="ann")
        assert again.revision == applied.revision
        deadline = time.monotonic() + 45
        while not (back := await plane.status(CHAT)).held:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert [held.rule for held in back.held] == ["recreated"]
        assert not (await plane.status(MORE)).held
        assert await plane.stuck() == ()
        alone = replace(known, services=known.services[:1])
        await plane.apply(alone, expects=again.revision, by="ann")
        gone = plane.client.get_workflow_handle("service/more")
        while (await gone.describe()).status is WorkflowExecutionStatus.RUNNING:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        with pytest.raises(NoSuch, match="there is no service 'more'; there are: chat"):
            await plane.status(MORE)


async def test_temporal_that_dies_is_started_again_on_its_state(tmp_path: Path) -> None:
    """'up' on one machine outlives its own Temporal: the same services are watched again, nothing is applied anew."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    wanted = topology(server.sockets[0].getsockname()[1])
    async with server, up(wanted, tmp_path) as running:
        applied, _ = await running.plane.topology()
        dead = running.temporal.process
        assert dead is not None
        dead.kill()
        await dead.wait()
        again, known = await until(running.plane.topology, lambda _: True, "the topology's owner answers again")
        assert (again.revision, known) == (applied.revision, wanted)
        status = await until(lambda: running.plane.status(CHAT), lambda _: True, "the service answers again")
        assert status.held == ()
