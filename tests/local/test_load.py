"""Client load on a world, and the observer of its DNS."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import SteeringChange, answer_for, next_lineage
from orchestrator.core.topology import Secret, SecretSource, Shares, SteeringSpec, TsigKey, Weights
from orchestrator.local.load import Load
from orchestrator.local.requests import POOLED, RESOLVING, RequestRecord, Summary, Window, summarize
from orchestrator.local.watchers import Watcher
from orchestrator.local.world import World
from providers.base import Steering
from providers.dns.rfc2136 import Rfc2136Steering
from providers.local.steering import LocalSteering

Until = Callable[..., Awaitable[None]]


def steering(world: World, *, weighted: bool = False) -> Steering:
    layout = world.layout
    options = tuple((place.id, place.address) for place in layout.regions) if weighted else ()
    key = TsigKey(layout.key_name, Secret(SecretSource.FILE, layout.key_file))
    spec = SteeringSpec("local", f"{layout.name}.", layout.zone, 1, layout.dns, (), key, options, Shares.WEIGHTED)
    return LocalSteering(spec) if weighted else Rfc2136Steering(spec)


async def steer(world: World, weights: Weights, *, weighted: bool = False) -> None:
    from orchestrator.config.load import load

    made = steering(world, weighted=weighted)
    before = await made.read()
    endpoints = load(world.topology).services[0].endpoints
    answer = answer_for(endpoints, weights)
    lineage = next_lineage(before.fence)
    await made.write(SteeringChange(before.generation, before.answer, weights, answer, "run", "steer", lineage))


def to(target: str) -> Weights:
    names = ("ohio", "paris", "tokyo")
    return tuple((EndpointId(name), 100 if name == target else 0) for name in names)


async def _roomy(world: World) -> None:
    """Nobody is told to come back later where a busy machine lets requests pile up."""
    for place in ("paris", "ohio"):
        await world.pace(place, slots=500)


async def test_load_counts_what_fails_in_a_blackhole_and_what_recovers(
    world: World, tmp_path: Path, until: Until
) -> None:
    """Both populations succeed, fail while their region is a black hole, and succeed again after the name moved."""
    rates = {"resolving_rate": 20.0, "pooled_rate": 20.0, "timeout_s": 2.0}
    await _roomy(world)
    async with (
        Load.start(world.layout, tmp_path / "load", **rates) as load,
        Watcher.start(world.layout.dns, world.layout.name, tmp_path / "dns") as watcher,
    ):

        async def flowing() -> bool:
            return len(load.requests()) > 20

        await until(flowing)
        calm = time.time()
        await world.inject("region-blackhole", "paris", key="k")
        fault = time.time()

        async def failing() -> bool:
            return {request.population for request in load.requests() if not request.ok} == {POOLED, RESOLVING}

        await until(failing)
        steered = time.time()
        await steer(world, to("ohio"))
        moved = time.time()
        changed = await watcher.until([world.place("ohio").address], timeout=45)
        # One TTL for clients who obey it, and a little for those who connected at its very end.
        settled = changed.at + 2.0

        async def served_again() -> bool:
            late = [request.population for request in load.requests() if request.ok and request.started > settled]
            return late.count(POOLED) > 5 and late.count(RESOLVING) > 5

        await until(served_again)
    # Who asked in the last moment before the move may have been told where it went.
    windows = {"fault": Window(fault, steered - 0.5, fault), "after": Window(settled, 1e12)}
    summary = summarize(load.requests(), windows)
    assert steered <= changed.at < moved + 5
    assert all(request.ok for request in load.requests() if request.ended < calm)
    for population in (RESOLVING, POOLED):
        assert summary["fault"][population].failed == summary["fault"][population].total > 0
        assert summary["after"][population].total > 5
    assert summary["after"][RESOLVING].failed == 0
    lost = [request for request in load.requests() if fault < request.started < steered - 0.5 and not request.ok]
    errors = {request.error for request in lost}
    assert errors <= {"connect timed out", "answer timed out"}


async def test_a_stream_cut_in_the_middle_is_a_failure(world: World, tmp_path: Path, until: Until) -> None:
    """Streams under way when the server is killed count as failed, with the tokens that came."""
    await world.pace("paris", token_s=0.1)
    async with Load.start(world.layout, tmp_path / "load", pooled_rate=0.0) as load:

        async def flowing() -> bool:
            return ((await world.endpoint("paris"))["in_flight"] or 0) > 3

        await until(flowing)
        await world.inject("process-kill", "paris", key="k")

        async def refused() -> bool:
            return any("refused" in request.error for request in load.requests())

        await until(refused)
    cut = [request for request in load.requests() if request.error in {"cut", "reset"}]
    assert cut
    assert any(0 < request.tokens < 10 for request in cut)


async def test_a_planned_move_with_a_drain_loses_nothing(world: World, tmp_path: Path, until: Until) -> None:
    """Steering away and draining moves pooled clients too, and no request fails."""
    await _roomy(world)
    async with Load.start(world.layout, tmp_path / "load", resolving_rate=20.0, pooled_rate=20.0) as load:

        async def every_pool_is_filled() -> bool:
            return sum(request.population == POOLED for request in load.requests()) > 25

        await until(every_pool_is_filled)
        await steer(world, to("ohio"))

        async def moved(*populations: str) -> bool:
            recent = [r for r in load.requests() if r.population in populations and r.started > time.time() - 0.5]
            return len(recent) > 3 and {request.address for request in recent} == {world.place("ohio").address}

        await until(lambda: moved(RESOLVING))
        assert not await moved(POOLED)
        await world.drain("paris", on=True, key="drain")
        await until(lambda: moved(RESOLVING, POOLED))

        async def left() -> bool:
            return (await world.endpoint("paris"))["in_flight"] == 0

        await until(left)
    assert [request for request in load.requests() if not request.ok] == []


async def test_weights_written_by_the_provider_spread_the_clients(world: World) -> None:
    """The local steering says it can weigh, and what it writes is what resolvers are told."""
    from real.bind import ask

    weights = ((EndpointId("ohio"), 30), (EndpointId("paris"), 70), (EndpointId("tokyo"), 0))
    made = steering(world, weighted=True)
    assert made.shares is Shares.WEIGHTED
    await steer(world, weights, weighted=True)
    routing = await made.read()
    assert routing.fence is not None
    assert routing.fence.weights == weights
    assert routing.answer is not None
    assert len(routing.answer.values) == 2
    assert [said.answer for said in await made.answers()] == [routing.answer]
    drawn = [await ask(world.layout.dns, f"{world.layout.name}.", "A") for _ in range(200)]
    ohio = sum(addresses == (world.place("ohio").address,) for addresses in drawn)
    assert {len(addresses) for addresses in drawn} == {1}
    assert 30 < ohio < 95


def test_a_request_belongs_to_the_window_in_which_it_began() -> None:
    """A request that began before a window and failed inside it is counted where it began."""
    requests = [
        RequestRecord(RESOLVING, 1.0, 9.0, False, "answer timed out", "127.1.1.1", 3),
        RequestRecord(RESOLVING, 5.0, 6.0, True, "", "127.1.2.1", 10),
        RequestRecord(RESOLVING, 6.0, 7.0, False, "cut", "127.1.2.1", 1),
        RequestRecord(POOLED, 5.0, 6.0, True, "", "127.1.2.1", 10),
    ]
    summary = summarize(requests, {"all": Window(0, 10, 5.5), "late": Window(5, 10, 6.5)})
    assert summary["all"][RESOLVING] == Summary(3, 2, 1, 6.0)
    assert summary["late"][RESOLVING] == Summary(2, 1, 0, 6.0)
    assert summary["late"][POOLED] == Summary(1, 0, 0, None)


async def test_a_load_that_is_interrupted_waits_for_no_black_hole(world: World, tmp_path: Path, until: Until) -> None:
    """Ctrl-C in the middle of an outage ends the load at once, not after the time-out of the requests in it."""
    began = 0.0
    with contextlib.suppress(KeyError):
        async with Load.start(world.layout, tmp_path / "load", resolving_rate=20.0, timeout_s=60.0) as load:

            async def flowing() -> bool:
                return len(load.requests()) > 5

            await until(flowing)
            await world.inject("region-blackhole", "paris", key="k")

            async def waiting() -> bool:
                return time.time() - max(request.ended for request in load.requests()) > 0.5

            await until(waiting)
            began = time.monotonic()
            raise KeyError
    assert load.process.returncode is not None
    assert time.monotonic() - began < 10
