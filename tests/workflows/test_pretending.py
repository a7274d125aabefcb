"""What is taken out of a shadow's plans, whatever the runbook."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import Domain, RunId
from orchestrator.core.rehearsal import shadow_of
from real.scenery import AT_HOME, AWAY, EU, US, at_home, service
from runbooks.books import book
from runbooks.plan import Analyse, Call, Demote, Drain, FenceOff, Plan, Promote
from runbooks.planner import Ground, plan
from workflows.pretending import PRETENDED, pretending

REAL = Promote | Drain | FenceOff | Demote | Call
"""What touches more than the canary record."""


def made(name: str, kind: MoveKind) -> Plan:
    away, there, routing = kind is not MoveKind.FAILBACK, shadow_of(service()), at_home()
    assert there.steering is not None
    assert routing.fence is not None
    there = replace(there, steering=replace(there.steering, provider="local"))
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
            assert after.work.room is None
