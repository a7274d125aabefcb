"""The course of a run: what comes next, given what has happened. Pure; a driver does the work.

    progress = begin(plan)
    while not isinstance(action := next_action(plan, progress), Close):
        match action:
            case Do(step):
                progress = advance(progress, step.id, Event.START)
                ...     # do it, then SUCCEED, FAIL, REFUSE, ASK or STALE
            case Undo(step):
                progress = advance(progress, step.id, Event.UNDO)
                ...     # undo it, then SUCCEED_UNDO, FAIL_UNDO or STALE
            case Hold():
                ...     # wait for a person: RETRY, SKIP, ABORT, RESUME

A driver that can do several things at once asks ``next_actions`` instead, and again whenever one of them ends.

Law 8: undo is planned with the do and never makes it worse. A step that failed may have landed, so it is undone
like one that is done. Past a one-way step nothing is undone any more: the run halts and a person is told.
A driver that was interrupted asks for the next action again and gets the steps that were running: it goes on
under the same effect tokens, so that no effect is doubled or lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core.record import RunStatus
from runbooks import endings
from runbooks.plan import Demote, FenceOff, Plan, Steer, Step
from runbooks.progress import BEGUN, Progress, StepState, returning


@dataclass(frozen=True, slots=True)
class Do:
    """Carry *step* out; START it first, also when it was started before."""

    step: Step


@dataclass(frozen=True, slots=True)
class Undo:
    """Put *step* back; UNDO it first, also when that was begun before."""

    step: Step


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is done until a person says so. *step* is the one that asks; None: the whole run was paused."""

    text: str
    step: Step | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing more is done. *text* says how it ended and what state the world is in."""

    status: RunStatus
    text: str


Action = Do | Undo | Hold | Close


def next_action(plan: Plan, progress: Progress) -> Action:
    """What to do now, for a driver that does one thing at a time."""
    return next_actions(plan, progress)[0]


def next_actions(plan: Plan, progress: Progress) -> tuple[Action, ...]:
    """All that may be under way now, steps that run included, in the plan's order; never empty.

    Total: for every progress that the tables allow there is an answer. Hold and Close stand alone.
    """
    running = tuple(Do(step) for step in plan.steps if progress.state(step.id) is StepState.RUNNING)
    undoing = tuple(Undo(step) for step in plan.steps if progress.state(step.id) is StepState.UNDOING)
    if progress.stale:
        return (*running, *undoing) or (Close(RunStatus.STALE, endings.stale(progress)),)
    if any(state is StepState.UNDO_FAILED for _, state in progress.states):
        why = f"the undo failed ({progress.failure}): call a human."
        return undoing or (_halt(plan, progress, why),)
    return _onward(plan, progress, running) or _back(plan, progress)


def _onward(plan: Plan, progress: Progress, running: tuple[Do, ...]) -> tuple[Action, ...]:
    """The way forward; empty where it has ended before the last step."""
    if returning(progress):
        return ()
    if _stopper(plan, progress) is not None or (progress.aborted and not _arrived(plan, progress)):
        return running
    held = _held(plan, progress)
    if held is not None:
        return running or (held,)
    going = tuple(
        Do(step)
        for step in plan.steps
        if progress.state(step.id) is StepState.RUNNING or _may_begin(plan, progress, step)
    )
    return going or (Close(RunStatus.COMPLETED, endings.completed(plan, progress)),)


def _held(plan: Plan, progress: Progress) -> Hold | None:
    """Why no step begins until a person has spoken."""
    for step in plan.steps:
        asks = step.on_failure == "ask" or progress.state(step.id) is StepState.ASKING
        if step.id in progress.fallen and asks:
            why = next((text for name, text in reversed(progress.failures) if name == step.id), "")
            said = f"step {step.id} needs a person{f' ({why})' if why else ''}"
            return Hold(f"{said}: retry it, skip it, or abort the run", step)
    return Hold(progress.paused) if progress.paused else None


def _may_begin(plan: Plan, progress: Progress, step: Step) -> bool:
    """Whether the turn of *step* has come."""
    return (
        progress.state(step.id) is StepState.PENDING
        and step.when.holds(planned=progress.planned)
        and not _missed(plan, progress, step)
        and all(_over(plan, progress, each) for each in step.after)
    )


def _over(plan: Plan, progress: Progress, name: str) -> bool:
    """Whether what comes after the step *name* may begin, as far as that step is concerned."""
    state = progress.state(name)
    if state in {StepState.DONE, StepState.SKIPPED}:
        return True
    step = next(each for each in plan.steps if each.id == name)
    if state in {StepState.FAILED, StepState.REFUSED}:
        return name not in progress.fallen or step.on_failure == "continue"
    if state is not StepState.PENDING:
        return False
    left_out = not step.when.holds(planned=progress.planned) or _missed(plan, progress, step)
    return left_out and all(_over(plan, progress, each) for each in step.after)


def _missed(plan: Plan, progress: Progress, step: Step) -> bool:
    """Whether a step that comes after *step* has begun already: then its turn is over (the run was switched)."""
    idle = {StepState.PENDING, StepState.SKIPPED}
    before = _before(plan)
    return any(step.id in before[each.id] and progress.state(each.id) not in idle for each in plan.steps)


def _before(plan: Plan) -> Mapping[str, frozenset[str]]:
    """The steps that come before each step, by whatever way. A step's ``after`` names earlier ones only."""
    found: dict[str, frozenset[str]] = {}
    for step in plan.steps:
        found[step.id] = frozenset(step.after).union(*(found[each] for each in step.after))
    return found


