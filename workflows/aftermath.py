"""What a service keeps of a run that is over: for the next cool-down, for people to look at, for the way back. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind
from orchestrator.core.moves import shift_of
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.provoked import put_in, taken_out
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.situation import Shift
from orchestrator.core.steering import serving, shares_now
from orchestrator.core.waiting import remembered
from workflows.wire import RunClosed, ServiceState
from workflows.wire.drill import FaultNews

ACTED = frozenset({RunStatus.COMPLETED, RunStatus.HALTED, RunStatus.UNDONE})
"""Ends of a run that has changed the world, if only for a while."""
FRUITLESS = timedelta(hours=1)
"""How long a target that could not be made ready is tried last."""


def shift_begun(state: ServiceState, asked: Request | None, run: RunId) -> Shift | None:
    """What the run of *asked* will be remembered by, if it is for a time: kept in ``ActiveRun.shift`` meanwhile."""
    if asked is None or state.routing is None:
        return None
    return shift_of(asked, run, shares_now(state.routing, state.slice.service.endpoints))


def after_run(state: ServiceState, closed: RunClosed, *, now: datetime, in_vain: bool = False) -> ServiceState:
    """*state* with what the run that held the service leaves behind. To be asked while it still holds it.

    An automatic run that has changed anything counts as one of several, and waits for a person's word where the
    policy wants one; one that was *in_vain* left traffic where it stood, and does neither, nor does one that a drill
    has provoked, however it ended. A complete run ends a move for a time, or begins one; a preparation moves nothing.
    """
    automatic, shift = state.automatic, state.shift
    real = closed.record.trigger.by == "automatic" and closed.record.drill is None
    if real and closed.status in ACTED and not in_vain:
        automatic = remembered(automatic, now)
    if closed.status is RunStatus.COMPLETED and closed.record.kind is not MoveKind.PREPARATION:
        held = state.run if state.run is not None and state.run.run == closed.run else None
        shift = held.shift if held is not None else None
    return replace(state, automatic=automatic, shift=shift)


def fruitless(records: tuple[Record, ...], now: datetime) -> tuple[EndpointId, ...]:
    """The targets that could not be made ready lately, by *records* (newest first), since the last move that was made.

    Sorted. A run that was stopped, or came too late, says nothing of its target.
    """
    return tuple(sorted({endpoint for endpoint, _ in in_vain(records, now)}))


def in_vain(records: tuple[Record, ...], now: datetime) -> Iterator[tuple[EndpointId, Record]]:
    """Each such target with the run that could not make it ready, newest first; one target may stand there twice."""
    for record in records:
        if record.status in {RunStatus.COMPLETED, RunStatus.HALTED} and record.kind is not MoveKind.PREPARATION:
            return
        if record.status is not RunStatus.UNDONE or record.closed is None or now - record.closed > FRUITLESS:
            continue
        unready = _unready(record)
        if unready is not None:
            yield unready, record


def _unready(record: Record) -> EndpointId | None:
    """The endpoint that *record* could not make ready; None: it failed of something else."""
    failed = record.first(Mark.STEP_FAILED)
    step = next((each for each in record.steps if failed is not None and each.id == failed.step), None)
    if step is None or step.kind not in {"promote", "verify"}:
        return None
    named = [each for each in serving(record.after) if step.id.endswith(f"-{each}")]
    return max(named, key=len, default=record.target)


def goes_elsewhere(state: ServiceState, last: Record, now: datetime) -> bool:
    """Whether the run *last* by automation found its target not to be made ready, and another is left to try at once.

    Each is tried once so: when all have failed, automation cools down.
    """
    tried = fruitless((last, *state.last_runs), now)
    if last.trigger.by != "automatic" or last.kind is not MoveKind.FAILOVER or last.status is not RunStatus.UNDONE:
        return False
    news = set(tried) - set(fruitless(state.last_runs, now))
    left = {each.id for each in state.slice.service.endpoints} - {*tried, *last.source}
    return bool(news and left)


def after_drill(state: ServiceState, record: Record) -> ServiceState:
    """*state* after *record*: if that is a drill's way home, nothing of the drill counts for the cool-down.

    A real outage right after a drill is met as if there had been none. What was real in the middle of it counts.
    """
    if record.drill is None or record.kind is not MoveKind.FAILBACK or record.status is not RunStatus.COMPLETED:
        return state
    real = (each for each in state.last_runs if each.drill != record.drill and each.status is not RunStatus.OBSERVED)
    return replace(state, last_closed=max((each.closed for each in real if each.closed is not None), default=None))


def faulted(state: ServiceState, news: FaultNews, *, now: datetime) -> ServiceState:
    """*state* once a drill says that a fault is about to go in, or is out."""
    if news.out:
        return replace(state, faulted=taken_out(state.faulted, news.drill, now))
    return replace(state, faulted=put_in(state.faulted, news.drill, news.endpoint, news.until, now))


def after_word(state: ServiceState, *, now: datetime) -> ServiceState:
    """*state* once a person has said that they have seen what automation did."""
    return replace(state, acknowledged=now)


def awaits_end(state: ServiceState) -> bool:
    """Whether a move for a time still stands: then the service must wake at its end, however well all is."""
    return state.shift is not None
