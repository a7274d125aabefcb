"""Looking at all services at once: a few questions at a time, and none of them for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from orchestrator.core.errors import FailoverError
from orchestrator.core.move import Objection
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.topology import Service
from orchestrator.runtime.connection import ControlPlaneAway
from workflows.wire import EndpointBrief, ServiceStatus

AT_ONCE = 16
"""Questions under way at one time: 200 at once take longer than one after another, since the server holds them back."""
WITHIN_S = 5.0
"""How long one service may take to answer before it is shown as silent."""
ALL_WITHIN_S = 10.0
"""After this long what is left is asked in passing only."""
_IN_PASSING_S = 0.1


async def glance(
    ask: Callable[[Service], Awaitable[ServiceStatus]],
    services: tuple[Service, ...],
    *,
    within_s: float = WITHIN_S,
    all_within_s: float = ALL_WITHIN_S,
) -> tuple[ServiceStatus, ...]:
    """What *ask* says of each of *services*, sorted by id. One that does not answer hides no other.

    Raises what asking raised when no service answered at all.
    """
    places = asyncio.Semaphore(AT_ONCE)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + all_within_s
    away: list[FailoverError] = []

    async def one(service: Service) -> ServiceStatus:
        async with places:
            left_s = max(_IN_PASSING_S, min(within_s, deadline - loop.time()))
            try:
                async with asyncio.timeout(left_s):
                    return await ask(service)
            except TimeoutError:
                error: FailoverError = ControlPlaneAway(
                    "no worker answered in time: start one with failover worker, or failover up"
                )
            except FailoverError as raised:
                error = raised
            away.append(error)
            return silent(service, str(error))

    found = await asyncio.gather(*(one(service) for service in services))
    if away and len(away) == len(services):
        raise away[0]
    return tuple(sorted(found, key=lambda status: status.service))


def silent(service: Service, error: str) -> ServiceStatus:
    """What can be said of a service whose workflow does not answer: that nobody knows."""
    return ServiceStatus(
        service=service.id,
        name=service.name,
        revision=0,
        mode=service.policy.mode,
        as_of=datetime.now(UTC),
        assessments=tuple(
            Assessment(endpoint.id, Verdict.UNKNOWN, "its service does not answer", None, None, False)
            for endpoint in service.endpoints
        ),
        views=(),
        routing=None,
        held=(Objection("no-answer", f"the workflow of '{service.id}' does not answer: {error}"),),
        endpoints=tuple(EndpointBrief(e.id, e.region, e.role, e.url, None) for e in service.endpoints),
    )
