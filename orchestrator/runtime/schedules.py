"""Drill schedules on Temporal Schedules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionResult,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.errors import BadInput
from workflows.wire import CONTROL_QUEUE, DrillRequest, drill_id

PREFIX = "drill-schedule/"
CATCH_UP = timedelta(minutes=5)
"""Temporal's default is a year: after an outage every missed drill would be made up for, one after another."""
SHOWN = 3
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""It begins the ids of its drills."""


@dataclass(frozen=True, slots=True)
class DrillSchedule:
    """A drill that is rehearsed by the clock (UTC)."""

    name: str
    cron: str
    request: DrillRequest
    paused: bool
    note: str
    next_runs: tuple[str, ...]
    """RFC 3339."""
    last: str = ""
    """The id of the drill that it began last; empty: none yet."""


async def create(client: Client, name: str, cron: str, request: DrillRequest) -> None:
    """Rehearse *request* at the times of *cron*. Temporal starts each: one that has no turn says itself that it is
    skipped, where Temporal would skip it in silence.

    Raises BadInput for a name that no drill's id could be made of, for a *cron* that is none, or that never comes.
    """
    if not NAME.fullmatch(name):
        raise BadInput(f"'{name}' cannot name a schedule: use letters, digits, '.', '_' and '-', 64 of them at most")
    try:
        await client.create_schedule(
            PREFIX + name,
            Schedule(
                action=ScheduleActionStartWorkflow(
                    "drill", request, id=drill_id(request.service, name), task_queue=CONTROL_QUEUE
                ),
                spec=ScheduleSpec(cron_expressions=[cron]),
                policy=SchedulePolicy(
                    overlap=ScheduleOverlapPolicy.ALLOW_ALL, catchup_window=CATCH_UP, pause_on_failure=True
                ),
                state=ScheduleState(note=f"by {request.by}"),
            ),
            memo={"cron": cron},
        )
    except ScheduleAlreadyRunningError as error:
        raise BadInput(
            f"a drill schedule '{name}' exists already: unschedule it first, or take another name"
        ) from error
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        why = error.message.removeprefix("Invalid schedule spec: ")
        raise BadInput(f"'{cron}' is not a cron expression: {why}; write it like '0 9 * * 2'") from error
    handle = client.get_schedule_handle(PREFIX + name)
    if not (await handle.describe()).info.next_action_times:
        await handle.delete()
        raise BadInput(f"the time '{cron}' never comes; write it like '0 9 * * 2'")


async def known(client: Client) -> tuple[DrillSchedule, ...]:
    """All drill schedules, sorted by name."""
    found = []
    async for listed in await client.list_schedules():
        if not listed.id.startswith(PREFIX):
            continue
        described = await client.get_schedule_handle(listed.id).describe()
        action = described.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow):
            continue
        request = client.data_converter.payload_converter.from_payload(action.args[0], DrillRequest)
        found.append(
            DrillSchedule(
                name=listed.id.removeprefix(PREFIX),
                cron=str(await described.memo_value("cron", default="")),
                request=request,
                paused=described.schedule.state.paused,
                note=described.schedule.state.note or "",
                next_runs=tuple(
                    time.astimezone(UTC).isoformat().replace("+00:00", "Z")
                    for time in described.info.next_action_times[:SHOWN]
                ),
                last=_last(described.info.recent_actions),
            )
        )
    return tuple(sorted(found, key=lambda schedule: schedule.name))


def _last(recent: Sequence[ScheduleActionResult]) -> str:
    began = recent[-1].action if recent else None
    return began.workflow_id.rpartition("/")[2] if isinstance(began, ScheduleActionExecutionStartWorkflow) else ""


async def pause(client: Client, name: str, *, paused: bool, note: str) -> None:
    """Pause it, or let it go on."""
    handle = client.get_schedule_handle(PREFIX + name)
    await (handle.pause(note=note) if paused else handle.unpause(note=note))


async def delete(client: Client, name: str) -> None:
    """Delete it."""
    await client.get_schedule_handle(PREFIX + name).delete()
