"""A failback on its way into a region that another one turned back from: it stays at its stage, and goes on later."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from orchestrator.core.easing import Setback
from orchestrator.core.governing import Ledger
from orchestrator.core.move import MoveKind
from orchestrator.core.names import Domain, RunId, ServiceId
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer, Shares
from real.scenery import AT_HOME, AWAY, EU, US, refusal
from real.stage import until
from workflows.activities.governing import Governing
from workflows.wire import GOVERNOR_ID, ActKind, RunAct, RunState, Waiting
from workflows.wire.governor import GovernorState, SetbackQuestion, Setbacks

STAGED = "  - {id: shift, type: steer, stages: [10, 50, 100], hold: 90s, analysis: {samples: 5}}\n"
PARIS = Domain("alpha/paris")
WHY = "eu beside us: the target's first token takes 2.00 s and the source's 0.20 s"
TENTH = ((EU, 10), (US, 90))


@pytest.fixture
def away(runs: Any) -> Any:
    """Traffic in Ohio, behind a steering that can weigh."""
    spec = runs.stage.service.steering
    options = (("eu", "192.0.2.1"), ("us", "192.0.2.2"))
    weighs = replace(spec, provider="local", options=options, shares=Shares.WEIGHTED)
    runs.stage.service = replace(runs.stage.service, steering=weighs)
    runs.world.routing = replace(
        runs.world.routing, answer=Answer("addresses", ("192.0.2.2",)), fence=Fence(7, "a", "a", AWAY)
    )
    return runs


async def turned_back(runs: Any, lasts_s: float = 300.0, *, region: Domain = PARIS, run: str = "code-1") -> datetime:
    """Another service turns back from *region* now; until when the others wait."""
    now: datetime = await runs.world.clock()
    until_: datetime = now + timedelta(seconds=lasts_s)
    runs.world.turned_back = Setbacks((Setback(region, RunId(run), ServiceId("code"), WHY, now, until_),))
    return until_


async def home(runs: Any, lasts_s: float = 0.0, steps: str = STAGED) -> Any:
    """A failback; once a tenth has come, another service turns back, and that lasts so long."""
    gate = runs.world.gates["shift.10.hold"] = asyncio.Event()
    handle = await runs.by(steps, MoveKind.FAILBACK)
    if lasts_s:
        await until(lambda: _count(runs), bool)
        await turned_back(runs, lasts_s)
    gate.set()
    return handle


async def _count(runs: Any, step: str = "shift.10.hold") -> int:
    found: int = runs.doing(step)
    return found


async def stays(handle: Any) -> Waiting:
    """What the run says while it stays where it is."""

    async def ask() -> RunState:
        found: RunState = await handle.query("state", result_type=RunState)
        return found

    state: RunState = await until(ask, lambda found: bool(found.waiting))
    return state.waiting[0]


async def act(handle: Any, kind: ActKind, step: str | None = None) -> None:
    await handle.execute_update("act", RunAct(f"{kind}-{step}", kind, "alice", "I have looked at Paris", step))


def entry(record: Record, step: str, mark: Mark) -> Entry:
    return next(each for each in record.entries if each.step == step and each.mark is mark)


def notes(record: Record, words: str) -> list[str]:
    return [each.text for each in record.entries if each.mark is Mark.NOTE and words in each.text]


def weights(runs: Any) -> object:
    return runs.world.routing.fence.weights


async def test_no_more_traffic_comes_until_the_setback_is_over(away: Any) -> None:
    """Code turned back from Paris: chat stays at a tenth, says who and why, and goes on by itself once that is over."""
    handle = await home(away, 300.0)
    over = away.world.turned_back.found[0].until
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert weights(away) == AT_HOME
    assert over <= entry(record, "shift.50", Mark.STEERED).at <= over + timedelta(seconds=180)
    [said] = notes(record, "waiting: no more traffic goes to alpha/paris until ")
    assert "the failback of service 'code' into alpha/paris had to turn back at " in said
    assert f"({WHY}; run code-1)" in said
    assert f"failover skip {record.run} --step shift.10.hold" in said
    assert notes(record, "goes on:") == ["goes on: nothing holds up alpha/paris any more"]
    assert "run.stuck" not in away.world.events()
    assert away.world.events().count("run.waiting") == 1
    assert away.doing("shift.10.hold") > 2, "what is there is looked at all the while"
    assert away.doing("shift.50.hold") == 1


async def test_what_is_there_goes_back_when_it_is_borne_no_more(away: Any) -> None:
    """While it stays at a tenth the region slows for it as well: its own analysis takes everything back."""
    handle = await home(away, 7200.0)
    waiting = await stays(handle)
    assert (waiting.step, waiting.needed) == ("shift.10.hold", 0)
    assert "goes on by itself then" in waiting.text
    away.world.failing["shift.10.hold"] = refusal("Refused", WHY)
    record = await handle.result()
    assert record.status is RunStatus.UNDONE
    assert weights(away) == AWAY
    assert "shift.50" not in away.world.steps


async def test_a_region_that_another_one_comes_home_to_holds_up_nobody_any_more(away: Any) -> None:
    """The setback is ended before its time: the next look hears it, and traffic comes."""
    handle = await home(away, 7200.0)
    over = away.world.turned_back.found[0].until
    await stays(handle)
    away.world.turned_back = Setbacks()
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert entry(record, "shift.50", Mark.STEERED).at < over


async def test_another_setback_meanwhile_lengthens_the_stay_and_is_said(away: Any) -> None:
    """A third service turns back, too: people hear of it, and the stay lasts as long as the longer one."""
    handle = await home(away, 7200.0)
    await stays(handle)
    over = await turned_back(away, 7300.0, run="code-2")
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert entry(record, "shift.50", Mark.STEERED).at >= over
    assert len(notes(record, "waiting: no more traffic goes to alpha/paris")) == 2


async def test_a_person_who_has_looked_goes_on_at_once(away: Any) -> None:
    """Skipped, the stay ends, and the same setback holds up no later stage: the record says who said so."""
    handle = await home(away, 7200.0)
    over = away.world.turned_back.found[0].until
    await stays(handle)
    await act(handle, ActKind.SKIP, "shift.10.hold")
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert entry(record, "shift.100", Mark.STEERED).at < over
    assert "skipped by alice: I have looked at Paris" in entry(record, "shift.10.hold", Mark.ACT).text
    assert not (await handle.query("state", result_type=RunState)).waiting


async def test_what_a_person_has_not_seen_holds_up_the_next_stage(away: Any) -> None:
    """Alice let code's setback pass; then a third service turns back, and half of the traffic stays half."""
    handle = await home(away, 7200.0)
    gate = away.world.gates["shift.50.hold"] = asyncio.Event()
    await stays(handle)
    await act(handle, ActKind.SKIP, "shift.10.hold")
    await until(lambda: _count(away, "shift.50.hold"), bool)
    await turned_back(away, 7200.0, run="code-2")
    gate.set()
    waiting = await stays(handle)
    assert waiting.step == "shift.50.hold"
    assert "run code-2" in waiting.text
    await act(handle, ActKind.ABORT)
    assert (await handle.result()).status is RunStatus.ABORTED
    assert weights(away) == AWAY


