"""The event stream and the poller behind it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from orchestrator.core.quorum import Verdict
from orchestrator.history import Store
from real.stage import until

Events = AsyncIterator[tuple[str, dict[str, str], str]]


async def _parsed(lines: AsyncIterator[str]) -> Events:
    name, data, mark = "", "", ""
    async for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            mark = value
        elif field == "data":
            data = value
        elif not line and data:
            yield name, json.loads(data), mark
            name, data, mark = "", "", ""


@asynccontextmanager
async def _listening(site: Any, page: str = "/", **headers: str) -> AsyncIterator[Events]:
    async with site.client.stream("GET", "/events", params={"page": page}, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _parsed(answer.aiter_lines())


async def _none_left(site: Any) -> None:
    for _ in range(4500):
        if site.app.state.pane.viewers == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("a viewer that went is still counted")


async def test_a_change_arrives_without_asking(site: Any, world: Any, worlds: ModuleType) -> None:
    """A viewer gets the page once, ticks while nothing changes, and the page again when something did."""
    async with _listening(site) as events:
        name, first, _ = await anext(events)
        assert name == "page"
        assert "Everything is serving" in first["html"]
        assert [(await anext(events))[0] for _ in range(3)] == ["tick", "tick", "tick"]
        world.put(worlds.status("chat", now=worlds.utc_now(), verdicts={"us": Verdict.DOWN}))
        async for name, message, _ in events:
            if name == "page" and "chat is down" in message["html"]:
                assert message["title"].startswith("✕ chat is down")
                break


async def test_a_reconnect_does_not_send_what_is_known(site: Any) -> None:
    """A viewer that comes back with the mark of what it shows is told the time only."""
    for page in ("/", "/runs/embed-20260228-0003", "/drills/weekly-2026-02-28"):
        async with asyncio.timeout(45):
            async with _listening(site, page) as events:
                _, _, mark = await anext(events)
            async with _listening(site, page, **{"last-event-id": mark}) as events:
                name, message, _ = await anext(events)
        assert name == "tick"
        assert set(message) == {"now"}


async def test_a_run_is_followed_to_its_end(site: Any, world: Any, worlds: ModuleType, store: Store) -> None:
    """A run's page grows by itself as the run does, until it is closed."""
    began = worlds.utc_now()
    world.records["r"] = worlds.record(began=began, run="r", until=4.3)
    async with asyncio.timeout(45), _listening(site, "/runs/r") as events:
        _, first, _ = await anext(events)
        assert "running" in first["html"]
        world.records["r"] = worlds.record(began=began, run="r")
        async for name, message, _ in events:
            if name == "page" and "recovered in 5.30 s" in message["html"]:
                break
    store.publish_record(world.records["r"])
    del world.records["r"]
    assert "recovered in 5.30 s" in (await site.client.get("/runs/r")).text


async def test_many_viewers_cost_one_poller(site: Any, world: Any) -> None:
    """Ten viewers ask the control plane no more often than one does."""

    async def follow(ticks: int) -> None:
        async with _listening(site) as events:
            for _ in range(ticks):
                await anext(events)

    async with asyncio.timeout(90):
        before, began = world.asked, time.monotonic()
        await asyncio.gather(*(follow(8) for _ in range(10)))
        # One asks ten times a second, and once as it comes.
        assert world.asked - before <= (time.monotonic() - began) / 0.1 + 2


async def test_nobody_looks_nobody_is_asked(site: Any, world: Any) -> None:
    """When the last viewer goes the poller stops, and a page asked for twice in a moment asks once."""
    async with _listening(site) as events:
        await anext(events)
        assert site.app.state.pane.viewers == 1
    await _none_left(site)
    await site.client.get("/")
    asked = world.asked
    await asyncio.sleep(0.35)  # several poll periods in which nothing may happen
    assert world.asked == asked

    async def at_once() -> int:
        await asyncio.sleep(0.15)  # older than what may be shown again without asking
        before: int = world.asked
        await asyncio.gather(*(site.client.get(path) for path in ("/", "/api/services", "/api/runs", "/metrics")))
        return int(world.asked) - before

    # On a busy machine four pages may take longer than a moment.
    await until(at_once, lambda asked: asked == 1)
