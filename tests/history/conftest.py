"""Stores on both databases, and runs and drills to put into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.record import Entry, Mark, Record, RunStatus, StepBrief
from orchestrator.history import Store
from real.postgres import Postgres
from workflows.wire import DrillPhase, DrillReport

T0 = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EU, US = EndpointId("eu"), EndpointId("us")
MARKS = (
    *(Mark.LAST_GOOD, Mark.DETECTED, Mark.DECIDED, Mark.STEP_STARTED, Mark.STEERED, Mark.STEP_DONE),
    *(Mark.CHANGED, Mark.CONVERGED, Mark.CLOSED),
)


def _record(entries: int = 3, *, run: str = "r1", service: str = "chat", minute: int = 0) -> Record:
    """A run with its first *entries* moments; with all of them it is closed."""
    start = T0 + timedelta(minutes=minute)
    story = tuple(Entry(start + timedelta(seconds=n), mark, f"moment {n}") for n, mark in enumerate(MARKS[:entries]))
    done = entries >= len(MARKS)
    return Record(
        run=RunId(run),
        service=ServiceId(service),
        kind=MoveKind.FAILOVER,
        trigger=Trigger("automatic", "us is down"),
        status=RunStatus.COMPLETED if done else RunStatus.RUNNING,
        started=start,
        objective_s=30.0,
        source=(US,),
        target=EU,
        before=((EU, 0), (US, 100)),
        after=((EU, 100), (US, 0)),
        revision=3,
        generation=41,
        runbook="region-failover",
        steps=(StepBrief("steer", "steer", "Steer to eu", 5.0),),
        entries=story,
        closed=start + timedelta(seconds=entries) if done else None,
    )


def _report(phases: int = 1, *, drill: str = "d1", service: str = "chat", minute: int = 0) -> DrillReport:
    """A drill with its first *phases* phases; with three of them it has passed."""
    start = T0 + timedelta(minutes=minute)
    report = DrillReport(
        id=drill,
        service=ServiceId(service),
        fault="region-blackhole",
        target=US,
        by="schedule",
        started=start,
        verdict="running",
        objective_s=30.0,
        phases=tuple(
            DrillPhase(name, True if n < phases - 1 else None, f"{name}.", start + timedelta(seconds=n))
            for n, name in enumerate(("steady", "fault", "failover")[:phases])
        ),
    )
    if phases < 3:
        return report
    return replace(report, verdict="passed", ended=start + timedelta(seconds=9), failover=RunId("r1"), ttr_s=4.2)


@pytest.fixture
def record() -> Callable[..., Record]:
    return _record


@pytest.fixture
def report() -> Callable[..., DrillReport]:
    return _report


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it."""
    if request.param == "sqlite":
        return str(tmp_path / "state" / "history.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.fresh()


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    opened = Store.open(where)
    yield opened
    opened.close()
