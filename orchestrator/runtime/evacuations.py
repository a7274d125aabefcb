"""Evacuations as their users see them: begin one, look at it, stop it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from orchestrator.core.names import Domain
from orchestrator.runtime.asking import Asking
from orchestrator.runtime.connection import NoSuch, RefusedByRule
from workflows.options import TASK_TIMEOUT
from workflows.wire import CONTROL_QUEUE, domain_id, lost_id
from workflows.wire.evacuation import EvacuationReport, EvacuationRequest, EvacuationStop

FOLLOW_S = 0.2


class Evacuations:
    """What a person can ask of failure domains. Raises ControlPlaneAway, NoSuch, RefusedByRule."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._temporal = Asking(client)

    async def begin(self, request: EvacuationRequest) -> EvacuationReport:
        """Begin an evacuation. RefusedByRule while another one of that domain is under way; the same id is harmless."""
        try:
            await self._temporal.call(
                self._client.start_workflow(
                    "domain",
                    request,
                    id=domain_id(request.domain),
                    task_queue=CONTROL_QUEUE,
                    task_timeout=TASK_TIMEOUT,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                )
            )
        except WorkflowAlreadyStartedError as error:
            missing = f"{request.domain} was never evacuated"
            report = await self._temporal.query(domain_id(request.domain), "report", EvacuationReport, missing=missing)
            if report.id == request.id:
                return report
            raise RefusedByRule(
                f"{request.domain} is being evacuated by {report.by} already ({report.reason}); "
                f"look at it with: failover evacuation {request.domain}"
            ) from error
        return await self.report(request.domain)

    async def report(self, domain: Domain) -> EvacuationReport:
        """The domain's last evacuation: by people, or by itself where a region was lost. NoSuch when there was none."""
        missing = f"{domain} was never evacuated; begin with: failover evacuate {domain}"
        return (await self._latest(domain, missing))[1]

    async def _latest(self, domain: Domain, missing: str) -> tuple[str, EvacuationReport]:
        """The workflow of the last evacuation, and what it says."""
        found: list[tuple[str, EvacuationReport]] = []
        for workflow in (domain_id(domain), lost_id(domain)):
            with contextlib.suppress(NoSuch):
                report = await self._temporal.query(workflow, "report", EvacuationReport, missing=missing)
                found.append((workflow, report))
        if not found:
            raise NoSuch(missing)
        return max(found, key=lambda each: each[1].started)

    async def follow(self, domain: Domain) -> AsyncIterator[EvacuationReport]:
        """The report whenever it has changed, to its end."""
        missing = f"{domain} was never evacuated; begin with: failover evacuate {domain}"
        workflow, last = await self._latest(domain, missing)
        yield last
        while last.ended is None:
            await asyncio.sleep(FOLLOW_S)
            report = await self._temporal.query(workflow, "report", EvacuationReport, missing=missing)
            if report != last:
                last = report
                yield report

    async def stop(self, domain: Domain, stop: EvacuationStop) -> EvacuationReport:
        """Let no further service leave. RefusedByRule when it is stopped already, NoSuch when none is under way."""
        missing = f"no evacuation of {domain} is under way"
        try:
            workflow, _ = await self._latest(domain, missing)
            return await self._temporal.update(workflow, "stop", stop, EvacuationReport, missing=missing)
        except NoSuch as error:
            raise NoSuch(missing) from error
