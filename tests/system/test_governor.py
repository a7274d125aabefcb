"""The governor of the running product: asked before each run, told after it, and missed when it is gone."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from temporalio.api.enums.v1 import EventType

from orchestrator.core.governing import Ledger
from orchestrator.core.record import RunStatus
from orchestrator.runtime.governing import held
from real.system import CHAT, PAIR, System, until
from workflows import options
from workflows.wire import GOVERNOR_ID, service_id

MOST_S = 0.2
"""For the question and its answer on a busy machine; on an idle one they take a tenth of that."""


async def ledger(system: System) -> Ledger | None:
    return await held(system.plane.client)


async def asking_took(system: System) -> list[float]:
    """Seconds from each question of the service to the governor's answer, by Temporal's own history."""
    history = await system.plane.client.get_workflow_handle(service_id(CHAT)).fetch_history()
    begun: dict[int, datetime] = {}
    took = []
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            if event.activity_task_scheduled_event_attributes.activity_type.name == options.ACQUIRE_SLOT:
                begun[event.event_id] = event.event_time.ToDatetime()
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            at = begun.get(event.activity_task_completed_event_attributes.scheduled_event_id)
            if at is not None:
                took.append((event.event_time.ToDatetime() - at).total_seconds())
    return took


async def test_a_run_is_counted_while_it_lasts_and_the_governor_is_missed(tmp_path: Path) -> None:
    """A failover holds its place until it is closed; without a governor automation asks, and apply makes a new one."""
    async with System.start(tmp_path, vantages=PAIR) as system:
        await system.steady()
        fault = await system.black_hole("paris")
        await system.promoting("ohio")
        run = await system.run()
        taken = await ledger(system)
        assert taken is not None
        assert taken.services == 1
        assert [(each.request.moving.service, each.request.workflow) for each in taken.grants] == [(CHAT, run)]
        assert [each.request.moving.into for each in taken.grants] == [("beta/ohio",)]
        assert (await system.closed(run)).status is RunStatus.COMPLETED
        await system.moved_once(fault)
        await until(lambda: ledger(system), lambda seen: seen is not None and not seen.grants, "the place is free")
        (took,) = await asking_took(system)
        assert took < MOST_S
        await system.go_home()

        await system.plane.client.get_workflow_handle(GOVERNOR_ID).terminate("lost")
        assert [text for text in await system.plane.stuck() if text.startswith("governor was terminated")]
        await system.black_hole("paris", key="again")
        status = await until(system.status, lambda status: status.question is not None, "a question")
        assert status.question is not None
        assert [reason.rule for reason in status.question.reasons] == ["governor-silent"]
        applied, topology = await system.plane.topology()
        await system.plane.apply(topology, expects=applied.revision, by="ann")
        await system.closed(await system.run(nth=3))
        assert system.eye.told[-1] == system.answer("ohio")
