"""Every type of step goes through a run: done, failed, and undone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core.move import MoveKind
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.topology import Shares
from real.scenery import AT_HOME, AWAY, EU, US, passing, refusal
from real.stage import until
from workflows.wire import ActKind, RunAct, RunState, steps_queue

STEER = "  - {id: steer, type: steer}\n"
STAGED = "  - {id: shift, type: steer, stages: [25, 50, 100], hold: 2m, analysis: {samples: 5}}\n"
CONVERGE = "  - {id: converge, type: converge}\n"
FENCE = "  - {id: fence, type: fence}\n"
CALL = """
  - id: warm
    type: call
    hook: {url: "https://hooks.example.com/warm"}
    back: {url: "https://hooks.example.com/cool"}
"""
WARM, COOL = "https://hooks.example.com/warm", "https://hooks.example.com/cool"


@pytest.fixture
def weighted(runs: Any) -> Any:
    """The stage with a steering that can weigh."""
    spec = runs.stage.service.steering
    options = (("eu", "192.0.2.1"), ("us", "192.0.2.2"))
    weighs = replace(spec, provider="local", options=options, shares=Shares.WEIGHTED)
    runs.stage.service = replace(runs.stage.service, steering=weighs)
    return runs


def marked(record: Record, mark: Mark) -> list[str | None]:
    return [entry.step for entry in record.entries if entry.mark is mark]


def tokens(runs: Any, record: Record) -> list[str]:
    """The steps of the run that wrote, in order."""
    return [token.removeprefix(f"{record.run}/") for token in runs.world.wrote]


async def waits(handle: Any, words: str) -> RunState:
    """Wait until the run waits for a person with those words."""

    async def ask() -> RunState:
        found: RunState = await handle.query("state", result_type=RunState)
        return found

    state: RunState = await until(ask, lambda found: any(words in each.text for each in found.waiting))
    return state


async def act(handle: Any, kind: ActKind, step: str | None = None) -> None:
    await handle.execute_update("act", RunAct(f"{kind}-{step}", kind, "alice", "because", step))


# ------------------------------------------------------------------ moves by stages


async def test_a_staged_move_goes_through_its_stages(weighted: Any) -> None:
    """A quarter, a half, all: a write each, a hold with its analysis between, and the record shows them in order."""
    record = await (await weighted.by(STAGED + CONVERGE)).result()
    assert record.status is RunStatus.COMPLETED
    assert weighted.world.steps == ["shift.25", "shift.25.hold", "shift.50", "shift.50.hold", "shift.100", "converge"]
    assert marked(record, Mark.STEERED) == tokens(weighted, record) == ["shift.25", "shift.50", "shift.100"]
    assert weighted.world.routing.fence.weights == AWAY
    assert weighted.world.routing.generation == 10


async def test_a_stage_that_fails_its_analysis_takes_everything_back_at_once(weighted: Any) -> None:
    """Half of the traffic has moved when the target turns bad: one write brings all of it home."""
    weighted.world.failing["shift.50.hold"] = refusal("Refused", "us beside eu: 3 of 5 answers of the target failed")
    record = await (await weighted.by(STAGED)).result()
    assert record.status is RunStatus.UNDONE
    assert tokens(weighted, record) == ["shift.25", "shift.50", "shift.50-undo"]
    assert weighted.world.routing.fence.weights == AT_HOME
    assert "3 of 5 answers of the target failed" in record.entries[-1].text
    assert "Traffic goes to eu" in record.entries[-1].text
    assert marked(record, Mark.UNDO_DONE)[-2:] == ["shift.50", "shift.25"]


async def test_a_stage_without_a_clear_answer_waits_for_a_person(weighted: Any) -> None:
    """Inconclusive is neither yes nor no: the run holds at a quarter, and goes on when a person has it tried again."""
    weighted.world.stumbling["shift.25.hold"] = [refusal("Inconclusive", "0 of 5 answers came from the target")]
    handle = await weighted.by(STAGED)
    await waits(handle, "step shift.25.hold needs a person (0 of 5 answers came from the target)")
    assert weighted.world.routing.fence.weights == ((EU, 75), (US, 25))
    await act(handle, ActKind.RETRY, "shift.25.hold")
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert weighted.world.routing.fence.weights == AWAY


async def test_a_person_may_take_an_unclear_stage_back(weighted: Any) -> None:
    """Aborted while it waits: all traffic goes home in one write."""
    weighted.world.failing["shift.50.hold"] = refusal("Inconclusive", "the source fails alike")
    handle = await weighted.by(STAGED)
    await waits(handle, "the source fails alike")
    await act(handle, ActKind.ABORT)
    record = await handle.result()
    assert record.status is RunStatus.ABORTED
    assert tokens(weighted, record) == ["shift.25", "shift.50", "shift.50-undo"]
    assert weighted.world.routing.fence.weights == AT_HOME


async def test_a_stage_that_was_overtaken_leaves_the_world_alone(weighted: Any) -> None:
    """Somebody else has written between two stages: the run ends as stale and takes nothing back."""
    weighted.world.failing["shift.50"] = refusal("StaleGeneration", "generation 9 stands")
    record = await (await weighted.by(STAGED)).result()
    assert record.status is RunStatus.STALE
    assert tokens(weighted, record) == ["shift.25"]
    assert not marked(record, Mark.UNDO_STARTED)


async def test_a_stage_whose_worker_died_lands_once(weighted: Any) -> None:
    """Two attempts at one stage, one write: the second finds the first one's."""
    weighted.world.lost_replies["shift.25"] = 1
    record = await (await weighted.by(STAGED)).result()
    assert record.status is RunStatus.COMPLETED
    assert weighted.doing("shift.25") == 2
    assert tokens(weighted, record) == ["shift.25", "shift.50", "shift.100"]


