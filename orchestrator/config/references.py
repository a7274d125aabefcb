"""Checks that look across the file: ids, regions, roles, providers, names and zones, secrets in the open.

They read the plain data, not the parsed models, so that they find what they can while other parts are still wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.config.document import Document, Trail
from orchestrator.config.fields import host_name, looks_secret, quoted, seconds
from orchestrator.config.mistakes import Mistake, did_you_mean
from orchestrator.core.names import Domain, encloses, nearest
from providers import registry
from providers.catalog import Part

ONLY_HTTP = frozenset({"method", "path", "headers", "host", "connection"})
ONLY_CHAT = frozenset({"model", "prompt", "max_tokens"})
_Items = list[tuple[Trail, dict[str, Any]]]


def references(document: Document) -> tuple[Mistake, ...]:
    """Everything in *document* that points nowhere, is there twice, or must not be there."""
    return tuple(_all(document))


def _all(document: Document) -> Iterator[Mistake]:
    root: Trail = ()
    regions = [each for each in _list(document.data, "regions") if isinstance(each, str)]
    yield from _named_twice(document, ("regions",), _list(document.data, "regions"))
    vantages = _items(document.data, root, "vantages")
    services = _items(document.data, root, "services")
    yield from _twice(document, vantages)
    yield from _twice(document, services)
    for role, people in _mapping(document.data, "roles").items():
        yield from _named_twice(document, ("roles", role), people)
    yield from _jurisdictions(document, regions)
    for trail, vantage in vantages:
        yield from _standing(document, (*trail, "region"), vantage.get("region"), regions)
    for trail, service in services:
        yield from _service(document, trail, service, regions)
        yield from _policy(document, trail, service)
        yield from _orders(document, trail, service)
        yield from _questions(document, trail, service)
        yield from _steering(document, trail, service)
        yield from _depends(document, trail, service, services)


def _depends(document: Document, trail: Trail, service: dict[str, Any], services: _Items) -> Iterator[Mistake]:
    names = [str(other.get("id")) for _, other in services]
    for index, name in enumerate(_list(service, "depends")):
        here: Trail = (*trail, "depends", index)
        if name == service.get("id"):
            yield document.mistake(here, f"{quoted(name)} cannot depend on itself; remove it")
        elif isinstance(name, str) and name not in names:
            yield document.mistake(here, f"no service is called {quoted(name)}; correct it{did_you_mean(name, names)}")
    yield from _named_twice(document, (*trail, "depends"), _list(service, "depends"))


def _list(mapping: object, field: str) -> list[Any]:
    value = mapping.get(field) if isinstance(mapping, Mapping) else None
    return value if isinstance(value, list) else []


def _mapping(mapping: object, field: str) -> dict[str, Any]:
    value = mapping.get(field) if isinstance(mapping, Mapping) else None
    return value if isinstance(value, dict) else {}


def _items(mapping: object, trail: Trail, field: str) -> _Items:
    """The mappings in the list at *field*, each with its trail."""
    found = enumerate(_list(mapping, field))
    return [((*trail, field, index), item) for index, item in found if isinstance(item, dict)]


def _named_twice(document: Document, trail: Trail, names: object) -> Iterator[Mistake]:
    known: set[str] = set()
    for index, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str) and name in known:
            yield document.mistake((*trail, index), f"{quoted(name)} stands here twice; remove one")
        elif isinstance(name, str):
            known.add(name)


def _twice(document: Document, items: _Items) -> Iterator[Mistake]:
    seen: dict[str, int] = {}
    for trail, item in items:
        name = item.get("id")
        if not isinstance(name, str):
            continue
        line, _ = document.place((*trail, "id"))
        if name in seen:
            text = f"the id {quoted(name)} is used twice (first in line {seen[name]}); choose another"
            yield document.mistake((*trail, "id"), text)
        seen.setdefault(name, line)


def _standing(document: Document, trail: Trail, region: object, regions: list[str]) -> Iterator[Mistake]:
    if (
        not regions
        or not isinstance(region, str)
        or any(encloses(Domain(listed), Domain(region)) for listed in regions)
    ):
        return
    close = did_you_mean(region, regions)
    yield document.mistake(
        trail, f"{quoted(region)} lies in no region of this file; add it to regions, or correct it{close}"
    )


def _provider(document: Document, trail: Trail, section: dict[str, Any], part: Part) -> Iterator[Mistake]:
    """A provider that nobody has; options that it does not know, or cannot do without."""
    given, options = section.get("provider"), _mapping(section, "options")
    here: Trail = (*trail, "options")
    # A workload is scaled and drained by one handle: it has the options of both.
    parts = (Part.WORKLOAD, Part.DRAIN, Part.FAULT) if part is Part.WORKLOAD else (part,)
    served = [each for each in registry.entries() if each.name == given and each.part in parts]
    known = {option.name for each in served for option in each.options}
    yield from _options(document, here, [name for name in options if name not in known])
    if not isinstance(given, str) or not given:
        return
    table = registry.names(part)
    if given not in table:
        text = f"no {part} provider is called {quoted(given)}; correct it{did_you_mean(given, table)}"
        yield document.mistake((*trail, "provider"), text)
        return
    free = any(each.free_options for each in served)
    slips = {name: nearest(name, known - {*options}) for name in options if name not in known and not free}
    for name, meant in slips.items():
        if not looks_secret(name):
            cure = "correct it" if meant else "remove it"
            text = f"means nothing to the {part} provider '{given}'; {cure}{did_you_mean(name, known - {*options})}"
            yield document.mistake((*here, name), text, key=True)
    for option in (each for entry in served if entry.part is part for each in entry.options):
        # One with a slip in its name is told as that.
        if option.required and option.name not in {*options, *slips.values()}:
            place = here if options else trail
            about = option.says.replace("`", "'")
            text = f"is missing, and the {part} provider '{given}' needs it; add it ({about})"
            yield _missing(document, place, (*here, option.name), text)


def _missing(document: Document, place: Trail, trail: Trail, text: str) -> Mistake:
    """What is not there has no place of its own: it is told at *place*."""
    line, column = document.place(place)
    return Mistake(document.name, line, column, document.show(trail), text)


def _policy(document: Document, trail: Trail, service: dict[str, Any]) -> Iterator[Mistake]:
    policy = _mapping(service, "policy")
    names = [item["id"] for _, item in _items(service, trail, "endpoints") if isinstance(item.get("id"), str)]
    for index, name in enumerate(_list(policy, "prefer")):
        here: Trail = (*trail, "policy", "prefer", index)
        if isinstance(name, str) and name not in names:
            yield document.mistake(here, f"no endpoint is called {quoted(name)}; correct it{did_you_mean(name, names)}")
        elif name in _list(policy, "prefer")[:index]:
            yield document.mistake(here, f"{quoted(name)} stands here twice; remove one")


def _jurisdictions(document: Document, regions: list[str]) -> Iterator[Mistake]:
    for name in _mapping(document.data, "jurisdictions"):
        here, listed = Domain(name), [Domain(each) for each in regions]
        if listed and not any(encloses(here, each) or encloses(each, here) for each in listed):
            text = f"no region of this file lies in it; correct it{did_you_mean(name, regions)}"
            yield document.mistake(("jurisdictions", name), text, key=True)


def _orders(document: Document, trail: Trail, service: dict[str, Any]) -> Iterator[Mistake]:
    """What a service says of jurisdictions and pools that are not there."""
    laws = {each for each in _mapping(document.data, "jurisdictions").values() if isinstance(each, str)}
    residency = _list(_mapping(service, "policy"), "residency")
    here: Trail = (*trail, "policy", "residency")
    yield from _named_twice(document, here, residency)
    for index, law in enumerate(residency):
        if isinstance(law, str) and law not in laws:
            close = did_you_mean(law, laws) or "; add jurisdictions to this file"
            yield document.mistake((*here, index), f"no jurisdiction is called {quoted(law)}; correct it{close}")
    pools = _mapping(document.data, "pools")
    for where, endpoint in _items(service, trail, "endpoints"):
        pool = endpoint.get("pool")
        if isinstance(pool, str) and pool not in pools:
            close = did_you_mean(pool, pools) or "; add pools to this file"
            yield document.mistake((*where, "pool"), f"no pool is called {quoted(pool)}; correct it{close}")


def _questions(document: Document, trail: Trail, service: dict[str, Any]) -> Iterator[Mistake]:
    """Roles that a service's questions go to, and that are not there."""
    asked, roles = _mapping(_mapping(service, "policy"), "questions"), _mapping(document.data, "roles")
    here: Trail = (*trail, "policy", "questions")
    named = [((*here, "role"), asked.get("role"))]
    named += [((*here, "escalate", index), role) for index, role in enumerate(_list(asked, "escalate"))]
    yield from _named_twice(document, (*here, "escalate"), _list(asked, "escalate"))
    for where, role in named:
        if isinstance(role, str) and role not in roles:
            close = did_you_mean(role, roles)
            text = f"no role is called {quoted(role)}; name its people under roles of the topology{close}"
            yield document.mistake(where, text)


