"""Findings about the safety rules: windows that are open or over, residency that leaves no target, pools too small."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from orchestrator.config.fields import spoken
from orchestrator.config.finding import Finding, graver, some
from orchestrator.core.names import EndpointId
from orchestrator.core.orders import Freeze, Orders, Span, frozen_until
from orchestrator.core.topology import Mode, Role, Service, Topology
from orchestrator.core.waiting import at


def standing(topology: Topology, now: datetime) -> Iterator[Finding]:
    """What the rules that hold for every service make of *topology*, at *now*."""
    orders = topology.orders
    yield from _gate(topology)
    yield from _freezes(orders.freezes, "freeze", now)
    yield from _pools(topology)
    if orders.limits.per_domain > orders.limits.at_once:
        text = f"{orders.limits.per_domain} runs to one region are more than the {orders.limits.at_once} in all"
        yield Finding("warning", "limits.per_domain", text, "lower it, or raise at_once")
    for service in topology.services:
        path = f"services[{service.id}].policy"
        yield from _freezes(service.policy.freezes, f"{path}.freeze", now)
        yield from _residency(service, f"{path}.residency", orders)
        yield from _serving(service, f"{path}.serving.least")
        yield from _flapping(service, f"{path}.flap_window")


def _gate(topology: Topology) -> Iterator[Finding]:
    gate = topology.orders.gate
    acting = [service.id for service in topology.services if service.policy.mode is Mode.AUTOMATIC]
    if gate is not None and acting:
        why = f" ({gate})" if gate else ""
        text = f"all automation is off{why}, so {some(list(acting))} asks a person instead of acting"
        yield Finding("warning", "automation", text, "write on when it may go on")


def _freezes(freezes: tuple[Freeze, ...], path: str, now: datetime) -> Iterator[Finding]:
    for index, freeze in enumerate(freezes):
        until = frozen_until(freeze, now)
        if until is not None:
            others = ", and unplanned ones ask" if freeze.unplanned else ""
            text = f"it covers the present, until {at(until)} ({freeze.reason}): planned moves are refused{others}"
            yield Finding("warning", f"{path}[{index}]", text, "wait, or override it by its name with a reason")
        elif isinstance(freeze.when, Span) and freeze.when.ends <= now:
            text = f"it was over at {at(freeze.when.ends)}"
            yield Finding("warning", f"{path}[{index}]", text, "remove it")


def _residency(service: Service, path: str, orders: Orders) -> Iterator[Finding]:
    allowed = service.policy.residency
    if not allowed:
        return
    laws = {endpoint.id: orders.jurisdiction(endpoint.region) for endpoint in service.endpoints}
    inside = [name for name, law in laws.items() if law in allowed]
    nowhere = [str(name) for name, law in laws.items() if law is None]
    wanted = " or ".join(allowed)
    if not inside:
        text = f"no endpoint stands in {wanted}, so its traffic may go nowhere"
        yield Finding("error", path, text, "add an endpoint there, or correct the jurisdictions")
    elif len(inside) == 1 and len(service.endpoints) > 1:
        text = f"only endpoint '{inside[0]}' stands in {wanted}, so there is nowhere to fail over to"
        yield Finding(graver(service), path, text, "add another endpoint there")
    if nowhere:
        text = f"nobody says whose law holds for {some(nowhere)}, so no traffic may go there"
        yield Finding("warning", path, text, "add the regions to jurisdictions")
    out = [name for name in _active(service) if laws[name] is not None and name not in inside]
    if inside and out:
        text = f"endpoint '{out[0]}' is active and stands in {laws[out[0]]}, not in {wanted}"
        yield Finding(graver(service), path, text, "make an endpoint active that stands there")


def _active(service: Service) -> list[EndpointId]:
    return [endpoint.id for endpoint in service.endpoints if endpoint.role is Role.ACTIVE]


def _serving(service: Service, path: str) -> Iterator[Finding]:
    least, count = service.policy.least, len(service.endpoints)
    if least <= 1:
        return
    if least > count:
        text = f"{least} endpoints are to serve and there {'is one' if count == 1 else f'are {count}'}"
        yield Finding("error", path, text, "lower it, or add endpoints")
    elif any(endpoint.answer and endpoint.answer.kind == "cname" for endpoint in service.endpoints):
        text = f"{least} endpoints are to serve and they answer by cname, of which DNS allows one at a time"
        yield Finding("error", path, text, "give them addresses, or remove it")
    elif least == count:
        text = f"losing any endpoint leaves fewer than the {least} that are to serve, so every failover asks a person"
        yield Finding("warning", path, text, "lower it, or add an endpoint")


def _flapping(service: Service, path: str) -> Iterator[Finding]:
    policy = service.policy
    if 0 < policy.flap_window_s <= policy.cooldown_s and policy.mode is Mode.AUTOMATIC:
        text = (
            f"two automatic runs are at least the cool-down of {spoken(policy.cooldown_s)} apart, so none falls within "
            f"{spoken(policy.flap_window_s)} and the cool-down never grows"
        )
        yield Finding("warning", path, text, "raise it to hours")


def _pools(topology: Topology) -> Iterator[Finding]:
    for pool in topology.orders.pools:
        path = f"pools[{pool.id}].capacity"
        users = [service for service in topology.services if any(e.pool == pool.id for e in service.endpoints)]
        if not users:
            cure = "name it at endpoints, or remove it"
            yield Finding("warning", f"pools[{pool.id}]", "no endpoint stands in it", cure)
        needs = [service.policy.capacity for service in users if service.policy.capacity is not None]
        if len(users) > 1 and sum(needs) > pool.capacity:
            names = some([service.id for service in users])
            text = f"{names} may need {sum(needs)} requests in flight together and it carries {pool.capacity}"
            yield Finding("warning", path, text, "raise it, or accept that whoever comes last asks a person")
        for service in users:
            for endpoint in service.endpoints:
                if endpoint.pool == pool.id and endpoint.capacity is not None and endpoint.capacity > pool.capacity:
                    text = f"its capacity of {endpoint.capacity} is above the {pool.capacity} of its pool '{pool.id}'"
                    here = f"services[{service.id}].endpoints[{endpoint.id}].capacity"
                    yield Finding("warning", here, text, "lower it, or raise the pool's")
