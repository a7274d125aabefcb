"""How often a service looks at the world by itself: rarely at rest, at once again when something falls."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from real.scenery import at_home, refusal
from real.stage import stage


async def test_a_service_whose_record_cannot_be_read_rests() -> None:
    """All is well but the record: in the first ten minutes it is looked at a handful of times, not every second."""
    async with stage() as play:
        play.world.routing, play.world.blind = replace(at_home(), fence=None), refusal("Bug", "not readable")
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.pass_(minutes=10)
        assert play.world.looks <= 9


async def test_a_long_rest_does_not_delay_the_next_look_at_an_outage() -> None:
    """After hours of rest an endpoint falls, and what kept it from moving goes away unseen: seconds later it moves."""
    async with stage() as play:
        play.world.blind = refusal("Bug", "not readable")
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.pass_(hours=3)
        await play.all_say(eu="down", us="healthy")
        await play.settled()
        held = await play.status()
        assert "routing-unknown" in {reason.rule for reason in held.hold}
        assert not play.world.wrote
        play.world.blind = None
        moved = await play.closed()
        assert len(play.world.wrote) == 1
        assert moved.last_runs[0].started - held.as_of < timedelta(seconds=12)
