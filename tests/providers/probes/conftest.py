"""Every probe test runs on both event loops that a worker may choose, with clients of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from providers.probes import Probes


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def probes() -> AsyncIterator[Probes]:
    """The probe clients, closed at the end."""
    made = Probes()
    yield made
    await made.close()
