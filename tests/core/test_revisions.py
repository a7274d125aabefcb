"""Revisions of the topology: which were good, and how many are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.crashes import Crash, Memory
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.revisions import (
    KEPT,
    KEPT_CHARACTERS,
    KEPT_GONE,
    Judged,
    Revision,
    document_of,
    judged,
    kept,
    last_good,
    left_behind,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CHAT, CODE, EU = ServiceId("chat"), ServiceId("code"), EndpointId("eu")
BAKE_S = 1800.0


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def revision(number: int, since: float = 0, until: float | None = None, says: str = "") -> Revision:
    ends = None if until is None else after(until)
    return Revision(number, says or f"d{number}", after(since), ends, "ann", document=says or f"d{number}", kept=True)


def crashed(began: float, seen: float, *, saved: bool = False) -> Memory:
    return Memory(CHAT, (Crash(after(began), after(seen), "eu was down", EU, saved),))


def judge(seen: Revision, *memories: Memory, now: float, silent: tuple[ServiceId, ...] = ()) -> Judged:
    return judged(seen, memories, silent=silent, bake_s=BAKE_S, now=after(now))


@pytest.mark.parametrize(
    ("until", "now", "good"), [(None, 29, False), (None, 30, True), (20, 500, False), (31, 500, True)]
)
def test_a_revision_bakes_before_it_is_good(until: float | None, now: float, good: bool) -> None:
    """Passing the gates is not enough: half an hour in force is, to its end or to this day."""
    found = judge(revision(1, 0, until), Memory(CHAT), now=now)
    assert found.good is good
    assert found.why


def test_a_crash_after_its_gates_takes_the_good_away() -> None:
    """It served for five hours and then chat went down: it is not good, and the reason says what and when."""
    found = judge(revision(1, 0, 310), crashed(300, 305), Memory(CODE), now=1000)
    assert not found.good
    assert found.why == ("chat: eu was down (at 2026-11-21 17:00:00Z)",)


def test_what_crashed_unsaved_needs_a_day_to_be_good_again() -> None:
    """A service that nothing saved speaks against its revision until all has served well for forty-eight bake times."""
    day = 24 * 60
    assert not judge(revision(1), crashed(60, 70), now=70 + day - 1).good
    assert judge(revision(1), crashed(60, 70), now=70 + day).good


def test_what_was_saved_bakes_anew() -> None:
    """An outage that a failover met as planned delays the revision by a bake time from its endpoint's recovery."""
    assert not judge(revision(1), crashed(60, 70, saved=True), now=99).good
    assert judge(revision(1), crashed(60, 70, saved=True), now=100).good


def test_a_crash_of_another_time_is_not_its_fault() -> None:
    """What crashed before a revision came in force, or after its end, does not speak against it, however long."""
    assert judge(revision(2, 60), crashed(59, 500), now=100).good
    assert judge(revision(1, 0, 60), crashed(60, 70), now=100).good


def test_silence_is_not_health() -> None:
    """A service that does not answer, or has lost its memory, leaves every revision unproven: the reason names it."""
    assert judge(revision(1), now=100, silent=(CODE,)).why == ("how code served is not known: it does not answer",)
    forgot = Memory(CHAT, since=after(80))
    assert "made anew" in judge(revision(1), forgot, now=100).why[0]
    assert not judge(revision(1, 0, 70), forgot, now=100).good
    assert judge(revision(1), forgot, now=110).good


def test_a_thousand_crashes_are_one_sentence() -> None:
    """After a region's loss three services are named, and the others are counted."""
    crash = crashed(50, 55).crashes
    memories = tuple(Memory(ServiceId(f"s{n}"), crash) for n in range(1000))
    found = judge(revision(1), *memories, now=60)
    assert len(found.why) == 4
    assert found.why[-1] == "and 997 more like that"


def test_the_last_good_says_something_else_than_what_is_in_force() -> None:
    """The newest good one is chosen that differs from what is in force, and whose document is still there."""
    same, old, lost = revision(4, says="now"), revision(2), Revision(3, "d3", NOON)
    every = tuple(Judged(each, good=True, why=()) for each in (revision(5, says="now"), same, lost, old, revision(1)))
    assert last_good(every, "now") == old
    assert last_good(every[:2], "now") is None


def test_a_bad_night_does_not_drive_out_what_served_for_a_month() -> None:
    """Twenty attempts within the hour later the revision that stood for a month is still there."""
    past: tuple[Revision, ...] = ()
    past = kept(past, revision(1, -43200, 0), bake_s=BAKE_S)
    for n in range(2, 22):
        past = kept(past, revision(n, n, n + 1), bake_s=BAKE_S)
    assert [each.number for each in past] == [*range(21, 12, -1), 1]


spans = st.tuples(st.integers(1, 100), st.integers(0, 400_000), st.integers(0, 3))


@given(st.lists(spans, max_size=25))
def test_what_is_kept_is_bounded(stood: list[tuple[int, int, int]]) -> None:
    """However many revisions there are and however large: few in number and in characters, newest first."""
    past: tuple[Revision, ...] = ()
    at = 0.0
    for number, (minutes, size, says) in enumerate(stood, 1):
        name = f"{says}-{size}"
        over = Revision(number, name, after(at), after(at + minutes), document=(name * size)[:size] or name)
        past, at = kept(past, over, bake_s=BAKE_S), at + minutes
        assert len(past) <= KEPT
        assert sum(len(each.document) for each in past) <= KEPT_CHARACTERS
        numbers = [each.number for each in past]
        assert numbers == sorted(set(numbers), reverse=True)
        assert numbers[0] == number or over.stood_s(after(at)) < BAKE_S
        texts = [each.document for each in past if each.document]
        assert len(texts) == len(set(texts))
        if size < KEPT_CHARACTERS and numbers[0] == number:
            assert len(document_of(past[0], past)) > 0 or sum(len(text) for text in texts) + size > KEPT_CHARACTERS


@given(st.integers(0, 5000), st.integers(1, 6000), st.integers(0, 6000), st.booleans())
def test_good_is_only_what_served_well_for_the_bake_time(began: int, until: int, lasted: int, saved: bool) -> None:
    """No revision is good that stood for less, or in which a crash ended less than a bake time before its end."""
    found = judge(revision(1, 0, until), crashed(began, began + lasted, saved=saved), now=20_000)
    calm = until - min(began + lasted, until) if began < until else until
    if found.good:
        assert calm >= 30
    assert found.good or found.why


def test_services_that_left_are_remembered_within_bounds() -> None:
    """How the last few had served that left the topology is kept; who has nothing to say takes no room."""
    gone: tuple[Memory, ...] = ()
    for n in range(100):
        crash = crashed(n, n).crashes
        gone = left_behind(gone, (Memory(ServiceId(f"s{n}"), crash), Memory(ServiceId(f"t{n}"))))
    assert len(gone) == KEPT_GONE
    assert gone[0].service == "s99"
    again = left_behind(gone, (Memory(ServiceId("s99"), crashed(200, 201).crashes),))
    assert len(again[0].crashes) == 2
