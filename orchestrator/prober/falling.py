"""Many services that lose endpoints in one region at once: what is said of them leaves together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from orchestrator.core.health import Health
from orchestrator.core.names import Domain, EndpointId, ServiceId, region_of
from orchestrator.core.quorum import Report
from orchestrator.core.topology import Service
from orchestrator.prober.watched import meant_to_be_off
from workflows.wire.lost import Fallen

MANY = 10
"""So many services that have something down in one region are one event."""
WITHIN_S = 3.0


class Falling:
    """Counts, for each region, the services that were lately reported to have an endpoint down there.

    A standby that is meant to be off does not count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stands: Mapping[tuple[ServiceId, EndpointId], Domain] = {}
        self._known: Mapping[ServiceId, Service] = {}
        self._fell: dict[Domain, dict[ServiceId, float]] = {}

    def configure(self, services: Iterable[Service]) -> None:
        """Know where the endpoints of *services* stand."""
        known = tuple(services)
        self._stands = {
            (service.id, endpoint.id): region_of(endpoint.region)
            for service in known
            for endpoint in service.endpoints
            if not meant_to_be_off(endpoint)
        }
        self._known = {service.id: service for service in known}

    def fallen(self, report: Report) -> Fallen:
        """*report* with what says how soon its service is led out."""
        service = self._known.get(report.service)
        return Fallen(report) if service is None else Fallen(report, service.policy.tier, service.depends)

    def region(self, report: Report) -> Domain | None:
        """The region that *report* leaves for, together with others; None: it goes by itself."""
        regions = {
            region
            for state in report.states
            if state.health is Health.DOWN and (region := self._stands.get((report.service, state.endpoint)))
        }
        if len(regions) != 1 or report.isolated:
            return None
        (region,) = regions
        now = self._clock()
        fell = self._fell.setdefault(region, {})
        fell.pop(report.service, None)
        fell[report.service] = now
        for service in [service for service, at in fell.items() if at < now - WITHIN_S]:
            del fell[service]
        return region if len(fell) >= MANY else None
