"""Capacity, as steps change it: promote, drain, fence and demote, and what puts them back."""

from __future__ import annotations

import asyncio

from orchestrator.core.errors import BadInput
from orchestrator.core.steering import Routing
from providers import registry
from providers.base import ProviderError, Refused, Transient
from providers.catalog import Part
from runbooks.plan import Demote, Drain, FenceOff, Promote
from workflows.activities.idle import must_be_idle
from workflows.activities.pulse import Pulse
from workflows.wire import StepResult, StepTask

FENCE_POLL_S = FLIGHT_POLL_S = 0.2
ROOM_S = 10.0
"""What a demotion that has less time than its bake keeps for the act itself."""
SPARE_S = 0.5


async def promote(work: Promote, task: StepTask, pulse: Pulse) -> StepResult:
    """Scale up, let work in again, and wait until ready. Raises Transient, NoCapacity, NotFound."""
    control = registry.workload(work.workload)
    before = (await pulse.fresh(control.read())).desired
    pulse.found(before)
    why = ""
    try:
        if before < work.replicas:
            await pulse.through(control.scale(work.replicas, key=task.key))
        await _take_work_again(work, task, pulse)
        async for passed in pulse.turns(task.timeout_s, registry.pace_s(Part.WORKLOAD, work.workload.provider)):
            try:
                now = await pulse.through(control.read())
            except Transient as error:
                # Capacity comes, whether its provider answers each question or not.
                why = str(error)
                continue
            why = f"{now.ready} are ready"
            if now.ready >= work.replicas:
                text = f"{work.endpoint}: {now.ready} replicas ready after {passed:.1f} s"
                return StepResult(replicas_before=before, text=text)
    except asyncio.CancelledError as error:
        # Told as a failure: a cancellation would carry no word of the replicas there were.
        raise Transient(f"the promotion of {work.endpoint} was stopped") from error
    within = f"within {task.timeout_s:g} s"
    raise Transient(f"{work.endpoint} did not reach {work.replicas} ready replicas {within} ({why})")


async def _take_work_again(work: Promote, task: StepTask, pulse: Pulse) -> None:
    """End the drain that an earlier run has left behind: who was sent away from then must be let in again now."""
    try:
        control = registry.drain(work.workload)
    except BadInput:
        return  # this provider drains nothing
    await pulse.through(control.end(key=task.key))


async def give_back(work: Promote, task: StepTask, pulse: Pulse) -> StepResult:
    """Return what a promotion took, unless somebody may count on it. Raises what ``must_be_idle`` does, Transient.

    Where traffic had gone there, its last requests are waited for: going back loses none either.
    """
    before = task.replicas_before
    if before is None or before >= work.replicas:
        return StepResult(text=f"{work.endpoint} keeps its {work.replicas} replicas: it had them before")
    now = await must_be_idle(task, work.endpoint, "undo the promotion of", pulse, undoing=True)
    if _had_traffic(task, now):
        await _let_finish(work, task, pulse)
        await must_be_idle(task, work.endpoint, "undo the promotion of", pulse, undoing=True)
    await pulse.through(registry.workload(work.workload).scale(before, key=task.key))
    return StepResult(text=f"{work.endpoint} back to {before} replicas")


def _had_traffic(task: StepTask, now: Routing) -> bool:
    """Whether this run had steered before it went back; a fence that only seals has none of its writes before it."""
    fence = now.fence
    return fence is not None and any(token.startswith(f"{task.run}/") for _, token in fence.lineage)


async def _let_finish(work: Promote, task: StepTask, pulse: Pulse) -> None:
    """Give clients the time to live of the answer they may hold, and what is in flight the time to finish.

    Each within a third of the step's time: then capacity is returned whoever is still there.
    """
    ttl_s = task.steering.ttl_s if task.steering is not None else 0
    await pulse.hold(min(float(ttl_s), task.timeout_s / 3))
    try:
        control = registry.drain(work.workload)
    except BadInput:
        return  # this provider cannot tell
    every_s = max(FLIGHT_POLL_S, registry.pace_s(Part.DRAIN, work.workload.provider))
    async for _ in pulse.turns(task.timeout_s / 3, every_s):
        try:
            if not await pulse.through(control.in_flight()):
                return
        except ProviderError:
            return


async def drain(work: Drain, task: StepTask, pulse: Pulse) -> StepResult:
    """Wait until nothing is in flight. Raises Refused when something still is."""
    await must_be_idle(task, work.endpoint, "drain", pulse)
    control = registry.drain(work.workload)
    await pulse.through(control.begin(key=task.key))
    left: int | None = None
    async for passed in pulse.turns(task.timeout_s - 0.5, registry.pace_s(Part.DRAIN, work.workload.provider)):
        left = await pulse.through(control.in_flight())
        if left is None:
            return StepResult(text=f"{work.endpoint} cannot tell its requests in flight; the TTL is over")
        if left == 0:
            return StepResult(text=f"{work.endpoint}: nothing in flight after {passed:.1f} s")
    raise Refused(f"{work.endpoint} still has {left} requests in flight after {task.timeout_s:g} s")


async def undrain(work: Drain, task: StepTask, pulse: Pulse) -> StepResult:
    """Let it take new work again."""
    await pulse.through(registry.drain(work.workload).end(key=task.key))
    return StepResult(text=f"{work.endpoint} takes new work again")


async def fence_off(work: FenceOff, task: StepTask, pulse: Pulse) -> StepResult:
    """Scale to nothing, and read back that nothing is left. Raises Refused where that cannot be confirmed in time.

    Who controls the workload may be away with the region it stands in: then the endpoint may serve again when it
    comes back, and the step says so instead of passing.
    """
    control = registry.workload(work.workload)
    asked, why = False, "nobody answered in time"
    every_s = max(FENCE_POLL_S, registry.pace_s(Part.WORKLOAD, work.workload.provider))
    async for passed in pulse.turns(task.timeout_s - 0.5, every_s):
        try:
            if not asked:
                # Each time: who controls it may be away for long, and the world goes on meanwhile.
                await must_be_idle(task, work.endpoint, "fence", pulse)
                await pulse.through(control.scale(0, key=task.key))
                asked = True
            now = await pulse.through(control.read())
        except Transient as error:
            why = str(error)
            continue
        if now.desired == 0 and now.ready == 0:
            return StepResult(text=f"{work.endpoint} can serve no more: no replica is left after {passed:.1f} s")
        why = f"{now.ready} replicas are ready and {now.desired} are wanted"
    raise Refused(
        f"{work.endpoint} may still serve: that it has no replica left could not be confirmed within "
        f"{task.timeout_s:g} s ({why}); stop it by hand"
    )


async def demote(work: Demote, task: StepTask, pulse: Pulse) -> StepResult:
    """Return to standby capacity after the bake. Raises what ``must_be_idle`` does, Transient."""
    # An attempt that follows a worker's death has less time than the bake: it must keep some for the act itself.
    short = task.timeout_s - work.bake_s < SPARE_S
    await pulse.hold(max(0.0, task.timeout_s - min(ROOM_S, task.timeout_s / 2)) if short else work.bake_s)
    await must_be_idle(task, work.endpoint, "demote", pulse)
    await pulse.through(registry.workload(work.workload).scale(work.replicas, key=task.key))
    return StepResult(text=f"{work.endpoint} returned to {work.replicas} replicas")
