"""An engine under test: real sockets, tiny intervals, and reports that can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
import uvloop

from orchestrator.core.health import EndpointState, Health
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.quorum import Report, Seed
from orchestrator.core.topology import Endpoint, ProbeKind, ProbeSpec, Role, Service, Vantage
from orchestrator.prober import Engine, Pace
from providers.probes import Probes

HOME = Vantage(VantageId("v1"), Domain("home/one"))


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Watch:
    """A running engine and what it has said."""

    probes: Probes
    reports: list[Report] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    engine: Engine | None = None
    task: asyncio.Task[None] | None = None
    ticks: int = 0

    def take(self, report: Report) -> None:
        self.reports.append(report)
        self.news.set()

    def begin(self, *services: Service, seed: Seed | None = None, pace: Pace | None = None) -> Engine:
        """Start an engine that watches *services*."""
        self.engine = Engine(
            vantage=HOME, shard=0, epoch=7, host="here", clients=self.probes, emit=self.take, seed=seed
        )
        self.engine.configure(services, 3)
        self.task = asyncio.create_task(self.engine.run(on_tick=self.tick, pace=pace or Pace(tick_s=0.01)))
        return self.engine

    def tick(self) -> None:
        self.ticks += 1

    def latest(self, service: str = "chat") -> Mapping[str, EndpointState]:
        """The last word about each endpoint of *service*."""
        for report in reversed(self.reports):
            if report.service == service:
                return {state.endpoint: state for state in report.states}
        return {}

    async def until(
        self, *, within_s: float = 45.0, service: str = "chat", **wanted: Health
    ) -> Mapping[str, EndpointState]:
        """Wait until the last report of *service* says *wanted* of these endpoints."""

        def said() -> bool:
            latest = self.latest(service)
            return all(name in latest and latest[name].health is health for name, health in wanted.items())

        async with asyncio.timeout(within_s):
            while not said():
                self.news.clear()
                await self.news.wait()
        return self.latest(service)

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
        await self.probes.close()


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    made = Watch(Probes())
    yield made
    await made.end()


SPEC = ProbeSpec(id="http", kind=ProbeKind.HTTP, interval_s=0.1, timeout_s=0.2, fast_confirm_s=0.02)


@pytest.fixture
def spec() -> Callable[..., ProbeSpec]:
    """A probe spec: HTTP every 100 ms unless said otherwise."""
    return lambda **changes: replace(SPEC, **changes)


@pytest.fixture
def service() -> Callable[..., Service]:
    """A service whose endpoints are given as ``id=url`` or ``id=(url, spec, ...)``; each in a region of its own."""

    def make(name: str = "chat", regions: Mapping[str, str] | None = None, **urls: object) -> Service:
        endpoints = []
        for key, value in urls.items():
            url, *specs = value if isinstance(value, tuple) else (value, SPEC)
            region = Domain((regions or {}).get(key, f"cloud/{key}"))
            endpoints.append(Endpoint(EndpointId(key), str(url), region, Role.ACTIVE, probes=tuple(specs)))
        return Service(ServiceId(name), "chat.example.com", tuple(endpoints))

    return make
