"""People steer a run under way: approve, deny, abort, pause, skip, retry, switch and extend."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from orchestrator.core.move import MoveKind
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import Fence
from real.scenery import AT_HOME, AWAY, refusal
from real.stage import until
from workflows.wire import Acted, ActKind, RunAct, RunState

Handle = WorkflowHandle[object, Record]
STEER = "  - {id: steer, type: steer}\n"
APPROVE = "  - {id: yes, type: approve, role: sre, timeout: 10m}\n"
NUMBERS = itertools.count(1)


async def act(handle: Handle, kind: ActKind, by: str = "alice", **more: Any) -> str:
    """Do it; what the run answers."""
    said = RunAct(more.pop("id", f"act-{next(NUMBERS)}"), kind, by, "because of a reason", **more)
    answer: Acted = await handle.execute_update("act", said, result_type=Acted)
    return answer.text


async def refused(handle: Handle, kind: ActKind, by: str = "alice", **more: Any) -> str:
    """Why it may not be done."""
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await act(handle, kind, by, **more)
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause.message


async def state(handle: Handle) -> RunState:
    found: RunState = await handle.query("state", result_type=RunState)
    return found


async def at(handle: Handle, step: str, wanted: str) -> None:
    """Wait until *step* is in that state."""
    await until(lambda: state(handle), lambda found: dict(found.states)[step] == wanted)


async def waits(handle: Handle, words: str) -> RunState:
    """Wait until the run waits for a person with those words."""
    return await until(lambda: state(handle), lambda found: any(words in each.text for each in found.waiting))


def acts(record: Record) -> list[str]:
    return [entry.text for entry in record.entries if entry.mark is Mark.ACT]


# ------------------------------------------------------------------ approvals


async def test_a_yes_lets_the_run_go_on(runs: Any) -> None:
    """A step that asks role sre waits, says who may answer, and one yes lets the traffic move; the record says who."""
    handle = await runs.by(APPROVE + STEER)
    found = await waits(handle, "yes waits for a yes")
    assert [(each.step, each.roles, each.needed) for each in found.waiting] == [("yes", ("sre",), 1)]
    assert not runs.world.wrote
    assert await act(handle, ActKind.APPROVE) == "yes approved by alice: because of a reason"
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert runs.world.routing.fence.weights == AWAY
    assert acts(record) == ["yes approved by alice: because of a reason"]
    asked = next(telling for telling in runs.world.told if telling.event == "run.approval")
    assert f"failover approve {record.run}" in asked.text


async def test_only_the_role_that_is_asked_may_say_yes(runs: Any) -> None:
    """Somebody outside the role is refused with the names of those who may; nothing moves."""
    handle = await runs.by(APPROVE + STEER)
    await waits(handle, "waits for a yes")
    said = await refused(handle, ActKind.APPROVE, "mallory")
    assert said == "'mallory' is in none of the roles that are asked; those who may say yes: alice, bob"
    assert not runs.world.wrote
    await act(handle, ActKind.DENY)
    assert (await handle.result()).status is RunStatus.UNDONE


async def test_a_no_ends_the_run_and_gives_back_what_it_took(runs: Any) -> None:
    """A no after the promotion: the traffic stays, the capacity goes back, and the record says who said no and why."""
    handle = await runs.by("  - {id: promote, type: promote}\n" + APPROVE + STEER)
    await waits(handle, "waits for a yes")
    await act(handle, ActKind.DENY, "bob")
    record = await handle.result()
    assert record.status is RunStatus.UNDONE
    assert "bob said no: because of a reason" in record.entries[-1].text
    assert runs.world.replicas == {"eu": 2, "us": 1}
    assert runs.world.routing.fence.weights == AT_HOME


async def test_two_people_means_two_others(runs: Any) -> None:
    """With two-person approval neither one person twice nor whoever started the run is enough."""
    runs.roles = (("sre", ("alice", "ann@laptop", "bob")),)
    handle = await runs.by("  - {id: yes, type: approve, role: sre, people: 2}\n" + STEER)
    await waits(handle, "waits for a yes")
    assert "started the run" in await refused(handle, ActKind.APPROVE, "ann@laptop")
    await act(handle, ActKind.APPROVE, "alice")
    assert "said yes already" in await refused(handle, ActKind.APPROVE, "alice")
    assert (await state(handle)).waiting[0].approved == ("alice",)
    assert not runs.world.wrote
    await act(handle, ActKind.APPROVE, "bob")
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert any("approved by alice and bob" in entry.text for entry in record.entries)


@pytest.mark.parametrize(("policy", "status"), [("abort", RunStatus.UNDONE), ("proceed", RunStatus.COMPLETED)])
async def test_an_approver_who_is_away_is_escalated_and_then_the_policy_decides(
    runs: Any, policy: str, status: RunStatus
) -> None:
    """Nobody of sre answers for 10 minutes: lead is asked too; then silence means what the runbook says."""
    step = f"  - {{id: yes, type: approve, role: sre, timeout: 10m, escalate: [lead], on_timeout: {policy}}}\n"
    record = await (await runs.by(step + STEER)).result()
    assert record.status is status
    asked = [entry for entry in record.entries if "waits for 1 yes from" in entry.text]
    assert [("carol" in entry.text) for entry in asked] == [False, True]
    assert asked[1].at - asked[0].at >= timedelta(minutes=10)
    assert record.closed is not None
    assert record.closed - asked[1].at >= timedelta(minutes=10)
    assert "nobody of role sre or lead answered in time" in " ".join(entry.text for entry in record.entries)


async def test_the_role_that_was_asked_later_may_answer(runs: Any) -> None:
    """Once lead was asked as well, lead's yes counts; before, it did not."""
    step = "  - {id: yes, type: approve, role: sre, timeout: 10m, escalate: [lead]}\n"
    handle = await runs.by(step + STEER)
    await waits(handle, "waits for a yes")
    assert "none of the roles" in await refused(handle, ActKind.APPROVE, "carol")
    async with asyncio.timeout(30):
        await runs.stage.env.sleep(timedelta(minutes=11))
        await act(handle, ActKind.APPROVE, "carol")
    assert (await handle.result()).status is RunStatus.COMPLETED


