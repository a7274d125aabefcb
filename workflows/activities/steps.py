"""The activities of the failover workflow: a plan's steps and their undos, and the adoption of a live record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from temporalio import activity

from orchestrator.core.errors import FailoverError
from orchestrator.core.steering import Routing, SteeringChange, next_lineage, stands, weights_in
from orchestrator.core.topology import Service
from providers import registry
from providers.base import ProbeClient, Refused
from workflows import options
from workflows.activities.translate import translated
from workflows.activities.verbs import Verbs, Weigh, nobody_to_ask
from workflows.wire import StepResult, StepTask

log = structlog.get_logger()


@contextmanager
def _told(what: str, task: StepTask) -> Iterator[None]:
    """One line of the log for the attempt, however it ends."""
    began = time.monotonic()
    line = log.bind(service=task.service, run=task.run, step=task.step, kind=task.work.kind)
    try:
        yield
    except FailoverError as error:
        seconds = round(time.monotonic() - began, 3)
        line.warning(f"{what}.failed", seconds=seconds, error=type(error).__name__, reason=str(error))
        raise
    line.info(f"{what}.done", seconds=round(time.monotonic() - began, 3))


class Steps:
    """Activities of the failover workflow."""

    def __init__(self, probes: ProbeClient, weigh: Weigh = nobody_to_ask) -> None:
        self._probes = probes
        self._weigh = weigh

    @activity.defn(name=options.STEP_ACTIVITY)
    async def step(self, task: StepTask) -> StepResult:
        """Do the step. Idempotent by ``task.key``."""
        found: list[object] = []
        with translated(found), _told("step", task):
            return await self._verbs(found).do(task)

    @activity.defn(name=options.UNDO_ACTIVITY)
    async def undo(self, task: StepTask) -> StepResult:
        """Undo the step. Idempotent by ``task.key``, which is not the step's own."""
        found: list[object] = []
        with translated(found), _told("undo", task):
            return await self._verbs(found).undo(task)

    def _verbs(self, found: list[object]) -> Verbs:
        """The verbs for one attempt; what it has found stands in *found*."""

        def beat(*details: object) -> None:
            found[:] = details
            activity.heartbeat(*details)

        return Verbs(self._probes, beat, self._weigh)

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
