"""The failover workflow: steps in order, undo as planned, queues, cancellation, and the one record."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.worker import Worker

from orchestrator.core.move import MoveKind
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer
from real.scenery import AT_HOME, AWAY, passing, refusal
from real.stage import until
from workflows.wire import CONTROL_QUEUE, steps_queue

NOBODY, LEAVING = "steps/nobody/stands-here", "steps/somebody/leaves"
OHIO = steps_queue("beta/ohio")
FAILOVER, SWITCHOVER = MoveKind.FAILOVER, MoveKind.SWITCHOVER


def told(record: Record) -> list[tuple[str, str | None]]:
    """The record's marks and steps, in order."""
    return [(entry.mark.value, entry.step) for entry in record.entries]


def marked(record: Record, mark: Mark) -> list[str | None]:
    return [entry.step for entry in record.entries if entry.mark is mark]


def closing(record: Record) -> str:
    last = record.entries[-1]
    assert last.mark is Mark.CLOSED
    return last.text


# ------------------------------------------------------------------ the way forward


async def test_an_unplanned_run_tells_its_whole_story_in_order(runs: Any) -> None:
    """Promote, verify, steer, converge: each begins and ends in the record, in that order, with its seconds."""
    handle = await runs.start()
    record = await handle.result()
    assert told(record) == [
        ("decided", None),
        ("started", None),
        *(("step-started", "promote"), ("step-done", "promote")),
        *(("step-started", "verify"), ("verified", "verify"), ("step-done", "verify")),
        *(("step-started", "steer"), ("steered", "steer"), ("step-done", "steer")),
        *(("step-started", "converge"), ("converged", "converge"), ("step-done", "converge")),
        ("closed", None),
    ]
    assert record.status is RunStatus.COMPLETED
    assert record.closed == record.entries[-1].at
    assert all(entry.seconds is not None for entry in record.entries if entry.mark is Mark.STEP_DONE)
    times = [entry.at for entry in record.entries[1:]]
    assert times == sorted(times)
    assert [step.id for step in record.steps] == runs.world.steps
    assert record.before, record.after == (AT_HOME, AWAY)
    assert await handle.query("record", result_type=Record) == record


async def test_clients_have_moved_only_when_the_old_answers_time_is_over(runs: Any) -> None:
    """Converged is said one time-to-live after the servers gave the new answer, not when they gave it."""
    record = await runs.record()
    held = record.span_s(Mark.STEERED, Mark.CONVERGED)
    assert held is not None
    assert held >= 1.0


async def test_a_planned_run_drains_and_keeps_the_capacity(runs: Any) -> None:
    """A switchover drains the old endpoint and gives nothing back."""
    record = await runs.record(SWITCHOVER)
    assert runs.world.steps == ["promote", "verify", "steer", "converge", "drain"]
    assert record.status is RunStatus.COMPLETED
    assert runs.world.replicas == {"eu": 2, "us": 2}


async def test_begin_and_end_are_told_and_published(runs: Any) -> None:
    """People hear that a run began and how it ended; the history store gets the record at the steer and at the end."""
    record = await runs.record()
    await until(lambda: asyncio.sleep(0, len(runs.world.told) + len(runs.world.published)), lambda count: count >= 4)
    assert sorted(runs.world.events()) == ["run.closed", "run.started"]
    last = next(telling for telling in runs.world.told if telling.event == "run.closed")
    assert last.run == record.run
    assert closing(record) in last.text
    statuses = {publication.record.status for publication in runs.world.published if publication.record}
    assert statuses == {RunStatus.RUNNING, RunStatus.COMPLETED}


@pytest.mark.parametrize("away", ["hanging", "failing"])
async def test_history_and_notifiers_that_are_away_delay_nothing(runs: Any, away: str) -> None:
    """With the history store and every notifier hanging or failing, a run takes no longer than without them."""
    record = await runs.record()
    calm = (record.entries[-1].at - record.started).total_seconds()
    world = runs.reset()
    world.mute, world.deaf = away == "hanging", passing("away") if away == "failing" else None
    record = await asyncio.wait_for(runs.record(), 10)
    assert record.status is RunStatus.COMPLETED
    assert (record.entries[-1].at - record.started).total_seconds() < calm + 1.5
    assert not world.told
    assert not world.published


