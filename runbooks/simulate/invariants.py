"""The invariants: what must hold after every event of every history. Each is a function with a sentence.

They judge what has really happened in the world, by other means than those that the code under test uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.core.decision import Go
from orchestrator.core.move import Move, MoveKind
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import RunStatus
from orchestrator.core.steering import answer_for, serving
from runbooks.plan import Demote, FenceOff, Steer, Step, Verify
from runbooks.progress import StepState
from runbooks.simulate.evidence import objections_never_shrink
from runbooks.simulate.facts import Decided, Ended, Fact, Took, Wrote
from runbooks.simulate.history import CALM_S, LONGEST, History
from runbooks.simulate.running import Run

LOOK_S = 2.5
"""What was seen this long ago may be acted on: nobody can look and act at the same moment."""

Check = Callable[[History], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One thing that must always hold."""

    name: str
    sentence: str
    check: Check
    """Yields how it is broken."""
    about: tuple[type[Fact], ...] = ()
    """Looked at only after such facts; empty: after every event."""


# ------------------------------------------------------------------ the record


def never_empty(history: History) -> Iterator[str]:
    record = history.world.record
    if record.answer is not None and record.answer.values:
        return
    changes = history.world.changes
    if not changes or changes[-1].by != "hand":
        yield "the record has no answer, and no hand took it away"


def says_what_it_means(history: History) -> Iterator[str]:
    endpoints = history.setting.service.endpoints
    for fact in history.stage.these(Wrote):
        fence = fact.after.fence
        if fence is None or fact.after.answer is None or not serving(fence.weights):
            yield f"{fact.change.fence.token} left a record without an answer or a fence"
        elif answer_for(endpoints, fence.weights) != fact.after.answer:
            yield f"{fact.change.fence.token} wrote an answer that its weights do not mean"


def nothing_overwritten(history: History) -> Iterator[str]:
    for fact in history.stage.these(Wrote):
        run, before = _run(history, fact.change.run), fact.before
        if run is None:
            continue
        if before.fence is not None and before.fence.run == run.plan.run:
            left = next(each for each in reversed(history.world.changes[:-1]) if each.by == run.plan.run)
            if left.after != before:
                yield f"{fact.change.fence.token} replaced a hand edit of what its own run had written"
            continue
        was = next(step.work.was for step in run.plan.steps if isinstance(step.work, Steer))
        if (before.generation, before.answer) != (run.plan.generation, was):
            yield (
                f"{fact.change.fence.token} was planned upon generation {run.plan.generation} and replaced another "
                f"record, at generation {before.generation}: somebody else's write or hand edit is lost"
            )


def once(history: History) -> Iterator[str]:
    for fact in history.stage.these(Wrote):
        token = fact.change.fence.token
        if history.world.landed[token] > 1:
            yield f"the write {token} landed {history.world.landed[token]} times"


# ------------------------------------------------------------------ where traffic goes


def never_to_the_unknown(history: History) -> Iterator[str]:
    for fact in history.stage.these(Decided):
        if isinstance(fact.decision, Go) and fact.decision.move.kind is not MoveKind.PREPARATION:
            yield from _unfit(fact, fact.decision.move)


def _unfit(fact: Decided, move: Move) -> Iterator[str]:
    """The endpoints that would begin to get traffic and are not known to work."""
    facts, allowed = fact.situation, fact.request.trigger.overrides if fact.request else ()
    had = set(serving(facts.shares)) if facts.shares is not None else set()
    verdicts = {each.endpoint: each.verdict for each in facts.assessments}
    for name in serving(move.after):
        endpoint = next(e for e in facts.service.endpoints if e.id == name)
        work = endpoint.workload
        # What runs nothing before it is promoted cannot be known: it proves itself before it gets traffic.
        cold = endpoint.role == "standby" and work is not None and work.standby == 0 < work.serving
        if name in had or cold:
            continue
        if verdicts[name] is Verdict.DOWN:
            yield f"{name} is down, and was chosen to get traffic"
        if verdicts[name] is Verdict.UNKNOWN and "target-unknown" not in allowed:
            yield f"nobody knows whether {name} works, and it was chosen to get traffic"


def proved_first(history: History) -> Iterator[str]:
    for fact in history.stage.these(Wrote):
        run = _run(history, fact.change.run)
        if fact.back or run is None:
            continue
        proofs = [step for step in run.plan.steps if isinstance(step.work, Verify)]
        begin = set(serving(fact.change.weights)) - set(serving(run.plan.before)) if run.plan.before else set()
        for name in sorted({run.plan.target, *begin}):
            own = [step for step in proofs if isinstance(step.work, Verify) and step.work.place.endpoint == name]
            if not any(_passed(run, step) for step in own):
                yield f"{fact.change.fence.token} moved traffic to {name}, which had not proved itself"


