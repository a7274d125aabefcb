"""News on its way: each notifier is told by itself, so that a deaf one does not make the others ring again."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Notify, NotifyKind
from orchestrator.runtime.sandbox import runner
from real.stage import time_skipping
from workflows import options
from workflows.herald import HeraldWorkflow
from workflows.wire import TELLING_QUEUE, Herald, Telling

DEAF = Notify(NotifyKind.WEBHOOK, url="http://127.0.0.1:9/deaf")
PAGER = Notify(NotifyKind.EXEC, command=("/bin/page-me",))


class Ears:
    """Notifiers that remember what they heard; one of them hears nothing."""

    def __init__(self) -> None:
        self.tried: list[Notify] = []

    @activity.defn(name=options.TELL)
    async def tell(self, telling: Telling) -> None:
        self.tried += telling.notify
        if DEAF in telling.notify:
            raise ApplicationError("webhook 127.0.0.1: ConnectError", type="Transient")


async def test_a_deaf_notifier_does_not_make_the_others_ring_again() -> None:
    """The pager rings once, however often the webhook is tried again, and the herald gives up after a day."""
    ears = Ears()
    telling = Telling((DEAF, PAGER), ServiceId("chat"), "run.started", "failover of chat", datetime.now(UTC))
    async with (
        time_skipping() as env,
        Worker(env.client, task_queue="news", workflows=[HeraldWorkflow], workflow_runner=runner()),
        Worker(env.client, task_queue=TELLING_QUEUE, activities=[ears.tell]),
    ):
        await env.client.execute_workflow(
            HeraldWorkflow.run, Herald(telling), id=f"herald/{uuid.uuid4()}", task_queue="news"
        )
    assert ears.tried.count(PAGER) == 1
    assert ears.tried.count(DEAF) > 3
