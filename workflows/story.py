"""The story of one run: its record, kept as it happens, and what people and the history store hear of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.record import Entry, Mark, RunStatus
    from runbooks.plan import Plan
    from runbooks.planner import brief
    from runbooks.printed import record_of
    from workflows.herald import Heralds
    from workflows.wire import Carry, Publication, Telling


class Story:
    """The record of the run that *carry* starts."""

    def __init__(self, carry: Carry, started: datetime) -> None:
        plan = carry.plan
        self._plan: Plan = plan
        self._notify = carry.notify
        self._heralds = Heralds()
        self._one_of_many = carry.one_of_many
        decided = carry.entries[-1].at if carry.one_of_many and carry.entries else started
        self.record = replace(record_of(plan, decided, carry.entries), drill=carry.drill)

    def note(self, mark: Mark, text: str, step: str | None = None, *, since: datetime | None = None) -> None:
        """One more entry, of now."""
        now = workflow.now()
        self.extend((Entry(now, mark, text, step, None if since is None else (now - since).total_seconds()),))

    def extend(self, entries: tuple[Entry, ...]) -> None:
        """Moments that were seen elsewhere."""
        self.record = replace(self.record, entries=(*self.record.entries, *entries))

    def tell(self, event: str, text: str) -> None:
        """Tell people. Nothing waits for it. Of one of many runs they hear only what is not as it should be."""
        if self._one_of_many and (event == "run.started" or self.record.status is RunStatus.COMPLETED):
            return
        plan = self._plan
        self._heralds.send(Telling(self._notify, plan.service, event, text, workflow.now(), plan.run))

    def say(self, event: str, text: str, step: str | None = None) -> None:
        """Into the record, and to people."""
        self.note(Mark.NOTE, text, step)
        self.tell(event, text)

    def publish(self) -> None:
        """Let the history store have the record as it is now."""
        self._heralds.send(Publication(record=self.record))

    def switch(self, *, planned: bool) -> None:
        """The steps are those of a (un)planned move from now on, besides those that have begun."""
        lines = {line.id: line for way in (True, False) for line in brief(self._plan, planned=way)}
        begun = {entry.step for entry in self.record.entries if entry.mark is Mark.STEP_STARTED}
        kept = begun | {line.id for line in brief(self._plan, planned=planned)}
        steps = tuple(lines[step.id] for step in self._plan.steps if step.id in kept)
        self.record = replace(self.record, steps=steps)

    def close(self, status: RunStatus, text: str) -> None:
        """The last entry."""
        self.note(Mark.CLOSED, text)
        self.record = replace(self.record, status=status, closed=workflow.now())
        self.tell("run.closed", f"{self.record.service}: {status}: {text}")

    async def sent(self) -> None:
        """Wait until all news is on its way."""
        await self._heralds.sent()
