"""Record sets of Cloud DNS as shares, and shares as the one change that replaces them. Pure.

An endpoint's target is the text that the topology makes of its answer: its addresses, sorted as text, with a space
between; or one host name with its trailing dot. Addresses of both families belong together: the first weighted item of
the A records and the first of the AAAA records are one target.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.core.errors import BadFence
from orchestrator.core.steering import Fence, SteeringChange, decode, encode, shares_in, shares_of
from orchestrator.core.topology import Answer
from providers.base import Refused

Json = dict[str, Any]
"""A record set as the API says it."""
Items = tuple[tuple[tuple[str, ...], int], ...]
"""What a record set answers: values, and how often they are given."""
Records = tuple[tuple[str, str], ...]
"""The ``(type, value)`` pairs that one target stands for."""

KINDS = ("A", "AAAA", "CNAME")
ROUTED = frozenset({*KINDS, "ALIAS"})
"""Types that say where a name leads."""
_FINE = 1_000_000
"""Weights are floating point numbers there, and compared as millionths here."""
_STRING = 255
"""The longest that one string of a TXT record may be."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OUTPUT = frozenset({"kind", "signatureRrdatas"})
"""What the API tells and does not take."""


@dataclass(frozen=True, slots=True)
class Stand:
    """What stands at a name and at its fence, as it was read."""

    routed: tuple[tuple[str, Json], ...]
    """Record sets that say where the name leads, by type, sorted."""
    fence: Json | None

    @property
    def answer(self) -> Answer | None:
        """How clients are spread over targets; None where the name has no answer.

        Raises Refused for a routing policy that other hands turn.
        """
        spread = shares_of(_named(targets(dict(self.routed))))
        return spread if spread.values else None

    @property
    def ttl_s(self) -> int | None:
        return min((int(each["ttl"]) for _, each in self.routed), default=None)


def stand(at_name: Iterable[Json], at_fence: Iterable[Json]) -> Stand:
    """The record sets that the API lists at the name and at its fence."""
    routed = {str(each["type"]): each for each in at_name if each.get("type") in ROUTED}
    texts = [each for each in at_fence if each.get("type") in {"TXT", "CNAME"}]
    return Stand(tuple(sorted(routed.items())), texts[0] if texts else None)


def fence_in(record: Json | None, name: str) -> Fence | None:
    """The fence in a TXT record set. Raises BadFence for a text of somebody else."""
    if record is None:
        return None
    values = record.get("rrdatas") or []
    if record.get("type") != "TXT" or len(values) != 1:
        raise BadFence(f"{name} holds {len(values)} {record.get('type')} records, where one TXT is the fence")
    strings = _QUOTED.findall(str(values[0]))
    return decode("".join(strings) if strings else str(values[0]))


def targets(routed: dict[str, Json]) -> Items:
    """Targets in the order of their items. Families that do not pair are told apart, as no write of ours leaves them.

    Raises Refused for a routing policy that other hands turn.
    """
    found = [(kind, items_of(routed[kind])) for kind in sorted(routed)]
    if [kind for kind, _ in found] == ["A", "AAAA"]:
        four, six = (items for _, items in found)
        if [weight for _, weight in four] == [weight for _, weight in six]:
            return tuple(((*a, *b), weight) for (a, weight), (b, _) in zip(four, six, strict=True))
    return tuple(item for _, items in found for item in items)


def items_of(record: Json) -> Items:
    """The items of a weighted round robin; a plain record set is one, with all its values.

    Raises Refused for any other policy.
    """
    policy = record.get("routingPolicy")
    if policy is None:
        return ((_values(record), _FINE),)
    items = (policy.get("wrr") or {}).get("items")
    if items is None or any("healthCheckedTargets" in item for item in items):
        raise Refused(
            f"{record['name']} has a routing policy that Cloud DNS turns by itself (by place or by health checks); "
            "make it a plain record or a weighted round robin without health checks"
        )
    return tuple((_values(item), round(float(item.get("weight", 0)) * _FINE)) for item in items)


