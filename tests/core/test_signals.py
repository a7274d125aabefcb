"""Signals: evidence beside the probes, which may cast doubt or call for leaving, and never says that a thing works."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from core.building import AP, EU, NOW, US, rules, situation
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decision import Ask, Go, Hold, decide, in_order, wait_s
from orchestrator.core.move import MoveKind
from orchestrator.core.quorum import Verdict
from orchestrator.core.signals import KEPT_S, Effect, Evidence, gathered, remembered, said
from orchestrator.core.topology import Mode

SPOT = Evidence(EU, "spot", Effect.DRAIN, "reclaimed in 2 min", NOW, NOW - timedelta(seconds=30))


def test_a_notice_moves_traffic_away_in_good_time() -> None:
    """The endpoint still serves and its machine will be taken: a planned move goes, by itself in mode automatic."""
    decision = decide(situation(verdicts={"eu": Verdict.HEALTHY}, evidence=(SPOT,)))
    assert isinstance(decision, Go)
    assert (decision.move.kind, decision.move.source, decision.move.target) == (MoveKind.SWITCHOVER, (EU,), AP)


def test_the_mode_decides_what_a_notice_may_do() -> None:
    """Observe records, approval asks, manual waits for people."""
    facts = situation(verdicts={"eu": Verdict.HEALTHY}, evidence=(SPOT,))
    assert rules(decide(replace(facts, mode=Mode.OBSERVE)).reasons)[0] == "observe"  # type: ignore[union-attr]
    assert isinstance(decide(replace(facts, mode=Mode.APPROVAL)), Ask)
    assert isinstance(decide(replace(facts, mode=Mode.MANUAL)), Hold)


def test_what_only_casts_doubt_moves_nothing() -> None:
    """An alarm of a serving endpoint is told and no reason to leave it."""
    for effect in (Effect.NOTE, Effect.DOUBT):
        decision = decide(situation(verdicts={"eu": Verdict.HEALTHY}, evidence=(replace(SPOT, effect=effect),)))
        assert decision == Hold(())


def test_a_doubted_standby_is_tried_last_and_asks() -> None:
    """The endpoint that an alarm speaks against comes after the others; where it is the only one, a person decides."""
    doubt = replace(SPOT, endpoint=AP, effect=Effect.DOUBT)
    facts = situation(evidence=(doubt,))
    assert in_order(facts)[-1] == AP
    decision = decide(facts)
    assert isinstance(decision, Go)
    assert decision.move.target == US
    lonely = decide(replace(facts, evidence=(doubt, replace(doubt, endpoint=US))))
    assert isinstance(lonely, Ask)
    assert rules(lonely.reasons) == ["target-doubted"]
    assert "spot: reclaimed in 2 min, since 2025-01-01T11:59:30Z" in lonely.reasons[0].text


def test_notices_everywhere_leave_traffic_where_it_is() -> None:
    """Where each place is about to go, there is nowhere to go without a person."""
    evidence = tuple(replace(SPOT, endpoint=each) for each in (EU, AP, US))
    decision = decide(situation(verdicts={"eu": Verdict.HEALTHY}, evidence=evidence))
    assert isinstance(decision, Ask)
    assert "target-doubted" in rules(decision.reasons)


def test_a_notice_waits_for_the_cool_down() -> None:
    """A notice chases no run: the distance that automation keeps holds for it, too."""
    facts = situation(verdicts={"eu": Verdict.HEALTHY}, evidence=(SPOT,), last_closed=NOW - timedelta(seconds=10))
    assert isinstance(decide(facts), Hold)
    left = wait_s(facts)
    assert left is not None
    assert 0 < left <= 300


@given(st.lists(st.sampled_from([Effect.NOTE, Effect.DOUBT, Effect.DRAIN]), min_size=3, max_size=3))
def test_no_signal_makes_anything_healthy(effects: list[Effect]) -> None:
    """Whatever signals say, a target that no vantage knows to work is not moved to."""
    evidence = tuple(replace(SPOT, endpoint=e, effect=f) for e, f in zip((EU, AP, US), effects, strict=True))
    unknown = {"ap": Verdict.UNKNOWN, "us": Verdict.UNKNOWN}
    assert not isinstance(decide(situation(verdicts=unknown, evidence=evidence)), Go)


def test_the_latest_word_counts_and_old_words_are_forgotten() -> None:
    """Two vantages say the same signal once; what nobody renews is no evidence."""
    older = replace(SPOT, heard=NOW - timedelta(seconds=5), text="reclaimed in 3 min")
    assert gathered(SPOT, older) == gathered(older, SPOT) == (SPOT,)
    assert remembered((SPOT,), now=NOW + timedelta(seconds=KEPT_S)) == (SPOT,)
    assert remembered((SPOT,), now=NOW + timedelta(seconds=KEPT_S + 1)) == ()
    assert said((SPOT, replace(SPOT, signal="xid", since=None, text="3"))) == (
        "spot: reclaimed in 2 min, since 2025-01-01T11:59:30Z; xid: 3"
    )
