"""What workflows read of the world, in activities that write nothing; and taking a record under the fence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.easing import Setback
    from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
    from orchestrator.core.steering import Routing
    from orchestrator.core.topology import Service
    from workflows import options
    from workflows.wire import NOTHING_HEARD, Look, LookRequest, RecheckRequest
    from workflows.wire.governor import SetbackQuestion, Setbacks


async def look(request: LookRequest) -> Look:
    """Heartbeats and routing as they are now; nothing heard and nothing read where that takes too long."""
    try:
        found: Look = await workflow.execute_local_activity(
            options.LOOK_ACTIVITY,
            request,
            result_type=Look,
            start_to_close_timeout=options.LOOK,
            schedule_to_close_timeout=options.LOOK,
            retry_policy=options.ONCE,
        )
    except FailureError:
        return Look(heartbeats=NOTHING_HEARD, routing_error="reading took too long")
    return found


async def look_longer(request: LookRequest) -> Look:
    """The same for a planned move, which has time: a cloud's control plane answers in seconds, not in milliseconds."""
    patient = replace(request, budget_s=options.LOOK_LONGER.total_seconds() - 1.0)
    try:
        found: Look = await workflow.execute_activity(
            options.LOOK_ACTIVITY,
            patient,
            result_type=Look,
            schedule_to_close_timeout=options.LOOK_LONGER,
            retry_policy=options.ONCE,
        )
    except FailureError:
        return Look(heartbeats=NOTHING_HEARD, routing_error="reading took too long")
    return found


async def fate_of(workflow_id: str) -> str | None:
    """How a run's workflow is: ``RUNNING``, ``COMPLETED``, ``TERMINATED``, ``GONE`` ...; None: nobody could say."""
    try:
        status: str = await workflow.execute_local_activity(
            options.DESCRIBE_RUN,
            workflow_id,
            result_type=str,
            start_to_close_timeout=options.LOOK,
            schedule_to_close_timeout=options.LOOK,
            retry_policy=options.ONCE,
        )
    except FailureError:
        return None
    return status


async def recheck(service: ServiceId, sources: tuple[EndpointId, ...]) -> str | None:
    """Why traffic must not leave *sources* after all: they are healthy again. None: nobody could say so."""
    try:
        again: str = await workflow.execute_local_activity(
            options.RECHECK,
            RecheckRequest(service, sources),
            result_type=str,
            start_to_close_timeout=options.LOOK,
            schedule_to_close_timeout=options.LOOK,
            retry_policy=options.ONCE,
        )
    except FailureError as error:
        # A local activity raises its failure as it is, not as an ActivityError.
        if is_cancelled_exception(error):
            raise
        return None  # nobody could say otherwise: the verdict stands
    return again or None


async def setbacks(regions: tuple[Domain, ...]) -> tuple[Setback, ...] | None:
    """What the governor remembers of returns into *regions*; None: it does not say."""
    try:
        found: Setbacks = await workflow.execute_local_activity(
            options.SETBACKS,
            SetbackQuestion(regions),
            result_type=Setbacks,
            start_to_close_timeout=options.GOVERNOR_ANSWERS,
            schedule_to_close_timeout=options.GOVERNOR_ANSWERS,
            retry_policy=options.ONCE,
        )
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        return None
    return found.found


async def landed(service: Service, run: RunId) -> bool:
    """Whether a write of *run* stands at the primary now."""
    found = await look(LookRequest(service.id, (), 0, service.steering))
    return found.routing is not None and found.routing.fence is not None and found.routing.fence.run == run


async def adopt(service: Service) -> Routing:
    """Take the live record under the fence, its answer unchanged. A regular activity: it writes."""
    if service.steering is None:
        raise ApplicationError(
            f"service '{service.id}' has no steering, so there is no record to adopt", type="Refused"
        )
    routing: Routing = await workflow.execute_activity(
        options.ADOPT_ACTIVITY,
        args=[service, RunId(f"adopt-{workflow.now():%Y%m%d-%H%M%S}")],
        result_type=Routing,
        start_to_close_timeout=timedelta(seconds=5),
        schedule_to_close_timeout=timedelta(seconds=15),
        retry_policy=options.PATIENT,
    )
    return routing
