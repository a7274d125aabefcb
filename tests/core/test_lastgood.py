"""Last good: a routing is good once it has served for its bake time, and not if it ended in a crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.lastgood import Ground, LastGood, Standing, elsewhere, left, missing, seen
from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import Assessment, Verdict

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EU, US = EndpointId("eu"), EndpointId("us")
HOME, AWAY = ((EU, 100), (US, 0)), ((EU, 0), (US, 100))
BAKE_S = 1800.0


def found(**verdicts: Verdict) -> tuple[Assessment, ...]:
    return tuple(Assessment(EndpointId(name), verdict, "", None, None, True) for name, verdict in verdicts.items())


def watched(*moments: tuple[float, Verdict]) -> Standing | None:
    """What stands after eu, which carries everything, was seen so at each of *moments* (minutes after noon)."""
    standing: Standing | None = None
    for minutes, verdict in moments:
        standing = seen(
            standing,
            weights=HOME,
            generation=7,
            ground=Ground(1, "as it was"),
            found=found(eu=verdict, us=Verdict.DOWN),
            bake_s=BAKE_S,
            now=NOON + timedelta(minutes=minutes),
        )
    return standing


def after(standing: Standing | None, minutes: float) -> LastGood | None:
    return left(standing, None, bake_s=BAKE_S, now=NOON + timedelta(minutes=minutes))


def test_what_served_for_the_bake_time_is_good() -> None:
    """Half an hour of health and then a planned move: that is where to go back to."""
    good = after(watched((0, Verdict.HEALTHY), (20, Verdict.HEALTHY)), 40)
    assert good == LastGood(HOME, 7, 1, NOON + timedelta(minutes=40), "as it was")


def test_what_served_too_short_is_not() -> None:
    """Ten minutes prove nothing."""
    assert after(watched((0, Verdict.HEALTHY)), 10) is None


def test_what_crashed_later_than_its_gates_is_not_good() -> None:
    """It served for hours and then fell: what was good before it stays the last good."""
    before = LastGood(AWAY, 5, 1, NOON)
    fell = watched((0, Verdict.HEALTHY), (300, Verdict.DOWN))
    assert left(fell, before, bake_s=BAKE_S, now=NOON + timedelta(minutes=301)) == before


def test_a_relapse_begins_the_bake_anew() -> None:
    """Degraded after twenty minutes, well again: the half hour counts from there."""
    standing = watched((0, Verdict.HEALTHY), (20, Verdict.DEGRADED), (25, Verdict.HEALTHY))
    assert after(standing, 50) is None
    assert after(standing, 56) is not None


def test_silence_neither_bakes_nor_spoils() -> None:
    """Vantages that fall silent leave what is known; silence from the start makes nothing good."""
    assert after(watched((0, Verdict.HEALTHY), (20, Verdict.UNKNOWN)), 40) is not None
    assert after(watched((0, Verdict.UNKNOWN)), 40) is None


def test_a_new_generation_begins_anew() -> None:
    """Another write, even to the same weights, is another routing."""
    first = watched((0, Verdict.HEALTHY))
    later = NOON + timedelta(minutes=60)
    well = found(eu=Verdict.HEALTHY)
    second = seen(first, weights=HOME, generation=8, ground=Ground(1), found=well, bake_s=BAKE_S, now=later)
    assert second == Standing(HOME, 8, 1, later)


def under(*moments: tuple[float, int, Verdict]) -> Standing | None:
    """What stands after eu was seen so at each of *moments* (minutes after noon), and under which revision."""
    standing: Standing | None = None
    for minutes, revision, verdict in moments:
        now = NOON + timedelta(minutes=minutes)
        standing = seen(
            standing,
            weights=HOME,
            generation=7,
            ground=Ground(revision, "as it was"),
            found=found(eu=verdict),
            bake_s=BAKE_S,
            now=now,
        )
    return standing


@pytest.mark.parametrize(
    ("moments", "left_at", "revision"),
    [
        (((0, 7, Verdict.HEALTHY), (40, 8, Verdict.HEALTHY)), 45, 7),
        (((0, 7, Verdict.HEALTHY), (40, 8, Verdict.HEALTHY)), 70, 8),
        (((0, 7, Verdict.HEALTHY), (40, 8, Verdict.HEALTHY), (45, 9, Verdict.HEALTHY)), 50, 7),
        (((0, 7, Verdict.HEALTHY), (20, 8, Verdict.HEALTHY)), 45, 8),
        (((0, 7, Verdict.HEALTHY), (40, 8, Verdict.DOWN), (50, 8, Verdict.HEALTHY)), 85, 8),
    ],
)
def test_the_last_good_knows_under_which_topology_it_served(
    moments: tuple[tuple[float, int, Verdict], ...], left_at: float, revision: int
) -> None:
    """The newest revision counts under which it served for a whole bake time; where there is none, the last one."""
    good = after(under(*moments), left_at)
    assert good is not None
    assert good.revision == revision


def test_going_back_says_what_the_topology_lacks() -> None:
    """A last good routing of another revision is told of; one whose endpoint is gone names the command that helps."""
    good = LastGood(HOME, 7, 7, NOON, "as it was")
    assert elsewhere(good, Ground(7, "as it was")) == ""
    told = elsewhere(good, Ground(9, "otherwise"))
    assert "served well under revision 7 of the topology; revision 9 is in force: failover topology restore" in told
    same = elsewhere(good, Ground(9, "as it was"))
    assert same.endswith("revision 9, which is in force, says the same of this service")
    assert missing(good, (EU, US), revision=9) == ""
    lost = missing(good, (US,), revision=9)
    assert "sends traffic to eu, which is not in revision 9" in lost
    assert "failover topology restore --revision 7" in lost


@given(st.lists(st.tuples(st.floats(0, 600), st.sampled_from(list(Verdict))), max_size=12), st.floats(600, 700))
def test_only_health_makes_good(moments: list[tuple[float, Verdict]], end: float) -> None:
    """Whatever is seen: good means seen healthy, and nothing bad since, for the bake time."""
    ordered = sorted(moments)
    good = after(watched(*ordered), end)
    spoiled = [n for n, (_, verdict) in enumerate(ordered) if verdict in {Verdict.DOWN, Verdict.DEGRADED}]
    since = max(spoiled, default=-1) + 1
    healthy = [minutes for minutes, verdict in ordered[since:] if verdict is Verdict.HEALTHY]
    assert (good is not None) == (bool(healthy) and (end - healthy[0]) * 60 >= BAKE_S)
