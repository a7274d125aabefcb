"""A stateful control plane, a real history, and the page served by the real server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from starlette.applications import Starlette

from orchestrator.history import Store
from orchestrator.status import create_app, serve
from real.chromium import Chromium
from real.ports import free_port

sys.path.insert(0, str(Path(__file__).parent))
import worlds as situations

EVERY_S = 0.1


@pytest.fixture
def worlds() -> ModuleType:
    """What a control plane and a history would say in many situations."""
    return situations


@pytest.fixture
def world() -> situations.World:
    """Four services, nothing wrong; tests change it and the page must follow."""
    return situations.well(situations.utc_now())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "history.db")
    runs, drills = situations.past(situations.utc_now())
    for run in runs:
        opened.publish_record(run)
    for drill in drills:
        opened.publish_drill(drill)
    yield opened
    opened.close()


@dataclass
class Site:
    """The page as people reach it."""

    url: str
    app: Starlette
    client: httpx.AsyncClient


async def _answers(url: str) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(200):
            with suppress(httpx.TransportError):
                await client.get(f"{url}/healthz")
                return
            await asyncio.sleep(0.01)
    raise RuntimeError("the page was not served")


@pytest.fixture
async def site(world: situations.World, store: Store) -> AsyncIterator[Site]:
    """The page of *world* and *store*, served on a free port until the test ends."""
    app = create_app(world, store, every_s=EVERY_S)
    port = free_port()
    serving = asyncio.create_task(serve(app, "127.0.0.1", port))
    url = f"http://127.0.0.1:{port}"
    try:
        await _answers(url)
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            yield Site(url, app, client)
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


@pytest.fixture
async def browser() -> AsyncIterator[Chromium]:
    async with Chromium() as started:
        yield started
