"""The verbs on a local world: real name server, real model servers, real capacity, without Temporal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from orchestrator.core.move import MoveKind, Objection
from orchestrator.core.topology import Workload
from providers.base import ChangedOutside, FaultKind, Inconclusive, Refused, StaleGeneration, UndoFailed
from real.enacting import OHIO, PARIS, Enactor, enactor
from real.hook import Answered, Automation, automation
from real.ports import free_port
from runbooks.books import book
from runbooks.model import Value
from runbooks.plan import Analyse, FenceOff, Plan, Room
from workflows.wire import StepTask

pytestmark = pytest.mark.asyncio(loop_scope="module")

STAGED = """
  - id: shift
    type: steer
    stages: [25, 50, 100]
    hold: 300ms
    analysis: {samples: 4, slower: 2}
  - {id: fence, type: fence, timeout: 5s}
"""
COMPLETION = {"model": "demo-8b", "messages": [{"role": "user", "content": "ok?"}], "max_tokens": 4}
STAGES = ("shift.25", "shift.50", "shift.100")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Enactor]:
    async with enactor(tmp_path_factory.mktemp("verbs") / "world") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def here(world: Enactor) -> Enactor:
    """The one world of this file, as it was at first."""
    await world.reset()
    return world


# ------------------------------------------------------------------ a move by stages


async def test_a_move_by_stages_goes_on_while_the_target_is_as_good(here: Enactor) -> None:
    """Each stage is a write of its own; between them both are asked, and the record says what was seen."""
    made = await here.plan(STAGED.replace("slower: 2", "slower: 50"))
    seen = []
    for step in made.steps[:-1]:
        result = await here.do(made, step)
        seen.append((step.id, await here.weights()))
        if isinstance(step.work, Analyse):
            assert "ohio beside paris: 4 of 4 answers good, the first token after 0." in result.text
    quarter, half, full = {"paris": 75, "ohio": 25}, {"paris": 50, "ohio": 50}, {"ohio": 100}
    weights = [quarter, quarter, half, half, full]
    assert seen == list(
        zip(("shift.25", "shift.25.hold", "shift.50", "shift.50.hold", "shift.100"), weights, strict=True)
    )
    assert (await here.routing()).generation == made.generation + 3


async def test_the_librarys_canary_shift_goes_through_as_it_ships(here: Enactor) -> None:
    """Promote, verify, four stages with their analyses, converge, drain: all of it, to the last client of Paris."""
    values: dict[str, Value] = {"stages": "5,25,50,100", "hold": "300ms", "samples": 3, "slower": 50, "passes": 1}
    made = await here.planned(book("canary-shift", values))
    steps = made.taken(planned=True)
    kinds = [step.work.kind for step in steps]
    assert kinds == ["promote", "verify", *("steer", "analyse") * 3, "steer", "converge", "drain"]
    for step in steps:
        await here.do(made, step)
    assert await here.weights() == {"ohio": 100}
    assert (await here.world.endpoint("ohio"))["ready"] == 2


SLOWS = [
    pytest.param(None, "the target's first token takes", id="first-token"),
    pytest.param(FaultKind.ERRORS, r"answers of the target failed \(.*50\d", id="error-rate"),
    pytest.param(FaultKind.HOLLOW, r"answers of the target failed \(", id="no-completions"),
]


@pytest.mark.parametrize(("fault", "why"), SLOWS)
async def test_the_librarys_failback_stops_where_the_region_slows(
    here: Enactor, fault: FaultKind | None, why: str
) -> None:
    """A tenth goes well; at half the models there are slow beside the stand-in, fail, or complete nothing while their
    health is said to be good: one write takes everything back."""
    values: dict[str, Value] = {"stages": "10,50,100", "hold": "300ms", "samples": 3, "passes": 1}
    made = await here.planned(book("failback", values), kind=MoveKind.FAILBACK)
    steps = {step.id: step for step in made.taken(planned=True)}
    for step in ("promote", "verify", "steer.10"):
        await here.do(made, step)
    first = await here.do(made, "steer.10.hold")
    assert first.text.startswith("ohio beside paris: 3 of 3 answers good")
    assert first.text.endswith("2 replicas are ready, and 50 % needs 1")
    await here.do(made, "steer.50")
    assert await here.weights() == {"paris": 50, "ohio": 50}
    if fault is None:
        await here.world.pace("ohio", first_token_s=0.6)
    else:
        await here.suffer(fault, "ohio")
    with pytest.raises(Refused, match=why):
        await here.do(made, "steer.50.hold")
    assert steps["steer.50"].undo is not None
    await here.undo(made, "steer.50")
    assert await here.weights() == {"paris": 100}


async def test_the_way_back_from_the_middle_is_one_write(here: Enactor) -> None:
    """The third stage never came: undoing all three writes once, all the way home, and it comes no more."""
    made = await here.plan(STAGED)
    for stage in STAGES[:2]:
        await here.do(made, stage)
    there = (await here.routing()).generation
    never, *landed = [await here.undo(made, stage) for stage in reversed(STAGES)]
    now = await here.routing()
    assert await here.weights() == {"paris": 100}
    assert now.answer == here.service.endpoint(PARIS).answer
    assert now.generation == there + 1
    assert now.fence is not None
    assert now.fence.token == f"{made.run}/shift.100-undo"
    assert f"back at generation {now.generation}" in never.text
    assert all("already" in result.text for result in landed)
    with pytest.raises(StaleGeneration):
        await here.do(made, "shift.100")


async def test_undoing_a_stage_twice_is_undoing_it_once(here: Enactor) -> None:
    """The worker died after the write of the way back: the next attempt finds it and writes nothing."""
    made = await here.plan(STAGED)
    await here.do(made, "shift.25")
    await here.undo(made, "shift.25")
    back = await here.routing()
    await here.undo(made, "shift.25")
    assert await here.routing() == back


async def test_the_way_back_leads_to_healthy_endpoints_only(here: Enactor) -> None:
    """Paris answers no completion any more: traffic stays where it is, and a person is called."""
    made = await here.plan(STAGED)
    await here.do(made, "shift.25")
    await here.suffer(FaultKind.ERRORS, "paris")
    with pytest.raises(UndoFailed, match="will not go back to paris, which is not healthy"):
        await here.undo(made, "shift.25", timeout_s=2.0)
    assert await here.weights() == {"paris": 75, "ohio": 25}


async def test_a_hand_edit_in_the_middle_of_a_move_is_kept(here: Enactor) -> None:
    """A person has put another address into the answer: the way back does not overwrite it."""
    made = await here.plan(STAGED)
    await here.do(made, "shift.25")
    await here.edit("127.9.9.9")
    with pytest.raises(ChangedOutside, match="edited by hand"):
        await here.undo(made, "shift.25")
    now = await here.routing()
    assert now.answer is not None
    assert now.answer.values == ("127.9.9.9",)


async def test_another_runs_routing_is_not_taken_back(here: Enactor) -> None:
    """Somebody else has moved traffic since: this run's undo says who is ahead instead of writing over it."""
    made = await here.plan(STAGED)
    await here.do(made, "shift.25")
    other = await here.plan(STAGED)
    await here.do(other, "shift.25")
    with pytest.raises(StaleGeneration, match=f"by run {other.run}, step shift.25"):
        await here.undo(made, "shift.25")


