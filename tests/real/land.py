"""A land: a server with every worker and the topology's owner, without any topology yet."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Mode, Topology
from orchestrator.runtime.control import ControlPlane
from real.scenery import TOLD, VANTAGES, World, service
from real.stage import staff, time_skipping
from workflows.activities.publishing import Publishing
from workflows.wire import Applied, ServiceStatus, Slice, StatusQuestion, service_id

CHAT, CODE = ServiceId("chat"), ServiceId("code")


def topology(*names: str, shards: int = 1, mode: Mode = Mode.OBSERVE) -> Topology:
    services = tuple(service(name, mode=mode) for name in names)
    regions = tuple(vantage.region for vantage in VANTAGES)
    return Topology(tuple(sorted(regions)), VANTAGES, services, TOLD, simulates_hosts=True, shards=shards)


@dataclass
class Land:
    """A server with every worker, and the control plane that people use."""

    env: WorkflowEnvironment
    world: World
    plane: ControlPlane

    def handle(self, workflow: str) -> WorkflowHandle[Any, Any]:
        return self.env.client.get_workflow_handle(workflow)

    async def apply(self, wanted: Topology, expects: int, by: str = "ann", reason: str = "") -> Applied:
        return await self.plane.apply(wanted, expects=expects, by=by, reason=reason)

    async def slice(self, name: ServiceId) -> Slice:
        piece: Slice = await self.handle(service_id(name)).query("slice", result_type=Slice)
        return piece

    async def status(self, name: ServiceId) -> ServiceStatus:
        question = StatusQuestion(await self.env.get_current_time())
        status: ServiceStatus = await self.handle(service_id(name)).query("status", question, result_type=ServiceStatus)
        return status

    async def running(self, workflow: str) -> bool:
        return (await self.handle(workflow).describe()).status is WorkflowExecutionStatus.RUNNING


@contextlib.asynccontextmanager
async def landed() -> AsyncIterator[Land]:
    """A land on the time-skipping server."""
    async with time_skipping() as env:
        world, publishing = World(env.get_current_time), Publishing(env.client)
        async with staff(env.client, world, publishing.running_endpoints, publishing.publish_topology):
            yield Land(env, world, ControlPlane(env.client))
