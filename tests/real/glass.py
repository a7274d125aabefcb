"""A site to break the glass at: model servers, BIND, a folder, and nothing of Temporal; and plans for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.config import parse
from orchestrator.core.decision import Request
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.steering import Routing, SteeringChange, full
from orchestrator.core.topology import Service, Shares, Topology
from orchestrator.local.layout import ModelSettings
from orchestrator.local.topology_file import topology_yaml
from orchestrator.local.world import World
from orchestrator.runtime.breakglass import ahead
from orchestrator.runtime.breakglass.sealed import Sealed
from providers import registry
from providers.probes import Probes
from real.bind import Bind, least
from real.scenery import AWAY, EU, US, at_home, service
from real.system import until
from runbooks.books import Shelf
from runbooks.plan import Converge, Plan
from runbooks.planner import Ground, plan

CHAT = ServiceId("chat")
NAME = "chat.local.test."
KEY = "a plan key for tests"


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def _hears_ctrl_c() -> None:
    """A shell starts what runs in the background with Ctrl-C ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Site:
    """What a laptop finds: a topology file, the world behind it, and an empty folder to work in."""

    folder: Path
    world: World
    dns: Bind
    topology: Topology
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def service(self) -> Service:
        return self.topology.service(CHAT)

    @property
    def file(self) -> Path:
        return self.folder / "failover.yaml"

    async def routing(self) -> Routing:
        """The record as it stands, at the server."""
        spec = self.service.steering
        assert spec is not None
        return await registry.steering(spec).read()

    async def write(self, to: str, run: str = "somebody") -> Routing:
        """Somebody else moves all the traffic to *to*."""
        spec = self.service.steering
        assert spec is not None
        steering = registry.steering(spec)
        now = await steering.read()
        endpoint = self.service.endpoint(EndpointId(to))
        assert endpoint.answer is not None
        weights = full(self.service.endpoints, EndpointId(to))
        change = SteeringChange(
            now.generation, now.answer, weights, endpoint.answer, f"{run}-{next(self.numbers)}", "s"
        )
        return await steering.write(change)

    async def home(self) -> Routing:
        """Everything as it was at first, but for the generation."""
        await self.world.scale("ohio", 1, key=f"home-{next(self.numbers)}")
        await self.world.drain("paris", on=False, key=f"home-{next(self.numbers)}")
        return await self.write("paris")

    async def serial(self) -> int:
        """The zone's serial: every update that changed anything has raised it by one."""
        return int((await self.dns.ask("local.test.", "SOA"))[0].split()[2])

    async def scalings(self, since: int = 0) -> list[tuple[str, int]]:
        """What the world was asked to scale, in order."""
        events = await self.world.events(since)
        return [(e["endpoint"], e["replicas"]) for e in events if e["event"] == "replicas.wanted"]

    async def seen(self) -> int:
        """The number of the world's last event."""
        return max((event["seq"] for event in await self.world.events()), default=0)

    async def plan(self, to: str = "ohio", **wish: str) -> Plan:
        """A plan made on the spot; who was too busy to answer in time is asked again."""
        trigger = Trigger("ada", "because")
        request = Request(MoveKind.SWITCHOVER, trigger, EndpointId(to), **wish)  # type: ignore[arg-type]  # names fields

        async def planned() -> Plan | ahead.Unplanned:
            probes = Probes()
            try:
                seen = await ahead.look(self.service, probes)
            finally:
                await probes.close()
            return ahead.plan_here(self.topology, CHAT, request, seen, now=datetime.now(UTC))

        made = await until(planned, lambda made: isinstance(made, Plan), "a plan")
        assert isinstance(made, Plan), made
        return made

    async def sealed(self, to: str = "ohio", **wish: str) -> Sealed:
        """The same, with next to no waiting for caches."""
        made = await self.plan(to, **wish)
        steps = tuple(
            replace(s, work=replace(s.work, hold_s=0.02)) if isinstance(s.work, Converge) else s for s in made.steps
        )
        return Sealed(replace(made, steps=steps), self.service, datetime.now(UTC), "ada", ahead.unasked())

    async def start(self, *words: str, typed: str | None = None, **more: str) -> asyncio.subprocess.Process:
        """The ``failover`` command as a process; Temporal is at a port where nobody listens."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "FAILOVER_"))}
        environment = kept | {"FAILOVER_USER": "ada", "NO_COLOR": "1", "TEMPORAL_ADDRESS": "127.0.0.1:9"} | more
        return await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "failover"),
            *words,
            cwd=self.folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL if typed is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_hears_ctrl_c,
        )

    async def failover(self, *words: str, **more: str) -> Ended:
        """The command, to its end."""
        process = await self.start(*words, **more)
        try:
            async with asyncio.timeout(60):
                out, err = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        assert process.returncode is not None
        assert b"Traceback" not in out + err
        return Ended(process.returncode, out.decode(), err.decode())


@contextlib.asynccontextmanager
async def opened(folder: Path, *, provider: str = "rfc2136", load_s: float = 0.05) -> AsyncIterator[Site]:
    """A site whose record is adopted, with all traffic in Paris."""
    model = ModelSettings(load_s=load_s, first_token_s=0.005, token_s=0.002)
    async with World.start(folder / "world", model=model) as world:
        layout = world.layout
        secret = await asyncio.to_thread(lambda: Path(layout.key_file).read_text(encoding="utf-8").strip())
        record = f"chat {layout.ttl_s} A {world.place('paris').address}"
        async with Bind(
            zone="local.test.", records=(record,), policy=least(NAME), key=layout.key_name, secret=secret
        ) as dns:
            primary = dns.at if provider == "rfc2136" else layout.dns
            text = topology_yaml(layout, dns=primary, provider=provider, timeout="1s")
            site = Site(folder, world, dns, parse(text, "failover.yaml"))
            await asyncio.to_thread(site.file.write_text, text, encoding="utf-8")
            await site.write("paris", "adopt")
            yield site


def a_plan(book: str = "switchover", run: str = "chat-20260301-021500-1a2b", provider: str = "rfc2136") -> Plan:
    """A plan that nobody carries out, from Paris to Ohio."""
    move = Move(chat().id, MoveKind.SWITCHOVER, (EU,), US, AWAY)
    ground = Ground(chat(provider), at_home(), 1)
    return plan(move, ground, run=RunId(run), trigger=Trigger("ada", "because"), book=Shelf().book(book))


def chat(provider: str = "rfc2136") -> Service:
    made = service("chat")
    assert made.steering is not None
    shares = Shares.WEIGHTED if provider == "local" else Shares.EQUAL
    return replace(made, steering=replace(made.steering, provider=provider, shares=shares))


def a_sealed(**changes: Any) -> Sealed:
    return Sealed(a_plan(**changes), chat(), datetime(2026, 3, 1, tzinfo=UTC), "ada")
