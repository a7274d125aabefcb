"""The parts of ``failover.yaml`` that say what holds for every service, and what its policy says of people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, model_validator

from orchestrator.config import fields as f
from orchestrator.config import moments as m
from orchestrator.config.fields import say
from orchestrator.config.part import Part
from orchestrator.core import orders as core
from orchestrator.core import topology
from orchestrator.core.orders import MIDNIGHT_MIN
from orchestrator.core.topology import Unanswered

_USUAL = core.Limits()


class Freeze(Part):
    """A time in which nothing is moved that need not be: from one moment to another, or some hours of some days.

    `{from: 2026-12-24T00:00:00Z, to: 2026-12-27T00:00:00Z, reason: year end}` or
    `{days: [sat, sun], from: "00:00", to: "24:00", zone: Europe/Berlin, reason: nobody is in}`.
    """

    begins: m.Bound = Field(alias="from")
    """The first moment, with its zone; with `days`, an hour of the day."""
    ends: m.Bound = Field(alias="to")
    """The first moment after it; with `days`, an hour: one that is not after `from` is on the next day."""
    days: Annotated[list[m.Day], Field(min_length=1, max_length=7)] | None = None
    """The days of the week on which it begins: `mon` to `sun`."""
    zone: m.ZoneName = "UTC"
    """The time zone of the hours, by its name in the IANA database."""
    reason: m.Reason
    """Why; whoever is refused reads it."""
    unplanned: bool = False
    """Whether automation also asks a person before it moves traffic away from what is down."""

    @model_validator(mode="after")
    def _whole(self) -> Freeze:
        begins, ends = self.begins, self.ends
        if self.days is None:
            if isinstance(begins, int) or isinstance(ends, int):
                say("hours need the days that they are of; add days, or write moments like 2026-12-24T00:00:00Z")
            if begins >= ends:
                say("it ends before it begins; correct from or to")
            if "zone" in self.model_fields_set:
                say("moments carry their own zone; remove zone, or add days")
        else:
            if not isinstance(begins, int) or not isinstance(ends, int):
                say("with days, from and to are hours like 22:00; write them so, or remove days")
            if begins in {MIDNIGHT_MIN, ends}:
                say("it would last no time, or begin at the end of a day; correct from or to")
        return self

    def window(self) -> core.Freeze:
        """The window as the rules read it."""
        begins, ends = self.begins, self.ends
        if isinstance(begins, datetime) and isinstance(ends, datetime):
            return core.Freeze(self.reason, core.Span(begins, ends), self.unplanned)
        opens, closes = (minutes if isinstance(minutes, int) else 0 for minutes in (begins, ends))
        weekly = core.Weekly(tuple(sorted(set(self.days or ()))), opens, closes, self.zone)
        return core.Freeze(self.reason, weekly, self.unplanned)


class Pool(Part):
    """Hardware that endpoints of several services share: what one takes the others have not."""

    capacity: Annotated[int, Field(ge=1, le=10_000_000)]
    """Requests in flight that it carries, all together."""


class Limits(Part):
    """How much may move at one time, whoever moves it."""

    at_once: Annotated[int, Field(ge=1, le=10_000)] = _USUAL.at_once
    """Runs at one time, in all."""
    per_domain: Annotated[int, Field(ge=1, le=10_000)] = _USUAL.per_domain
    """Runs at one time that bring traffic to one region."""
    change_guard: Annotated[int, Field(ge=1, le=100)] = _USUAL.change_guard
    """Percent of all services: when more move at one time, a person decides. The evacuation of a region that several
    vantages find lost counts as one. `100` turns it off."""


class Serving(Part):
    """How many endpoints have to serve."""

    least: Annotated[int, Field(ge=1, le=100)] = 1
    """At least so many work and get traffic after a move."""


class Questions(Part):
    """Whom a service asks where automation may not decide, and what silence means, in the words of an `approve` step.

    A question that nobody answers goes to the next role, and is told again at growing distance, a few times.
    """

    role: f.Id | None = None
    """A role of this file; left out: anybody."""
    escalate: Annotated[list[f.Id], Field(max_length=5)] = []  # noqa: RUF012 - pydantic copies it for each object
    """Roles that are asked one after another, as well, when a `timeout` has passed; left out: the same ones again."""
    timeout: f.Patience = 600.0
    """How long each is waited for: 10s to 1d."""
    on_timeout: f.UnansweredName = Unanswered.HOLD
    """`hold`: traffic stays, and the question stands. `proceed`: automation does what it would do in mode `automatic`;
    a safety rule that asks is never set aside by silence."""

    def asked(self) -> topology.Questions:
        """The same as a core value."""
        return topology.Questions(self.role, tuple(self.escalate), self.timeout, self.on_timeout)
