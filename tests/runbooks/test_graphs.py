"""Plans that are graphs, run at random: outcomes, people, interruptions. They end, and never make it worse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import IllegalTransition
from orchestrator.core.move import MoveKind
from orchestrator.core.names import EndpointId
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Workload
from runbooks.course import Close, Do, Hold, Undo, next_actions, released
from runbooks.plan import Demote, FenceOff, Plan, Promote, Steer, Step, Wait, When
from runbooks.progress import Event, Progress, StepState, advance, begin, returning, switched

HELD = {StepState.DONE, StepState.FAILED, StepState.ASKING, StepState.UNDOING}
"""States in which something is there to be put back."""
BEGUN = {StepState.RUNNING, StepState.DONE, StepState.FAILED, StepState.ASKING}
LONGEST = 400
"""Events after which a run that has not ended is said to live for ever."""
US, WORKLOAD = EndpointId("us"), Workload("local", "us", serving=3, standby=1)


@pytest.fixture(scope="session")
def ordinary(request: pytest.FixtureRequest) -> Plan:
    """An ordinary plan, whose steps are replaced."""
    world = request.getfixturevalue("worlds")()
    plan: Plan = world.plan(world.move(MoveKind.SWITCHOVER))
    return plan


Shape = tuple[MoveKind, tuple[tuple[str, dict[str, Any]], ...]]


def graph(chance: Random) -> Shape:
    """The kind of a move, and what its steps are: each comes after some of those before it."""
    rules = {
        "steer": ["rollback", "halt", "ask"],
        "demote": ["halt", "continue", "ask"],
        "fence": ["halt", "continue", "ask"],
    }
    steps: list[tuple[str, dict[str, Any]]] = []
    for number in range(chance.randint(1, 7)):
        what = chance.choice(["wait", "wait", "promote", "promote", "steer", "demote", "fence"])
        names = [f"s{earlier}" for earlier in range(number)]
        returns = what in {"promote", "steer"} and chance.randint(0, 3) > 0
        more = {
            "id": f"s{number}",
            "after": tuple(chance.sample(names, min(number, chance.randint(0, 3)))),
            "when": chance.choice([When.ALWAYS] * 3 + [When.PLANNED, When.UNPLANNED]),
            "on_failure": chance.choice(rules.get(what, ["rollback", "halt", "continue", "ask"])),
            "undo": "put it back" if returns else None,
        }
        steps.append((what, more))
    return chance.choice([MoveKind.SWITCHOVER, MoveKind.FAILOVER]), tuple(steps)


def built(ordinary: Plan, kind: MoveKind, steps: tuple[tuple[str, dict[str, Any]], ...]) -> Plan:
    steer = next(step.work for step in ordinary.steps if isinstance(step.work, Steer))
    works = {
        "wait": Wait(1.0),
        "promote": Promote(US, WORKLOAD, 3),
        "steer": steer,
        "demote": Demote(US, WORKLOAD, 1, steer.steering, 0.0),
        "fence": FenceOff(US, WORKLOAD),
    }
    made = (Step(work=works[what], timeout_s=1.0, attempts=1, text=what, **more) for what, more in steps)
    return replace(ordinary, kind=kind, steps=tuple(made))


def coming_before(plan: Plan) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for step in plan.steps:
        found[step.id] = set(step.after).union(*(found[each] for each in step.after))
    return found


class Walk:
    """One run: several steps under way at once, outcomes at random, and people who interfere a few times."""

    def __init__(self, plan: Plan, chance: Random) -> None:
        self.plan, self.chance = plan, chance
        self.before = coming_before(plan)
        self.progress = begin(plan)
        self.steps = {step.id: step for step in plan.steps}
        self.log: list[tuple[str, Event | bool]] = []
        self.patience = chance.randint(0, 8)
        self.bad = chance.randint(0, 4)
        self.releases = chance.random() < 0.5

    def tell(self, step: str, event: Event) -> None:
        self.log.append((step, event))
        self.progress = advance(self.progress, step, event, "so it was")

    def run(self) -> Close:
        for _ in range(LONGEST):
            if self.releases:
                self.release()
            actions = next_actions(self.plan, self.progress)
            assert actions
            assert len(actions) == 1 or all(isinstance(each, Do | Undo) for each in actions)
            if self.patience and not self.chance.randint(0, 3):
                self.patience -= 1
                self.interfere()
                continue
            match actions[0]:
                case Close():
                    return actions[0]
                case Hold(step=step):
                    self.answer(step)
                case _:
                    self.go_on(self.chance.choice(actions))
        raise AssertionError(f"it does not end: {self.log[-20:]}")

    def release(self) -> None:
        """What a driver does that lets go of steps which only look, once the run goes no further."""
        freed = released(self.plan, self.progress)
        for name, state in tuple(self.progress.states):
            if freed.state(name) is not state:
                assert isinstance(self.steps[name].work, Wait)
                self.tell(name, Event.SKIP)
        assert self.progress.states == freed.states

    def go_on(self, action: Any) -> None:
        name, state = action.step.id, self.progress.state(action.step.id)
        if isinstance(action, Undo):
            if state is not StepState.UNDOING:
                self.may_go_back(action.step)
                self.tell(name, Event.UNDO)
                return
            outcomes = [Event.SUCCEED_UNDO, Event.FAIL_UNDO, Event.STALE]
        elif state is not StepState.RUNNING:
            self.may_begin(action.step)
            self.tell(name, Event.START)
            return
        else:
            outcomes = [Event.SUCCEED, Event.FAIL, Event.REFUSE, Event.ASK, Event.STALE, Event.START]
        event = outcomes[0]
        if self.bad and not self.chance.randint(0, 2):
            self.bad -= 1
            event = self.chance.choice(outcomes[1:])
        self.tell(name, event)

    def may_begin(self, step: Step) -> None:
        """A step that begins is part of the move, nobody holds the run, and what it comes after is over."""
        assert not self.progress.paused
        assert not self.progress.aborted
        assert not self.progress.stale
        assert not returning(self.progress)
        assert step.when.holds(planned=self.progress.planned)
        for name in self.before[step.id]:
            state, earlier = self.progress.state(name), self.steps[name]
            if state in {StepState.FAILED, StepState.REFUSED}:
                assert name not in self.progress.fallen or earlier.on_failure == "continue"
            elif state is StepState.PENDING:
                overtaken = any(name in self.before[other] for other, event in self.log if event is Event.START)
                assert overtaken or not earlier.when.holds(planned=self.progress.planned)
            else:
                assert state in {StepState.DONE, StepState.SKIPPED}

    def may_go_back(self, step: Step) -> None:
        """What is put back is put back last first, and never behind a step that has no way back."""
        assert not any(state is StepState.RUNNING for _, state in self.progress.states)
        for name, state in self.progress.states:
            later, landed = self.steps[name], state in BEGUN
            assert not (landed and isinstance(later.work, Demote | FenceOff))
            assert not (landed and isinstance(later.work, Steer) and not (later.undo and self.progress.planned))
            assert not (later.undo and state in HELD and step.id in self.before[name])

    def interfere(self) -> None:
        """A person does something to the run, as far as it can be done."""
        event = self.chance.choice([Event.SKIP, Event.RETRY, Event.ABORT, Event.PAUSE, Event.RESUME, None])
        if event is None:
            planned = not self.progress.planned
            self.log.append(("", planned))
            self.progress = switched(self.plan, self.progress, planned=planned)
            return
        name = self.chance.choice(sorted(self.steps))
        if event is Event.SKIP and isinstance(self.steps[name].work, Steer):
            return  # refused to people: without it the run is none
        try:
            self.tell(name, event)
        except IllegalTransition:
            self.log.pop()

    def answer(self, step: Step | None) -> None:
        """A person says what the run waits for."""
        if step is None:
            self.tell("", Event.RESUME)
            return
        able = [Event.ABORT, Event.RETRY, Event.SKIP]
        self.tell(step.id, self.chance.choice(able[: 1 if isinstance(step.work, Steer) else 3]))


def lived(ordinary: Plan, chance: Random) -> None:
    """One run of one graph, from its beginning to its end, by *chance*."""
    plan = built(ordinary, *graph(chance))
    walk = Walk(plan, chance)
    close = walk.run()
    progress = walk.progress
    assert not {state for _, state in progress.states} & {StepState.RUNNING, StepState.UNDOING}
    promises(plan, walk, close)
    # The state is all there is: whoever reads the same events comes to the same end.
    again = begin(plan)
    for name, event in walk.log:
        if isinstance(event, bool):
            again = switched(plan, again, planned=event)
        else:
            again = advance(again, name, event, "so it was")
    assert (again, next_actions(plan, again)) == (progress, (close,))


@settings(max_examples=150, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_every_graph_ends_and_never_makes_it_worse(ordinary: Plan, chance: Random) -> None:
    """Whatever fails and whoever interferes, a run of any shape ends, and its end is true."""
    lived(ordinary, chance)


@pytest.mark.parametrize("first", [0, 2000])
def test_so_do_thousands_of_seeds(ordinary: Plan, first: int) -> None:
    """The same for seeds that are drawn fast, for what happens in one run of a thousand."""
    for seed in range(first, first + 2000):
        try:
            lived(ordinary, Random(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def promises(plan: Plan, walk: Walk, close: Close) -> None:
    """What each way of ending promises."""
    progress = walk.progress
    landed = {step.id for step in plan.steps if progress.state(step.id) in HELD}
    match close.status:
        case RunStatus.COMPLETED:
            rules = {walk.steps[name].on_failure for name in progress.fallen}
            assert rules <= {"continue"} or (progress.aborted and one_way(plan, progress))
            for step in left(plan, progress):
                assert any(step.id in walk.before[other] for other, event in walk.log if event is Event.START)
        case RunStatus.UNDONE | RunStatus.ABORTED:
            assert not any(step.id in landed for step in plan.steps if step.undo)
            assert not one_way(plan, progress)
            assert progress.aborted is (close.status is RunStatus.ABORTED)
        case RunStatus.STALE:
            assert progress.stale
        case RunStatus.HALTED:
            failed_back = any(state is StepState.UNDO_FAILED for _, state in progress.states)
            halts = any(walk.steps[name].on_failure == "halt" for name in progress.fallen)
            assert failed_back or halts or one_way(plan, progress)
        case _:
            raise AssertionError(close.status)


def left(plan: Plan, progress: Progress) -> Iterator[Step]:
    """The steps of the move that were never taken up."""
    for step in plan.steps:
        if step.when.holds(planned=progress.planned) and progress.state(step.id) is StepState.PENDING:
            yield step


def one_way(plan: Plan, progress: Progress) -> bool:
    for step in plan.steps:
        if progress.state(step.id) not in BEGUN:
            continue
        if isinstance(step.work, Demote | FenceOff):
            return True
        if isinstance(step.work, Steer) and not (step.undo and progress.planned):
            return True
    return False


def test_a_wide_plan_costs_no_time(ordinary: Plan) -> None:
    """Forty branches in ten blocks, all left out: what comes next is found in one pass, not by every way there."""
    shape: list[tuple[str, dict[str, Any]]] = []
    after: tuple[str, ...] = ()
    for block in range(10):
        names = tuple(f"b{block}-{branch}" for branch in range(4))
        more = {"after": after, "when": When.UNPLANNED, "on_failure": "halt", "undo": None}
        shape += [("wait", {"id": name, **more}) for name in names]
        after = names
    shape.append(("wait", {"id": "last", "after": after, "when": When.ALWAYS, "on_failure": "halt", "undo": None}))
    plan = built(ordinary, MoveKind.SWITCHOVER, tuple(shape))
    assert next_actions(plan, begin(plan)) == (Do(plan.steps[-1]),)
