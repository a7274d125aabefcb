"""A saved plan against the world of now: what has moved is named, and where nothing has moved it is the same plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer, Shares
from runbooks.compare import WorldMoved, as_saved, moved
from runbooks.parse import parse
from runbooks.plan import Demote, Plan, Promote, Steer, Verify

Change = Callable[[Any], None]


def planned(world: Any, kind: MoveKind = MoveKind.SWITCHOVER) -> Plan:
    plan: Plan = world.plan(world.move(kind))
    return plan


def differences(world: Any, change: Change) -> list[str]:
    """What a plan that was saved before *change* would be refused for after it."""
    saved = planned(world)
    change(world)
    return list(moved(saved, planned(world)))


@pytest.mark.parametrize("kind", [MoveKind.FAILOVER, MoveKind.SWITCHOVER])
def test_nothing_has_moved_where_the_world_is_the_same(world: Any, kind: MoveKind) -> None:
    """The saved steps run as they are, in the name of whoever starts them now."""
    saved = planned(world, kind)
    now = replace(planned(world, kind), run=RunId("run-2"), trigger=Trigger("bo", "now"))
    assert list(moved(saved, now)) == []
    made = as_saved(saved, now)
    assert (made.steps, made.run, made.trigger.by) == (saved.steps, "run-2", "bo")


def test_how_long_steps_usually_take_is_no_difference(world: Any) -> None:
    """Expected durations are measured anew all the time."""
    saved = planned(world, MoveKind.SWITCHOVER)
    now = replace(saved, detection_s=3.0, steps=tuple(replace(step, expected_s=9.0) for step in saved.steps))
    assert list(moved(saved, now)) == []


def test_somebody_has_steered(world: Any) -> None:
    """Another generation and another answer are named once, not once per step."""

    def steer(world: Any) -> None:
        fence = Fence(43, "run-43", "steer", world.routing.fence.weights)
        world.routing = replace(world.routing, fence=fence)

    assert differences(world, steer) == ["it replaces generation 41, and 43 stands now: somebody has steered since"]


def test_the_fence_was_written_by_hand(world: Any) -> None:
    """The same generation under another name is another fence: the steer would be refused."""

    def rewrite(world: Any) -> None:
        world.routing = replace(world.routing, fence=replace(world.routing.fence, run="by-hand"))

    (said,) = differences(world, rewrite)
    assert said.startswith("step steer ")


def test_the_answer_was_edited(world: Any) -> None:
    """An answer that is another one than when the plan was saved is named with both."""

    def edit(world: Any) -> None:
        world.routing = replace(world.routing, answer=Answer("addresses", ("127.0.9.9",)))

    said = differences(world, edit)
    assert "the answer was 127.0.1.10 when it was saved, and is 127.0.9.9 now" in said


def test_the_target_has_another_capacity(world: Any) -> None:
    """Replicas in the steps are the capacity that was planned for."""

    def shrink(world: Any) -> None:
        endpoints = tuple(
            replace(e, workload=replace(e.workload, serving=2)) if e.workload else e for e in world.service.endpoints
        )
        world.service = replace(world.service, endpoints=endpoints)

    assert "step promote would scale us to 2, and was saved with 3" in differences(world, shrink)


def test_the_target_has_another_address(world: Any) -> None:
    """A step that would ask another place is another step."""
    saved = planned(world, MoveKind.SWITCHOVER)
    steps = tuple(
        replace(s, work=replace(s.work, place=replace(s.work.place, url="http://127.0.9.9:1")))
        if isinstance(s.work, Verify)
        else s
        for s in saved.steps
    )
    (said,) = moved(saved, replace(saved, steps=steps))
    assert said.startswith("step verify (")
    assert said.endswith("has other values now")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"service": ServiceId("embed")}, "the plan was saved for service 'embed', not for 'chat'; name its own"),
        ({"revision": 7}, "it was made from topology revision 7, and 3 is in force"),
        ({"target": "ap"}, "its target was 'ap', and would be 'us' now"),
        ({"source": ("ap",)}, "it takes the traffic from ap, which eu would lose now"),
        ({"kind": MoveKind.FAILBACK}, "it was saved as a failback, and would be a switchover now"),
        ({"runbook": "careful"}, "its runbook was 'careful', and would be 'switchover' now"),
        ({"book": "0123"}, "the text of runbook 'switchover' has changed since it was saved"),
        ({"values": (("hold", "5s"),)}, "runbook 'switchover' had hold 5s, and has "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_thing_that_a_plan_stands_on_is_named(world: Any, changes: dict[str, Any], said: str) -> None:
    """One sentence for each thing that is another one now."""
    now = planned(world, MoveKind.SWITCHOVER)
    now = replace(now, revision=3)
    assert any(said in text for text in moved(replace(now, **changes), now))


def test_steps_that_came_and_went_are_listed(world: Any) -> None:
    """Steps are named by their ids; the same ones in another order are told, too."""
    now = planned(world, MoveKind.SWITCHOVER)
    first, second, *_ = now.steps
    less = replace(now, steps=now.steps[1:])
    assert f"it has steps that the plan would not have now: {first.id}" in list(moved(now, less))
    assert f"it lacks steps that the plan would have now: {first.id}" in list(moved(less, now))
    assert list(moved(replace(now, steps=(second, first, *now.steps[2:])), now)) == ["its steps stand in another order"]
    longer = replace(now, steps=(replace(first, timeout_s=1.0), *now.steps[1:]))
    assert list(moved(longer, now)) == [f"step {first.id} has another timeout_s now"]


def test_whoever_changes_a_saved_plan_is_refused(world: Any) -> None:
    """Nothing in a file is believed: any step that is not what the planner makes now is a difference."""
    now = planned(world, MoveKind.SWITCHOVER)
    for index, step in enumerate(now.steps):
        work = step.work
        if isinstance(work, Promote | Demote):
            bad: Any = replace(work, replicas=99)
        elif "steering" in type(work).__dataclass_fields__:
            bad = replace(work, steering=replace(world.steering, primary="127.0.9.9:53"))  # type: ignore[call-arg]
        else:
            continue
        forged = replace(now, steps=(*now.steps[:index], replace(step, work=bad), *now.steps[index + 1 :]))
        with pytest.raises(WorldMoved) as caught:
            as_saved(forged, now)
        assert [text.startswith(f"step {step.id} ") for text in caught.value.texts] == [True]


GENTLY = parse(
    "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: gently}\nsteps:\n"
    "  - {id: shift, type: steer, stages: [5, 25]}\n",
    "gently.yaml",
)


def staged(world: Any, run: str) -> Plan:
    world.service = replace(world.service, steering=replace(world.steering, provider="local", shares=Shares.WEIGHTED))
    plan: Plan = world.plan(world.move(MoveKind.SWITCHOVER), book_=GENTLY, run=run)
    return plan


def test_a_saved_plan_in_stages_is_carried_out_in_the_name_of_its_run(world: Any) -> None:
    """A stage stands on the fence that the stage before it left: in the name of the run, not in that of the preview."""
    saved, now = staged(world, "preview"), staged(world, "run-2")
    assert list(moved(saved, now)) == []
    works = [step.work for step in as_saved(saved, now).steps]
    fences = [work.stands.run for work in works if isinstance(work, Steer) and work.stands]
    assert fences == ["run-41", "run-2", "run-2"]


def test_a_stage_upon_the_fence_of_somebody_else_is_a_difference(world: Any) -> None:
    """The name of the run alone may differ."""
    now = staged(world, "run-2")
    last: Any = now.steps[-1]
    fence = replace(last.work.stands, run="somebody")
    forged = replace(now, steps=(*now.steps[:-1], replace(last, work=replace(last.work, stands=fence))))
    assert [text.split(" (")[0] for text in moved(forged, now)] == [f"step {last.id}"]
