"""Carrying out a plan's steps: each is one provider call, or a bounded wait that heartbeats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from typing import TypeVar, assert_never

from temporalio import activity

from orchestrator.core.names import EndpointId
from orchestrator.core.record import Entry, Mark
from orchestrator.core.steering import Routing, SteeringChange, next_lineage, stands, weights_in
from orchestrator.core.topology import Answer, ProbeKind, Service
from providers import registry
from providers.base import ChangedOutside, ProbeClient, Refused, ServerAnswer, StaleGeneration, Transient, UndoFailed
from runbooks.plan import Converge, Demote, Drain, Place, Promote, Steer, Verify
from workflows import options
from workflows.activities.translate import translated
from workflows.wire import StepResult, StepTask

POLL_S = 0.05
_T = TypeVar("_T")


async def _beats(within_s: float, every_s: float = POLL_S, details: tuple[object, ...] = ()) -> AsyncIterator[float]:
    """Turns until *within_s* are over, heartbeating *details*; yields the seconds that have passed."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < within_s:
        activity.heartbeat(*details)
        yield passed
        await asyncio.sleep(every_s)


async def _beating(work: Awaitable[_T], details: tuple[object, ...] = ()) -> _T:
    """*work*, heartbeating *details* while it takes its time: a slow provider is not a dead worker."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            activity.heartbeat(*details)
            await asyncio.wait([task], timeout=0.5)
    finally:
        task.cancel()
    return task.result()


class Steps:
    """Activities of the failover workflow."""

    def __init__(self, probes: ProbeClient) -> None:
        self._probes = probes

    @activity.defn(name=options.STEP_ACTIVITY)
    async def step(self, task: StepTask) -> StepResult:
        """Do the step. Idempotent by ``task.key``."""
        with translated():
            match task.work:
                case Promote():
                    return await self._promote(task.work, task)
                case Verify(place, passes):
                    return await self._verify(place, passes, task.timeout_s)
                case Steer():
                    return await self._steer(task.work, task)
                case Converge():
                    return await self._converge(task.work, task)
                case Drain():
                    return await self._drain(task.work, task)
                case Demote():
                    return await self._demote(task.work, task)
                case _:
                    assert_never(task.work)

    @activity.defn(name=options.UNDO_ACTIVITY)
    async def undo(self, task: StepTask) -> StepResult:
        """Undo the step. Idempotent by ``task.key``, which is not the step's own."""
        with translated():
            match task.work:
                case Promote():
                    return await self._give_back(task.work, task)
                case Steer():
                    return await self._steer_back(task.work, task)
                case Drain(endpoint, workload):
                    await _beating(registry.drain(workload).end(key=task.key))
                    return StepResult(text=f"{endpoint} takes new work again")
                case Verify() | Converge() | Demote():
                    return StepResult(text="nothing to undo")
                case _:
                    assert_never(task.work)

    @activity.defn(name=options.ADOPT_ACTIVITY)
    async def adopt(self, service: Service, run: str) -> Routing:
        """Take the live record under the fence, its answer unchanged; after a hand edit, what it says now.

        Does nothing where a fence stands that means this answer.
        """
        with translated():
            if service.steering is None:
                raise Refused(f"service '{service.id}' has no steering, so there is no record to adopt")
            steering = registry.steering(service.steering)
            now = await steering.read()
            if now.fence is not None and stands(now, service.endpoints):
                return now
            weights = weights_in(now.answer, service.endpoints)
            if now.answer is None or weights is None:
                said = ", ".join(now.answer.values) if now.answer else "nothing"
                raise Refused(
                    f"{service.steering.name} answers {said}, which no endpoint of '{service.id}' explains: "
                    "correct the endpoints' answer in the topology, or the record"
                )
            lineage = next_lineage(now.fence)
            return await steering.write(
                SteeringChange(now.generation, now.answer, weights, now.answer, run, "adopt", lineage)
            )

    # ------------------------------------------------------------------ the verbs

    async def _promote(self, work: Promote, task: StepTask) -> StepResult:
        control = registry.workload(work.workload)
        before = (await _beating(control.read())).desired
        # The undo must know it, however this attempt ends.
        activity.heartbeat(before)
        with translated(before):
            try:
                if before < work.replicas:
                    await _beating(control.scale(work.replicas, key=task.key), (before,))
                async for passed in _beats(task.timeout_s, details=(before,)):
                    now = await _beating(control.read(), (before,))
                    if now.ready >= work.replicas:
                        text = f"{work.endpoint}: {now.ready} replicas ready after {passed:.1f} s"
                        return StepResult(replicas_before=before, text=text)
            except asyncio.CancelledError as error:
                # Told as a failure: a cancellation would carry no word of the replicas there were.
                raise Transient(f"the promotion of {work.endpoint} was stopped") from error
            within = f"within {task.timeout_s:g} s"
            raise Transient(f"{work.endpoint} did not reach {work.replicas} ready replicas {within}")

    async def _verify(self, place: Place, passes: int, within_s: float) -> StepResult:
        """*passes* good answers in a row; a completed inference where the endpoint is a model.

        Asked under the service's own name too, where a probe does so: a certificate that lacks it must not go live.
        """
        chats = [spec for spec in place.probes if spec.kind is ProbeKind.CHAT]
        specs = [spec for spec in place.probes if not chats or spec in chats or spec.as_name]
        if not specs:
            raise Refused(f"endpoint '{place.endpoint}' has no probes, so nothing can verify it: give it one")
        row, last, what = 0, "", "completions" if chats else "answers"
        began = time.monotonic()
        async for _ in _beats(within_s):
            # No pause between good answers: it would prove nothing more, and nobody is served meanwhile.
            while (passed := time.monotonic() - began) < within_s:
                asked = (self._probes.ask(spec, place.url, name=place.name, fresh=True) for spec in specs)
                outcomes = await _beating(asyncio.gather(*asked))
                bad = [outcome for outcome in outcomes if outcome.kind != "passed"]
                if bad:
                    row, last = 0, bad[0].detail
                    break
                row += 1
                if row >= passes:
                    return StepResult(text=f"{place.endpoint}: {row} good {what} in a row after {passed:.1f} s")
        raise Refused(f"{place.endpoint} did not give {passes} good answers in a row within {within_s:g} s: {last}")

    async def _steer(self, work: Steer, task: StepTask) -> StepResult:
        change = SteeringChange(work.expects, work.was, work.weights, work.answer, task.run, task.step, work.lineage)
        routing = await registry.steering(work.steering).write(change)
        return StepResult(routing=routing, text=f"{work.steering.name} at generation {routing.generation}")

    async def _converge(self, work: Converge, task: StepTask) -> StepResult:
        steering = registry.steering(work.steering)
        first: Entry | None = None
        answers: tuple[ServerAnswer, ...] = ()
        async for _ in _beats(task.timeout_s):
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

    async def _drain(self, work: Drain, task: StepTask) -> StepResult:
        await self._must_be_idle(task, work.endpoint, "drain")
        drain = registry.drain(work.workload)
        await _beating(drain.begin(key=task.key))
        left: int | None = None
        async for passed in _beats(task.timeout_s - 0.5):
            left = await _beating(drain.in_flight())
            if left is None:
                return StepResult(text=f"{work.endpoint} cannot tell its requests in flight; the TTL is over")
            if left == 0:
                return StepResult(text=f"{work.endpoint}: nothing in flight after {passed:.1f} s")
        raise Refused(f"{work.endpoint} still has {left} requests in flight after {task.timeout_s:g} s")

    async def _demote(self, work: Demote, task: StepTask) -> StepResult:
        async for _ in _beats(min(work.bake_s, task.timeout_s), 1.0):
            pass
        await self._must_be_idle(task, work.endpoint, "demote")
        await _beating(registry.workload(work.workload).scale(work.replicas, key=task.key))
        return StepResult(text=f"{work.endpoint} returned to {work.replicas} replicas")

    async def _must_be_idle(self, task: StepTask, endpoint: EndpointId, verb: str, *, undoing: bool = False) -> None:
        """Refuse to take capacity away unless the routing is our run's own and sends *endpoint* nothing.

        An undo may also meet the routing that the run was planned from: then nothing has been steered at all.
        """
        if task.steering is None:
            raise Refused(f"cannot {verb} {endpoint}: without steering nobody knows whether it carries traffic")
        now = await _beating(registry.steering(task.steering).read())
        fence = now.fence
        ours = fence is not None and fence.run == task.run and (undoing or now.generation == task.generation)
        if fence is None or not (ours or (undoing and now.generation == task.generation - 1)):
            raise StaleGeneration(
                f"will not {verb} {endpoint}: the routing is at generation {now.generation}, "
                + (f"by run {fence.run}, step {fence.step}" if fence else "without a fence")
                + f", and not {'as this run left it' if undoing else f'our {task.generation}'}"
            )
        if dict(fence.weights).get(endpoint, 0) > 0:
            raise Refused(f"will not {verb} {endpoint}: it carries traffic")
        said = set(now.answer.values) if now.answer is not None else set()
        if task.own is not None and said & set(task.own.values):
            raise ChangedOutside(
                f"will not {verb} {endpoint}: {task.steering.name} answers {', '.join(sorted(said))}, which sends it "
                "traffic although the fence says otherwise; somebody edited it by hand"
            )

    # ------------------------------------------------------------------ the undos

    async def _give_back(self, work: Promote, task: StepTask) -> StepResult:
        before = task.replicas_before
        if before is None or before >= work.replicas:
            return StepResult(text=f"{work.endpoint} keeps its {work.replicas} replicas: it had them before")
        await self._must_be_idle(task, work.endpoint, "undo the promotion of", undoing=True)
        await _beating(registry.workload(work.workload).scale(before, key=task.key))
        return StepResult(text=f"{work.endpoint} back to {before} replicas")

    async def _steer_back(self, work: Steer, task: StepTask) -> StepResult:
        """A new generation with the old weights; only towards endpoints that are healthy now."""
        if work.before is None or work.was is None:
            raise UndoFailed(f"nobody knows what {work.steering.name} answered before: decide by hand")
        steering = registry.steering(work.steering)
        now = await _beating(steering.read())
        if now.fence is not None and now.fence.token == task.key:
            return StepResult(routing=now, text=f"{work.steering.name} is back at generation {now.generation}")
        if now.generation == work.expects and now.answer == work.was:
            return StepResult(routing=now, text=f"{work.steering.name} had not changed")
        if now.fence is None or now.generation != work.expects + 1 or now.fence.run != task.run:
            raise UndoFailed(f"{work.steering.name} is at generation {now.generation} by another hand: decide by hand")
        if now.answer != work.answer:
            raise ChangedOutside(f"{work.steering.name} was edited by hand: decide by hand")
        for place in task.sources:
            # As long as one answer may take: a model's completion is slow, and one that is cut off proves nothing.
            longest = max((spec.timeout_s for spec in place.probes), default=0.0) + 0.5
            try:
                await self._verify(place, 1, min(max(3.0, longest), task.timeout_s))
            except Refused as error:
                raise UndoFailed(f"will not go back to {place.endpoint}, which is not healthy: {error}") from error
        answer: Answer = work.was
        lineage = next_lineage(now.fence)
        change = SteeringChange(now.generation, now.answer, work.before, answer, task.run, task.step, lineage)
        routing = await _beating(steering.write(change))
        return StepResult(routing=routing, text=f"{work.steering.name} back at generation {routing.generation}")
