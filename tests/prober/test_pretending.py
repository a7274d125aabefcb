"""Probers that are told to see a fault: they ask really, and see it only there, and only then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest
from prober.conftest import Watch
from prober.servers import answers, site

from orchestrator.core.health import Health
from orchestrator.core.rehearsal import Pretence
from orchestrator.core.topology import ProbeSpec, Service
from orchestrator.prober import PretendingProbes
from providers.base import FaultKind

Make = Callable[..., Service]
Spec = Callable[..., ProbeSpec]


def pretence(url: str, fault: str = "process-kill", *, since_s: float = 0.0, for_s: float = 60.0) -> Pretence:
    since = datetime.now(UTC) + timedelta(seconds=since_s)
    return Pretence("d-1", url, fault, since, since + timedelta(seconds=for_s))


@pytest.fixture
async def told() -> AsyncIterator[Watch]:
    made = Watch(PretendingProbes())
    yield made
    await made.end()


def pretend(watch: Watch, what: Pretence | None) -> None:
    assert isinstance(watch.probes, PretendingProbes)
    watch.probes.pretend(what)


@pytest.mark.parametrize("fault", ["region-blackhole", "process-kill", "errors-5xx"])
async def test_the_fault_is_seen_at_its_endpoint_alone_and_ends_when_it_is_taken_out(
    told: Watch, service: Make, fault: str
) -> None:
    """One endpoint is down in the prober's eyes, though it answers; the others, and the truth afterwards, are as ever.

    What was taken out cannot be put in again: a word that arrives late does nothing.
    """
    async with site(answers()) as good, site(answers()) as other:
        told.begin(service(a=good.url, b=other.url))
        await told.until(a=Health.HEALTHY, b=Health.HEALTHY)
        put = pretence(good.url, fault)
        pretend(told, put)
        seen = await told.until(a=Health.DOWN, b=Health.HEALTHY)
        assert f"drill d-1: told to see {fault}" in seen["a"].detail
        asked = len(good.asked)
        pretend(told, None)
        pretend(told, put)
        await told.until(a=Health.HEALTHY, b=Health.HEALTHY)
        assert len(good.asked) > asked, "it was asked all the while"
        assert not any(report.isolated for report in told.reports)


async def test_it_begins_and_ends_by_the_clock(told: Watch, service: Make) -> None:
    """Told early, seen from its moment on; and over at its deadline though nobody says so."""
    async with site(answers()) as good, site(answers()) as other:
        told.begin(service(a=good.url, b=other.url))
        await told.until(a=Health.HEALTHY)
        began = monotonic()
        pretend(told, pretence(good.url, since_s=0.4, for_s=2.0))
        await told.until(a=Health.DOWN)
        assert monotonic() - began >= 0.4
        await told.until(a=Health.HEALTHY)
        assert monotonic() - began >= 2.4


async def test_a_black_hole_takes_as_long_to_see_as_a_real_one(told: Watch, service: Make, spec: Spec) -> None:
    """Silence lasts until the probe loses patience, so that what a drill measures can be believed."""
    patient = spec(interval_s=0.2, timeout_s=0.5)
    async with site(answers()) as good:
        told.begin(service(a=(good.url, patient)))
        await told.until(a=Health.HEALTHY)
        pretend(told, pretence(good.url, FaultKind.BLACKHOLE))
        began = monotonic()
        seen = await told.until(a=Health.DOWN)
        assert monotonic() - began >= 0.5
        assert seen["a"].detail
