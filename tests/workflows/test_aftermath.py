"""What a service keeps of a run that is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.record import Entry, Mark, Record, RunStatus, StepBrief
from orchestrator.core.situation import Shift
from orchestrator.core.steering import full
from real.scenery import VANTAGES, at_home, endpoint, service
from workflows import situation
from workflows.aftermath import after_drill, after_run, after_word, awaits_end, fruitless, goes_elsewhere, shift_begun
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


EU, US, AP = EndpointId("eu"), EndpointId("us"), EndpointId("ap")
LATER = NOW + timedelta(minutes=1)


def fell_at(step: str, target: EndpointId = US, run: str = "chat-2", at: datetime = NOW) -> Record:
    """An automatic failover that was put back because *step* (of its kind by name) failed."""
    steps = tuple(StepBrief(name, name, name, 60.0) for name in ("promote", "verify", "steer"))
    entry = Entry(at, Mark.STEP_FAILED, "no room", step)
    made = closed(RunStatus.UNDONE).record
    return replace(made, run=RunId(run), target=target, steps=steps, entries=(entry,), closed=at)


def test_a_target_without_room_is_tried_last_until_a_move_is_made() -> None:
    """What could not be promoted or verified is remembered for an hour; a move that was made ends that."""
    for step in ("promote", "verify"):
        assert fruitless((fell_at(step),), LATER) == (US,)
    assert fruitless((fell_at("steer"),), LATER) == ()
    assert fruitless((fell_at("promote"),), NOW + timedelta(hours=2)) == ()
    made = replace(fell_at("promote"), status=RunStatus.COMPLETED, entries=())
    assert fruitless((made, fell_at("promote")), LATER) == ()
    assert fruitless((fell_at("verify", AP), fell_at("promote")), LATER) == (AP, US)


def test_automation_goes_elsewhere_at_once_as_long_as_there_is_an_elsewhere() -> None:
    """Each target is tried once without a pause; when none is left, or a person began it, there is nothing to hurry."""
    two = state()
    assert not goes_elsewhere(two, fell_at("promote"), LATER), "eu is down and us has no room: nothing is left"
    third = endpoint("ap", "gamma/tokyo", "192.0.2.3")
    wide = replace(CHAT, endpoints=(third, *CHAT.endpoints))
    three = replace(two, slice=Slice(1, wide, VANTAGES))
    assert goes_elsewhere(three, fell_at("promote"), LATER)
    assert not goes_elsewhere(three, fell_at("steer"), LATER), "the target was not at fault"
    assert not goes_elsewhere(three, replace(fell_at("promote"), trigger=Trigger("ann", "x")), LATER)
    tried = replace(three, last_runs=(fell_at("promote"),))
    assert not goes_elsewhere(tried, fell_at("verify", AP, run="chat-3"), LATER), "each has been tried"
    assert not goes_elsewhere(tried, fell_at("promote", run="chat-3"), LATER), "us was tried before"


def drilled(status: RunStatus, kind: MoveKind = MoveKind.FAILOVER, by: str = "automatic") -> RunClosed:
    """The end of a run that a drill has provoked, or asked for."""
    one = closed(status, by, kind)
    return replace(one, record=replace(one.record, drill="d-1", closed=NOW))


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.HALTED, RunStatus.UNDONE])
def test_what_a_drill_has_provoked_is_no_flapping_however_it_ended(status: RunStatus) -> None:
    """A drill that halts, or is ended by a person, never goes home: its failover still counts for nothing."""
    acknowledging = replace(CHAT, policy=replace(CHAT.policy, acknowledge=True))
    known = replace(state(), slice=Slice(1, acknowledging, VANTAGES))
    assert after_run(known, drilled(status), now=NOW).automatic == ()
    after = situation.closed(known, drilled(status), stopped=False, now=NOW)
    assert (after.automatic, after.last_closed) == ((), NOW), "the usual pause, and not a longer one"


def test_a_real_failover_beside_a_drill_is_as_real_as_ever() -> None:
    """us dies in the middle of a drill of eu: that run counts, and the drill's way home does not hide it."""
    before = NOW - timedelta(hours=1)
    real = replace(closed(RunStatus.COMPLETED).record, run=RunId("chat-3"), closed=NOW)
    provoked = replace(drilled(RunStatus.COMPLETED).record, run=RunId("chat-2"), closed=NOW - timedelta(minutes=2))
    home = replace(drilled(RunStatus.COMPLETED, MoveKind.FAILBACK, "drill:d-1").record, run=RunId("chat-4"))
    known = state(last_runs=(home, real, provoked), automatic=(before, NOW), last_closed=LATER)
    after = after_drill(known, home)
    assert (after.automatic, after.last_closed) == ((before, NOW), NOW)


def test_the_runs_of_a_drill_neither_flap_nor_cool_down() -> None:
    """Once a drill has gone home, automation is as ready as before it; a real run that came before still counts."""
    real = replace(closed(RunStatus.COMPLETED).record, run=RunId("chat-0"), closed=NOW - timedelta(hours=1))
    provoked = replace(drilled(RunStatus.COMPLETED).record, run=RunId("chat-2"))
    home = replace(
        real,
        run=RunId("chat-3"),
        kind=MoveKind.FAILBACK,
        trigger=Trigger("drill:d-1", "home"),
        drill="d-1",
        closed=LATER,
    )
    assert real.closed is not None
    known = state(last_runs=(home, provoked, real), automatic=(real.closed,), last_closed=LATER)
    after = after_drill(known, home)
    assert after.automatic == (real.closed,)
    assert after.last_closed == real.closed
    assert after_drill(known, provoked) == known
    assert after_drill(known, replace(home, status=RunStatus.HALTED)) == known


def test_a_drill_leaves_a_run_of_a_person_alone() -> None:
    """Only what a drill has provoked is its own: whatever else came last before the way home counts as it did."""
    person = replace(closed(RunStatus.COMPLETED, "ann").record, run=RunId("chat-2"), closed=NOW)
    home = replace(drilled(RunStatus.COMPLETED, MoveKind.FAILBACK, "drill:d-1").record, run=RunId("chat-3"))
    after = after_drill(state(last_runs=(home, person), automatic=(NOW,), last_closed=LATER), home)
    assert (after.automatic, after.last_closed) == ((NOW,), NOW)
