"""A run's check asks its service's own workflow: what stands against the move is said by those who decide."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator.core import easing
from orchestrator.core.easing import Return
from orchestrator.core.governing import Ledger
from orchestrator.core.move import MoveKind
from orchestrator.core.names import Domain, RunId
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer
from providers.base import Transient
from real.scenery import AT_HOME, AWAY, EU, US
from real.stage import Stage, stage
from runbooks.plan import Check
from workflows.activities.weighing import Weighing
from workflows.wire import CONTROL_QUEUE, GOVERNOR_ID, ActiveRun, Look, LookRequest, StepTask
from workflows.wire.governor import GovernorState

RUN = RunId("chat-20240101-000000-0001")


@pytest.fixture
async def play() -> AsyncIterator[Stage]:
    async with stage() as made:
        yield made


def task(play: Stage, *rules: str, overrides: tuple[str, ...] = (), kind: MoveKind = MoveKind.FAILOVER) -> StepTask:
    """The check of a run from Paris to Ohio."""
    return StepTask(
        service=play.service.id,
        name=play.service.name,
        run=RUN,
        step="again",
        work=Check(rules),
        timeout_s=10.0,
        steering=play.service.steering,
        source=(EU,),
        target=US,
        kind=kind,
        after=AWAY,
        overrides=overrides,
    )


async def weighed(play: Stage, asked: StepTask) -> list[str]:
    """The rules that stand against it."""

    async def read(request: LookRequest) -> Look:
        look: Look = await play.world.look(request)
        return look

    return [each.rule for each in await Weighing(play.client, read)(asked)]


async def test_a_check_hears_what_has_become_of_the_target(play: Stage) -> None:
    """While the target is well nothing stands against the run that holds the service; once it is down, that does."""
    await play.open(run=ActiveRun(RUN, f"failover/chat/{RUN}", "automatic"))
    await play.all_say(eu="down", us="healthy")
    assert await weighed(play, task(play)) == []
    await play.all_say(eu="down", us="down")
    assert "target-down" in await weighed(play, task(play))
    assert await weighed(play, task(play, "paused")) == []


async def test_a_persons_run_meets_what_the_person_met(play: Stage) -> None:
    """A paused service stops an automatic run at its check, and not the run of a person."""
    await play.open(run=ActiveRun(RUN, f"failover/chat/{RUN}", "ann"), paused="paused by bob: maintenance")
    await play.all_say(eu="down", us="healthy")
    assert await weighed(play, task(play)) == []
    assert await weighed(play, replace(task(play), run=RunId("chat-20240101-000000-0002"))) == ["paused"]
    assert await weighed(play, task(play, "paused", overrides=("paused",))) == []


async def test_a_hand_edit_since_the_plan_stands_against_the_run(play: Stage) -> None:
    """The answer is read at the check, not remembered: somebody else's address in it stops the run."""
    await play.open(run=ActiveRun(RUN, f"failover/chat/{RUN}", "automatic"))
    await play.all_say(eu="down", us="healthy")
    play.world.routing = replace(play.world.routing, answer=Answer("addresses", ("192.0.2.99",)))
    assert "changed-outside" in await weighed(play, task(play))


async def test_once_traffic_has_moved_the_source_may_be_well_again(play: Stage) -> None:
    """The run's own write stands: a source that recovers is no reason against what is done."""
    await play.open(run=ActiveRun(RUN, f"failover/chat/{RUN}", "automatic"))
    await play.all_say(eu="healthy", us="healthy")
    assert "source-healthy" in await weighed(play, task(play))
    here = play.world.routing
    play.world.routing = replace(
        here, answer=Answer("addresses", ("192.0.2.2",)), fence=Fence(here.generation + 1, RUN, "steer", AWAY)
    )
    assert await weighed(play, task(play)) == []


async def test_vantages_that_cannot_be_heard_are_no_yes(play: Stage) -> None:
    """No prober's heartbeat can be read: that is passing trouble, not an answer."""
    await play.open()
    play.world.beating = ()
    with pytest.raises(Transient, match="no vantage of service 'chat' could be heard"):
        await weighed(play, task(play))


async def test_a_service_that_is_not_there_is_no_yes(play: Stage) -> None:
    """Its workflow cannot be asked: the step is tried again, and fails in the end."""
    with pytest.raises(Transient, match="the workflow of service 'chat' cannot be asked"):
        await weighed(play, task(play))


async def test_a_failback_hears_that_another_one_had_to_turn_back_meanwhile(play: Stage) -> None:
    """It was granted before, and has not moved yet: the governor's word is asked for, and a person's override holds."""
    play.world.routing = replace(
        play.world.routing, answer=Answer("addresses", ("192.0.2.2",)), fence=Fence(9, "a", "a", AWAY)
    )
    await play.open()
    await play.all_say(eu="healthy", us="healthy")
    home = replace(task(play, "setback", kind=MoveKind.FAILBACK), source=(US,), target=EU, after=AT_HOME)
    assert await weighed(play, home) == [], "no governor, no word"
    end = Return(RunId("code-1"), play.service.id, (Domain("alpha/paris"),), "too slow")
    ledger = Ledger(setbacks=easing.after((), end, await play.env.get_current_time()))
    await play.client.start_workflow("governor", GovernorState(ledger), id=GOVERNOR_ID, task_queue=CONTROL_QUEUE)
    assert await weighed(play, home) == ["setback"]
    assert await weighed(play, replace(home, overrides=("setback",))) == []
    assert await weighed(play, replace(home, kind=MoveKind.SWITCHOVER)) == []


async def test_a_governor_that_hangs_keeps_no_failback_waiting(play: Stage) -> None:
    """Nobody works for it: after half a second the check goes on without its word."""
    play.world.routing = replace(
        play.world.routing, answer=Answer("addresses", ("192.0.2.2",)), fence=Fence(9, "a", "a", AWAY)
    )
    await play.open()
    await play.all_say(eu="healthy", us="healthy")
    await play.client.start_workflow("governor", GovernorState(Ledger()), id=GOVERNOR_ID, task_queue="nobody")
    home = replace(task(play, "setback", kind=MoveKind.FAILBACK), source=(US,), target=EU, after=AT_HOME)
    began = time.monotonic()
    assert await weighed(play, home) == []
    assert time.monotonic() - began < 8.0
