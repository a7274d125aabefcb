"""Worlds for tests: quick models, short streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from orchestrator.core.topology import Workload
from orchestrator.local.layout import ModelSettings
from orchestrator.local.world import World

QUICK = ModelSettings(slots=8, queue=4, load_s=0.4, first_token_s=0.01, token_s=0.01, tokens=10)

Opener = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Start a world with fields of its model settings replaced, and end it with the block."""

    @contextlib.asynccontextmanager
    async def start(**model: float) -> AsyncIterator[World]:
        async with World.start(tmp_path / "world", model=replace(QUICK, **model)) as world:
            yield world

    return start


@pytest.fixture
async def world(opened: Opener) -> AsyncIterator[World]:
    async with opened() as started:
        yield started


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as made:
        yield made


@pytest.fixture
def handle(world: World) -> Workload:
    """The workload of the active region, as a topology names it."""
    return Workload("local", "paris", 2, 1, (("world", world.control),))


@pytest.fixture
def chat() -> Callable[..., dict[str, object]]:
    """The body of a completion request."""

    def body(**more: object) -> dict[str, object]:
        return {"model": "demo-8b", "messages": [{"role": "user", "content": "ok?"}], "stream": True, **more}

    return body


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Wait until a coroutine function answers something true. Raises TimeoutError."""

    async def wait(condition: Callable[[], Awaitable[object]], *, within_s: float = 45.0) -> None:
        async with asyncio.timeout(within_s):
            while not await condition():  # noqa: ASYNC110  # another process changes it; there is no event here
                await asyncio.sleep(0.02)

    return wait
