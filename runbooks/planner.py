"""The planner: a move and a runbook become a plan, with every choice made. Pure: same input, same plan.

Law 8 is worked in here: steps after a steer that has no way back never roll back, whatever the book says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orchestrator.core.errors import BadInput
from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import EndpointId, RunId
from runbooks.ground import Case, Ground, Unplannable, the_case
from runbooks.model import (
    BookStep,
    ConvergeTask,
    DemoteTask,
    DrainTask,
    FenceTask,
    ParallelTask,
    PromoteTask,
    Runbook,
    SteerTask,
    VerifyTask,
    every,
)
from runbooks.nesting import unnested
from runbooks.plan import Converge, Demote, Drain, FenceOff, Plan, Promote, Steer, Step, Verify, When
from runbooks.printed import as_nsupdate, brief, text
from runbooks.resolve import resolved
from runbooks.stages import staged
from runbooks.values import said_as

__all__ = ["Ground", "Unplannable", "as_nsupdate", "brief", "plan", "text"]


_OF_MOVES = (ConvergeTask, DrainTask, FenceTask, DemoteTask)
"""Tasks that make sense only behind a steer."""


def plan(
    move: Move,
    ground: Ground,
    *,
    run: RunId,
    trigger: Trigger,
    book: Runbook,
    objections: tuple[Objection, ...] = (),
) -> Plan:
    """*book* resolved for *move* on *ground*. Raises Unplannable."""
    try:
        flat = unnested(book, ground.shelf)
    except BadInput as error:
        raise Unplannable(str(error)) from error
    taken = [step for step in every(flat.steps) if isinstance(step.task, SteerTask)]
    steers = [step for step in taken if step.when.holds(planned=move.planned)]
    if move.kind is MoveKind.PREPARATION:
        if taken:
            raise Unplannable(f"runbook '{book.name}' moves traffic, so it is no preparation; run it as a move")
        idle = next((each.id for each in every(flat.steps) if isinstance(each.task, _OF_MOVES)), None)
        if idle is not None:
            raise Unplannable(
                f"step '{idle}' of runbook '{book.name}' follows traffic that has moved, and no step moves any"
            )
    elif len(steers) != 1:
        kind = "planned" if move.planned else "unplanned"
        raise Unplannable(
            f"runbook '{book.name}' does not have exactly one step that steers in {kind} moves; "
            f"name another runbook in the policy of service '{ground.service.id}'"
        )
    aside = next((step.id for step in taken if step not in flat.steps), None)
    if aside is not None:
        raise Unplannable(f"step '{aside}' of runbook '{book.name}' steers in a branch beside others; put it outside")
    case = the_case(move, ground, run, trigger)
    course = _Course(case, case.generation)
    steps = tuple(course.walk(flat.steps, ()))
    if not any(step.when.holds(planned=move.planned) for step in steps):
        raise Unplannable(
            f"runbook '{book.name}' would do nothing: its steps are switched off, are for the other kind of move, or "
            "need a workload that is not there; name another runbook"
        )
    _sound(book.name, steps)
    return Plan(
        run=run,
        service=ground.service.id,
        kind=move.kind,
        trigger=trigger,
        runbook=book.name,
        source=move.source,
        target=move.target,
        before=case.before or (),
        after=move.after,
        revision=ground.revision,
        generation=case.generation,
        objective_s=ground.service.policy.rto_s,
        steps=steps,
        failing=move.failing,
        objections=objections,
        values=tuple((name, said_as(value)) for name, value in book.values),
        detection_s=0.0 if move.planned else ground.detection_s,
        book=hashlib.sha256(repr(flat.steps).encode()).hexdigest()[:16],
    )


def _sound(book: str, steps: tuple[Step, ...]) -> None:
    """Raises Unplannable for what nesting can bring together: two steps of one name, or an order without sense."""
    names: set[str] = set()
    for step in steps:
        if step.id in names:
            raise Unplannable(f"runbook '{book}' has two steps that would be called '{step.id}' in a plan; rename one")
        names.add(step.id)
    traffic = [step for step in steps if isinstance(step.work, Steer)]
    at_once = next((number for number, step in enumerate(traffic) if step.when is When.UNPLANNED), len(traffic))
    if any(step.when is When.PLANNED for step in traffic[at_once:]):
        raise Unplannable(
            f"runbook '{book}' steers for unplanned moves before it does for planned ones; put the step for planned "
            "moves first, so that the other can take over when the run is switched"
        )
    moves = bool(traffic)
    for planned in (False, True):
        taken = [step for step in steps if step.when.holds(planned=planned)]
        steers = [number for number, step in enumerate(taken) if isinstance(step.work, Steer)]
        if moves and not steers:
            continue  # a kind of move that this runbook is not for
        first = steers[0] if steers else len(taken)
        for number, step in enumerate(taken):
            where = f"step '{step.id}' of runbook '{book}' stands where traffic"
            if isinstance(step.work, Converge | Drain | Demote | FenceOff) and number < first:
                raise Unplannable(f"{where} has not moved; put it after a step that steers")
            if isinstance(step.work, Promote) and number > first:
                raise Unplannable(f"{where} has moved already; put it before the step that steers")


@dataclass(slots=True)
class _Course:
    """Walks a book's steps in their order, and knows what comes after what."""

    case: Case
    generation: int
    """The generation that stands at this point of the walk."""
    ends: tuple[str, ...] = ()
    """The steps that were the last before this point: what comes next waits for them."""
    lanes: dict[str, tuple[str, ...]] | None = None
    """By endpoint: its last step, while several are made ready side by side."""
    base: tuple[str, ...] = ()
    """What the lanes begin after."""
    moved: bool = False
    """Whether traffic has been steered before this point."""
    ready: frozenset[EndpointId] = frozenset()
    """The endpoints whose capacity has been waited for."""

    def walk(self, steps: tuple[BookStep, ...], after: tuple[str, ...]) -> Iterator[Step]:
        """The plan's steps for *steps*, the first of which come after *after*."""
        self.ends, self.lanes = after, None
        for said in steps:
            if isinstance(said.task, PromoteTask | VerifyTask) and len(self.case.gaining) > 1:
                yield from self._in_lanes(self._resolved(said))
                continue
            self.lanes = None
            if isinstance(said.task, ParallelTask):
                yield from self._side_by_side(said, said.task)
                continue
            for step in self._resolved(said):
                yield self._placed(step)

    def _resolved(self, said: BookStep) -> tuple[Step, ...]:
        """The steps that *said* becomes. Raises Unplannable.

        An outage does not wait for a step that it has no part in: what cannot be planned of these is left out.
        """
        task, case = said.task, self.case
        try:
            if isinstance(task, SteerTask):
                return tuple(staged(said, task, case, ready=self.ready))
            return tuple(resolved(said, case))
        except Unplannable:
            if case.move.planned or said.when is not When.PLANNED:
                raise
            return ()

    def _in_lanes(self, steps: tuple[Step, ...]) -> Iterator[Step]:
        """Several endpoints made ready: the steps of each one after another, and the endpoints side by side."""
        if self.lanes is None:
            self.lanes, self.base = {}, self.ends
        for step in steps:
            about = step.work.endpoint if isinstance(step.work, Promote) else None
            about = step.work.place.endpoint if isinstance(step.work, Verify) else about
            assert about is not None, "only promote and verify come here"  # noqa: S101  a fact about this file
            self.ends = self.lanes.get(about, self.base)
            yield self._placed(step)
            self.lanes[about] = self.ends
        self.ends = tuple(end for lane in self.lanes.values() for end in lane) or self.base

    def _side_by_side(self, said: BookStep, task: ParallelTask) -> Iterator[Step]:
        begin, ends = self.ends, list[str]()
        for branch in task.branches:
            kept = tuple(_under(said, step) for step in branch if _together(said, step))
            yield from self.walk(kept, begin)
            # A branch of which nothing is left to do holds up nobody.
            ends += [] if self.ends == begin else self.ends
        self.ends = tuple(dict.fromkeys(ends)) or begin

    def _placed(self, step: Step) -> Step:
        """*step* in its place: after what, under which generation, and with no way back where there is none."""
        step = replace(step, after=self.ends, generation=self.generation)
        if self.moved and not self.case.returns and step.on_failure == "rollback":
            step = replace(step, on_failure="halt")
        self.ends = (step.id,)
        if isinstance(step.work, Promote):
            self.ready |= {step.work.endpoint}
        if isinstance(step.work, Steer):
            taken = step.when.holds(planned=self.case.move.planned)
            self.moved |= taken
            # A steer that this move leaves out writes nothing; for a run that is switched there is course.standing.
            self.generation += taken
        return step


def _together(outer: BookStep, step: BookStep) -> bool:
    return outer.when is step.when or When.ALWAYS in {outer.when, step.when}


def _under(outer: BookStep, step: BookStep) -> BookStep:
    when = outer.when if step.when is When.ALWAYS else step.when
    return replace(step, when=when, undo=step.undo and outer.undo)
