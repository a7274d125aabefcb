"""A topology from what a cloud has: in mode observe, with ``# guessed`` and ``# fill in`` where a person knows more.

What is there parses: where a field cannot be done without and is not known, a placeholder stands, whose host names end
in ``.invalid`` (RFC 2606), so that nobody is ever asked by mistake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.config.fields import DOMAIN, host_name
from orchestrator.core.topology import Answer
from providers.inventory import FoundEndpoint, FoundService, FoundSteering, Inventory, slug

NOWHERE = "unknown/region"
"""Where something stands that does not say where."""
TTL_S = 30
MOST_TTL_S = 60
"""A longer TTL is not taken over: clients would keep a dead endpoint that long."""
_PLAIN = re.compile(r"[a-z][a-z0-9-]*")
_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
_DNS = frozenset({"route53", "cloud-dns"})


@dataclass(frozen=True, slots=True)
class Draft:
    """A file, and what a person must write into it."""

    text: str
    fill_in: tuple[str, ...]
    """One phrase each, with its place: ``services[chat].name: the host name that clients call``."""


class _Page:
    """Lines, and what is missing in them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.missing: list[str] = []

    def add(self, *lines: str) -> None:
        self.lines += lines

    def gap(self, line: str, place: str, what: str) -> None:
        """*line* with what is to be filled in there; *place* is where, for the list at the end."""
        self.lines.append(f"{line}  # fill in: {comment(what)}")
        self.missing.append(f"{place}: {what}")


def drafted(inventory: Inventory, *, by: str) -> Draft:
    """The file that *inventory* makes; *by* is the command that looked."""
    page = _Page()
    regions = sorted({_region(each) for service in inventory.services for each in service.endpoints})
    page.add(
        f"# Written by '{comment(by)}' from what is there; nothing was changed.",
        "# Mode observe: it watches, decides and records, and writes nothing.",
        "# Next: mend the lines that say 'fill in', look at those that say 'guessed', then 'failover validate', "
        "'failover apply'.",
    )
    page.add(*(f"# Left out: {comment(each)}." for each in inventory.left_out))
    page.add(*(f"# Note: {comment(each)}." for each in inventory.remarks))
    page.add("", "apiVersion: failover/v1", "kind: Topology", "")
    page.add(f"regions: [site/here, {', '.join(regions)}]", "", "vantages:")
    page.gap("  - {id: here, region: site/here}", "vantages", "two more, each in another region than the endpoints")
    page.add("", "services:")
    for service in inventory.services:
        _service(page, service)
    return Draft("\n".join(page.lines) + "\n", tuple(page.missing))


