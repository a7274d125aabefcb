"""Actors for the stage: a prober that dies when it is told to, and the worlds of drills of each level."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.core.health import EndpointState, Health
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.quorum import Seed, Seeded
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from orchestrator.core.rehearsal import shadow_of
from orchestrator.core.topology import Service, Workload
from real.scenery import AT_HOME, AWAY, EU, TOLD, US, VANTAGES, at_home, service
from runbooks.books import book
from runbooks.plan import Plan
from runbooks.planner import Ground, plan
from workflows import options
from workflows.wire import (
    FailbackTask,
    FaultSeen,
    FaultTask,
    RunQuestion,
    RunSeen,
    Slice,
    Started,
    Steady,
    SteadyQuestion,
    Watch,
)
from workflows.wire.drill import (
    CanaryTask,
    DryDecision,
    DryQuestion,
    DrySeen,
    GovernorQuestion,
    ShadowQuestion,
    ShadowSeen,
)

CHAT = ServiceId("chat")
DOWN = Seed(3, (Seeded(ServiceId("chat"), EndpointState(EndpointId("eu"), Health.DOWN, "http: refused")),))


@dataclass
class Prober:
    """A prober that heartbeats what it is told to, and dies, fails or ends when it is told to."""

    began: list[tuple[datetime, Watch]] = field(default_factory=list)
    ends: Callable[[Watch], str] = lambda _: "never"
    """By epoch: ``never``, ``dies`` (falls silent), ``fails`` or ``returns``."""
    seed: Seed = DOWN
    stopped: int = 0

    @activity.defn(name=options.PROBE_ACTIVITY)
    async def probe(self, watch: Watch) -> Seed:
        self.began.append((activity.info().started_time, watch))
        activity.heartbeat(self.seed)
        match self.ends(watch):
            case "returns":
                return self.seed
            case "fails":
                raise ApplicationError("the engine broke", type="Bug")
            case "dies":
                await asyncio.Event().wait()
        try:
            while True:
                activity.heartbeat(self.seed)
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.stopped += 1
            raise

    @property
    def epochs(self) -> list[int]:
        return [watch.epoch for _, watch in self.began]


def record(number: int, kind: MoveKind, took_s: float, status: RunStatus = RunStatus.COMPLETED) -> Record:
    """A closed run that recovered in that many seconds."""
    began = datetime(2024, 1, 1, tzinfo=UTC)
    source, target, before, after = (EU, US, AT_HOME, AWAY) if kind is MoveKind.FAILOVER else (US, EU, AWAY, AT_HOME)
    marks = ((Mark.LAST_GOOD, 0.0), (Mark.DETECTED, 1.0), (Mark.CONVERGED, took_s))
    return Record(
        run=RunId(f"chat-20240101-000000-{number:04x}"),
        service=CHAT,
        kind=kind,
        trigger=Trigger("automatic", "down"),
        status=status,
        started=began,
        objective_s=30.0,
        source=(source,),
        target=target,
        before=before,
        after=after,
        revision=1,
        generation=7,
        runbook="region-failover",
        steps=(),
        entries=tuple(Entry(began + timedelta(seconds=at), mark, mark.value) for mark, at in marks),
    )


@dataclass
class Rehearsal:
    """The world of one drill: a fault that is in or out, and a service that reacts to it or does not."""

    fault: FaultTask | None = None
    """The fault that is in."""
    injected: list[FaultTask] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    expired: bool = False
    """The fault came out by itself."""
    well: bool = True
    reacts: bool = True
    took_s: float = 9.0
    ended: RunStatus = RunStatus.COMPLETED
    home: EndpointId = EU
    workload: Workload | None = field(default_factory=lambda: Workload("fake", "eu"))
    broken: dict[str, list[ApplicationError]] = field(default_factory=dict)
    """By activity: what its first attempts raise."""
    frozen: str = ""
    """Why nothing may be drilled now."""
    waiting: asyncio.Event | None = None
    """The failover is waited for until this is set."""

    clearing: asyncio.Event | None = None
    """The fault stays in until this is set."""
    asked: bool = False
    """Somebody asked to take the fault out."""

    def _stumble(self, name: str) -> None:
        if errors := self.broken.get(name):
            raise errors.pop(0)

    @activity.defn(name=options.INJECT)
    async def inject(self, task: FaultTask) -> FaultSeen:
        self.injected.append(task)
        self.fault = task
        self._stumble(options.INJECT)
        return FaultSeen(active=True, expired=False)

    @activity.defn(name=options.CLEAR)
    async def clear(self, task: FaultTask) -> FaultSeen:
        self._stumble(options.CLEAR)
        self.asked = True
        if self.clearing is not None:
            await self.clearing.wait()
        self.fault = None
        self.cleared.append(task.key)
        return FaultSeen(active=False, expired=self.expired)

    @activity.defn(name=options.STEADY)
    async def steady(self, question: SteadyQuestion) -> Steady:
        self._stumble(options.STEADY)
        active = self.home
        if not self.well or self.fault is not None:
            return Steady(False, "eu is down: http: refused", active, self.workload, 30.0)
        if question.home not in {None, active}:
            return Steady(False, f"traffic is at {active}, not at {question.home}", active, self.workload, 30.0)
        text = f"every endpoint is healthy, traffic at {active}"
        return Steady(True, text, active, self.workload, 30.0, (), self.frozen)

    @activity.defn(name=options.AWAIT_RUN)
    async def await_run(self, question: RunQuestion) -> RunSeen:
        self._stumble(options.AWAIT_RUN)
        while self.waiting is not None and not self.waiting.is_set():
            activity.heartbeat()
            await asyncio.sleep(0.05)
        if question.run is not None:
            self.home = EU
            return RunSeen(record(2, MoveKind.FAILBACK, 2.0))
        if not self.reacts:
            return RunSeen(None, "service 'chat' is in mode observe")
        self.home = US
        return RunSeen(record(1, MoveKind.FAILOVER, self.took_s, self.ended))

    @activity.defn(name=options.ASK_FAILBACK)
    async def ask_failback(self, task: FailbackTask) -> Started:
        self._stumble(options.ASK_FAILBACK)
        assert self.fault is None, "nobody goes home into a fault"
        return Started(record(2, MoveKind.FAILBACK, 2.0).run, "failover/chat/2")

    def activities(self) -> tuple[Callable[..., Any], ...]:
        return (self.inject, self.clear, self.steady, self.await_run, self.ask_failback)


@dataclass
class Canary:
    """The record that a synthetic drill moves, as far as the drill can tell."""

    refuses: str = ""
    lost: str = ""
    full: str = ""
    """What the governor would refuse the real move for."""
    put: list[CanaryTask] = field(default_factory=list)
    settled: list[CanaryTask] = field(default_factory=list)

    @activity.defn(name=options.SHADOW)
    async def shadow(self, question: ShadowQuestion) -> ShadowSeen:
        piece = Slice(1, shadow_of(service()), VANTAGES, notify=TOLD, simulates_hosts=True, drill=question.drill)
        return ShadowSeen("", piece, question.target or EU)

    @activity.defn(name=options.CANARY)
    async def canary(self, task: CanaryTask) -> DrySeen:
        self.put.append(task)
        return DrySeen(not self.refuses, self.refuses or "_drill.chat.example. is at eu, generation 1")

    @activity.defn(name=options.SETTLE_SHADOW)
    async def settle(self, task: CanaryTask) -> DrySeen:
        self.settled.append(task)
        return DrySeen(not self.lost, self.lost or "_drill.chat.example. is at eu, generation 3")

    @activity.defn(name=options.GOVERNOR_SAYS)
    async def governor(self, question: GovernorQuestion) -> DrySeen:
        assert (question.service, question.kind) == (CHAT, MoveKind.FAILOVER), "the real move, not the shadow's"
        return DrySeen(not self.full, self.full or "the governor would let it go")

    @activity.defn(name=options.PROBE_SHADOW)
    async def probe(self, watch: Watch) -> Seed:
        assert watch.rehearsed is not None
        while True:
            activity.heartbeat(Seed(watch.epoch, ()))
            await asyncio.sleep(0.05)

    def activities(self) -> tuple[Callable[..., Any], ...]:
        return (self.shadow, self.canary, self.settle, self.governor)


@dataclass
class Readiness:
    """What a dry drill finds: a plan, and everything that it needs."""

    colds: tuple[EndpointId, ...] = ()
    """What runs nothing now."""

    @activity.defn(name=options.DRY_DECIDE)
    async def decide(self, question: DryQuestion) -> DryDecision:
        there, run = service(), RunId("preview")
        move = Move(there.id, MoveKind.FAILOVER, (EU,), US, AWAY, (there.endpoint(EU).region,))
        made = plan(
            move,
            Ground(there, at_home(), 1),
            run=run,
            trigger=Trigger("automatic", "down"),
            book=book("region-failover"),
        )
        return DryDecision(True, "the traffic would go to us", question.target or EU, there, made)

    @activity.defn(name=options.DRY_CAPACITY)
    async def capacity(self, asked: Plan) -> DrySeen:
        return DrySeen(True, f"{asked.target} has 1 of the 2 replicas it would get", colds=self.colds)

    @activity.defn(name=options.DRY_STEERING)
    async def steering(self, asked: Service) -> DrySeen:
        return DrySeen(True, f"every server of {asked.name} answers")

    def activities(self) -> tuple[Callable[..., Any], ...]:
        return (self.decide, self.capacity, self.steering)
