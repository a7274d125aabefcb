"""What a drill asks of activities, and the fault that it puts into the world."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import options
    from workflows.wire import FaultSeen, FaultTask

_T = TypeVar("_T")


class Fault(Protocol):
    """A fault of a drill. It ends at its deadline by itself, whoever is still alive."""

    @property
    def deadline(self) -> datetime:
        """When it ends by itself."""
        ...

    async def put_in(self) -> None:
        """Begin it."""
        ...

    async def take_out(self) -> bool:
        """End it; whether it had ended by itself before."""
        ...


class PlacedFault:
    """A fault in the world, where a provider puts it."""

    def __init__(self, task: FaultTask) -> None:
        self._task = task

    @property
    def deadline(self) -> datetime:
        return self._task.deadline

    async def put_in(self) -> None:
        await call(options.INJECT, self._task, FaultSeen, 20.0)

    async def take_out(self) -> bool:
        seen: FaultSeen = await workflow.execute_activity(
            options.CLEAR,
            self._task,
            result_type=FaultSeen,
            start_to_close_timeout=timedelta(seconds=10),
            schedule_to_close_timeout=timedelta(minutes=30),
            retry_policy=options.PATIENT,
        )
        return seen.expired


async def call(activity: str, argument: object, answer: type[_T], within_s: float, *, once: bool = False) -> _T:
    """What *activity* answers; it is tried again for half a minute, unless *once*."""
    result: _T = await workflow.execute_activity(
        activity,
        argument,
        result_type=answer,
        start_to_close_timeout=timedelta(seconds=max(1.0, within_s)),
        schedule_to_close_timeout=timedelta(seconds=max(1.0, within_s) + 30),
        heartbeat_timeout=timedelta(seconds=5),
        retry_policy=options.ONCE if once else options.PATIENT,
    )
    return result