def _passed(run: Run, step: Step) -> bool:
    return run.progress.state(step.id) is StepState.DONE or step.id in run.let_pass


def never_to_the_fenced(history: History) -> Iterator[str]:
    for fact in history.stage.these(Wrote):
        run = _run(history, fact.change.run)
        before = set(serving(fact.before.fence.weights)) if fact.before.fence else set()
        for name in serving(fact.change.weights):
            site = history.world.sites[name]
            asked = run is not None and run.let_pass
            if site.kept_off and name not in before and not asked:
                yield f"{fact.change.fence.token} sent traffic to {name}, which {site.kept_off} keeps from serving"


def never_back_to_the_dead(history: History) -> Iterator[str]:
    for fact in history.stage.these(Wrote):
        run = _run(history, fact.change.run)
        if fact.back and run is not None and not run.plan.planned and not run.switched:
            yield f"{fact.change.fence.token} took an unplanned move back, towards an endpoint that was down"


def capacity_stays(history: History) -> Iterator[str]:
    for fact in history.stage.these(Took):
        since = history.world.carrying_since.get(fact.endpoint)
        if since is not None and history.stage.now - since > LOOK_S:
            yield (
                f"{fact.step} left {fact.endpoint} {fact.replicas} replicas, "
                f"while it had carried traffic for {history.stage.now - since:.1f} s"
            )


# ------------------------------------------------------------------ deciding


def seen_by_most(history: History) -> Iterator[str]:
    for fact in history.stage.these(Decided):
        if not isinstance(fact.decision, Go) or fact.decision.move.kind is not MoveKind.FAILOVER:
            continue
        dead = {each.endpoint for each in fact.situation.assessments if each.verdict is Verdict.DOWN}
        for name in dead & set(fact.decision.move.source):
            saw = sum(name in post.said_down for post in history.posts)
            if saw < 2 or saw * 2 <= len(history.posts):
                yield f"traffic is taken from {name}, which {saw} of {len(history.posts)} vantages have ever seen down"


# ------------------------------------------------------------------ runs


def one_run(history: History) -> Iterator[str]:
    held = [run.plan.run for run in history.service.runs.values() if run.open]
    if len(held) > 1:
        yield f"runs {' and '.join(held)} are under way at once"


def every_run_ends(history: History) -> Iterator[str]:
    late = history.stage.now > history.setting.horizon_s + CALM_S or history.stage.events > LONGEST
    for run in history.service.runs.values() if late else ():
        if run.open:
            states = ", ".join(f"{name} {state}" for name, state in run.progress.states)
            yield f"run {run.plan.run} has not ended long after the last fault: {states}"


def ends_as_it_says(history: History) -> Iterator[str]:
    for fact in history.stage.these(Ended):
        match fact.status:
            case RunStatus.COMPLETED:
                yield from _complete(history, fact)
            case RunStatus.UNDONE | RunStatus.ABORTED:
                yield from _unwound(history, fact)
            case RunStatus.HALTED:
                yield from _halted(fact)
            case RunStatus.STALE:
                yield from _overtaken(history, fact)
            case _:
                yield f"run {fact.plan.run} closes as {fact.status}, which is no end"


def _complete(history: History, fact: Ended) -> Iterator[str]:
    run = fact.plan.run
    carried = history.service.runs[run]
    open_ = {StepState.RUNNING, StepState.ASKING, StepState.UNDOING, StepState.UNDONE, StepState.UNDO_FAILED}
    for step in fact.plan.taken(planned=fact.progress.planned):
        state = fact.progress.state(step.id)
        # Whoever switches a run lets pass what is under way, and what had its turn in the other kind of move.
        passed = carried.switched or step.id in carried.let_pass or step.on_failure == "continue"
        fallen = state in {StepState.FAILED, StepState.REFUSED} and not passed
        left = state is StepState.PENDING and not carried.switched
        if left or fallen or state in open_:
            yield f"run {run} is complete, and its step {step.id} is {state}"
        if isinstance(step.work, Steer) and state is StepState.DONE and f"{run}/{step.id}" not in history.world.landed:
            yield f"run {run} is complete, and its write {step.id} has never landed"
    moves = fact.plan.kind is not MoveKind.PREPARATION
    if moves and not any(
        isinstance(s.work, Steer) and fact.progress.state(s.id) is StepState.DONE for s in fact.plan.steps
    ):
        yield f"run {run} is complete, and has moved no traffic"


def _unwound(history: History, fact: Ended) -> Iterator[str]:
    run, world = fact.plan.run, history.world
    stands = {StepState.DONE, StepState.FAILED, StepState.ASKING, StepState.RUNNING, StepState.UNDOING}
    for step in fact.plan.steps:
        state = fact.progress.state(step.id)
        if step.undo and state in stands:
            yield f"run {run} says that all is put back, and its step {step.id} is {state}"
    fence = world.record.fence
    if fence is not None and fence.run == run and fence.weights != fact.plan.before:
        yield f"run {run} says that all is put back, and traffic goes where it sent it"


