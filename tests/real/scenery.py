"""The scenery of the stage: a service with two endpoints, and a small world that keeps state and counts effects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.core.governing import SlotAnswer, SlotRequest
from orchestrator.core.load import Observed
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.signals import Effect, Evidence
from orchestrator.core.steering import Fence, Routing
from orchestrator.core.topology import (
    Answer,
    Endpoint,
    Mode,
    Notify,
    NotifyKind,
    Policy,
    ProbeKind,
    ProbeSpec,
    Role,
    Service,
    SteeringSpec,
    Vantage,
    Weights,
    Workload,
)
from runbooks.plan import Analyse, Call, Check, Converge, Drain, FenceOff, Hook, Promote, Steer, Verify
from workflows import options
from workflows.wire import (
    Heartbeats,
    Look,
    LookRequest,
    Publication,
    RecheckRequest,
    StepResult,
    StepTask,
    Telling,
)
from workflows.wire.governor import SetbackQuestion, Setbacks

PROBE = ProbeSpec("http", ProbeKind.HTTP, interval_s=1.0, timeout_s=0.5)
VANTAGES = (
    Vantage(VantageId("v1"), Domain("alpha/paris")),
    Vantage(VantageId("v2"), Domain("beta/ohio")),
    Vantage(VantageId("v3"), Domain("onprem/tokyo")),
)
EU, US = EndpointId("eu"), EndpointId("us")
AT_HOME, AWAY = ((EU, 100), (US, 0)), ((EU, 0), (US, 100))
GRANTED = SlotAnswer(granted=True)
ALL_BORE = Setbacks()
TOLD = (Notify(NotifyKind.EXEC, command=("tell-somebody",)),)


def endpoint(name: str, region: str, address: str, role: Role = Role.STANDBY) -> Endpoint:
    return Endpoint(
        id=EndpointId(name),
        url=f"http://{address}:8000",
        region=Domain(region),
        role=role,
        answer=Answer("addresses", (address,)),
        capacity=100,
        workload=Workload("fake", name, serving=2, standby=1),
        probes=(PROBE,),
    )


def service(name: str = "chat", **policy: Any) -> Service:
    """A service in Paris with a standby in Ohio, automatic, without any waiting."""
    rules = Policy(mode=Mode.AUTOMATIC, rto_s=30.0, capacity=50, confirm_s=0.0, cooldown_s=60.0)
    return Service(
        id=ServiceId(name),
        name=f"{name}.example",
        endpoints=(
            endpoint("eu", "alpha/paris", "192.0.2.1", Role.ACTIVE),
            endpoint("us", "beta/ohio", "192.0.2.2"),
        ),
        steering=SteeringSpec("rfc2136", f"{name}.example.", "example.", ttl_s=1, primary="192.0.2.53:53"),
        policy=replace(rules, **policy),
    )


def at_home() -> Routing:
    """All traffic in Paris, under our fence."""
    return Routing(Answer("addresses", ("192.0.2.1",)), 1, Fence(7, "adopt", "adopt", AT_HOME))


def refusal(kind: str, text: str = "no") -> ApplicationError:
    """What an activity raises for a provider's final no of that name."""
    return ApplicationError(text, type=kind, non_retryable=True)


def passing(text: str = "not now") -> ApplicationError:
    """What an activity raises for what may work next time."""
    return ApplicationError(text, type="Transient")


