"""A world of six regions and a service for each story that an operator lives through at night.

paris flaps, region4 is dead before anybody looks, region5 dies in the middle; ohio, tokyo and region6 are well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.orders import Limits
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.topology import Role, Service, Topology
from real.command import Ended, failover
from real.system import PAIR, ZONE, System, until
from workflows.wire import ServiceStatus

HOMES = (
    ("careful", "ohio"),
    ("shift", "ohio"),
    ("undo", "region5"),
    ("dark", "region5"),
    ("full", "region4"),
    ("busy", "region5"),
)
"""Services beside chat, and where each sends its clients at first."""
ASKS = """\
parameters:
  patience: {type: duration, default: 1s}
steps:
  - {id: ok, type: approve, role: oncall, escalate: [leads], timeout: {param: patience}}
  - {id: steer, type: steer}
  - {id: converge, type: converge}
"""
HALVES = """\
steps:
  - {id: verify, type: verify}
  - {id: shift, type: steer, stages: [50, 100], hold: 1m, analysis: {samples: 5}}
  - {id: converge, type: converge}
"""
LOOKS = """\
steps:
  - {id: promote, type: promote}
  - {id: steer, type: steer}
  - {id: look, type: approve, timeout: 1m}
  - {id: converge, type: converge}
"""


def _book(name: str, steps: str) -> tuple[str, str]:
    head = f"apiVersion: failover/v1\nkind: Runbook\nmetadata: {{name: {name}}}\n"
    return f"{name}.yaml", head + steps


def _services(whole: Topology) -> Topology:
    """*whole*, which has chat at every endpoint, with chat at two of them and a service for each other story."""
    (chat,) = whole.services

    def made(name: str, home: str, target: str, *more: str, keeps: str = "", **policy: Any) -> Service:
        """A service at *home* and *target*; the endpoint *keeps* alone has a workload to scale."""
        endpoints = tuple(
            replace(
                each,
                role=Role.ACTIVE if each.id == home else Role.STANDBY,
                workload=each.workload if each.id == keeps else None,
            )
            for each in chat.endpoints
            if each.id in {home, target, *more}
        )
        prefer = tuple(EndpointId(each) for each in (target, *more))
        assert chat.steering is not None
        return replace(
            chat,
            id=ServiceId(name),
            name=f"{name}.{ZONE.rstrip('.')}",
            endpoints=endpoints,
            steering=replace(chat.steering, name=f"{name}.{ZONE}"),
            policy=replace(chat.policy, prefer=prefer, cooldown_s=60.0, **policy),
        )

    full = made("full", "region4", "ohio", "tokyo", keeps="ohio")
    greedy = tuple(
        replace(each, workload=replace(each.workload, serving=9)) if each.workload else each for each in full.endpoints
    )
    busy = made("busy", "region5", "region6", keeps="region5", capacity=2)
    narrow = tuple(replace(each, capacity=4) if each.id == "region6" else each for each in busy.endpoints)
    services = (
        replace(busy, endpoints=narrow),
        made("careful", "ohio", "tokyo", runbook_planned="asks"),
        made("chat", "paris", "ohio"),
        made("dark", "region5", "region4"),
        replace(full, endpoints=greedy),
        made("shift", "ohio", "region5", runbook_planned="halves"),
        made("undo", "region5", "region6", keeps="region6", runbook_planned="looks"),
    )
    return replace(
        whole,
        services=services,
        books=(_book("asks", ASKS), _book("halves", HALVES), _book("looks", LOOKS)),
        roles=(("leads", ("lea",)), ("oncall", ("olaf",))),
        # What moves here moves for six different reasons.
        orders=replace(whole.orders, limits=Limits(change_guard=100)),
    )


@dataclass
class Night:
    """The world at night, and what an operator does in it."""

    system: System
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Nobody needs region4 to be dead any more."""
    read: asyncio.Event = field(default_factory=asyncio.Event)
    """Nobody needs region5 to be dead any more."""
    carried: asyncio.Event = field(default_factory=asyncio.Event)
    """The same, of another story."""
    healed: asyncio.Event = field(default_factory=asyncio.Event)
    """region5 is alive again."""

    @classmethod
    @contextlib.asynccontextmanager
    async def begin(cls, folder: Path) -> AsyncIterator[Night]:
        """Everything started, every service adopted and seen to be well."""
        async with System.start(
            folder,
            vantages=PAIR,
            regions=6,
            names=HOMES,
            change=_services,
            interval="400ms",
            chat_timeout="1s",
            load_s=0.2,
            longest_s=200.0,
            module="real.attentive",
            environment={"PYTHONPATH": str(Path(__file__).parents[1])},
        ) as system:
            night = cls(system)
            names = [service.id for service in system.topology.services if service.id != "chat"]
            await asyncio.gather(*(system.plane.adopt(name, by="test") for name in names))
            await asyncio.gather(*(night.until(name, _well, "all is well") for name in (*names, "chat")))
            yield night

    @contextlib.asynccontextmanager
    async def clients(self, endpoint: str, count: int) -> AsyncIterator[None]:
        """So many clients with a stream under way at *endpoint*, for as long as it lives or the block lasts."""
        layout = self.system.world.layout
        asked = {"model": layout.model, "messages": [{"role": "user", "content": "on"}], "max_tokens": 100_000}
        async with httpx.AsyncClient(timeout=None, trust_env=False) as client:  # noqa: S113 - streams that do not end
            url = f"{self.system.world.url(endpoint)}/v1/chat/completions"
            streams = [asyncio.create_task(client.post(url, json=asked | {"stream": True})) for _ in range(count)]
            try:
                yield
            finally:
                for stream in streams:
                    stream.cancel()
                await asyncio.gather(*streams, return_exceptions=True)

    # ------------------------------------------------------------------ what the operator types and reads

    async def type(self, *words: str, by: str = "ada") -> Ended:
        """What a command says, as *by*; line ends and columns are one blank each."""
        ended = await failover(self.system, *words, FAILOVER_USER=by, COLUMNS="200")
        assert "Traceback" not in ended.err, ended.err
        return Ended(ended.status, " ".join(ended.out.split()), " ".join(ended.err.split()))

    async def start(self, service: str, *words: str) -> str:
        """Start a run and do not wait for it; its id."""
        ended = await self.type("run", service, *words, "--reason", "the night shift", "--yes", "--no-wait")
        assert ended.status == 0, ended
        return ended.out.partition(" started; look at it")[0].rpartition("Run ")[2]

    # ------------------------------------------------------------------ what is true

    async def until(self, service: str, true: Any, what: str) -> ServiceStatus:
        """The status of *service* as soon as it is *true*."""
        return await until(lambda: self.system.plane.status(ServiceId(service)), true, f"{service}: {what}")

    async def waits(self, service: str, run: str, about: str) -> None:
        """Until *run* waits for a person about *about*."""

        async def asked() -> str:
            state = await self.system.plane.run_state(run, ServiceId(service))
            return " ".join((state.paused, *(f"{each.text} {' '.join(each.roles)}" for each in state.waiting)))

        await until(asked, lambda text: about in text, f"{run} waits for {about}")

    async def over(self, service: str, run: str | None = None) -> Record:
        """The record of *run*, or of the last one, once it is over and the service is free."""

        def ended(status: ServiceStatus) -> bool:
            return status.run is None and bool(status.last_runs) and status.last_runs[0].run == (run or _last(status))

        return (await self.until(service, ended, "its run is over")).last_runs[0]

    async def moved(self, service: str) -> Record:
        """The record of the run that has moved *service*, once it is over."""

        def there(status: ServiceStatus) -> bool:
            return status.run is None and any(record.status is RunStatus.COMPLETED for record in status.last_runs)

        found = (await self.until(service, there, "it has moved")).last_runs
        return next(record for record in found if record.status is RunStatus.COMPLETED)

    async def answers(self, service: str) -> tuple[str, ...]:
        """The endpoints that clients of *service* are sent to, by DNS."""
        found = await self.system.dns.ask(f"{service}.{ZONE}", "A")
        return tuple(each.id for each in self.system.world.layout.regions if each.address in found)

    async def replicas(self, endpoint: str) -> int:
        return int((await self.system.world.endpoint(endpoint))["desired"])

    async def verdict(self, service: str, endpoint: str, verdict: Verdict) -> None:
        """Until *endpoint* is seen so."""
        await self.until(
            service,
            lambda status: any((a.endpoint, a.verdict) == (endpoint, verdict) for a in status.assessments),
            f"{endpoint} is {verdict}",
        )


def _well(status: ServiceStatus) -> bool:
    seen = status.assessments
    return status.routing is not None and all(a.verdict is Verdict.HEALTHY and a.proven and a.votes == 2 for a in seen)


def _last(status: ServiceStatus) -> str:
    done = (record.run for record in status.last_runs if record.status is not RunStatus.OBSERVED)
    return next(done, "")
