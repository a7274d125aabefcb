"""What a service makes of signals that heartbeats tell."""

from __future__ import annotations

from orchestrator.core.move import MoveKind
from orchestrator.core.record import RunStatus
from orchestrator.core.signals import Effect
from real.stage import stage


async def test_a_notice_leads_traffic_away_before_anything_is_down() -> None:
    """Home serves well and its machine is about to go: a switchover moves the traffic, and the record says why."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        play.world.signals = {"eu": Effect.DRAIN}
        await play.handle.signal("look_again")
        record = (await play.closed()).last_runs[0]
        assert (record.status, record.kind) == (RunStatus.COMPLETED, MoveKind.SWITCHOVER)
        assert "spot: reclaimed in 2 min" in record.trigger.reason
        await play.pass_(minutes=30)
        assert len((await play.status()).last_runs) == 1, "it goes nowhere else, and does not come back by itself"


async def test_an_alarm_at_the_standby_asks_before_traffic_comes() -> None:
    """Home is down and an alarm speaks against the only standby: a person is asked, and told which alarm."""
    async with stage() as play:
        play.world.signals = {"us": Effect.DOUBT}
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        status = await play.until(lambda s: s.question is not None)
        assert status.question is not None
        assert [each.rule for each in status.question.reasons] == ["target-doubted"]
        assert "spot: reclaimed in 2 min" in status.question.reasons[0].text
        play.world.signals = {}
        record = (await play.closed()).last_runs[0]
        assert record.status is RunStatus.COMPLETED, "the alarm is over, and with it the question"