async def test_a_person_may_have_it_looked_at_anew_or_taken_back(away: Any) -> None:
    """Tried again, it asks again, and stays; aborted, one write brings all of it back to where it stood."""
    handle = await home(away, 7200.0)
    await stays(handle)
    looked = away.doing("shift.10.hold")
    await act(handle, ActKind.RETRY, "shift.10.hold")
    await until(lambda: _count(away), lambda count: count > looked)
    await stays(handle)
    await act(handle, ActKind.ABORT)
    record = await handle.result()
    assert record.status is RunStatus.ABORTED
    assert weights(away) == AWAY
    assert "shift.50" not in away.world.steps


async def test_a_governor_that_says_nothing_holds_up_nobody(away: Any) -> None:
    """Without its word the run goes on by its own analyses."""
    away.world.turned_back = refusal("Transient", "the governor is silent")
    record = await (await home(away)).result()
    assert record.status is RunStatus.COMPLETED
    assert not notes(record, "waiting")
    assert away.doing("shift.10.hold") == 1


async def test_a_governor_that_falls_silent_takes_nothing_back(away: Any) -> None:
    """What it said last holds until its time is over, and no longer."""
    handle = await home(away, 1800.0)
    over = away.world.turned_back.found[0].until
    await stays(handle)
    away.world.turned_back = refusal("Transient", "the governor is silent")
    record = await handle.result()
    assert record.status is RunStatus.COMPLETED
    assert over <= entry(record, "shift.50", Mark.STEERED).at <= over + timedelta(seconds=180)


async def test_a_setback_elsewhere_or_before_stages_that_are_no_failback_is_no_reason(away: Any) -> None:
    """Another region's is none; a switchover is not held up by any."""
    await turned_back(away, 7200.0, region=Domain("beta/ohio"))
    record = await (await home(away)).result()
    assert (record.status, notes(record, "waiting")) == (RunStatus.COMPLETED, [])
    world = away.reset()
    world.turned_back = Setbacks()
    await turned_back(away, 7200.0, region=Domain("beta/ohio"))
    record = await (await away.by(STAGED)).result()
    assert (record.status, notes(record, "waiting")) == (RunStatus.COMPLETED, [])


async def test_who_set_the_rule_aside_is_not_held_up_by_it(away: Any) -> None:
    """A person who looked at Paris and named the rule goes through all stages."""
    await turned_back(away, 7200.0)
    made = away.plan(MoveKind.FAILBACK)
    trigger = replace(made.trigger, overrides=("setback",))
    record = await (await away.begin(replace(made, trigger=trigger))).result()
    assert (record.status, notes(record, "waiting")) == (RunStatus.COMPLETED, [])


async def test_not_even_the_first_traffic_comes_after_a_no(away: Any) -> None:
    """Paris said no while the run still promoted there: nothing moves, and what was promoted is put back."""
    away.world.replicas["eu"] = 1
    steps = "  - {id: promote, type: promote}\n" + STAGED
    await turned_back(away, 7200.0)
    record = await (await away.by(steps, MoveKind.FAILBACK)).result()
    assert record.status is RunStatus.ABORTED
    assert away.world.steps == ["promote", "promote-undo"]
    assert away.world.replicas["eu"] == 1
    assert "the failback of service 'code' into alpha/paris had to turn back" in record.entries[-1].text


async def test_a_governor_that_hangs_is_silent_within_half_a_second(away: Any) -> None:
    """Nobody works for it: whoever asks between two stages knows so at once, and goes on."""
    client = away.stage.client
    await client.start_workflow("governor", GovernorState(Ledger()), id=GOVERNOR_ID, task_queue="nobody-works-here")
    began = time.monotonic()
    with pytest.raises(ApplicationError, match="the governor is silent"):
        await Governing(client).setbacks(SetbackQuestion((PARIS,)))
    assert time.monotonic() - began < 2.0
