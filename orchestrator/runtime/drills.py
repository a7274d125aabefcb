"""Drills as their users see them: begin one, look at it, end it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime

from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError

from orchestrator.core.errors import BadInput
from orchestrator.core.names import ServiceId
from orchestrator.core.rehearsal import shadow_of
from orchestrator.core.topology import Service
from orchestrator.runtime.asking import Asking
from orchestrator.runtime.connection import NoSuch, RefusedByRule
from providers.base import FaultKind
from workflows.wire import CONTROL_QUEUE, DrillReport, DrillRequest, drill_id
from workflows.wire.drill import DRY, SKIPPED, SYNTHETIC, AbortDrill, Turn
from workflows.wire.ids import turn_id

BEGUN_WITHIN_S = 5.0
"""How long a drill may take to say whether it has its turn. After that it goes on unseen."""
POLL_S = 0.05


class Drills:
    """What a person can ask of drills. Raises ControlPlaneAway, NoSuch, RefusedByRule, BadInput."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._temporal = Asking(client)

    async def begin(self, request: DrillRequest, service: Service) -> DrillReport:
        """Start a drill of *service*. RefusedByRule while another one is under way that it cannot be held beside."""
        rehearsable(request, service)
        named = request if request.id else replace(request, id=f"d-{datetime.now(UTC):%Y%m%d-%H%M%S}")
        held = await self.under_way(named.service)
        if held is not None and (named.level != DRY or held.level != SYNTHETIC):
            raise RefusedByRule(held.text)
        try:
            await self._temporal.call(
                self._client.start_workflow(
                    "drill", named, id=drill_id(named.service, named.id), task_queue=CONTROL_QUEUE
                )
            )
        except WorkflowAlreadyStartedError as error:
            raise RefusedByRule(f"drill '{named.id}' is running already") from error
        # Of two who ask in the same second both get here, and one of their drills finds that it has no turn.
        deadline = time.monotonic() + BEGUN_WITHIN_S
        report = await self.report(named.service, named.id)
        while report.verdict == "running" and not report.phases and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            report = await self.report(named.service, named.id)
        if report.verdict == SKIPPED:
            raise RefusedByRule(report.text)
        return report

    async def under_way(self, service: ServiceId) -> Turn | None:
        """The drill of *service* that is under way; None where there is none, or a dry one."""
        with contextlib.suppress(NoSuch):
            return await self._temporal.query(turn_id(service), "holder", Turn, missing="free", running=True)
        return None

    async def report(self, service: ServiceId, drill: str) -> DrillReport:
        """The drill so far."""
        return await self._temporal.query(
            drill_id(service, drill), "report", DrillReport, missing=_none(service, drill)
        )

    async def abort(self, service: ServiceId, drill: str, asked: AbortDrill) -> DrillReport:
        """End it, with everything that it has put in taken out. RefusedByRule where it is over."""
        try:
            return await self._temporal.update(drill_id(service, drill), "abort", asked, DrillReport)
        except NoSuch:
            # Temporal says of a closed drill what it says of none.
            report = await self.report(service, drill)
        raise RefusedByRule(
            f"drill {drill} is over already ({report.verdict}); read it with: failover drill show {service} {drill}"
        )


def rehearsable(request: DrillRequest, service: Service) -> None:
    """Raise BadInput, or NoSuch, for a drill that could not even begin."""
    faults = [kind.value for kind in FaultKind]
    if request.fault not in faults:
        raise BadInput(f"there is no fault '{request.fault}'; there are: {', '.join(faults)}")
    if request.level == SYNTHETIC:
        shadow_of(service)
    names = [endpoint.id for endpoint in service.endpoints]
    if request.target is not None and request.target not in names:
        raise NoSuch(f"service '{service.id}' has no endpoint '{request.target}'; it has: {', '.join(names)}")


def _none(service: ServiceId, drill: str) -> str:
    return f"there is no drill '{drill}' of service '{service}'"
