"""A run's record: the timeline at a glance, and progress while it grows. Rendered from the record alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.render.text import cell, listed, seconds, shares, stamp
from orchestrator.cli.render.waiting import waiting_lines
from orchestrator.core.move import MoveKind
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from workflows.wire import RunState

STATUS_STYLE = {
    RunStatus.RUNNING: "bold cyan",
    RunStatus.COMPLETED: "bold green",
    RunStatus.OBSERVED: "cyan",
    RunStatus.UNDONE: "bold yellow",
    RunStatus.ABORTED: "bold yellow",
    RunStatus.STALE: "bold yellow",
    RunStatus.HALTED: "bold red",
}
MEANING = {
    RunStatus.RUNNING: "is under way",
    RunStatus.COMPLETED: "completed",
    RunStatus.OBSERVED: "observed: nothing was written; this is what would have been done",
    RunStatus.UNDONE: "failed, and everything it had done was put back",
    RunStatus.ABORTED: "aborted",
    RunStatus.STALE: "stopped by the fence: somebody else is ahead",
    RunStatus.HALTED: "failed and halted: it is left as it stands for a person",
}
_ENDS = {
    Mark.STEP_DONE: ("done", "green"),
    Mark.STEP_FAILED: ("failed", "bold red"),
    Mark.STEP_SKIPPED: ("skipped", "dim"),
    Mark.UNDO_DONE: ("undone", "yellow"),
    Mark.UNDO_FAILED: ("undo failed", "bold red"),
}
_BEGINS = {Mark.STEP_STARTED: "running", Mark.UNDO_STARTED: "undoing"}
_BAR = 28
SAID = 4
"""How many of the last acts and notes stand below the steps."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the timeline: a moment, or a span from its start to its end."""

    begin: datetime
    end: datetime
    label: str
    state: str
    style: str
    text: str
    span: bool

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()


def rows(record: Record, now: datetime) -> tuple[Row, ...]:
    """The record's entries with each step's start and end joined into one line; what runs still ends *now*."""
    made: list[Row] = []
    ended: set[int] = set()
    for index, entry in enumerate(record.entries):
        if entry.mark in _BEGINS:
            kind = "undo" if entry.mark is Mark.UNDO_STARTED else "step"
            end = _end_of(record.entries, index, kind)
            if end is None:
                last = record.closed or now
                state, style = ("cut short", "yellow") if record.closed else (_BEGINS[entry.mark], "cyan")
                made.append(Row(entry.at, max(last, entry.at), _label(entry), state, style, entry.text, True))
            else:
                ended.add(end)
                done = record.entries[end]
                state, style = _ENDS[done.mark]
                made.append(Row(entry.at, max(done.at, entry.at), _label(entry), state, style, done.text, True))
        elif index not in ended:
            state, style = _ENDS.get(entry.mark, ("", _moment_style(entry.mark)))
            made.append(Row(entry.at, entry.at, _label(entry), state, style, entry.text, False))
    return tuple(made)


def _end_of(entries: tuple[Entry, ...], start: int, kind: str) -> int | None:
    """Where the step or undo that starts at *start* ends; None while it runs."""
    for index in range(start + 1, len(entries)):
        entry = entries[index]
        if entry.step == entries[start].step and entry.mark in _ENDS and entry.mark.startswith(kind):
            return index
    return None


def _label(entry: Entry) -> str:
    if entry.step and entry.mark.startswith(("step", "undo")):
        return f"undo {entry.step}" if entry.mark.startswith("undo") else entry.step
    return entry.mark.replace("-", " ")


def _moment_style(mark: Mark) -> str:
    if mark in {Mark.CONVERGED, Mark.VERIFIED, Mark.LAST_GOOD}:
        return "green"
    if mark in {Mark.ACT, Mark.NOTE}:
        return "yellow"
    return "bold" if mark in {Mark.DETECTED, Mark.DECIDED, Mark.STEERED, Mark.CHANGED} else "dim"


def _origin(record: Record) -> datetime:
    """The moment that offsets count from: the last good probe, else the decision."""
    good = record.first(Mark.LAST_GOOD)
    return good.at if good else min((entry.at for entry in record.entries), default=record.started)


def _bar(row: Row, origin: datetime, total: float, *, ascii_only: bool) -> Text:
    """Where in the whole run *row* lies."""
    dot, line = ("*", "=") if ascii_only else ("●", "━")
    scale = (_BAR - 1) / total if total > 0 else 0.0
    begin = min(_BAR - 1, max(0, int((row.begin - origin).total_seconds() * scale)))
    width = max(1, min(_BAR - begin, round(row.seconds * scale))) if row.span else 1
    return Text(" " * begin + (line if row.span else dot) * width, style=row.style)


def measure(record: Record) -> Text:
    """The sentence that compares the run with its objective."""
    ttr, objective = record.ttr_s, record.objective_s
    if ttr is None:
        return cell(f"The objective is {seconds(objective)}.", "dim")
    if record.planned:
        moved = cell(f"Traffic had moved {seconds(ttr)} after the decision", "bold green")
        return Text.assemble(moved, "; the source worked, so there was nothing to recover from.")
    since = "last good probe" if record.first(Mark.LAST_GOOD) else "decision"
    met = ttr <= objective
    rest = f"; the objective of {seconds(objective)} is {'met' if met else 'missed'}"
    if record.ttd_s is not None:
        rest += f"; detected after {seconds(record.ttd_s)}"
    said = cell(f"Recovered {seconds(ttr)} after the {since}", "bold green" if met else "bold red")
    return Text.assemble(said, cell(f"{rest}."))


