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
    from orchestrator.core.governing import Ledger
    from orchestrator.core.names import ServiceId
    from workflows import options, reading
    from workflows.wire import service_id
    from workflows.wire.governor import Arrivals, GiveBack, GovernorState, Regime, SlotAnswers, SlotRequests, Stand

LEASE = timedelta(minutes=2)
"""How long a grant is believed before its run is asked after."""
ASK_AGAIN = timedelta(seconds=30)
"""After a run that could not be asked after."""
OVER = frozenset({"COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT", "GONE"})
"""What a run may be that moves nothing any more. All else counts as alive: silence is not an end."""


@workflow.defn(name="governor")
class GovernorWorkflow:
    """``governor``: one per namespace, for ever. Its handlers never wait, so that it answers within one task."""

    @workflow.init
    def __init__(self, state: GovernorState) -> None:
        self._ledger = state.ledger
        self._freed = False

    @workflow.run
    async def run(self, state: GovernorState) -> None:
        while True:
            busy = bool(self._ledger.grants)
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda held=busy: self._freed or bool(self._ledger.grants) is not held or self._is_long(),  # type: ignore[misc]  # bound on purpose
                    timeout=ASK_AGAIN if busy else None,
                )
            await self._ask_after_runs()
            await self._call_who_waits()
            if self._is_long() and not self._freed and workflow.all_handlers_finished():
                workflow.continue_as_new(replace(state, ledger=self._ledger))

    async def _call_who_waits(self) -> None:
        """Where something was given back, those who were refused look again: they need not wait for their own pause."""
        if not self._freed:
            return
        self._freed = False
        self._ledger, services = governing.called(self._ledger)
        await asyncio.gather(*(_look_again(service) for service in services))

    def _is_long(self) -> bool:
        return workflow.info().get_current_history_length() > options.CONTINUE_AT

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
        now = workflow.now()
        answers = []
        for request in asked.requests:
            self._ledger, answer = governing.acquire(self._ledger, request, now=now, until=now + LEASE)
            answers.append(answer)
        return SlotAnswers(tuple(answers))

    @workflow.signal
    def release(self, back: GiveBack) -> None:
        """A run is over. Twice is once; before it was granted means never."""
        self._ledger = governing.release(self._ledger, back.token)
        if back.end is not None:
            self._ledger = governing.ended(self._ledger, back.end, now=workflow.now())
        self._freed = bool(self._ledger.waiting)

    @workflow.signal
    def stands(self, stand: Stand) -> None:
        """A service's traffic takes this of shared pools now."""
        self._ledger = governing.stands(self._ledger, stand.service, stand.needs)
        self._freed = bool(self._ledger.waiting)

    @workflow.signal
    def arrived(self, arrivals: Arrivals) -> None:
        """Services that were led have arrived: what they take stands, and others may have their places."""
        for each in arrivals.arrivals:
            self._ledger = governing.release(governing.stands(self._ledger, each.service, each.needs), each.token)
        self._freed = bool(self._ledger.waiting)

    @workflow.signal
    def configure(self, regime: Regime) -> None:
        """The topology changed. An older revision arriving late changes nothing."""
        self._ledger = governing.configured(self._ledger, regime.revision, regime.limits, regime.pools, regime.services)
        self._freed = bool(self._ledger.waiting)

    # ------------------------------------------------------------------ questions

    @workflow.query
    def held(self) -> Ledger:
        """Who is on the move, and what each pool is promised to."""
        return replace(self._ledger, over=())


async def _look_again(service: ServiceId) -> None:
    """A service that is gone has nothing to look at."""
    with contextlib.suppress(FailureError):
        await workflow.get_external_workflow_handle(service_id(service)).signal("look_again")
