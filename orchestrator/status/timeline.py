"""A run's record as lengths and moments on one scale: where the time went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.record import Entry, Mark, Record, RunStatus
from orchestrator.history.merge import is_closed
from orchestrator.status.state import State
from orchestrator.status.words import objective, seconds

_ENDS = {
    Mark.STEP_DONE: (State.GOOD, "done"),
    Mark.STEP_FAILED: (State.BAD, "failed"),
    Mark.STEP_SKIPPED: (State.QUIET, "skipped"),
    Mark.UNDO_DONE: (State.WARN, "undone"),
    Mark.UNDO_FAILED: (State.BAD, "undo failed"),
}
_STEP_ENDS = frozenset({Mark.STEP_DONE, Mark.STEP_FAILED, Mark.STEP_SKIPPED})
_UNDO_ENDS = frozenset({Mark.UNDO_DONE, Mark.UNDO_FAILED})
_MOMENTS = (
    (Mark.STEERED, "steered"),
    (Mark.CHANGED, "answer changed"),
    (Mark.CONVERGED, "converged"),
    (Mark.VERIFIED, "verified"),
)


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of a run: detecting, deciding, a step, an undo."""

    name: str
    text: str
    state: State
    word: str
    begin_s: float | None = None
    """Seconds since the run's zero; None: it has not begun."""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    name: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Timeline:
    zero: datetime
    """The last good probe; of a planned move, its decision."""
    spans: tuple[Span, ...]
    moments: tuple[Moment, ...]
    elapsed_s: float
    """Until clients were served again, else until it closed, else until now."""
    total_s: float
    """Length of the whole scale."""
    recovered: bool

    def per_mille(self, seconds: float) -> float:
        """Where *seconds* lies on the scale, 0 to 1000."""
        return round(min(max(seconds / self.total_s, 0.0), 1.0) * 1000, 1) if self.total_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of the objective is used up, on a scale that holds both."""

    used: float
    """0 to 1000."""
    limit: float
    """Where the objective stands, 0 to 1000."""
    state: State
    text: str


def meter(record: Record, told: Timeline) -> Meter:
    """The time until clients are served again against the objective, in words and as lengths."""
    if record.planned:
        return _planned(record, told)
    scale = max(record.objective_s, told.elapsed_s, 0.001)
    over = told.elapsed_s > record.objective_s
    if told.recovered:
        text = f"recovered in {seconds(told.elapsed_s)}, objective {objective(record.objective_s)}"
        state = State.BAD if over else State.GOOD
    elif is_closed(record):
        text = f"not recovered; it closed after {seconds(told.elapsed_s)}, objective {objective(record.objective_s)}"
        state = State.QUIET if record.status is RunStatus.OBSERVED else State.BAD
    else:
        text = f"{seconds(told.elapsed_s)} of {objective(record.objective_s)}"
        state = State.BAD if over else State.BUSY
    if over and not is_closed(record):
        text += ": over the objective"
    elif over and told.recovered:
        text += f": missed by {seconds(told.elapsed_s - record.objective_s)}"
    return Meter(
        round(told.elapsed_s / scale * 1000, 1), round(min(record.objective_s / scale, 1.0) * 1000, 1), state, text
    )


def _planned(record: Record, told: Timeline) -> Meter:
    """The time of a move away from what works: nobody waits for it, so no objective binds it."""
    if told.recovered:
        state, text = State.GOOD, f"moved in {seconds(told.elapsed_s)}; planned, so there was nothing to recover from"
    elif is_closed(record):
        state = State.QUIET if record.status in {RunStatus.OBSERVED, RunStatus.ABORTED} else State.BAD
        text = f"it closed after {seconds(told.elapsed_s)}, before all clients had moved"
    else:
        state, text = State.BUSY, f"{seconds(told.elapsed_s)} since the decision; planned, so no objective runs"
    over = sum(span.word not in {"waits", "running", "not reached"} for span in told.spans)
    return Meter(round(over / max(len(told.spans), 1) * 1000, 1), 1000.0, state, text)


def timeline(record: Record, now: datetime) -> Timeline:
    """*record* as lengths. *now* ends what is still running."""
    zero = _zero(record)
    last = max((entry.at for entry in record.entries), default=record.started)
    end = record.closed or (last if is_closed(record) else max(now, last))
    recovered = record.first(Mark.CONVERGED)
    elapsed = ((recovered.at if recovered else end) - zero).total_seconds()
    spans = (*_prologue(record, zero), *_steps(record, zero, end), *_undos(record, zero, end))
    moments = tuple(
        Moment(name, (entry.at - zero).total_seconds())
        for mark, name in _MOMENTS
        if (entry := record.first(mark)) is not None
    )
    total = max((end - zero).total_seconds(), (last - zero).total_seconds(), 0.001)
    return Timeline(zero, spans, moments, max(elapsed, 0.0), total, recovered is not None)


def _zero(record: Record) -> datetime:
    first = record.first(Mark.LAST_GOOD) or record.first(Mark.DECIDED)
    return min(first.at, record.started) if first else record.started


def _prologue(record: Record, zero: datetime) -> tuple[Span, ...]:
    spans: list[Span] = []
    pairs = ((Mark.LAST_GOOD, Mark.DETECTED, "detect"), (Mark.DETECTED, Mark.DECIDED, "decide"))
    for begin, end, name in pairs:
        a, b = record.first(begin), record.first(end)
        if a is not None and b is not None:
            seconds = (b.at - a.at).total_seconds()
            spans.append(Span(name, b.text, State.GOOD, "done", (a.at - zero).total_seconds(), seconds))
    return tuple(spans)


def _steps(record: Record, zero: datetime, end: datetime) -> tuple[Span, ...]:
    spans: list[Span] = []
    for step in record.steps:
        own = [e for e in record.entries if e.step == step.id and (e.mark is Mark.STEP_STARTED or e.mark in _STEP_ENDS)]
        if not own:
            spans.append(Span(step.id, step.text, State.QUIET, "not reached" if is_closed(record) else "waits"))
            continue
        # A retried step runs from its first attempt's start, and has ended when nothing started after its last end.
        ended = own[-1] if own[-1].mark in _STEP_ENDS else None
        spans.append(_stretch(step.id, step.text, began=own[0], ended=ended, record=record, zero=zero, end=end))
    return tuple(spans)


def _undos(record: Record, zero: datetime, end: datetime) -> tuple[Span, ...]:
    spans: list[Span] = []
    for begun in (entry for entry in record.entries if entry.mark is Mark.UNDO_STARTED):
        ended = next((e for e in record.entries if e.step == begun.step and e.mark in _UNDO_ENDS), None)
        name = f"undo {begun.step or ''}".strip()
        spans.append(_stretch(name, begun.text, began=begun, ended=ended, record=record, zero=zero, end=end))
    return tuple(spans)


def _stretch(
    name: str, text: str, *, began: Entry, ended: Entry | None, record: Record, zero: datetime, end: datetime
) -> Span:
    if ended is not None:
        state, word = _ENDS[ended.mark]
    else:
        state, word = (State.WARN, "cut short") if is_closed(record) else (State.BUSY, "running")
    until = ended.at if ended is not None else end
    return Span(name, text, state, word, (began.at - zero).total_seconds(), (until - began.at).total_seconds())
