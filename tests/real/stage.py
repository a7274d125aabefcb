"""A stage for workflows: the time-skipping server, the real workflows, and the scenery's small world."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from orchestrator.core.health import EndpointState, Health
from orchestrator.core.names import EndpointId, VantageId
from orchestrator.core.quorum import Report
from orchestrator.core.topology import Notify, Service, Vantage
from orchestrator.runtime.sandbox import runner
from real.scenery import EU, TOLD, US, VANTAGES, World, endpoint, service
from real.temporal import TemporalServer, binary
from real.timers import TIMERS_STAY
from workflows import options
from workflows.domain import DomainWorkflow
from workflows.drill import DrillWorkflow
from workflows.failover import FailoverWorkflow
from workflows.governor import GovernorWorkflow
from workflows.herald import HeraldWorkflow
from workflows.lost import LostWorkflow
from workflows.service import ServiceWorkflow
from workflows.topology import TopologyWorkflow
from workflows.turn import TurnWorkflow
from workflows.watch import WatchWorkflow
from workflows.wire import (
    CONTROL_QUEUE,
    HISTORY_QUEUE,
    TELLING_QUEUE,
    Heartbeats,
    ServiceState,
    ServiceStatus,
    Slice,
    StatusQuestion,
    service_id,
    steps_queue,
)

__all__ = [
    "EU",
    "US",
    "VANTAGES",
    "RealTime",
    "Stage",
    "World",
    "control",
    "endpoint",
    "real_time",
    "service",
    "staff",
    "stage",
    "time_skipping",
    "until",
]

WORKFLOWS = (
    DomainWorkflow,
    DrillWorkflow,
    FailoverWorkflow,
    GovernorWorkflow,
    HeraldWorkflow,
    LostWorkflow,
    ServiceWorkflow,
    TopologyWorkflow,
    TurnWorkflow,
    WatchWorkflow,
)


class RealTime:
    """A server on which time passes by itself, for a stage."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def get_current_time(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta | float) -> None:
        await asyncio.sleep(duration.total_seconds() if isinstance(duration, timedelta) else duration)


@dataclass
class Stage:
    """One service on the stage, and what tests do to it."""

    env: WorkflowEnvironment | RealTime
    world: World
    service: Service
    seq: int = 0

    @property
    def client(self) -> Client:
        return self.env.client

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(service_id(self.service.id))

    def slice(self, revision: int = 1, notify: tuple[Notify, ...] = TOLD) -> Slice:
        return Slice(revision, self.service, VANTAGES, notify=notify, simulates_hosts=True)

    async def open(self, *, vantages: tuple[Vantage, ...] = VANTAGES, **changes: Any) -> None:
        """Start the service's workflow."""
        state = ServiceState(Slice(1, self.service, vantages, notify=TOLD, simulates_hosts=True), **changes)
        await self.client.start_workflow("service", state, id=service_id(self.service.id), task_queue=CONTROL_QUEUE)

    async def report(
        self, vantage: str, *, age_s: float = 0.5, in_a_rush: bool = False, **healths: Health | str
    ) -> None:
        """One vantage says how it sees each endpoint: ``await stage.report("v1", eu="down", us="healthy")``.

        It waits for its turn unless *in_a_rush*: the test server may lose a workflow task that a signal meets.
        """
        if not in_a_rush:
            await self.settled()
        self.seq += 1
        states = tuple(
            EndpointState(EndpointId(name), Health(health), "http: connect timed out", age_s + 0.5, age_s, health == OK)
            for name, health in healths.items()
        )
        await self.handle.signal(
            "report", Report(self.service.id, VantageId(vantage), 0, vantage, 1, self.seq, 1, False, states)
        )

    async def all_say(self, *, age_s: float = 0.5, **healths: Health | str) -> None:
        for vantage in ("v1", "v2", "v3"):
            await self.report(vantage, age_s=age_s, **healths)

    async def status(self) -> ServiceStatus:
        now = await self.env.get_current_time()
        heard = Heartbeats(tuple((VantageId(v), now) for v in self.world.beating))
        status: ServiceStatus = await self.handle.query("status", StatusQuestion(now, heard), result_type=ServiceStatus)
        return status

    async def until(self, true: Callable[[ServiceStatus], bool], within_s: float = 45.0) -> ServiceStatus:
        """The status as soon as *true* of it."""
        return await until(self.status, true, within_s)

    async def closed(self, runs: int = 1, within_s: float = 45.0) -> ServiceStatus:
        """The status as soon as so many runs are closed and none is in progress; time is skipped."""

        async def ask() -> ServiceStatus:
            await self.pass_(seconds=2)
            return await self.status()

        return await until(ask, lambda s: s.run is None and len(s.last_runs) >= runs, within_s)

    async def settled(self) -> None:
        """Wait until the service has taken in all that was said to it: time that is skipped before is lost to it."""

        async def last() -> EventType.ValueType:
            return (await self.handle.fetch_history()).events[-1].event_type

        await until(last, lambda kind: kind not in UNSETTLED)

    async def _still(self, passing: asyncio.Future[None]) -> bool:
        """Whether nothing at all happened for a second in which time should have been skipped."""
        before = self.world.pulse
        for _ in range(10):
            await asyncio.wait([passing], timeout=0.1)
            last = (await self.handle.fetch_history()).events[-1].event_type
            if passing.done() or last in UNSETTLED or self.world.pulse != before:
                return False
        return True

    async def pass_(self, **span: float) -> None:
        """Time passes, without being waited for: ``await stage.pass_(minutes=2)``."""
        await self.settled()
        passing = asyncio.ensure_future(self.env.sleep(timedelta(**span)))
        while not passing.done():
            if await self._still(passing) and isinstance(self.env, WorkflowEnvironment):
                # The test server never unlocks time after a child has outlived its parent, as a herald does.
                await self.client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
        await passing


