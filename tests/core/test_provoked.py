"""What a drill's fault brings about is told apart from real trouble, and in doubt the trouble is real."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.provoked import LINGER, Faulted, provoked_by, put_in, taken_out
from orchestrator.core.quorum import Assessment, Verdict

EU, US = EndpointId("eu"), EndpointId("us")
NOW = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
MOVE = Move(ServiceId("chat"), MoveKind.FAILOVER, (EU,), US, ((EU, 0), (US, 100)))
LASTS_S = 100.0


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


IN = put_in(None, "d-1", EU, at(LASTS_S), NOW)


def whose(
    known: Faulted | None = IN, move: Move = MOVE, *, bad: float = 5, down: float = 8, now: float = 9
) -> str | None:
    """Whose doing a move is: of an endpoint that began to fail at *bad*, and was found down at *down*."""
    seen = Assessment(EU, Verdict.DOWN, "down", NOW, at(bad), False, 3)
    return provoked_by(known, move, (seen,), ((EU, at(down)),), at(now))


def test_the_failover_that_the_fault_brings_about_is_the_drills() -> None:
    """It leaves the drilled endpoint, which began to fail, and was found down, with the fault in."""
    assert whose() == "d-1"
    assert whose(taken_out(IN, "d-1", at(6))) == "d-1", "ended early: the verdict came a little after the fault was out"
    assert provoked_by(IN, MOVE, (), ((EU, at(8)),), at(9)) == "d-1", "nobody says since when it fails"


REAL = [
    pytest.param({"known": None}, id="no-drill"),
    pytest.param({"move": replace(MOVE, source=(US,), target=EU)}, id="another-endpoint"),
    pytest.param({"move": replace(MOVE, source=(EU, US))}, id="another-endpoint-as-well"),
    pytest.param({"move": replace(MOVE, kind=MoveKind.FAILBACK)}, id="no-failover"),
    pytest.param({"bad": -5, "down": -2}, id="down-before-it"),
    pytest.param({"bad": 101, "down": 104, "now": 105}, id="after-it-expired"),
    pytest.param(
        {"known": taken_out(IN, "d-1", at(20)), "bad": 21, "down": 25, "now": 26}, id="after-it-was-taken-out"
    ),
    pytest.param({"now": LASTS_S + LINGER.total_seconds() + 1}, id="long-after"),
]


@pytest.mark.parametrize("facts", REAL)
def test_everything_else_is_real(facts: dict[str, object]) -> None:
    """Other endpoints, other times and other moves are no rehearsal, though a drill is under way."""
    assert whose(**facts) is None  # type: ignore[arg-type]  # the arguments of whose, by name


def test_a_late_word_puts_no_fault_back_in() -> None:
    """Said twice it is said once, and one that comes after the end is too late; another drill is another one."""
    assert put_in(IN, "d-1", EU, at(500), at(50)) == IN
    out = taken_out(IN, "d-1", at(20))
    assert out is not None
    assert out.until == at(20)
    assert put_in(out, "d-1", EU, at(500), at(30)) == out
    assert taken_out(out, "d-1", at(90)) == out
    assert taken_out(IN, "d-2", at(20)) == IN, "another drill's fault"
    assert taken_out(None, "d-1", at(20)) is None
    assert put_in(out, "d-2", US, at(500), at(200)).endpoint == US


def test_a_fault_that_expired_was_out_then() -> None:
    """Taken out late, it ends when it came out by itself: what happened in between is real."""
    late = taken_out(IN, "d-1", at(400))
    assert late is not None
    assert late.until == at(LASTS_S)
    assert whose(late, bad=200, down=205, now=206) is None


@given(bad=st.floats(-300, 300), lag=st.floats(0, 100), decided=st.floats(0, 200), out=st.floats(0, 300))
def test_a_shorter_fault_never_explains_more(bad: float, lag: float, decided: float, out: float) -> None:
    """Whatever is a drill's while its fault was taken out early would be so had it stayed in, and not the reverse."""
    down, now = bad + lag, bad + lag + decided
    early, later = taken_out(IN, "d-1", at(out)), IN
    if whose(early, bad=bad, down=down, now=now) is not None:
        assert whose(later, bad=bad, down=down, now=now) is not None
        assert at(down) >= NOW
        assert at(bad) <= at(out)