# ------------------------------------------------------------------ the fence


@pytest.mark.parametrize("kind", [FAILOVER, SWITCHOVER])
@pytest.mark.parametrize("refused", ["StaleGeneration", "ChangedOutside"])
async def test_a_run_that_was_overtaken_undoes_nothing(runs: Any, kind: MoveKind, refused: str) -> None:
    """A fence that moved, or a hand edit, ends the run as stale: nothing is put back, and nothing is tried again."""
    runs.world.failing["steer"] = refusal(refused, "generation 9 stands")
    record = await runs.record(kind)
    assert record.status is RunStatus.STALE
    assert runs.world.steps == ["promote", "verify", "steer"]
    assert not marked(record, Mark.UNDO_STARTED)
    assert "somebody else is ahead" in closing(record)


async def test_a_rival_who_writes_during_the_promotion_wins(runs: Any) -> None:
    """The world's own compare-and-set refuses a plan whose generation was taken meanwhile."""
    gate = runs.world.gates["verify"] = asyncio.Event()
    handle = await runs.start()
    await until(lambda: asyncio.sleep(0, runs.doing("verify")), lambda count: count > 0)
    rival = runs.world.routing = type(runs.world.routing)(
        Answer("addresses", ("192.0.2.1",)), 1, Fence(8, "rival", "steer", AT_HOME)
    )
    gate.set()
    record = await handle.result()
    assert record.status is RunStatus.STALE
    assert runs.world.routing == rival


# ------------------------------------------------------------------ failing, and the way back


async def test_an_unplanned_run_never_goes_back_once_it_has_steered(runs: Any) -> None:
    """Convergence fails after an unplanned move: the run halts, tells people, and undoes nothing."""
    runs.world.failing["converge"] = refusal("Refused", "ns2 has the old answer")
    record = await runs.record()
    assert record.status is RunStatus.HALTED
    assert not marked(record, Mark.UNDO_STARTED)
    assert runs.world.routing.fence.weights == AWAY
    assert runs.world.replicas["us"] == 2
    assert "ns2 has the old answer" in closing(record)
    assert "Nothing was put back" in closing(record)
    await until(lambda: asyncio.sleep(0, runs.world.events()), lambda events: "run.closed" in events)
    assert "halted" in next(telling.text for telling in runs.world.told if telling.event == "run.closed")


async def test_a_planned_run_is_undone_in_reverse(runs: Any) -> None:
    """Convergence fails in a planned move: traffic goes back first, then the capacity, at a new generation."""
    runs.world.failing["converge"] = refusal("Refused", "ns2 has the old answer")
    record = await runs.record(SWITCHOVER)
    assert record.status is RunStatus.UNDONE
    assert [step for step in runs.world.steps if step.endswith("-undo")] == ["steer-undo", "promote-undo"]
    assert marked(record, Mark.UNDO_STARTED) == marked(record, Mark.UNDO_DONE) == ["steer", "promote"]
    assert runs.world.routing.fence.weights == AT_HOME
    assert runs.world.routing.generation == 9
    assert runs.world.replicas == {"eu": 2, "us": 1}


async def test_no_way_back_to_an_endpoint_that_is_not_healthy(runs: Any) -> None:
    """The undo of a steer is refused because the source is not healthy: halt, and call a human."""
    runs.world.failing["converge"] = refusal("Refused", "ns2 has the old answer")
    runs.world.failing["steer-undo"] = refusal("UndoFailed", "will not go back to eu, which is not healthy")
    record = await runs.record(SWITCHOVER)
    assert record.status is RunStatus.HALTED
    assert runs.doing("steer-undo") == 1
    assert runs.doing("promote-undo") == 0, "the target carries the traffic: its capacity stays"
    assert runs.world.routing.fence.weights == AWAY
    assert "call a human" in closing(record)
    assert "eu, which is not healthy" in closing(record)


async def test_no_room_for_the_target_unwinds(runs: Any) -> None:
    """The cloud has no capacity: the run ends at once, nothing has happened and nothing is undone."""
    runs.world.failing["promote"] = refusal("NoCapacity", "no GPU in beta/ohio")
    record = await runs.record()
    assert record.status is RunStatus.UNDONE
    assert runs.world.steps == ["promote"]
    assert "no GPU in beta/ohio" in closing(record)
    assert runs.world.routing.generation == 7


