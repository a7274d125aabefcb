"""Evacuation waves: what is important goes first, and what it stands on before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.evacuation import Leaving, waves
from orchestrator.core.names import EndpointId, ServiceId

EU = (EndpointId("eu"),)


def leaving(name: str, tier: int = 3, *depends: str) -> Leaving:
    return Leaving(ServiceId(name), EU, tier, tuple(ServiceId(each) for each in depends))


def names(*services: Leaving) -> list[list[str]]:
    return [[str(each.service) for each in wave] for wave in waves(services)]


def test_lower_tiers_go_first() -> None:
    """Tier 1 before 2 before 3; services of one tier go together."""
    assert names(leaving("batch"), leaving("chat", 1), leaving("code", 1), leaving("search", 2)) == [
        ["chat", "code"],
        ["search"],
        ["batch"],
    ]


def test_what_a_service_depends_on_goes_before_it_and_with_its_priority() -> None:
    """The embedding service of tier 3 moves before the chat of tier 1 that needs it, and before all of tier 2."""
    assert names(leaving("chat", 1, "embed"), leaving("embed", 3), leaving("search", 2)) == [
        ["embed"],
        ["chat"],
        ["search"],
    ]


def test_a_dependency_that_stays_holds_nobody_up() -> None:
    """What does not stand in the domain is no reason to wait."""
    assert names(leaving("chat", 1, "elsewhere")) == [["chat"]]


def test_services_that_depend_on_each_other_go_together() -> None:
    """A circle, and a service that depends on itself, hold nobody up."""
    assert names(leaving("a", 3, "b"), leaving("b", 3, "a"), leaving("c", 3, "c")) == [["c"], ["a", "b"]]


_NAMES = [f"s{number}" for number in range(8)]
_SERVICES = st.lists(
    st.builds(
        lambda name, tier, depends: leaving(name, tier, *sorted(depends)),
        st.sampled_from(_NAMES),
        st.integers(1, 5),
        st.sets(st.sampled_from(_NAMES), max_size=3),
    ),
    unique_by=lambda each: each.service,
)


@given(_SERVICES)
def test_everybody_leaves_once(services: list[Leaving]) -> None:
    """Whatever depends on whatever: each service is in exactly one wave."""
    gone = [each.service for wave in waves(tuple(services)) for each in wave]
    assert sorted(gone) == sorted(each.service for each in services)


@given(_SERVICES)
def test_nobody_leaves_before_what_it_depends_on(services: list[Leaving]) -> None:
    """Without circles a service is never in an earlier wave than its dependency, nor in the same."""
    ordered = [
        Leaving(each.service, each.endpoints, each.tier, tuple(d for d in each.depends if d < each.service))
        for each in services
    ]
    wave_of = {each.service: number for number, wave in enumerate(waves(tuple(ordered))) for each in wave}
    for each in ordered:
        for other in each.depends:
            assert other not in wave_of or wave_of[other] < wave_of[each.service]
