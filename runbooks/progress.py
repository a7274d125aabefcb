"""A run's progress as a state machine: what has happened to each step of its plan. Pure.

``runbooks.course`` says what comes next. Law 8: undo is planned with the do and never makes it worse. A step that
failed may have landed, so it is undone like one that is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from orchestrator.core.errors import IllegalTransition
from orchestrator.core.move import MoveKind
from runbooks.plan import Plan, Steer


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """It failed, and its effect may have landed all the same."""
    REFUSED = "refused"
    """It failed, and surely nothing has happened: there is nothing to undo."""
    ASKING = "asking"
    """It ended without an answer that the plan knows what to do with: a person says retry, skip or abort."""
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
    ASK = "ask"
    """Given up without a result (inconclusive): whatever the plan says of failures, a person decides."""
    STALE = "stale"
    """The fence says that somebody else is ahead."""
    UNDO = "undo"
    """An attempt to undo begins; again after an interruption."""
    SUCCEED_UNDO = "succeed-undo"
    FAIL_UNDO = "fail-undo"
    """Given up. Whether anything was put back is not known."""
    REFUSE_UNDO = "refuse-undo"
    """Not tried, because it would make things worse (the old endpoint is not healthy now): what the step did stands."""
    SKIP = "skip"
    """A person lets it pass: what has not begun is left out, what has begun or failed stands as it is."""
    RETRY = "retry"
    """A person wants it tried again."""
    ABORT = "abort"
    """A person stops the run. It holds for the whole run, whichever step is named."""
    PAUSE = "pause"
    """A person wants no further step to begin. For the whole run."""
    RESUME = "resume"
    """The steps go on. For the whole run."""


NEXT: Mapping[tuple[StepState, Event], StepState] = MappingProxyType(
    {
        (StepState.PENDING, Event.START): StepState.RUNNING,
        (StepState.RUNNING, Event.START): StepState.RUNNING,
        (StepState.RUNNING, Event.SUCCEED): StepState.DONE,
        (StepState.RUNNING, Event.FAIL): StepState.FAILED,
        (StepState.RUNNING, Event.REFUSE): StepState.REFUSED,
        (StepState.RUNNING, Event.STALE): StepState.FAILED,
        (StepState.RUNNING, Event.ASK): StepState.ASKING,
        (StepState.RUNNING, Event.RETRY): StepState.RUNNING,
        (StepState.RUNNING, Event.SKIP): StepState.FAILED,
        (StepState.PENDING, Event.SKIP): StepState.SKIPPED,
        (StepState.ASKING, Event.SKIP): StepState.FAILED,
        (StepState.ASKING, Event.RETRY): StepState.PENDING,
        (StepState.FAILED, Event.SKIP): StepState.FAILED,
        (StepState.FAILED, Event.RETRY): StepState.PENDING,
        (StepState.REFUSED, Event.SKIP): StepState.REFUSED,
        (StepState.REFUSED, Event.RETRY): StepState.PENDING,
        (StepState.DONE, Event.UNDO): StepState.UNDOING,
        (StepState.FAILED, Event.UNDO): StepState.UNDOING,
        (StepState.ASKING, Event.UNDO): StepState.UNDOING,
        (StepState.UNDOING, Event.UNDO): StepState.UNDOING,
        (StepState.UNDOING, Event.SUCCEED_UNDO): StepState.UNDONE,
        (StepState.UNDOING, Event.FAIL_UNDO): StepState.UNDO_FAILED,
        (StepState.UNDOING, Event.REFUSE_UNDO): StepState.UNDO_FAILED,
        (StepState.UNDOING, Event.STALE): StepState.UNDO_FAILED,
    }
)
"""What may happen to one step. A pair that is missing is illegal."""

ABORTED: Mapping[StepState, StepState] = MappingProxyType(
    {state: state for state in StepState} | {StepState.PENDING: StepState.SKIPPED, StepState.ASKING: StepState.FAILED}
)
"""What ABORT does to every step. One that runs is finished or fails first: a write is not torn in two."""

BEGUN = frozenset({StepState.RUNNING, StepState.DONE, StepState.FAILED, StepState.ASKING})
"""States in which a step's effect stands, or may stand."""
_BACK = frozenset({StepState.UNDOING, StepState.UNDONE, StepState.UNDO_FAILED})
"""States of the way back."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What has happened to each step of a plan, and why."""

    states: tuple[tuple[str, StepState], ...]
    """In the plan's order."""
    planned: bool = True
    """Whether the source still serves, as far as is known: it decides which steps are taken, and what goes back."""
    failures: tuple[tuple[str, str], ...] = ()
    """Step and what went wrong, in the order of time; failed undos too."""
    fallen: tuple[str, ...] = ()
    """Steps whose failure stands: nobody has let it pass or had it tried again."""
    cut: tuple[str, ...] = ()
    """Steps that an abort left out."""
    stale: bool = False
    aborted: bool = False
    stopped: str = ""
    """Who stopped it and why, where *aborted*."""
    paused: str = ""
    """Who wants no further step to begin, and why."""
    asks: tuple[str, ...] = ()
    """Steps whose failure waits for a person."""
    left_out: tuple[str, ...] = ()
    """Steps that are no part of the move as it is, planned or unplanned."""
    tried: tuple[str, ...] = ()
    """Steps that are to be tried again, or were: an earlier try may have landed."""
    kept: tuple[str, ...] = ()
    """Steps whose undo was not tried, because it would have made things worse: what they did stands."""

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


