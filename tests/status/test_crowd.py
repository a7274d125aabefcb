"""A bad night: many runs under way at once, and what that costs those who look."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from real.chromium import Chromium, installed
from real.stage import until

RUNS = 12


def crowd(world: Any, worlds: ModuleType) -> None:
    """Twelve services with long names are moving, the last of them for the longest."""
    now = worlds.utc_now()
    for number in range(RUNS):
        name = f"a-model-with-a-rather-long-name-{number:02}"
        run = worlds.record(
            began=now - timedelta(seconds=4.35 + number), until=4.35, run=f"r-{number:02}", service=name
        )
        world.records[run.run] = run
        world.put(replace(worlds.status(name, now=now), run=run.run, run_started_by="automatic"))


async def following(site: Any, **params: str) -> Any:
    """The events of one viewer, as pairs of name and message."""
    async with site.client.stream("GET", "/events", params={"page": "/"} | params) as answer:
        assert "content-encoding" not in answer.headers
        name = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line[len("event: ") :]
            elif line.startswith("data: "):
                yield name, json.loads(line[len("data: ") :])


async def test_the_first_runs_are_shown_whole_and_every_other_in_a_line(
    site: Any, world: Any, worlds: ModuleType
) -> None:
    """The run that has used most of its objective comes first, and the services are not pushed out of sight."""
    crowd(world, worlds)
    page = (await site.client.get("/")).text
    assert page.count('<article class="card busy">') == 4
    at = [page.index(f"/runs/r-{number:02}") for number in range(RUNS)]
    assert at == sorted(at, reverse=True)
    assert page.index("More that is under way") < at[0] < page.index('id="part-services"')


async def test_only_what_changed_is_sent(site: Any, world: Any, worlds: ModuleType) -> None:
    """While runs move on, the table of services does not travel each second; a viewer knows its page already."""
    crowd(world, worlds)
    async with asyncio.timeout(90):
        events = following(site)
        name, whole = await anext(events)
        assert name == "page"
        assert 'id="part-services" aria' in whole["html"]
        async for name, message in events:
            if name == "page":
                assert '<div id="part-services" data-same></div>' in message["html"]
                assert "a-model-with-a-rather-long-name-03" in message["html"]
                assert len(message["html"]) < len(whole["html"])
                break
        await events.aclose()
        for run in world.records.values():
            world.put(worlds.status(run.service, now=worlds.utc_now()))
        world.records.clear()
        # What was seen a moment ago is shown again without asking.
        answer = await until(lambda: site.client.get("/"), lambda page: "/runs/r-00" not in page.text)
        page = answer.text
        mark = page.partition('data-mark="')[2].partition('"')[0]
        events = following(site, last=mark)
        assert (await anext(events))[0] == "tick"
        await events.aclose()


async def test_pages_travel_packed(site: Any) -> None:
    """A page of many services is mostly repetition."""
    answer = await site.client.get("/", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    answer = await site.client.get("/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in answer.headers


@pytest.mark.skipif(installed() is None, reason="Chromium is not installed")
async def test_a_crowded_page_fits_and_follows(site: Any, world: Any, worlds: ModuleType, browser: Chromium) -> None:
    """At 320 pixels nothing sticks out or is squeezed; parts that stay are kept; it says when its source is away."""
    crowd(world, worlds)
    tab = await browser.open(site.url, width=320)
    await tab.until("document.body.classList.contains('live')")
    assert await tab.overflow() == 0
    narrowest = "Math.min(...[...document.querySelectorAll('.more .what')].map(e => e.getBoundingClientRect().width))"
    assert await tab.evaluate(narrowest) > 150
    await tab.evaluate("window.kept = document.getElementById('part-services')")
    moving = "document.querySelector('.card .meter p').textContent"
    said = await tab.evaluate(moving)
    await tab.until(f"{moving} !== {json.dumps(said)}")
    assert await tab.evaluate("window.kept.isConnected")
    world.away = "Temporal at 127.0.0.1:7233 cannot be reached"
    await tab.until("document.getElementById('headline').textContent === 'The control plane is away'")
    world.away = ""
    await tab.until("document.getElementById('headline').textContent.endsWith('are moving')")
    assert await tab.evaluate("document.querySelectorAll('table.services tbody').length") == 4 + RUNS