def _steering(document: Document, trail: Trail, service: dict[str, Any]) -> Iterator[Mistake]:
    steering = _mapping(service, "steering")
    here: Trail = (*trail, "steering")
    yield from _provider(document, here, steering, Part.STEERING)
    yield from _steered(document, here, steering)
    ttl = steering.get("ttl")
    try:
        uneven = isinstance(ttl, str) and seconds(ttl) % 1 != 0
    except ValueError:
        uneven = False
    if uneven:
        yield document.mistake((*here, "ttl"), f"{quoted(ttl)} is no whole number of seconds; write one like 10s")
    name, zone = service.get("name"), steering.get("zone")
    if isinstance(name, str) and isinstance(zone, str):
        full, over = host_name(name), host_name(zone)
        if full and over and full != over and not full.endswith("." + over):
            text = f"{quoted(zone)} does not hold {quoted(name)}; name the zone that the service's name is in"
            yield document.mistake((*here, "zone"), text)


def _steered(document: Document, trail: Trail, steering: dict[str, Any]) -> Iterator[Mistake]:
    """What the steering's provider cannot do without, and what means nothing to it."""
    entry = next((e for e in registry.entries(Part.STEERING) if e.name == steering.get("provider")), None)
    if entry is None:
        return
    for field in entry.needs:
        if steering.get(field) is None:
            text = f"is missing, and the steering provider '{entry.name}' needs it; add it"
            yield _missing(document, trail, (*trail, field), text)
    for field in ("zone", "ttl", "primary", "servers", "key"):
        if field in steering and field not in {*entry.needs, *entry.takes}:
            text = f"means nothing to the steering provider '{entry.name}'; remove it"
            yield document.mistake((*trail, field), text, key=True)


