"""The topology's owner: holds the revision in force and the last few before; ``apply`` is a compare-and-set on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core import revisions
    from orchestrator.core.orders import NO_ORDERS
    from orchestrator.core.revisions import Revision
    from workflows import options
    from workflows.wire import Applied, Apply, Past, Published, Replace
    from workflows.wire.topology import NO_PAST

PUBLISH_HEARTBEAT = timedelta(seconds=3)
AGAIN = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=5)
)
"""A worker that froze is given up and the next one asked, several times before a person gives up."""
MAX_DOCUMENT = 1_000_000
"""Characters of a compressed document: Temporal refuses payloads above 2 MB, and this one is carried on."""
LONGEST_REASON = 500
"""Characters of why a topology was applied; the rest is cut off."""
NEWS: Any = Published | None
"""What a publication answers; those that were recorded by older programs answered nothing."""


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
        await workflow.wait_condition(_long)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(replace(self._applied))

    @workflow.update
    async def apply(self, apply: Apply) -> Applied:
        """Put a topology in force and tell everyone it concerns. ``Stale`` when another one came first."""
        async with self._applying:
            if apply.digest == self._applied.digest and self._applied.revision > 0:
                # What was lost since (a service's workflow that somebody terminated) is made anew, held.
                await self._publish(Replace(_bare(self._applied), _bare(self._applied)))
                return replace(_bare(self._applied), document="")
            if apply.expects != self._applied.revision:
                raise ApplicationError(_stale(apply.expects, self._applied), type="Stale", non_retryable=True)
            reason = apply.reason[:LONGEST_REASON]
            number, now = self._applied.revision + 1, workflow.now()
            after = Applied(number, apply.digest, apply.document, apply.by, now, reason)
            change = Replace(_bare(self._applied), after)
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
            published = await self._publish(change)
            self._applied = replace(after, past=_past(self._applied, after, published))
            return replace(after, document="")

    async def _publish(self, change: Replace) -> Published:
        news: Published | None = await workflow.execute_activity(
            options.PUBLISH_TOPOLOGY,
            change,
            result_type=NEWS,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=PUBLISH_HEARTBEAT,
            retry_policy=AGAIN,
        )
        return news if news is not None else Published()

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
        return _bare(self._applied)

    @workflow.query
    def revision(self) -> int:
        return self._applied.revision

    @workflow.query
    def history(self) -> Past:
        """The revisions that are known, newest first, the one in force among them; without their documents."""
        every = _every(self._applied)
        shown = (replace(each, document="", kept=bool(revisions.document_of(each, every))) for each in every)
        return replace(self._applied.past, revisions=tuple(shown))

    @workflow.query
    def document(self, revision: int) -> str:
        """The document of one revision; empty: it is not known, or not kept any more."""
        every = _every(self._applied)
        found = next((each for each in every if each.number == revision), None)
        return revisions.document_of(found, every) if found is not None else ""


def _long() -> bool:
    """Whether it is time to continue as new: a few large documents make a history heavy long before it is long."""
    info = workflow.info()
    return info.get_current_history_length() > options.CONTINUE_AT or info.is_continue_as_new_suggested()


def _bare(applied: Applied) -> Applied:
    """*applied* without what was before it: that concerns nobody who is told of it."""
    return replace(applied, past=NO_PAST)


def _every(applied: Applied) -> tuple[Revision, ...]:
    """The revision in force, and those before it."""
    if applied.at is None:
        return applied.past.revisions
    newest = Revision(applied.revision, applied.digest, applied.at, None, applied.by, applied.reason, applied.document)
    return (newest, *applied.past.revisions)


def _past(before: Applied, after: Applied, published: Published) -> Past:
    """What is carried on once *after* has taken the place of *before*."""
    past = before.past
    if before.revision > 0 and before.at is not None:
        over = replace(_every(before)[0], until=after.at)
        past = replace(past, revisions=revisions.kept(past.revisions, over, bake_s=NO_ORDERS.bake_s))
    return replace(past, gone=revisions.left_behind(past.gone, published.gone))


def _stale(expects: int, applied: Applied) -> str:
    return (
        f"the topology is at revision {applied.revision} (by {applied.by or 'nobody'}), not {expects}: "
        "look at the difference again and apply anew"
    )
