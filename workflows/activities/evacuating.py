"""Evacuating a failure domain: who is inside, asking each service to leave, and waiting until it has."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from orchestrator.config import restore
from orchestrator.core.decision import Request
from orchestrator.core.evacuation import leaving
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import Domain
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Record, RunStatus
from workflows import options
from workflows.activities.documents import unpack
from workflows.wire import (
    TOPOLOGY_ID,
    Applied,
    FailoverRequest,
    Refusal,
    ServiceStatus,
    Started,
    StatusQuestion,
    run_workflow_id,
    service_id,
)
from workflows.wire.evacuation import ArrivalQuestion, Departed, DepartureTask, Fate, Inside

POLL_S = 0.25
_ANSWER: Any = Started | Refusal  # a union is no type for type checkers, and the SDK takes any


class Evacuating:
    """Activities of the domain workflow."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=options.LIST_INSIDE)
    async def list_inside(self, domain: Domain) -> Inside:
        """The services that have endpoints in *domain*, by the topology in force."""
        applied: Applied = await self._client.get_workflow_handle(TOPOLOGY_ID).query("applied", result_type=Applied)
        return Inside(leaving(restore(unpack(applied.document)), domain) if applied.document else ())

    @activity.defn(name=options.DEPART)
    async def depart(self, task: DepartureTask) -> Departed:
        """Ask the service to leave. The request's id makes a retry harmless: it is answered with the same run."""
        handle = self._client.get_workflow_handle(service_id(task.service))
        status: ServiceStatus = await handle.query(
            "status", StatusQuestion(datetime.now(UTC)), result_type=ServiceStatus
        )
        carrying = [each.id for each in status.endpoints if each.weight and each.id in task.endpoints]
        known = any(each.weight is not None for each in status.endpoints)
        if known and not carrying and status.run is None:
            return Departed(Fate.NOTHING, text=f"it sends no traffic to {task.domain}")
        down = {each.endpoint for each in status.assessments if each.verdict is Verdict.DOWN}
        kind = MoveKind.FAILOVER if down & set(task.endpoints) else MoveKind.SWITCHOVER
        trigger = Trigger(task.by, f"evacuation of {task.domain}: {task.reason}", task.overrides)
        request = FailoverRequest(
            id=f"evacuation-{task.evacuation}-{task.service}",
            request=Request(kind, trigger, leaving=task.endpoints),
            evacuating=task.domain,
        )
        activity.heartbeat()
        try:
            answer: Started | Refusal = await handle.execute_update("request", request, result_type=_ANSWER)
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            said = cause.message if isinstance(cause, ApplicationError) else str(cause)
            return Departed(Fate.FAILED, text=said)
        if isinstance(answer, Started):
            return Departed(Fate.MOVING, run=answer.run)
        crowded = {reason.rule for reason in answer.reasons} == {"too-many-at-once"}
        text = "; ".join(reason.text for reason in answer.reasons)
        return Departed(Fate.WAITING if crowded else Fate.REFUSED, text=text)

    @activity.defn(name=options.AWAIT_ARRIVAL)
    async def await_arrival(self, question: ArrivalQuestion) -> Departed:
        """Wait until the run is closed."""
        handle = self._client.get_workflow_handle(run_workflow_id(question.service, question.run))
        while True:
            activity.heartbeat()
            try:
                record: Record = await handle.query("record", result_type=Record)
            except RPCError:
                await asyncio.sleep(POLL_S)
                continue
            if record.status is not RunStatus.RUNNING:
                fate = Fate.MOVED if record.status is RunStatus.COMPLETED else Fate.FAILED
                return Departed(fate, run=question.run, text=record.entries[-1].text if record.entries else "")
            await asyncio.sleep(POLL_S)
