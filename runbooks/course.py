"""The course of a run: what comes next, given what has happened. Pure; a driver does the work.

    progress = begin(plan)
    while not isinstance(action := next_action(plan, progress), Close):
        match action:
            case Do(step):
                progress = advance(progress, step.id, Event.START)
                ...     # do it, then SUCCEED, FAIL, REFUSE, ASK or STALE
            case Undo(step):
                progress = advance(progress, step.id, Event.UNDO)
                ...     # undo it, then SUCCEED_UNDO, FAIL_UNDO, REFUSE_UNDO or STALE
            case Hold():
                ...     # wait for a person: RETRY, SKIP, ABORT, RESUME

A driver that can do several things at once asks ``next_actions`` instead, and again whenever one of them ends.

Law 8: undo is planned with the do and never makes it worse. A step that failed may have landed, so it is undone
like one that is done. Past a one-way step nothing is undone any more: the run halts and a person is told.
A driver that was interrupted asks for the next action again and gets the steps that were running: it goes on
under the same effect tokens, so that no effect is doubled or lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

from orchestrator.core.record import RunStatus
from orchestrator.core.steering import Fence, SteeringChange, next_lineage
from orchestrator.core.topology import Answer
from runbooks import endings
from runbooks.plan import (
    Analyse,
    Approve,
    Check,
    Converge,
    Demote,
    FenceOff,
    Plan,
    Steer,
    Step,
    Verify,
    Wait,
)
from runbooks.progress import BEGUN, Event, Progress, StepState, advance, returning


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
    """All that may be under way now, steps that run included, in the plan's order (undos last first); never empty.

    Total: for every progress that the tables allow there is an answer. Hold and Close stand alone.
    """
    running = tuple(Do(step) for step in plan.steps if progress.state(step.id) is StepState.RUNNING)
    undoing = tuple(Undo(step) for step in plan.steps if progress.state(step.id) is StepState.UNDOING)
    if progress.stale:
        return (*running, *undoing) or (Close(RunStatus.STALE, endings.stale(plan, progress)),)
    if any(state is StepState.UNDO_FAILED for _, state in progress.states):
        why = f"the undo failed ({progress.failure}): call a human."
        return undoing or (_halt(plan, progress, why),)
    return _onward(plan, progress, running) or _back(plan, progress, undoing)


def _onward(plan: Plan, progress: Progress, running: tuple[Do, ...]) -> tuple[Action, ...]:
    """The way forward; empty where it has ended before the last step."""
    if returning(progress):
        return ()
    if _stopper(plan, progress) is not None or (progress.aborted and not _arrived(plan, progress)):
        return running
    held = _held(plan, progress)
    if held is not None:
        return running or (held,)
    begin = {step.id for step in _at_turn(plan, progress)}
    going = tuple(Do(step) for step in plan.steps if progress.state(step.id) is StepState.RUNNING or step.id in begin)
    if progress.paused and going:
        return running or (Hold(progress.paused),)
    return going or (Close(RunStatus.COMPLETED, endings.completed(plan, progress)),)


def _held(plan: Plan, progress: Progress) -> Hold | None:
    """The step that a person is asked about: until they have spoken no other begins."""
    for step in plan.steps:
        asks = step.on_failure == "ask" or progress.state(step.id) is StepState.ASKING
        if step.id in progress.fallen and asks:
            why = next((text for name, text in reversed(progress.failures) if name == step.id), "")
            said = f"step {step.id} needs a person{f' ({why})' if why else ''}"
            return Hold(f"{said}: retry it, skip it, or abort the run", step)
    return None


def _at_turn(plan: Plan, progress: Progress) -> Iterator[Step]:
    """The steps whose turn has come, in the plan's order. One pass: a step's ``after`` names earlier ones only."""
    states, before = dict(progress.states), _before(plan)
    idle = {StepState.PENDING, StepState.SKIPPED}
    # Where a later step has begun, the turn of what comes before it is over: the run was switched.
    missed = frozenset[str]().union(*(before[name] for name, state in states.items() if state not in idle))
    over: dict[str, bool] = {}
    for step in plan.steps:
        free = all(over[each] for each in step.after)
        taken = step.when.holds(planned=progress.planned) and step.id not in missed
        over[step.id] = _over(step, states[step.id], progress, free=free, taken=taken)
        if free and taken and states[step.id] is StepState.PENDING:
            yield step


def _over(step: Step, state: StepState, progress: Progress, *, free: bool, taken: bool) -> bool:
    """Whether what comes after *step* may begin, as far as it is concerned. *free*: what comes before it is over."""
    match state:
        case StepState.DONE:
            return True
        case StepState.FAILED | StepState.REFUSED:
            return step.id not in progress.fallen or step.on_failure == "continue"
        case StepState.SKIPPED:
            # Skipped ahead of its turn: what comes after it still waits for what came before it.
            return free
        case StepState.PENDING:
            return free and not taken
        case _:
            return False


def _before(plan: Plan) -> Mapping[str, frozenset[str]]:
    """The steps that come before each step, by whatever way. A step's ``after`` names earlier ones only."""
    found: dict[str, frozenset[str]] = {}
    for step in plan.steps:
        found[step.id] = frozenset(step.after).union(*(found[each] for each in step.after))
    return found


