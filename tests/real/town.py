"""A town: several services on one stage, a small world for each of them, and one governor for all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from temporalio import activity

from orchestrator.core.governing import SlotAnswer, SlotRequest
from real.scenery import World, refusal
from workflows import options
from workflows.activities.governing import Governing
from workflows.wire import Look, LookRequest, StepResult, StepTask
from workflows.wire.governor import SetbackQuestion, Setbacks


@dataclass
class Town(World):
    """A world for each service, and a real governor for all."""

    worlds: dict[str, World] = field(default_factory=dict)
    governing: Governing | None = None
    late: asyncio.Event | None = None
    """The governor's answers are on their way until it is set."""

    @activity.defn(name=options.LOOK_ACTIVITY)
    async def look(self, request: LookRequest) -> Look:
        return await self.worlds[request.service].look(request)

    @activity.defn(name=options.STEP_ACTIVITY)
    async def step(self, task: StepTask) -> StepResult:
        return await self.worlds[task.service].step(task)

    @activity.defn(name=options.UNDO_ACTIVITY)
    async def undo(self, task: StepTask) -> StepResult:
        return await self.worlds[task.service].undo(task)

    @activity.defn(name=options.ACQUIRE_SLOT)
    async def acquire(self, request: SlotRequest) -> SlotAnswer:
        if self.governing is None:
            raise refusal("Refused", "there is no governor")
        answer = await self.governing.acquire(request)
        if self.late is not None:
            await self.late.wait()
        return answer

    @activity.defn(name=options.SETBACKS)
    async def setbacks(self, asked: SetbackQuestion) -> Setbacks:
        if self.governing is None:
            raise refusal("Refused", "there is no governor")
        return await self.governing.setbacks(asked)