def change(step: SteeringChange, now: Stand, *, name: str, fence: str, ttl_s: int) -> Json:
    """The body of the one change that carries *step* out, atomically: what was read goes, what is wanted comes.

    Where the answer stays, its records are left as they are: adopting touches the fence alone. Raises Refused for a
    target that cannot be said, or that would leave clients of one address family where they are.
    """
    new_fence: Json = {"name": fence, "type": "TXT", "ttl": ttl_s, "rrdatas": [text_of(encode(step.fence))]}
    gone = [now.fence] if now.fence else []
    come = [new_fence]
    if now.answer != step.answer:
        records = replaced(step.answer, dict(now.routed), name=name, ttl_s=ttl_s)
        gone += [each for _, each in now.routed]
        come += records
    return {"deletions": [exactly(each) for each in gone], "additions": come}


def replaced(answer: Answer, routed: dict[str, Json], *, name: str, ttl_s: int) -> list[Json]:
    """The record sets of *answer* at *name*; targets that stood there and are not named keep an item of weight 0."""
    wanted = {parsed(target): share for target, share in shares_in(answer)}
    kinds = {_kinds(target) for target in wanted}
    if len(kinds) != 1:
        raise Refused(f"the targets of {name} differ in their kinds of address; give each the same: {_shown(wanted)}")
    kind_of_all = kinds.pop()
    stale = sorted(set(routed) & {"A", "AAAA"} - set(kind_of_all)) if "CNAME" not in kind_of_all else []
    if stale:
        raise Refused(
            f"{name} also has {stale[0]} records, and no target says where they shall lead; "
            f"give each endpoint addresses of both families, or delete the {stale[0]} records"
        )
    weights: dict[Records, int] = {}
    for values, _ in targets(routed):
        try:
            known = parsed(_text(values))
        except Refused:
            continue
        if _kinds(known) == kind_of_all:
            weights[known] = 0
    weights.update(wanted)
    return [
        {
            "name": name,
            "type": kind,
            "ttl": ttl_s,
            "routingPolicy": {
                "wrr": {
                    "items": [
                        {"weight": weight, "rrdatas": [value for its, value in target if its == kind]}
                        for target, weight in sorted(weights.items())
                    ]
                }
            },
        }
        for kind in kind_of_all
    ]


def parsed(target: str) -> Records:
    """The records that *target* stands for, as ``(type, value)``. Raises Refused for one that is none, or is written
    in another way than it would be read back.
    """
    records = [_canonical(value) for value in target.split()]
    if len(records) > 1 and any(kind == "CNAME" for kind, _ in records):
        raise Refused(f"target '{target}' is neither addresses nor one host name; a CNAME allows nothing beside it")
    right = _text(value for _, value in records)
    if right != target or not records:
        raise Refused(f"target '{target}' is written '{right}' in Cloud DNS; write it so in the topology")
    return tuple(sorted(records))


def exactly(record: Json) -> Json:
    """*record* as a deletion must name it: without what the API only tells."""
    return {key: _without(value) for key, value in record.items() if key not in _OUTPUT}


def text_of(text: str) -> str:
    """*text* as the value of a TXT record: strings in quotes, none too long."""
    return " ".join(f'"{text[start : start + _STRING]}"' for start in range(0, len(text), _STRING))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return exactly(value)
    return [_without(each) for each in value] if isinstance(value, list) else value


def _values(item: Json) -> tuple[str, ...]:
    return tuple(sorted(_canonical(str(value))[1] for value in item.get("rrdatas") or ()))


def _text(values: Iterable[str]) -> str:
    return " ".join(sorted(values))


def _canonical(value: str) -> tuple[str, str]:
    """Type and text of one value, in the one way that it is compared in."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return "CNAME", value.rstrip(".").lower() + "."
    return ("A" if address.version == 4 else "AAAA"), address.compressed


def _named(items: Items) -> tuple[tuple[str, int], ...]:
    """Weights by target; an item that is there twice counts twice."""
    sums: dict[str, int] = {}
    for values, weight in items:
        sums[_text(values)] = sums.get(_text(values), 0) + weight
    return tuple(sorted(sums.items()))


def _kinds(records: Records) -> tuple[str, ...]:
    found = {kind for kind, _ in records}
    return tuple(kind for kind in KINDS if kind in found)


def _shown(wanted: dict[Records, int]) -> str:
    return ", ".join(f"'{_text(value for _, value in target)}'" for target in sorted(wanted))
