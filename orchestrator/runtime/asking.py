"""Asking Temporal: queries and updates whose failures become one sentence each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import QueryRejectCondition
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.runtime.connection import ControlPlaneAway, NoSuch, RefusedByRule, Stale

ANSWERS = (timedelta(seconds=2), timedelta(seconds=4))
"""How long a question may take before nobody is thought to be at work. Asked twice: a frozen worker keeps one."""
UPDATE = timedelta(seconds=30)
AGAIN = "nobody decides for it any more; failover apply with the topology file makes it anew, held"
OTHER_VERSION = "TMPRL1100"
"""How Temporal's SDK begins the message about a history that this program's workflows would not have written."""
OTHERWISE = "run the workers of that version, or begin with an empty state"
_T = TypeVar("_T")


class NotAsked(RefusedByRule):
    """A service does not wait for an answer to that question: any more, or at all."""


class Begun(RefusedByRule):
    """A run does not wait for its leader any more: it has begun, or never will."""


_ERRORS: dict[str, type[FailoverError]] = {
    "Stale": Stale,
    "BadInput": BadInput,
    "NoQuestion": NotAsked,
    "Begun": Begun,
    **dict.fromkeys(("Held", "Refused", "StaleGeneration", "ChangedOutside"), RefusedByRule),
}
"""What an update's failure is for its caller; the others (a key that is wrong, a server that is away) just failed."""


class Asking:
    """Questions to workflows. Raises ControlPlaneAway, NoSuch, BadInput."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def query(
        self,
        workflow: str,
        query: str,
        answer: type[_T],
        argument: object = None,
        *,
        missing: str = "",
        running: bool = False,
    ) -> _T:
        """What *workflow* answers to *query*; with *running*, only while it runs."""
        handle: WorkflowHandle[Any, Any] = self._client.get_workflow_handle(workflow)

        async def ask(within: timedelta) -> _T:
            said: _T = await handle.query(
                query,
                args=[] if argument is None else [argument],
                result_type=answer,
                # One that was terminated would answer for ever with what it knew last, as if somebody still decided.
                reject_condition=QueryRejectCondition.NOT_OPEN if running else None,
                rpc_timeout=within,
            )
            return said

        async def twice() -> _T:
            first, second = ANSWERS
            try:
                return await ask(first)
            except RPCError as error:
                if error.status not in {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}:
                    raise
                return await ask(second)

        return await self.call(twice(), missing or f"there is no {workflow}")

    async def update(
        self,
        workflow: str,
        update: str,
        argument: object,
        answer: type[_T] | None = None,
        *,
        missing: str = "",
        token: str | None = None,
    ) -> _T:
        """What *workflow* answers to *update*. With a *token*, it is asked again when the answer was lost."""
        handle: WorkflowHandle[Any, Any] = self._client.get_workflow_handle(workflow)

        async def ask() -> _T:
            said: _T = await handle.execute_update(update, argument, id=token, result_type=answer, rpc_timeout=UPDATE)
            return said

        async def twice() -> _T:
            try:
                return await ask()
            except RPCError as error:
                if token is None or error.status is not RPCStatusCode.UNAVAILABLE:
                    raise
                # It may have arrived: the same token makes it the same act.
                return await ask()

        return await self.call(twice(), missing or f"there is no {workflow}")

    async def call(self, asked: Awaitable[_T], missing: str = "") -> _T:
        """Await *asked*; what Temporal raises becomes a sentence."""
        try:
            return await asked
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                if error.message.startswith("Namespace "):
                    name = self._client.namespace
                    raise ControlPlaneAway(
                        f"Temporal has no namespace '{name}': create it, or correct TEMPORAL_NAMESPACE (or --namespace)"
                    ) from error
                raise NoSuch(missing or error.message) from error
            if error.status is RPCStatusCode.INVALID_ARGUMENT:
                raise BadInput(error.message) from error
            raise ControlPlaneAway(_away(error)) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            # Temporal's client makes this of a cancellation too: swallowed, Ctrl-C would read as an absent worker.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from error
            raise ControlPlaneAway(f"no worker answered within {UPDATE.total_seconds():g} s: start one") from error
        except WorkflowQueryRejectedError as error:
            raise _ended(error, missing) from error
        except WorkflowQueryFailedError as error:
            if OTHER_VERSION in str(error):
                raise ControlPlaneAway(
                    f"another version of this program wrote what Temporal keeps: {OTHERWISE}"
                ) from error
            raise ControlPlaneAway(f"the question could not be answered: {error}") from error
        except WorkflowUpdateFailedError as error:
            cause: BaseException | None = error.cause
            while cause is not None and not isinstance(cause, ApplicationError):
                cause = getattr(cause, "cause", None)
            if cause is None:
                raise ControlPlaneAway(f"the request failed: {error.cause}") from error
            raise _ERRORS.get(cause.type or "", FailoverError)(cause.message) from error


def _away(error: RPCError) -> str:
    if error.status in {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}:
        return "no worker answered in time: start one with failover worker, or failover up"
    if error.status is RPCStatusCode.FAILED_PRECONDITION:
        return "no worker has polled lately: start one with failover worker, or failover up"
    return f"Temporal does not answer ({error.status.name.lower()}): is it running?"


def _ended(error: WorkflowQueryRejectedError, missing: str) -> FailoverError:
    """Nobody answers for it any more: it left the topology, the only way it ends by itself, or somebody ended it."""
    if error.status is WorkflowExecutionStatus.COMPLETED:
        return NoSuch(missing)
    how = error.status.name.lower().replace("_", " ") if error.status else "ended"
    return ControlPlaneAway(f"it was {how}: {AGAIN}")
