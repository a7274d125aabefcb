"""Replicas that load, streams that finish, and the numbers that tell of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest

from orchestrator.core.topology import Workload
from orchestrator.local.world import World
from providers.base import Capacity, NoCapacity, NotFound
from providers.local.workload import LocalDrain, LocalWorkload

Chat = Callable[..., dict[str, object]]
Until = Callable[..., Awaitable[None]]


def standby(handle: Workload) -> Workload:
    return replace(handle, target="ohio")


async def test_a_standby_that_is_scaled_up_serves_after_its_load_time(
    world: World, handle: Workload, client: httpx.AsyncClient, until: Until
) -> None:
    """A cold standby answers 503, takes its load time when scaled up, and then serves."""
    workload = LocalWorkload(standby(handle))
    await world.pace("ohio", load_s=1.5)
    await workload.scale(0, key="cold")
    assert (await client.get(world.url("ohio") + "/health")).status_code == 503
    begun = asyncio.get_running_loop().time()
    assert await workload.scale(2, key="run/promote") == Capacity(2, 0, 4)

    async def ready() -> bool:
        return (await workload.read()).ready == 2

    await until(ready)
    assert 1.45 <= asyncio.get_running_loop().time() - begun < 15
    assert (await client.get(world.url("ohio") + "/health")).status_code == 200


async def test_a_key_scales_once(world: World, handle: Workload) -> None:
    """A late retry of an older scaling does not undo the newer one."""
    workload = LocalWorkload(standby(handle))
    await workload.scale(2, key="run/promote")
    await workload.scale(1, key="run/demote")
    assert (await workload.scale(2, key="run/promote")).desired == 1


async def test_scaling_has_limits(world: World, handle: Workload) -> None:
    """More replicas than a region has room for is NoCapacity; an unknown endpoint is NotFound."""
    with pytest.raises(NoCapacity, match="room for 4 replicas"):
        await LocalWorkload(handle).scale(5, key="k")
    with pytest.raises(NotFound, match="called 'mars'"):
        await LocalWorkload(replace(handle, target="mars")).read()


async def test_requests_in_flight_are_counted_until_they_end(
    world: World, handle: Workload, client: httpx.AsyncClient, chat: Chat, until: Until
) -> None:
    """Streams under way are in flight by the provider's word and by the metrics, and leave both when they end."""
    await world.pace("paris", token_s=1.0)
    drain, url = LocalDrain(handle), world.url("paris")
    tasks = [asyncio.create_task(client.post(url + "/v1/chat/completions", json=chat())) for _ in range(3)]

    async def all_under_way() -> bool:
        return await drain.in_flight() == 3

    await until(all_under_way)
    assert "model_requests_in_flight 3\n" in (await client.get(url + "/metrics")).text
    await world.pace("paris", token_s=0.01)
    assert all("[DONE]" in response.text for response in await asyncio.gather(*tasks))

    async def idle() -> bool:
        return await drain.in_flight() == 0

    await until(idle)
    metrics = (await client.get(url + "/metrics")).text
    assert "model_requests_in_flight 0\n" in metrics
    assert "model_first_token_seconds_count 3\n" in metrics


async def test_a_client_that_leaves_gives_its_slot_back(
    world: World, handle: Workload, chat: Chat, until: Until
) -> None:
    """A stream whose client hangs up is no longer in flight."""
    await world.pace("paris", token_s=10.0)
    drain = LocalDrain(handle)

    async def under_way() -> bool:
        return await drain.in_flight() == 1

    async with (
        httpx.AsyncClient(timeout=30.0, trust_env=False) as client,
        client.stream("POST", world.url("paris") + "/v1/chat/completions", json=chat()) as response,
    ):
        lines = response.aiter_lines()
        await anext(lines)
        await until(under_way)

    async def idle() -> bool:
        return await drain.in_flight() == 0

    await until(idle)


async def test_draining_finishes_streams_and_sends_clients_away(
    world: World, handle: Workload, client: httpx.AsyncClient, chat: Chat
) -> None:
    """A draining server finishes what is under way and closes each connection after its answer; nothing fails."""
    await world.pace("paris", token_s=0.04)
    url = world.url("paris") + "/v1/chat/completions"
    first = await client.post(url, json=chat())
    assert "connection" not in first.headers
    drain = LocalDrain(handle)
    async with client.stream("POST", url, json=chat()) as response:
        lines = response.aiter_lines()
        await anext(lines)
        await drain.begin(key="run/drain")
        assert "data: [DONE]" in [line async for line in lines]
    later = await client.post(url, json=chat())
    assert later.headers["connection"] == "close"
    assert "[DONE]" in later.text
    await drain.end(key="run/drain")
    assert "connection" not in (await client.post(url, json=chat())).headers


async def test_a_full_queue_answers_429(world: World, client: httpx.AsyncClient, chat: Chat) -> None:
    """With every slot and every place in the queue taken, one more request is told to come back later."""
    await world.pace("ohio", slots=1, queue=1, token_s=1.0)
    url = world.url("ohio") + "/v1/chat/completions"
    tasks = [asyncio.create_task(client.post(url, json=chat(max_tokens=6))) for _ in range(3)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await world.pace("ohio", slots=1, queue=1, token_s=0.01)
    codes = [response.status_code for response in await asyncio.gather(*tasks)]
    assert sorted(codes) == [200, 200, 429]


async def test_a_completion_reads_as_openai_clients_expect(world: World, client: httpx.AsyncClient, chat: Chat) -> None:
    """Whole completions, models and mistakes have the fields that clients look for."""
    url = world.url("tokyo") + "/v1"
    whole = (await client.post(f"{url}/chat/completions", json=chat(stream=False, max_tokens=3))).json()
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 3
    assert (await client.get(f"{url}/models")).json()["data"][0]["id"] == "demo-8b"
    unknown = await client.post(f"{url}/chat/completions", json=chat(model="other"))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert (await client.post(f"{url}/chat/completions", content=b"{")).status_code == 400
