"""Runs that are started by themselves, without a service: what a plan becomes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import Domain, RunId
from orchestrator.core.record import Entry, Mark, Record
from real.scenery import AT_HOME, AWAY, EU, TOLD, US, World
from real.stage import Stage, stage
from runbooks.books import book
from runbooks.model import Runbook
from runbooks.parse import parse
from runbooks.plan import Plan
from runbooks.planner import Ground, plan
from workflows import options
from workflows.wire import CONTROL_QUEUE, Carry, run_workflow_id

BOOKS = {
    MoveKind.FAILOVER: "region-failover",
    MoveKind.SWITCHOVER: "switchover",
    MoveKind.FAILBACK: "failback",
}


@dataclass
class Runs:
    """Starts runs on a stage and waits for their records."""

    stage: Stage
    roles: tuple[tuple[str, tuple[str, ...]], ...] = (("lead", ("carol",)), ("sre", ("alice", "bob")))
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def world(self) -> World:
        return self.stage.world

    def reset(self) -> World:
        """The world as it was at first: traffic in Paris, nothing done."""
        fresh = World(self.world.clock)
        for name in World.__dataclass_fields__:
            setattr(self.world, name, getattr(fresh, name))
        return self.world

    def plan(self, kind: MoveKind, book_: Runbook | None = None) -> Plan:
        failing = (Domain("alpha/paris"),) if kind is MoveKind.FAILOVER else ()
        source, target, after = (US, EU, AT_HOME) if kind is MoveKind.FAILBACK else (EU, US, AWAY)
        run = RunId(f"chat-20240101-000000-{next(self.numbers):04x}")
        return plan(
            Move(self.stage.service.id, kind, (source,), target, after, failing),
            Ground(self.stage.service, self.world.routing, 1, roles=self.roles),
            run=run,
            trigger=Trigger("ann@laptop", "because"),
            book=book_ or book(BOOKS[kind]),
        )

    async def start(
        self, kind: MoveKind = MoveKind.FAILOVER, *, queues: tuple[str, ...] = (CONTROL_QUEUE,), **steps: Any
    ) -> WorkflowHandle[object, Record]:
        """Start a run of that kind; *steps* change every step of its plan (``timeout_s``, ``attempts``)."""
        made = self.plan(kind)
        return await self.begin(replace(made, steps=tuple(replace(step, **steps) for step in made.steps)), queues)

    async def by(self, steps: str, kind: MoveKind = MoveKind.SWITCHOVER) -> WorkflowHandle[object, Record]:
        """Start a run of that kind by a runbook of these steps, as they stand in a file."""
        return await self.begin(self.plan(kind, self.book(steps)))

    def book(self, steps: str) -> Runbook:
        """The runbook of these steps, as they stand in a file."""
        head = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: mine}\nsteps:\n"
        return parse(head + steps, "mine.yaml")

    async def begin(self, made: Plan, queues: tuple[str, ...] = (CONTROL_QUEUE,)) -> WorkflowHandle[object, Record]:
        """Start the run of a plan."""
        entry = Entry(datetime.now(UTC), Mark.DECIDED, "decided by ann@laptop: because")
        return await self.stage.client.start_workflow(
            "failover",
            Carry(made, self.stage.service, queues, (entry,), TOLD),
            id=run_workflow_id(made.service, made.run),
            task_queue=CONTROL_QUEUE,
            task_timeout=options.TASK_TIMEOUT,
            result_type=Record,
        )

    async def record(
        self, kind: MoveKind = MoveKind.FAILOVER, *, queues: tuple[str, ...] = (CONTROL_QUEUE,), **steps: Any
    ) -> Record:
        """The record of a run of that kind, closed."""
        return await (await self.start(kind, queues=queues, **steps)).result()

    def doing(self, step: str) -> int:
        """How many attempts at *step* there were."""
        return self.world.steps.count(step)


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    """A stage on which runs are started without a service."""
    async with stage() as play:
        yield Runs(play)