# ------------------------------------------------------------------ stopping and holding


async def test_an_abort_before_traffic_has_moved_puts_everything_back(runs: Any) -> None:
    """Aborted while the target is verified: the capacity goes back, no traffic moves, the record says who and why."""
    runs.world.gates["verify"] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER)
    await at(handle, "verify", "running")
    await act(handle, ActKind.ABORT)
    record = await handle.result()
    assert record.status is RunStatus.ABORTED
    assert "stopped: alice: because of a reason" in record.entries[-1].text
    assert runs.world.replicas == {"eu": 2, "us": 1}
    assert not runs.world.wrote


async def test_an_abort_after_a_planned_steer_brings_the_traffic_back(runs: Any) -> None:
    """Aborted while draining: one more write takes the traffic back to where it was."""
    runs.world.gates["drain"] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER)
    await at(handle, "drain", "running")
    await act(handle, ActKind.ABORT)
    record = await handle.result()
    assert record.status is RunStatus.ABORTED
    assert runs.world.routing.fence.weights == AT_HOME
    assert runs.world.routing.generation == 9


@pytest.mark.parametrize("waits_at", ["converge", "verify"])
async def test_an_abort_of_a_run_that_was_overtaken_says_who_is_ahead(runs: Any, waits_at: str) -> None:
    """Somebody else has steered meanwhile: the aborted run ends as stale, behind its own write and before it."""
    runs.world.gates[waits_at] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER)
    await at(handle, waits_at, "running")
    rival = Fence(12, "rival", "steer", AT_HOME)
    runs.world.routing = replace(runs.world.routing, fence=rival)
    if waits_at == "verify":
        ahead = "will not undo the promotion of us: the routing is at generation 12, by run rival, step steer"
        runs.world.failing["promote-undo"] = refusal("StaleGeneration", ahead)
    await act(handle, ActKind.ABORT)
    record = await handle.result()
    assert record.status is RunStatus.STALE
    assert "somebody else is ahead" in record.entries[-1].text
    assert record.entries[-1].text.endswith("scaled to 2.")
    assert runs.world.routing.fence == rival


async def test_a_paused_run_begins_no_further_step(runs: Any) -> None:
    """Paused while verifying: what is under way ends, nothing new begins; released, it completes."""
    gate = runs.world.gates["verify"] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER)
    await at(handle, "verify", "running")
    await act(handle, ActKind.PAUSE)
    assert "paused already" in await refused(handle, ActKind.PAUSE)
    gate.set()
    await waits(handle, "paused by alice")
    assert "steer" not in runs.world.steps
    await act(handle, ActKind.RESUME, "bob")
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert acts(record) == ["paused by alice: because of a reason", "resumed by bob: because of a reason"]


