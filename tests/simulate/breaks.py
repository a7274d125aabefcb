"""Rules of the code, broken on purpose: each break is a mistake that somebody could make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from orchestrator.core import quorum, safety
from orchestrator.core.move import Move, Objection
from orchestrator.core.quorum import Verdict
from orchestrator.core.situation import Situation
from orchestrator.core.steering import Landing, Routing, SteeringChange
from orchestrator.core.topology import Answer, Endpoint, Weights
from runbooks import course, ground, planner, progress
from runbooks.course import Hold
from runbooks.ground import Case
from runbooks.model import BookStep
from runbooks.plan import Plan, Promote, Step, Verify
from runbooks.progress import Event, Progress, StepState, returning
from runbooks.simulate import hands, invariants, world
from runbooks.simulate.hands import Hands, Task
from runbooks.simulate.serving import ServiceSide

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Break:
    """One rule broken, and the invariant that must find it."""

    invariant: str
    mistake: str
    make: Callable[[Patch], None]
    weather: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.invariant}: {self.mistake}"


def without(*names: str) -> Callable[[Patch], None]:
    """Forget safety rules."""

    def make(patch: Patch) -> None:
        patch.setattr(safety, "RULES", tuple(rule for rule in safety.RULES if rule.name not in names))

    return make


# ------------------------------------------------------------------ the record


def empty_answers(patch: Patch) -> None:
    def answer_for(endpoints: tuple[Endpoint, ...], weights: Weights) -> Answer:
        chosen = {name for name, weight in weights if weight > 100}
        return Answer("addresses", tuple(e.answer.values[0] for e in endpoints if e.id in chosen and e.answer))

    patch.setattr(ground, "answer_for", answer_for)


def everybody_in_the_answer(patch: Patch) -> None:
    def answer_for(endpoints: tuple[Endpoint, ...], weights: Weights) -> Answer:
        return Answer("addresses", tuple(sorted(v for e in endpoints if e.answer for v in e.answer.values)))

    patch.setattr(ground, "answer_for", answer_for)


def no_prerequisites(patch: Patch) -> None:
    patch.setattr(world, "holds", lambda change, now: True)


def what_stands_is_replaced(patch: Patch) -> None:
    usual = Hands._write

    def write(self: Hands, change: SteeringChange, task: Task) -> Any:
        now = self._world.record
        if now.fence is not None and now.fence.token != change.fence.token:
            change = replace(change, expects=now.generation, was=now.answer, lineage=())
        return (yield from usual(self, change, task))

    patch.setattr(Hands, "_write", write)


def own_write_unknown(patch: Patch) -> None:
    def landing(change: SteeringChange, now: Routing) -> Landing:
        return Landing.OURS if now.generation > change.expects + 1 else Landing.NOT_YET

    patch.setattr(hands, "landing", landing)
    no_prerequisites(patch)


# ------------------------------------------------------------------ where traffic goes


def steps_do_not_wait(patch: Patch) -> None:
    patch.setattr(course, "_over", lambda *_, **__: True)


def nobody_proves_anything(patch: Patch) -> None:
    """Books lose their promotions, and verifications ask for nothing."""
    usual = planner.resolved

    def resolved(said: BookStep, case: Case) -> Iterator[Step]:
        for step in usual(said, case):
            if isinstance(step.work, Verify):
                yield replace(step, work=replace(step.work, passes=0))
            elif not isinstance(step.work, Promote):
                yield step

    patch.setattr(planner, "resolved", resolved)
    without("target-down", "target-unknown", "target-degraded", "target-not-proven", "everything-down")(patch)


def every_steer_returns(patch: Patch) -> None:
    patch.setattr(Case, "returns", property(lambda self: self.before is not None))
    patch.setattr(course, "one_way_step", lambda plan, progress: None)


def idle_is_not_looked_at(patch: Patch) -> None:
    def must_be_idle(self: Hands, name: str, task: Task) -> Any:
        yield 0.01

    patch.setattr(Hands, "_must_be_idle", must_be_idle)


# ------------------------------------------------------------------ deciding


def one_vantage_is_enough(patch: Patch) -> None:
    usual = quorum._verdict

    def verdict(ballot: Any, *, may_be_down: bool) -> Verdict:
        from orchestrator.core.health import Health

        return Verdict.DOWN if ballot.count(Health.DOWN) >= 1 else usual(ballot, may_be_down=may_be_down)

    patch.setattr(quorum, "_verdict", verdict)


def silence_is_no_objection(patch: Patch) -> None:
    usual = safety.objections

    def objections(move: Move, situation: Situation) -> tuple[Objection, ...]:
        found = usual(move, situation)
        heard = situation.assessment(move.target).votes > 0
        return found if heard else tuple(each for each in found if not each.rule.startswith("target-"))

    patch.setattr(safety, "objections", objections)


# ------------------------------------------------------------------ runs


def a_pair_is_missing(patch: Patch) -> None:
    table = {pair: after for pair, after in progress.NEXT.items() if pair != (StepState.FAILED, Event.UNDO)}
    patch.setattr(progress, "NEXT", table)


def the_service_forgets_its_run(patch: Patch) -> None:
    usual = ServiceSide.situation

    def situation(self: ServiceSide, found: Any) -> Situation:
        return replace(usual(self, found), run=None)

    patch.setattr(ServiceSide, "situation", situation)


def the_way_back_stops(patch: Patch) -> None:
    usual = course.next_actions

    def next_actions(plan: Plan, made: Progress) -> tuple[course.Action, ...]:
        return (Hold("later"),) if returning(made) else usual(plan, made)

    patch.setattr(course, "next_actions", next_actions)


def nothing_is_put_back(patch: Patch) -> None:
    patch.setattr(course, "_to_undo", lambda plan, progress: ())


def a_failure_is_the_end(patch: Patch) -> None:
    usual = course._over

    def over(step: Step, state: StepState, made: Progress, **more: bool) -> bool:
        return state is not StepState.FAILED and usual(step, state, made, **more)

    patch.setattr(course, "_over", over)


def an_abort_tears_what_runs(patch: Patch) -> None:
    patch.setattr(progress, "ABORTED", {**progress.ABORTED, StepState.RUNNING: StepState.SKIPPED})


STILL = {"loss": 0.0, "vantage": 0.0, "unread": 0.0, "clock": 0.0, "kill": 0.0}
QUIET = {"hand": 0.0, "rival": 0.0, "end": 0.0, "transient": 0.0, "refuse": 0.0, "endpoint": 0.05}
INTERFERING = {**STILL, **QUIET, "person": 0.6, "act": 0.3, "silence": 0.2, "freeze": 0.1}
BUSY = {**STILL, "person": 0.7, "freeze": 0.0, "silence": 0.0, "transient": 0.0, "hand": 0.0, "rival": 0.0, "act": 0.0}
FLAPPING = {**STILL, "endpoint": 0.6, "transient": 0.5, "person": 0.5, "hand": 0.0, "rival": 0.0}
BREAKS = (
    Break("nothing-raises", "a pair is missing from the table", a_pair_is_missing),
    Break("never-empty", "an answer may have no values", empty_answers),
    Break("says-what-it-means", "weights of 0 are in the answer", everybody_in_the_answer),
    Break("once", "a writer does not know its own write again", own_write_unknown),
    Break("nothing-overwritten", "the server weighs no prerequisites", no_prerequisites),
    Break("nothing-overwritten", "a writer names what it reads, not what was planned", what_stands_is_replaced),
    Break("never-to-the-unknown", "a target may be down", without("target-down")),
    Break("never-to-the-unknown", "a target may be unknown", without("target-unknown", "everything-down")),
    Break("proved-first", "steps do not wait for those before them", steps_do_not_wait),
    Break("never-to-the-fenced", "nothing proves itself", nobody_proves_anything, BUSY),
    Break("never-back-to-the-dead", "every steer has a way back", every_steer_returns, FLAPPING),
    Break("capacity-stays", "nobody looks whether an endpoint is idle", idle_is_not_looked_at),
    Break("seen-by-most", "one vantage is enough", one_vantage_is_enough),
    Break("objections-never-shrink", "a capacity that nobody knows is enough", without("capacity-unknown")),
    Break("objections-never-shrink", "where no vantage has a vote, no rule speaks", silence_is_no_objection),
    Break("one-run", "the rule is gone", without("one-run-at-a-time")),
    Break("one-run", "the service forgets its run", the_service_forgets_its_run),
    Break("every-run-ends", "the way back stops in the middle", the_way_back_stops),
    Break("ends-as-it-says", "nothing is put back", nothing_is_put_back),
    Break("ends-as-it-says", "what comes after a failure that was noted is left out", a_failure_is_the_end),
    Break("quiet-once-over", "an abort counts what runs as never begun", an_abort_tears_what_runs, INTERFERING),
)
assert {each.invariant for each in BREAKS} == {each.name for each in invariants.INVARIANTS}