async def test_a_writer_that_wakes_late_moves_nothing(here: Enactor) -> None:
    """A worker froze before its write, the run was undone, the worker wakes: the name server refuses it."""
    made = await here.plan(STAGED)
    result = await here.undo(made, "shift.25")
    assert f"had not changed; generation {made.generation + 1} keeps it so" in result.text
    with pytest.raises(StaleGeneration):
        await here.do(made, "shift.25")
    assert await here.weights() == {"paris": 100}


async def test_going_back_cuts_no_request_short(here: Enactor) -> None:
    """Ohio still serves a completion when traffic has gone home: its capacity is returned after that, not before."""
    made = await here.plan("  - {id: promote, type: promote}\n" + STAGED)
    await here.world.pace("ohio", first_token_s=0.1, token_s=0.5)
    promoted = await here.do(made, "promote")
    await here.do(made, "shift.25")
    await here.undo(made, "shift.25")
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        asking = asyncio.create_task(client.post(f"{here.world.url('ohio')}/v1/chat/completions", json=COMPLETION))
        while not (await here.world.endpoint("ohio"))["in_flight"]:  # noqa: ASYNC110  another process counts
            await asyncio.sleep(0.02)
        giving = asyncio.create_task(here.undo(made, "promote", replicas_before=0, timeout_s=20.0))
        while not asking.done():
            seen = await here.world.endpoint("ohio")
            assert seen["desired"] or not seen["in_flight"]
            await asyncio.sleep(0.02)
        assert (await asking).status_code == 200
        await giving
    assert promoted.replicas_before == 1
    assert (await here.world.endpoint("ohio"))["desired"] == 0


