"""Two standbys take what neither could take alone: each is made ready and proved before traffic comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from orchestrator.core.record import RunStatus
from orchestrator.core.steering import Fence
from real.scenery import AT_HOME, US, refusal, service
from real.stage import Stage, endpoint, stage, until

PREPARING = {"promote-us", "promote-zz"}


@contextlib.asynccontextmanager
async def of_two_small_ones() -> AsyncIterator[Stage]:
    """A service that needs more than each of its two standbys can carry, with traffic at home."""
    played = service(cooldown_s=300.0, capacity=150, prefer=(US,))
    third = endpoint("zz", "gamma/tokyo", "192.0.2.3")
    async with stage(played=replace(played, endpoints=(*played.endpoints, third))) as play:
        play.world.replicas["zz"] = 1
        play.world.routing = replace(play.world.routing, fence=Fence(7, "adopt", "adopt", (*AT_HOME, (third.id, 0))))
        await play.open()
        await play.all_say(eu="healthy", us="healthy", zz="healthy")
        yield play


async def test_each_that_gets_traffic_is_ready_first() -> None:
    """Both are promoted at once, both prove themselves, and one write sends half to each."""
    async with of_two_small_ones() as play:
        gates = {step: asyncio.Event() for step in PREPARING}
        play.world.gates |= gates
        await play.all_say(eu="down", us="healthy", zz="healthy")
        await until(lambda: asyncio.sleep(0, play.world.steps), lambda steps: set(steps) >= PREPARING)
        for gate in gates.values():
            gate.set()
        (record,) = (await play.closed()).last_runs
        assert record.status is RunStatus.COMPLETED
        assert record.after == (("eu", 0), ("us", 50), ("zz", 50))
        begun = play.world.steps
        for name in ("us", "zz"):
            assert begun.index(f"promote-{name}") < begun.index(f"verify-{name}") < begun.index("steer")
            assert play.world.replicas[name] == 2
        assert play.world.wrote == [f"{record.run}/steer"]
        assert "us is scaled to 2. zz is scaled to 2." in record.entries[-1].text


async def test_one_that_fails_its_proof_sends_both_back() -> None:
    """The second does not answer: no traffic moves, both return to the replicas they had, and automation cools down."""
    async with of_two_small_ones() as play:
        play.world.failing["verify-zz"] = refusal("Refused", "zz gives no completion")
        # The test server loses the task in which a step is let go that ends just then.
        play.world.gates["verify-us"] = asyncio.Event()
        await play.all_say(eu="down", us="healthy", zz="healthy")
        status = await play.closed(runs=2)
        assert [record.status for record in status.last_runs] == [RunStatus.UNDONE] * 2
        status = await play.until(lambda seen: "cool-down" in {each.rule for each in seen.hold})
        last = status.last_runs[0].entries[-1].text
        assert last.startswith("verify-zz: zz gives no completion; everything done was put back")
        assert play.world.wrote == []
        assert (play.world.replicas["us"], play.world.replicas["zz"]) == (1, 1)


async def test_one_that_falls_while_it_is_made_ready_stops_the_move() -> None:
    """The second falls while the first still loads: nothing is moved to half of a target, both are given back."""
    async with of_two_small_ones() as play:
        gate = play.world.gates["promote-us"] = asyncio.Event()
        await play.all_say(eu="down", us="healthy", zz="healthy")
        await until(lambda: asyncio.sleep(0, play.world.steps), lambda steps: set(steps) >= PREPARING)
        await play.all_say(eu="down", us="healthy", zz="down")
        status = await play.until(lambda seen: bool(seen.last_runs) and seen.run is None)
        gate.set()
        assert status.last_runs[0].status in {RunStatus.UNDONE, RunStatus.ABORTED}
        assert "zz fell meanwhile" in status.last_runs[0].entries[-1].text
        assert play.world.wrote == []