@dataclass
class World:
    """DNS, workloads and people, as far as workflows can tell. It keeps state and counts effects."""

    clock: Callable[[], Awaitable[datetime]]
    routing: Routing = field(default_factory=at_home)
    beating: tuple[str, ...] = ("v1", "v2", "v3")
    replicas: dict[str, int] = field(default_factory=lambda: {"eu": 2, "us": 1})
    wrote: list[str] = field(default_factory=list)
    """Tokens of the writes that landed, in order."""
    scaled: list[tuple[str, str, int]] = field(default_factory=list)
    """Token, endpoint and replicas of each scaling, in order."""
    called: list[tuple[str, str]] = field(default_factory=list)
    """Key and address of each call of a hook that did something, in order."""
    told: list[Telling] = field(default_factory=list)
    published: list[Publication] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    """Every attempt at a step, in order."""
    tasks: list[tuple[str, StepTask]] = field(default_factory=list)
    """The same, with the queue it came by."""
    looks: int = 0
    in_flight: dict[str, int] = field(default_factory=dict)
    signals: dict[str, Effect] = field(default_factory=dict)
    """The endpoints of which a signal ``spot`` is active, and what it does."""
    """By endpoint: what heartbeats tell of its load now."""
    failing: dict[str, ApplicationError] = field(default_factory=dict)
    """By step id (``steer``, ``steer-undo``): what each attempt raises."""
    stumbling: dict[str, list[ApplicationError]] = field(default_factory=dict)
    """By step id: what the first attempts raise, one each."""
    half_done: dict[str, ApplicationError] = field(default_factory=dict)
    """By step id: what each attempt raises after it has done its work."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """By step id: it waits for this before it goes on."""
    hanging: dict[str, int] = field(default_factory=dict)
    """By step id: so many attempts never answer and never heartbeat."""
    lost_replies: dict[str, int] = field(default_factory=dict)
    """By step id: so many attempts do their work, and their answer never arrives."""
    ended: dict[str, str] = field(default_factory=dict)
    """By workflow id: how a run ended, where it did not say so itself."""
    blind: ApplicationError | None = None
    """What reading the world, and asking after a run, raise."""
    recheck_says: str | ApplicationError = ""
    governor_says: SlotAnswer | None = GRANTED
    """None: there is none."""
    turned_back: Setbacks | ApplicationError = ALL_BORE
    """What the governor says of returns, or that it says nothing."""
    looking: Callable[[StepTask], Awaitable[StepResult]] | None = None
    """Who really looks at a stage that holds; None: all is well at once."""
    asked: list[SlotRequest] = field(default_factory=list)
    """What the governor was asked, in order."""
    deaf: ApplicationError | None = None
    """What notifiers and the history store raise, where they are away."""
    mute: bool = False
    """Notifiers and the history store hang."""

    async def _begin(self, task: StepTask) -> None:
        self.steps.append(task.step)
        self.tasks.append((activity.info().task_queue, task))
        if self.hanging.get(task.step, 0) > 0:
            self.hanging[task.step] -= 1
            await asyncio.Event().wait()
        if gate := self.gates.get(task.step):
            while not gate.is_set():
                activity.heartbeat()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(gate.wait(), 0.05)
        if errors := self.stumbling.get(task.step):
            raise errors.pop(0)
        if error := self.failing.get(task.step):
            raise error

    async def _answer(self, task: StepTask, result: StepResult) -> StepResult:
        if self.lost_replies.get(task.step, 0) > 0:
            self.lost_replies[task.step] -= 1
            await asyncio.Event().wait()
        return result

    @activity.defn(name=options.STEP_ACTIVITY)
    async def step(self, task: StepTask) -> StepResult:
        await self._begin(task)
        really = self.looking if isinstance(task.work, Analyse) else None
        result = await really(task) if really is not None else self._do(task)
        if error := self.half_done.get(task.step):
            raise ApplicationError(error.message, result.replicas_before, type=error.type)
        return await self._answer(task, result)

    def _do(self, task: StepTask) -> StepResult:  # noqa: PLR0911  one case for each kind of work
        match task.work:
            case Promote(endpoint, _, replicas):
                before = self.replicas[endpoint]
                activity.heartbeat(before)
                if before < replicas:
                    self._scale(task, endpoint, replicas)
                return StepResult(replicas_before=before, text="ready")
            case Verify():
                return StepResult(text="2 good answers")
            case Steer():
                return StepResult(routing=self._write(task, task.work.expects, task.work), text="steered")
            case FenceOff(endpoint):
                self._scale(task, endpoint, 0)
                return StepResult(text="no replica is left")
            case Analyse():
                return StepResult(text="10 of 10 answers good")
            case Call(hook):
                return self._call(task, hook)
            case Converge() | Drain() | Check():
                return StepResult(text="done")
        return StepResult()

    def _call(self, task: StepTask, hook: Hook) -> StepResult:
        """The other side does the thing once for each key."""
        if (task.key, hook.url) not in self.called:
            self.called.append((task.key, hook.url))
        return StepResult(text=f"{hook.url} answered 200")

    def _scale(self, task: StepTask, endpoint: str, replicas: int) -> None:
        self.replicas[endpoint] = replicas
        self.scaled.append((task.key, endpoint, replicas))

    def _write(self, task: StepTask, expects: int, work: Steer) -> Routing:
        if self.routing.fence and self.routing.fence.token == task.key:
            return self.routing
        if self.routing.generation != expects:
            raise refusal("StaleGeneration", "somebody is ahead")
        self.wrote.append(task.key)
        weights, answer = (work.weights, work.answer)
        if task.step.endswith("-undo") and work.before and (origin := work.origin or work.was):
            weights, answer = work.before, origin
        self.routing = Routing(answer, 1, Fence(expects + 1, task.run, task.step, weights))
        return self.routing

    @activity.defn(name=options.UNDO_ACTIVITY)
    async def undo(self, task: StepTask) -> StepResult:
        await self._begin(task)
        return await self._answer(task, self._undo(task))

    def _undo(self, task: StepTask) -> StepResult:
        match task.work:
            case Steer(before=before) if self._wrote(task) == before:
                return StepResult(routing=self.routing, text="back already")
            case Steer(expects=expects) if self.routing.generation > expects:
                return StepResult(routing=self._write(task, expects + 1, task.work), text="back")
            case Promote(endpoint) if task.replicas_before is not None:
                self._scale(task, endpoint, task.replicas_before)
            case Call(back=back) if back is not None:
                return self._call(task, back)
        return StepResult(text="undone")

    def _wrote(self, task: StepTask) -> Weights | None:
        """The weights that the task's own run wrote last; None where somebody else's stand."""
        fence = self.routing.fence
        return fence.weights if fence is not None and fence.run == task.run else None

    @activity.defn(name=options.ADOPT_ACTIVITY)
    async def adopt(self, service: Service, run: str) -> Routing:
        if self.routing.fence is None:
            self.routing = replace(self.routing, fence=Fence(1, run, "adopt", AT_HOME))
        return self.routing

    @activity.defn(name=options.LOOK_ACTIVITY)
    async def look(self, request: LookRequest) -> Look:
        self.looks += 1
        if self.blind is not None:
            raise self.blind
        # A local activity's own times are the machine's, which is not asleep while the test server's time is skipped.
        now = await self.clock()
        loads = tuple(Observed(EndpointId(name), count, now) for name, count in sorted(self.in_flight.items()))
        signs = tuple(
            Evidence(EndpointId(name), "spot", effect, "reclaimed in 2 min", now)
            for name, effect in sorted(self.signals.items())
        )
        return Look(Heartbeats(tuple((VantageId(v), now) for v in self.beating), loads, signs), self.routing)

    @activity.defn(name=options.DESCRIBE_RUN)
    async def describe_run(self, workflow_id: str) -> str:
        if self.blind is not None:
            raise self.blind
        # The time-skipping server does not survive a describe of a terminated workflow.
        return self.ended.get(workflow_id, "RUNNING")

    @activity.defn(name=options.ACQUIRE_SLOT)
    async def acquire(self, request: SlotRequest) -> SlotAnswer:
        if self.governor_says is None:
            raise refusal("Refused", "there is no governor")
        self.asked.append(request)
        return self.governor_says

    @activity.defn(name=options.SETBACKS)
    async def setbacks(self, asked: SetbackQuestion) -> Setbacks:
        if isinstance(self.turned_back, ApplicationError):
            raise self.turned_back
        return Setbacks(tuple(each for each in self.turned_back.found if each.region in asked.regions))

    @activity.defn(name=options.RECHECK)
    async def recheck(self, request: RecheckRequest) -> str:
        if isinstance(self.recheck_says, ApplicationError):
            raise self.recheck_says
        return self.recheck_says

    @activity.defn(name=options.TELL)
    async def tell(self, telling: Telling) -> None:
        await self._herald()
        self.told.append(telling)

    @activity.defn(name=options.PUBLISH)
    async def publish(self, publication: Publication) -> None:
        await self._herald()
        self.published.append(publication)

    async def _herald(self) -> None:
        if self.mute:
            await asyncio.Event().wait()
        if self.deaf is not None:
            raise self.deaf

    @property
    def pulse(self) -> int:
        """Changes whenever the world is asked something."""
        return self.looks + len(self.steps) + len(self.told) + len(self.published)

    def events(self) -> list[str]:
        """What people were told, in order."""
        return [telling.event for telling in self.told]

    def activities(self) -> list[Callable[..., Any]]:
        return [
            *(self.step, self.undo, self.adopt, self.look, self.describe_run, self.recheck, self.acquire),
            self.setbacks,
        ]
