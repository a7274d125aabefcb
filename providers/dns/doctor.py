"""What stands between a steering and its first write, found by asking the servers and changing nothing.

Rights are tried by deleting records that are not there, which RFC 2136 (section 3.4.2.4) makes an act without effect,
while the server still asks its policy. Each trial requires fence and answer exactly as read, so that a run under way
makes it fail instead of being disturbed. Adding a record and deleting it in one message would not do: PowerDNS deletes
first and adds then, whatever the order in the message.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from orchestrator.core.errors import BadFence, BadInput, FailoverError
from orchestrator.core.topology import SteeringSpec
from providers.base import ProviderError, Unauthenticated
from providers.dns.exchange import QUERY_S, Line, Server, connected, foreign, own, signing_key
from providers.dns.grants import least_grant
from providers.dns.messages import AAAA, CNAME, KINDS, TXT, A, guarded
from providers.dns.rfc2136 import READ_S, Rfc2136Steering, Standing
from providers.fencing import said

__all__ = ["Finding", "examine", "least_grant"]

_ABSENT = {
    A: ("192.0.2.254", "198.51.100.254"),
    AAAA: ("2001:db8::fe", "2001:db8::ff"),
    CNAME: ("nobody.invalid.", "nobody2.invalid."),
}
"""Values nobody answers with, two of each: one of them is not in the answer whatever it is."""

_NO_FENCE = dns.rdata.from_text(dns.rdataclass.IN, TXT, '"nothing"')
"""A text that no fence can be, so that deleting it deletes none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    check: str
    """Stable name: ``key``, ``server``, ``zone``, ``answer``, ``fence``, ``grant``, ``test-write``, ``servers``, ..."""
    ok: bool | None
    """None: nothing is wrong, and there is advice."""
    text: str
    """What was found, in one sentence."""
    cure: str = ""
    """What to do about it; empty where there is nothing to do."""


async def examine(spec: SteeringSpec) -> tuple[Finding, ...]:
    """Everything that can be told about *spec* without changing it. Never raises for what is wrong: that is a finding.

    It ends at the first trouble that hides the rest: a server that is away, a zone that is not there.
    """
    try:
        steering = Rfc2136Steering(spec)
    except BadInput as error:
        return (Finding("spec", False, str(error), "mend the steering in the topology"),)
    try:
        key = signing_key(spec.key)
        held = [] if key else [Finding("key", False, "no TSIG key is named", "give steering.key, or nothing can write")]
    except BadInput as error:
        key, held = None, [Finding("key", False, str(error), "the server can be read without it, not written")]
    return (
        *held,
        *await _at_primary(steering, key),
        *await asyncio.gather(
            *(_server(steering, server) for server in steering.servers if server != steering.primary)
        ),
        Finding(
            "least-grant",
            None,
            "whether the key may do more than it needs cannot be seen without trying",
            f"compare its rights with the least that is needed, and let it transfer no zone: {least_grant(spec)}",
        ),
    )


async def _at_primary(steering: Rfc2136Steering, key: dns.tsig.Key | None) -> list[Finding]:
    found: list[Finding] = []
    loop = asyncio.get_running_loop()
    try:
        async with connected(steering.primary, None, loop.time() + READ_S) as line:
            found.append(Finding("server", True, f"name server {steering.primary} takes connections"))
            found += await _zone(line, steering)
        async with connected(steering.primary, key, loop.time() + READ_S) as line:
            if key is not None:
                await line.ask(steering.names.zone, dns.rdatatype.SOA)
                found.append(Finding("key", True, f"TSIG key '{key.name}' is accepted"))
            standing = await _standing(line, steering, found)
        if key is not None and standing is not None:
            async with connected(steering.primary, key, loop.time() + 2 * READ_S) as line:
                found += await _rights(line, steering, standing)
    except Unauthenticated as error:
        found.append(Finding("key", False, str(error), "mend the key there or here; nothing else was tried with it"))
    except ProviderError as error:
        check = "zone" if found else "server"
        found.append(Finding(check, False, str(error), "mend this first; what follows from it was not looked at"))
    return found


async def _zone(line: Line, steering: Rfc2136Steering) -> list[Finding]:
    zone = steering.names.zone
    reply = await line.ask(zone, dns.rdatatype.SOA)
    soa = own(reply, zone, dns.rdatatype.SOA)
    if not soa:
        text = f"name server {line.server} serves the surroundings of {zone}, and no zone of that name"
        return [Finding("zone", False, text, "mend steering.zone: it is the name that carries the SOA record")]
    found = [Finding("zone", True, f"{line.server} is authoritative for {zone}, serial {soa[0].serial}")]
    named = await line.rrset(zone, dns.rdatatype.NS)
    if named and len(named) > len(steering.servers):
        names = ", ".join(sorted(rdata.to_text() for rdata in named))
        text = f"{zone} names {len(named)} name servers ({names}) and steering.servers lists {len(steering.servers)}"
        found.append(Finding("servers", None, text, "list them all, so that converge waits for each"))
    return found


