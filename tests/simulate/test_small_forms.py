"""The small forms in which the simulation tells the product's rules again say the same as the product."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import RunId
from orchestrator.core.steering import Fence, Routing, answer_for, full
from orchestrator.core.topology import Mode, Policy
from runbooks.plan import Plan, Step
from runbooks.planner import Ground, plan
from runbooks.simulate import doing, hands, running, serving
from runbooks.simulate.doing import Doing, told
from runbooks.simulate.setting import SHELF, setting
from workflows import attempting, failover, options, pace, service
from workflows.activities import pulse


def test_times_and_errors_are_the_products_own() -> None:
    """What is stale, what is final and what is overtaken: the same numbers and names."""
    assert serving.FRESH_S == options.FRESH_S
    assert serving.AGAIN_S == pace.LOOK_AGAIN_S
    assert service.HELD_CHECK.total_seconds() == serving.ASK_AFTER_S
    assert hands.SILENT_S == pulse.SILENT_S
    assert options.STEP_HEARTBEAT.total_seconds() == running.SILENCE_S
    assert failover.STALE_VERDICT.total_seconds() == running.STALE_VERDICT_S
    assert doing.OVERTAKEN == attempting.OVERTAKEN
    assert doing.FINAL <= attempting.FINAL


def a_plan() -> Plan:
    """A switchover in the first setting that allows one."""
    made = setting(Random(5), {})
    chat = replace(made.service, policy=Policy(mode=Mode.AUTOMATIC))
    home, target = chat.endpoints[0].id, chat.endpoints[1].id
    weights = full(chat.endpoints, home)
    routing = Routing(answer_for(chat.endpoints, weights), 5, Fence(1, "run-1", "steer", weights))
    move = Move(chat.id, MoveKind.SWITCHOVER, (home,), target, full(chat.endpoints, target))
    return plan(
        move, Ground(chat, routing, 1, SHELF), run=RunId("run-2"), trigger=Trigger("ann", "x"), book=made.books[0]
    )


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("kind", sorted(doing.FINAL | doing.OVERTAKEN | {"Transient"}))
def test_a_failure_is_told_as_the_product_tells_it(kind: str, tries: int) -> None:
    """In doubt whether anything landed, a step has failed; refused is only what surely had no effect."""
    for step in a_plan().steps:
        assert told(_under_way(step, tries), kind) is attempting.StepFailed(kind, "x", tries).event(step.work)


def _under_way(step: Step, tries: int) -> Doing:
    return Doing(step, back=False, tries=tries)
