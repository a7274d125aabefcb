"""The world as probes see it: each fault has the outcome that decides what is done about it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orchestrator.config.load import load
from orchestrator.core.probe import OutcomeKind
from orchestrator.local.world import World
from providers.base import FaultKind
from providers.probes.client import Probes
from real.system import until


@pytest.fixture
async def probes() -> AsyncIterator[Probes]:
    made = Probes()
    yield made
    await made.close()


async def test_each_fault_has_its_outcome(world: World, probes: Probes) -> None:
    """A healthy region completes, a black hole is unreachable, a killed server refuses, a liar fails its inference."""
    (service,) = load(world.topology).services
    paris = next(endpoint for endpoint in service.endpoints if endpoint.id == "paris")
    health, chat = (next(probe for probe in paris.probes if probe.id == name) for name in ("health", "completion"))

    async def ask_health() -> OutcomeKind:
        return (await probes.ask(health, paris.url, name=service.name, fresh=True)).kind

    async def ask() -> tuple[OutcomeKind, OutcomeKind, bool]:
        first = await ask_health()
        second = await probes.ask(chat, paris.url, name=service.name, fresh=True)
        return first, second.kind, second.completed

    async def comes_to(*wanted: object) -> None:
        """A server that is too busy to answer in time is asked again."""
        await until(ask, lambda seen: seen == wanted, f"{wanted}")

    await comes_to(OutcomeKind.PASSED, OutcomeKind.PASSED, True)
    await world.inject(FaultKind.HOLLOW, "paris", key="lies")
    await comes_to(OutcomeKind.PASSED, OutcomeKind.FAILED, False)
    await world.clear("lies")
    await world.inject(FaultKind.KILL, "paris", key="kill")
    assert await ask() == (OutcomeKind.REFUSED, OutcomeKind.REFUSED, False)
    await world.clear("kill")
    await world.inject(FaultKind.BLACKHOLE, "alpha/paris", key="hole")
    assert await ask_health() is OutcomeKind.UNREACHABLE
    await world.clear("hole")
    await until(ask_health, lambda back: back in {OutcomeKind.PASSED, OutcomeKind.FAILED}, "it answers again")
