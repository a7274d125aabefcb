"""Crashes: what a service remembers of the times at which it did not serve as it should."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.crashes import PER_REVISION, REVISIONS, Crash, ended, noted, ran
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.record import Record, RunStatus

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EU, US = EndpointId("eu"), EndpointId("us")
HOME = ((EU, 100), (US, 0))
BLIP_S = 10.0


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def look(
    crashes: tuple[Crash, ...],
    seconds: float,
    *,
    eu: float | None = None,
    us: float | None = None,
    revision: int = 1,
    known: bool = True,
) -> tuple[Crash, ...]:
    """*crashes* after a look *seconds* after noon; *eu* and *us*: since when each is down, None: it is well."""
    down = [(EU, eu), (US, us)]
    found = tuple(
        Assessment(name, Verdict.HEALTHY if since is None else Verdict.DOWN, "down from 2 of 3", None, None, True)
        for name, since in down
    )
    return noted(
        crashes,
        found,
        weights=HOME if known else None,
        since=tuple((name, at(since)) for name, since in down if since is not None),
        blip_s=BLIP_S,
        revision=revision,
        now=at(seconds),
    )


def record(kind: MoveKind, status: RunStatus, drill: str | None = None) -> Record:
    return Record(
        run=RunId("chat-1"),
        service=ServiceId("chat"),
        kind=kind,
        trigger=Trigger("automatic", "eu is down"),
        status=status,
        started=at(12),
        objective_s=60.0,
        source=(EU,),
        target=US,
        before=HOME,
        after=((EU, 0), (US, 100)),
        revision=1,
        generation=1,
        runbook="region-failover",
        steps=(),
        drill=drill,
    )


def test_what_carries_traffic_and_stays_down_is_a_crash() -> None:
    """After longer than a blip it is noted, from when it was found down, and it lasts until the last look at it."""
    crashes = look((), 5, eu=0)
    assert crashes == ()
    crashes = look(look(crashes, 10, eu=0), 70, eu=0)
    assert [(each.began, each.seen, each.endpoint, each.saved) for each in crashes] == [(at(0), at(70), EU, False)]
    (over,) = look(crashes, 80)
    assert (over.seen, over.over) == (at(80), True)
    assert look((over,), 500) == (over,)


def test_silence_ends_nothing() -> None:
    """An endpoint that nobody can say anything of is not well again; one that nobody calls down is."""
    crashes = look((), 20, eu=0)
    silent = (Assessment(EU, Verdict.UNKNOWN, "nobody says", None, None, False),)
    assert noted(crashes, silent, weights=HOME, since=(), blip_s=BLIP_S, revision=1, now=at(90)) == crashes
    assert ended(crashes, frozenset({EU}), at(90)) == crashes
    assert [(each.seen, each.over) for each in ended(crashes, frozenset(), at(90))] == [(at(90), True)]


def test_an_endpoint_that_is_taken_away_does_not_crash_for_ever() -> None:
    """It is gone from the topology: when it was last seen down is when its crash ended."""
    (over,) = noted(look((), 20, eu=0), (), weights=HOME, since=(), blip_s=BLIP_S, revision=2, now=at(90))
    assert (over.seen, over.over) == (at(20), True)


def test_a_standby_that_is_down_is_none() -> None:
    """Nobody was served by it: nothing crashed; nor where nobody knows where the traffic goes."""
    assert look((), 500, us=0) == ()
    assert look((), 500, eu=0, known=False) == ()


def test_a_second_outage_is_a_second_crash() -> None:
    """Down, well, and down again: two crashes, each with its own time."""
    crashes = look(look(look((), 20, eu=0), 50), 200, eu=100)
    assert [(each.began, each.seen) for each in crashes] == [(at(0), at(50)), (at(100), at(200))]


@pytest.mark.parametrize(
    ("status", "saved", "count"),
    [(RunStatus.COMPLETED, True, 1), (RunStatus.UNDONE, False, 1), (RunStatus.HALTED, False, 2)],
)
def test_an_unplanned_run_is_a_crash(status: RunStatus, saved: bool, count: int) -> None:
    """However well it went; one that brought the traffic to safety counts as saved, one that was given up does not."""
    since = ((EU, at(0)),)
    crashes = ran(look((), 11, eu=0), record(MoveKind.FAILOVER, status), since, revision=1, now=at(30))
    assert len(crashes) == count
    assert next(each for each in crashes if each.endpoint == EU).saved is saved
    later = look(crashes, 300, eu=0)
    assert next(each for each in later if each.endpoint == EU).seen == at(300)


def test_a_planned_run_is_a_crash_only_when_given_up() -> None:
    """A switchover that went well, or was put back, is none; one that was left half done is."""
    for status in (RunStatus.COMPLETED, RunStatus.UNDONE, RunStatus.ABORTED, RunStatus.STALE):
        assert ran((), record(MoveKind.SWITCHOVER, status), (), revision=1, now=at(30)) == ()
    (crash,) = ran((), record(MoveKind.SWITCHOVER, RunStatus.HALTED), (), revision=1, now=at(30))
    assert crash.text == "run chat-1 was given up half done"


def test_a_drills_own_run_is_none() -> None:
    """Neither its way home nor the failover that its fault has provoked is a crash, however it ends."""
    for status in RunStatus:
        assert ran((), record(MoveKind.FAILOVER, status, "d-1"), ((EU, at(0)),), revision=1, now=at(400)) == ()


looks = st.tuples(
    st.integers(1, 60),
    st.one_of(st.none(), st.integers(0, 40)),
    st.integers(1, 30),
    st.sampled_from([*RunStatus, None]),
)


@given(st.lists(looks, max_size=60))
def test_memory_is_bounded_and_keeps_the_last_crash(
    events: list[tuple[int, int | None, int, RunStatus | None]],
) -> None:
    """Whatever happens: a few crashes of the newest revisions are kept, and the last of the newest is among them."""
    crashes: tuple[Crash, ...] = ()
    now, revision = 0, 1
    for pause, down, step, status in events:
        now, revision = now + pause, revision + step // 20
        since = None if down is None else max(0, now - down)
        before = crashes
        crashes = look(crashes, now, eu=since, revision=revision)
        if status is not None:
            downs = ((EU, at(since)),) if since is not None else ()
            crashes = ran(crashes, record(MoveKind.FAILOVER, status), downs, revision=revision, now=at(now))
        assert len({each.revision for each in crashes}) <= REVISIONS
        for _, same in groupby(
            sorted(crashes, key=lambda c: (c.revision, c.saved)), key=lambda c: (c.revision, c.saved)
        ):
            assert len(list(same)) <= PER_REVISION
        if before:
            assert max(each.seen for each in crashes) >= max(each.seen for each in before)
