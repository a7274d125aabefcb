"""A planned move on the page: it may take its time, and nobody calls it late."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType

from orchestrator.core.move import MoveKind
from orchestrator.core.record import Mark, Record
from orchestrator.status.state import State
from orchestrator.status.timeline import meter, timeline

BEGAN = datetime(2026, 3, 1, 2, tzinfo=UTC)


def calm(record: Record) -> Record:
    """The same as a planned move: nothing had failed before it."""
    kept = tuple(entry for entry in record.entries if entry.mark not in {Mark.LAST_GOOD, Mark.DETECTED})
    return replace(record, kind=MoveKind.SWITCHOVER, entries=kept)


def test_a_planned_move_is_never_over_the_objective(worlds: ModuleType) -> None:
    """Four minutes of stages are no outage of four minutes: the source serves all the while."""
    now = BEGAN + timedelta(minutes=4)
    late = worlds.record(began=BEGAN, until=4.0)
    assert meter(late, timeline(late, now)).text.endswith(": over the objective")
    told = meter(calm(late), timeline(calm(late), now))
    assert (told.state, "objective" in told.text.split(";")[0]) == (State.BUSY, False)
    assert told.text.endswith("; planned, so no objective runs")


def test_a_planned_move_that_is_over_recovered_from_nothing(worlds: ModuleType) -> None:
    """It says how long it took, and is no better or worse for the objective."""
    done = calm(worlds.record(began=BEGAN, objective_s=1.0))
    told = meter(done, timeline(done, BEGAN + timedelta(hours=1)))
    assert told.state is State.GOOD
    assert told.text.startswith("moved in ")
    assert "nothing to recover from" in told.text