# ------------------------------------------------------------------ steps


ASKS = "  - {id: check, type: check, on_failure: ask, retry: 0}\n"


async def test_a_step_that_asks_is_tried_again_when_a_person_says_so(runs: Any) -> None:
    """A failed check with on_failure ask holds the run; retry asks once more, and the run completes."""
    runs.world.stumbling["check"] = [refusal("Refused", "capacity-short: us is too small")]
    handle = await runs.by(ASKS + STEER)
    await waits(handle, "step check needs a person (capacity-short: us is too small)")
    assert not runs.world.wrote
    assert await act(handle, ActKind.RETRY) == "check to be tried again by alice: because of a reason"
    assert (await handle.result()).status is RunStatus.COMPLETED
    assert runs.world.steps == ["check", "check", "steer"]


async def test_a_step_that_asks_may_be_skipped_or_the_run_aborted(runs: Any) -> None:
    """Skip goes on without it and the record says so; the traffic's own step cannot be skipped."""
    runs.world.failing["check"] = refusal("Refused", "no")
    handle = await runs.by(ASKS + STEER)
    await waits(handle, "needs a person")
    assert "abort it instead" in await refused(handle, ActKind.SKIP, step="steer")
    await act(handle, ActKind.SKIP)
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert acts(record) == ["check skipped by alice: because of a reason"]


async def test_an_answer_that_is_none_asks_whatever_the_plan_says(runs: Any) -> None:
    """An inconclusive step waits for a person although its failures would roll back; abort then unwinds."""
    runs.world.failing["check"] = refusal("Inconclusive", "3 of 10 answers came")
    handle = await runs.by("  - {id: promote, type: promote}\n  - {id: check, type: check}\n" + STEER)
    await waits(handle, "3 of 10 answers came")
    await act(handle, ActKind.ABORT)
    record = await handle.result()
    assert record.status is RunStatus.ABORTED
    assert runs.world.replicas == {"eu": 2, "us": 1}


async def test_a_pending_step_is_skipped_by_name(runs: Any) -> None:
    """A step whose turn has not come is left out when a person names it; a name that is none is answered."""
    gate = runs.world.gates["verify"] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER)
    await at(handle, "verify", "running")
    assert "did you mean 'drain'?" in await refused(handle, ActKind.SKIP, step="drian")
    await act(handle, ActKind.SKIP, step="drain")
    gate.set()
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert "drain" not in runs.world.steps
    assert [entry.step for entry in record.entries if entry.mark is Mark.STEP_SKIPPED] == ["drain"]


async def test_a_step_under_way_is_skipped_or_begun_anew(runs: Any) -> None:
    """A hanging verify is tried again on request; a hanging drain is let go, and the run completes."""
    runs.world.hanging = {"verify": 1}
    runs.world.gates["drain"] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER, timeout_s=600.0)
    await at(handle, "verify", "running")
    await until(lambda: asyncio.sleep(0, runs.doing("verify")), lambda count: count == 1)
    await act(handle, ActKind.RETRY, step="verify")
    await at(handle, "drain", "running")
    await act(handle, ActKind.SKIP)
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert acts(record) == [
        "verify to be tried again by alice: because of a reason",
        "drain skipped by alice: because of a reason",
    ]
    (skipped,) = [entry for entry in record.entries if entry.mark is Mark.STEP_SKIPPED]
    assert (skipped.step, skipped.text) == ("drain", "skipped by alice: because of a reason")
    assert skipped.seconds is not None


async def test_a_write_tried_again_when_its_target_has_fallen_ends_the_run(runs: Any) -> None:
    """The steer hangs, the target falls, a person has it tried again: the run ends, and puts back what it did."""
    runs.world.gates["steer"] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER, timeout_s=600.0)
    await at(handle, "steer", "running")
    await handle.signal("target_fell", "us fell meanwhile")
    await act(handle, ActKind.RETRY, step="steer")
    record = await handle.result()
    assert record.status is RunStatus.ABORTED
    assert record.entries[-1].text.startswith("stopped: us fell meanwhile; everything done was put back.")


async def test_a_step_gets_more_time(runs: Any) -> None:
    """A wait of a minute that is given five more takes six; without a yes in time the approval has them too."""
    handle = await runs.by("  - {id: hold, type: wait, for: 1m}\n" + STEER)
    await at(handle, "hold", "running")
    assert await act(handle, ActKind.EXTEND, seconds=300.0) == "hold given 300 s more by alice: because of a reason"
    record = await handle.result()
    assert record.span_s(Mark.STARTED, Mark.STEERED) >= 360.0


