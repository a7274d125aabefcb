"""The topology's owner: holds the revision in force; ``apply`` is a compare-and-set on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows import options
    from workflows.wire import Applied, Apply, Replace

PUBLISH_HEARTBEAT = timedelta(seconds=3)
AGAIN = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=5)
)
"""A worker that froze is given up and the next one asked, several times before a person gives up."""
MAX_DOCUMENT = 1_000_000
"""Characters of a compressed document: Temporal refuses payloads above 2 MB, and this one is carried on."""


@workflow.defn(name="topology")
class TopologyWorkflow:
    """``topology``: one per namespace, for ever."""

    @workflow.init
    def __init__(self, applied: Applied) -> None:
        self._applied = applied
        # Awaiting the publication lets another apply in; the lock keeps revisions in order.
        self._applying = asyncio.Lock()

    @workflow.run
    async def run(self, applied: Applied) -> None:
        await workflow.wait_condition(lambda: workflow.info().get_current_history_length() > options.CONTINUE_AT)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(replace(self._applied))

    @workflow.update
    async def apply(self, apply: Apply) -> Applied:
        """Put a topology in force and tell everyone it concerns. ``Stale`` when another one came first."""
        async with self._applying:
            if apply.digest == self._applied.digest and self._applied.revision > 0:
                # What was lost since (a service's workflow that somebody terminated) is made anew, held.
                await self._publish(Replace(self._applied, self._applied))
                return replace(self._applied, document="")
            if apply.expects != self._applied.revision:
                raise ApplicationError(_stale(apply.expects, self._applied), type="Stale", non_retryable=True)
            after = Applied(self._applied.revision + 1, apply.digest, apply.document, apply.by, workflow.now())
            change = Replace(self._applied, after)
            held = await workflow.execute_activity(
                options.RUNNING_ENDPOINTS,
                change,
                result_type=str,
                start_to_close_timeout=timedelta(seconds=30),
                heartbeat_timeout=PUBLISH_HEARTBEAT,
                retry_policy=AGAIN,
            )
            if held:
                raise ApplicationError(held, type="Held", non_retryable=True)
            await self._publish(change)
            self._applied = after
            return replace(after, document="")

    async def _publish(self, change: Replace) -> None:
        await workflow.execute_activity(
            options.PUBLISH_TOPOLOGY,
            change,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=PUBLISH_HEARTBEAT,
            retry_policy=AGAIN,
        )

    @apply.validator
    def _check(self, apply: Apply) -> None:
        if len(apply.document) > MAX_DOCUMENT:
            raise ApplicationError(
                f"the topology is {len(apply.document)} characters compressed, above {MAX_DOCUMENT}: split it over "
                "several namespaces",
                type="BadInput",
            )
        if apply.expects != self._applied.revision and apply.digest != self._applied.digest:
            raise ApplicationError(_stale(apply.expects, self._applied), type="Stale")

    @workflow.query
    def applied(self) -> Applied:
        """The topology in force, document included."""
        return self._applied

    @workflow.query
    def revision(self) -> int:
        return self._applied.revision


def _stale(expects: int, applied: Applied) -> str:
    return (
        f"the topology is at revision {applied.revision} (by {applied.by or 'nobody'}), not {expects}: "
        "look at the difference again and apply anew"
    )