async def test_capacity_that_got_no_traffic_is_returned_at_once(here: Enactor) -> None:
    """The run ended before it had steered: nobody can be there, so nobody is waited for."""
    made = await here.plan("  - {id: promote, type: promote}\n" + STAGED)
    await here.do(made, "promote")
    await here.undo(made, "shift.25")
    began = time.monotonic()
    caches = replace(here.spec, ttl_s=30)
    await here.undo(made, "promote", replicas_before=1, steering=caches, timeout_s=60.0)
    assert time.monotonic() - began < 10.0
    assert (await here.world.endpoint("ohio"))["desired"] == 1


# ------------------------------------------------------------------ analysis


def holding(made: Plan, **changes: Any) -> Any:
    """The hold behind the first stage, with fields of its work replaced."""
    step = next(each for each in made.steps if each.id == "shift.25.hold")
    return replace(step, work=replace(step.work, **changes))


async def test_a_target_that_fails_backs_out(here: Enactor) -> None:
    """Ohio answers with errors while Paris is well: refused, with the count, long before the hold is over."""
    made = await here.plan(STAGED)
    await here.suffer(FaultKind.ERRORS, "ohio")
    began = time.monotonic()
    with pytest.raises(Refused, match=r"2 of 2 answers of the target failed \(.*50\d.*\), and 0 % may, after"):
        await here.do(made, holding(made, hold_s=8.0), timeout_s=38.0)
    assert time.monotonic() - began < 7.5


async def test_a_target_that_is_slow_backs_out(here: Enactor) -> None:
    """Ohio's first token takes many times as long as Paris's, and every answer is right."""
    made = await here.plan(STAGED)
    await here.world.pace("ohio", first_token_s=0.6)
    with pytest.raises(Refused, match=r"the target's first token takes \d\.\d\d s and the source's \d\.\d\d s"):
        await here.do(made, "shift.25.hold")


async def test_a_first_token_that_never_comes_in_time_backs_out(here: Enactor) -> None:
    """The fault slow-first-token holds every answer beyond the probe's time: that is a failure, not a lack of data."""
    made = await here.plan(STAGED)
    await here.suffer(FaultKind.SLOW, "ohio")
    with pytest.raises(Refused, match=r"\d of \d answers of the target failed"):
        await here.do(made, "shift.25.hold")


async def test_trouble_that_both_have_is_left_to_a_person(here: Enactor) -> None:
    """Paris and Ohio fail alike: neither forward nor back is known to help, so a person is asked."""
    made = await here.plan(STAGED)
    for place in ("paris", "ohio"):
        await here.suffer(FaultKind.ERRORS, place)
    with pytest.raises(Inconclusive, match="the source fails alike"):
        await here.do(made, "shift.25.hold")


async def test_an_analysis_that_has_no_time_for_its_answers_is_no_pass(here: Enactor) -> None:
    """The step's time is over before the answers have come: inconclusive, although nothing bad was seen."""
    made = await here.plan(STAGED)
    await here.world.pace("ohio", first_token_s=0.9)
    with pytest.raises(Inconclusive, match="0 of 4 answers came from the target: too few to judge by"):
        await here.do(made, "shift.25.hold", timeout_s=1.2)


async def test_a_question_that_cannot_be_put_says_nothing_of_the_target(here: Enactor) -> None:
    """The probe trusts a file of certificates that is not on this worker: no data, and the file is named."""
    made = await here.plan(STAGED)
    ohio = holding(made).work.target
    probes = tuple(replace(spec, ca="/gone.pem") for spec in ohio.probes)
    lost = replace(ohio, url="https://127.0.0.1:1", probes=probes)
    with pytest.raises(Inconclusive, match=r"too few to judge by.*ohio could not be asked: CA file /gone\.pem"):
        await here.do(made, holding(made, target=lost), timeout_s=3.0)


