"""Findings: what a topology that is well formed will not do as its owner expects, with the cure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from urllib.parse import urlsplit

from orchestrator.config.fate import shared_fate
from orchestrator.config.fields import spoken
from orchestrator.config.finding import Finding, Severity, graver, some
from orchestrator.config.standing import standing
from orchestrator.config.watching import Detection, blind_domains, detection, majority, outside
from orchestrator.core.names import EndpointId, cloud_of, region_of
from orchestrator.core.topology import Mode, NotifyKind, ProbeKind, Role, Service, Topology
from providers import registry
from providers.catalog import Entry, Part

MOST_BYTES = 200_000
"""A service goes whole into each of its workflow's histories; Temporal refuses payloads above 2 MB."""


def findings(
    topology: Topology, now: datetime | None = None, *, providers: tuple[Entry, ...] | None = None
) -> tuple[Finding, ...]:
    """All findings, errors first, then by path. No error means that the file may be applied.

    Freeze windows are looked at as of *now*, the present where it is left out; *providers* are the registry's then.
    """
    found = [*_whole(topology), *_vantages(topology), *standing(topology, now or datetime.now(UTC))]
    known = registry.entries() if providers is None else providers
    for service in topology.services:
        for part in (_endpoints, _answers, _steering, _objective, _probes, _automatic):
            found += part(service, f"services[{service.id}]")
        found += shared_fate(service, f"services[{service.id}]", known)
    return tuple(sorted(found, key=lambda each: (each.severity, each.path, each.text)))


def _whole(topology: Topology) -> Iterator[Finding]:
    if not topology.services:
        yield Finding("warning", "services", "there is no service, so nothing is watched", "add one")
    names: dict[tuple[str, str], str] = {}
    shared = len(json.dumps([asdict(topology.orders), topology.roles], default=str))
    for service in topology.services:
        size = shared + len(json.dumps(asdict(service), default=str))
        if size > MOST_BYTES:
            text = f"it is {size // 1000} kB as it travels to whoever watches it, above {MOST_BYTES // 1000} kB"
            yield Finding("error", f"services[{service.id}]", text, "split it, or give it fewer endpoints and probes")
        steering = service.steering
        if steering is None:
            continue
        first = names.setdefault((steering.name, steering.at), service.id)
        if first != service.id:
            text = f"services '{first}' and '{service.id}' both steer {service.name}"
            yield Finding("error", f"services[{service.id}].name", text, "let one service steer the name")
    automatic = [service.id for service in topology.services if service.policy.mode is Mode.AUTOMATIC]
    if automatic and not topology.notify:
        text = f"'{automatic[0]}' fails over by itself and nobody is told"
        yield Finding("warning", "notify", text, "add a webhook or a command")
    for index, way in enumerate(topology.notify):
        if way.kind is NotifyKind.WEBHOOK and way.secret is None:
            text = "the webhook is not signed, so its receiver cannot tell who calls"
            yield Finding("warning", f"notify[{index}]", text, "add secret: {env: NAME}")


# ------------------------------------------------------------------ vantages


def _vantages(topology: Topology) -> Iterator[Finding]:
    services, vantages = topology.services, topology.vantages
    if not services:
        return
    worst: Severity = "error" if any(graver(service) == "error" for service in services) else "warning"
    if len(vantages) < 2:
        text = f"{'one vantage' if vantages else 'no vantage'} can never say 'down', which needs at least two"
        yield Finding(worst, "vantages", text, "add vantages, three or more in different regions")
        return
    regions = {region_of(vantage.region) for vantage in vantages}
    if len(regions) == 1:
        text = f"all vantages stand in {min(regions)}, so its loss looks like the loss of everything"
        yield Finding(worst, "vantages", text, "move vantages to other regions")
    yield from _too_few(topology)
    for blind in blind_domains(topology):
        severity: Severity = (
            "error"
            if any(topology.service(each.service).policy.mode is Mode.AUTOMATIC for each in blind.lost)
            else "warning"
        )
        judged = blind.lost or blind.others
        shown = some([f"{each.service}/{each.endpoint}" for each in judged])
        text = (
            f"losing {blind.domain} leaves {blind.left} of {len(vantages)} vantages to judge {shown}, "
            f"and 'down' needs {majority(vantages)}"
        )
        yield Finding(severity, "vantages", text, f"add vantages outside {blind.domain}")


