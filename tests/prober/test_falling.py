"""Which reports leave together: only those of many services that lose endpoints in one region at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.health import EndpointState, Health
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.quorum import Report
from orchestrator.core.topology import Service
from orchestrator.prober.falling import MANY, WITHIN_S, Falling
from real.scenery import EU, US, service

PARIS = Domain("alpha/paris")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def town(count: int = MANY + 5) -> list[Service]:
    return [service(f"s{number}") for number in range(count)]


def says(name: str, *down: EndpointId, isolated: bool = False) -> Report:
    """What a vantage says of a service of which *down* are down."""
    states = tuple(
        EndpointState(each, Health.DOWN if each in down else Health.HEALTHY, "", 1.0, 0.5, proven=False)
        for each in (EU, US)
    )
    return Report(ServiceId(name), VantageId("v1"), 0, "here", 1, 1, 1, isolated=isolated, states=states)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def falling(clock: Clock) -> Falling:
    found = Falling(clock)
    found.configure(town())
    return found


def test_a_few_go_by_themselves_and_many_together(falling: Falling) -> None:
    """The tenth service that falls within seconds makes it the region's event."""
    regions = [falling.region(says(f"s{number}", EU)) for number in range(MANY + 2)]
    assert regions == [None] * (MANY - 1) + [PARIS] * 3


def test_the_same_service_counts_once(falling: Falling) -> None:
    """One service that is reported again and again is no crowd."""
    assert {falling.region(says("s1", EU)) for _ in range(3 * MANY)} == {None}


def test_what_falls_one_after_the_other_is_no_event(falling: Falling, clock: Clock) -> None:
    """Services that fall half a minute apart go by themselves."""
    for number in range(MANY + 2):
        assert falling.region(says(f"s{number}", EU)) is None
        clock.now += WITHIN_S


def test_who_suspects_itself_speaks_of_no_region(falling: Falling) -> None:
    """A vantage that sees unrelated regions fail says so to each service, and loses none."""
    for number in range(MANY + 2):
        assert falling.region(says(f"s{number}", EU, isolated=True)) is None


def test_a_service_that_is_down_in_two_regions_is_its_own_event(falling: Falling) -> None:
    """Where no endpoint is left, there is nowhere to be led to."""
    for number in range(MANY + 2):
        assert falling.region(says(f"s{number}", EU, US)) is None


def test_a_standby_that_is_meant_to_be_off_does_not_fall(clock: Clock) -> None:
    """Standbys scaled to nothing do not answer, in every region and all the time."""
    off = [
        replace(each, endpoints=tuple(_off(endpoint) if endpoint.id == US else endpoint for endpoint in each.endpoints))
        for each in town()
    ]
    falling = Falling(clock)
    falling.configure(off)
    for number in range(MANY + 2):
        assert falling.region(says(f"s{number}", US)) is None
    assert [falling.region(says(f"s{number}", EU, US)) for number in range(MANY)][-1] == PARIS


def _off(endpoint):  # type: ignore[no-untyped-def]  # an Endpoint, as it is when it is off
    return replace(endpoint, workload=replace(endpoint.workload, standby=0))


def test_the_important_ones_are_known(clock: Clock) -> None:
    """A report travels with its tier and what its service stands on; one that nobody knows comes with the last."""
    falling = Falling(clock)
    falling.configure([replace(service("vip", tier=1), depends=(ServiceId("auth"),))])
    known, gone = falling.fallen(says("vip", EU)), falling.fallen(says("gone", EU))
    assert (known.tier, known.depends) == (1, ("auth",))
    assert (gone.tier, gone.depends) == (3, ())