async def test_a_hold_without_an_analysis_just_holds(here: Enactor) -> None:
    """It lasts as long as it says, beating all the while, and asks nobody."""
    made = await here.plan(STAGED)
    began, served = time.monotonic(), (await here.world.endpoint("ohio"))["served"]
    await here.do(made, holding(made, analysis=None, source=None, hold_s=1.2), timeout_s=32.0)
    assert 1.15 <= time.monotonic() - began < 15.0
    assert len(here.beats) >= 3
    assert (await here.world.endpoint("ohio"))["served"] == served


async def test_a_target_that_came_back_in_part_gets_no_more_than_it_can_carry(here: Enactor) -> None:
    """One replica of two is ready: the stage that needs both waits for a person, and comes when the other is there."""
    made = await here.plan(STAGED)
    workload = here.service.endpoint(OHIO).workload
    assert workload is not None
    step = holding(made, analysis=None, source=None, hold_s=0.1, room=Room(workload, 2, 50))
    with pytest.raises(
        Inconclusive, match="50 % of the move needs 2 ready replicas of ohio: 1 is ready; have it tried"
    ):
        await here.do(made, step, timeout_s=1.2)
    await here.world.scale("ohio", 2, key="people")
    assert (await here.do(made, step, timeout_s=9.0)).text == "held for 0.1 s; 2 replicas are ready, and 50 % needs 2"


async def test_replicas_that_nobody_can_count_are_no_room(here: Enactor) -> None:
    """Who controls Ohio's capacity is away: no data is never a pass, so a person is asked."""
    made = await here.plan(STAGED)
    away = Workload("local", "ohio", 2, 1, (("world", f"http://127.0.0.1:{free_port()}"),))
    step = holding(made, analysis=None, source=None, hold_s=0.1, room=Room(away, 1, 50))
    with pytest.raises(Inconclusive, match=r"50 % of the move needs 1 ready replicas? of ohio: .*have it tried again"):
        await here.do(made, step, timeout_s=1.2)


# ------------------------------------------------------------------ the fence


async def test_a_fenced_endpoint_serves_nobody(here: Enactor) -> None:
    """After the move Paris is scaled to nothing, and that is read back; the run's own generation stands."""
    made = await here.plan(STAGED)
    for stage in STAGES:
        await here.do(made, stage)
    result = await here.do(made, "fence")
    assert "paris can serve no more: no replica is left" in result.text
    assert (await here.world.endpoint("paris"))["ready"] == 0
    await here.do(made, "fence")
    assert (await here.undo(made, "fence")).text == "nothing to undo"
    assert (await here.world.endpoint("paris"))["ready"] == 0


async def test_an_endpoint_with_traffic_is_not_fenced(here: Enactor) -> None:
    """In the middle of the move Paris still serves half: it keeps its replicas."""
    made = await here.plan(STAGED)
    for stage in STAGES[:2]:
        await here.do(made, stage)
    with pytest.raises(StaleGeneration, match="and not our"):
        await here.do(made, "fence")
    with pytest.raises(Refused, match="will not fence paris: it carries traffic"):
        await here.do(made, "fence", generation=made.generation + 2)
    assert (await here.world.endpoint("paris"))["ready"] == 2


async def test_a_fence_that_nobody_can_confirm_is_no_fence(here: Enactor) -> None:
    """Who controls Paris's capacity is away: the step says that Paris may still serve, and what to do."""
    made = await here.plan(STAGED)
    for stage in STAGES:
        await here.do(made, stage)
    away = Workload("local", "paris", 2, 1, (("world", f"http://127.0.0.1:{free_port()}"),))
    with pytest.raises(Refused, match=r"paris may still serve: .* could not be confirmed within 1\.5 s .*by hand"):
        await here.do(made, "fence", work=FenceOff(PARIS, away), timeout_s=1.5)


# ------------------------------------------------------------------ hooks, rules, people

CALLS = """
  - id: warm
    type: call
    hook:
      url: {url}/warm
      data: {{pool: gpu}}
    back:
      url: {url}/cool
      method: DELETE
  - id: page
    type: call
    hook: {{url: "{url}/page"}}
  - {{id: again, type: check}}
  - {{id: some, type: check, rules: [paused, target-down]}}
  - {{id: rest, type: wait, for: 600ms}}
  - {{id: yes, type: approve}}
  - {{id: tell, type: notify, text: hello}}
"""


