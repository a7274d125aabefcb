"""Evacuation: everything leaves a failure domain, the most important first. Pure: which services go, in which waves."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.names import Domain, EndpointId, ServiceId, encloses
from orchestrator.core.topology import Topology


@dataclass(frozen=True, slots=True)
class Leaving:
    """A service that has endpoints in the domain."""

    service: ServiceId
    endpoints: tuple[EndpointId, ...]
    """Those that stand in the domain."""
    tier: int = 3
    """1 goes first."""
    depends: tuple[ServiceId, ...] = ()
    """Services that must have moved before it."""


def leaving(topology: Topology, domain: Domain) -> tuple[Leaving, ...]:
    """The services of *topology* with endpoints in *domain*, by id."""
    found = []
    for service in topology.services:
        inside = tuple(endpoint.id for endpoint in service.endpoints if encloses(domain, endpoint.region))
        if inside:
            found.append(Leaving(service.id, inside, service.policy.tier, service.depends))
    return tuple(sorted(found, key=lambda each: each.service))


def waves(services: tuple[Leaving, ...]) -> tuple[tuple[Leaving, ...], ...]:
    """*services* in waves: a wave begins when the one before it is over.

    A service comes after those it depends on, where they leave too, and those are pulled forward to its tier: what
    is important is not held up by what it stands on. Services that depend on each other in a circle go together.
    """
    level = _levels(services)
    tier = {each.service: each.tier for each in services}
    for each in sorted(services, key=lambda one: -level[one.service]):
        for other in each.depends:
            if other in tier and level[other] < level[each.service]:
                tier[other] = min(tier[other], tier[each.service])
    keys = sorted({(tier[each.service], level[each.service]) for each in services})
    return tuple(tuple(each for each in services if (tier[each.service], level[each.service]) == key) for key in keys)


def _levels(services: tuple[Leaving, ...]) -> dict[ServiceId, int]:
    """How many services in a row must move before each; what waits for a circle goes with it."""
    known = {each.service for each in services}
    waiting = {each.service: {other for other in each.depends if other in known} for each in services}
    found: dict[ServiceId, int] = {}
    while waiting:
        ready = [service for service, before in waiting.items() if not before & waiting.keys() - {service}]
        level = max(found.values(), default=-1) + 1
        for service in ready or list(waiting):
            found[service] = level
            del waiting[service]
    return found
