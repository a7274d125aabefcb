"""Asking a service's workflow what stands against a run's move, in the light of now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError

from orchestrator.core.easing import RULE
from orchestrator.core.governing import Ledger
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.underway import UnderWay
from providers.base import Refused, Transient
from runbooks.plan import Check
from workflows import options
from workflows.wire import (
    GOVERNOR_ID,
    Explanation,
    Look,
    LookRequest,
    PlanQuestion,
    Slice,
    StepTask,
    service_id,
    shard_of,
)

Read = Callable[[LookRequest], Awaitable[Look]]
"""Reads heartbeats and routing."""
READ_S = 1.0
"""How long the routing and the probers' heartbeats may take to read."""


class Weighing:
    """Weighs a step's move, by asking the workflow of its service."""

    def __init__(self, client: Client, read: Read) -> None:
        self._client = client
        self._read = read

    async def __call__(self, task: StepTask) -> tuple[Objection, ...]:
        """Every objection that stands now. Raises Transient where the service's workflow does not answer."""
        if task.target is None:
            raise Refused(f"run {task.run} names no target, so no safety rule can be asked about it")
        rules = task.work.rules if isinstance(task.work, Check) else ()
        move = Move(task.service, task.kind, task.source, task.target, task.after)
        handle = self._client.get_workflow_handle(service_id(task.service))
        try:
            piece: Slice = await handle.query("slice", result_type=Slice)
            request = LookRequest(
                service=task.service,
                vantages=tuple(vantage.id for vantage in piece.vantages),
                shard=shard_of(task.service, piece.shards),
                steering=piece.service.steering,
                budget_s=READ_S,
            )
            seen = await self._read(request)
            if not seen.heartbeats.heard:
                raise Transient(f"no vantage of service '{task.service}' could be heard within {READ_S:g} s")
            way = UnderWay(task.run, move, rules, task.overrides)
            question = PlanQuestion(datetime.now(UTC), seen, under_way=way, ledger=await self._ledger(move, rules))
            found: Explanation = await handle.query("explain", question, result_type=Explanation)
        except (RPCError, WorkflowQueryFailedError) as error:
            raise Transient(f"the workflow of service '{task.service}' cannot be asked: {error}") from error
        return found.reasons

    async def _ledger(self, move: Move, rules: tuple[str, ...]) -> Ledger | None:
        """What the governor holds; None where that says nothing of *move*, or nobody answers."""
        if move.kind is not MoveKind.FAILBACK or (rules and RULE not in rules):
            return None
        try:
            governor = self._client.get_workflow_handle(GOVERNOR_ID)
            ledger: Ledger = await governor.query("held", result_type=Ledger, rpc_timeout=options.GOVERNOR_ANSWERS)
        except (RPCError, WorkflowQueryFailedError):
            # Who was granted leave has it; what is not known holds up nobody who is on the way.
            return None
        return ledger
