"""Carrying a plan out as a state machine: what has happened, and what comes next. Pure; a driver does the work.

    progress = begin(plan)
    while not isinstance(action := next_action(plan, progress), Close):
        match action:
            case Do(step):
                progress = advance(progress, step.id, Event.START)
                ...     # do it, then SUCCEED, FAIL, REFUSE or STALE
            case Undo(step):
                progress = advance(progress, step.id, Event.UNDO)
                ...     # undo it, then SUCCEED_UNDO, FAIL_UNDO or STALE

Law 8: undo is planned with the do and never makes it worse. A step that failed may have landed, so it is undone
like one that is done. Past a one-way step nothing is undone any more: the run halts and a person is told.
A driver that was interrupted asks for the next action again and gets the step that was running: it goes on
under the same effect token, so that no effect is doubled or lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from orchestrator.core.errors import IllegalTransition
from orchestrator.core.record import RunStatus
from runbooks.plan import Demote, Plan, Promote, Steer, Step
from runbooks.printed import spread


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """It failed, and its effect may have landed all the same."""
    REFUSED = "refused"
    """It failed, and surely nothing has happened: there is nothing to undo."""
    SKIPPED = "skipped"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo-failed"


class Event(StrEnum):
    START = "start"
    """An attempt begins; again after an interruption, under the same effect token."""
    SUCCEED = "succeed"
    FAIL = "fail"
    """Given up. Whether its effect landed is not known."""
    REFUSE = "refuse"
    """Given up, and surely without effect: for a no that came before anything was done. In doubt, FAIL."""
    STALE = "stale"
    """The fence says that somebody else is ahead."""
    UNDO = "undo"
    """An attempt to undo begins; again after an interruption."""
    SUCCEED_UNDO = "succeed-undo"
    FAIL_UNDO = "fail-undo"
    """Given up, or not tried because it would make things worse (the old endpoint is not healthy now)."""
    ABORT = "abort"
    """A person stops the run. It holds for the whole run, whichever step is named."""


NEXT: Mapping[tuple[StepState, Event], StepState] = MappingProxyType(
    {
        (StepState.PENDING, Event.START): StepState.RUNNING,
        (StepState.RUNNING, Event.START): StepState.RUNNING,
        (StepState.RUNNING, Event.SUCCEED): StepState.DONE,
        (StepState.RUNNING, Event.FAIL): StepState.FAILED,
        (StepState.RUNNING, Event.REFUSE): StepState.REFUSED,
        (StepState.RUNNING, Event.STALE): StepState.FAILED,
        (StepState.DONE, Event.UNDO): StepState.UNDOING,
        (StepState.FAILED, Event.UNDO): StepState.UNDOING,
        (StepState.UNDOING, Event.UNDO): StepState.UNDOING,
        (StepState.UNDOING, Event.SUCCEED_UNDO): StepState.UNDONE,
        (StepState.UNDOING, Event.FAIL_UNDO): StepState.UNDO_FAILED,
        (StepState.UNDOING, Event.STALE): StepState.UNDO_FAILED,
    }
)
"""What may happen to one step. A pair that is missing is illegal."""

ABORTED: Mapping[StepState, StepState] = MappingProxyType(
    {state: state for state in StepState} | {StepState.PENDING: StepState.SKIPPED}
)
"""What ABORT does to every step. One that runs is finished or fails first: a write is not torn in two."""

_BEGUN = frozenset({StepState.RUNNING, StepState.DONE, StepState.FAILED})
"""States in which a step's effect stands, or may stand."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What has happened to each step of a plan, and why."""

    states: tuple[tuple[str, StepState], ...]
    """In the plan's order."""
    failures: tuple[tuple[str, str], ...] = ()
    """Step and what went wrong, in the order of time; failed undos too."""
    stale: bool = False
    aborted: bool = False
    stopped: str = ""
    """Who stopped it and why, where *aborted*."""

    @property
    def failure(self) -> str | None:
        """The last thing that went wrong, in a phrase."""
        return ": ".join(part for part in self.failures[-1] if part) if self.failures else None

    def state(self, step: str) -> StepState:
        """The state of the step of that id. Raises IllegalTransition when the plan has none."""
        for name, state in self.states:
            if name == step:
                return state
        raise IllegalTransition(f"the plan has no step '{step}'; it has: {', '.join(name for name, _ in self.states)}")


@dataclass(frozen=True, slots=True)
class Do:
    """Carry *step* out; START it first, also when it was started before."""

    step: Step


