"""Watching: one workflow per (vantage, shard) keeps one probing activity alive for ever, and counts its epochs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TemporalTimeout

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.names import ServiceId
    from orchestrator.core.quorum import Seed
    from workflows import options
    from workflows.herald import herald
    from workflows.wire import Telling, Watch, WatchState, probe_queue
    from workflows.wire.ids import rehearsal_queue

PATIENCE = timedelta(minutes=30)
"""How long the activity then waits for a worker before it is scheduled anew."""


@workflow.defn(name="watch")
class WatchWorkflow:
    """Keeps ``watch/<vantage>/<shard>`` probing. A steady shard costs a handful of events a day."""

    @workflow.init
    def __init__(self, state: WatchState) -> None:
        self._state = state
        self._stopped = False

    @workflow.run
    async def run(self, state: WatchState) -> None:
        while not self._stopped:
            await self._epoch()
            # A stop that came during the pause must not be left behind.
            if not self._stopped and workflow.info().get_current_history_length() > options.CONTINUE_AT:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self._state)

    async def _epoch(self) -> None:
        self._state = replace(self._state, epoch=self._state.epoch + 1)
        watch = Watch(
            vantage=self._state.vantage,
            shard=self._state.shard,
            epoch=self._state.epoch,
            shards=self._state.shards,
            seed=self._state.seed,
            rehearsed=self._state.rehearsed,
        )
        real = watch.rehearsed is None
        probing = workflow.start_activity(
            options.PROBE_ACTIVITY if real else options.PROBE_SHADOW,
            watch,
            result_type=Seed,
            task_queue=(probe_queue if real else rehearsal_queue)(watch.vantage.id),
            schedule_to_start_timeout=PATIENCE if self._state.told_silent else options.SILENCE,
            start_to_close_timeout=options.PROBE_EPOCH,
            heartbeat_timeout=options.PROBE_HEARTBEAT,
            retry_policy=options.ONCE,
            cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        )
        stopping = asyncio.create_task(workflow.wait_condition(lambda: self._stopped))
        await workflow.wait([probing, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._stopped:
            probing.cancel()
            return
        try:
            self._state = replace(self._state, seed=await probing, silent_since=None, told_silent=False)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            await self._ended(error)
        await workflow.sleep(options.PROBE_AGAIN_S)

    async def _ended(self, error: ActivityError) -> None:
        """Take the last heartbeat as the next seed, or tell people that nobody probes."""
        cause = error.cause
        nobody = (
            isinstance(cause, TemporalTimeout) and cause.type is not None and cause.type.name == "SCHEDULE_TO_START"
        )
        if not nobody:
            self._state = replace(self._state, seed=self._seed(cause), silent_since=None, told_silent=False)
            return
        since = self._state.silent_since or workflow.now() - options.SILENCE
        if not self._state.told_silent:
            vantage = self._state.vantage
            await herald(
                Telling(
                    notify=self._state.notify,
                    service=ServiceId(""),
                    event="vantage-silent",
                    text=(
                        f"vantage '{vantage.id}' probes nothing: no worker for it since {since:%H:%M:%S} UTC; "
                        f"start one with: failover worker --vantage {vantage.id} --domain {vantage.region}"
                    ),
                    at=workflow.now(),
                )
            )
        self._state = replace(self._state, silent_since=since, told_silent=True)

    def _seed(self, cause: BaseException | None) -> Seed | None:
        """The last heartbeat of a prober that died; it arrives as plain JSON and is given its type back."""
        if not isinstance(cause, TemporalTimeout) or not cause.last_heartbeat_details:
            return self._state.seed
        converter = workflow.payload_converter()
        return converter.from_payload(converter.to_payload(cause.last_heartbeat_details[0]), Seed)

    @workflow.signal
    def configure(self, state: WatchState) -> None:
        """The topology changed what concerns this watch: its region, the number of shards, who is told."""
        self._state = replace(self._state, vantage=state.vantage, shards=state.shards, notify=state.notify)

    @workflow.signal
    def stop(self) -> None:
        """The vantage or shard is gone from the topology."""
        self._stopped = True

    @workflow.query
    def state(self) -> WatchState:
        return self._state
