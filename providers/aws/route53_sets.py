"""Record sets of Route 53 as shares of targets, and shares as record sets. Pure.

A target is what the topology makes of an endpoint's addresses, sorted as text: ``192.0.2.1 192.0.2.2 2001:db8::1`` (A
and AAAA); or of its cname: ``eu.edge.example.net.``; or what it says itself: ``alias:Z35SXDOTRQ7X7K/lb.example.net.``
(an alias of type A), ``alias46:...`` (of types A and AAAA).

What Route 53 does by itself, and what follows: simple and weighted sets cannot share a name and type, so a simple set
becomes a weighted one; weights that are all 0 mean *equal*, so a type that no target with a share has is deleted whole
(https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-weighted.html).
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from providers.base import Refused

RecordSet = dict[str, Any]
"""A record set in the words of the SDK, just as it was read: a DELETE must repeat it to the letter."""
KINDS = ("A", "AAAA", "CNAME")
_VERSIONS = {"A": 4, "AAAA": 6}
_ALIASES = {"alias": ("A",), "alias46": ("A", "AAAA")}
_POLICIES = (
    "Region",
    "GeoLocation",
    "Failover",
    "MultiValueAnswer",
    "CidrRoutingConfig",
    "GeoProximityLocation",
    "TrafficPolicyInstanceId",
)
"""Fields of sets that are routed by something else than weights."""
_HOST = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)+")
_ALIAS = re.compile(rf"(alias|alias46):([A-Z0-9]+)/({_HOST.pattern})")
_ESCAPED = re.compile(r"\\(\d{3})")
LIKE = "'192.0.2.1 2001:db8::1', 'eu.edge.example.net.' or 'alias:ZONE/name.'"


@dataclass(frozen=True, slots=True)
class Part:
    """What a target has of one type."""

    kind: str
    values: tuple[str, ...]
    """Addresses sorted as text, a host name, or one ``ZONE/name.`` of an alias."""
    alias: bool = False


def target(text: str) -> tuple[Part, ...]:
    """The parts of a target. Raises Refused for a text that is none, or not written as it is read back."""
    made = _parts(text)
    if not made:
        raise Refused(f"'{text}' is no target of Route 53: write {LIKE}")
    if called(made) != text:
        raise Refused(f"Route 53 reads the target '{text}' back as '{called(made)}': write it so in the topology")
    return made


def called(parts: Iterable[Part]) -> str:
    """The text of a target of these parts."""
    ordered = sorted(parts, key=lambda part: part.kind)
    if any(part.alias for part in ordered):
        word = {kinds: word for word, kinds in _ALIASES.items()}.get(tuple(part.kind for part in ordered))
        if word and all(part.alias for part in ordered) and len({part.values for part in ordered}) == 1:
            return f"{word}:{ordered[0].values[0]}"
        return " ".join(f"{part.kind}={','.join(part.values)}" for part in ordered)
    return " ".join(sorted(value for part in ordered for value in part.values))


def plain(name: str) -> str:
    """A name as the topology writes it: Route 53 gives back what is no letter as an octal number."""
    text = _ESCAPED.sub(lambda found: chr(int(found.group(1), 8)), name).lower()
    return text if text.endswith(".") else f"{text}."


def weighed(sets: Iterable[RecordSet]) -> tuple[tuple[str, int], ...]:
    """``(target, weight)`` of these sets of one name, as Route 53 weighs them.

    Sets of one endpoint are those with one identifier. Where their weights differ, or differ in effect, each counts as
    a target of its own, which no topology knows: somebody has edited one of them.
    """
    found = tuple(sets)
    for each in found:
        policy = next((field for field in _POLICIES if each.get(field)), None)
        if policy:
            raise Refused(
                f"{plain(each['Name'])} is routed by {policy} at Route 53, which cannot be weighed: "
                "replace its record sets by weighted ones, one for each endpoint"
            )
    groups: dict[str | None, dict[Part, Fraction]] = defaultdict(dict)
    for each, share in zip(found, _fractions(found), strict=True):
        groups[each.get("SetIdentifier")][part_of(each)] = share
    shares: dict[str, Fraction] = defaultdict(Fraction)
    for parts in groups.values():
        if len(set(parts.values())) == 1:
            shares[called(parts)] += next(iter(parts.values()))
            continue
        for part, share in parts.items():
            shares[called((part,))] += share
    whole = math.lcm(*(share.denominator for share in shares.values()))
    return tuple(sorted((text, int(share * whole)) for text, share in shares.items()))


def replaced(
    name: str, sets: tuple[RecordSet, ...], shares: tuple[tuple[str, int], ...], ttl_s: int
) -> tuple[RecordSet, ...]:
    """The record sets that stand in the place of *sets* where these targets have these percents, all others 0.

    An identifier, a health check and the rest of a set that there was are kept. Raises Refused for targets that cannot
    share traffic.
    """
    wanted = {text: target(text) for text, percent in shares if percent > 0}
    kinds = {tuple(sorted(part.kind for part in parts)) for parts in wanted.values()}
    if len(kinds) > 1:
        raise Refused(
            f"the targets of {name} that share traffic have different types ({_listed(kinds)}): a client that asks for "
            "one of them would come to one endpoint only; give these endpoints the same types, or move all traffic"
        )
    answered = {kind for each in kinds for kind in each}
    now = {(each["Type"], each.get("SetIdentifier")): each for each in sets}
    made: dict[tuple[str, str], RecordSet] = {}
    taken: set[str] = set()
    for (kind, identifier), each in now.items():
        if kind in answered and identifier is not None:
            made[kind, identifier] = {**each, "Weight": 0, **_ttl(each, ttl_s)}
    for text, percent in shares:
        if percent <= 0:
            continue
        identifier = _identifier(text, wanted[text], sets, taken)
        taken.add(identifier)
        for part in wanted[text]:
            key = (part.kind, identifier)
            head = {"Name": name, "Type": part.kind, "SetIdentifier": identifier, "Weight": percent}
            before = made.get(key) or next((each for each in sets if part_of(each) == part), {})
            made[key] = _filled(head, part, ttl_s, before)
    return tuple(made[key] for key in sorted(made))


def fence_set(name: str, text: str, ttl_s: int) -> RecordSet:
    """The TXT set of a fence at *name*. A string in it holds 255 characters at most."""
    strings = " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))
    return {"Name": name, "Type": "TXT", "TTL": ttl_s, "ResourceRecords": [{"Value": strings}]}


def text_in(fence: RecordSet) -> str:
    """The text of a TXT set that has one value; empty for one that has more, or something else."""
    values = [str(record["Value"]) for record in fence.get("ResourceRecords", [])]
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', values[0])) if len(values) == 1 else ""


def changes(old: Iterable[RecordSet], new: Iterable[RecordSet]) -> list[dict[str, Any]]:
    """The batch that replaces *old*, to the letter, by *new*: what is not as it was read makes all of it fail."""
    deletions = [{"Action": "DELETE", "ResourceRecordSet": each} for each in old]
    return [*deletions, *({"Action": "CREATE", "ResourceRecordSet": each} for each in new)]


def _parts(text: str) -> tuple[Part, ...]:
    if found := _ALIAS.fullmatch(_lowered(text)):
        return tuple(
            Part(kind, (f"{found.group(2)}/{found.group(3)}",), alias=True) for kind in _ALIASES[found.group(1)]
        )
    if not text.strip():
        return ()
    try:
        addresses = {ipaddress.ip_address(word) for word in text.split()}
    except ValueError:
        host = plain(text.strip())
        return (Part("CNAME", (host,)),) if _HOST.fullmatch(host) else ()
    by_kind = {kind: _ordered(ip for ip in addresses if ip.version == version) for kind, version in _VERSIONS.items()}
    return tuple(Part(kind, values) for kind, values in by_kind.items() if values)


def _ordered(addresses: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted(str(address) for address in addresses))


def _lowered(text: str) -> str:
    """An alias with its host name in lower case: the zone's id is in upper case."""
    zone, slash, host = text.partition("/")
    return f"{zone}{slash}{host.lower()}"


