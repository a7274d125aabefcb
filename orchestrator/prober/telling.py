"""What an engine says: reports when opinions change, and what the next epoch should begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from orchestrator.core.health import EndpointState, Health
from orchestrator.core.names import EndpointId, ServiceId, VantageId
from orchestrator.core.quorum import Report, Seed, Seeded
from orchestrator.prober.isolation import Regions
from orchestrator.prober.watched import WatchedEndpoint, WatchedService

log = structlog.get_logger()

OPEN_WITHIN_S = 5.0
"""How long a service's first snapshot waits for an answer from every endpoint: one that hangs for the whole of a long
time-out must not hide what is known of the others."""
MOST_SEEDED = 500
"""Endpoints that a heartbeat carries at most: Temporal warns of payloads above 256 KB."""
SEED_DETAIL = 80
"""Characters of a detail that a heartbeat carries."""
UNWELL = frozenset({Health.DOWN, Health.DEGRADED})


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose reports they are."""

    vantage: VantageId
    shard: int
    epoch: int
    host: str


class Teller:
    """Turns opinions into reports: levels, one per service and tick at most, only when something changed."""

    def __init__(self, speaker: Speaker, emit: Callable[[Report], None]) -> None:
        self._speaker = speaker
        self._emit = emit
        self._seq = 0
        self._revision = 0
        self._services: dict[ServiceId, WatchedService] = {}
        self._regions = Regions()
        self._unwell: dict[tuple[ServiceId, EndpointId], WatchedEndpoint] = {}
        self._isolated = False
        self._dirty: set[ServiceId] = set()

    def configure(self, services: dict[ServiceId, WatchedService], revision: int) -> None:
        """Speak of *services* from now on."""
        self._services = services
        self._revision = revision
        self._dirty = set(services)
        everything = [
            (service, endpoint) for service, watched in services.items() for endpoint in watched.endpoints.values()
        ]
        self._regions = Regions(endpoint for _, endpoint in everything)
        self._unwell = {
            (service, endpoint.endpoint.id): endpoint for service, endpoint in everything if endpoint.opinion in UNWELL
        }

    def turned(self, service: ServiceId, endpoint: EndpointId, now: float) -> None:
        """A probe of *endpoint* changed its opinion: see what that makes of the endpoint's."""
        watched = self._services[service].endpoints[endpoint]
        state = watched.state(now)
        self._dirty.add(service)
        if state.health is watched.opinion:
            return
        opening = watched.opinion is Health.UNKNOWN and state.health is Health.HEALTHY
        (log.debug if opening else log.info)(
            "endpoint.turned",
            vantage=self._speaker.vantage,
            service=service,
            endpoint=endpoint,
            was=watched.opinion.value,
            now=state.health.value,
            detail=state.detail,
        )
        self._regions.turn(watched, state.health)
        if state.health in UNWELL:
            self._unwell[service, endpoint] = watched
        else:
            self._unwell.pop((service, endpoint), None)

    def recheck(self, services: Iterable[ServiceId]) -> None:
        """Something about *services* may have changed that no opinion shows: a first answer, a proof's age."""
        self._dirty.update(services)

    def tell(self, now: float) -> None:
        """Emit what is owed. A service without tokens stays owed, and says its latest state later."""
        if not self._dirty:
            return
        if self._regions.isolated is not self._isolated:
            self._isolated = not self._isolated
            self._dirty.update(self._services)
            log.warning("vantage.isolated", vantage=self._speaker.vantage, isolated=self._isolated)
        self._dirty = {service for service in self._dirty if not self._told(service, now)}

    def beat(self, now: float) -> Seed:
        """What the next epoch should begin with: endpoints that are down or degraded, at most 500."""
        worst_first = sorted(self._unwell.items(), key=lambda item: (item[1].opinion is not Health.DOWN, item[0]))
        states = tuple(
            Seeded(service, replace(state, detail=state.detail[:SEED_DETAIL]))
            for (service, _), state in ((key, endpoint.state(now)) for key, endpoint in worst_first[:MOST_SEEDED])
        )
        return Seed(self._revision, states)

    def present(self, report: Report, now: float) -> Report | None:
        """*report* as it would be said now; None when its service is watched no more."""
        watched = self._services.get(report.service)
        if watched is None:
            return None
        states = _states(watched, now)
        return replace(report, revision=self._revision, isolated=self._isolated, states=states)

    def _told(self, service: ServiceId, now: float) -> bool:
        """Whether nothing is owed about *service* any more."""
        watched = self._services.get(service)
        if watched is None:
            return True
        if not watched.opened and not watched.ready and now < watched.since + OPEN_WITHIN_S:
            return False
        states = _states(watched, now)
        words = (self._isolated, *((state.endpoint, state.health, state.proven) for state in states))
        if words == watched.told:
            return True
        if watched.opened and not watched.budget.spend(now):
            return False
        watched.opened = True
        watched.told = words
        self._seq += 1
        speaker = self._speaker
        self._emit(
            Report(
                service=service,
                vantage=speaker.vantage,
                shard=speaker.shard,
                host=speaker.host,
                epoch=speaker.epoch,
                seq=self._seq,
                revision=self._revision,
                isolated=self._isolated,
                states=states,
            )
        )
        return True


def _states(watched: WatchedService, now: float) -> tuple[EndpointState, ...]:
    return tuple(watched.endpoints[name].state(now) for name in sorted(watched.endpoints))