def _halted(fact: Ended) -> Iterator[str]:
    for step in fact.plan.steps:
        state = fact.progress.state(step.id)
        begun = state not in {StepState.PENDING, StepState.SKIPPED, StepState.REFUSED}
        one_way = begun and isinstance(step.work, Demote | FenceOff | Steer)
        told = state in {StepState.FAILED, StepState.REFUSED} and step.on_failure == "halt"
        if one_way or told or state is StepState.UNDO_FAILED:
            return
    yield f"run {fact.plan.run} halts although everything could be put back: {fact.text}"


def _overtaken(history: History, fact: Ended) -> Iterator[str]:
    if not history.service.runs[fact.plan.run].overtaken:
        yield f"run {fact.plan.run} says that somebody else is ahead, and nobody is: since its plan, or by hand before"


def quiet_once_over(history: History) -> Iterator[str]:
    for fact in history.stage.these(Wrote):
        run = _run(history, fact.change.run)
        if run is None or run.terminated or run.status in {None, RunStatus.HALTED}:
            continue  # a run that halts says that its write may have landed, or may land
        if any(each.by == "hand" and each.at >= run.started for each in history.world.changes):
            continue  # what was edited by hand and put back to the letter cannot be told from what was never edited
        yield f"{fact.change.fence.token} lands after its run has closed as {run.status}"


# ------------------------------------------------------------------ the table

NOTHING_RAISES = Invariant(
    "nothing-raises", "Whatever happens in whatever order has its place in the tables.", lambda history: iter(())
)
"""Found where a history is played, not by looking at it."""

INVARIANTS: tuple[Invariant, ...] = (
    NOTHING_RAISES,
    Invariant("never-empty", "The record never loses its answer by our hand.", never_empty),
    Invariant(
        "says-what-it-means",
        "Every write leaves a fence, and the answer that its weights mean.",
        says_what_it_means,
        (Wrote,),
    ),
    Invariant("once", "The effect of a step lands at most once, however often it is tried.", once, (Wrote,)),
    Invariant(
        "nothing-overwritten",
        "A write replaces what it was planned to replace, and no rival's write or hand edit.",
        nothing_overwritten,
        (Wrote,),
    ),
    Invariant(
        "never-to-the-unknown",
        "Nothing is chosen to get traffic that is down or unknown, unless a person says so by name.",
        never_to_the_unknown,
        (Decided,),
    ),
    Invariant("proved-first", "An endpoint has proved itself before it gets traffic.", proved_first, (Wrote,)),
    Invariant(
        "never-to-the-fenced",
        "Traffic never goes to an endpoint that is kept from serving.",
        never_to_the_fenced,
        (Wrote,),
    ),
    Invariant(
        "never-back-to-the-dead",
        "Once an unplanned move has steered, it is not taken back.",
        never_back_to_the_dead,
        (Wrote,),
    ),
    Invariant("capacity-stays", "No capacity is taken from an endpoint that carries traffic.", capacity_stays, (Took,)),
    Invariant(
        "seen-by-most",
        "Traffic leaves an endpoint as dead only if most vantages, two at least, saw it down.",
        seen_by_most,
        (Decided,),
    ),
    Invariant(
        "objections-never-shrink",
        "Knowing less never turns a hold into a question, or a question into an act.",
        objections_never_shrink,
        (Decided,),
    ),
    Invariant("one-run", "At most one run per service is under way.", one_run),
    Invariant("every-run-ends", "Every run that is interrupted completes, unwinds or halts.", every_run_ends),
    Invariant("ends-as-it-says", "The world is as a closed run says it left it.", ends_as_it_says, (Ended,)),
    Invariant("quiet-once-over", "Nothing lands any more for a run that has closed.", quiet_once_over, (Wrote,)),
)
"""All of them. A history ends at the first that does not hold."""


_ALWAYS = tuple(each for each in INVARIANTS if not each.about and each is not NOTHING_RAISES)
_AFTER = tuple(each for each in INVARIANTS if each.about)


def broken(history: History) -> Iterator[tuple[Invariant, str]]:
    """Every invariant that does not hold after the present event, and how."""
    due = _ALWAYS
    if history.stage.facts:
        kinds = {type(fact) for fact in history.stage.facts}
        due += tuple(each for each in _AFTER if not kinds.isdisjoint(each.about))
    for each in due:
        for text in each.check(history):
            yield each, text


def _run(history: History, run: str) -> Run | None:
    return next((each for name, each in history.service.runs.items() if name == run), None)
