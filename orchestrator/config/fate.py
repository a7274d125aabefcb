"""Shared fate: control planes that a failover needs, and that are lost with what it leads away from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.config.finding import Finding, some
from orchestrator.core.names import Domain, EndpointId, encloses, region_of
from orchestrator.core.topology import Endpoint, Role, Service
from providers.catalog import Entry, Part, Plane, domain

Options = tuple[tuple[str, str], ...]
CLOUDS = {"s3:": "aws", "gs:": "gcp", "azblob:": "azure", "/subscriptions/": "azure"}
"""Whose a fence's store is, by what its address begins with. Of the others nobody can say where they stand."""


def shared_fate(service: Service, path: str, entries: Iterable[Entry]) -> Iterator[Finding]:
    """One finding for each control plane of *service*'s providers that its own failover would miss."""
    known = {(entry.part, entry.name): entry for entry in entries}
    yield from _steering(service, path, known)
    yield from _fence(service, path)
    yield from _promoting(service, path, known)


def _steering(service: Service, path: str, known: dict[tuple[Part, str], Entry]) -> Iterator[Finding]:
    spec = service.steering
    entry = known.get((Part.STEERING, spec.provider)) if spec else None
    if spec is None or entry is None:
        return
    for plane in entry.planes:
        lost = _lost(plane, spec.options, service, service.endpoints)
        if lost:
            text = f"moving '{service.id}' away from {some(lost)} {_needs(plane, spec.options, entry)}"
            cure = "steer by one whose control plane stands elsewhere: 'failover providers' tells where each stands"
            yield Finding("warning", f"{path}.steering", text, cure)


def _fence(service: Service, path: str) -> Iterator[Finding]:
    """The document that a steering keeps its fence in, where that is another: who cannot reach it moves nothing."""
    options = service.steering.options if service.steering else ()
    given = dict(options)
    place = given.get("fence", "")
    cloud = next((cloud for begins, cloud in CLOUDS.items() if place.startswith(begins)), None)
    if cloud is None:
        return
    # A bucket of S3 whose region is not said is looked for in the steering's own.
    region = given.get("fence_region") or (given.get("region") if cloud == "aws" else "")
    store = Plane("all", f"{cloud}/{region}" if region else cloud, "")
    lost = _lost(store, options, service, service.endpoints)
    if lost:
        text = f"moving '{service.id}' away from {some(lost)} needs the fence at {place}, which lives in {store.domain}"
        cure = "keep it where no active endpoint stands" + ("" if region else ", or say by fence_region where it does")
        yield Finding("warning", f"{path}.steering.options.fence", text, cure)


def _promoting(service: Service, path: str, known: dict[tuple[Part, str], Entry]) -> Iterator[Finding]:
    found: dict[str, tuple[list[EndpointId], set[str]]] = {}
    for endpoint in service.endpoints:
        handle = endpoint.workload
        entry = known.get((Part.WORKLOAD, handle.provider)) if handle else None
        if handle is None or entry is None or endpoint.role is Role.ACTIVE:
            continue
        for plane in entry.planes:
            lost = _lost(plane, handle.options, service, (endpoint,))
            if lost:
                standbys, domains = found.setdefault(_needs(plane, handle.options, entry), ([], set()))
                standbys.append(endpoint.id)
                domains.update(lost)
    for needs, (standbys, domains) in found.items():
        names = some([f"'{each}'" for each in standbys])
        text = f"promoting {names} after the loss of {some(sorted(domains))} {needs}"
        cure = "control its capacity by what has its control plane elsewhere, or accept it"
        yield Finding("warning", f"{path}.endpoints[{standbys[0]}].workload", text, cure)


def _lost(plane: Plane, options: Options, service: Service, targets: tuple[Endpoint, ...]) -> list[str]:
    """The domains whose loss takes *plane* and an active endpoint, and leaves one of *targets*."""
    lives = Domain(domain(plane, options))
    found: set[str] = set()
    for active in (each for each in service.endpoints if lives and each.role is Role.ACTIVE):
        region = region_of(active.region)
        # Where one lies in the other, the loss of the larger one takes both.
        larger = lives if encloses(lives, region) else region
        if encloses(larger, lives) and any(not encloses(larger, target.region) for target in targets):
            found.add(larger)
    return sorted(found)


def _needs(plane: Plane, options: Options, entry: Entry) -> str:
    calls = entry.name if plane.calls == "all" else f"{plane.calls} of {entry.name}"
    source = f" ({plane.source})" if plane.source else ""
    return f"needs {calls}, whose control plane lives in {domain(plane, options)}{source}"