def _service(document: Document, trail: Trail, service: dict[str, Any], regions: list[str]) -> Iterator[Mistake]:
    shared = _items(service, trail, "probes")
    yield from _twice(document, shared)
    for where, probe in shared:
        yield from _probe(document, where, probe, {})
    endpoints = _items(service, trail, "endpoints")
    yield from _twice(document, endpoints)
    first_kind: str | None = None
    steered = _mapping(service, "steering").get("provider")
    weighs = next((e for e in registry.entries(Part.STEERING) if e.name == steered and e.target), None)
    for here, endpoint in endpoints:
        yield from _standing(document, (*here, "region"), endpoint.get("region"), regions)
        yield from _workload(document, (*here, "workload"), _mapping(endpoint, "workload"))
        signals = _items(endpoint, here, "signals")
        yield from _twice(document, signals)
        for where, signal in signals:
            yield from _provider(document, where, signal, Part.SIGNAL)
        examined = _items(endpoint, here, "readiness")
        yield from _twice(document, examined)
        for where, each in examined:
            yield from _provider(document, where, each, Part.READINESS)
        own = _items(endpoint, here, "probes")
        yield from _twice(document, own)
        bases = {str(probe.get("id")): probe for _, probe in shared}
        for where, probe in own:
            yield from _probe(document, where, probe, bases.get(str(probe.get("id")), {}))
        kind = _answer_kind(endpoint.get("answer"))
        if kind == "target" and steered is not None and weighs is None:
            text = f"a target means nothing to the steering provider {quoted(steered)}; give addresses or a cname"
            yield document.mistake((*here, "answer"), text)
        if kind and first_kind and kind != first_kind and weighs is None:
            text = (
                "an address here and a cname at another endpoint cannot take turns; give all of them one kind of answer"
            )
            yield document.mistake((*here, "answer"), text)
        first_kind = first_kind or kind
        if kind == "cname" and weighs is None and service.get("name") == _mapping(service, "steering").get("zone", ""):
            text = "a zone's own name cannot be a cname; give this endpoint addresses"
            yield document.mistake((*here, "answer"), text)
        if str(endpoint.get("url")).startswith("tcp:"):
            yield from _tcp_only(document, here, [*shared, *own])