def _too_few(topology: Topology) -> Iterator[Finding]:
    """Endpoints that cannot be called down even while nothing is lost but they."""
    need = majority(topology.vantages)
    unseen: dict[tuple[str, int], list[tuple[Service, EndpointId]]] = {}
    for service in topology.services:
        for endpoint in service.endpoints:
            eyes = len(outside(topology.vantages, endpoint))
            if eyes < need:
                unseen.setdefault((region_of(endpoint.region), eyes), []).append((service, endpoint.id))
    for (region, eyes), those in unseen.items():
        severity: Severity = "error" if any(graver(service) == "error" for service, _ in those) else "warning"
        names = some([f"{service.id}/{endpoint}" for service, endpoint in those])
        seen = f"only {eyes} of {len(topology.vantages)} vantages stand outside {region}, and 'down' needs {need}"
        yield Finding(severity, "vantages", f"{seen}: {names} can never be down", f"add vantages outside {region}")


# ------------------------------------------------------------------ services


def _endpoints(service: Service, path: str) -> Iterator[Finding]:
    endpoints = service.endpoints
    if len(endpoints) == 1:
        text = "there is one endpoint only, so there is nowhere to fail over to"
        yield Finding("warning", f"{path}.endpoints", text, "add a second endpoint in another region")
    elif len({region_of(endpoint.region) for endpoint in endpoints}) == 1:
        text = f"all endpoints stand in {region_of(endpoints[0].region)}, so its loss takes all of them"
        yield Finding("warning", f"{path}.endpoints", text, "add an endpoint in another region")
    elif len({cloud_of(endpoint.region) for endpoint in endpoints}) == 1 and service.policy.mode is Mode.AUTOMATIC:
        text = f"all endpoints stand in the cloud {cloud_of(endpoints[0].region)}, so its loss takes all of them"
        yield Finding("warning", f"{path}.endpoints", text, "add an endpoint in another cloud, or accept it")
    if not any(endpoint.role is Role.ACTIVE for endpoint in endpoints):
        yield Finding(
            "warning", f"{path}.endpoints", "no endpoint is active", "give the one that serves now role: active"
        )
    for endpoint in endpoints:
        if urlsplit(endpoint.url).hostname == service.name and len(endpoints) > 1:
            text = f"its URL is at {service.name}, so its probes go wherever that name points"
            cure = "write the endpoint's own name or address"
            yield Finding("error", f"{path}.endpoints[{endpoint.id}].url", text, cure)


def _answers(service: Service, path: str) -> Iterator[Finding]:
    if service.steering is None:
        return
    held: dict[str, str] = {}
    for endpoint in service.endpoints:
        here = f"{path}.endpoints[{endpoint.id}].answer"
        if endpoint.answer is None:
            text = "it has no answer, so traffic cannot be sent to it"
            yield Finding(graver(service), here, text, "add its addresses, or {cname: NAME}")
            continue
        for value in endpoint.answer.values:
            first = held.setdefault(value, endpoint.id)
            if first != endpoint.id:
                text = f"{value} is also the answer of '{first}', so nobody can tell which of them serves"
                yield Finding("error", here, text, "give each endpoint an answer of its own")
        if endpoint.answer.kind == "cname" and endpoint.answer.values[0].rstrip(".") == service.name:
            text = f"{service.name} would be an alias of itself"
            yield Finding("error", here, text, "name the endpoint's own name")
    actives = [e.id for e in service.endpoints if e.role is Role.ACTIVE and e.answer and e.answer.kind == "cname"]
    if len(actives) > 1:
        text = f"endpoints {', '.join(actives)} are active and answer by cname, of which DNS allows one at a time"
        yield Finding("error", f"{path}.endpoints", text, "make one of them active, or give them addresses")


