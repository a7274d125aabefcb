"""Traffic, as steps move it: steer, converge, and the way back."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.core.record import Entry, Mark
from orchestrator.core.steering import Routing, SteeringChange, next_lineage
from orchestrator.core.topology import Answer, Weights
from providers import registry
from providers.base import (
    ChangedOutside,
    NoWayBack,
    ProbeClient,
    Refused,
    ServerAnswer,
    StaleGeneration,
    Transient,
    UndoFailed,
)
from providers.catalog import Part
from runbooks.plan import Converge, Place, Steer
from workflows.activities.proving import verify
from workflows.activities.pulse import Pulse
from workflows.wire import StepResult, StepTask


async def steer(work: Steer, task: StepTask, pulse: Pulse) -> StepResult:
    """The one write. Raises what ``Steering.write`` does."""
    change = SteeringChange(work.expects, work.was, work.weights, work.answer, task.run, task.step, work.lineage)
    routing = await pulse.through(registry.steering(work.steering).write(change))
    return StepResult(routing=routing, text=f"{work.steering.name} at generation {routing.generation}")


async def converge(work: Converge, task: StepTask, pulse: Pulse) -> StepResult:
    """Wait until every authoritative server that answers gives the new answer. Raises Transient."""
    steering = registry.steering(work.steering)
    first: Entry | None = None
    answers: tuple[ServerAnswer, ...] = ()
    async for _ in pulse.turns(task.timeout_s, registry.pace_s(Part.STEERING, work.steering.provider)):
        answers = await steering.answers()
        changed = [each.server for each in answers if each.answer == work.answer]
        if changed and first is None:
            text = f"{changed[0]} answers {', '.join(work.answer.values)}"
            first = Entry(datetime.now(UTC), Mark.CHANGED, text, task.step)
        # A server that gives no answer misleads nobody; one with the old answer does.
        if first is not None and all(each.answer == work.answer or each.error for each in answers):
            silent = [each.server for each in answers if each.error]
            note = f"; no answer from {', '.join(silent)}" if silent else ""
            return StepResult((first,), text=f"{len(changed)} of {len(answers)} servers give the new answer{note}")
    behind = ", ".join(each.server for each in answers if each.answer != work.answer)
    raise Transient(f"not every server gives the new answer after {task.timeout_s:g} s: {behind}")


async def steer_back(work: Steer, task: StepTask, probes: ProbeClient, pulse: Pulse) -> StepResult:
    """All the way back in one write at a new generation, and only to endpoints that are healthy now.

    In a move by stages each stage is undone in turn: the first of them goes back, the others find it done. That one may
    not have landed itself: a write of its own that is still on its way then meets a generation it does not expect.
    Raises UndoFailed (NoWayBack while the step's own write stands), StaleGeneration, ChangedOutside, Transient.
    """
    name, origin = work.steering.name, work.origin or work.was
    if work.before is None or origin is None:
        raise UndoFailed(f"nobody knows what {name} answered before: decide by hand")
    steering = registry.steering(work.steering)
    now = await pulse.through(steering.read())
    fence = now.fence
    if fence is not None and fence.token == task.key:
        return StepResult(routing=now, text=f"{name} is back at generation {now.generation}")
    ours = fence is not None and fence.run == task.run
    if ours and fence is not None and (fence.weights, now.answer) == (work.before, origin):
        return StepResult(routing=now, text=f"{name} is back at generation {now.generation} already")
    never_landed = now.generation == work.expects and now.answer == work.was
    if never_landed and not ours:
        return await _sealed(work, task, now, pulse)
    if not never_landed:
        _object_to_others(work, task, now)
    for place in task.sources:
        await _must_be_well(place, task, probes, pulse, UndoFailed if never_landed else NoWayBack)
    change = _next(now, work.before, origin, task)
    try:
        routing = await pulse.through(steering.write(change))
    except StaleGeneration as error:
        await _object_to_ourselves(work, task, pulse, error)
        raise
    return StepResult(routing=routing, text=f"{name} back at generation {routing.generation}")


def _object_to_others(work: Steer, task: StepTask, now: Routing) -> None:
    """Raise unless the step's own write stands, with the answer that it gave.

    StaleGeneration where another run has written since, ChangedOutside where a person has; else UndoFailed.
    """
    fence, name = now.fence, work.steering.name
    if fence is not None and fence.run != task.run and now.generation > work.expects:
        raise StaleGeneration(f"{name} is at generation {now.generation} by run {fence.run}, step {fence.step}")
    if fence is None or fence.run != task.run or now.generation != work.expects + 1:
        hand = f"by step {fence.step} of this run" if fence and fence.run == task.run else "by another hand"
        raise UndoFailed(f"{name} is at generation {now.generation} {hand}: decide by hand")
    if now.answer != work.answer:
        raise ChangedOutside(f"{name} was edited by hand: decide by hand")


def _next(now: Routing, weights: Weights, answer: Answer, task: StepTask) -> SteeringChange:
    """The write that replaces *now*."""
    lineage = next_lineage(now.fence)
    return SteeringChange(now.generation, now.answer, weights, answer, task.run, task.step, lineage)


async def _sealed(work: Steer, task: StepTask, now: Routing, pulse: Pulse) -> StepResult:
    """Nothing had landed. A new generation with the same answer keeps it so, whatever is still on its way.

    A writer that was frozen in the middle of the step would otherwise move traffic after the run has ended.
    """
    name = work.steering.name
    if now.answer is None or now.fence is None:
        return StepResult(routing=now, text=f"{name} had not changed")
    change = _next(now, now.fence.weights, now.answer, task)
    try:
        routing = await pulse.through(registry.steering(work.steering).write(change))
    except StaleGeneration as error:
        await _object_to_ourselves(work, task, pulse, error)
        raise
    except ChangedOutside:
        raise
    except Refused as error:
        # The same that kept the step from writing. In doubt it is tried again: a write may still be on its way.
        return StepResult(routing=now, text=f"{name} had not changed; it takes no write now ({error})")
    return StepResult(routing=routing, text=f"{name} had not changed; generation {routing.generation} keeps it so")


async def _object_to_ourselves(work: Steer, task: StepTask, pulse: Pulse, error: StaleGeneration) -> None:
    """Ask for another try where it was the step's own late write that came first."""
    fence = (await pulse.through(registry.steering(work.steering).read())).fence
    if fence is not None and fence.run == task.run:
        raise Transient(f"step {fence.step} of this run wrote only now: {error}") from error


async def _must_be_well(
    place: Place, task: StepTask, probes: ProbeClient, pulse: Pulse, otherwise: type[UndoFailed]
) -> None:
    # As long as one answer may take: a model's completion is slow, and one that is cut off proves nothing.
    longest = max((spec.timeout_s for spec in place.probes), default=0.0) + 0.5
    try:
        await verify(place, 1, min(max(3.0, longest), task.timeout_s), probes, pulse)
    except Refused as error:
        raise otherwise(f"will not go back to {place.endpoint}, which is not healthy: {error}") from error
