"""A failure domain as the domain workflow meets it: who is inside, what each answers, and who has moved when."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from temporalio import activity

from orchestrator.core.evacuation import Leaving
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from workflows import options
from workflows.wire.evacuation import ArrivalQuestion, Departed, DepartureTask, Fate, Inside

PARIS = Domain("alpha/paris")
FULL = "too much is on the move"


@dataclass
class Region:
    """The services of a region: which ones, what each answers, and who has moved when."""

    services: list[Leaving] = field(default_factory=list)
    answers: dict[str, Departed] = field(default_factory=dict)
    """By service: what it answers at once; the others start a run."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """By service: its run closes when this is set."""
    order: list[str] = field(default_factory=list)
    moving: int = 0
    most: int = 0
    room: int = 1000
    """How many the governor lets move at one time."""

    def add(self, name: str, tier: int = 3, *depends: str) -> None:
        inside = (EndpointId("paris"),)
        self.services.append(Leaving(ServiceId(name), inside, tier, tuple(ServiceId(each) for each in depends)))

    @activity.defn(name=options.LIST_INSIDE)
    async def list_inside(self, domain: Domain) -> Inside:
        assert domain == PARIS
        return Inside(tuple(self.services))

    @activity.defn(name=options.DEPART)
    async def depart(self, task: DepartureTask) -> Departed:
        if self.moving >= self.room:
            return Departed(Fate.WAITING, text=FULL)
        self.order.append(str(task.service))
        if answer := self.answers.get(task.service):
            return answer
        self.moving += 1
        self.most = max(self.most, self.moving)
        return Departed(Fate.MOVING, run=RunId(f"{task.service}-run"))

    @activity.defn(name=options.AWAIT_ARRIVAL)
    async def await_arrival(self, question: ArrivalQuestion) -> Departed:
        if gate := self.gates.get(question.service):
            while not gate.is_set():
                activity.heartbeat()
                await asyncio.sleep(0.02)
        self.moving -= 1
        return Departed(Fate.MOVED, run=question.run, text="complete")
