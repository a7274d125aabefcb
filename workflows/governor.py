"""The governor: one holder of what holds for all services together - how much moves at once, and who has which pool."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core import governing
    from orchestrator.core.easing import Return
    from orchestrator.core.governing import Ledger
    from orchestrator.core.names import ServiceId
    from workflows import options, reading
    from workflows.wire import service_id
    from workflows.wire.governor import (
        Arrival,
        Arrivals,
        GovernorState,
        News,
        Regime,
        SetbackQuestion,
        Setbacks,
        SlotAnswers,
        SlotRequests,
    )

LEASE = timedelta(minutes=2)
"""How long a grant is believed before its run is asked after."""
ASK_AGAIN = timedelta(seconds=30)
"""After a run that could not be asked after."""
QUIET = timedelta(seconds=0.25)
"""So long nothing was said when it continues as new. What is said in that moment undoes it, and while its history is
then read again more is said: it would never get anywhere."""
TOO_LONG = 20
"""So many times ``CONTINUE_AT`` is too long to wait for that: Temporal ends a workflow of 51,200 events."""
OVER = frozenset({"COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT", "GONE"})
"""What a run may be that moves nothing any more. All else counts as alive: silence is not an end."""


@workflow.defn(name="governor")
class GovernorWorkflow:
    """``governor``: one per namespace, for ever. Its handlers never wait, so that it answers within one task."""

    @workflow.init
    def __init__(self, state: GovernorState) -> None:
        self._ledger = state.ledger
        self._freed = False
        self._said = 0

    @workflow.run
    async def run(self, state: GovernorState) -> None:
        while True:
            quiet = await self._rest()
            await self._ask_after_runs()
            await self._call_who_waits()
            due = self._is_long() if quiet else self._is_long(TOO_LONG)
            if due and not self._freed and workflow.all_handlers_finished():
                workflow.continue_as_new(replace(state, ledger=self._ledger))

    async def _rest(self) -> bool:
        """Until something is to be done; whether nothing was said for a while."""
        said, busy, long = self._said, bool(self._ledger.grants), self._is_long()
        pause = QUIET if long else ASK_AGAIN if busy else None
        try:
            await workflow.wait_condition(
                lambda: self._freed or bool(self._ledger.grants) is not busy or self._is_long() is not long,
                timeout=pause,
            )
        except TimeoutError:
            return self._said == said
        return False

    async def _call_who_waits(self) -> None:
        """Where something was given back, those who were refused look again: they need not wait for their own pause."""
        if not self._freed:
            return
        self._freed = False
        self._ledger, services = governing.called(self._ledger)
        await asyncio.gather(*(_look_again(service) for service in services))

    def _is_long(self, times: int = 1) -> bool:
        return workflow.info().get_current_history_length() > options.CONTINUE_AT * times

    async def _ask_after_runs(self) -> None:
        """Free what belongs to runs that ended without a word; a run that lives keeps what it has."""
        for grant in governing.due(self._ledger, workflow.now()):
            token = grant.request.token
            status = await reading.fate_of(grant.request.workflow)
            if status in OVER:
                self._ledger = governing.release(self._ledger, token)
                self._freed = True
            elif status is not None:
                self._ledger = governing.renewed(self._ledger, (token,), workflow.now() + LEASE)

    # ------------------------------------------------------------------ services

    @workflow.update
    def acquire(self, asked: SlotRequests) -> SlotAnswers:
        """May these runs start, one after the other? The same token again gets the same answer."""
        self._said += 1
        if asked.arrivals:
            self._arrive(asked.arrivals)
        now = workflow.now()
        answers = []
        for request in asked.requests:
            self._ledger, answer = governing.acquire(self._ledger, request, now=now, until=now + LEASE)
            answers.append(answer)
        return SlotAnswers(tuple(answers))

    @workflow.signal
    def told(self, news: News) -> None:
        """A run is over, or a service takes something else now. Twice is once; before it was granted means never."""
        if news.stand is not None:
            self._ledger = governing.stands(self._ledger, news.stand.service, news.stand.needs)
        for back in news.back:
            self._ledger = governing.release(self._ledger, back.token)
            if back.end is not None:
                self._ledger = governing.ended(self._ledger, back.end, now=workflow.now())
        self._hear()

    @workflow.signal
    def turned_back(self, end: Return) -> None:
        """A failback goes back, because its regions did not bear it: others stop before it is over. Twice is once."""
        self._said += 1
        self._ledger = governing.ended(self._ledger, end, now=workflow.now())

    @workflow.signal
    def arrived(self, arrivals: Arrivals) -> None:
        """Services that were led have arrived: what they take stands, and others may have their places."""
        self._arrive(arrivals.arrivals)

    def _arrive(self, arrivals: tuple[Arrival, ...]) -> None:
        for each in arrivals:
            self._ledger = governing.release(governing.stands(self._ledger, each.service, each.needs), each.token)
        self._hear()

    def _hear(self) -> None:
        self._said += 1
        self._freed = bool(self._ledger.waiting)

    @workflow.signal
    def configure(self, regime: Regime) -> None:
        """The topology changed. An older revision arriving late changes nothing."""
        self._ledger = governing.configured(self._ledger, regime.revision, regime.limits, regime.pools, regime.services)
        self._hear()

    # ------------------------------------------------------------------ questions

    @workflow.query
    def held(self) -> Ledger:
        """Who is on the move, and what each pool is promised to."""
        return replace(self._ledger, over=())

    @workflow.query
    def setbacks(self, asked: SetbackQuestion) -> Setbacks:
        """Which of the regions did not bear a return: each failback on its way asks between its stages."""
        return Setbacks(tuple(each for each in self._ledger.setbacks if each.region in asked.regions))


async def _look_again(service: ServiceId) -> None:
    """A service that is gone has nothing to look at."""
    with contextlib.suppress(FailureError):
        await workflow.get_external_workflow_handle(service_id(service)).signal("look_again")
