"""What automation did is looked at, and a move for a time ends: the service's own workflow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from real.scenery import AT_HOME, AWAY, US, service
from real.stage import stage
from workflows.wire import Acknowledge, FailoverRequest, Refusal, Started

ANSWER: Any = Started | Refusal


async def test_automation_waits_for_a_persons_word() -> None:
    """With acknowledge: true a second outage is held until somebody has said that they saw the first move."""
    async with stage(played=service(acknowledge=True, cooldown_s=0.0)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        await play.closed()
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AWAY
        await play.all_say(eu="healthy", us="down")
        status = await play.until(lambda seen: any(each.rule == "not-acknowledged" for each in seen.hold))
        assert "failover ack chat" in next(each.text for each in status.hold if each.rule == "not-acknowledged")
        assert play.world.routing.fence.weights == AWAY
        await play.handle.execute_update("acknowledge", Acknowledge("ann", "seen"))
        await play.closed(runs=2)
        assert play.world.routing.fence.weights == AT_HOME


async def test_a_move_for_a_time_is_asked_back_when_it_is_over() -> None:
    """Moved for two hours: when they are over people are asked to bring the traffic home, once."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        now = await play.env.get_current_time()
        wish = Request(MoveKind.SWITCHOVER, Trigger("ann", "the launch"), US)
        asked = FailoverRequest("away", replace(wish, expires=now + timedelta(hours=2)))
        answer = await play.handle.execute_update("request", asked, result_type=ANSWER)
        assert isinstance(answer, Started), answer
        await play.closed()
        assert (await play.status()).question is None
        await play.pass_(hours=3)
        status = await play.until(lambda seen: seen.question is not None)
        assert status.question is not None
        assert [each.rule for each in status.question.reasons][:1] == ["shift-expired"]
        assert status.question.target == "eu"
