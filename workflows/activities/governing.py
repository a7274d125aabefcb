"""Asking the governor, for a service that is about to start a run, and for a failback between its stages."""

from __future__ import annotations

import asyncio

from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.governing import SlotAnswer, SlotRequest
from workflows import options
from workflows.wire import GOVERNOR_ID
from workflows.wire.governor import Arrival, Arrivals, SetbackQuestion, Setbacks, SlotAnswers, SlotRequests

TOGETHER = 50
"""Services that are asked for in one update, at most."""
PAUSE_S = 0.02
"""Before the governor is asked once more: it may just have continued as new."""
LINGER_S = 0.2
"""Whoever asks within this long takes with him what has arrived."""
TELL_TRIES = 5
TELL_AGAIN_S = 0.2


class Governing:
    """Activities of the service workflow, and of runs.

    What comes while a question is under way is asked in the next one, all together: Temporal takes no more than ten
    updates of one workflow at a time, and when a region is lost, hundreds of services ask within a second.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: list[tuple[SlotRequest, asyncio.Future[SlotAnswer]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._arrivals: list[Arrival] = []
        self._telling: asyncio.Task[None] | None = None

    @activity.defn(name=options.ACQUIRE_SLOT)
    async def acquire(self, request: SlotRequest) -> SlotAnswer:
        """The governor's answer. Raises ApplicationError where there is none; asked again, it answers the same."""
        answer: asyncio.Future[SlotAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        try:
            async with asyncio.timeout(options.GOVERNOR_ANSWERS.total_seconds()):
                return await answer
        except TimeoutError as error:
            raise _silent() from error

    @activity.defn(name=options.SETBACKS)
    async def setbacks(self, asked: SetbackQuestion) -> Setbacks:
        """What the governor remembers of the regions. Raises ApplicationError where it does not say so in time."""
        try:
            async with asyncio.timeout(options.GOVERNOR_ANSWERS.total_seconds()):
                governor = self._client.get_workflow_handle(GOVERNOR_ID)
                found: Setbacks = await governor.query("setbacks", asked, result_type=Setbacks)
        except (TimeoutError, RPCError, WorkflowQueryFailedError) as error:
            raise _silent() from error
        return found

    def arrived(self, arrival: Arrival) -> None:
        """Tell the governor soon that a service which was led has arrived: many in one signal.

        What is lost is made up for: the service tells what it takes, and its run gives the place back when it is over.
        """
        self._arrivals.append(arrival)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        failures = 0
        await asyncio.sleep(LINGER_S)
        while self._arrivals and failures < TELL_TRIES:
            arrived, self._arrivals = self._arrivals, []
            try:
                await self._client.get_workflow_handle(GOVERNOR_ID).signal("arrived", Arrivals(tuple(arrived)))
                failures = 0
            except RPCError:
                # Twice is once; given up, they go with the next that arrive.
                self._arrivals, failures = [*arrived, *self._arrivals], failures + 1
                await asyncio.sleep(TELL_AGAIN_S * failures)

    async def _ask_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            # Nobody waits any more for what has timed out; asked all the same, it would be granted to nobody.
            batch = [each for each in batch if not each[1].done()]
            if not batch:
                continue
            arrived, self._arrivals = tuple(self._arrivals), []
            try:
                async with asyncio.timeout(options.GOVERNOR_ANSWERS.total_seconds()):
                    said = await self._ask(SlotRequests(tuple(request for request, _ in batch), arrived))
            except Exception as error:
                for each in arrived:
                    self.arrived(each)  # twice is once
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error if isinstance(error, ApplicationError) else _silent())
                continue
            for (_, answer), given in zip(batch, said.answers, strict=True):
                if not answer.done():
                    answer.set_result(given)

    async def _ask(self, requests: SlotRequests) -> SlotAnswers:
        while True:
            handle = self._client.get_workflow_handle(GOVERNOR_ID)
            try:
                answers: SlotAnswers = await handle.execute_update("acquire", requests, result_type=SlotAnswers)
                return answers
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


def _silent() -> ApplicationError:
    return ApplicationError("the governor is silent", type="Transient", non_retryable=True)