@pytest_asyncio.fixture(loop_scope="module")
async def hooks() -> AsyncIterator[Automation]:
    async with automation() as made:
        yield made


async def calling(here: Enactor, hooks: Automation) -> Plan:
    steer = "  - {id: steer, type: steer}\n"
    return await here.plan(CALLS.format(url=hooks.url) + steer)


async def test_a_call_and_its_way_back_have_keys_of_their_own(here: Enactor, hooks: Automation) -> None:
    """The hook hears of run, step, service, both ends and kind; the way back is another request with another key."""
    made = await calling(here, hooks)
    await here.do(made, "warm")
    await here.do(made, "warm")
    await here.undo(made, "warm")
    assert [(asked.method, asked.path) for asked in hooks.asked] == [("POST", "/warm")] * 2 + [("DELETE", "/cool")]
    assert list(hooks.done) == [f"{made.run}/warm", f"{made.run}/warm-undo"]
    assert hooks.asked[0].body == {
        "run": made.run,
        "step": "warm",
        "service": "chat",
        "source": ["paris"],
        "target": "ohio",
        "kind": "switchover",
        "pool": "gpu",
    }


async def test_a_call_without_a_way_back_has_nothing_to_undo(here: Enactor, hooks: Automation) -> None:
    """Nobody is asked when it is undone."""
    made = await calling(here, hooks)
    assert (await here.undo(made, "page")).text == "nothing to undo"
    assert hooks.asked == []


async def test_a_hook_that_says_no_fails_its_step(here: Enactor, hooks: Automation) -> None:
    """A 422 is a no, told with the status and what it said."""
    made = await calling(here, hooks)
    hooks.script = [Answered(422, '{"error": "no such pool"}')]
    with pytest.raises(Refused, match=r"/warm answered 422: .*no such pool"):
        await here.do(made, "warm")


async def test_a_check_tells_every_objection(here: Enactor, hooks: Automation) -> None:
    """Whatever stands against the move now is told at once, with the rules' names; nothing is a yes."""
    made = await calling(here, hooks)
    standing = [Objection("paused", "service 'chat' is paused"), Objection("target-down", "endpoint 'ohio' is down")]
    asked: list[StepTask] = []

    async def weigh(task: StepTask) -> tuple[Objection, ...]:
        asked.append(task)
        return tuple(standing)

    verbs = here.verbs(weigh)
    with pytest.raises(Refused, match="paused: service 'chat' is paused; target-down: endpoint 'ohio' is down"):
        await verbs.do(here.task(made, "again"))
    standing.clear()
    assert "nothing stands against it" in (await verbs.do(here.task(made, "some"))).text
    assert [task.step for task in asked] == ["again", "some"]


async def test_a_check_that_nobody_can_answer_is_no_yes(here: Enactor, hooks: Automation) -> None:
    """Without a way to the service's workflow the rules cannot be asked, and the step says so."""
    made = await calling(here, hooks)
    with pytest.raises(Refused, match="the safety rules cannot be asked about service 'chat' from here"):
        await here.do(made, "again")


async def test_a_wait_beats_and_what_concerns_people_is_for_the_driver(here: Enactor, hooks: Automation) -> None:
    """A wait holds; approvals and news are refused here, since whoever drives the run carries them out."""
    made = await calling(here, hooks)
    began = time.monotonic()
    await here.do(made, "rest")
    assert time.monotonic() - began >= 0.6
    assert here.beats
    for step in ("yes", "tell"):
        with pytest.raises(Refused, match="about people"):
            await here.do(made, step)
        assert (await here.undo(made, step)).text == "nothing to undo"


async def test_a_target_that_an_earlier_run_has_drained_takes_work_again(here: Enactor) -> None:
    """Who was told to send its clients away, when traffic left, is told to keep them before traffic comes."""
    made = await here.plan("  - {id: promote, type: promote}\n" + STAGED)
    await here.world.drain("ohio", on=True, key="earlier/drain")
    assert await _draining(here) == "1"
    await here.do(made, "promote")
    assert await _draining(here) == "0"


async def _draining(here: Enactor) -> str:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{here.service.endpoint(OHIO).url}/metrics")).text
    return next(line.split()[-1] for line in text.splitlines() if line.startswith("model_draining"))