# ------------------------------------------------------------------ planned and unplanned


async def test_a_planned_run_whose_source_dies_goes_on_without_draining(runs: Any) -> None:
    """Switched to unplanned while draining: nobody waits for the dead, and nothing goes back from then on."""
    runs.world.gates["drain"] = asyncio.Event()
    handle = await runs.start(MoveKind.SWITCHOVER)
    await at(handle, "drain", "running")
    assert await act(handle, ActKind.SWITCH, planned=False) == "switched to unplanned by alice: because of a reason"
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert [step.id for step in record.steps] == ["promote", "verify", "steer", "converge", "drain"]
    (let_go,) = [entry for entry in record.entries if entry.mark is Mark.STEP_SKIPPED]
    assert (let_go.step, let_go.text) == ("drain", "no part of the move any more")
    assert runs.world.routing.fence.weights == AWAY


async def test_an_unplanned_run_may_become_planned(runs: Any) -> None:
    """The source is back while the target is prepared: as a planned move the steps of planned moves are taken too."""
    gate = runs.world.gates["verify"] = asyncio.Event()
    book = "  - {id: verify, type: verify}\n" + STEER + "  - {id: drain, type: drain, when: planned}\n"
    handle = await runs.by(book, MoveKind.FAILOVER)
    await at(handle, "verify", "running")
    await act(handle, ActKind.SWITCH, planned=True)
    assert "planned already" in await refused(handle, ActKind.SWITCH, planned=True)
    gate.set()
    assert (await handle.result()).status is RunStatus.COMPLETED
    assert runs.world.steps == ["verify", "steer", "drain"]


# ------------------------------------------------------------------ side by side, and told


async def test_branches_run_side_by_side_and_what_follows_waits_for_both(runs: Any) -> None:
    """Two checks in branches are under way at once; the traffic moves when both are done."""
    gates = {name: asyncio.Event() for name in ("one", "two")}
    runs.world.gates.update(gates)
    both = (
        "  - id: both\n    type: parallel\n    branches:\n"
        "      - [{id: one, type: check}]\n      - [{id: two, type: check}]\n"
    )
    handle = await runs.by(both + STEER)
    await at(handle, "one", "running")
    await at(handle, "two", "running")
    gates["two"].set()
    await at(handle, "two", "done")
    assert "steer" not in runs.world.steps
    gates["one"].set()
    assert (await handle.result()).status is RunStatus.COMPLETED


async def test_a_step_that_takes_much_longer_than_usual_is_told(runs: Any) -> None:
    """A promotion that usually takes a second and hangs is told as stuck, once, while the run goes on waiting."""
    gate = runs.world.gates["promote"] = asyncio.Event()
    handle = await runs.by("  - {id: promote, type: promote, expected: 1s}\n" + STEER)
    await until(lambda: asyncio.sleep(0, runs.world.events()), lambda events: "run.stuck" in events)
    gate.set()
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert runs.world.events().count("run.stuck") == 1
    assert any("usually takes 1 s" in entry.text for entry in record.entries)


async def test_an_act_that_is_sent_twice_is_done_once(runs: Any) -> None:
    """The same act with the same id gets the same answer, and the record has it once."""
    handle = await runs.by(APPROVE + STEER)
    await waits(handle, "waits for a yes")
    first = await act(handle, ActKind.PAUSE, id="once")
    assert await act(handle, ActKind.PAUSE, id="once") == first
    await act(handle, ActKind.APPROVE)
    await act(handle, ActKind.RESUME)
    record = await handle.result()
    assert len(acts(record)) == 3


async def test_what_cannot_be_done_is_said(runs: Any) -> None:
    """Each act that makes no sense now is refused with a sentence that says why."""
    handle = await runs.by("  - {id: hold, type: wait, for: 1h}\n" + STEER)
    await at(handle, "hold", "running")
    assert "waits for nobody's approval" in await refused(handle, ActKind.APPROVE)
    assert "is not paused" in await refused(handle, ActKind.RESUME)
    assert "above 0 and at most 7 days" in await refused(handle, ActKind.EXTEND, seconds=0.0)
    assert "needs a person and a reason" in await refused(handle, ActKind.ABORT, " ")
    await act(handle, ActKind.ABORT)
    await handle.result()
