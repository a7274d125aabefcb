"""A failure domain: its evacuation, in waves by tier and dependency, one record for all of it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.evacuation import Leaving, waves
    from orchestrator.core.names import ServiceId
    from workflows import options
    from workflows.finishing import to_the_end
    from workflows.herald import Heralds
    from workflows.wire.evacuation import (
        OVER,
        ArrivalQuestion,
        Departed,
        Departure,
        DepartureTask,
        EvacuationReport,
        EvacuationRequest,
        EvacuationStop,
        Fate,
        Inside,
    )

ASKING = timedelta(seconds=30)
"""How long one service may take to say whether it leaves."""
CROWDED_S = (0.5, 15.0)
"""While as much is on the move as may be: the first pause before a service asks again, and the longest."""
LONGEST_RUN = timedelta(hours=12)
_T = TypeVar("_T")


@workflow.defn(name="domain")
class DomainWorkflow:
    """``domain/<domain>``: one evacuation at a time; a refusal or a failure of one service holds up no other."""

    @workflow.init
    def __init__(self, request: EvacuationRequest) -> None:
        self._request = request
        self._heralds = Heralds()
        self._places = asyncio.Semaphore(max(1, request.at_once))
        self._report = EvacuationReport(request.id, request.domain, request.by, request.reason, started=workflow.now())

    @workflow.run
    async def run(self, request: EvacuationRequest) -> EvacuationReport:
        inside = await self._call(options.LIST_INSIDE, request.domain, Inside, ASKING)
        ordered = waves(inside.services)
        self._report = replace(
            self._report,
            departures=tuple(
                Departure(each.service, number, each.tier) for number, wave in enumerate(ordered, 1) for each in wave
            ),
        )
        under_way: list[asyncio.Task[None]] = []
        for wave in ordered:
            leaving = [asyncio.create_task(self._leave(each)) for each in wave]
            under_way += leaving
            try:
                await workflow.wait_condition(
                    lambda tasks=leaving: all(task.done() for task in tasks),  # type: ignore[misc]  # bound on purpose
                    timeout=timedelta(seconds=request.patience_s),
                )
            except TimeoutError:
                continue  # what takes longer goes on beside the next wave
            except asyncio.CancelledError:
                self._stop("the evacuation was cancelled")
        await to_the_end(_all(under_way))
        self._report = replace(self._report, ended=workflow.now())
        await self._heralds.sent()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._report

    @workflow.query
    def report(self) -> EvacuationReport:
        """The evacuation so far."""
        return self._report

    @workflow.update
    def stop(self, stop: EvacuationStop) -> EvacuationReport:
        """No further service leaves; runs under way go on, and can be aborted each by itself."""
        self._stop(f"stopped by {stop.by}: {stop.reason}")
        return self._report

    @stop.validator
    def _may_stop(self, stop: EvacuationStop) -> None:
        if self._report.stopped:
            raise ApplicationError(f"the evacuation of {self._report.domain} is stopped already", type="Refused")

    def _stop(self, why: str) -> None:
        self._report = replace(self._report, stopped=self._report.stopped or why)

    # ------------------------------------------------------------------ one service

    async def _leave(self, each: Leaving) -> None:
        async with self._places:
            if self._report.stopped:
                self._becomes(each.service, Fate.LEFT, text=self._report.stopped)
                return
            self._becomes(each.service, Fate.MOVING)
            try:
                departed = await self._depart(each)
            except ActivityError as error:
                departed = Departed(Fate.FAILED, text=str(getattr(error.cause, "message", error)))
            self._becomes(each.service, departed.fate, run=departed.run, text=departed.text)

    async def _depart(self, each: Leaving) -> Departed:
        request = self._request
        task = DepartureTask(
            request.id, request.domain, each.service, each.endpoints, request.by, request.reason, request.overrides
        )
        pause_s = CROWDED_S[0]
        while (departed := await self._call(options.DEPART, task, Departed, ASKING)).fate is Fate.WAITING:
            self._becomes(each.service, Fate.WAITING, text=departed.text)
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: bool(self._report.stopped), timeout=timedelta(seconds=pause_s))
                return Departed(Fate.LEFT, text=self._report.stopped)
            pause_s = min(pause_s * 1.5, CROWDED_S[1])
        if departed.fate is not Fate.MOVING or departed.run is None:
            return departed
        self._becomes(each.service, Fate.MOVING, run=departed.run)
        return await self._call(
            options.AWAIT_ARRIVAL, ArrivalQuestion(each.service, departed.run), Departed, LONGEST_RUN
        )

    def _becomes(self, service: ServiceId, fate: Fate, **changes: Any) -> None:
        now = workflow.now()
        changes |= {"ended": now} if fate in OVER else {}
        departures = tuple(
            replace(each, fate=fate, began=each.began or now, **changes) if each.service == service else each
            for each in self._report.departures
        )
        self._report = replace(self._report, departures=departures)

    async def _call(self, activity: str, argument: object, answer: type[_T], within: timedelta) -> _T:
        result: _T = await workflow.execute_activity(
            activity,
            argument,
            result_type=answer,
            start_to_close_timeout=within,
            schedule_to_close_timeout=within * 2,
            heartbeat_timeout=timedelta(seconds=3),
            retry_policy=options.PATIENT,
        )
        return result


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
