"""A plan's steps done one by one by the verbs themselves, on a local world: no Temporal, no driver."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.name
import dns.rcode
import dns.update

from orchestrator.config.load import parse
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.steering import Routing, SteeringChange, full, next_lineage, weights_in
from orchestrator.core.topology import Service, SteeringSpec
from orchestrator.local.layout import ModelSettings
from orchestrator.local.topology_file import topology_yaml
from orchestrator.local.world import World
from providers import registry
from providers.base import FaultKind, Steering
from providers.dns.exchange import signing_key
from providers.probes import Probes
from real.stage import until
from runbooks.model import Runbook, Value
from runbooks.parse import bind, read
from runbooks.plan import Demote, Drain, FenceOff, Place, Plan, Promote, Step
from runbooks.planner import Ground, plan
from workflows.activities.verbs import Verbs, Weigh, nobody_to_ask
from workflows.wire import StepResult, StepTask

QUICK = ModelSettings(slots=16, queue=16, load_s=0.1, first_token_s=0.01, token_s=0.005, tokens=4)
PARIS, OHIO = EndpointId("paris"), EndpointId("ohio")


@dataclass
class Enactor:
    """One service of a local world, steered by weights, and the runs that tests make of it."""

    world: World
    service: Service
    probes: Probes
    paces: dict[str, float]
    """How fast the models are when nobody has changed it."""
    beats: list[tuple[object, ...]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def spec(self) -> SteeringSpec:
        assert self.service.steering is not None
        return self.service.steering

    @property
    def steering(self) -> Steering:
        return registry.steering(self.spec)

    async def routing(self) -> Routing:
        return await self.steering.read()

    async def weights(self) -> dict[str, int]:
        """How traffic is spread by the fence that stands, without those that get nothing."""
        fence = (await self.routing()).fence
        return {name: weight for name, weight in fence.weights if weight} if fence else {}

    async def edit(self, *addresses: str) -> None:
        """Replace the answer as a person would, and leave the fence."""
        host, _, port = self.world.layout.dns.rpartition(":")
        update = dns.update.UpdateMessage(self.spec.zone)
        update.use_tsig(signing_key(self.spec.key))
        update.replace(dns.name.from_text(self.spec.name), 1, "A", *addresses)
        reply = await dns.asyncquery.tcp(update, host, timeout=10.0, port=int(port))
        assert reply.rcode() == dns.rcode.NOERROR

    async def reset(self) -> None:
        """The world as it was at first, for the next test; only generations go on."""
        for key in self.faults:
            await self.world.clear(key)
        self.faults.clear()
        self.beats.clear()
        for place in self.world.layout.regions:
            await self.world.pace(place.id, **{name: float(value) for name, value in self.paces.items()})
            await self.world.scale(place.id, place.replicas, key=f"reset-{next(self.numbers)}")
        # Another process loads the model; there is no event here.
        while (await self.world.endpoint(PARIS))["ready"] < self.world.place(PARIS).replicas:  # noqa: ASYNC110  see above
            await asyncio.sleep(0.02)
        now = await self.routing()
        home = self.service.endpoint(PARIS).answer
        assert home is not None
        run, weights = f"reset-{next(self.numbers)}", full(self.service.endpoints, PARIS)
        lineage = next_lineage(now.fence)
        await self.steering.write(SteeringChange(now.generation, now.answer, weights, home, run, "reset", lineage))

    async def suffer(self, kind: FaultKind, place: str) -> None:
        """Put a fault in until the test is over."""
        key = f"fault-{next(self.numbers)}"
        self.faults.append(key)
        await self.world.inject(kind, place, key=key)

    async def adopt(self) -> Routing:
        """Take the record under the fence as it is."""
        now = await self.routing()
        weights = weights_in(now.answer, self.service.endpoints)
        assert weights is not None
        assert now.answer is not None
        return await self.steering.write(SteeringChange(0, now.answer, weights, now.answer, "adopt-1", "adopt"))

    async def plan(
        self, steps: str, *, kind: MoveKind = MoveKind.SWITCHOVER, values: dict[str, Value] | None = None
    ) -> Plan:
        """A runbook with *steps* (YAML, as under ``steps:``) planned for a move from Paris to Ohio."""
        text = f"apiVersion: failover/v1\nkind: Runbook\nmetadata: {{name: of-a-test}}\nsteps:\n{steps}"
        return await self.planned(bind(read(text, "of-a-test.yaml"), values or {}), kind=kind)

    async def planned(self, by: Runbook, *, kind: MoveKind = MoveKind.SWITCHOVER) -> Plan:
        """The runbook *by* planned for a move from Paris to Ohio."""
        return plan(
            Move(self.service.id, kind, (PARIS,), OHIO, full(self.service.endpoints, OHIO)),
            Ground(self.service, await self.routing(), 1),
            run=RunId(f"chat-20250101-000000-{next(self.numbers):04x}"),
            trigger=Trigger("ann", "a test"),
            book=by,
        )

    def verbs(self, weigh: Weigh = nobody_to_ask) -> Verbs:
        return Verbs(self.probes, lambda *found: self.beats.append(found), weigh)

    def task(self, made: Plan, step: str | Step, **changes: Any) -> StepTask:
        """One attempt at *step*, as the driver makes it."""
        found = next(each for each in made.steps if each.id == step) if isinstance(step, str) else step
        endpoints = {each.id: each for each in self.service.endpoints}
        changing = isinstance(found.work, Promote | Drain | FenceOff | Demote)
        own = endpoints[found.work.endpoint].answer if changing else None  # type: ignore[union-attr]  # see above
        task = StepTask(
            service=made.service,
            name=self.service.name,
            run=made.run,
            step=found.id,
            work=found.work,
            timeout_s=found.timeout_s,
            generation=found.generation,
            base=made.generation,
            steering=self.spec,
            own=own,
            source=made.source,
            target=made.target,
            kind=made.kind,
            after=made.after,
        )
        return replace(task, **changes)

    async def do(self, made: Plan, step: str | Step, **changes: Any) -> StepResult:
        return await self.verbs().do(self.task(made, step, **changes))

    async def undo(self, made: Plan, step: str | Step, **changes: Any) -> StepResult:
        task = self.task(made, step, **changes)
        sources = tuple(
            Place(each.id, each.url, self.service.name, each.region, each.probes)
            for each in self.service.endpoints
            if each.id in made.source
        )
        return await self.verbs().undo(replace(task, step=f"{task.step}-undo", sources=sources))


@contextlib.asynccontextmanager
async def enactor(state: Path, **model: float) -> AsyncIterator[Enactor]:
    """A local world whose record is adopted: all traffic in Paris."""
    settings = asdict(replace(QUICK, **model))  # type: ignore[arg-type]  # a test names fields freely
    async with World.start(state, model=ModelSettings(**settings)) as world:
        text = topology_yaml(world.layout, provider="local", chat_timeout="1s")
        service = parse(text, "failover.yaml").services[0]
        probes = Probes()
        try:
            made = Enactor(world, service, probes, {name: settings[name] for name in ("first_token_s", "token_s")})
            for each in service.endpoints:
                await until(lambda each=each: world.endpoint(each.id), lambda seen: seen["ready"] >= seen["desired"])
            await made.adopt()
            yield made
        finally:
            await probes.close()