async def test_a_target_that_does_not_answer_gets_no_traffic(runs: Any) -> None:
    """The target's completions fail: traffic stays and the capacity goes back to what was there before."""
    runs.world.failing["verify"] = refusal("Refused", "us gave no good answer")
    record = await runs.record()
    assert record.status is RunStatus.UNDONE
    assert runs.world.scaled[-1] == (f"{record.run}/promote-undo", "us", 1)
    assert not runs.world.wrote


@pytest.mark.parametrize("how", ["refused later", "silent"])
async def test_a_promotion_that_failed_half_way_gives_the_capacity_back(runs: Any, how: str) -> None:
    """The target was scaled up and never became ready: the undo knows how many replicas there were before."""
    if how == "silent":
        runs.world.lost_replies["promote"] = 1
        runs.world.stumbling["promote"] = []
    else:
        runs.world.half_done["promote"] = passing("us did not become ready")
    runs.world.failing["verify"] = refusal("Refused", "us gave no good answer")
    record = await runs.record(queues=(CONTROL_QUEUE, OHIO))
    assert record.status is RunStatus.UNDONE
    assert runs.world.replicas == {"eu": 2, "us": 1}


async def test_passing_trouble_is_tried_again_with_the_same_token(runs: Any) -> None:
    """Two passing errors at the steer: the third attempt lands, under the token of the first."""
    runs.world.stumbling["steer"] = [passing(), passing()]
    record = await runs.record()
    assert record.status is RunStatus.COMPLETED
    assert {task.key for _, task in runs.world.tasks if task.step == "steer"} == {f"{record.run}/steer"}
    assert runs.doing("steer") == 3
    assert runs.world.wrote == [f"{record.run}/steer"]


async def test_passing_trouble_that_stays_is_given_up(runs: Any) -> None:
    """A step is tried as often as its runbook says, and then the run unwinds."""
    runs.world.failing["promote"] = passing("throttled")
    record = await runs.record()
    assert record.status is RunStatus.UNDONE
    assert runs.doing("promote") == 3
    assert "throttled" in closing(record)


CASES = (
    *(
        (kind, step, "Refused")
        for kind in (FAILOVER, SWITCHOVER)
        for step in ("promote", "verify", "steer", "converge")
    ),
    (FAILOVER, "promote", "StaleGeneration"),
    (SWITCHOVER, "converge", "StaleGeneration"),
    (FAILOVER, "steer", "Bug"),
)


async def test_whatever_fails_wherever_the_name_is_left_in_one_piece(runs: Any) -> None:
    """Every error at every step: traffic is at one of the two ends, and the record says how it ended and why."""
    for kind, step, error in CASES:
        world = runs.reset()
        world.failing[step] = refusal(error, f"{error} it is")
        record = await runs.record(kind)
        case = (kind, step, error, record.status)
        assert world.routing.fence.weights in (AT_HOME, AWAY), case
        steered = "steer" in marked(record, Mark.STEERED)
        if record.status is RunStatus.UNDONE:
            assert world.routing.fence.weights == AT_HOME, case
            assert world.replicas["us"] == 1, case
        elif error == "StaleGeneration":
            assert record.status is RunStatus.STALE, case
        else:
            assert record.status is RunStatus.HALTED, case
            assert kind is FAILOVER, case
        if kind is FAILOVER and steered:
            assert world.routing.fence.weights == AWAY, case
        assert marked(record, Mark.STEP_FAILED) == [step], case
        assert f"{error} it is" in closing(record), case


# ------------------------------------------------------------------ queues


async def test_a_queue_that_nobody_polls_is_left_behind(runs: Any) -> None:
    """No worker takes the first step up within a second: the next queue does, and no later step waits again."""
    record = await runs.record(queues=(NOBODY, OHIO, CONTROL_QUEUE))
    assert record.status is RunStatus.COMPLETED
    assert [queue for queue, _ in runs.world.tasks] == [OHIO] * 4
    seconds = [entry.seconds for entry in record.entries if entry.mark is Mark.STEP_DONE]
    assert 1.0 <= seconds[0] < 4
    assert seconds[1] < 0.9