def _tcp_only(document: Document, trail: Trail, probes: _Items) -> Iterator[Mistake]:
    kinds = {str(probe.get("id")): probe.get("kind") for _, probe in probes if probe.get("kind") or "kind" not in probe}
    asking = sorted(name for name, kind in kinds.items() if kind != "tcp")
    if asking:
        text = f"probe '{asking[0]}' cannot be asked at a tcp URL; write an http or https URL, or make its kind tcp"
        yield document.mistake((*trail, "url"), text)


def _answer_kind(answer: object) -> str | None:
    if isinstance(answer, list):
        return "addresses"
    if isinstance(answer, dict) and len(answer) == 1:
        return next((kind for kind in ("addresses", "cname", "target") if kind in answer), None)
    return None


def _workload(document: Document, trail: Trail, workload: dict[str, Any]) -> Iterator[Mistake]:
    yield from _provider(document, trail, workload, Part.WORKLOAD)
    serving, standby = workload.get("serving", 1), workload.get("standby", 0)
    if isinstance(serving, int) and isinstance(standby, int) and standby > serving:
        text = f"{standby} replicas on standby are more than the {serving} that serve; lower it, or raise serving"
        yield document.mistake((*trail, "standby"), text)


def _options(document: Document, trail: Trail, unknown: list[str]) -> Iterator[Mistake]:
    """Options by whose names people give secrets. One that a provider knows says itself what it takes: a path."""
    for name in unknown:
        if looks_secret(name):
            text = "usually holds a secret, which must not stand in this file; give it to the worker's environment"
            yield document.mistake((*trail, name), text, key=True)


def _probe(document: Document, trail: Trail, probe: dict[str, Any], base: dict[str, Any]) -> Iterator[Mistake]:
    for name, value in _mapping(probe, "headers").items():
        if looks_secret(name) and not isinstance(value, dict):
            text = "usually holds a secret, which must not stand in this file; write {env: NAME} or {file: PATH}"
            yield document.mistake((*trail, "headers", name), text)
    identifier = probe.get("id")
    if isinstance(identifier, str) and identifier.endswith("-as-name"):
        text = "ids that end in '-as-name' belong to the probes that are made under the service's name; choose another"
        yield document.mistake((*trail, "id"), text)
    merged = {**base, **probe}
    kind = merged.get("kind") or "http"
    if kind == "chat" and merged.get("model") is None:
        yield document.mistake((*trail, "model"), "a chat probe needs the model to ask; add it")
    if not isinstance(kind, str) or kind not in {"http", "tcp", "chat"}:
        return
    useless: frozenset[str] = frozenset()
    if kind == "tcp":
        useless = ONLY_HTTP | ONLY_CHAT | {"sni", "ca", "expect"}
    elif kind == "http":
        useless = ONLY_CHAT
    elif kind == "chat":
        useless = frozenset({"method"})
    for field in probe:
        if field in useless:
            text = f"means nothing to a {kind} probe; remove it, or change the probe's kind"
            yield document.mistake((*trail, field), text, key=True)
