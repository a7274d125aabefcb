"""restore-last-good: back to where traffic went when all was well for long enough."""

from __future__ import annotations

from typing import Any

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.record import RunStatus
from real.scenery import AT_HOME, AWAY, US
from real.stage import Stage, stage
from workflows.wire import FailoverRequest, Refusal, ServiceStatus, Started

ANSWER: Any = Started | Refusal


async def ask(play: Stage, name: str, request: Request) -> Started | Refusal:
    answer: Started | Refusal = await play.handle.execute_update(
        "request", FailoverRequest(name, request), result_type=ANSWER
    )
    return answer


async def go_away(play: Stage) -> ServiceStatus:
    """A planned move to us."""
    answer = await ask(play, "away", Request(MoveKind.SWITCHOVER, Trigger("ann", "try us"), US))
    assert isinstance(answer, Started), answer
    return await play.closed()


def restore() -> Request:
    return Request(MoveKind.SWITCHOVER, Trigger("ann", "us is odd"), runbook="restore-last-good")


async def test_traffic_goes_back_to_what_had_served_well() -> None:
    """Home served well for 40 minutes, then a planned move; restore-last-good brings the traffic home again."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.handle.signal("look_again")
        await play.settled()
        await play.pass_(minutes=40)
        await go_away(play)
        status = await play.until(lambda seen: seen.last_good is not None)
        assert status.last_good is not None
        assert status.last_good.weights == AT_HOME
        answer = await ask(play, "restore", restore())
        assert isinstance(answer, Started), answer
        await play.closed(runs=2)
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AT_HOME
        records = (await play.status()).last_runs
        assert [record.status for record in records] == [RunStatus.COMPLETED, RunStatus.COMPLETED]
        assert records[0].runbook == "restore-last-good"


async def test_what_served_for_a_minute_is_not_gone_back_to() -> None:
    """Home was seen well for a minute only: the request is refused with the reason, and nothing moves."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.handle.signal("look_again")
        await play.settled()
        await play.pass_(minutes=1)
        await go_away(play)
        answer = await ask(play, "restore", restore())
        assert isinstance(answer, Refusal)
        assert "is known to have served well for 30 min to its end" in answer.reasons[0].text
        assert answer.reasons[0].rule == "no-last-good"
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AWAY
