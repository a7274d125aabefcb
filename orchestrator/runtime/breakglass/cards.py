"""The card: what a person types for one service when nothing else works. Plain text, made to be printed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Answer, Endpoint, Service, SteeringSpec, Topology
from orchestrator.runtime.breakglass.sealed import keep

SUFFIX = ".txt"


def refresh(topology: Topology, file: Path, folder: Path) -> tuple[Path, ...]:
    """Write the card of every service into *folder*, and take those away that are of no service any more.

    Each is written whole or not at all. Raises BadInput where the folder cannot be written.
    """
    written = []
    for service in topology.services:
        path = folder / f"{service.id}{SUFFIX}"
        keep(path, card(topology, service.id, file), mode=0o644)
        written.append(path)
    for path in folder.glob(f"*{SUFFIX}"):
        if path not in written and _is_card(path):
            path.unlink(missing_ok=True)
    return tuple(written)


def card(topology: Topology, service: ServiceId, file: Path) -> str:
    """The card of *service*, whose topology stands in *file*. No secret is in it: keys are named, never shown."""
    found = topology.service(service)
    return (
        "\n".join((*_head(found), *_endpoints(found), *_program(found, file), *_by_hand(found), *_after(found))) + "\n"
    )


_TITLE = "BREAK-GLASS CARD"


def _is_card(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(_TITLE)
    except OSError:
        return False


def _head(service: Service) -> Iterator[str]:
    yield f"{_TITLE}: {service.id} ({service.name})"
    yield ""
    steering = service.steering
    if steering is None:
        yield "Nothing steers this service: its traffic cannot be moved from here, and this card only names its places."
        return
    if not steering.zone:
        yield f"steered by    {steering.provider}"
        yield from (f"  {name:<12}{value}" for name, value in steering.options)
        return
    yield f"record        {steering.name} in zone {steering.zone}, time to live {steering.ttl_s} s"
    yield f"fence         {_fence(steering)} TXT: who wrote last, and what it meant"
    if not steering.primary:
        yield f"write to      {steering.provider}"
        return
    yield f"write to      {steering.primary} ({steering.provider})"
    yield f"name servers  {', '.join(steering.servers) or steering.primary}"
    key = steering.key
    yield (
        f"key           {key.name} ({key.algorithm}), from {key.secret.source} {key.secret.name}"
        if key
        else "key  none"
    )


def _endpoints(service: Service) -> Iterator[str]:
    yield ""
    yield "places"
    for endpoint in service.endpoints:
        answer = f"{endpoint.answer.kind} {' '.join(endpoint.answer.values)}" if endpoint.answer else "no answer"
        yield f"  {endpoint.id:<14}{endpoint.role:<8}  {answer}  {endpoint.region}  {endpoint.url}"


def _program(service: Service, file: Path) -> Iterator[str]:
    path = shlex.quote(str(file))
    plan = f"{service.id}.plan.json"
    yield ""
    yield "1. Look"
    yield f"  failover status {service.id}"
    if service.steering is not None:
        yield from (f"  {line}" for line in _looks(service.steering))
    for endpoint in service.endpoints:
        yield f"  failover probe {endpoint.id} --service {service.id} --file {path}"
    if service.steering is None:
        return
    yield ""
    yield "2. Move, with the control plane"
    for endpoint in service.endpoints:
        yield f"  failover run {service.id} --to {endpoint.id} --reason '...'"
    yield ""
    yield "3. Move, without it: same steps, same fence; needs this program, the topology file and the key"
    for endpoint in service.endpoints:
        yield f"  failover break-glass plan {path} {service.id} --to {endpoint.id} --reason '...' --out {plan}"
    yield f"  failover break-glass run {plan} --unverified      (without --unverified where a plan key is set)"
    yield "  interrupted: the same command goes on; to put back: failover break-glass abort"


def _by_hand(service: Service) -> Iterator[str]:
    steering = service.steering
    if steering is None:
        return
    yield ""
    if steering.provider != "rfc2136":
        yield f"4. By hand: not by nsupdate, for '{steering.provider}' keeps more than the answer; use 3"
        return
    yield "4. By hand, without this program (dig and nsupdate alone). Refused (NXRRSET) if the record moves meanwhile."
    host, _, port = steering.primary.rpartition(":")
    key = "-k KEYFILE " if steering.key else ""
    if steering.key:
        name, algorithm = steering.key.name.rstrip("."), steering.key.algorithm
        yield f'  KEYFILE: key "{name}" {{ algorithm {algorithm}; secret "..."; }};'
    yield f"  FENCE=$(dig +short +norecurse @{host.strip('[]')} -p {port} {_fence(steering)} TXT)"
    yield "  No promotion, no proof, no drain: see first that the place serves (1)."
    for endpoint in service.endpoints:
        if endpoint.answer is not None:
            yield f"  to {endpoint.id}:"
            yield f"    nsupdate {key}<<EOF"
            yield from (f"    {line}" for line in _script(steering, endpoint, endpoint.answer))
            yield "    EOF"


def _script(steering: SteeringSpec, endpoint: Endpoint, answer: Answer) -> Iterator[str]:
    host, _, port = steering.primary.rpartition(":")
    name = _absolute(steering.name)
    yield f"server {host.strip('[]')} {port}"
    yield f"zone {_absolute(steering.zone)}"
    yield f"prereq yxrrset {_fence(steering)} IN TXT $FENCE"
    yield from (f"update delete {name} IN {kind}" for kind in ("A", "AAAA", "CNAME"))
    for value in answer.values:
        kind = "CNAME" if answer.kind == "cname" else "AAAA" if ":" in value else "A"
        yield f"update add {name} {steering.ttl_s} IN {kind} {_absolute(value) if kind == 'CNAME' else value}"
    yield "send"


def _after(service: Service) -> Iterator[str]:
    if service.steering is not None:
        yield ""
        yield "5. Afterwards, when Temporal is back"
        yield "  after 3: failover break-glass take-in JOURNAL"
        yield f"  after 4: failover adopt {service.id}     (until then the service is held as changed-outside)"
    yield ""
    yield "More: docs/break-glass.md and docs/on-call.md. This card is as the topology was when it was last applied."


def _looks(steering: SteeringSpec) -> Iterator[str]:
    for address in dict.fromkeys((steering.primary, *steering.servers)):
        host, _, port = address.rpartition(":")
        for name, kind in ((_absolute(steering.name), "A"), (_fence(steering), "TXT")):
            yield f"dig +short +norecurse @{host.strip('[]')} -p {port} {name} {kind}"


def _fence(steering: SteeringSpec) -> str:
    return f"_failover.{_absolute(steering.name)}"


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}."