def begin(plan: Plan) -> Progress:
    """The progress of a plan of which nothing is done yet."""
    return Progress(
        tuple((step.id, StepState.PENDING) for step in plan.steps),
        planned=plan.planned,
        asks=tuple(step.id for step in plan.steps if step.on_failure == "ask"),
        left_out=_left_out(plan, planned=plan.planned),
    )


def _left_out(plan: Plan, *, planned: bool) -> tuple[str, ...]:
    return tuple(step.id for step in plan.steps if not step.when.holds(planned=planned))


def advance(progress: Progress, step_id: str, event: Event, detail: str = "") -> Progress:
    """*progress* after *event* at the step of that id. Raises IllegalTransition for pairs that no table has.

    *detail* is a phrase for a person: why it failed, who aborted. ABORT, PAUSE and RESUME concern every step;
    *step_id* may be empty then. ABORT changes nothing in a run that is aborted already, that has finished its
    steps or is on its way back; nor do SKIP and RETRY there, which are illegal then.
    """
    match event:
        case Event.ABORT:
            return _aborted(progress, detail)
        case Event.PAUSE:
            return replace(progress, paused=detail or "paused")
        case Event.RESUME:
            return replace(progress, paused="")
        case Event.SKIP | Event.RETRY if progress.aborted or returning(progress):
            raise IllegalTransition(f"the run is on its way back, and {event} cannot happen to step '{step_id}' then")
        case Event.ASK if progress.aborted:
            event = Event.FAIL  # a person has said already what is to be done
        case _:
            pass
    state = progress.state(step_id)
    try:
        after = NEXT[state, event]
    except KeyError:
        raise IllegalTransition(f"step '{step_id}' is {state}, and {event} cannot happen to it then") from None
    if step_id in progress.tried and after in {StepState.SKIPPED, StepState.REFUSED}:
        after = StepState.FAILED
    tried = event is Event.RETRY and state in {StepState.FAILED, StepState.ASKING}
    failed = after is not state and after in {
        StepState.FAILED,
        StepState.REFUSED,
        StepState.ASKING,
        StepState.UNDO_FAILED,
    }
    told = failed and not (state is StepState.ASKING and event is Event.SKIP)
    others = tuple(name for name in progress.fallen if name != step_id)
    # What was asked about a step that goes back needs no answer any more.
    let_pass = event in {Event.SKIP, Event.RETRY} or (state is StepState.ASKING and event is Event.UNDO)
    return replace(
        progress,
        states=tuple((name, after if name == step_id else old) for name, old in progress.states),
        failures=(*progress.failures, (step_id, detail)) if told else progress.failures,
        fallen=others if let_pass else (*others, step_id) if failed else progress.fallen,
        stale=progress.stale or event is Event.STALE,
        tried=(*progress.tried, step_id) if tried else progress.tried,
        kept=(*progress.kept, step_id) if event is Event.REFUSE_UNDO else progress.kept,
    )


def _aborted(progress: Progress, why: str) -> Progress:
    if progress.aborted or not _open(progress):
        return progress
    states = tuple(
        (name, StepState.FAILED if state is StepState.PENDING and name in progress.tried else ABORTED[state])
        for name, state in progress.states
    )
    cut = tuple(name for name, state in progress.states if state is StepState.PENDING)
    return replace(progress, states=states, aborted=True, stopped=why, paused="", cut=cut)


def switched(plan: Plan, progress: Progress, *, planned: bool) -> Progress:
    """*progress* of a run that is (un)planned from now on. A step under way that is no part of it any more is let go.

    But for a write of the routing: it is finished first, since nobody could say whether it has landed. What has begun
    stays as it is: a step whose turn is over is not taken after all. On the way back only the
    question changes whether the source may get traffic again.
    """
    progress = replace(progress, planned=planned, left_out=_left_out(plan, planned=planned))
    for step in plan.steps if not (progress.aborted or returning(progress)) else ():
        asked = step.id in progress.fallen and (step.on_failure == "ask" or _asking(progress, step.id))
        lets_go = progress.state(step.id) is StepState.RUNNING and not isinstance(step.work, Steer)
        if step.id in progress.left_out and (asked or lets_go):
            progress = advance(progress, step.id, Event.SKIP, "no part of the move any more")
    return progress


def unwanted(progress: Progress, step_id: str) -> bool:
    """Whether a step whose turn had come, and that has not begun, is no part of the move any more."""
    return step_id in progress.left_out and progress.state(step_id) is StepState.PENDING


def ended_here(plan: Plan, progress: Progress, why: str) -> Progress:
    """*progress* of a preparation that goes no further, and puts nothing back: what is done stands, for what comes.

    Nothing changes in a run that moves traffic, or that is on its way back.
    """
    if plan.kind is not MoveKind.PREPARATION or progress.aborted or returning(progress):
        return progress
    for name, state in progress.states:
        if state in {StepState.PENDING, StepState.RUNNING, StepState.ASKING} or name in progress.fallen:
            progress = advance(progress, name, Event.SKIP, why)
    return replace(progress, paused="")


def _asking(progress: Progress, step: str) -> bool:
    return progress.state(step) is StepState.ASKING


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


def _open(progress: Progress) -> bool:
    """Whether the way forward is still being walked: something is left of it, or a person is asked."""
    walked = {StepState.PENDING, StepState.RUNNING, StepState.ASKING}
    left = any(state in walked and name not in progress.left_out for name, state in progress.states)
    running = any(state is StepState.RUNNING for _, state in progress.states)
    asked = bool(set(progress.asks) & set(progress.fallen))
    return (left or running or asked) and not returning(progress)


def returning(progress: Progress) -> bool:
    """Whether the way back has begun."""
    return any(state in _BACK for _, state in progress.states)
