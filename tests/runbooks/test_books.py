"""Any runbook at all: it is told what is wrong with it, or it becomes a plan that can be carried out."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config.mistakes import Mistake, Mistakes
from orchestrator.core.move import Move, MoveKind
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Shares
from runbooks.books import Shelf
from runbooks.course import Close, Do, next_actions
from runbooks.parse import bind, read
from runbooks.plan import Plan, Steer
from runbooks.planner import Unplannable, text
from runbooks.progress import Event, advance, begin

HEAD = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: any}\nsteps:\n"
PLAIN = ["promote", "verify", "check", "approve", "converge", "drain", "fence", "demote"]
MORE = {
    "steer": ["", ", stages: [10, 60]", ", undo: false"],
    "wait": [", for: 1s"],
    "notify": [", text: moving"],
    "call": [", hook: {url: 'https://h.example.com'}, back: {url: 'https://h.example.com/b'}"],
    "runbook": [f", runbook: {name}" for name in ("promote-standby", "drain-endpoint", "canary-shift", "any")],
}
COMMON = [
    "",
    "",
    "",
    ", when: planned",
    ", when: unplanned",
    ", on_failure: ask",
    ", on_failure: halt",
    ", enabled: false",
]


def step(chance: Random, number: str, deep: int = 0) -> str:
    """A step as a person might write it, now and then a wrong one."""
    kind = chance.choice([*PLAIN, "steer", "steer", "wait", "notify", "call", "runbook", "parallel"])
    more = chance.choice(COMMON)
    if kind == "parallel":
        if deep > 2:
            kind = "verify"
        else:
            names = [[f"{number}-{a}{b}" for b in range(chance.randint(1, 2))] for a in "xy"[: chance.randint(1, 2)]]
            branches = ", ".join(f"[{', '.join(step(chance, name, deep + 1) for name in row)}]" for row in names)
            more = more if "on_failure" not in more else ""
            return f"{{id: {number}, type: parallel{more}, branches: [{branches}]}}"
    if kind == "runbook" and "on_failure" in more:
        more = ""
    return f"{{id: {number}, type: {kind}{more}{chance.choice(MORE.get(kind, ['']))}}}"


def lived(worlds: Any, chance: Random) -> str:
    """One book: what became of it."""
    steps = "".join(f"  - {step(chance, f's{n}')}\n" for n in range(chance.randint(1, 5)))
    wrong: tuple[Mistake, ...] = ()
    try:
        template = read(HEAD + steps, "any.yaml")
    except Mistakes as error:
        wrong = error.mistakes
    assert all(mistake.line and mistake.text for mistake in wrong)
    if wrong:
        return "mistakes"
    world = worlds()
    world.shelf = Shelf([template])
    world.service = replace(world.service, steering=replace(world.steering, provider="local", shares=Shares.WEIGHTED))
    kind = chance.choice(list(MoveKind))
    still = kind is MoveKind.PREPARATION
    move = Move(world.service.id, kind, (), "us", (("eu", 100), ("us", 0))) if still else world.move(kind)
    plan: Plan | None = None
    why = ""
    try:
        plan = world.plan(move, book_=bind(template))
    except Unplannable as error:
        why = str(error)
    assert "\n" not in why
    if plan is None:
        return "unplannable"
    sound(plan)
    return "plan"


def sound(plan: Plan) -> None:
    """What every plan promises whoever carries it out."""
    ids = [each.id for each in plan.steps]
    assert len(set(ids)) == len(ids)
    generation = plan.generation
    for number, each in enumerate(plan.steps):
        assert set(each.after) <= set(ids[:number])
        assert each.timeout_s > 0
        assert each.generation == generation
        assert not (set(each.text) | set(each.undo or "")) & {"\n", "\r"}
        if isinstance(each.work, Steer) and each.when.holds(planned=plan.planned):
            assert each.work.expects == generation
            generation += 1
    said = text(plan)
    assert all(f". {each.id}: " in said for each in plan.taken(planned=plan.planned))
    assert plan.longest_s >= plan.predicted_s >= 0
    progress = begin(plan)
    for _ in range(len(ids) + 1):
        actions = next_actions(plan, progress)
        if isinstance(actions[0], Close):
            break
        for action in actions:
            assert isinstance(action, Do)
            progress = advance(advance(progress, action.step.id, Event.START), action.step.id, Event.SUCCEED)
    (end,) = next_actions(plan, progress)
    assert isinstance(end, Close)
    assert end.status is RunStatus.COMPLETED


@settings(max_examples=60, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_any_book_is_answered_or_planned(worlds: Any, chance: Random) -> None:
    """Whatever is written, in whatever order, the answer is sentences or a plan that can be carried out."""
    lived(worlds, chance)


def test_many_books_are_answered_or_planned(worlds: Any) -> None:
    """The same for seeds that are drawn fast; all three answers occur among them."""
    seen: dict[str, int] = {}
    for seed in range(400):
        try:
            became = lived(worlds, Random(seed))
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}")
        seen[became] = seen.get(became, 0) + 1
    assert min(seen.get(name, 0) for name in ("mistakes", "unplannable", "plan")) > 20, seen
