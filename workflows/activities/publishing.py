"""Putting a topology in force: each service and each watch learns its part."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.config import restore
from orchestrator.core.crashes import Memory
from orchestrator.core.governing import Ledger
from orchestrator.core.move import Objection
from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Service, Topology
from runbooks.books import packed
from workflows import options
from workflows.activities.documents import unpack
from workflows.activities.looking import run_of
from workflows.wire import (
    CONTROL_QUEUE,
    GOVERNOR_ID,
    Published,
    Replace,
    ServiceState,
    Slice,
    StatusQuestion,
    WatchState,
    service_id,
    watch_id,
)
from workflows.wire.governor import GovernorState, Regime

AT_ONCE = 8
"""Services that are told of a new topology at one time."""
LAST_WORDS = timedelta(seconds=1)
"""How long a service that leaves may take to say how it has served."""


class Publishing:
    """Activities of the topology workflow."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=options.RUNNING_ENDPOINTS)
    async def running_endpoints(self, change: Replace) -> str:
        """Why the change must wait: a run holds an endpoint that it removes. Empty when it need not."""
        before, after = await _both(change)
        if before is None or after is None:
            return ""
        kept = {(service.id, endpoint.id) for service in after.services for endpoint in service.endpoints}
        for service in before.services:
            activity.heartbeat()
            lost = [endpoint.id for endpoint in service.endpoints if (service.id, endpoint.id) not in kept]
            run = await run_of(self._client, service.id) if lost else None
            if run:
                return (
                    f"run {run} holds service '{service.id}', and this topology removes its endpoint "
                    f"'{lost[0]}': apply again when the run is closed"
                )
        return ""

    @activity.defn(name=options.PUBLISH_TOPOLOGY)
    async def publish_topology(self, change: Replace) -> Published:
        """Tell every service and watch. Idempotent: an older revision changes nothing where a newer one stands."""
        before, after = await _both(change)
        if after is None:
            return Published()
        await self._govern(after, change.after.revision)
        known = {service.id for service in before.services} if before else set()
        places = asyncio.Semaphore(AT_ONCE)

        async def tell(service: Service) -> None:
            async with places:
                activity.heartbeat()
                await self._configure(service, after, change.after.revision, lost=service.id in known)

        async with asyncio.TaskGroup() as group:
            for service in after.services:
                group.create_task(tell(service))

        async def let_go(service: ServiceId) -> Memory | None:
            async with places:
                return await self._bid_farewell(service)

        gone = sorted(known - {each.id for each in after.services})
        memories = await asyncio.gather(*(let_go(service) for service in gone))
        wanted = {(vantage.id, shard) for vantage in after.vantages for shard in range(after.shards)}
        for vantage in after.vantages:
            for shard in range(after.shards):
                activity.heartbeat()
                await self._client.start_workflow(
                    "watch",
                    WatchState(vantage=vantage, shard=shard, shards=after.shards, notify=after.notify),
                    id=watch_id(vantage.id, shard),
                    task_queue=CONTROL_QUEUE,
                    task_timeout=options.TASK_TIMEOUT,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    start_signal="configure",
                    start_signal_args=[WatchState(vantage, shard, after.shards, notify=after.notify)],
                )
        old = {(v.id, shard) for v in before.vantages for shard in range(before.shards)} if before else set()
        for vantage_id, shard in sorted(old - wanted):
            await self._quietly(watch_id(vantage_id, shard), "stop")
        return Published(tuple(each for each in memories if each is not None))

    async def _bid_farewell(self, service: ServiceId) -> Memory | None:
        """Ask a service that leaves how it has served, as far as it can say, and let it go."""
        activity.heartbeat()
        memory: Memory | None = None
        with contextlib.suppress(RPCError, WorkflowQueryFailedError):
            handle, asked = self._client.get_workflow_handle(service_id(service)), StatusQuestion(datetime.now(UTC))
            memory = await handle.query("memory", asked, result_type=Memory, rpc_timeout=LAST_WORDS)
        await self._quietly(service_id(service), "retire")
        return memory

    async def _configure(self, service: Service, topology: Topology, revision: int, *, lost: bool) -> None:
        """Signal the service's workflow, or start it: held, where it should have been running."""
        piece = Slice(
            revision=revision,
            service=service,
            vantages=topology.vantages,
            notify=topology.notify,
            simulates_hosts=topology.simulates_hosts,
            shards=topology.shards,
            roles=topology.roles,
            books=tuple((file, packed(text, file)) for file, text in topology.books),
            orders=topology.orders,
        )
        held = Objection(
            "recreated",
            f"the workflow of '{service.id}' was lost and made anew: look at its routing, then "
            f"failover resume {service.id}",
        )
        await self._client.start_workflow(
            "service",
            ServiceState(slice=piece, held=(held,) if lost else (), remembers=datetime.now(UTC) if lost else None),
            id=service_id(service.id),
            task_queue=CONTROL_QUEUE,
            task_timeout=options.TASK_TIMEOUT,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            start_signal="configure",
            start_signal_args=[piece],
        )

    async def _govern(self, topology: Topology, revision: int) -> None:
        """Signal the governor, or start it: before any service can ask it under the new revision."""
        orders = topology.orders
        services = tuple(service.id for service in topology.services)
        await self._client.start_workflow(
            "governor",
            GovernorState(Ledger()),
            id=GOVERNOR_ID,
            task_queue=CONTROL_QUEUE,
            task_timeout=options.CROWD_TASK_TIMEOUT,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            start_signal="configure",
            start_signal_args=[Regime(revision, orders.limits, orders.pools, services)],
        )

    async def _quietly(self, workflow_id: str, signal: str) -> None:
        """Signal a workflow that may be gone already."""
        try:
            await self._client.get_workflow_handle(workflow_id).signal(signal)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


async def _both(change: Replace) -> tuple[Topology | None, Topology | None]:
    """Both documents, read in threads with a heartbeat all the while: thousands of endpoints take seconds."""
    texts = (change.before.document, change.after.document)
    reading = asyncio.gather(*(asyncio.to_thread(_topology, text) for text in texts))
    while not reading.done():
        activity.heartbeat()
        await asyncio.wait([reading], timeout=0.5)
    before, after = await reading
    return before, after


def _topology(document: str) -> Topology | None:
    return restore(unpack(document)) if document else None
