"""How a run ended, in words: what happened, what state the world is in, and which commands end it either way. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.core.topology import Weights
from runbooks.plan import Call, Demote, FenceOff, Plan, Promote, Steer, Step
from runbooks.printed import spread
from runbooks.progress import BEGUN, Progress, StepState, returning


def completed(plan: Plan, progress: Progress) -> str:
    """A run that took all its steps."""
    notes = "".join(f" Noted: {name}: {why}." for name, why in progress.failures)
    return f"{plan.kind} of {plan.service} is complete. {world(plan, progress)}{notes}".rstrip()


def stale(plan: Plan, progress: Progress) -> str:
    """A run that the fence refused: who is ahead, and what the run leaves behind beside the traffic."""
    kept = "nothing more was put back" if returning(progress) else "nothing was put back"
    left = " ".join(_left(plan, progress))
    why = f"somebody else is ahead ({progress.failure}); {kept}, read the routing and plan again"
    return f"{why}. {left}" if left else why


def halted(plan: Plan, progress: Progress, why: str) -> str:
    """Nothing more is done by itself: what happened, how the world stands, and the commands that end it either way."""
    return f"{why} {world(plan, progress)} {_ways(plan, progress)}"


def _ways(plan: Plan, progress: Progress) -> str:
    onward = f"to finish the move: failover run {plan.service} --to {plan.target}"
    home = plan.source[0] if plan.source else ""
    back = f"to go back once {home} is well: failover run {plan.service} --to {home}" if home else ""
    match _steered(plan, progress):
        case None:
            return f"Look first: failover explain {plan.service}."
        case StepState.DONE:
            ways = back
        case StepState.PENDING | StepState.UNDONE:
            ways = onward
        case _:
            ways = f"{onward}; {back}"
    return f"Look first: failover explain {plan.service}; {ways}."


def why(progress: Progress, stopper: Step | None = None) -> str:
    """Why the way forward ended: by whom it was stopped, or what happened to the step *stopper*."""
    if progress.aborted:
        return f"stopped: {progress.stopped}" if progress.stopped else "stopped"
    own = next((each for each in reversed(progress.failures) if stopper is not None and each[0] == stopper.id), None)
    return ": ".join(part for part in own if part) if own else progress.failure or "failed"


def world(plan: Plan, progress: Progress) -> str:
    """What state the plan has left the world in: a sentence for each thing that it has changed."""
    return " ".join(text for text in (_traffic(plan, progress), *_left(plan, progress)) if text)


def _left(plan: Plan, progress: Progress) -> Iterator[str]:
    """A sentence for each thing but the traffic that the plan has changed, and that was not put back."""
    for step in plan.steps:
        state, work = progress.state(step.id), step.work
        is_done = state is StepState.DONE
        if isinstance(work, Promote) and state in {StepState.DONE, StepState.FAILED, StepState.UNDO_FAILED}:
            yield f"{work.endpoint} {'is' if is_done else 'may be'} scaled to {work.replicas}."
        if isinstance(work, Demote) and state in BEGUN:
            yield f"{work.endpoint} {'has' if is_done else 'may have'} returned to {work.replicas}."
        if isinstance(work, FenceOff) and state in BEGUN:
            yield f"{work.endpoint} {'is' if is_done else 'may be'} kept from serving."
        if isinstance(work, Call) and state in {StepState.FAILED, StepState.UNDO_FAILED}:
            yield f"The call of step {step.id} may have been taken."


def _steered(plan: Plan, progress: Progress) -> StepState | None:
    """How far the move of the traffic has come: PENDING, DONE or UNDONE for certain; anything else: look.

    None: the plan moves none.
    """
    steers = _steers(plan, progress)
    if not steers:
        return None
    states = [state for state, _ in steers]
    untouched = {StepState.PENDING, StepState.SKIPPED, StepState.REFUSED}
    if all(state in untouched for state in states):
        return StepState.PENDING
    # A steer for the other kind of move is left out: what counts is where the last one made has brought the traffic.
    made = [weights for state, weights in steers if state is StepState.DONE]
    if made and made[-1] == plan.after and all(state in untouched | {StepState.DONE} for state in states):
        return StepState.DONE
    if all(state in untouched | {StepState.UNDONE} for state in states):
        return StepState.UNDONE
    return StepState.RUNNING


def _steers(plan: Plan, progress: Progress) -> list[tuple[StepState, Weights]]:
    """The state of each steer, and the weights it makes; one whose undo was not tried stands as it was made."""
    found = ((step, step.work.weights) for step in plan.steps if isinstance(step.work, Steer))
    return [(StepState.DONE if s.id in progress.kept else progress.state(s.id), weights) for s, weights in found]


def _traffic(plan: Plan, progress: Progress) -> str:
    old, new = spread(plan.before), spread(plan.after)
    match _steered(plan, progress):
        case None:
            return ""
        case StepState.DONE:
            return f"Traffic goes to {new}."
        case StepState.UNDONE:
            return f"Traffic goes to {old} again."
        case StepState.PENDING:
            return f"Traffic was not moved: it goes to {old}." if plan.before else "Traffic was not moved."
        case _:
            steers = _steers(plan, progress)
            settled = {StepState.DONE, StepState.PENDING, StepState.SKIPPED, StepState.REFUSED}
            done = [weights for state, weights in steers if state is StepState.DONE]
            if done and all(state in settled for state, _ in steers):
                return f"The move stands half way: traffic goes to {spread(done[-1])}."
            return f"Traffic goes to {old} or to {new}: read the routing."
