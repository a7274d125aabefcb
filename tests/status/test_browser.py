"""The page in a real browser."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

from orchestrator.core.quorum import Verdict
from orchestrator.history import Store
from orchestrator.status import create_app, serve
from real.chromium import Chromium, installed
from real.ports import free_port

pytestmark = pytest.mark.skipif(installed() is None, reason="Chromium is not installed")

LIVE = "document.body.classList.contains('live')"
SAYS = "document.getElementById('page').innerText.includes({!r})"


async def test_no_page_is_wider_than_a_phone(site: Any, world: Any, worlds: ModuleType, browser: Chromium) -> None:
    """At 390 and at 320 pixels nothing sticks out sideways, whatever is shown, in light and in dark."""
    failing = worlds.failing(worlds.utc_now())
    world.services, world.records = failing.services, failing.records
    tab = await browser.open(site.url, width=390, dark=True)
    await tab.until(LIVE)
    for path in ("/", "/runs/chat-20260301-0007", "/runs/embed-20260228-0003", "/drills/weekly-2026-02-28", "/none"):
        await tab.go(site.url + path)
        assert await tab.overflow() == 0, path
    narrow = await browser.open(site.url, width=320)
    assert await narrow.overflow() == 0
    world.away = "Temporal at temporal.a-rather-long-name.internal.example.com:7233 cannot be reached"
    await narrow.until(SAYS.format("control plane is away"))
    assert await narrow.overflow() == 0


async def test_the_page_is_whole_without_javascript(site: Any, browser: Chromium) -> None:
    """With scripts off everything is there, laid out, and the page renews itself."""
    tab = await browser.open(site.url, javascript=False)
    await tab.until(SAYS.format("Everything is serving"))
    assert await tab.evaluate("document.querySelectorAll('table.services tbody').length") == 4
    assert await tab.evaluate("document.querySelector('noscript meta[http-equiv=refresh]') !== null")
    height = "document.querySelector('.weight').getBoundingClientRect().height"
    assert await tab.evaluate(height) > 0


async def test_changes_reach_an_open_page(site: Any, world: Any, worlds: ModuleType, browser: Chromium) -> None:
    """An open page follows by itself: verdict, title, spoken headline; what did not change is not touched."""
    tab = await browser.open(site.url)
    await tab.until(LIVE)
    await tab.evaluate("window.kept = document.getElementById('part-past'); document.getElementById('run-2').focus()")
    world.put(worlds.status("chat", now=worlds.utc_now(), verdicts={"us": Verdict.DOWN}))
    await tab.until(SAYS.format("chat is down"))
    assert await tab.evaluate("window.kept.isConnected")
    assert str(await tab.evaluate("document.title")).startswith("✕ chat is down")
    assert await tab.evaluate("document.getElementById('spoken').textContent") == "chat is down"
    assert await tab.evaluate("document.activeElement.id") == "run-2"
    world.away = "Temporal cannot be reached"
    await tab.until("document.querySelector('.head.away') !== null")
    first = await tab.evaluate("document.querySelector('.head time[data-age]').textContent")
    await tab.until(f"document.querySelector('.head time[data-age]').textContent !== {first!r}")
    world.away = ""
    await tab.until("document.querySelector('.head.away') === null")


async def test_a_page_that_lost_its_server_says_so_and_comes_back(world: Any, store: Store, browser: Chromium) -> None:
    """A server that ends does not wait for its viewers; they say how old their page is, and return by themselves."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serving = asyncio.create_task(serve(create_app(world, store, every_s=0.1), "127.0.0.1", port))
    await asyncio.sleep(0)  # it listens from its first step on
    tab = await browser.open(url)
    await tab.until(LIVE)
    began = time.monotonic()
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    assert time.monotonic() - began < 2
    # The page's clock is put ahead instead of waiting until silence is long enough to tell.
    await tab.evaluate("performance.now = ((real) => () => real() + 60000)(performance.now.bind(performance))")
    await tab.until("document.getElementById('lost').innerText.includes('lost its server')")
    serving = asyncio.create_task(serve(create_app(world, store, every_s=0.1), "127.0.0.1", port))
    await tab.until("document.getElementById('lost').hidden && !document.body.classList.contains('cut')")
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def test_nothing_from_outside_runs_in_the_browser(
    site: Any, world: Any, worlds: ModuleType, browser: Chromium
) -> None:
    """A service named like a script stays a name, on the page as loaded and as it arrives by the stream."""
    tab = await browser.open(site.url)
    await tab.until(LIVE)
    evil = "<img src=x onerror='window.owned=1'><script>window.owned=1</script>"
    world.put(worlds.status(evil, now=worlds.utc_now()))
    await tab.until(SAYS.format("onerror"))
    assert await tab.evaluate("window.owned === undefined")
    await tab.go(site.url)
    assert await tab.evaluate("window.owned === undefined && document.images.length === 0")


async def test_the_policy_lets_the_page_work(site: Any, browser: Chromium) -> None:
    """The content security policy blocks nothing that the page itself needs."""
    tab = await browser.open(site.url)
    await tab.until(LIVE)
    sheets = "[...document.styleSheets].every((sheet) => sheet.cssRules.length > 50)"
    assert await tab.evaluate(f"document.styleSheets.length === 1 && {sheets}")
    await tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<i id=probe style=\"color: red\">x</i>')")
    assert await tab.evaluate("getComputedStyle(document.getElementById('probe')).color !== 'rgb(255, 0, 0)'")


async def test_every_state_has_a_word_and_a_shape(site: Any, world: Any, worlds: ModuleType, browser: Chromium) -> None:
    """Without colour each verdict is still told: by its word, and by a shape of its own."""
    world.services = worlds.failing(worlds.utc_now()).services
    tab = await browser.open(site.url)
    pairs = await tab.evaluate(
        "[...document.querySelectorAll('.tile .verdict')].map((v) => "
        "v.querySelector('use').getAttribute('href') + ' ' + v.innerText.trim())"
    )
    assert set(pairs) == {"#m-bad down", "#m-good healthy", "#m-warn degraded"}
    await tab.evaluate("document.querySelector('.skip').focus()")
    roles = "[...document.querySelectorAll('main, header, footer, nav, h1')].map((e) => e.localName)"
    assert sorted(await tab.evaluate(roles)) == ["footer", "h1", "header", "main", "nav"]