@dataclass(frozen=True, slots=True)
class Undo:
    """Put *step* back; UNDO it first, also when that was begun before."""

    step: Step


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing more is done. *text* says how it ended and what state the world is in."""

    status: RunStatus
    text: str


Action = Do | Undo | Close


def begin(plan: Plan) -> Progress:
    """The progress of a plan of which nothing is done yet."""
    return Progress(tuple((step.id, StepState.PENDING) for step in plan.steps))


def advance(progress: Progress, step_id: str, event: Event, detail: str = "") -> Progress:
    """*progress* after *event* at the step of that id. Raises IllegalTransition for pairs that no table has.

    *detail* is a phrase for a person: why it failed, who aborted. ABORT concerns every step; *step_id* may be
    empty then. It changes nothing in a run that is aborted already, that has finished its steps or is on its way
    back.
    """
    if event is Event.ABORT:
        if progress.aborted or not _open(progress):
            return progress
        states = tuple((name, ABORTED[state]) for name, state in progress.states)
        return replace(progress, states=states, aborted=True, stopped=detail)
    state = progress.state(step_id)
    try:
        after = NEXT[state, event]
    except KeyError:
        raise IllegalTransition(f"step '{step_id}' is {state}, and {event} cannot happen to it then") from None
    failed = after is not state and after in {StepState.FAILED, StepState.REFUSED, StepState.UNDO_FAILED}
    return replace(
        progress,
        states=tuple((name, after if name == step_id else old) for name, old in progress.states),
        failures=(*progress.failures, (step_id, detail)) if failed else progress.failures,
        stale=progress.stale or event is Event.STALE,
    )


def next_action(plan: Plan, progress: Progress) -> Action:
    """What to do now. Total: for every progress that the tables allow there is an answer."""
    if progress.stale:
        return Close(RunStatus.STALE, _stale(progress))
    if any(state is StepState.UNDO_FAILED for _, state in progress.states):
        return _halt(plan, progress, f"the undo failed ({progress.failure}): call a human.")
    return _forward(plan, progress) or _back(plan, progress)


def _forward(plan: Plan, progress: Progress) -> Action | None:
    """The next thing on the way forward; None where that way has ended before the last step."""
    for step in plan.steps:
        if progress.state(step.id) is StepState.RUNNING:
            return Do(step)
    if _stopper(plan, progress) is not None or (progress.aborted and not _arrived(plan, progress)):
        return None
    for step in plan.steps:
        if progress.state(step.id) is StepState.PENDING:
            return Do(step)
    return Close(RunStatus.COMPLETED, _completed(plan, progress))


def _back(plan: Plan, progress: Progress) -> Action:
    """The next thing once the way forward has ended: an undo, or the close that leaves or has put back the rest."""
    one_way, halting = one_way_step(plan, progress), _stopper(plan, progress)
    if one_way is not None:
        kept = f"Nothing was put back: there is no safe way back behind step {one_way.id}."
        return _halt(plan, progress, f"{_why(progress)}. {kept}")
    if halting is not None and halting.on_failure == "halt" and not progress.aborted:
        return _halt(plan, progress, f"{progress.failure}. Nothing was put back.")
    back = _to_undo(plan, progress)
    if back is not None:
        return Undo(back)
    status = RunStatus.ABORTED if progress.aborted else RunStatus.UNDONE
    return Close(status, f"{_why(progress)}; everything done was put back. {_world(plan, progress)}")


def one_way_step(plan: Plan, progress: Progress) -> Step | None:
    """The first step behind which there is no going back, if it was begun and may have landed.

    A steer without an undo (always so in an unplanned move: its source is down) and every demote: capacity that
    is given back may not come back.
    """
    for step in plan.steps:
        narrow = isinstance(step.work, Demote) or (isinstance(step.work, Steer) and not (plan.planned and step.undo))
        if narrow and progress.state(step.id) in _BEGUN:
            return step
    return None


def diagram() -> str:
    """The states of a step as a Mermaid diagram, drawn from the tables."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), after in NEXT.items():
        arrows.setdefault((state, after), []).append(event)
    for state, after in ABORTED.items():
        if state is not after:
            arrows.setdefault((state, after), []).append(Event.ABORT)
    lines = ["stateDiagram-v2", f"    [*] --> {_node(StepState.PENDING)}"]
    lines += [f"    {_node(a)} --> {_node(b)}: {', '.join(events)}" for (a, b), events in arrows.items()]
    passing = {StepState.PENDING, StepState.RUNNING, StepState.UNDOING}
    lines += [f"    {_node(state)} --> [*]" for state in StepState if state not in passing]
    return "\n".join(lines) + "\n"