# ------------------------------------------------------------------ fence


async def test_a_fence_comes_after_the_move_and_stays(runs: Any) -> None:
    """The old endpoint has no replica left; a step that fails later does not bring it back."""
    later = "  - {id: later, type: check, on_failure: rollback}\n"
    runs.world.failing["later"] = refusal("Refused", "target-down: us is down")
    record = await (await runs.by(STEER + FENCE + later)).result()
    assert runs.world.replicas["eu"] == 0
    assert record.status is RunStatus.HALTED
    assert "there is no safe way back behind step fence" in record.entries[-1].text
    assert "eu is kept from serving" in record.entries[-1].text
    assert runs.world.routing.fence.weights == AWAY


async def test_a_fence_that_cannot_be_confirmed_halts_and_says_so(runs: Any) -> None:
    """Whether the old endpoint may serve again is not known: the run stops with that, and a person is told."""
    why = "eu may still serve: that it has no replica left could not be confirmed"
    runs.world.failing["fence"] = refusal("Refused", why)
    record = await (await runs.by(STEER + FENCE, MoveKind.FAILOVER)).result()
    assert record.status is RunStatus.HALTED
    assert why in record.entries[-1].text
    assert "eu may be kept from serving" in record.entries[-1].text


# ------------------------------------------------------------------ calls


async def test_a_call_is_made_before_what_follows(runs: Any) -> None:
    """The hook is asked with the step's own key, and traffic moves after its answer."""
    record = await (await runs.by(CALL + STEER)).result()
    assert record.status is RunStatus.COMPLETED
    assert runs.world.called == [(f"{record.run}/warm", WARM)]
    assert runs.world.steps == ["warm", "steer"]


async def test_a_call_in_passing_trouble_is_asked_again_under_the_same_key(runs: Any) -> None:
    """Twice 503, then an answer that is lost, then done: the other side has done it once."""
    runs.world.stumbling["warm"] = [passing("503"), passing("503")]
    runs.world.lost_replies["warm"] = 1
    record = await (await runs.by(CALL.replace("type: call", "type: call\n    retry: 4") + STEER)).result()
    assert record.status is RunStatus.COMPLETED
    assert runs.doing("warm") == 4
    assert runs.world.called == [(f"{record.run}/warm", WARM)]


async def test_a_call_is_taken_back_with_the_run(runs: Any) -> None:
    """A later step fails: the hook's way back is asked, with a key of its own."""
    runs.world.failing["steer"] = refusal("Forbidden", "the key may not write")
    record = await (await runs.by(CALL + STEER)).result()
    assert record.status is RunStatus.UNDONE
    assert runs.world.called == [(f"{record.run}/warm", WARM), (f"{record.run}/warm-undo", COOL)]


async def test_a_call_that_is_refused_ends_the_run_before_traffic_moves(runs: Any) -> None:
    """The hook says no: it may have done something all the same, so its way back is asked; nothing is steered."""
    runs.world.failing["warm"] = refusal("Refused", "POST https://hooks.example.com/warm answered 409")
    record = await (await runs.by(CALL + STEER)).result()
    assert record.status is RunStatus.UNDONE
    assert not runs.world.wrote
    assert runs.world.called == [(f"{record.run}/warm-undo", COOL)]
    assert "answered 409" in record.entries[-1].text


