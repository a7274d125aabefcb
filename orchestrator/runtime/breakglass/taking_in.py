"""Taking a break-glass run into the record, once Temporal is back: service, page and history learn of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from orchestrator.core.record import Record
from orchestrator.core.steering import Routing
from orchestrator.runtime.asking import Asking
from orchestrator.runtime.breakglass.account import account, record
from orchestrator.runtime.breakglass.journal import BadJournal, read
from orchestrator.runtime.control import ControlPlane, ControlPlaneAway
from workflows.wire import RunClosed, service_id

WITHIN_S = 15.0
POLL_S = 0.1


def record_of(path: Path) -> tuple[Record, Routing | None]:
    """The record that the journal at *path* tells, and the routing it left. Raises BadJournal for one not ended."""
    opened, lines = read(path)
    told = account(opened, lines)
    if told.status is None:
        run = told.plan.run
        raise BadJournal(
            f"{path}: run {run} has not ended; go on with it by break-glass run, or end it by break-glass abort"
        )
    return record(told), told.routing


async def take_in(plane: ControlPlane, told: Record, routing: Routing | None) -> bool:
    """Have the service of the run take it in; whether it was new to it. Returns when it is there.

    Raises NoSuch where no such service is, ControlPlaneAway where nobody answers. Idempotent by the run's id.
    """
    status = await plane.status(told.service)
    if told in status.last_runs:
        return False
    service = plane.client.get_workflow_handle(service_id(told.service))
    closed = RunClosed(told.run, told.status, told, routing)
    await Asking(plane.client).call(service.signal("take_in", closed))
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while not any(each.run == told.run for each in (await plane.status(told.service)).last_runs):
        if asyncio.get_running_loop().time() > deadline:
            raise ControlPlaneAway(f"service '{told.service}' has not taken it in within {WITHIN_S:g} s: try again")
        await asyncio.sleep(POLL_S)
    return True
