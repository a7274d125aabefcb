"""What a service makes of a run that break-glass carried out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.core.names import RunId
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.steering import Fence, Routing
from orchestrator.runtime.breakglass.account import account, record
from orchestrator.runtime.breakglass.journal import Noted, Opened
from real.glass import a_sealed, chat
from real.scenery import AWAY, VANTAGES, at_home
from workflows.situation import taken_in
from workflows.wire import ActiveRun, RunClosed, ServiceState, Slice

AT = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)


def told() -> Record:
    opened = Opened(AT, "ada", "laptop", a_sealed())
    return record(account(opened, (Noted(AT + timedelta(minutes=1), status=RunStatus.COMPLETED),)))


def state(**changes: Any) -> ServiceState:
    return replace(ServiceState(Slice(1, chat(), VANTAGES), routing=at_home()), **changes)


def written(generation: int) -> Routing:
    return replace(at_home(), fence=Fence(generation, "chat-1", "steer", AWAY))


def test_the_run_is_in_the_record_and_cool_down_counts_from_it() -> None:
    """It stands before the others, once, and its end is the last that was."""
    first = taken_in(state(), RunClosed(told().run, RunStatus.COMPLETED, told(), written(8)))
    assert first.last_runs == (told(),)
    assert first.last_closed == told().closed
    again = taken_in(first, RunClosed(told().run, RunStatus.COMPLETED, told(), written(8)))
    assert again == first
    later = AT + timedelta(hours=1)
    assert taken_in(state(last_closed=later), RunClosed(told().run, RunStatus.COMPLETED, told())).last_closed == later


@pytest.mark.parametrize(("generation", "known"), [(8, 8), (7, 7), (3, 7)])
def test_the_newer_routing_stands(generation: int, known: int) -> None:
    """What the run left is known at once, unless somebody has written since."""
    after = taken_in(state(), RunClosed(told().run, RunStatus.COMPLETED, told(), written(generation)))
    assert after.routing is not None
    assert after.routing.generation == known


def test_a_run_that_holds_the_service_goes_on_holding_it() -> None:
    """The run of the control plane that was overtaken ends by itself, at the fence."""
    active = ActiveRun(RunId("chat-0"), "failover/chat/chat-0", "ada")
    closed = RunClosed(told().run, RunStatus.COMPLETED, told(), written(8))
    assert taken_in(state(run=active), closed).run == active
