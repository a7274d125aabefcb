"""The first page as values: what is wrong first, and one sentence that says it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.core.names import Domain, EndpointId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.record import Record
from orchestrator.core.targets import Load
from orchestrator.history.merge import is_closed
from orchestrator.runtime.standing import answers, notices
from orchestrator.runtime.waits import Wait
from orchestrator.status.pane import Seen
from orchestrator.status.state import VERDICT, State
from orchestrator.status.timeline import timeline
from orchestrator.status.words import listed
from workflows.wire import DrillReport, EndpointBrief, ServiceStatus


@dataclass(frozen=True, slots=True)
class Tile:
    """One endpoint in its region."""

    id: str
    role: str
    verdict: str
    state: State
    weight: int | None

    @property
    def share(self) -> str:
        return "share unknown" if self.weight is None else f"{self.weight} %"


@dataclass(frozen=True, slots=True)
class Cell:
    """One service in one region."""

    region: Domain
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of why, with the command that answers it where there is one."""

    label: str
    text: str
    state: State
    command: str = ""
    asked: datetime | None = None
    """Since when it waits for a person, where that is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One service."""

    status: ServiceStatus
    rank: int
    """What is wrong first: 0 is the worst."""
    state: State
    word: str
    cells: tuple[Cell, ...]
    reasons: tuple[Reason, ...]
    load: Load | None = None
    """What it has in flight, where that is known and shown."""

    @property
    def id(self) -> str:
        return self.status.service


@dataclass(frozen=True, slots=True)
class Board:
    seen: Seen
    state: State
    headline: str
    detail: str
    regions: tuple[Domain, ...]
    rows: tuple[Row, ...]
    running: tuple[Record, ...]
    recent: tuple[Record, ...]
    drills: tuple[DrillReport, ...]

    @property
    def questions(self) -> tuple[tuple[Row, Reason], ...]:
        """What waits for a person."""
        return tuple((row, reason) for row in self.rows for reason in row.reasons if reason.label in ASKING)


MOST_LOADS = 30
"""Where there are more services the load is shown of those only that need a look: it changes all the time, and with it
a page that would be sent to every viewer again."""
ASKING = frozenset({"asks", "waits", "halted", "not acknowledged"})
"""Labels of reasons that wait for a person."""
OUTAGE, MOVING, ASKS, BLIND, EXPOSED, DEGRADED, HELD, PAUSED, FINE = range(9)
_LOOK = {
    OUTAGE: (State.BAD, "down"),
    MOVING: (State.BUSY, "moving"),
    ASKS: (State.WARN, "asks"),
    BLIND: (State.BLIND, "unknown"),
    EXPOSED: (State.WARN, "no way out"),
    DEGRADED: (State.WARN, "degraded"),
    HELD: (State.WARN, "held"),
    PAUSED: (State.QUIET, "paused"),
    FINE: (State.GOOD, "serving"),
}


def board(seen: Seen) -> Board:
    """Everything the first page shows, in the order it shows it."""
    regions = tuple(sorted({brief.region for status in seen.statuses for brief in status.endpoints}))
    rows = tuple(
        sorted(
            (_row(status, regions, seen.waits(status.run)) for status in seen.statuses),
            key=lambda row: (row.rank, row.id),
        )
    )
    if len(rows) <= MOST_LOADS:
        rows = tuple(replace(row, load=row.status.load) for row in rows)
    records = seen.records()
    state, headline, detail = _headline(seen, rows)
    return Board(
        seen=seen,
        state=state,
        headline=headline,
        detail=detail,
        regions=regions,
        rows=rows,
        running=_hurried(seen, records),
        recent=tuple(record for record in records if is_closed(record))[:20],
        drills=seen.kept.drills,
    )


def _hurried(seen: Seen, records: tuple[Record, ...]) -> tuple[Record, ...]:
    """The runs under way, that first which has used up the most of its objective."""
    under_way = [record for record in records if not is_closed(record)]

    def left(record: Record) -> float:
        told = timeline(record, seen.told)
        return told.recovered - told.elapsed_s / max(record.objective_s, 0.001)

    return tuple(sorted(under_way, key=lambda record: (left(record), record.run)))


def _row(status: ServiceStatus, regions: tuple[Domain, ...], waiting: tuple[Wait, ...]) -> Row:
    seen = {assessment.endpoint: assessment for assessment in status.assessments}
    rank = _rank(status, seen, waits=bool(waiting))
    state, word = _LOOK[rank]
    if rank == EXPOSED:
        word = _exposed(status, seen)
    cells = tuple(
        Cell(
            region,
            tuple(
                Tile(brief.id, brief.role, _verdict(seen, brief), VERDICT[_verdict(seen, brief)], brief.weight)
                for brief in sorted(status.endpoints, key=lambda brief: brief.id)
                if brief.region == region
            ),
        )
        for region in regions
    )
    reasons = (*_waiting(waiting), *_reasons(status))
    return Row(status, rank, state, word, cells, reasons, status.load if reasons else None)


def _waiting(waiting: tuple[Wait, ...]) -> Iterator[Reason]:
    """What the run under way waits for: a person is needed now, so it comes first."""
    for each in waiting:
        yield Reason("waits", f"the run waits: {each.text}", State.WARN, each.commands[0])


def _exposed(status: ServiceStatus, seen: dict[EndpointId, Assessment]) -> str:
    """What a dead endpoint without traffic means: whether a healthy one is left to go to."""
    if any(brief.weight is None for brief in status.endpoints):
        return "endpoint down"
    idle = [_verdict(seen, brief) for brief in status.endpoints if not brief.weight]
    return "standby down" if Verdict.HEALTHY in idle else "no way out"


