"""Capacity of a Cloud Run service: instances that it keeps warm, set for the whole service so that no revision is made.

Cloud Run tells no number of instances (that is a metric, minutes late): *ready* is what it has carried out. A service
that scales by itself also starts instances for requests, however few it keeps: with a minimum of 0 it still serves, so
it counts as 1 ready. Only manual scaling can take a service out of service, by 0 instances.
(https://cloud.google.com/run/docs/configuring/min-instances and .../configuring/services/manual-scaling)
"""

from __future__ import annotations

import structlog
from google.cloud import run_v2

from orchestrator.core.topology import Workload
from providers.base import Capacity, NoCapacity, Refused, Transient
from providers.gcp.errors import Overtaken, shortage
from providers.gcp.run_service import RunService
from providers.gcp.session import Access, required

log = structlog.get_logger()

_ROUNDS = 5
"""The etag also changes while Cloud Run carries out what it accepted: so often an update is sent again."""
_SUCCEEDED = run_v2.Condition.State.CONDITION_SUCCEEDED
_FAILED = run_v2.Condition.State.CONDITION_FAILED


class CloudRunWorkload:
    """WorkloadControl of one service: its minimum of instances, or their number where it scales manually."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle without its options. Credentials are looked for at use, not here."""
        project, region = required(handle.options, "project", "region", of=f"the workload {handle.target} of cloud-run")
        self._service = RunService(project, region, handle.target, Access.of(handle.options))

    async def read(self) -> Capacity:
        """Raises Transient, NotFound, Unauthenticated, Forbidden; NoCapacity where Cloud Run has found no
        room since it accepted the level."""
        service = await self._service.read()
        self._object_to_failure(service)
        return _capacity(service)

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Set the level and return when Cloud Run has accepted it.

        Raises NoCapacity above the service's maximum and for a quota, Refused where a revision's own minimum is higher,
        and as ``read``.
        """
        for _ in range(_ROUNDS):
            service = await self._service.read()
            now = _capacity(service)
            if now.desired == replicas:
                return now
            self._object(service, replicas, now)
            field = "manual_instance_count" if _manual(service) else "min_instance_count"
            setattr(service.scaling, field, replicas)
            try:
                await self._service.update(service, f"scaling.{field}")
            except Overtaken:
                continue
            log.info("workload.scaled", target=self._service.at, replicas=replicas, key=key)
            return Capacity(replicas, 1 if replicas == 0 else 0, now.limit)
        raise Transient(f"{self._service.at} changes faster than it can be read and updated; try again")

    def _object(self, service: run_v2.Service, replicas: int, now: Capacity) -> None:
        if now.limit is not None and replicas > now.limit:
            raise NoCapacity(
                f"{self._service.at} may have at most {now.limit} instances, and {replicas} are asked for; "
                "raise its maximum, or choose another target"
            )
        of_revisions = int(service.template.scaling.min_instance_count)
        if not _manual(service) and replicas < of_revisions:
            raise Refused(
                f"the revisions of {self._service.at} keep {of_revisions} instances of their own; set the minimum for "
                "the service instead (gcloud run services update --min), and deploy with --min-instances=default"
            )

    def _object_to_failure(self, service: run_v2.Service) -> None:
        condition = service.terminal_condition
        if service.reconciling or condition.state != _FAILED:
            return
        short = shortage(condition.message)
        if short:
            raise NoCapacity(f"{self._service.at} found no room: {short}; ask Google for more, or choose another place")
        reason = condition.reason.name if condition.reason else "it does not say why"
        log.warning("workload.not-ready", target=self._service.at, reason=reason)


def _manual(service: run_v2.Service) -> bool:
    return bool(service.scaling.scaling_mode == run_v2.ServiceScaling.ScalingMode.MANUAL)


def _capacity(service: run_v2.Service) -> Capacity:
    scaling, of_revisions = service.scaling, service.template.scaling
    if _manual(service):
        desired, limit = int(scaling.manual_instance_count), None
    else:
        desired = max(int(scaling.min_instance_count), int(of_revisions.min_instance_count))
        limits = [int(each) for each in (scaling.max_instance_count, of_revisions.max_instance_count) if each]
        limit = min(limits, default=None)
    settled = (
        not service.reconciling
        and service.observed_generation == service.generation
        and service.terminal_condition.state == _SUCCEEDED
    )
    # Of what is under way it is not known how far it is: not ready where some are wanted, not gone where none is.
    ready = desired if settled else 0
    return Capacity(desired, ready if desired else int(not (settled and _manual(service))), limit)
