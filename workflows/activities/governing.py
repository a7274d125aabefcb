"""Asking the governor, for a service that is about to start a run."""

from __future__ import annotations

import asyncio

from temporalio import activity
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.governing import SlotAnswer, SlotRequest
from workflows import options
from workflows.wire import GOVERNOR_ID

AT_ONCE = 3
"""Questions that one worker has under way: Temporal refuses more than ten at one time, and its client then rests."""
PAUSE_S = 0.02
"""Before the governor is asked once more: it may just have continued as new."""


class Governing:
    """An activity of the service workflow."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places = asyncio.Semaphore(AT_ONCE)

    @activity.defn(name=options.ACQUIRE_SLOT)
    async def acquire(self, request: SlotRequest) -> SlotAnswer:
        """The governor's answer. Raises ApplicationError where there is none; asked again, it answers the same."""
        try:
            async with asyncio.timeout(options.GOVERNOR_ANSWERS.total_seconds()), self._places:
                return await self._ask(request)
        except TimeoutError as error:
            raise ApplicationError("the governor is silent", type="Transient", non_retryable=True) from error

    async def _ask(self, request: SlotRequest) -> SlotAnswer:
        while True:
            handle = self._client.get_workflow_handle(GOVERNOR_ID)
            try:
                answer: SlotAnswer = await handle.execute_update("acquire", request, result_type=SlotAnswer)
                return answer
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND and not await self._lives():
                    raise ApplicationError("there is no governor", type="Refused", non_retryable=True) from error
            except (WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
                pass
            await asyncio.sleep(PAUSE_S)

    async def _lives(self) -> bool:
        """Whether a governor runs. An update that meets its continuing as new is answered as if it did not."""
        try:
            described = await self._client.get_workflow_handle(GOVERNOR_ID).describe()
        except RPCError:
            return False
        return described.status is not None and described.status.name == "RUNNING"