def comment(text: str) -> str:
    """*text* on one line: what comes from the world must not break out of a comment."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _text(value: str) -> str:
    return json.dumps(value)


def _id(value: str) -> str:
    """*value* as YAML reads it back as text: ``no`` and ``0`` are something else without quotes."""
    return value if _PLAIN.fullmatch(value) and value not in _WORDS else _text(value)


def _region(endpoint: FoundEndpoint) -> str:
    return endpoint.region if DOMAIN.fullmatch(endpoint.region) else NOWHERE


def _service(page: _Page, service: FoundService) -> None:
    place = f"services[{service.id}]"
    page.add(f"  - id: {_id(service.id)}  # {comment(service.because)}")
    name = host_name(service.name) if service.name else None
    if name is None:
        page.gap(f"    name: {service.id}.invalid", f"{place}.name", "the host name that clients call")
    else:
        page.add(f"    name: {_text(name)}")
    paths = sorted({each.health for each in service.endpoints if each.health.startswith("/")})
    page.add("    probes:")
    probe = f"      - {{id: http, kind: http, path: {_text(paths[0] if paths else '/')}}}"
    if len(paths) == 1 and all(each.health for each in service.endpoints):
        page.add(f"{probe}  # guessed: its platform judges it by this path")
    else:
        page.gap(probe, f"{place}.probes", "a path that answers 2xx only while an endpoint can serve")
    page.add("      # For a model, prove it by a completion; it costs money, so once a minute:")
    page.add("      # - {id: chat, kind: chat, model: NAME, headers: {Authorization: {env: CHAT_TOKEN}}}")
    page.add("    endpoints:")
    ids, roles = _ids(service), _roles(service)
    most = max((each.workload.replicas for each in service.endpoints if each.workload), default=1)
    answers = _answers(service)
    for index, endpoint in enumerate(service.endpoints):
        here = f"{place}.endpoints[{ids[index]}]"
        own = service.own[index] if index < len(service.own) else ""
        page.add(f"      - id: {_id(ids[index])}  # {comment(endpoint.says)}")
        page.add(*(f"        # note: {comment(note)}" for note in endpoint.notes))
        _address(page, here, endpoint, own, name or "")
        if answers[index] is not None:
            page.add(f"        answer: {answers[index]}")
        elif service.steering is not None:
            page.gap("        # answer:", f"{here}.answer", "what clients are given when it serves")
        role, why = roles[index]
        page.add(f"        role: {role}  # {why}")
        page.add("        # capacity: 100  # fill in: requests in flight that it can carry")
        _workload(page, here, endpoint, role, most)
    _steering(page, place, service)
    page.add("    policy:", "      mode: observe  # later: approval or automatic")
    page.add("      rto: 5m  # guessed: how long an outage may last")
    page.add("      # capacity: 100  # fill in: requests in flight that the service needs")
    page.missing.append(f"{place}: capacity of its policy and of each endpoint; without it a person is asked")


# ------------------------------------------------------------------ endpoints


def _ids(service: FoundService) -> list[str]:
    """An id for each endpoint: its region, and its name where that is not enough."""
    regions = [slug(_region(each).rpartition("/")[2]) for each in service.endpoints]
    made: list[str] = []
    for region, endpoint in zip(regions, service.endpoints, strict=True):
        alone = regions.count(region) == 1
        base = region if alone else slug(f"{region}-{endpoint.name}")
        names = (base, slug(f"{base[:30]}-{endpoint.scope}"), *(f"{base}-{number}" for number in range(2, 1000)))
        made.append(next(each for each in names if each and each not in made))
    return made


def _roles(service: FoundService) -> list[tuple[str, str]]:
    """For each endpoint its role, and whose word that is."""
    shares = [each.share or 0 for each in service.endpoints]
    if any(shares) and service.steering is not None:
        name = service.steering.name
        said = {True: f"{name} leads there now", False: f"{name} does not lead there now"}
        return [("active" if share else "standby", comment(said[bool(share)])) for share in shares]
    if len(service.endpoints) == 1:
        return [("active", "guessed: it is the only one")]
    replicas = [each.workload.replicas if each.workload else 0 for each in service.endpoints]
    first = replicas.index(max(replicas))
    why = "guessed: no name that was found says who serves; it has the most replicas, or comes first"
    return [
        ("active", why) if index == first else ("standby", "guessed: another may serve now")
        for index in range(len(replicas))
    ]


def _address(page: _Page, here: str, endpoint: FoundEndpoint, own: str, name: str) -> None:
    """Where an endpoint is asked, and where it stands. *own*: a host name that leads to it alone."""
    named = (each for each in endpoint.names if "*" not in each)
    host = next((each for each in (own, *endpoint.hosts, *named) if each), "")
    port = f":{endpoint.port}" if endpoint.port else ""
    shown = f"[{host}]" if ":" in host else host
    if host:
        guess = "  # guessed: by its load balancer" if host != own else ""
        page.add(f"        url: {_text(f'{endpoint.scheme}://{shown}{port}')}{guess}")
    else:
        page.gap(
            f"        url: https://{slug(_region(endpoint))}.invalid",
            f"{here}.url",
            "its own address, not the name that moves",
        )
    if host and host != own and name and name != host:
        # A load balancer's own name is on no certificate, and often in no rule.
        sni = f", sni: {_text(name)}" if endpoint.scheme == "https" else ""
        as_name = f"{{id: http, host: {_text(name)}{sni}}}"
        page.add(f"        probes: [{as_name}]  # guessed: it serves under this name only")
    if _region(endpoint) == NOWHERE:
        page.gap(f"        region: {NOWHERE}", f"{here}.region", "cloud/region where it stands; add it to regions")
    else:
        page.add(f"        region: {_region(endpoint)}")


def _answers(service: FoundService) -> list[str | None]:
    """Each endpoint's answer as YAML; None where it is not known, or is another's too."""
    made: list[str | None] = []
    kinds = {each.answer.kind for each in service.endpoints if each.answer}
    for endpoint in service.endpoints:
        text = _answer(endpoint.answer) if endpoint.answer else None
        mixed = service.steering is None and len(kinds) > 1
        made.append(None if mixed or text in made else text)
    return made


def _answer(answer: Answer) -> str:
    if answer.kind == "cname":
        return f"{{cname: {_text(answer.values[0].rstrip('.'))}}}"
    if answer.kind == "target":
        return f"{{target: {_text(answer.values[0])}}}"
    return f"[{', '.join(_text(each) for each in answer.values)}]"


def _workload(page: _Page, here: str, endpoint: FoundEndpoint, role: str, most: int) -> None:
    found = endpoint.workload
    if found is None:
        return
    serving = max(1, found.replicas if role == "active" else most)
    options = ", ".join(f"{name}: {_text(value)}" for name, value in found.options)
    page.add(
        "        workload:",
        f"          provider: {found.provider}",
        f"          target: {_text(found.target)}",
        f"          serving: {serving}  # guessed: {_guess(found.replicas, role, most)}",
        f"          standby: {found.replicas}  # guessed: as many as it has now",
    )
    if options:
        page.add(f"          options: {{{options}}}")
    if found.replicas == 0 and role == "active":
        page.missing.append(f"{here}.workload.serving: replicas while it carries traffic; it has none now")


def _guess(replicas: int, role: str, most: int) -> str:
    if role == "active" or replicas == most:
        return f"it has {replicas} now"
    return f"as many as the largest has; it has {replicas} now"


# ------------------------------------------------------------------ steering


def _steering(page: _Page, place: str, service: FoundService) -> None:
    steering = service.steering
    if steering is None:
        page.gap("    # steering:", f"{place}.steering", "how its name is moved; until then it is only watched")
        page.add("    #   'failover providers' lists what can; without steering nothing moves")
        return
    page.add(f"    steering:  # {comment(steering.says)}", f"      provider: {steering.provider}")
    ttl_s = steering.ttl_s
    if steering.provider in _DNS or ttl_s is not None:
        page.add(_ttl(ttl_s))
    page.add(*_options(page, place, steering))


def _ttl(ttl_s: int | None) -> str:
    if ttl_s is not None and 0 < ttl_s <= MOST_TTL_S:
        return f"      ttl: {ttl_s}s"
    now = "has none of its own" if not ttl_s else f"has {ttl_s}s now; lower it there before the first failover"
    return f"      ttl: {TTL_S}s  # guessed: the name {now}"


def _options(page: _Page, place: str, steering: FoundSteering) -> Iterator[str]:
    if not steering.options and not steering.missing:
        return
    yield "      options:"
    for name, value in steering.options:
        yield f"        {name}: {_text(value)}"
    for name, what in steering.missing:
        page.missing.append(f"{place}.steering.options.{name}: {what}")
        yield f'        {name}: "https://fill-in.invalid/{slug(name)}"  # fill in: {comment(what)}'