def headline(record: Record) -> Text:
    """One line: what kind of move, of what, from where to where, and how it stands."""
    return Text.assemble(
        cell(f"{record.kind.capitalize()} of ", ""),
        cell(record.service, "bold"),
        cell(f": {_way(record)}   ", ""),
        cell(MEANING[record.status], STATUS_STYLE[record.status]),
    )


def _way(record: Record) -> str:
    """From where to where; of a preparation, where."""
    if record.kind is MoveKind.PREPARATION:
        return f"at {record.target}"
    return f"{listed(record.source)} -> {record.target}"


def timeline(
    record: Record, now: datetime, state: RunState | None = None, *, ascii_only: bool = False
) -> RenderableType:
    """The whole record, read from top to bottom: offsets from the last good probe, spans as bars.

    Of a run under way, *state* says at the end what it waits for, and which commands answer it.
    """
    lines = rows(record, now)
    origin = _origin(record)
    total = max(((row.end - origin).total_seconds() for row in lines), default=0.0)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("AT", justify="right", no_wrap=True)
    grid.add_column("WHAT", no_wrap=True)
    grid.add_column("TOOK", justify="right", no_wrap=True)
    grid.add_column("", width=_BAR, no_wrap=True)
    grid.add_column("", overflow="fold")
    for row in lines:
        grid.add_row(
            cell(f"{(row.begin - origin).total_seconds():+.2f} s"),
            cell(f"{row.label} {row.state}".strip(), row.style),
            cell(seconds(row.seconds) if row.span else ""),
            _bar(row, origin, total, ascii_only=ascii_only),
            cell(row.text),
        )
    parts: list[RenderableType] = [headline(record), measure(record), *_facts(record), "", grid]
    if state is not None and (waiting := tuple(waiting_lines(record.run, state))):
        parts += ["", *waiting]
    return Group(*parts)


def _facts(record: Record) -> Iterator[Text]:
    yield cell(f"By {record.trigger.by}: {record.trigger.reason}")
    yield cell(f"Traffic: {shares(record.before)} -> {shares(record.after)}")
    yield cell(
        f"Run {record.run}, started {stamp(record.started)}, runbook {record.runbook}, generation {record.generation},"
        f" topology revision {record.revision}" + (f", drill {record.drill}" if record.drill else ""),
        "dim",
    )
    word = "Held by" if record.status is RunStatus.OBSERVED else "Set aside"
    for objection in record.objections:
        yield cell(f"{word}: {objection.rule}: {objection.text}", "yellow")


def entry_line(record: Record, entry: Entry) -> Text:
    """One entry as a plain line of progress."""
    offset = (entry.at - _origin(record)).total_seconds()
    took = f" in {seconds(entry.seconds)}" if entry.seconds is not None else ""
    what = f"{entry.step} " if entry.step else ""
    state = _BEGINS.get(entry.mark) or _ENDS.get(entry.mark, (entry.mark.replace("-", " "), ""))[0]
    return cell(f"{offset:+9.2f} s  {what}{state}{took}: {entry.text}")


def progress(record: Record, now: datetime, state: RunState | None = None) -> RenderableType:
    """The plan's steps with how far each has come, what people said and did, and what it waits for.

    Redrawn in place while the run goes on.
    """
    states: dict[str, Row] = {}
    for row in rows(record, now):
        if row.state:
            states[row.label.removeprefix("undo ")] = row
    grid = Table.grid(padding=(0, 2))
    for step in record.steps:
        come = states.get(step.id)
        took = f"{seconds(come.seconds)} of at most {seconds(step.timeout_s)}" if come and come.span else ""
        grid.add_row(
            cell(f"  {step.id}", "bold" if come else "dim"),
            cell(come.state if come else "waiting", come.style if come else "dim"),
            cell(took, "dim"),
            cell(come.text if come else step.text, "" if come else "dim"),
        )
    past = ((record.closed or now) - _origin(record)).total_seconds()
    late = "bold red" if past > record.objective_s and not record.planned else "dim"
    limit = "since the decision" if record.planned else f"of the objective's {seconds(record.objective_s)}"
    clock = cell(f"{seconds(past)} {limit}", late)
    said = [entry for entry in record.entries if entry.mark in {Mark.ACT, Mark.NOTE}][-SAID:]
    news = [entry_line(record, entry) for entry in said]
    return Group(headline(record), grid, *news, *(waiting_lines(record.run, state) if state else ()), clock)


def summary(records: Iterable[Record]) -> RenderableType:
    """Runs as a list, newest first."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("STARTED", "SERVICE", "KIND", "MOVE", "STATUS"):
        grid.add_column(column, no_wrap=True)
    grid.add_column("RECOVERED", justify="right", no_wrap=True)
    grid.add_column("BY", overflow="fold")
    grid.add_column("RUN", no_wrap=True)
    for record in records:
        grid.add_row(
            stamp(record.started),
            cell(record.service, "bold"),
            record.kind.value,
            cell(_way(record)),
            cell(record.status, STATUS_STYLE[record.status]),
            seconds(record.ttr_s),
            cell(record.trigger.by),
            cell(record.run),
        )
    return grid
