"""What people do to a run under way: whether they may, and what becomes of it. Pure; the workflow carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.names import nearest
from runbooks.course import Hold, next_actions
from runbooks.plan import Approve, Asked, Plan, Steer
from runbooks.progress import Event, Progress, StepState, advance, returning, switched
from workflows.wire.acts import ActKind, RunAct, RunState, Waiting

LONGEST_S = 7 * 86400.0


@dataclass(slots=True)
class Ballot:
    """The approval that a step waits for."""

    work: Approve
    asked: tuple[Asked, ...]
    """The roles that have been asked so far."""
    yes: list[str] = field(default_factory=list)
    no: str = ""
    """Who said no, and why."""

    @property
    def decided(self) -> bool:
        return bool(self.no) or len(self.yes) >= self.work.people

    @property
    def silence(self) -> str:
        """What it means that too few have answered, once their time is over."""
        roles = " or ".join(each.role for each in self.asked if each.role)
        if self.yes:
            return f"only {len(self.yes)} of {self.work.people} said yes in time ({', '.join(self.yes)})"
        return f"nobody{f' of role {roles}' if roles else ''} answered in time"

    def barred(self, by: str, starter: str) -> str | None:
        """Why *by* may not give this approval; None: they may."""
        who = {name for asked in self.asked for name in asked.people}
        anybody = any(not asked.people for asked in self.asked)
        if not anybody and by not in who:
            return f"'{by}' is in none of the roles that are asked; those who may say yes: {', '.join(sorted(who))}"
        if self.work.people > 1 and by == starter:
            return f"'{by}' started the run, and {self.work.people} others must say yes"
        if by in self.yes:
            return f"'{by}' has said yes already; {self.work.people} different people must"
        return None


def state_of(plan: Plan, progress: Progress, ballots: Mapping[str, Ballot]) -> RunState:
    """How each step is, and what the run waits for a person for."""
    asked = tuple(
        Waiting(
            step,
            f"{step} waits for a yes",
            tuple(each.role for each in ballot.asked if each.role),
            tuple(ballot.yes),
            ballot.work.people,
        )
        for step, ballot in ballots.items()
        if not ballot.decided
    )
    held = tuple(
        Waiting(action.step.id if action.step else None, action.text)
        for action in next_actions(plan, progress)
        if isinstance(action, Hold)
    )
    states = tuple((name, str(state)) for name, state in progress.states)
    return RunState(states, progress.planned, progress.paused, (*asked, *held))


def refused(plan: Plan, progress: Progress, ballots: Mapping[str, Ballot], act: RunAct) -> str | None:
    """Why *act* cannot be done to the run now, in a sentence with the cure; None: it can."""
    if not act.by.strip() or not act.reason.strip():
        return f"to {act.kind} needs a person and a reason: say who and why"
    back = progress.aborted or returning(progress)
    now = "planned" if progress.planned else "unplanned"
    why: str | None = None
    match act.kind:
        case ActKind.APPROVE | ActKind.DENY:
            why = _ballot_refused(plan, ballots, act)
        case ActKind.ABORT if back:
            why = f"run {plan.run} is on its way back already"
        case ActKind.PAUSE if progress.paused:
            why = f"run {plan.run} is paused already ({progress.paused})"
        case ActKind.RESUME if not progress.paused:
            why = f"run {plan.run} is not paused"
        case ActKind.SWITCH if act.planned is None or act.planned == progress.planned:
            why = f"run {plan.run} is {now} already"
        case ActKind.SWITCH if _moves_nothing(plan, planned=bool(act.planned)):
            why = f"runbook '{plan.runbook}' moves no traffic once it is switched; abort the run and start another"
        case ActKind.SKIP | ActKind.RETRY | ActKind.EXTEND:
            back_text = f"run {plan.run} is on its way back, where every step is put back in turn"
            why = back_text if back else _step_refused(plan, progress, act)
        case _:
            pass
    return why


def _moves_nothing(plan: Plan, *, planned: bool) -> bool:
    """Whether a plan that steers has no steer for a move that is (not) *planned*."""
    steers = [step for step in plan.steps if isinstance(step.work, Steer)]
    return bool(steers) and not any(step.when.holds(planned=planned) for step in steers)


def acted(plan: Plan, progress: Progress, ballots: Mapping[str, Ballot], act: RunAct) -> tuple[Progress, str | None]:
    """*progress* after *act*, which is not refused, and the step it is about. A ballot takes its voice."""
    step = subject(plan, progress, ballots, act)
    match act.kind:
        case ActKind.APPROVE if step is not None:
            ballots[step].yes.append(act.by)
        case ActKind.DENY if step is not None:
            ballots[step].no = f"{act.by} said no: {act.reason}"
        case ActKind.ABORT:
            progress = advance(progress, "", Event.ABORT, f"{act.by}: {act.reason}")
        case ActKind.PAUSE:
            progress = advance(progress, "", Event.PAUSE, f"paused by {act.by}: {act.reason}")
        case ActKind.RESUME:
            progress = advance(progress, "", Event.RESUME)
        case ActKind.SWITCH:
            progress = switched(plan, progress, planned=bool(act.planned))
        case ActKind.SKIP if step is not None:
            progress = advance(progress, step, Event.SKIP, f"skipped by {act.by}: {act.reason}")
        case ActKind.RETRY if step is not None:
            progress = advance(progress, step, Event.RETRY)
        case _:
            pass
    return progress, step


def subject(plan: Plan, progress: Progress, ballots: Mapping[str, Ballot], act: RunAct) -> str | None:
    """The step that *act* is about: the one it names, or the only one that can be meant."""
    match act.kind:
        case ActKind.APPROVE | ActKind.DENY:
            return _meant(act, waiting(ballots))
        case ActKind.SKIP | ActKind.RETRY | ActKind.EXTEND:
            # Named by nobody: the one that waits for a person, or that runs.
            able = open_steps(plan, progress, act.kind)
            return _meant(act, [each for each in able if progress.state(each) is not StepState.PENDING])
        case _:
            return None


def waiting(ballots: Mapping[str, Ballot]) -> list[str]:
    """The steps that wait for a yes."""
    return [step for step, ballot in ballots.items() if not ballot.decided]


def _ballot_refused(plan: Plan, ballots: Mapping[str, Ballot], act: RunAct) -> str | None:
    asks = waiting(ballots)
    step = _meant(act, asks)
    if not asks:
        return f"run {plan.run} waits for nobody's approval now"
    if step is None:
        return f"more than one step asks ({', '.join(asks)}); name one with --step"
    if step not in asks:
        return f"step '{step}' asks for no approval now; these do: {', '.join(asks)}"
    # Whoever started a run may always take it back.
    free = act.kind is ActKind.DENY and act.by == plan.trigger.by
    return None if free else ballots[step].barred(act.by, plan.trigger.by)


def _meant(act: RunAct, steps: list[str]) -> str | None:
    if act.step is not None:
        return act.step
    return steps[0] if len(steps) == 1 else None


def open_steps(plan: Plan, progress: Progress, kind: ActKind) -> list[str]:
    """The steps that *kind* can be done to now."""
    able = {
        ActKind.SKIP: {StepState.PENDING, StepState.RUNNING, StepState.ASKING},
        ActKind.RETRY: {StepState.RUNNING, StepState.ASKING},
        ActKind.EXTEND: {StepState.RUNNING},
    }[kind]
    return [
        step.id
        for step in plan.taken(planned=progress.planned)
        if progress.state(step.id) in able
        or (kind is not ActKind.EXTEND and step.id in progress.fallen and step.on_failure == "ask")
    ]


def _step_refused(plan: Plan, progress: Progress, act: RunAct) -> str | None:
    known = [step.id for step in plan.steps]
    if act.step is not None and act.step not in known:
        close = nearest(act.step, known)
        hint = f"did you mean '{close}'?" if close else f"it has: {', '.join(known)}"
        return f"run {plan.run} has no step '{act.step}'; {hint}"
    able = open_steps(plan, progress, act.kind)
    name = subject(plan, progress, {}, act)
    if name is None:
        return f"name the step to {act.kind} with --step; it can be one of: {', '.join(able) or 'none now'}"
    step = next(each for each in plan.steps if each.id == name)
    if name not in able:
        state = progress.state(name)
        settled = state in {StepState.FAILED, StepState.REFUSED}
        return f"step '{name}' is {state}{' and let pass' if settled else ''}, so there is nothing to {act.kind}"
    if act.kind is ActKind.SKIP and isinstance(step.work, Steer):
        return f"step '{name}' moves the traffic, and without it the run is none; abort it instead"
    too_long = act.kind is ActKind.EXTEND and not 0 < act.seconds <= LONGEST_S
    return "the time to add must be above 0 and at most 7 days" if too_long else None


def done(act: RunAct, step: str | None) -> str:
    """*act* as a sentence for the record."""
    words = {
        ActKind.APPROVE: f"{step} approved",
        ActKind.DENY: f"{step} denied",
        ActKind.ABORT: "aborted",
        ActKind.PAUSE: "paused",
        ActKind.RESUME: "resumed",
        ActKind.SKIP: f"{step} skipped",
        ActKind.RETRY: f"{step} to be tried again",
        ActKind.SWITCH: f"switched to {'planned' if act.planned else 'unplanned'}",
        ActKind.EXTEND: f"{step} given {act.seconds:g} s more",
    }
    return f"{words[act.kind]} by {act.by}: {act.reason}"
