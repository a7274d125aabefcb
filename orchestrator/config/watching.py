"""What a topology's probes and vantages can see: how fast a loss is detected, and whose loss makes them blind."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.names import Domain, EndpointId, ServiceId, cloud_of, encloses, region_of
from orchestrator.core.topology import Endpoint, ProbeSpec, Topology, Vantage


@dataclass(frozen=True, slots=True)
class Detection:
    """How long it takes, from the last good probe, until the loss of an endpoint may be acted on."""

    probe: str
    """The probe that settles first."""
    write_s: float
    """The endpoint refuses or cannot be reached: fast confirm, if on, sets the pace."""
    hang_write_s: float
    """The endpoint takes connections and does not answer: the interval sets the pace."""


def detection(probes: tuple[ProbeSpec, ...], *, confirm_s: float) -> Detection | None:
    """The detection by the fastest of *probes*; None without probes.

    At worst an endpoint is lost just after a good probe, the next starts an interval and its jitter later, and
    each of *fall* failures takes the whole timeout. A write waits for *confirm_s* after the first failure too.
    """
    found = [_one(probe, confirm_s) for probe in probes]
    return min(found, key=lambda each: each.write_s) if found else None


def _one(probe: ProbeSpec, confirm_s: float) -> Detection:
    first = probe.interval_s * (1 + probe.jitter) + probe.timeout_s
    slow = first + (probe.fall - 1) * max(probe.interval_s, probe.timeout_s)
    fast = first + (probe.fall - 1) * (probe.timeout_s + probe.fast_confirm_s)
    sure = first + confirm_s
    lost = min(fast, slow) if probe.fast_confirm_s else slow
    return Detection(probe.id, max(lost, sure), max(slow, sure))


def majority(vantages: tuple[Vantage, ...]) -> int:
    """How many vantages must agree on 'down': a majority of those configured, at least two."""
    return max(2, len(vantages) // 2 + 1)


def outside(vantages: tuple[Vantage, ...], endpoint: Endpoint) -> tuple[Vantage, ...]:
    """The vantages that may vote on *endpoint*: those outside its own region."""
    own = region_of(endpoint.region)
    return tuple(vantage for vantage in vantages if not encloses(own, vantage.region))


@dataclass(frozen=True, slots=True)
class Judged:
    service: ServiceId
    endpoint: EndpointId


@dataclass(frozen=True, slots=True)
class Blind:
    """A domain whose loss leaves too few vantages to say 'down'."""

    domain: Domain
    left: int
    """Vantages that could still vote, for the endpoint that has fewest."""
    lost: tuple[Judged, ...]
    """Endpoints inside the domain: its own loss could not be told."""
    others: tuple[Judged, ...]
    """Endpoints outside it: a second loss could not be told while this one lasts."""


def _domains(topology: Topology) -> tuple[Domain, ...]:
    """Regions and clouds with vantages, sorted; not a cloud that holds the same as its only region here."""
    places = [each.region for each in topology.vantages]
    places += [endpoint.region for service in topology.services for endpoint in service.endpoints]
    clouds = {cloud_of(each.region) for each in topology.vantages}
    several = {cloud for cloud in clouds if len({region_of(each) for each in places if cloud_of(each) == cloud}) > 1}
    return tuple(sorted({region_of(each.region) for each in topology.vantages} | several))


def blind_domains(topology: Topology) -> tuple[Blind, ...]:
    """Each region and cloud that holds vantages and whose loss leaves too few, sorted.

    Endpoints that cannot be judged even while nothing else is lost are not counted, nor services that have no
    endpoint left outside the domain: there is nothing to decide for them.
    """
    need = majority(topology.vantages)
    found = []
    for domain in _domains(topology):
        lost: list[Judged] = []
        others: list[Judged] = []
        fewest = len(topology.vantages)
        for service in topology.services:
            if all(encloses(domain, endpoint.region) for endpoint in service.endpoints):
                continue
            for endpoint in service.endpoints:
                eyes = outside(topology.vantages, endpoint)
                left = sum(not encloses(domain, vantage.region) for vantage in eyes)
                if len(eyes) >= need > left:
                    fewest = min(fewest, left)
                    inside = encloses(domain, endpoint.region)
                    (lost if inside else others).append(Judged(service.id, endpoint.id))
        if lost or others:
            found.append(Blind(domain, fewest, tuple(lost), tuple(others)))
    return tuple(found)
