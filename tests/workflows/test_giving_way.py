"""A preparation that is under way when traffic must move: it ends where it stands, and the move comes at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Mode
from real.scenery import AWAY, US, service
from real.stage import Stage, stage, until
from runbooks.books import packed
from workflows.wire import FailoverRequest, Refusal, Started

ANSWER: Any = Started | Refusal
READY = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: ready}
steps:
  - {id: up, type: promote}
  - {id: rest, type: wait, for: 1h}
  - {id: look, type: verify}
"""


async def preparing(play: Stage) -> Started:
    """Ann makes us ready, which takes an hour; the promotion is done."""
    await play.open()
    await play.handle.signal("configure", replace(play.slice(2), books=(("ready.yaml", packed(READY, "ready.yaml")),)))
    await play.all_say(eu="healthy", us="healthy")
    request = Request(MoveKind.SWITCHOVER, Trigger("ann@laptop", "because"), US, runbook="ready")
    answer = await play.handle.execute_update("request", FailoverRequest("request-1", request), result_type=ANSWER)
    assert isinstance(answer, Started)
    await until(lambda: asyncio.sleep(0, play.world.replicas["us"]), lambda replicas: replicas == 2)
    return answer


async def test_an_outage_does_not_wait_for_a_preparation() -> None:
    """The active endpoint dies while us is made ready: what was promoted stays, and automation moves the traffic."""
    async with stage() as play:
        ready = await preparing(play)
        await play.all_say(eu="down", us="healthy")
        status = await play.until(lambda s: s.run is None and len(s.last_runs) == 2)
        moved, prepared = status.last_runs
        assert (moved.kind, moved.status) == (MoveKind.FAILOVER, RunStatus.COMPLETED)
        assert (prepared.run, prepared.status) == (ready.run, RunStatus.COMPLETED)
        assert any("gives way: eu" in entry.text for entry in prepared.entries)
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AWAY
        assert play.world.replicas["us"] == 2
        assert not any(step.endswith("-undo") for step in play.world.steps)


@pytest.mark.parametrize("mode", [Mode.MANUAL, Mode.APPROVAL])
async def test_a_person_in_an_outage_does_not_wait_for_a_preparation(mode: Mode) -> None:
    """Where people start every run, the preparation goes on until one of them asks for the failover."""
    async with stage(played=service(mode=mode)) as play:
        ready = await preparing(play)
        await play.all_say(eu="down", us="healthy")
        await play.pass_(seconds=40)
        assert (await play.status()).run == ready.run
        request = FailoverRequest("request-2", Request(MoveKind.FAILOVER, Trigger("bo", "eu is down"), US))
        answer = await play.handle.execute_update("request", request, result_type=ANSWER)
        assert isinstance(answer, Started), answer
        status = await play.until(lambda s: s.run is None and len(s.last_runs) == 2)
        assert [record.kind for record in status.last_runs] == [MoveKind.FAILOVER, MoveKind.PREPARATION]
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AWAY


async def test_while_all_is_well_a_preparation_holds_the_service() -> None:
    """A switchover that nobody needs at once is refused, and told which run is in the way."""
    async with stage() as play:
        ready = await preparing(play)
        request = FailoverRequest("request-2", Request(MoveKind.SWITCHOVER, Trigger("bo", "because"), US))
        answer = await play.handle.execute_update("request", request, result_type=ANSWER)
        assert isinstance(answer, Refusal)
        assert (answer.held_by, answer.started_by) == (ready.run, "ann@laptop")
