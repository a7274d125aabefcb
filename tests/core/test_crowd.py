"""The crowd: how much may move at one time, and what a person is asked about."""

from __future__ import annotations

from core.building import EU, US, rules, service, situation
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.crowd import Moving, changes, crowding, moving
from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import Domain, ServiceId
from orchestrator.core.orders import Limits
from orchestrator.core.steering import full

LIMITS = Limits(at_once=4, per_domain=2, change_guard=30)


def one(name: str, into: str = "cloud/us", evacuating: str | None = None) -> Moving:
    return Moving(ServiceId(name), (Domain(into),), Domain(evacuating) if evacuating else None)


def said(others: list[Moving], services: int = 100, candidate: Moving | None = None) -> list[str]:
    return rules(crowding(candidate or one("chat"), tuple(others), services, LIMITS))


def test_a_single_move_is_no_crowd() -> None:
    """The first service to move is never held up by the others, even where it is the only one there is."""
    assert said([], services=1) == []
    assert said([one("chat")], services=1) == []


def test_runs_at_one_time_are_bounded() -> None:
    """The fifth of four waits its turn, and is told who is on the move."""
    others = [one(name, f"cloud/{name}") for name in ("a", "b", "c", "d")]
    assert said(others[:3]) == []
    (objection,) = crowding(one("chat"), tuple(others), 100, LIMITS)
    assert objection.rule == "too-many-at-once"
    assert not objection.asks
    assert objection.text == (
        "'a', 'b', 'c', 'd' are on the move and 4 may be at one time; wait until one has arrived, or raise "
        "limits.at_once"
    )


def test_a_region_is_not_run_over() -> None:
    """No more than two services bring traffic to one region at one time; other regions are free."""
    others = [one("a"), one("b")]
    assert said(others) == ["too-many-at-once"]
    assert said(others, candidate=one("chat", "cloud/ap")) == []


def test_many_changes_at_once_are_a_persons_to_decide() -> None:
    """More than 30 % of all services at one time: somebody looks whether one cause is behind them."""
    others = [one("a", "cloud/a"), one("b", "cloud/b"), one("c", "cloud/c")]
    (objection,) = crowding(one("chat"), tuple(others), 13, LIMITS)
    assert (objection.rule, objection.asks) == ("change-guard", True)
    assert "that is 4 changes at one time among 13 services, more than 30 %" in objection.text
    assert said(others, services=14) == []
    assert rules(crowding(one("chat"), tuple(others), 4, Limits(change_guard=100))) == []


def test_an_evacuation_is_one_change() -> None:
    """All services that leave a region that several vantages found lost are one change, however many they are."""
    crowd = [one(f"s{number}", f"cloud/{number}", "cloud/eu") for number in range(300)]
    wide = Limits(at_once=1000, per_domain=1000)
    assert crowding(one("chat", evacuating="cloud/eu"), tuple(crowd), 300, wide) == ()
    assert changes((*crowd, one("chat"))) == 2
    assert crowding(one("chat"), tuple(crowd), 300, wide) == ()
    assert rules(crowding(one("chat"), tuple(crowd), 6, wide)) == ["change-guard"]


def test_a_move_is_seen_by_the_regions_that_it_brings_traffic_to() -> None:
    """What counts for a region is who comes to it."""
    chat = service()
    to_us = Move(chat.id, MoveKind.FAILOVER, (EU,), US, full(chat.endpoints, US))
    assert moving(to_us, situation(chat)) == Moving(chat.id, (Domain("cloud/us"),))
    assert moving(to_us, situation(chat), Domain("cloud/eu")).evacuating == "cloud/eu"


names = st.sampled_from(["a", "b", "c", "d", "e"])
domains = st.sampled_from(["cloud/a", "cloud/b"])
crowds = st.lists(st.builds(one, names, domains, st.none() | domains), max_size=8, unique_by=lambda each: each.service)
limits = st.builds(Limits, st.integers(1, 5), st.integers(1, 5), st.integers(1, 100))


@given(candidate=st.builds(one, names, domains, st.none() | domains), crowd=crowds, more=crowds, limits=limits)
def test_a_bigger_crowd_never_objects_less(
    candidate: Moving, crowd: list[Moving], more: list[Moving], limits: Limits
) -> None:
    """Whoever else begins to move is no reason to let one more move; an evacuation under way goes on."""
    before = rules(crowding(candidate, tuple(crowd), 10, limits))
    known = {each.service for each in crowd}
    same = candidate.evacuating
    others = [each for each in more if each.service not in known and (same is None or each.evacuating != same)]
    after = rules(crowding(candidate, (*crowd, *others), 10, limits))
    assert set(before) <= set(after)


@given(candidate=st.builds(one, names, domains, st.none() | domains), crowd=crowds, limits=limits)
def test_an_evacuation_that_nobody_corroborates_is_many_changes(
    candidate: Moving, crowd: list[Moving], limits: Limits
) -> None:
    """Without the word of several vantages that a region is lost, each service counts for itself."""
    alone = [Moving(each.service, each.into) for each in crowd]
    less = Moving(candidate.service, candidate.into)
    with_word = rules(crowding(candidate, tuple(crowd), 10, limits))
    without = rules(crowding(less, tuple(alone), 10, limits))
    assert set(with_word) <= set(without)
