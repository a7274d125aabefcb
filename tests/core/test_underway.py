"""A run that asks the safety rules again: what stands against its move in the light of now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core.building import AP, EU, US, endpoint, fenced, moves, rules, service, situation, situations
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import safety
from orchestrator.core.decision import Situation
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import RunId
from orchestrator.core.quorum import Verdict
from orchestrator.core.steering import Fence, full
from orchestrator.core.underway import UnderWay, still_against

RUN = RunId("chat-20250101-120000-0001")
TO_US = Move(service().id, MoveKind.FAILOVER, (EU,), US, full(service().endpoints, US))
PLANNED = replace(TO_US, kind=MoveKind.SWITCHOVER)


def found(move: Move = TO_US, *, by: str = "automatic", **changes: Any) -> list[str]:
    asked = {name: changes.pop(name, ()) for name in ("rules", "overrides")}
    return rules(still_against(situation(run=RUN, **changes), UnderWay(RUN, move, **asked), by=by))


def test_nothing_stands_against_a_move_that_is_as_good_as_before() -> None:
    """The source is still down and the target well: the run goes on, though it holds the service itself."""
    assert found() == []


def test_a_target_that_fell_meanwhile_stands_against_it() -> None:
    """The target is down now: whoever started the run, it does not go on."""
    fallen = {"us": Verdict.DOWN}
    assert found(verdicts=fallen) == ["target-down", "target-not-proven"]
    assert "target-down" in found(verdicts=fallen, by="ann")


def test_a_source_that_came_back_stands_against_a_failover_that_has_not_steered() -> None:
    """Traffic is not taken from an endpoint that works again."""
    assert "source-healthy" in found(verdicts={"eu": Verdict.HEALTHY})


def test_once_our_own_write_stands_the_move_is_not_asked_for_again() -> None:
    """After the steer traffic is where it should be, and the old endpoint may be well again: that is no objection."""
    routing = replace(fenced(service(), US), fence=Fence(8, RUN, "steer", TO_US.after))
    assert found(verdicts={"eu": Verdict.HEALTHY}, routing=routing) == []


def test_somebody_elses_write_is_not_taken_for_ours() -> None:
    """Traffic is at the target by another run's hand: this run has nothing to move there any more."""
    assert found(routing=fenced(service(), US)) == ["already-there"]


def test_a_hand_edit_meanwhile_stands_against_everything() -> None:
    """The answer was changed outside: no rule that somebody set aside lets that pass."""
    edited = replace(fenced(service(), EU), answer=fenced(service(), AP).answer)
    assert "changed-outside" in found(routing=edited, by="ann", overrides=("changed-outside",))


def test_a_person_sets_the_same_rules_aside_as_when_they_asked() -> None:
    """Service paused: automation stops at that, and a person's own run was started all the same."""
    assert found(paused="ann: maintenance") == ["paused"]
    assert found(paused="ann: maintenance", by="ann") == []


def test_a_rule_that_the_runbook_names_is_asked_of_a_persons_run_too() -> None:
    """check: {rules: [paused]} in a runbook means it, unless the run overrides just that."""
    assert found(paused="ann: maintenance", by="ann", rules=("paused",)) == ["paused"]
    assert found(paused="ann: maintenance", by="ann", rules=("paused",), overrides=("paused",)) == []
    assert found(verdicts={"us": Verdict.DOWN}, rules=("paused",)) == []


def test_a_rule_that_does_not_exist_is_no_silent_pass() -> None:
    """A typing mistake in a check is said, and not taken for a rule that is kept."""
    assert found(rules=("target-dwon",)) == ["target-dwon"]


@pytest.mark.parametrize("target", [Verdict.HEALTHY, Verdict.DOWN])
def test_a_preparation_is_asked_about_its_target_alone(target: Verdict) -> None:
    """No traffic moves, so nothing about the steering stands against it; a target that is down does."""
    move = Move(service().id, MoveKind.PREPARATION, (), US, ())
    chat = service(endpoint("eu"), endpoint("us"), steering=None)
    against = found(move, by="ann", chat=chat, routing=None, verdicts={"eu": Verdict.HEALTHY, "us": target})
    assert against == ([] if target is Verdict.HEALTHY else ["target-down", "target-not-proven"])


@given(situations().flatmap(lambda now: st.tuples(st.just(now), moves(now))))
def test_nothing_but_the_rules_stands_against_a_run(case: tuple[Situation, Move]) -> None:
    """Total, and never stricter than the rules are: every objection is one of theirs, and a person meets no more."""
    now, move = case
    against: tuple[Objection, ...] = still_against(now, UnderWay(RUN, move), by="automatic")
    assert {each.rule for each in against} <= set(safety.NAMES)
    assert set(still_against(now, UnderWay(RUN, move), by="ann")) <= set(against)
