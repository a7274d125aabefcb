"""What a service keeps of a run that is over: for the next cool-down, for people to look at, for the way back. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind
from orchestrator.core.moves import shift_of
from orchestrator.core.names import RunId
from orchestrator.core.record import RunStatus
from orchestrator.core.situation import Shift
from orchestrator.core.steering import shares_now
from orchestrator.core.waiting import remembered
from workflows.wire import RunClosed, ServiceState

ACTED = frozenset({RunStatus.COMPLETED, RunStatus.HALTED, RunStatus.UNDONE})
"""Ends of a run that has changed the world, if only for a while."""


def shift_begun(state: ServiceState, asked: Request | None, run: RunId) -> Shift | None:
    """What the run of *asked* will be remembered by, if it is for a time: kept in ``ActiveRun.shift`` meanwhile."""
    if asked is None or state.routing is None:
        return None
    return shift_of(asked, run, shares_now(state.routing, state.slice.service.endpoints))


def after_run(state: ServiceState, closed: RunClosed, *, now: datetime, in_vain: bool = False) -> ServiceState:
    """*state* with what the run that held the service leaves behind. To be asked while it still holds it.

    An automatic run that has changed anything counts as one of several, and waits for a person's word where the
    policy wants one; one that was *in_vain* left traffic where it stood, and does neither. A complete run ends a move
    for a time, or begins one; a preparation moves nothing.
    """
    automatic, shift = state.automatic, state.shift
    if closed.record.trigger.by == "automatic" and closed.status in ACTED and not in_vain:
        automatic = remembered(automatic, now)
    if closed.status is RunStatus.COMPLETED and closed.record.kind is not MoveKind.PREPARATION:
        held = state.run if state.run is not None and state.run.run == closed.run else None
        shift = held.shift if held is not None else None
    return replace(state, automatic=automatic, shift=shift)


def after_word(state: ServiceState, *, now: datetime) -> ServiceState:
    """*state* once a person has said that they have seen what automation did."""
    return replace(state, acknowledged=now)


def awaits_end(state: ServiceState) -> bool:
    """Whether a move for a time still stands: then the service must wake at its end, however well all is."""
    return state.shift is not None
