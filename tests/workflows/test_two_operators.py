"""Two operators ask for opposite moves in the same second (the issue's story 3)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.record import RunStatus
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer
from real.scenery import AWAY, EU, US, at_home
from real.stage import Stage, stage
from workflows.wire import FailoverRequest, Refusal, Started

ANSWER: Any = Started | Refusal
HALVES = ((EU, 50), (US, 50))
BOTH = replace(at_home(), answer=Answer("addresses", ("192.0.2.1", "192.0.2.2")), fence=Fence(7, "a", "a", HALVES))
ANN, BOB = ("ann@laptop", EU), ("bob@laptop", US)


async def ask(play: Stage, who: tuple[str, Any], number: int) -> tuple[str, Started | Refusal]:
    """One operator's request: all traffic to their own choice."""
    by, target = who
    asked = FailoverRequest(f"{by}-{number}", Request(MoveKind.SWITCHOVER, Trigger(by, f"{target} is better"), target))
    answer: Started | Refusal = await play.handle.execute_update("request", asked, result_type=ANSWER)
    return by, answer


@pytest.mark.parametrize("order", [(ANN, BOB), (BOB, ANN)], ids=["ann-first", "bob-first"])
async def test_one_runs_and_the_other_is_told_who_holds_the_service(order: tuple[Any, Any]) -> None:
    """Traffic is at both; one wants all of it in Paris and the other in Ohio: one write, and a name for the other."""
    async with stage() as play:
        play.world.routing = BOTH
        play.world.gates["steer"] = asyncio.Event()
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        answers = await asyncio.gather(*(ask(play, who, 1) for who in order))
        ((winner, started),) = [(by, each) for by, each in answers if isinstance(each, Started)]
        ((loser, refused),) = [(by, each) for by, each in answers if isinstance(each, Refusal)]
        assert (refused.held_by, refused.started_by) == (started.run, winner)
        assert [reason.rule for reason in refused.reasons] == ["one-run-at-a-time"]
        assert f"run {started.run} holds service 'chat'" in refused.reasons[0].text
        # The loser asks again while the run is under way, and is told the same.
        _, again = await ask(play, ANN if loser == ANN[0] else BOB, 2)
        assert isinstance(again, Refusal)
        assert again.started_by == winner
        play.world.gates["steer"].set()
        status = await play.until(lambda s: s.run is None and bool(s.last_runs))
        assert status.last_runs[0].status is RunStatus.COMPLETED
        assert status.last_runs[0].trigger.by == winner
        assert len(play.world.wrote) == 1
        assert play.world.routing.fence is not None
        assert dict(play.world.routing.fence.weights)[dict((ANN, BOB))[winner]] == 100


async def test_ten_operators_start_one_run() -> None:
    """However many ask at once, one run is started, and everybody else is told of that same run."""
    async with stage() as play:
        play.world.gates["steer"] = asyncio.Event()
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        crowd = [(f"op{number}@laptop", US) for number in range(10)]
        answers = dict(await asyncio.gather(*(ask(play, who, 1) for who in crowd)))
        (winner,) = [by for by, answer in answers.items() if isinstance(answer, Started)]
        run = answers.pop(winner)
        assert isinstance(run, Started)
        for answer in answers.values():
            assert isinstance(answer, Refusal)
            assert (answer.held_by, answer.started_by) == (run.run, winner)
        play.world.gates["steer"].set()
        await play.until(lambda s: s.run is None and bool(s.last_runs))
        assert len(play.world.wrote) == 1
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AWAY