async def test_nobody_anywhere_ends_the_step_in_its_own_time(runs: Any) -> None:
    """Not one worker for any queue: the step fails at its time-out, and says that no worker took it up."""
    record = await runs.record(queues=(NOBODY, f"{NOBODY}-either"), timeout_s=0.9)
    assert record.status in {RunStatus.UNDONE, RunStatus.HALTED}
    failed = next(entry for entry in record.entries if entry.mark is Mark.STEP_FAILED)
    assert failed.text.startswith("no worker on")
    assert failed.seconds is not None
    assert failed.seconds < 6
    assert not runs.world.steps


async def test_a_step_that_hangs_moves_on_under_the_same_token(runs: Any) -> None:
    """A worker that froze in the middle of a step is given up after two seconds without a heartbeat."""
    runs.world.hanging["verify"] = 1
    record = await runs.record(queues=(CONTROL_QUEUE, OHIO))
    assert record.status is RunStatus.COMPLETED
    tries = [(queue, task.key) for queue, task in runs.world.tasks if task.step == "verify"]
    assert tries == [(CONTROL_QUEUE, f"{record.run}/verify"), (OHIO, f"{record.run}/verify")]
    seconds = next(e.seconds for e in record.entries if e.mark is Mark.STEP_DONE and e.step == "verify")
    assert seconds < 6


@pytest.mark.parametrize("step", ["promote", "verify", "steer", "converge"])
async def test_silence_is_no_answer_whatever_the_clock_says(runs: Any, step: str) -> None:
    """A step's time ran out while nobody was there to do it: whoever comes back does it, and nobody is woken."""
    runs.world.hanging[step] = 1
    record = await runs.record(queues=(CONTROL_QUEUE, OHIO), timeout_s=1.0)
    assert record.status is RunStatus.COMPLETED
    assert runs.doing(step) == 2
    assert runs.world.wrote == [f"{record.run}/steer"]


async def test_a_worker_that_is_stopped_hands_its_step_over(runs: Any) -> None:
    """A worker is shut down in the middle of a step: that cancels nothing, the next queue takes the step up."""
    gate = runs.world.gates["verify"] = asyncio.Event()
    leaving = Worker(runs.stage.client, task_queue=LEAVING, activities=[runs.world.step, runs.world.undo])
    async with leaving:
        handle = await runs.start(queues=(LEAVING, OHIO))
        await until(lambda: asyncio.sleep(0, runs.doing("verify")), lambda count: count > 0)
    gate.set()
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert [queue for queue, task in runs.world.tasks if task.step == "verify"] == [LEAVING, OHIO]


async def test_a_write_whose_reply_is_lost_lands_once(runs: Any) -> None:
    """The write landed and its worker froze: the next worker finds it done, and the generation rose by one."""
    runs.world.lost_replies["steer"] = 1
    record = await runs.record(queues=(CONTROL_QUEUE, OHIO))
    assert record.status is RunStatus.COMPLETED
    assert runs.doing("steer") == 2
    assert runs.world.wrote == [f"{record.run}/steer"]
    assert runs.world.routing.generation == 8
    assert record.span_s(Mark.STARTED, Mark.STEERED) < 6


# ------------------------------------------------------------------ the verdict, just before the pivot


def slow_start(runs: Any) -> dict[str, int]:
    """More than two seconds pass before the steer: the promotion succeeds at its thirteenth attempt."""
    runs.world.stumbling["promote"] = [passing()] * 12
    return {"attempts": 20}


async def test_an_endpoint_that_came_back_keeps_its_traffic(runs: Any) -> None:
    """The source is healthy again when traffic would move: nothing is written and the preparations are undone."""
    runs.world.recheck_says = "eu is healthy again"
    record = await runs.record(**slow_start(runs))
    assert record.status is RunStatus.ABORTED
    assert not runs.world.wrote
    assert "steer" not in runs.world.steps
    assert marked(record, Mark.UNDO_DONE) == ["promote"]
    assert runs.world.replicas["us"] == 1
    assert "eu is healthy again" in closing(record)


async def test_a_verdict_that_cannot_be_asked_again_stands(runs: Any) -> None:
    """When the service cannot be asked, the run goes on: the control plane's trouble is no reason to stay down."""
    runs.world.recheck_says = refusal("Bug", "no service")
    record = await runs.record(**slow_start(runs))
    assert record.status is RunStatus.COMPLETED