def part_of(each: RecordSet) -> Part:
    kind = str(each["Type"])
    alias = each.get("AliasTarget")
    if alias:
        return Part(kind, (f"{alias['HostedZoneId']}/{plain(alias['DNSName'])}",), alias=True)
    values = [str(record["Value"]) for record in each.get("ResourceRecords", [])]
    if kind == "CNAME":
        return Part(kind, tuple(plain(value) for value in values))
    return Part(kind, _ordered(ipaddress.ip_address(value) for value in values))


def _fractions(sets: tuple[RecordSet, ...]) -> tuple[Fraction, ...]:
    """What part of the answers of its type each of *sets* is."""
    # A simple set is all there is of its type.
    weights = [int(each["Weight"]) if each.get("SetIdentifier") is not None else 1 for each in sets]
    totals: dict[str, list[int]] = defaultdict(list)
    for each, weight in zip(sets, weights, strict=True):
        totals[each["Type"]].append(weight)
    return tuple(
        # All 0 means that Route 53 answers each of them alike.
        Fraction(weight, sum(totals[each["Type"]]))
        if any(totals[each["Type"]])
        else Fraction(1, len(totals[each["Type"]]))
        for each, weight in zip(sets, weights, strict=True)
    )


def _identifier(text: str, parts: tuple[Part, ...], sets: tuple[RecordSet, ...], taken: set[str]) -> str:
    """The identifier that sets of this target have already, unless another target has it; else one of our own."""
    named = {str(each["SetIdentifier"]) for each in sets if "SetIdentifier" in each and part_of(each) in parts}
    return min(named - taken, default=f"failover-{hashlib.sha256(text.encode()).hexdigest()[:12]}")


def _filled(head: RecordSet, part: Part, ttl_s: int, kept: RecordSet) -> RecordSet:
    """The set of *head* with this part's values, and the rest of what there was."""
    rest = {field: value for field, value in kept.items() if field not in {"TTL", "ResourceRecords", "AliasTarget"}}
    if not part.alias:
        return {**rest, **head, "TTL": ttl_s, "ResourceRecords": [{"Value": value} for value in part.values]}
    zone, _, host = part.values[0].partition("/")
    # Who steers says what is healthy: Route 53 must not look away from a target by an opinion of its own.
    evaluate = kept.get("AliasTarget", {}).get("EvaluateTargetHealth", False)
    return {**rest, **head, "AliasTarget": {"HostedZoneId": zone, "DNSName": host, "EvaluateTargetHealth": evaluate}}


def _ttl(each: RecordSet, ttl_s: int) -> RecordSet:
    return {} if each.get("AliasTarget") else {"TTL": ttl_s}


def _listed(kinds: Iterable[tuple[str, ...]]) -> str:
    return ", ".join(sorted("+".join(each) for each in kinds))
