"""Telling people and the history store, detached: a child that outlives its parent and retries for a day."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from workflows import options
    from workflows.wire import HISTORY_QUEUE, TELLING_QUEUE, Herald, Publication, Telling

GIVE_UP = timedelta(days=1)


@workflow.defn(name="herald")
class HeraldWorkflow:
    """Carries news to the notifiers and the history store. Nothing waits for it."""

    @workflow.run
    async def run(self, news: Herald) -> None:
        if news.telling is not None:
            # One activity each: where one notifier fails, the others are not told again.
            await asyncio.gather(*(_tell(replace(news.telling, notify=(each,))) for each in news.telling.notify))
        if news.publication is not None:
            await workflow.execute_activity(
                options.PUBLISH,
                news.publication,
                task_queue=HISTORY_QUEUE,
                start_to_close_timeout=timedelta(seconds=30),
                schedule_to_close_timeout=GIVE_UP,
                retry_policy=options.PATIENT,
            )


async def _tell(telling: Telling) -> None:
    """Tell one notifier, for a day if need be. One that is never reached is given up."""
    with contextlib.suppress(ActivityError):
        await workflow.execute_activity(
            options.TELL,
            telling,
            task_queue=TELLING_QUEUE,
            start_to_close_timeout=timedelta(seconds=60),
            schedule_to_close_timeout=GIVE_UP,
            retry_policy=options.PATIENT,
        )


class Heralds:
    """The heralds of one workflow, each sent in a task of its own: no decision waits for one to start."""

    def __init__(self) -> None:
        # A list: the order in a set differs from replay to replay.
        self._leaving: list[asyncio.Task[None]] = []

    def send(self, news: Telling | Publication) -> None:
        """Returns at once. A herald that cannot start is lost, and its workflow goes on."""
        self._leaving = [task for task in self._leaving if not task.done()]
        self._leaving.append(asyncio.create_task(herald(news)))

    async def sent(self) -> None:
        """Wait until all are on their way: before a workflow ends or continues as new, or they would be lost."""
        await asyncio.gather(*self._leaving, return_exceptions=True)


async def herald(news: Telling | Publication) -> None:
    """Send *news* on its way from within a workflow; returns as soon as it is on its way."""
    telling = news if isinstance(news, Telling) else None
    publication = news if isinstance(news, Publication) else None
    if telling is not None and not telling.notify:
        return
    await workflow.start_child_workflow(
        HeraldWorkflow.run,
        Herald(telling, publication),
        id=f"herald/{workflow.uuid4()}",
        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
    )