async def test_a_planned_move_needs_no_verdict(runs: Any) -> None:
    """A healthy source is what a switchover moves away from."""
    runs.world.recheck_says = "eu is healthy again"
    record = await runs.record(SWITCHOVER, **slow_start(runs))
    assert record.status is RunStatus.COMPLETED


# ------------------------------------------------------------------ cancellation


async def cancelled_at(runs: Any, step: str, kind: MoveKind) -> Record:
    """The record of a run that is cancelled while *step* is at work."""
    gate = runs.world.gates[step] = asyncio.Event()
    handle = await runs.start(kind)
    await until(lambda: asyncio.sleep(0, runs.doing(step)), lambda count: count > 0)
    await handle.cancel()
    if step.endswith("-undo"):
        await until(lambda: status_of(handle), lambda status: status)
        gate.set()
    record: Record = await asyncio.wait_for(handle.result(), 15)
    gate.set()
    return record


async def status_of(handle: Any) -> bool:
    """Whether the server has the cancellation in the run's history."""
    history = await handle.fetch_history()
    return any(event.HasField("workflow_execution_cancel_requested_event_attributes") for event in history.events)


@pytest.mark.parametrize("kind", [FAILOVER, SWITCHOVER])
@pytest.mark.parametrize("step", ["promote", "verify"])
async def test_a_cancelled_run_unwinds(runs: Any, kind: MoveKind, step: str) -> None:
    """Cancelled before traffic has moved: what was done is put back, and the record closes as aborted."""
    record = await cancelled_at(runs, step, kind)
    assert record.status is RunStatus.ABORTED
    assert "cancelled" in closing(record)
    assert marked(record, Mark.STEP_FAILED) == [step]
    assert "promote" in marked(record, Mark.UNDO_STARTED)
    assert not runs.world.wrote


async def test_a_planned_run_cancelled_at_converge_goes_back(runs: Any) -> None:
    """Cancelled after a planned steer: traffic goes back where it came from."""
    record = await cancelled_at(runs, "converge", SWITCHOVER)
    assert record.status is RunStatus.ABORTED
    assert runs.world.routing.fence.weights == AT_HOME


async def test_an_unplanned_run_cancelled_at_converge_stays(runs: Any) -> None:
    """Cancelled after an unplanned steer: traffic stays at the endpoint that works."""
    record = await cancelled_at(runs, "converge", FAILOVER)
    assert record.status is RunStatus.HALTED
    assert runs.world.routing.fence.weights == AWAY
    assert not marked(record, Mark.UNDO_STARTED)


@pytest.mark.parametrize("step", ["steer-undo", "promote-undo"])
async def test_an_undo_is_finished_whatever_happens(runs: Any, step: str) -> None:
    """Cancelled in the middle of an undo: the undo goes on to its end, and the record closes."""
    runs.world.failing["converge"] = refusal("Refused", "ns2 has the old answer")
    record = await cancelled_at(runs, step, SWITCHOVER)
    assert record.status in {RunStatus.UNDONE, RunStatus.ABORTED}
    assert runs.world.routing.fence.weights == AT_HOME
    assert runs.world.replicas["us"] == 1
    assert runs.doing(step) == 1


@pytest.mark.parametrize("kind", [FAILOVER, SWITCHOVER])
async def test_a_run_cancelled_while_caches_expire_still_closes(runs: Any, kind: MoveKind) -> None:
    """Cancelled while the old answer's time runs out: the record closes all the same."""
    runs.world.routing = type(runs.world.routing)(runs.world.routing.answer, 3600, runs.world.routing.fence)
    handle = await runs.start(kind)
    await until(lambda: waiting(handle), lambda waits: waits)
    await handle.cancel()
    record = await asyncio.wait_for(handle.result(), 15)
    assert record.status is (RunStatus.HALTED if kind is FAILOVER else RunStatus.ABORTED)
    assert closing(record)


async def waiting(handle: Any) -> bool:
    """Whether the run waits for the old answer's time to be over."""
    history = await handle.fetch_history()
    return any(
        event.HasField("timer_started_event_attributes")
        and event.timer_started_event_attributes.start_to_fire_timeout.seconds == 3600
        for event in history.events
    )
