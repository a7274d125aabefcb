"""What is taken out of a shadow's plans, whatever the runbook."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, RunId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.rehearsal import shadow_of
from orchestrator.core.steering import Fence, Routing
from orchestrator.core.topology import Shares, Workload
from real.scenery import AT_HOME, AWAY, EU, US, at_home, service
from runbooks.books import book
from runbooks.plan import Analyse, Call, Demote, Drain, FenceOff, Plan, Promote
from runbooks.planner import Ground, plan
from workflows.pretending import PRETENDED, UNREHEARSED, pretending, taken_for_promoted

REAL = Promote | Drain | FenceOff | Demote | Call
"""What touches more than the canary record."""


def made(name: str, kind: MoveKind) -> Plan:
    away, there, routing = kind is not MoveKind.FAILBACK, shadow_of(service()), at_home()
    assert there.steering is not None
    assert routing.fence is not None
    there = replace(there, steering=replace(there.steering, provider="local", shares=Shares.WEIGHTED))
    if not away:
        routing = replace(routing, answer=there.endpoint(US).answer, fence=replace(routing.fence, weights=AWAY))
    source, target, after = (EU, US, AWAY) if away else (US, EU, AT_HOME)
    failing = (Domain("alpha/paris"),) if kind is MoveKind.FAILOVER else ()
    return plan(
        Move(there.id, kind, (source,), target, after, failing),
        Ground(there, routing, 1),
        run=RunId("chat.drill-20240101-000000-0001"),
        trigger=Trigger("automatic", "because"),
        book=book(name),
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("region-failover", MoveKind.FAILOVER),
        ("switchover", MoveKind.SWITCHOVER),
        ("failback", MoveKind.FAILBACK),
        ("canary-shift", MoveKind.SWITCHOVER),
    ],
)
def test_nothing_in_a_pretended_plan_touches_what_is_real(name: str, kind: MoveKind) -> None:
    """Capacity and hooks are out of it; every other step stands as it was, in the same order, after the same steps."""
    real = made(name, kind)
    pretended = pretending(real)
    assert any(isinstance(step.work, REAL) for step in real.steps)
    assert not any(isinstance(step.work, REAL) for step in pretended.steps)
    for before, after in zip(real.steps, pretended.steps, strict=True):
        assert (before.id, before.after, before.when, before.generation) == (
            after.id,
            after.after,
            after.when,
            after.generation,
        )
        if isinstance(before.work, REAL):
            assert after.text == PRETENDED + before.text
            assert after.undo is None
        elif not isinstance(before.work, Analyse):
            assert after == before
        if isinstance(after.work, Analyse):
            assert all(each.room is None for each in after.work.gainers)


def test_what_a_cold_standby_cannot_be_put_to_is_named_in_the_plan() -> None:
    """Where the target runs nothing its proof is taken out with its promotion, and each step says that it was."""
    real = made("canary-shift", MoveKind.SWITCHOVER)
    cold = replace(real, objections=(Objection("target-cold", "us is cold"),))
    steps = {step.id: step for step in pretending(cold, (US,)).steps}
    assert steps["promote"].text.startswith(UNREHEARSED)
    assert steps["verify"].text.startswith(UNREHEARSED)
    looked = [step for step in steps.values() if isinstance(step.work, Analyse)]
    assert looked
    for step in looked:
        assert isinstance(step.work, Analyse)
        assert (step.work.analysis, step.work.room) == (None, None)
        assert step.text.startswith(UNREHEARSED)
    assert not any(step.text.startswith(UNREHEARSED) for step in pretending(real, (US,)).steps), "it runs"
    assert not any(step.text.startswith(UNREHEARSED) for step in pretending(cold, (EU,)).steps)


def test_only_a_cold_standby_that_the_shadow_went_to_is_taken_for_promoted() -> None:
    """Silent as before it counts as healthy; the one that the drill put its canary at, and any other, do not."""
    there = shadow_of(service())
    cold = replace(there.endpoint(US), workload=Workload("fake", "us", serving=2, standby=0))
    there = replace(there, endpoints=(there.endpoint(EU), cold))
    found = tuple(Assessment(each, Verdict.DOWN, "refused", None, None, False) for each in (EU, US))
    moved = Routing(cold.answer, 1, Fence(8, RunId("chat.drill-20240101-000000-0001"), "steer", AWAY))
    assert [each.verdict for each in taken_for_promoted(found, there, moved)] == [Verdict.DOWN, Verdict.HEALTHY]
    put = replace(moved, fence=Fence(8, RunId("drill-d-1"), "canary", AWAY))
    home = replace(moved, fence=Fence(8, RunId("chat.drill-20240101-000000-0001"), "steer", AT_HOME))
    for routing in (put, home, None):
        assert taken_for_promoted(found, there, routing) == found
    warm = shadow_of(service())
    assert taken_for_promoted(found, warm, moved) == found
