"""What a service keeps of a run that is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.situation import Shift
from orchestrator.core.steering import full
from real.scenery import VANTAGES, at_home, service
from workflows import situation
from workflows.aftermath import after_run, after_word, awaits_end, shift_begun
from workflows.wire import ActiveRun, RunClosed, ServiceState, Slice

NOW = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
RUN = RunId("chat-1")
CHAT = service("chat")
HOME = full(CHAT.endpoints, EndpointId("eu"))
AWAY = full(CHAT.endpoints, EndpointId("us"))
LOAD_TEST = Shift(RUN, "ann", "a load test", NOW + timedelta(hours=2), HOME)


def state(by: str = "automatic", shift: Shift | None = None, **known: object) -> ServiceState:
    """A service that a run holds, with what it *known* beside that."""
    held = ActiveRun(RUN, f"failover/chat/{RUN}", by, shift=shift)
    made = ServiceState(Slice(1, CHAT, VANTAGES), routing=at_home(), run=held)
    return replace(made, **known)  # type: ignore[arg-type]  # the fields of a state, by name


def closed(status: RunStatus, by: str = "automatic", kind: MoveKind = MoveKind.FAILOVER) -> RunClosed:
    record = Record(
        run=RUN,
        service=CHAT.id,
        kind=kind,
        trigger=Trigger(by, "because"),
        status=status,
        started=NOW,
        objective_s=60,
        source=(EndpointId("eu"),),
        target=EndpointId("us"),
        before=HOME,
        after=AWAY,
        revision=1,
        generation=7,
        runbook="region-failover",
        steps=(),
    )
    return RunClosed(RUN, status, record)


COUNTS = [
    (RunStatus.COMPLETED, "automatic", 1),
    (RunStatus.HALTED, "automatic", 1),
    (RunStatus.UNDONE, "automatic", 1),
    (RunStatus.STALE, "automatic", 0),
    (RunStatus.ABORTED, "automatic", 0),
    (RunStatus.COMPLETED, "ann", 0),
]


@pytest.mark.parametrize(("status", "by", "counted"), COUNTS)
def test_only_what_automation_has_done_counts_as_flapping(status: RunStatus, by: str, counted: int) -> None:
    """A person's run, and one that changed nothing, neither lengthen the cool-down nor wait for a word."""
    after = after_run(state(by), closed(status, by), now=NOW)
    assert after.automatic == (NOW,) * counted


def test_a_person_acknowledges_what_was_done() -> None:
    """The word counts from when it was given."""
    assert after_word(state(), now=NOW).acknowledged == NOW


def test_a_move_for_a_time_is_remembered_from_its_end_on() -> None:
    """Who made it, why, until when and from where, once it has moved the traffic, and not when it failed."""
    asked = Request(MoveKind.SWITCHOVER, Trigger("ann", "a load test"), expires=LOAD_TEST.expires)
    assert shift_begun(state("ann"), asked, RUN) == LOAD_TEST
    assert shift_begun(state("ann"), replace(asked, expires=None), RUN) is None
    assert shift_begun(state(), None, RUN) is None
    held = state("ann", LOAD_TEST)
    assert not awaits_end(held)
    after = after_run(held, closed(RunStatus.COMPLETED, "ann", MoveKind.SWITCHOVER), now=NOW)
    assert after.shift == LOAD_TEST
    assert awaits_end(after)
    assert after_run(held, closed(RunStatus.UNDONE, "ann", MoveKind.SWITCHOVER), now=NOW).shift is None


def test_the_next_move_ends_a_move_for_a_time() -> None:
    """Whatever moves the traffic on is the new state of things; what fails, or moves nothing, is not."""
    shifted = state(shift=None, routing=at_home())
    shifted = replace(shifted, shift=LOAD_TEST)
    assert after_run(shifted, closed(RunStatus.COMPLETED), now=NOW).shift is None
    assert after_run(shifted, closed(RunStatus.UNDONE), now=NOW).shift == LOAD_TEST
    assert after_run(shifted, closed(RunStatus.COMPLETED, "ann", MoveKind.PREPARATION), now=NOW).shift == LOAD_TEST


def test_a_run_in_vain_does_not_count() -> None:
    """One that was stopped before traffic moved, since its target fell, is made again and is no flapping."""
    after = after_run(state(), closed(RunStatus.UNDONE), now=NOW, in_vain=True)
    assert after.automatic == ()


def test_a_closed_run_is_counted_by_its_service() -> None:
    """What the rules read is there with the run's end."""
    after = situation.closed(state(), closed(RunStatus.COMPLETED), stopped=False, now=NOW)
    assert (after.automatic, after.last_closed, after.run) == ((NOW,), NOW, None)
    stopped = situation.closed(state(), closed(RunStatus.UNDONE), stopped=True, now=NOW)
    assert (stopped.automatic, stopped.last_closed) == ((), None)
