"""Reading what a decision needs, as local activities: heartbeats, routing, the fate of a run. They write nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import VantageId
from orchestrator.core.quorum import Verdict
from orchestrator.core.steering import Routing
from orchestrator.core.topology import SteeringSpec
from providers import registry
from workflows import options
from workflows.wire import (
    Heartbeats,
    Look,
    LookRequest,
    RecheckRequest,
    ServiceStatus,
    StatusQuestion,
    service_id,
    shard_of,
    watch_id,
)


async def heartbeats(client: Client, vantages: tuple[VantageId, ...], shard: int) -> Heartbeats:
    """The server-stamped last heartbeat of each vantage's prober; those that do not probe are left out."""

    async def one(vantage: VantageId) -> tuple[VantageId, datetime] | None:
        try:
            described = await client.get_workflow_handle(watch_id(vantage, shard)).describe()
        except RPCError:
            return None
        stamps = [
            pending.last_heartbeat_time.ToDatetime(tzinfo=UTC)
            for pending in described.raw_description.pending_activities
            if pending.HasField("last_heartbeat_time")
        ]
        return (vantage, max(stamps)) if stamps else None

    heard = await asyncio.gather(*(one(vantage) for vantage in vantages))
    return Heartbeats(tuple(each for each in heard if each is not None))


async def routing(steering: SteeringSpec | None, budget_s: float) -> tuple[Routing | None, str]:
    """The routing at the primary, or why it could not be read within *budget_s*."""
    if steering is None:
        return None, "the service has no steering"
    try:
        async with asyncio.timeout(budget_s):
            return await registry.steering(steering).read(), ""
    except TimeoutError:
        return None, f"{steering.primary} did not answer within {budget_s:g} s"
    except FailoverError as error:
        return None, str(error)


async def look(client: Client, request: LookRequest) -> Look:
    """Heartbeats and routing, side by side, within the request's budget."""
    heard, (read, error) = await asyncio.gather(
        _within(heartbeats(client, request.vantages, request.shard), request.budget_s),
        routing(request.steering, request.budget_s),
    )
    return Look(heard, read, error)


async def _within(reading: object, budget_s: float) -> Heartbeats:
    try:
        async with asyncio.timeout(budget_s):
            result: Heartbeats = await reading  # type: ignore[misc] # always the coroutine of heartbeats
            return result
    except TimeoutError:
        return Heartbeats()


class Looking:
    """Local activities of the service and failover workflows."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=options.LOOK_ACTIVITY)
    async def look(self, request: LookRequest) -> Look:
        """Never raises for what cannot be read: it says so."""
        return await look(self._client, request)

    @activity.defn(name=options.DESCRIBE_RUN)
    async def describe_run(self, workflow_id: str) -> str:
        """The run's status as the server has it: ``RUNNING``, ``COMPLETED``, ``TERMINATED`` ... or ``GONE``."""
        try:
            described = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return "GONE"
            raise
        return described.status.name if described.status is not None else "RUNNING"

    @activity.defn(name=options.RECHECK)
    async def recheck(self, request: RecheckRequest) -> str:
        """Why traffic must not move after all: a source that is healthy again. Empty when it may."""
        handle = self._client.get_workflow_handle(service_id(request.service))
        status = await handle.query("status", StatusQuestion(datetime.now(UTC)), result_type=ServiceStatus)
        vantages = tuple(view.vantage for view in status.views)
        heard = await heartbeats(self._client, vantages, shard_of(request.service, status.shards))
        question = StatusQuestion(datetime.now(UTC), heard)
        status = await handle.query("status", question, result_type=ServiceStatus)
        well = [
            each.endpoint
            for each in status.assessments
            if each.endpoint in request.sources and each.verdict is Verdict.HEALTHY
        ]
        return f"{' and '.join(well)} is healthy again" if well and set(well) == set(request.sources) else ""
