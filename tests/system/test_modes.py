"""What does not write: observe, apply, adopt. And topology changes that reach what runs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from orchestrator.core.names import Domain, EndpointId
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Endpoint, ProbeKind, Role, Topology
from real.system import CHAT, FENCE, PAIR, System, until
from workflows.wire import ServiceStatus, WatchState, watch_id


async def test_observing_writes_nothing_and_says_what_it_would_have_done(tmp_path: Path) -> None:
    """apply and adopt change no answer; an outage in observe changes nothing, and its record shows the move."""
    async with System.start(tmp_path, vantages=PAIR, mode="observe", adopt=False) as system:
        await system.steady()
        assert await system.dns.ask(FENCE, "TXT") == ()
        assert system.eye.writes == 0
        await system.plane.adopt(CHAT, by="test")
        await system.plane.adopt(CHAT, by="test, again")
        await until(lambda: _generation(system), lambda seen: seen == 1, "the fence")
        assert system.eye.told == (system.answer("paris"),)
        system.eye.begin()
        serial = await system.eye.serial()
        await system.black_hole("paris")
        status = await until(system.status, lambda status: bool(status.last_runs), "the record of what would be done")
        record = status.last_runs[0]
        assert record.status is RunStatus.OBSERVED
        assert (record.source, record.target) == (("paris",), "ohio")
        assert [step.id for step in record.steps] == ["promote", "verify", "steer", "converge"]
        assert "observe" in {reason.rule for reason in record.objections}
        assert status.run is None
        assert await system.runs() == []
        assert await system.eye.serial() == serial
        assert (await system.world.endpoint("ohio"))["desired"] == 1
        assert system.eye.told == (system.answer("paris"),)
        assert [generation for _, generation in system.eye.fences] == [1]


async def _generation(system: System) -> int:
    return system.eye.fences[-1][1] if system.eye.fences else 0


async def test_a_changed_topology_reaches_probers_that_run(tmp_path: Path) -> None:
    """An endpoint that is added and an interval that changes are taken up by the running probers, in the same epoch."""
    hits: list[float] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        hits.append(time.monotonic())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        writer.close()

    async def rate() -> int:
        return sum(at > time.monotonic() - 1.0 for at in hits)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, System.start(tmp_path, vantages=PAIR) as system:
        await system.steady()
        before = await _epochs(system)
        port = server.sockets[0].getsockname()[1]
        await system.plane.apply(_with_extra(system.topology, port, interval_s=1.0), expects=1, by="test")
        status = await until(system.status, lambda s: "healthy" in _verdicts(s, "extra"), "the new endpoint's health")
        assert status.revision == 2
        assert await rate() < 8
        await system.plane.apply(_with_extra(system.topology, port, interval_s=0.1), expects=2, by="test")
        await until(rate, lambda found: found > 12, "probes ten times as often")
        assert await _epochs(system) == before == [1, 1]
        assert system.eye.told == (system.answer("paris"),)


def _with_extra(topology: Topology, port: int, *, interval_s: float) -> Topology:
    """*topology* with one more endpoint, which the test itself serves."""
    service = topology.services[0]
    probe = replace(service.endpoints[0].probes[0], id="extra", path="/", interval_s=interval_s, kind=ProbeKind.HTTP)
    region = Domain("extra/one")
    extra = Endpoint(EndpointId("extra"), f"http://127.0.0.1:{port}", region, Role.STANDBY, probes=(probe,))
    endpoints = tuple(sorted((*service.endpoints, extra), key=lambda endpoint: endpoint.id))
    regions = tuple(sorted((*topology.regions, region)))
    return replace(topology, regions=regions, services=(replace(service, endpoints=endpoints),))


def _verdicts(status: ServiceStatus, endpoint: str) -> list[str]:
    return [str(seen.verdict) for seen in status.assessments if seen.endpoint == endpoint]


async def _epochs(system: System) -> list[int]:
    handles = (system.plane.client.get_workflow_handle(watch_id(v.id, 0)) for v in system.topology.vantages)
    states = [await handle.query("state", result_type=WatchState) for handle in handles]
    return [state.epoch for state in states]