_LOOKING = Verify | Analyse | Converge | Check | Approve | Wait
"""Work that changes nothing: it may be left at any moment."""


def released(plan: Plan, progress: Progress) -> Progress:
    """*progress* with the steps let go that run in vain, since the run goes no further: they only look, ask or wait.

    A branch that waits for people must not keep what another has done from being put back.
    """
    if progress.aborted or returning(progress) or not (progress.stale or _stopper(plan, progress)):
        return progress
    for step in plan.steps:
        if progress.state(step.id) is StepState.RUNNING and isinstance(step.work, _LOOKING):
            progress = advance(progress, step.id, Event.SKIP, "the run goes no further")
    return progress


def standing(plan: Plan, progress: Progress, step: Step) -> Step:
    """*step* on the routing that this run itself has left, which a run that was switched on its way did not plan for.

    Where all the steers before it that the plan counted have been made, and no others, it is *step* itself.
    """
    fence: Fence | None = None
    answer: Answer | None = None
    generation = plan.generation
    for each in takewhile(lambda other: other.id != step.id, plan.steps):
        made = each.work
        if not isinstance(made, Steer) or progress.state(each.id) is not StepState.DONE:
            continue
        lineage = made.lineage if fence is None else next_lineage(fence)
        change = SteeringChange(generation, answer, made.weights, made.answer, plan.run, each.id, lineage)
        fence, answer, generation = change.fence, made.answer, generation + 1
    work = step.work
    if isinstance(work, Steer) and fence is not None:
        work = replace(work, expects=generation, was=answer, lineage=next_lineage(fence), stands=fence)
    return replace(step, work=work, generation=generation)


def _halt(plan: Plan, progress: Progress, why: str) -> Close:
    return Close(RunStatus.HALTED, endings.halted(plan, progress, why))


def _back(plan: Plan, progress: Progress, undoing: tuple[Undo, ...]) -> tuple[Action, ...]:
    """Once the way forward has ended: the undos, or the close that leaves or has put back the rest."""
    one_way, halting = one_way_step(plan, progress), _stopper(plan, progress)
    why = endings.why(progress, halting)
    if one_way is not None:
        # A run that was switched to unplanned on its way back has put back some already, or is about to.
        if undoing:
            return undoing
        kept = "Nothing more is put back" if returning(progress) else "Nothing was put back"
        return (_halt(plan, progress, f"{why}. {kept}: there is no safe way back behind step {one_way.id}."),)
    if halting is not None and halting.on_failure == "halt" and not progress.aborted:
        return (_halt(plan, progress, f"{why}. Nothing was put back."),)
    back = _to_undo(plan, progress)
    if back:
        return tuple(Undo(step) for step in back)
    status = RunStatus.ABORTED if progress.aborted else RunStatus.UNDONE
    return (Close(status, f"{why}; everything done was put back. {endings.world(plan, progress)}".rstrip()),)


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
    """The step whose failure ends the way forward: the first in the plan, but one that halts before one that goes back.

    Undoing it may have begun.
    """
    ends = [step for step in plan.steps if step.id in progress.fallen and step.on_failure in {"rollback", "halt"}]
    ends = [step for step in ends if progress.state(step.id) is not StepState.ASKING]
    return next((step for step in ends if step.on_failure == "halt"), next(iter(ends), None))


def _arrived(plan: Plan, progress: Progress) -> bool:
    """Whether a run that was aborted late has nothing left to do, and no way back: then it is simply complete."""
    left = any(step.id in progress.cut for step in plan.taken(planned=progress.planned))
    asked = any(step.id in progress.fallen and step.on_failure != "continue" for step in plan.steps)
    return not left and not asked and one_way_step(plan, progress) is not None


def _to_undo(plan: Plan, progress: Progress) -> tuple[Step, ...]:
    """The steps that are to be put back now: those behind which nothing is left to be put back."""
    open_ = {StepState.DONE, StepState.FAILED, StepState.ASKING, StepState.UNDOING}
    waiting = [step for step in reversed(plan.steps) if step.undo and progress.state(step.id) in open_]
    before = _before(plan)
    return tuple(step for step in waiting if not any(step.id in before[later.id] for later in waiting))
