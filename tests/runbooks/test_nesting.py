"""Runbooks in runbooks, and branches beside one another: what becomes of their steps in a plan."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.move import MoveKind
from runbooks.books import Shelf
from runbooks.model import Runbook
from runbooks.nesting import unnested
from runbooks.parse import Template, bind, parse, read
from runbooks.plan import Plan, Verify, When
from runbooks.planner import Unplannable


def template(name: str, steps: str, parameters: str = "{}") -> Template:
    head = f"apiVersion: failover/v1\nkind: Runbook\nmetadata: {{name: {name}}}\nparameters: {parameters}\nsteps:\n"
    return read(head + steps, f"{name}.yaml")


STEER = "  - {id: steer, type: steer}\n"
ASK = template(
    "ask",
    "  - {id: look, type: verify, passes: {param: passes}}\n  - {id: tell, type: notify, text: asked, when: planned}\n",
    "{passes: {type: integer, default: 2}}",
)


def flat(*own: Template) -> Runbook:
    """The first of *own* with the steps of those that it names."""
    return unnested(bind(own[0]), Shelf(own))


def planned(world: Any, *own: Template, kind: MoveKind = MoveKind.SWITCHOVER) -> Plan:
    world.shelf = Shelf(own)
    plan: Plan = world.plan(world.move(kind), book_=bind(own[0]))
    return plan


def after(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {step.id: step.after for step in plan.steps}


# ------------------------------------------------------------------ nested


def test_the_steps_of_a_nested_runbook_stand_in_its_place(world: Any) -> None:
    """Under ids of their own, with the values that they are given; what comes after them waits for the last."""
    outer = template("outer", "  - {id: pre, type: runbook, runbook: ask, with: {passes: 5}}\n" + STEER)
    plan = planned(world, outer, ASK)
    assert after(plan) == {"pre.look": (), "pre.tell": ("pre.look",), "steer": ("pre.tell",)}
    look = plan.steps[0].work
    assert isinstance(look, Verify)
    assert look.passes == 5


def test_when_and_undo_of_both_count() -> None:
    """A step is part of a move only where the outer and the inner step are; no undo outside is none inside."""
    steps = "  - {{id: a, type: runbook, runbook: ask, when: {}, undo: false}}\n"
    for when, left in (("always", ["always", "planned"]), ("planned", ["planned"] * 2), ("unplanned", ["unplanned"])):
        book = flat(template("outer", steps.format(when)), ASK)
        assert [str(step.when) for step in book.steps] == left
        assert not any(step.undo for step in book.steps)


def test_a_runbook_that_is_switched_off_is_left_out() -> None:
    """Off outside is off inside; a step that is off inside stays off."""
    off = template("off", "  - {id: a, type: verify, enabled: false}\n  - {id: b, type: verify}\n")
    outer = template(
        "outer",
        "  - {id: one, type: runbook, runbook: off}\n  - {id: two, type: runbook, runbook: off, enabled: false}\n",
    )
    assert [step.id for step in flat(outer, off).steps] == ["one.b"]


def test_a_circle_is_refused_with_the_way_round() -> None:
    """A runbook that contains itself would never end."""
    one = template("one", "  - {id: a, type: runbook, runbook: two}\n")
    two = template("two", "  - {id: p, type: parallel, branches: [[{id: b, type: runbook, runbook: one}]]}\n")
    with pytest.raises(BadInput, match="runbook 'one' contains itself, by one -> two -> one; break the circle"):
        flat(one, two)


def test_runbooks_stand_in_one_another_only_so_deep() -> None:
    """Five in one another are enough to read, and six are refused with their names."""
    chain = [template(f"b{n}", f"  - {{id: s, type: runbook, runbook: b{n + 1}}}\n") for n in range(7)]
    chain.append(template("b7", "  - {id: s, type: verify}\n"))
    assert [step.id for step in flat(*chain[2:]).steps] == ["s.s.s.s.s.s"]
    with pytest.raises(BadInput, match="more than 5 deep: b1 -> b2"):
        flat(*chain[1:])


def test_what_is_missing_is_named(world: Any) -> None:
    """A runbook that there is not, and a value that does not fit, are why there is no plan."""
    for text, said in (
        ("runbook: asc", "no runbook is called 'asc' (did you mean 'ask'?)"),
        ("runbook: ask, with: {passes: soon}", "parameter 'passes' of runbook 'ask': 'soon' is not a whole number"),
        ("runbook: ask, with: {pases: 1}", "runbook 'ask' has no parameter 'pases'"),
    ):
        with pytest.raises(Unplannable) as caught:
            planned(world, template("outer", f"  - {{id: a, type: runbook, {text}}}\n" + STEER), ASK)
        assert said in str(caught.value)


# ------------------------------------------------------------------ side by side

BRANCHES = """\
  - {id: first, type: verify}
  - id: beside
    type: parallel
    branches:
      - - {id: up, type: promote}
        - {id: look, type: verify}
      - - {id: hold, type: wait, for: 30s}
      - - {id: never, type: wait, for: 1s, enabled: false}
  - {id: steer, type: steer}