OK = "healthy"
UNSETTLED = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
)


async def until(ask: Callable[[], Awaitable[Any]], true: Callable[[Any], bool], within_s: float = 45.0) -> Any:
    """What *ask* answers, as soon as it is *true*. A server that is too busy to answer in time has not answered yet."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            answer = await ask()
        except RPCError as error:
            if error.status not in {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED}:
                raise
            answer = error
        else:
            if true(answer):
                return answer
        assert asyncio.get_running_loop().time() < deadline, f"never came true; the last answer was {answer}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """Temporal's time-skipping test server, from its pinned package."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"),
        data_converter=pydantic_data_converter,
        plugins=[TIMERS_STAY],
    ) as env:
        yield env


@contextlib.asynccontextmanager
async def real_time() -> AsyncIterator[Client]:
    """Temporal's development server, on which time passes by itself."""
    server = TemporalServer()
    await server.start()
    try:
        for attempt in range(100):
            try:
                client = await Client.connect(server.address, data_converter=pydantic_data_converter)
                break
            except RuntimeError:
                # It takes connections a little before it answers.
                if attempt == 99:
                    raise
                await asyncio.sleep(0.1)
        yield client
    finally:
        await server.kill()


def control(client: Client, *acts: Callable[..., Any]) -> Worker:
    """A worker for every workflow, as the product runs it, with *acts* as its activities."""
    return Worker(
        client,
        task_queue=CONTROL_QUEUE,
        workflows=WORKFLOWS,
        activities=acts,
        workflow_runner=runner(),
        identity=f"control-{uuid.uuid4()}",
        max_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
        default_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
        disable_eager_activity_execution=True,
    )


@contextlib.asynccontextmanager
async def desk(client: Client, world: World, *acts: Callable[..., Any]) -> AsyncIterator[None]:
    """A worker for every workflow with *acts* as its activities, and those that take the news to *world*."""
    async with (
        control(client, *acts),
        Worker(client, task_queue=TELLING_QUEUE, activities=[world.tell]),
        Worker(client, task_queue=HISTORY_QUEUE, activities=[world.publish]),
    ):
        yield


@contextlib.asynccontextmanager
async def staff(client: Client, world: World, *more: Callable[..., Any]) -> AsyncIterator[None]:
    """A worker for everything, and one for the steps of each vantage's domain; *more* activities join in."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(desk(client, world, *world.activities(), *more))
        for vantage in VANTAGES:
            queue = steps_queue(vantage.region)
            await stack.enter_async_context(Worker(client, task_queue=queue, activities=[world.step, world.undo]))
        yield


@contextlib.asynccontextmanager
async def stage(*more: Callable[..., Any], played: Service | None = None) -> AsyncIterator[Stage]:
    """The time-skipping server with a worker for everything; *more* activities join in."""
    async with time_skipping() as env:
        world = World(env.get_current_time)
        async with staff(env.client, world, *more):
            yield Stage(env, world, played or service())
