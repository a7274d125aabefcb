"""What a journal tells: how far the plan has come, and the record that everyone reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.core.errors import IllegalTransition
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from orchestrator.core.steering import Routing
from orchestrator.runtime.breakglass.journal import BadJournal, Noted, Opened
from runbooks.plan import Plan
from runbooks.planner import brief
from runbooks.printed import record_of
from runbooks.progress import Event, Progress, advance, begin


@dataclass(frozen=True, slots=True)
class Account:
    """A journal, read from its begin to its end."""

    opened: Opened
    progress: Progress
    entries: tuple[Entry, ...] = ()
    replicas: Mapping[str, int] = field(default_factory=dict)
    """What each promotion found when it first began."""
    began: Mapping[str, datetime] = field(default_factory=dict)
    """When each step was first begun."""
    routing: Routing | None = None
    status: RunStatus | None = None
    """How it ended; None: it has not."""
    closed: datetime | None = None

    @property
    def plan(self) -> Plan:
        return self.opened.sealed.plan

    def and_then(self, noted: Noted) -> Account:
        """The account with one more line. Raises IllegalTransition for an event that cannot happen there."""
        progress = self.progress
        if noted.event is not None:
            progress = advance(progress, noted.step, noted.event, noted.detail)
        began, replicas = dict(self.began), dict(self.replicas)
        if noted.event is Event.START:
            began.setdefault(noted.step, noted.at)
        if noted.replicas is not None:
            # The next attempts find what the first has done.
            replicas.setdefault(noted.step, noted.replicas)
        return Account(
            self.opened,
            progress,
            (*self.entries, *noted.entries),
            replicas,
            began,
            noted.routing or self.routing,
            noted.status or self.status,
            noted.at if noted.status is not None else self.closed,
        )


def account(opened: Opened, lines: tuple[Noted, ...]) -> Account:
    """All that the journal tells. Raises BadJournal for a journal that tells what cannot have happened."""
    told = Account(opened, begin(opened.sealed.plan))
    try:
        for noted in lines:
            told = told.and_then(noted)
    except IllegalTransition as error:
        raise BadJournal(
            f"the journal of run {told.plan.run} tells what cannot have happened ({error}); go on with the version of "
            "this program that began it, or make a new plan"
        ) from error
    return told


def record(told: Account) -> Record:
    """The record of the run, as the control plane would have kept it."""
    plan, opened = told.plan, told.opened
    how = f"carried out by break-glass: by {opened.by}, at {opened.host}, with a journal"
    begun = (
        # Not when the plan was made: that may be days ago, and nobody waited meanwhile.
        Entry(opened.at, Mark.DECIDED, f"decided by {plan.trigger.by}: {plan.trigger.reason}"),
        Entry(opened.at, Mark.STARTED, f"{plan.kind} of {plan.service}, {how}"),
        *(Entry(opened.at, Mark.NOTE, text) for text in opened.sealed.unasked),
    )
    return replace(
        record_of(plan, opened.at, (*begun, *told.entries)),
        status=told.status or RunStatus.RUNNING,
        steps=brief(plan, planned=told.progress.planned),
        closed=told.closed,
    )