"""


def test_branches_begin_together_and_are_waited_for_together(world: Any) -> None:
    """Each branch comes after the step before; what follows comes after the last of each that has steps."""
    plan = planned(world, template("outer", BRANCHES))
    assert after(plan) == {
        "first": (),
        "up": ("first",),
        "look": ("up",),
        "hold": ("first",),
        "steer": ("look", "hold"),
    }


def test_a_branch_of_which_nothing_is_left_holds_up_nobody(world: Any) -> None:
    """Where the target has no workload, promote is in no plan; a parallel without any step is no gap either."""
    world.cname()
    only = BRANCHES.replace("        - {id: look, type: verify}\n", "")
    assert after(planned(world, template("outer", only)))["steer"] == ("hold",)
    nothing = "  - {id: first, type: verify}\n  - {id: p, type: parallel, branches: [[{id: up, type: promote}]]}\n"
    assert after(planned(world, template("outer", nothing + STEER))) == {"first": (), "steer": ("first",)}


def test_branches_take_when_and_undo_from_their_parallel(world: Any) -> None:
    """A parallel for planned moves holds steps for planned moves, and one without undo holds none that have one."""
    text = BRANCHES.replace("type: parallel", "type: parallel\n    when: planned\n    undo: false")
    plan = planned(world, template("outer", text.replace("for: 30s", "for: 30s, when: unplanned")))
    held = {step.id: step for step in plan.steps if step.id in {"up", "look", "hold"}}
    assert {step.when for step in held.values()} == {When.PLANNED}
    assert sorted(held) == ["look", "up"]
    assert held["up"].undo is None


def test_what_nesting_brings_together_without_sense_is_refused(world: Any) -> None:
    """Two steps of one name, steers beside others, and steps on the wrong side of the steer: each is said by name."""
    move = template("move", STEER)
    done = template("done", "  - {id: drain, type: drain}\n")
    up = template("up", "  - {id: promote, type: promote}\n")
    inside = "{id: in, type: runbook, runbook: move}"
    for steps, said in (
        (f"  - {{id: p, type: parallel, branches: [[{inside}], [{{id: w, type: wait, for: 1s}}]]}}\n", "'in.steer'"),
        (f"  - {{id: a, type: runbook, runbook: done}}\n  - {inside}\n", "'a.drain' of runbook 'outer' stands where"),
        (f"  - {inside}\n  - {{id: a, type: runbook, runbook: up}}\n", "'a.promote' of runbook 'outer' stands where"),
        (f"  - {inside}\n" + STEER, "does not have exactly one step that steers in planned moves"),
        ("  - {id: drain-eu, type: wait, for: 1s}\n" + STEER + "  - {id: drain, type: drain}\n", ""),
    ):
        if said:
            with pytest.raises(Unplannable) as caught:
                planned(world, template("outer", steps), move, done, up)
            assert said in str(caught.value)
        else:
            world.three()
            names = world.move(MoveKind.SWITCHOVER, source=("eu", "us"), target="ap")
            with pytest.raises(Unplannable, match="two steps that would be called 'drain-eu'"):
                world.plan(names, book_=bind(template("outer", steps)))


def test_a_runbook_that_would_do_nothing_is_no_plan(world: Any) -> None:
    """A run that is complete without a single step would say that something was made ready."""
    empty = parse(
        "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: rest}\nsteps:\n"
        "  - {id: calm, type: wait, for: 1s, enabled: false}\n",
        "rest.yaml",
    )
    with pytest.raises(Unplannable, match="runbook 'rest' would do nothing: its steps are switched off"):
        world.plan(world.move(MoveKind.PREPARATION), book_=empty)