async def _standing(line: Line, steering: Rfc2136Steering, found: list[Finding]) -> Standing | None:
    names, spec = steering.names, steering.spec
    try:
        standing = await steering.standing(line)
    except BadFence as error:
        found.append(
            Finding("fence", False, str(error), f"delete what stands at {names.fence}, then adopt the service")
        )
        return None
    routing = standing.routing
    if routing.answer is None:
        found.append(Finding("answer", None, f"{names.name} has no address and no CNAME", "the first write creates it"))
    elif routing.ttl_s != spec.ttl_s:
        text = f"{names.name} answers {said(routing.answer)} with a TTL of {routing.ttl_s} s, not {spec.ttl_s} s"
        cure = f"adopt sets the TTL; until {routing.ttl_s} s after that, caches keep what they have"
        found.append(Finding("answer", None, text, cure))
    else:
        found.append(Finding("answer", True, f"{names.name} answers {said(routing.answer)}, TTL {routing.ttl_s} s"))
    if routing.fence is None:
        found.append(Finding("fence", None, f"no fence stands at {names.fence}", "run 'failover adopt SERVICE'"))
    else:
        by = f"generation {routing.fence.generation}, written by run {routing.fence.run}, step {routing.fence.step}"
        found.append(Finding("fence", True, f"{names.fence} holds {by}"))
    return standing


async def _rights(line: Line, steering: Rfc2136Steering, standing: Standing) -> list[Finding]:
    names = steering.names
    missing: list[str] = []
    for kind in KINDS:
        update = guarded(names, standing.fence, standing.routing.answer)
        present = standing.routing.answer.values if standing.routing.answer else ()
        update.delete(names.name, kind, next(value for value in _ABSENT[kind] if value not in present))
        rcode = await line.submit(update)
        if rcode == dns.rcode.REFUSED:
            missing.append(kind.name)
        elif rcode != dns.rcode.NOERROR:
            return [_odd("grant", rcode, steering)]
    cure = f"allow it in the primary's update-policy (a secondary refuses everything): {least_grant(steering.spec)}"
    grant = (
        Finding("grant", False, f"the key may not change {', '.join(missing)} of {names.name}", cure)
        if missing
        else Finding("grant", True, f"the key may change A, AAAA and CNAME of {names.name}")
    )
    rcode = await line.submit(_trial(steering, standing))
    if rcode == dns.rcode.NOERROR:
        return [grant, Finding("test-write", True, f"the key may change TXT of {names.fence}; nothing was changed")]
    if rcode == dns.rcode.REFUSED:
        return [grant, Finding("test-write", False, f"the key may not change TXT of {names.fence}", cure)]
    return [grant, _odd("test-write", rcode, steering)]


def _trial(steering: Rfc2136Steering, standing: Standing) -> dns.update.UpdateMessage:
    """A write to the fence alone that leaves it as it stands."""
    update = guarded(steering.names, standing.fence, standing.routing.answer)
    update.delete(steering.names.fence, _NO_FENCE)
    return update


def _odd(check: str, rcode: dns.rcode.Rcode, steering: Rfc2136Steering) -> Finding:
    """A trial that ended neither well nor for want of a right."""
    code = dns.rcode.to_text(rcode)
    if rcode in (dns.rcode.NXRRSET, dns.rcode.YXRRSET):
        text = f"{steering.names.name} changed while it was looked at, or its answer is made by a wildcard ({code})"
        return Finding(check, None, text, "look again when no run is under way")
    text = f"name server {steering.primary} answers updates of {steering.names.zone} with {code}"
    if rcode == dns.rcode.SERVFAIL:
        cure = "its log says why; PowerDNS says so of what its policy script forbids"
        return Finding(check, False, text, f"{cure}: {least_grant(steering.spec)}")
    return Finding(check, False, text, "name the zone's primary, and let it take dynamic updates (RFC 2136)")


async def _server(steering: Rfc2136Steering, server: Server) -> Finding:
    """Whether *server* is authoritative and says what the primary says."""
    check = f"server {server}"
    deadline = asyncio.get_running_loop().time() + QUERY_S
    cure = "mend it, or take it off steering.servers: converge waits for every server that is listed"
    try:
        async with connected(server, None, deadline) as there, connected(steering.primary, None, deadline) as here:
            theirs, ours = await asyncio.gather(_serial(there, steering), _serial(here, steering))
            answers = await asyncio.gather(*(_values(line, steering) for line in (there, here)))
    except FailoverError as error:
        return Finding(check, False, str(error), cure)
    if answers[0] != answers[1]:
        text = f"{server} has serial {theirs} and answers {answers[0]}; the primary has {ours} and answers {answers[1]}"
        return Finding(check, False, text, "let the primary send it NOTIFY, and look whether its transfers succeed")
    if theirs != ours:
        return Finding(check, None, f"{server} has serial {theirs}, the primary {ours}; the answer is the same")
    return Finding(check, True, f"{server} is authoritative and agrees with the primary, serial {theirs}")


async def _serial(line: Line, steering: Rfc2136Steering) -> int | None:
    soa = await line.rrset(steering.names.zone, dns.rdatatype.SOA)
    return soa[0].serial if soa else None


async def _values(line: Line, steering: Rfc2136Steering) -> str:
    name = steering.names.name
    values: set[str] = set()
    for kind in (A, AAAA):
        reply = await line.exchange(dns.message.make_query(name, kind, flags=0))
        if foreign(reply) is None:
            values |= {rdata.to_text() for rrset in reply.answer if rrset.name == name for rdata in rrset}
    return ", ".join(sorted(values)) or "nothing"
