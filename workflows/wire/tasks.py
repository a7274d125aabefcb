"""From a step of a plan to the task that carries it out, whoever does: a workflow, a leader, or break-glass."""

from __future__ import annotations

from orchestrator.core.names import EndpointId
from orchestrator.core.topology import Service
from runbooks.course import standing
from runbooks.plan import Demote, Drain, FenceOff, Place, Plan, Promote, Step
from runbooks.progress import Progress
from workflows.wire.run import StepTask


def task_of(plan: Plan, service: Service, progress: Progress, step: Step, timeout_s: float | None = None) -> StepTask:
    """One attempt at *step*, *timeout_s* long; None: as long as the plan says.

    A run that was switched on its way does not stand on the generation that it was planned for.
    """
    step = standing(plan, progress, step)
    return StepTask(
        service=plan.service,
        name=service.name,
        run=plan.run,
        step=step.id,
        work=step.work,
        timeout_s=step.timeout_s if timeout_s is None else timeout_s,
        generation=step.generation,
        base=plan.generation,
        steering=service.steering,
        own=next((each.answer for each in service.endpoints if each.id == _endpoint(step)), None),
        source=plan.source,
        target=plan.target,
        kind=plan.kind,
        after=plan.after,
        overrides=plan.trigger.overrides,
    )


def places(service: Service, endpoints: tuple[EndpointId, ...]) -> tuple[Place, ...]:
    """Where those of *endpoints* stand that the service has."""
    return tuple(Place(e.id, e.url, service.name, e.region, e.probes) for e in service.endpoints if e.id in endpoints)


def _endpoint(step: Step) -> EndpointId | None:
    """The endpoint whose capacity *step* changes."""
    return step.work.endpoint if isinstance(step.work, Promote | Drain | FenceOff | Demote) else None
