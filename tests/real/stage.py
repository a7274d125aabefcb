"""A stage for workflows: the time-skipping server, the real workflows, and a small world that keeps state."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from orchestrator.core.health import EndpointState, Health
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.quorum import Report
from orchestrator.core.steering import Fence, Routing
from orchestrator.core.topology import (
    Answer,
    Endpoint,
    Mode,
    Policy,
    ProbeKind,
    ProbeSpec,
    Role,
    Service,
    SteeringSpec,
    Vantage,
    Workload,
)
from orchestrator.runtime.sandbox import runner
from real.temporal import binary
from runbooks.plan import Converge, Drain, Promote, Steer, Verify
from workflows import options
from workflows.drill import DrillWorkflow
from workflows.failover import FailoverWorkflow
from workflows.herald import HeraldWorkflow
from workflows.service import ServiceWorkflow
from workflows.topology import TopologyWorkflow
from workflows.watch import WatchWorkflow
from workflows.wire import (
    CONTROL_QUEUE,
    Heartbeats,
    Look,
    LookRequest,
    Publication,
    RecheckRequest,
    ServiceState,
    ServiceStatus,
    Slice,
    StatusQuestion,
    StepResult,
    StepTask,
    Telling,
    service_id,
    steps_queue,
)

PROBE = ProbeSpec("http", ProbeKind.HTTP, interval_s=1.0, timeout_s=0.5)
VANTAGES = (
    Vantage(VantageId("v1"), Domain("alpha/paris")),
    Vantage(VantageId("v2"), Domain("beta/ohio")),
    Vantage(VantageId("v3"), Domain("onprem/tokyo")),
)
EU, US = EndpointId("eu"), EndpointId("us")


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


@dataclass
class World:
    """DNS, workloads and people, as far as workflows can tell. It keeps state and counts effects."""

    routing: Routing
    beating: tuple[str, ...] = ("v1", "v2", "v3")
    wrote: list[str] = field(default_factory=list)
    """Tokens of the writes that landed, in order."""
    told: list[Telling] = field(default_factory=list)
    published: list[Publication] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    asked_and_answered: list[str] = field(default_factory=list)
    failing: dict[str, ApplicationError] = field(default_factory=dict)
    """By step id (``steer``, ``steer-undo``): what it raises."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """By step id: it waits for this before it goes on."""
    ended: dict[str, str] = field(default_factory=dict)
    """By workflow id: how a run ended, where it did not say so itself."""
    recheck_says: str = ""

    async def _begin(self, task: StepTask) -> None:
        self.steps.append(task.step)
        if gate := self.gates.get(task.step):
            while not gate.is_set():
                activity.heartbeat()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(gate.wait(), 0.05)
        if error := self.failing.get(task.step):
            raise error

    @activity.defn(name=options.STEP_ACTIVITY)
    async def step(self, task: StepTask) -> StepResult:
        await self._begin(task)
        result = self._do(task)
        self.asked_and_answered.append(task.step)
        return result

    def _do(self, task: StepTask) -> StepResult:
        match task.work:
            case Promote():
                return StepResult(replicas_before=1, text="ready")
            case Verify():
                return StepResult(text="2 good answers")
            case Steer():
                return StepResult(routing=self._write(task, task.work.expects, task.work), text="steered")
            case Converge() | Drain():
                return StepResult(text="done")
        return StepResult()

    def _write(self, task: StepTask, expects: int, work: Steer) -> Routing:
        if self.routing.fence and self.routing.fence.token == task.key:
            return self.routing
        if self.routing.generation != expects:
            raise ApplicationError("somebody is ahead", type="StaleGeneration", non_retryable=True)
        self.wrote.append(task.key)
        weights, answer = (work.weights, work.answer)
        if task.step.endswith("-undo") and work.before and work.was:
            weights, answer = work.before, work.was
        self.routing = Routing(answer, 1, Fence(expects + 1, task.run, task.step, weights))
        return self.routing

    @activity.defn(name=options.UNDO_ACTIVITY)
    async def undo(self, task: StepTask) -> StepResult:
        await self._begin(task)
        if isinstance(task.work, Steer):
            return StepResult(routing=self._write(task, task.work.expects + 1, task.work), text="back")
        return StepResult(text="undone")

    @activity.defn(name=options.LOOK_ACTIVITY)
    async def look(self, request: LookRequest) -> Look:
        now = activity.info().started_time
        return Look(Heartbeats(tuple((VantageId(v), now) for v in self.beating)), self.routing)

    @activity.defn(name=options.DESCRIBE_RUN)
    async def describe_run(self, workflow_id: str) -> str:
        # The time-skipping server does not survive a describe of a terminated workflow.
        return self.ended.get(workflow_id, "RUNNING")

    @activity.defn(name=options.RECHECK)
    async def recheck(self, request: RecheckRequest) -> str:
        return self.recheck_says

    @activity.defn(name=options.TELL)
    async def tell(self, telling: Telling) -> None:
        self.told.append(telling)

    @activity.defn(name=options.PUBLISH)
    async def publish(self, publication: Publication) -> None:
        self.published.append(publication)

    def activities(self) -> list[Callable[..., Any]]:
        return [
            *(self.step, self.undo, self.look, self.describe_run, self.recheck, self.tell, self.publish),
        ]


@dataclass
class Stage:
    """One service on the stage, and what tests do to it."""

    env: WorkflowEnvironment
    world: World
    service: Service
    seq: int = 0

    @property
    def client(self) -> Client:
        return self.env.client

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(service_id(self.service.id))

    async def open(self, *, vantages: tuple[Vantage, ...] = VANTAGES, **changes: Any) -> None:
        """Start the service's workflow."""
        state = ServiceState(Slice(1, self.service, vantages, simulates_hosts=True), **changes)
        await self.client.start_workflow("service", state, id=service_id(self.service.id), task_queue=CONTROL_QUEUE)

    async def report(self, vantage: str, **healths: Health | str) -> None:
        """One vantage says how it sees each endpoint: ``await stage.report("v1", eu="down", us="healthy")``."""
        self.seq += 1
        states = tuple(
            EndpointState(EndpointId(name), Health(health), "http: connect timed out", 1.0, 0.5, health == "healthy")
            for name, health in healths.items()
        )
        await self.handle.signal(
            "report", Report(self.service.id, VantageId(vantage), 0, vantage, 1, self.seq, 1, False, states)
        )

    async def all_say(self, **healths: Health | str) -> None:
        for vantage in ("v1", "v2", "v3"):
            await self.report(vantage, **healths)

    async def status(self) -> ServiceStatus:
        now = await self.env.get_current_time()
        heard = Heartbeats(tuple((VantageId(v), now) for v in self.world.beating))
        status: ServiceStatus = await self.handle.query("status", StatusQuestion(now, heard), result_type=ServiceStatus)
        return status

    async def until(self, true: Callable[[ServiceStatus], bool], within_s: float = 20.0) -> ServiceStatus:
        """The status as soon as *true* of it."""
        return await until(self.status, true, within_s)


