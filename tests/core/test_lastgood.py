"""Last good: a routing is good once it has served for its bake time, and not if it ended in a crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.lastgood import LastGood, Standing, left, seen
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
            revision=1,
            found=found(eu=verdict, us=Verdict.DOWN),
            now=NOON + timedelta(minutes=minutes),
        )
    return standing


def after(standing: Standing | None, minutes: float) -> LastGood | None:
    return left(standing, None, bake_s=BAKE_S, now=NOON + timedelta(minutes=minutes))


def test_what_served_for_the_bake_time_is_good() -> None:
    """Half an hour of health and then a planned move: that is where to go back to."""
    good = after(watched((0, Verdict.HEALTHY), (20, Verdict.HEALTHY)), 40)
    assert good == LastGood(HOME, 7, 1, NOON + timedelta(minutes=40))


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
    second = seen(first, weights=HOME, generation=8, revision=1, found=found(eu=Verdict.HEALTHY), now=later)
    assert second == Standing(HOME, 8, 1, later)


@given(st.lists(st.tuples(st.floats(0, 600), st.sampled_from(list(Verdict))), max_size=12), st.floats(600, 700))
def test_only_health_makes_good(moments: list[tuple[float, Verdict]], end: float) -> None:
    """Whatever is seen: good means seen healthy, and nothing bad since, for the bake time."""
    ordered = sorted(moments)
    good = after(watched(*ordered), end)
    spoiled = [n for n, (_, verdict) in enumerate(ordered) if verdict in {Verdict.DOWN, Verdict.DEGRADED}]
    since = max(spoiled, default=-1) + 1
    healthy = [minutes for minutes, verdict in ordered[since:] if verdict is Verdict.HEALTHY]
    assert (good is not None) == (bool(healthy) and (end - healthy[0]) * 60 >= BAKE_S)