def _halt(plan: Plan, progress: Progress, why: str) -> Close:
    return Close(RunStatus.HALTED, endings.halted(plan, progress, why))


def _back(plan: Plan, progress: Progress) -> tuple[Action, ...]:
    """Once the way forward has ended: the undos, or the close that leaves or has put back the rest."""
    one_way, halting = one_way_step(plan, progress), _stopper(plan, progress)
    if one_way is not None:
        kept = f"Nothing was put back: there is no safe way back behind step {one_way.id}."
        return (_halt(plan, progress, f"{endings.why(progress)}. {kept}"),)
    if halting is not None and halting.on_failure == "halt" and not progress.aborted:
        return (_halt(plan, progress, f"{progress.failure}. Nothing was put back."),)
    back = _to_undo(plan, progress)
    if back:
        return tuple(Undo(step) for step in back)
    status = RunStatus.ABORTED if progress.aborted else RunStatus.UNDONE
    return (Close(status, f"{endings.why(progress)}; everything done was put back. {endings.world(plan, progress)}"),)


def one_way_step(plan: Plan, progress: Progress) -> Step | None:
    """The first step behind which there is no going back, if it was begun and may have landed.

    A steer without an undo (always so in an unplanned move: its source is down) and every demote and fence: capacity
    that is given back may not come back.
    """
    for step in plan.steps:
        steered = isinstance(step.work, Steer) and not (progress.planned and step.undo)
        if (steered or isinstance(step.work, Demote | FenceOff)) and progress.state(step.id) in BEGUN:
            return step
    return None


def _stopper(plan: Plan, progress: Progress) -> Step | None:
    """The step whose failure ends the way forward; undoing it has begun or not."""
    ends = (step for step in plan.steps if step.id in progress.fallen and step.on_failure in {"rollback", "halt"})
    return next((step for step in ends if progress.state(step.id) is not StepState.ASKING), None)


def _arrived(plan: Plan, progress: Progress) -> bool:
    """Whether a run that was aborted late has nothing left to do, and no way back: then it is simply complete."""
    left = any(step.id in progress.cut for step in plan.taken(planned=progress.planned))
    return not left and one_way_step(plan, progress) is not None


def _to_undo(plan: Plan, progress: Progress) -> tuple[Step, ...]:
    """The steps that are to be put back now: those behind which nothing is left to be put back."""
    open_ = {StepState.DONE, StepState.FAILED, StepState.ASKING, StepState.UNDOING}
    waiting = [step for step in reversed(plan.steps) if step.undo and progress.state(step.id) in open_]
    before = _before(plan)
    return tuple(step for step in waiting if not any(step.id in before[later.id] for later in waiting))