def _steering(service: Service, path: str) -> Iterator[Finding]:
    steering = service.steering
    if steering is None:
        yield Finding("warning", path, "it has no steering: it is watched, and cannot be failed over", "add steering")
        return
    if steering.ttl_s == 0 and registry.entry(Part.STEERING, steering.provider).dns:
        text = "a ttl of 0 makes every client ask for every connection, and some resolvers keep the answer anyway"
        yield Finding("warning", f"{path}.steering.ttl", text, "write 5s or more")
    if steering.key is None and steering.provider == "rfc2136":
        text = "updates are not signed, so anyone at the server's network may be taken for us"
        yield Finding(graver(service), f"{path}.steering.key", text, "add a TSIG key")


def _objective(service: Service, path: str) -> Iterator[Finding]:
    steering, policy = service.steering, service.policy
    if steering is None:
        return
    slowest: tuple[str, Detection] | None = None
    for endpoint in service.endpoints:
        found = detection(endpoint.probes, confirm_s=policy.confirm_s)
        if found and (slowest is None or found.write_s > slowest[1].write_s):
            slowest = (endpoint.id, found)
    if slowest is None:
        return
    where, found = slowest
    total, hanging = steering.ttl_s + found.write_s, steering.ttl_s + found.hang_write_s
    objective = f"above the objective of {spoken(policy.rto_s)}"
    if total > policy.rto_s:
        text = (
            f"TTL {steering.ttl_s}s + detection {spoken(round(found.write_s, 1))} (probe '{found.probe}' of '{where}', "
            f"confirm {spoken(policy.confirm_s)}) = {spoken(round(total, 1))} is {objective}"
        )
        cure = "lower ttl, interval, timeout, fall or confirm, or raise rto"
        yield Finding("error", f"{path}.policy.rto", text, cure)
    elif hanging > policy.rto_s:
        text = (
            "an endpoint that accepts connections and does not answer is detected in "
            f"{spoken(round(found.hang_write_s, 1))}; "
            f"with TTL {steering.ttl_s}s that is {objective}"
        )
        yield Finding("warning", f"{path}.policy.rto", text, "lower interval, timeout or fall, or raise rto")


def _probes(service: Service, path: str) -> Iterator[Finding]:
    for endpoint in service.endpoints:
        for probe in endpoint.probes:
            here = f"{path}.endpoints[{endpoint.id}].probes[{probe.id}]"
            if probe.timeout_s > probe.interval_s:
                text = (
                    f"its timeout of {spoken(probe.timeout_s)} is above its interval of {spoken(probe.interval_s)}: "
                    "a hanging endpoint is asked at the pace of the timeout"
                )
                yield Finding("warning", f"{here}.timeout", text, "lower timeout, or raise interval")
            if probe.kind is ProbeKind.CHAT and probe.interval_s < 10:
                text = f"a completion every {spoken(probe.interval_s)} from every vantage costs money and capacity"
                yield Finding("warning", f"{here}.interval", text, "write 60s unless completions are free")


def _automatic(service: Service, path: str) -> Iterator[Finding]:
    policy = service.policy
    if policy.mode is not Mode.AUTOMATIC:
        return
    if policy.capacity is None:
        text = "the capacity that it needs is not known, so a failover asks a person where its load is not observed"
        yield Finding("warning", f"{path}.policy.capacity", text, "write the requests in flight that it needs")
    for endpoint in service.endpoints:
        here = f"{path}.endpoints[{endpoint.id}].capacity"
        if endpoint.capacity is None:
            text = "its capacity is not known, so moving traffic to it asks a person"
            yield Finding("warning", here, text, "write the requests in flight that it can carry")
        elif policy.capacity is not None and endpoint.capacity < policy.capacity:
            text = f"its capacity of {endpoint.capacity} is below the {policy.capacity} that the service needs"
            yield Finding("warning", here, text, "raise it, or accept that moving there asks a person")
