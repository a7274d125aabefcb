"""Faults that are put into a running world, and come out again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from orchestrator.core.topology import Workload
from orchestrator.local.world import World
from providers.base import FaultKind, Refused, Transient
from providers.local.faults import LocalFaults

Chat = Callable[..., dict[str, object]]
Until = Callable[..., Awaitable[None]]


async def test_a_blackholed_region_neither_answers_nor_refuses_new_connections(
    world: World, client: httpx.AsyncClient
) -> None:
    """Connecting to a blackholed region times out, again and again; the other regions go on."""
    await world.inject(FaultKind.BLACKHOLE, "alpha/paris", key="d/1")
    for _ in range(4):
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(world.url("paris") + "/health", timeout=0.15)
    assert (await client.get(world.url("ohio") + "/health")).status_code == 200
    await world.clear("d/1")
    assert (await client.get(world.url("paris") + "/health")).status_code == 200


async def test_a_stream_under_way_hangs_in_a_blackhole_and_goes_on_after_it(world: World, chat: Chat) -> None:
    """A stream in a region that becomes a black hole falls silent without a reset, and ends when it heals."""
    await world.pace("paris", token_s=0.3)
    async with (
        httpx.AsyncClient(timeout=httpx.Timeout(30.0), trust_env=False) as client,
        client.stream("POST", world.url("paris") + "/v1/chat/completions", json=chat(max_tokens=10)) as response,
    ):
        lines = response.aiter_lines()
        await anext(lines)
        await world.inject(FaultKind.BLACKHOLE, "paris", key="d/1")
        rest: list[str] = []

        async def drink() -> None:
            rest.extend([line async for line in lines])

        drinking = asyncio.create_task(drink())
        # Longer than all its tokens would take.
        done, _ = await asyncio.wait([drinking], timeout=3.0)
        assert not done
        await world.clear("d/1")
        await asyncio.wait_for(drinking, 30.0)
        assert "data: [DONE]" in rest


async def test_a_killed_server_refuses_and_returns_only_when_the_fault_is_out(
    world: World, client: httpx.AsyncClient, until: Until
) -> None:
    """A killed model server refuses connections, and is started again, cold, when the fault is cleared."""
    await world.pace("paris", load_s=2.0)
    before = await world.endpoint("paris")
    await world.inject(FaultKind.KILL, "paris", key="d/1")
    with pytest.raises(httpx.ConnectError):
        await client.get(world.url("paris") + "/health")
    assert (await world.endpoint("paris"))["ready"] == 0
    await world.clear("d/1")
    assert (await client.get(world.url("paris") + "/health")).status_code == 503
    after = await world.endpoint("paris")
    assert after["pid"] not in {None, before["pid"]}

    async def serving() -> bool:
        return (await client.get(world.url("paris") + "/health")).status_code == 200

    await until(serving)


@pytest.mark.parametrize("kind", [FaultKind.BLACKHOLE, FaultKind.KILL, FaultKind.ERRORS])
async def test_a_fault_comes_out_by_itself_at_its_deadline(
    world: World, client: httpx.AsyncClient, until: Until, kind: FaultKind
) -> None:
    """Nobody clears the fault, and at its deadline the region serves again and the fault says expired."""
    await world.inject(kind, "paris", key="d/1", seconds=0.4)

    async def expired() -> bool:
        fault = await world.fault("d/1")
        return fault is not None and fault["expired"] and not fault["active"]

    async def serving() -> bool:
        try:
            return (await client.get(world.url("paris") + "/health", timeout=0.2)).status_code == 200
        except httpx.TransportError:
            return False

    await until(expired)
    await until(serving)


async def test_a_retry_does_not_extend_the_deadline(world: World, handle: Workload, until: Until) -> None:
    """Injecting again under the same key with a later deadline changes nothing."""
    faults = LocalFaults(handle)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    await faults.inject(FaultKind.ERRORS, "paris", key="run/inject", deadline=soon)
    again = await faults.inject(FaultKind.ERRORS, "paris", key="run/inject", deadline=soon + timedelta(seconds=300))
    assert again.active

    async def expired() -> bool:
        state = await faults.state(key="run/inject")
        return state is not None and state.expired

    await until(expired)


async def test_a_cleared_key_never_comes_back(world: World, handle: Workload, client: httpx.AsyncClient) -> None:
    """A late inject after a clear does nothing, even when the clear came before the fault ever did."""
    faults = LocalFaults(handle)
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    assert await faults.clear(key="drill/early") is None
    early = await faults.inject(FaultKind.ERRORS, "paris", key="drill/early", deadline=deadline)
    await faults.inject(FaultKind.ERRORS, "paris", key="drill/done", deadline=deadline)
    cleared = await faults.clear(key="drill/done")
    late = await faults.inject(FaultKind.ERRORS, "paris", key="drill/done", deadline=deadline)
    assert not early.active
    assert not late.active
    assert cleared is not None
    assert not cleared.expired
    assert (await client.get(world.url("paris") + "/health")).status_code == 200


async def test_two_faults_of_one_kind_hold_until_both_are_out(world: World, client: httpx.AsyncClient) -> None:
    """The region heals only when the last of its faults has been taken out."""
    await world.inject(FaultKind.BLACKHOLE, "paris", key="a")
    await world.inject(FaultKind.BLACKHOLE, "alpha", key="b")
    await world.clear("a")
    with pytest.raises(httpx.ConnectTimeout):
        await client.get(world.url("paris") + "/health", timeout=0.15)
    await world.clear("b")
    assert (await client.get(world.url("paris") + "/health")).status_code == 200


async def test_errors_slowness_and_lies(world: World, client: httpx.AsyncClient, chat: Chat) -> None:
    """5xx answers everything with 500; a lying server is healthy and completes nothing; a slow one is late."""
    url, completions = world.url("paris") + "/health", world.url("paris") + "/v1/chat/completions"
    await world.inject(FaultKind.ERRORS, "paris", key="5xx")
    assert (await client.get(url)).status_code == 500
    assert (await client.post(completions, json=chat())).status_code == 500
    await world.clear("5xx")
    await world.inject(FaultKind.HOLLOW, "paris", key="lies")
    assert (await client.get(url)).status_code == 200
    assert (await client.post(completions, json=chat())).status_code == 500
    await world.clear("lies")
    await world.inject(FaultKind.SLOW, "paris", key="slow")
    assert (await client.get(url)).status_code == 200
    with pytest.raises(httpx.ReadTimeout):
        await client.post(completions, json=chat(), timeout=httpx.Timeout(30.0, read=0.4))
    await world.clear("slow")
    assert "[DONE]" in (await client.post(completions, json=chat())).text


async def test_what_cannot_be_done_is_said_in_one_sentence(world: World, handle: Workload) -> None:
    """An unknown target is refused with the names that exist; a world that is away may come back."""
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    with pytest.raises(Refused, match=r"called 'mars'; there are: paris"):
        await LocalFaults(handle).inject(FaultKind.KILL, "mars", key="k", deadline=deadline)
    away = LocalFaults(Workload("local", "paris", options=(("world", "http://127.0.0.1:1"),)))
    with pytest.raises(Transient, match="cannot be reached"):
        await away.state(key="k")
