"""The probing activity when its surroundings fail: it keeps watching what it knows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowQueryFailedError
from temporalio.testing import ActivityEnvironment

from orchestrator.config import dump
from orchestrator.core.health import Health
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.quorum import Report
from orchestrator.core.topology import ProbeKind, ProbeSpec, Service, Topology, Vantage, Workload
from real.stage import endpoint
from workflows.activities import probing
from workflows.activities.documents import pack
from workflows.activities.loads import observed
from workflows.activities.probing import Probing
from workflows.wire import Applied, Watch

WATCH = Watch(Vantage(VantageId("v1"), Domain("alpha/paris")), 0, 1, 1)


@dataclass
class Owner:
    """Temporal as the activity knows it: holds the topology, takes reports, and may break."""

    applied: Applied
    broken: Exception | None = None
    reports: list[Report] = field(default_factory=list)
    asked: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def get_workflow_handle(self, _: str) -> Owner:
        return self

    async def query(self, what: str, **_: Any) -> Any:
        self.asked += 1
        self.news.set()
        if self.broken is not None:
            raise self.broken
        return self.applied if what == "applied" else self.applied.revision

    async def signal(self, what: str, argument: Any = None) -> None:
        if what == "report":
            self.reports.append(argument)
            self.news.set()

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(10):
            while not true():
                self.news.clear()
                await self.news.wait()


def topology(*services: Service) -> Topology:
    return Topology(regions=(Domain("alpha/paris"),), vantages=(WATCH.vantage,), services=services)


def applied(revision: int, *services: Service) -> Applied:
    document = topology(*services)
    return Applied(revision, f"digest-{revision}", pack(dump(document)))


@pytest.fixture
async def chat() -> AsyncIterator[Service]:
    """A service whose one endpoint takes connections."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    eu = replace(
        endpoint("eu", "alpha/paris", "127.0.0.1"),
        url=f"tcp://127.0.0.1:{port}",
        probes=(ProbeSpec("tcp", ProbeKind.TCP, interval_s=0.1, timeout_s=0.1, fall=2, rise=1),),
    )
    yield Service(ServiceId("chat"), "chat.example", (eu,))
    server.close()


@contextlib.asynccontextmanager
async def probing_of(owner: Owner, cache: Path) -> AsyncIterator[asyncio.Task[Any]]:
    """The activity at work."""
    activity = Probing(owner, host="here", cache=cache)  # type: ignore[arg-type]  # a client's few verbs are enough
    task = asyncio.ensure_future(ActivityEnvironment().run(activity.probe, WATCH))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def sees(owner: Owner, service: str, health: Health) -> bool:
    said = [report for report in owner.reports if report.service == service]
    return bool(said) and said[-1].states[0].health is health


@pytest.mark.parametrize(
    "trouble",
    [WorkflowQueryFailedError("the topology's workflow fails"), RuntimeError("a fault of its own"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
async def test_an_owner_that_breaks_stops_no_probe(
    trouble: Exception, chat: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topology's owner fails every question: outages are still seen, and its next word is taken up."""
    monkeypatch.setattr(probing, "REVISION_EVERY_S", 0.02)
    owner = Owner(applied(1, chat))
    async with probing_of(owner, tmp_path) as work:
        await owner.until(lambda: sees(owner, "chat", Health.HEALTHY))
        owner.broken = trouble
        asked = owner.asked
        await owner.until(lambda: owner.asked > asked + 3)
        assert not work.done()
        owner.broken, owner.applied = None, applied(2, chat, replace(chat, id=ServiceId("more")))
        await owner.until(lambda: sees(owner, "more", Health.HEALTHY))


async def test_a_topology_that_cannot_be_read_leaves_the_one_before(
    chat: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer program wrote the topology: an older worker watches on what it knows, and does so after a restart."""
    monkeypatch.setattr(probing, "REVISION_EVERY_S", 0.02)
    owner = Owner(applied(1, chat))
    async with probing_of(owner, tmp_path) as work:
        await owner.until(lambda: sees(owner, "chat", Health.HEALTHY))
        owner.applied = Applied(2, "newer", pack('{"made": "in another time"}'))
        asked = owner.asked
        await owner.until(lambda: owner.asked > asked + 6)
        assert not work.done()
    owner.reports.clear()
    async with probing_of(owner, tmp_path):
        await owner.until(lambda: sees(owner, "chat", Health.HEALTHY))
        assert owner.reports[-1].revision == 1


async def test_a_disk_that_takes_nothing_costs_only_the_copy(chat: Service, tmp_path: Path) -> None:
    """Where the topology cannot be kept on disk, probing begins all the same."""
    (tmp_path / "full").write_text("not a folder", encoding="utf-8")
    owner = Owner(applied(1, chat))
    async with probing_of(owner, tmp_path / "full"):
        await owner.until(lambda: sees(owner, "chat", Health.HEALTHY))


async def test_a_name_server_that_breaks_oddly_stops_no_probe(chat: Service, tmp_path: Path) -> None:
    """What goes wrong while answers are watched is logged; the endpoints are probed as before."""
    from real.stage import service as steered

    spec = steered().steering
    assert spec is not None
    odd = replace(chat, steering=replace(spec, provider="no-such-provider"))
    owner = Owner(applied(1, odd))
    async with probing_of(owner, tmp_path) as work:
        await owner.until(lambda: sees(owner, "chat", Health.HEALTHY))
        assert not work.done()
        assert EndpointId("eu") == owner.reports[-1].states[0].endpoint


async def test_its_heartbeat_tells_the_load(chat: Service, tmp_path: Path) -> None:
    """What a workload has in flight travels with the heartbeat, beside what the next epoch begins with; an endpoint
    whose workload nobody here can ask is simply not in it."""
    body = b'{"in_flight": 7}'

    async def world(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    control = await asyncio.start_server(world, "127.0.0.1", 0)
    at = f"http://127.0.0.1:{control.sockets[0].getsockname()[1]}"
    eu = replace(chat.endpoints[0], workload=Workload("local", "paris", options=(("world", at),)))
    us = replace(eu, id=EndpointId("us"), workload=Workload("no-such-cloud", "ohio"))
    activity = Probing(Owner(applied(1, replace(chat, endpoints=(eu, us)))), host="here", cache=tmp_path)  # type: ignore[arg-type]  # a client's few verbs are enough
    beats: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.put_nowait(details)
    work = asyncio.ensure_future(environment.run(activity.probe, WATCH))
    try:
        async with control, asyncio.timeout(10):
            told: tuple[Any, ...] = ()
            while len(told) < 2:
                told = await beats.get()
            seed, loads = told
            assert seed.revision == 1
            found = observed(loads, datetime(2026, 3, 1, tzinfo=UTC))
            assert {each.endpoint: each.in_flight for each in found[chat.id]} == {"eu": 7}
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
