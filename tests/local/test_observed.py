"""The load of real model servers, as a prober reads it beside its probes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from time import monotonic

import httpx
import pytest

from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.topology import Endpoint, ProbeKind, ProbeSpec, Role, Service, Vantage, Workload
from orchestrator.local.world import World
from orchestrator.prober import Engine, Loads, loads
from providers.probes import Probes

Chat = Callable[..., dict[str, object]]
Until = Callable[..., Awaitable[None]]
PROBE = ProbeSpec("health", ProbeKind.HTTP, interval_s=0.1, timeout_s=0.1, fall=3, path="/health")


@contextlib.asynccontextmanager
async def prober(*endpoints: Endpoint) -> AsyncIterator[tuple[Engine, Loads]]:
    """A vantage that watches *endpoints*, and asks their workloads."""
    service = Service(ServiceId("chat"), "chat.example", endpoints)
    probes = Probes()
    vantage = Vantage(VantageId("v1"), Domain("watch/one"))
    engine = Engine(vantage=vantage, shard=0, epoch=1, host="here", clients=probes, emit=lambda _report: None)
    what = Loads(engine.serves)
    engine.configure((service,), 1)
    what.configure((service,))
    tasks = [asyncio.create_task(each) for each in (engine.run(), what.run())]
    try:
        yield engine, what
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await probes.close()


def seen(what: Loads) -> dict[str, int]:
    return {each.endpoint: each.in_flight for each in what.seen()}


def age_s(what: Loads, endpoint: str) -> float:
    return next(each.age_s for each in what.seen() if each.endpoint == endpoint)


@pytest.fixture
def endpoints(world: World, handle: Workload, monkeypatch: pytest.MonkeyPatch) -> tuple[Endpoint, ...]:
    """The active endpoint and a standby of a world, whose workloads are asked twenty times a second."""
    monkeypatch.setattr(loads, "EVERY_S", 0.05)
    return tuple(
        Endpoint(
            EndpointId(place.id),
            world.url(place.id),
            Domain(place.region),
            Role.ACTIVE,
            probes=(PROBE,),
            workload=replace(handle, target=place.id),
        )
        for place in (world.place("paris"), world.place("ohio"))
    )


@pytest.fixture
async def streams(world: World, client: httpx.AsyncClient, chat: Chat) -> AsyncIterator[list[asyncio.Task[object]]]:
    """Five long streams under way in Paris."""
    await world.pace("paris", token_s=0.5)
    url = world.url("paris") + "/v1/chat/completions"
    asked = chat(max_tokens=400)
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(client.post(url, json=asked)) for _ in range(5)]
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("fault", ["region-blackhole", "process-kill", "errors-5xx"])
async def test_the_load_of_a_region_is_known_when_it_has_died(
    world: World, endpoints: tuple[Endpoint, ...], streams: list[asyncio.Task[object]], until: Until, fault: str
) -> None:
    """Whatever it dies of, and whatever it says of itself then: five streams were under way, none at the standby."""
    async with prober(*endpoints) as (engine, what):

        async def known() -> bool:
            return seen(what) == {"paris": 5, "ohio": 0}

        await until(known)
        await world.inject(fault, "paris", key="fault")
        for task in streams:
            task.cancel()

        async def dead() -> bool:
            return not engine.serves(ServiceId("chat"), EndpointId("paris"))

        await until(dead)

        async def asked_in_vain() -> bool:
            return age_s(what, "paris") > 0.4 and age_s(what, "ohio") < 0.2

        await until(asked_in_vain)
        assert seen(what) == {"paris": 5, "ohio": 0}


async def test_workloads_that_hang_delay_no_probe(
    endpoints: tuple[Endpoint, ...], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty control planes take the question and never answer: probes start in their slots, and whoever answers is
    heard again and again."""
    monkeypatch.setattr(loads, "APART_S", 0.005)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        world = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hanging = tuple(
            replace(
                endpoints[1], id=EndpointId(f"e{i}"), workload=Workload("local", f"e{i}", options=(("world", world),))
            )
            for i in range(50)
        )
        async with prober(endpoints[0], *hanging) as (engine, what):
            for _ in range(3):
                last = max((monotonic() - each.age_s for each in what.seen()), default=0.0)

                async def heard_again(last: float = last) -> bool:
                    return any(monotonic() - each.age_s > last + 0.01 for each in what.seen())

                await until(heard_again)
            assert seen(what) == {"paris": 0}

            async def on_time() -> bool:
                # A busy machine misses slots of its own, but not all the while.
                engine.lateness()
                await asyncio.sleep(0.5)
                late = engine.lateness()
                return late.missed < late.count / 10

            await until(on_time)