async def until(ask: Callable[[], Awaitable[Any]], true: Callable[[Any], bool], within_s: float = 20.0) -> Any:
    """What *ask* answers, as soon as it is *true*."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        answer = await ask()
        if true(answer):
            return answer
        assert asyncio.get_running_loop().time() < deadline, f"never came true; the last answer was {answer}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def stage(*more: Callable[..., Any], played: Service | None = None) -> AsyncIterator[Stage]:
    """The time-skipping server with a worker for everything; *more* activities join in."""
    actor = played or service()
    weights = ((EU, 100), (US, 0))
    routing = Routing(Answer("addresses", ("192.0.2.1",)), 1, Fence(7, "adopt", "adopt", weights))
    world = World(routing)
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"), data_converter=pydantic_data_converter
    ) as env:
        control = Worker(
            env.client,
            task_queue=CONTROL_QUEUE,
            workflows=[
                *(DrillWorkflow, FailoverWorkflow, HeraldWorkflow, ServiceWorkflow, TopologyWorkflow, WatchWorkflow),
            ],
            activities=[*world.activities(), *more],
            workflow_runner=runner(),
            identity=f"control-{uuid.uuid4()}",
        )
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(control)
            for vantage in VANTAGES:
                queue = steps_queue(vantage.region)
                await stack.enter_async_context(
                    Worker(env.client, task_queue=queue, activities=[world.step, world.undo])
                )
            yield Stage(env, world, actor)