async def test_a_way_back_that_fails_calls_a_human(runs: Any) -> None:
    """The hook cannot take it back: the run halts and says which call may still stand."""
    runs.world.failing["steer"] = refusal("Forbidden", "the key may not write")
    runs.world.failing["warm-undo"] = refusal("Refused", "answered 500")
    record = await (await runs.by(CALL + STEER)).result()
    assert record.status is RunStatus.HALTED
    assert "The call of step warm may have been taken" in record.entries[-1].text


# ------------------------------------------------------------------ checks


async def test_a_check_that_finds_nothing_lets_the_run_go_on(runs: Any) -> None:
    """It is asked just before traffic moves, about the run's own move."""
    record = await (await runs.by("  - {id: again, type: check, rules: [target-down]}\n" + STEER)).result()
    assert record.status is RunStatus.COMPLETED
    [(_, task)] = [(queue, task) for queue, task in runs.world.tasks if task.step == "again"]
    assert (task.source, task.target, task.after, task.work.rules) == ((EU,), US, AWAY, ("target-down",))


async def test_a_check_that_finds_something_ends_the_run(runs: Any) -> None:
    """The target has become unfit since: what was promoted goes back, and no traffic moves."""
    runs.world.failing["again"] = refusal("Refused", "target-degraded: endpoint 'us' is degraded")
    steps = "  - {id: promote, type: promote}\n  - {id: again, type: check}\n" + STEER
    record = await (await runs.by(steps)).result()
    assert record.status is RunStatus.UNDONE
    assert "target-degraded" in record.entries[-1].text
    assert runs.world.replicas["us"] == 1
    assert not runs.world.wrote


# ------------------------------------------------------------------ what the run does itself


async def test_a_wait_takes_its_time_and_news_take_none(runs: Any) -> None:
    """A wait of three minutes passes before traffic moves; people hear what the runbook says, and nothing waits."""
    steps = "  - {id: rest, type: wait, for: 3m}\n  - {id: say, type: notify, text: moving now}\n" + STEER
    record = await (await runs.by(steps)).result()
    assert record.status is RunStatus.COMPLETED
    steered = record.first(Mark.STEERED)
    assert steered is not None
    assert steered.at - record.started >= timedelta(minutes=3)
    assert runs.world.steps == ["steer"]
    heard = await until(lambda: asyncio.sleep(0, list(runs.world.told)), lambda told: len(told) >= 3)
    assert "moving now" in [telling.text for telling in heard]


async def test_nothing_of_a_wait_is_undone(runs: Any) -> None:
    """A wait, a check and news before a failure leave nothing behind: the run is simply undone."""
    runs.world.failing["steer"] = refusal("Forbidden", "the key may not write")
    steps = "  - {id: rest, type: wait, for: 1s}\n  - {id: say, type: notify, text: hello}\n" + STEER
    record = await (await runs.by(steps)).result()
    assert record.status is RunStatus.UNDONE
    assert marked(record, Mark.UNDO_STARTED) == []


# ------------------------------------------------------------------ several places


async def test_a_verification_from_two_places_is_asked_in_two_places(runs: Any) -> None:
    """vantages: 2 asks two workers of different domains; both must see the answers."""
    ohio, tokyo = steps_queue("beta/ohio"), steps_queue("onprem/tokyo")
    made = runs.plan(MoveKind.SWITCHOVER)
    seen_twice = tuple(
        replace(step, work=replace(step.work, vantages=2)) if step.id == "verify" else step for step in made.steps
    )
    record = await (await runs.begin(replace(made, steps=seen_twice), (ohio, tokyo))).result()
    assert record.status is RunStatus.COMPLETED
    places = [queue for queue, task in runs.world.tasks if task.step == "verify"]
    assert sorted(places) == [ohio, tokyo]
    verified = record.first(Mark.VERIFIED)
    assert verified is not None
    assert "from 2 places" in verified.text


async def test_branches_fail_together_and_are_both_taken_back(runs: Any) -> None:
    """Two calls side by side: one is refused, the other one's way back is asked as well."""
    branch = CALL.replace("\n  ", "\n      ").strip("\n")
    other = branch.replace("id: warm", "id: scale")
    steps = f"  - id: both\n    type: parallel\n    branches:\n    -\n{branch}\n    -\n{other}\n"
    runs.world.failing["scale"] = refusal("Refused", "no room")
    record = await (await runs.by(steps + STEER)).result()
    assert record.status is RunStatus.UNDONE
    assert not runs.world.wrote
    done = sorted(key.removeprefix(f"{record.run}/") for key, _ in runs.world.called)
    assert done == ["scale-undo", "warm", "warm-undo"]
