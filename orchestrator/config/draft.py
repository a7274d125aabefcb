"""The first ``failover.yaml``: what was discovered, in mode observe, with a TODO where a person knows more."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.config.fields import spoken

if TYPE_CHECKING:
    from providers.dns.discover import Discovered, FoundEndpoint

MOST_TTL_S = 60
"""A longer TTL than this is not taken over into a draft: clients would keep a dead endpoint that long."""
TTL_S = 30


def draft(discovered: Discovered) -> str:
    """A commented topology file for *discovered*. It parses and validates without errors, and changes nothing."""
    ids = _ids(discovered)
    lines = [
        *_head(discovered),
        "apiVersion: failover/v1",
        "kind: Topology",
        "",
        "# TODO: name the failure domains as cloud/region, such as aws/us-east-1; what fails together shares one.",
        f"regions: [site/here, {', '.join(f'site/{each}' for each in ids)}]",
        "",
        "# TODO: 'down' needs at least two vantages, better three, each in another region; this one only watches.",
        "vantages:",
        "  - {id: here, region: site/here}",
        "#  - {id: second, region: aws/eu-west-1}",
        "",
        "# TODO: say who is told.",
        "# notify:",
        '#   - {webhook: "https://hooks.example.com/failover", secret: {env: FAILOVER_WEBHOOK_KEY}}',
        "",
        "services:",
        f"  - id: {_slug(discovered.name.split('.')[0]) or 'service'}",
        f"    name: {_text(discovered.name)}",
        *_probes(),
        "    endpoints:",
    ]
    answers = _answers(discovered)
    active = _active(discovered)
    for index, (each, found) in enumerate(zip(ids, discovered.endpoints, strict=True)):
        lines += _endpoint(each, found, answers[index], "active" if index == active[0] else "standby")
    lines += [f"    # TODO: {active[1]}"] if active[1] else []
    lines += _steering(discovered)
    lines += _policy()
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return json.dumps(value)


def _comment(sentence: str) -> str:
    """*sentence* on one line: what comes from the world must not break out of a comment."""
    return "".join(char if char.isprintable() else "?" for char in sentence)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _hosts(discovered: Discovered) -> list[str]:
    return [(urlsplit(each.url).hostname or "").rstrip(".") for each in discovered.endpoints]


def _ids(discovered: Discovered) -> list[str]:
    """An id for each endpoint: the first label of its host where that tells them apart."""
    found: list[str] = []
    for index, host in enumerate(_hosts(discovered)):
        label = "" if _is_address(host) else _slug(host.split(".")[0])
        taken = not label or label == "here" or label in found
        found.append(f"{label or 'endpoint'}-{index + 1}" if taken else label)
    return found


def _head(discovered: Discovered) -> list[str]:
    answer = discovered.answer
    said = f"{discovered.name} answers {'CNAME ' if answer.kind == 'cname' else ''}{', '.join(answer.values)}"
    ttl = f" with a TTL of {spoken(discovered.ttl_s)}" if discovered.ttl_s is not None else ""
    lines = [
        "# Written by 'failover init' from what stands in DNS and at the endpoints.",
        f"# {_comment(said)}{ttl}.",
        "# Mode observe: it watches, decides and records, and writes nothing.",
        "# Next: mend the TODO lines, 'failover validate', 'failover apply'.",
    ]
    if discovered.fence is not None:
        fence = _comment(discovered.fence[:100])
        lines.append(f"# TODO: _failover.{discovered.name} says '{fence}': something steers this name already.")
    return [*lines, *(f"# TODO: {_comment(problem)}." for problem in discovered.problems), ""]


def _probes() -> list[str]:
    return [
        "    probes:",
        "      # TODO: a path that answers 2xx only while the endpoint can serve.",
        "      - {id: http, kind: http, path: /, interval: 2s, timeout: 1500ms}",
        "      # TODO: for a model, prove it by a completion (it costs money: once a minute).",
        "      # - {id: chat, kind: chat, model: NAME, interval: 60s, headers: {Authorization: {env: CHAT_TOKEN}}}",
    ]


def _answers(discovered: Discovered) -> list[tuple[str | None, str]]:
    """For each endpoint its answer in YAML, or None and why there is none."""
    hosts = _hosts(discovered)
    alone = len(hosts) == 1 and hosts[0] == discovered.name
    if discovered.answer.kind == "cname" and not alone and not any(_is_address(host) for host in hosts):
        taken = [host in hosts[:index] for index, host in enumerate(hosts)]
        return [
            (None, "it has the host of another endpoint, so DNS cannot tell them apart")
            if twice
            else (f"{{cname: {host}}}", "")
            for host, twice in zip(hosts, taken, strict=True)
        ]
    found: list[tuple[str | None, str]] = []
    held: set[str] = set()
    for endpoint in discovered.endpoints:
        if not endpoint.addresses:
            found.append((None, "its host does not resolve; write its addresses"))
        elif held.intersection(endpoint.addresses):
            found.append((None, "it has an address of another endpoint, so DNS cannot tell them apart"))
        else:
            held.update(endpoint.addresses)
            found.append((f"[{', '.join(_text(each) for each in endpoint.addresses)}]", ""))
    return found


def _active(discovered: Discovered) -> tuple[int, str]:
    """Which endpoint the name points at now, and what is doubtful about it."""
    said = set(discovered.answer.values)
    for index, (host, endpoint) in enumerate(zip(_hosts(discovered), discovered.endpoints, strict=True)):
        if discovered.answer.kind == "cname" and f"{host}." in said:
            return index, ""
        if discovered.answer.kind == "addresses" and endpoint.addresses and said.intersection(endpoint.addresses):
            rest = sorted(said.difference(*(each.addresses for each in discovered.endpoints)))
            doubt = f"{', '.join(rest)} is in the answer and at no endpoint; add that endpoint" if rest else ""
            return index, doubt
    values = ", ".join(discovered.answer.values)
    return 0, f"no endpoint explains what {discovered.name} answers now ({values}); correct roles and answers"


def _endpoint(name: str, found: FoundEndpoint, answer: tuple[str | None, str], role: str) -> list[str]:
    lines = [f"      - id: {name}", f"        url: {_text(found.url)}"]
    value, why = answer
    lines.append(f"        answer: {value}" if value else f"        # TODO: answer: {why}.")
    lines += [
        f"        region: site/{name}  # TODO: where it stands",
        f"        role: {role}",
        "        # TODO: capacity: requests in flight that it can carry",
    ]
    if found.certificate is not None:
        names = ", ".join(found.certificate.names[:4])
        lines.append(f"        # Certificate for {_comment(names)}, until {found.certificate.expires:%Y-%m-%d}.")
    return lines + [f"        # TODO: {_comment(problem)}." for problem in found.problems]


def _steering(discovered: Discovered) -> list[str]:
    ttl, note = TTL_S, "the TTL could not be read"
    if discovered.ttl_s is not None:
        note = f"the record has {spoken(discovered.ttl_s)} now"
        if 0 < discovered.ttl_s <= MOST_TTL_S:
            ttl, note = discovered.ttl_s, ""
    todo = f"  # TODO: {note}; lower it there before the first failover" if note else ""
    if discovered.ttl_s == 0:
        todo = "  # the record has 0s now"
    zone = discovered.zone or "example.com"
    body = [
        "    steering:",
        "      provider: rfc2136",
        f"      zone: {_text(zone)}",
        f"      ttl: {ttl}s{todo}",
        f"      primary: {_text(discovered.primary or '192.0.2.53:53')}",
        *([f"      servers: [{', '.join(_text(each) for each in discovered.servers)}]"] if discovered.servers else []),
        "      # TODO: a TSIG key of your name server; 'failover doctor --dns' prints the least grant it needs.",
        "      key: {name: failover., algorithm: hmac-sha256, secret: {env: FAILOVER_TSIG}}",
    ]
    if discovered.zone is not None and discovered.primary is not None:
        return body
    missing = "zone" if discovered.zone is None else "primary name server"
    head = f"    # TODO: the {missing} could not be found; until this is filled in, the service is only watched."
    return [head, *(f"    # {line.removeprefix('    ')}" for line in body)]


def _policy() -> list[str]:
    return [
        "    policy:",
        "      mode: observe  # later: approval or automatic",
        "      rto: 5m  # how long an outage may last",
        "      # TODO: capacity: requests in flight that the service needs",
    ]
