"""The fence and the answer as DNS messages: what is asked, what is required, what is replaced. No IO.

RFC 2136: section 2.4.2 (value-dependent prerequisites), 2.4.3 (RRset does not exist), 3.4.2.2 (a CNAME beside
other data is dropped without an error, hence the prerequisites against such data).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset
import dns.update

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import Fence, SteeringChange, decode, encode, serving
from orchestrator.core.topology import Answer, SteeringSpec
from providers.base import Refused
from providers.dns.exchange import absolute

A, AAAA, CNAME, TXT = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME, dns.rdatatype.TXT

KINDS = (A, AAAA, CNAME)
"""The record types that an answer may consist of."""

SIGNATURES = tuple(dns.rdatatype.from_text(text) for text in ("SIG", "KEY", "NXT", "RRSIG", "NSEC", "NSEC3"))
"""What DNSSEC puts beside a CNAME (RFC 4034, section 2.1)."""

BESIDE = tuple(
    kind
    for kind in dns.rdatatype.RdataType
    if kind not in (dns.rdatatype.NONE, *KINDS, *SIGNATURES) and not dns.rdatatype.is_metatype(kind)
)
"""Types that must not stand where a CNAME is put."""

LIKELY = tuple(dns.rdatatype.from_text(text) for text in ("NS", "MX", "TXT", "HTTPS", "SVCB", "CAA", "SRV", "SSHFP"))
"""Those of them that stand beside an address most often."""


@dataclass(frozen=True, slots=True)
class Names:
    """The three names of a steering."""

    zone: dns.name.Name
    name: dns.name.Name
    fence: dns.name.Name

    @classmethod
    def of(cls, spec: SteeringSpec) -> Names:
        """Raises BadInput for a name outside its zone."""
        zone, name = absolute(spec.zone), absolute(spec.name)
        if not name.is_subdomain(zone):
            raise BadInput(f"the name {name} is not inside the zone {zone}; mend name or zone in the steering")
        return cls(zone, name, absolute(f"_failover.{name}"))


def canonical(answer: Answer) -> Answer:
    """*answer* in one spelling: addresses as RFC 5952 writes them, names absolute and lower-case, all sorted.

    Raises BadInput for a value that is neither.
    """
    if answer.kind == "cname":
        return Answer("cname", tuple(sorted({absolute(value).to_text() for value in answer.values})))
    try:
        found = {ipaddress.ip_address(value) for value in answer.values}
    except ValueError as error:
        raise BadInput(f"an answer of addresses may hold IPv4 and IPv6 addresses only: {error}") from error
    zoned = sorted(str(address) for address in found if getattr(address, "scope_id", None))
    if zoned:
        raise BadInput(f"{zoned[0]} means something on one machine only; give an address that clients can reach")
    return Answer("addresses", tuple(sorted(map(str, found))))


def checked(change: SteeringChange, names: Names) -> SteeringChange:
    """*change* in canonical spelling. Raises Refused for a write that would leave the name without an answer."""
    if not change.answer.values or not serving(change.weights):
        raise Refused(f"this write would leave {names.name} without an answer; give an endpoint a weight above 0")
    try:
        answer = canonical(change.answer)
        was = canonical(change.was) if change.was is not None and change.was.values else None
    except BadInput as error:
        raise Refused(f"the answer for {names.name} cannot be written: {error}") from error
    if answer.kind == "cname" and len(answer.values) != 1:
        raise Refused(f"{names.name} can be one CNAME only; send all traffic to one endpoint")
    if answer.kind == "cname" and names.name == names.zone:
        raise Refused(f"{names.name} is the zone's own name and cannot be a CNAME; give its endpoints addresses")
    if answer.kind == "cname" and absolute(answer.values[0]) in (names.name, dns.name.root):
        raise Refused(f"{names.name} cannot be a CNAME of {answer.values[0]}: it would lead nowhere; mend the endpoint")
    return replace(change, answer=answer, was=was)


def records(answer: Answer | None) -> dict[dns.rdatatype.RdataType, tuple[str, ...]]:
    """The values of *answer* by record type; every type of KINDS is there, empty where the answer has none."""
    out: dict[dns.rdatatype.RdataType, tuple[str, ...]] = dict.fromkeys(KINDS, ())
    if answer is None:
        return out
    if answer.kind == "cname":
        return out | {CNAME: answer.values}
    v6 = tuple(value for value in answer.values if ":" in value)
    return out | {A: tuple(value for value in answer.values if value not in v6), AAAA: v6}


def answer_in(rrsets: dict[dns.rdatatype.RdataType, dns.rrset.RRset | None]) -> Answer | None:
    """The answer that the RRsets at a name make; None where there are none."""
    cname = rrsets.get(CNAME)
    if cname:
        return canonical(Answer("cname", tuple(rdata.to_text() for rdata in cname)))
    found = tuple(rdata.to_text() for kind in (A, AAAA) for rdata in (rrsets.get(kind) or ()))
    return canonical(Answer("addresses", found)) if found else None


def fence_rdata(fence: Fence) -> dns.rdata.Rdata:
    """The TXT record of *fence*, cut into strings of 255 bytes."""
    text = encode(fence).encode()
    strings = [text[start : start + 255] for start in range(0, len(text), 255)]
    return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, TXT, strings)


def fence_in(rrset: dns.rrset.RRset | None, names: Names) -> Fence | None:
    """The fence that stands in *rrset*; None where there is none. Raises BadFence."""
    if not rrset:
        return None
    if len(rrset) > 1:
        raise BadFence(f"{names.fence} holds {len(rrset)} TXT records where one fence belongs; delete the foreign ones")
    raw = b"".join(rrset[0].strings)
    try:
        return decode(raw.decode("ascii"))
    except UnicodeDecodeError as error:
        raise BadFence(f"the TXT at {names.fence} is not a fence: something else wrote it") from error
    except BadFence as error:
        raise BadFence(f"at {names.fence}: {error}") from error


def guarded(names: Names, fence: dns.rrset.RRset | None, was: Answer | None) -> dns.update.UpdateMessage:
    """An update that the server applies only while *fence* and *was* stand exactly as given."""
    update = dns.update.UpdateMessage(names.zone)
    if fence:
        update.present(names.fence, *fence)
    else:
        update.absent(names.fence, TXT)
        update.absent(names.fence, CNAME)  # beside one, the fence would be dropped without an error
    for kind, values in records(was).items():
        if values:
            update.present(names.name, kind, *values)
        else:
            update.absent(names.name, kind)
    return update


def replacement(
    names: Names, change: SteeringChange, fence: dns.rrset.RRset | None, ttl_s: int
) -> dns.update.UpdateMessage:
    """The compare-and-set of *change* against *fence*: one message that replaces fence and answer together."""
    update = guarded(names, fence, change.was)
    if change.answer.kind == "cname" and (change.was is None or change.was.kind != "cname"):
        for kind in BESIDE:
            update.absent(names.name, kind)
    for kind in KINDS:
        update.delete(names.name, kind)
    for kind, values in records(change.answer).items():
        if values:
            update.add(names.name, ttl_s, kind, *values)
    update.replace(names.fence, ttl_s, fence_rdata(change.fence))
    return update


def restoration(names: Names, change: SteeringChange, ttl_s: int) -> dns.update.UpdateMessage:
    """The answer before *change* again, where its fence stands and the name has none."""
    update = dns.update.UpdateMessage(names.zone)
    update.present(names.fence, fence_rdata(change.fence))
    for kind, values in records(change.was).items():
        update.absent(names.name, kind)
        if values:
            update.add(names.name, ttl_s, kind, *values)
    return update