def _node(state: str) -> str:
    return state.replace("-", "_")


# ------------------------------------------------------------------ what comes next


def _open(progress: Progress) -> bool:
    """Whether the way forward is still being walked."""
    states = {state for _, state in progress.states}
    back = {StepState.UNDOING, StepState.UNDONE, StepState.UNDO_FAILED}
    return bool(states & {StepState.PENDING, StepState.RUNNING}) and not states & back


def _stopper(plan: Plan, progress: Progress) -> Step | None:
    """The step whose failure ends the way forward; undoing it has begun or not."""
    failed = {name for name, _ in progress.failures}
    return next((step for step in plan.steps if step.id in failed and step.on_failure != "continue"), None)


def _arrived(plan: Plan, progress: Progress) -> bool:
    """Whether a run that was aborted late has nothing left to do, and no way back: then it is simply complete."""
    skipped = any(state is StepState.SKIPPED for _, state in progress.states)
    return not skipped and one_way_step(plan, progress) is not None


def _to_undo(plan: Plan, progress: Progress) -> Step | None:
    """The last step in the plan that is still to be put back."""
    open_ = {StepState.DONE, StepState.FAILED, StepState.UNDOING}
    return next((step for step in reversed(plan.steps) if step.undo and progress.state(step.id) in open_), None)


# ------------------------------------------------------------------ in words


def _completed(plan: Plan, progress: Progress) -> str:
    notes = "".join(f" Noted: {name}: {why}." for name, why in progress.failures)
    return f"{plan.kind} of {plan.service} is complete. {_world(plan, progress)}{notes}"


def _stale(progress: Progress) -> str:
    return f"somebody else is ahead ({progress.failure}); nothing was put back, read the routing and plan again"


def _halt(plan: Plan, progress: Progress, why: str) -> Close:
    """Nothing more is done by itself: what happened, how the world stands, and the commands that end it either way."""
    return Close(RunStatus.HALTED, f"{why} {_world(plan, progress)} {_ways(plan, progress)}")


def _ways(plan: Plan, progress: Progress) -> str:
    onward = f"to finish the move: failover run {plan.service} --to {plan.target}"
    back = f"to go back: failover run {plan.service} --to {plan.source[0]}"
    match _steered(plan, progress):
        case StepState.DONE:
            ways = back
        case StepState.PENDING | StepState.SKIPPED | StepState.REFUSED | StepState.UNDONE:
            ways = onward
        case _:
            ways = f"{onward}; {back}"
    return f"Look first: failover explain {plan.service}; {ways}."


def _why(progress: Progress) -> str:
    if progress.aborted:
        return f"stopped: {progress.stopped}" if progress.stopped else "stopped"
    return progress.failure or "failed"


def _world(plan: Plan, progress: Progress) -> str:
    """What state the plan has left the world in: one or two sentences."""
    said = [_traffic(plan, progress)]
    for step in plan.steps:
        state = progress.state(step.id)
        if isinstance(step.work, Promote) and state in {StepState.DONE, StepState.FAILED, StepState.UNDO_FAILED}:
            may = "is" if state is StepState.DONE else "may be"
            said.append(f"{step.work.endpoint} {may} scaled to {step.work.replicas}.")
        if isinstance(step.work, Demote) and state in _BEGUN:
            may = "has" if state is StepState.DONE else "may have"
            said.append(f"{step.work.endpoint} {may} returned to {step.work.replicas}.")
    return " ".join(said)


def _steered(plan: Plan, progress: Progress) -> StepState:
    """How far the move of the traffic has come."""
    steer = next((step for step in plan.steps if isinstance(step.work, Steer)), None)
    return progress.state(steer.id) if steer else StepState.PENDING


def _traffic(plan: Plan, progress: Progress) -> str:
    old, new = spread(plan.before), spread(plan.after)
    match _steered(plan, progress):
        case StepState.DONE:
            return f"Traffic goes to {new}."
        case StepState.UNDONE:
            return f"Traffic goes to {old} again."
        case StepState.PENDING | StepState.SKIPPED | StepState.REFUSED:
            return f"Traffic was not moved: it goes to {old}." if plan.before else "Traffic was not moved."
        case _:
            return f"Traffic goes to {old} or to {new}: read the routing."