def _verdict(seen: dict[EndpointId, Assessment], brief: EndpointBrief) -> Verdict:
    found = seen.get(brief.id)
    return found.verdict if found is not None else Verdict.UNKNOWN


def _rank(status: ServiceStatus, seen: dict[EndpointId, Assessment], *, waits: bool) -> int:
    """Where traffic goes matters first, then whether somebody must act, then what would be missing later."""
    serving = [_verdict(seen, brief) for brief in status.endpoints if brief.weight]
    every = [_verdict(seen, brief) for brief in status.endpoints]
    grades = (
        (status.run is not None and not waits, MOVING),
        (Verdict.DOWN in serving or (bool(every) and set(every) == {Verdict.DOWN}), OUTAGE),
        (status.question is not None or waits or any(n.needs_somebody for n in notices(status)), ASKS),
        (Verdict.UNKNOWN in serving or not every, BLIND),
        (Verdict.DOWN in every, EXPOSED),
        (Verdict.DEGRADED in every, DEGRADED),
        (Verdict.UNKNOWN in every, BLIND),
        (bool(status.held), HELD),
        (status.paused is not None or status.gate is not None, PAUSED),
    )
    return next((rank for wrong, rank in grades if wrong), FINE)


def _reasons(status: ServiceStatus) -> tuple[Reason, ...]:
    """Everything that speaks: verdicts that are not healthy, a question, what holds, who paused."""
    worst = {State.BAD: 0, State.WARN: 1, State.BLIND: 2}
    reasons = [
        Reason(assessment.endpoint, assessment.text or assessment.verdict, VERDICT[assessment.verdict])
        for assessment in status.assessments
        if assessment.verdict is not Verdict.HEALTHY
    ]
    reasons += [Reason(f"signal at {each.id}", each.signals, State.WARN) for each in status.endpoints if each.signals]
    reasons.sort(key=lambda reason: (worst[reason.state], reason.label))
    name = shlex.quote(status.service)
    if status.question is not None:
        asked = status.question
        why = "; ".join(reason.text for reason in asked.reasons)
        text = f"Move {listed(asked.source)} → {asked.target}?" + (f" {why}" if why else "")
        reasons.append(Reason("asks", text, State.WARN, answers(status.service, asked)[0], asked.asked))
    reasons += [
        Reason(
            each.label,
            each.text,
            State.WARN if each.needs_somebody else State.QUIET,
            each.commands[0] if each.commands else "",
        )
        for each in notices(status)
    ]
    held = "failover resume " + name
    reasons += [Reason(f"held: {objection.rule}", objection.text, State.WARN, held) for objection in status.held]
    reasons += [Reason(f"not acting: {objection.rule}", objection.text, State.WARN) for objection in status.hold]
    if status.paused is not None:
        reasons.append(Reason("paused", status.paused, State.QUIET, held))
    if status.routing is None and status.endpoints:
        reasons.append(
            Reason("routing", "where traffic goes is not known: it is not steered, or could not be read", State.QUIET)
        )
    reasons += [
        Reason(f"vantage {view.vantage}", "sees unrelated domains fail together and does not vote", State.BLIND)
        for view in status.views
        if view.isolated
    ]
    return tuple(reasons)


def _headline(seen: Seen, rows: tuple[Row, ...]) -> tuple[State, str, str]:
    """The state of everything in one sentence, and a second that says what is meant. No age: it would never rest."""
    if seen.control.away:
        return State.BAD, "The control plane is away", _away_detail(seen)
    if not rows:
        return State.QUIET, "Nothing to watch yet", ""
    worst = [row for row in rows if row.rank == rows[0].rank]
    first = rows[0].rank
    wrong = sum(row.rank < PAUSED for row in rows)
    names = listed(row.id for row in worst) if len(worst) <= 3 else f"{len(worst)} services"
    be = "is" if len(worst) == 1 else "are"
    count = f"{wrong} of {len(rows)} services need a look" if len(rows) > 1 else ""
    sentence = {
        OUTAGE: f"{names} {be} down",
        MOVING: f"{names} {be} moving",
        ASKS: f"{names} {'asks' if len(worst) == 1 else 'ask'} for a decision",
        BLIND: f"Nobody can tell how {names} {be}",
        EXPOSED: f"{names} {'serves' if len(worst) == 1 else 'serve'}, with an endpoint down",
        DEGRADED: f"{names} {be} degraded",
        HELD: f"{names} {be} held",
        PAUSED: f"Everything is serving; {names} {be} paused",
        FINE: f"{names} is serving" if len(rows) == 1 else "Everything is serving",
    }[first]
    if first == FINE:
        regions = len({brief.region for row in rows for brief in row.status.endpoints})
        count = f"{len(rows)} services in {regions} regions" if len(rows) > 1 else ""
    return _LOOK[first][0], sentence, count


def _away_detail(seen: Seen) -> str:
    if seen.control.at is None:
        return "Nothing was seen since this page's server started. Traffic flows where it last flowed."
    return "That is the last known state, not the present one. Traffic flows where it last flowed."


def title(state: State, headline: str) -> str:
    """The window's title: the state can be read on a tab."""
    shape = {State.GOOD: "●", State.BUSY: "▶", State.WARN: "▲", State.BAD: "✕", State.BLIND: "?", State.QUIET: "○"}
    return f"{shape[state]} {headline} - failover"
