"""What of an inventory belongs together. Pure.

What serves and what steers are found apart. They become services here, by three signs: a name whose answers lead to
several of them, a tag that names the service, and one name in several regions.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from orchestrator.core.topology import Answer
from providers.inventory import FoundEndpoint, FoundService, FoundSteering, FoundTarget, bare, is_address, slug

_HOPS = 4
"""So many names are followed from a name to what serves it."""


def services_of(
    endpoints: tuple[FoundEndpoint, ...], steerings: tuple[FoundSteering, ...]
) -> tuple[tuple[FoundService, ...], tuple[str, ...]]:
    """What of this belongs together, by id; and what cannot be told."""
    keys = _keys(endpoints)
    remarks: list[str] = []
    leads = _leads(endpoints, steerings, keys, remarks)
    taken: set[str] = set()
    found: list[FoundService] = []
    used: set[int] = set()
    for members in _groups(keys, steerings, leads):
        mine = [index for index, to in enumerate(leads) if any(member in each for each in to for member in members)]
        used.update(mine)
        found.append(_service(members, endpoints, steerings, leads, mine))
    for index, steering in enumerate(steerings):
        if index not in used and steering.alone:
            found.append(_alone(steering))
    ordered = sorted(found, key=lambda each: (each.id, each.because))
    return tuple(replace(each, id=_unique(each.id, taken)) for each in ordered), tuple(remarks)


Key = tuple[str, ...]
Leads = list[list[set[int]]]
"""By steering and target: the endpoints that it leads to."""


def _leads(
    endpoints: tuple[FoundEndpoint, ...], steerings: tuple[FoundSteering, ...], keys: list[Key], remarks: list[str]
) -> Leads:
    at: dict[str, set[int]] = defaultdict(set)
    for index, endpoint in enumerate(endpoints):
        for host in endpoint.hosts:
            at[bare(host)].add(index)
    onward: dict[str, set[str]] = defaultdict(set)
    for steering in steerings:
        onward[bare(steering.name)].update(bare(host) for target in steering.targets for host in target.hosts)

    def behind(name: str, hosts: Iterable[str]) -> set[int]:
        met, edge = set[str](), {bare(host) for host in hosts}
        for _ in range(_HOPS):
            met |= edge
            edge = {further for host in edge for further in onward[host]} - met
        found: set[int] = set()
        for host in met:
            # A load balancer that many share tells them apart by the name that clients call.
            by_name = {index for index in at[host] if any(fnmatchcase(name, each) for each in endpoints[index].names)}
            found |= by_name or {index for index in at[host] if not endpoints[index].names}
        if len({keys[index] for index in found}) > 1:
            several = ", ".join(endpoints[index].says for index in sorted(found))
            remarks.append(f"{name} leads to what several share, and it is not known which of them it means: {several}")
            return set()
        return found

    return [[behind(steering.name, target.hosts) for target in steering.targets] for steering in steerings]


def _groups(keys: list[Key], steerings: tuple[FoundSteering, ...], leads: Leads) -> list[list[int]]:
    """Endpoints by index, those of one service together."""
    group = list(range(len(keys)))

    def join(members: Iterable[int]) -> None:
        ones = {group[member] for member in members}
        for index, each in enumerate(group):
            if each in ones:
                group[index] = min(ones)

    by_key: dict[Key, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        by_key[key].append(index)
    for members in by_key.values():
        join(members)
    for steering, to in zip(steerings, leads, strict=True):
        if len(steering.targets) > 1:
            join(set().union(*to))
    found: dict[int, list[int]] = defaultdict(list)
    for index, each in enumerate(group):
        found[each].append(index)
    return list(found.values())


def _keys(endpoints: tuple[FoundEndpoint, ...]) -> list[Key]:
    """What endpoints of one service have in common: a tag; else a name, and where that is not enough its scope."""
    named = [
        ("name", each.workload.provider if each.workload else "", _regionless(each.name, each.region))
        for each in endpoints
    ]
    count = Counter((key, each.region) for key, each in zip(named, endpoints, strict=True) if not each.tag)
    ambiguous = {key for (key, _), times in count.items() if times > 1}
    keys: list[Key] = []
    for index, (key, each) in enumerate(zip(named, endpoints, strict=True)):
        if each.tag:
            keys.append(("tag", slug(each.tag)))
        elif key in ambiguous:
            scoped = (*key, _regionless(each.scope, each.region))
            twins = [
                other
                for other, mate in zip(named, endpoints, strict=True)
                if other == key and mate.region == each.region and mate.scope == each.scope and not mate.tag
            ]
            keys.append(scoped if len(twins) == 1 else (*scoped, str(index)))
        else:
            keys.append(key)
    return keys


def _regionless(name: str, region: str) -> str:
    """*name* without its region: ``chat-eu-west-1`` is ``chat``."""
    place = region.rpartition("/")[2]
    left = re.sub(rf"(^|[^a-z0-9]){re.escape(place)}(?=$|[^a-z0-9])", "", name.lower())
    return slug(left) or slug(name)


def _chosen(members: list[int], mine: list[int], steerings: tuple[FoundSteering, ...], leads: Leads) -> int | None:
    """The name, of *mine*, that clients most likely call; None: several are as likely."""

    def reached(index: int) -> int:
        return len(set(members) & set[int]().union(*leads[index]))

    ranked = sorted(
        mine,
        key=lambda i: (-reached(i), len(steerings[i].targets) < 2, steerings[i].name.count("."), steerings[i].name),
    )
    if not ranked:
        return None
    best = ranked[0]
    if len(members) > 1 and len(ranked) > 1 and reached(best) == 1:
        # One name for each of them: the one above the others is what clients call, if there is one.
        depths = sorted(steerings[index].name.count(".") for index in ranked)
        return best if depths[0] < depths[1] else None
    return best


def _service(
    members: list[int],
    endpoints: tuple[FoundEndpoint, ...],
    steerings: tuple[FoundSteering, ...],
    leads: Leads,
    mine: list[int],
) -> FoundService:
    """The service of *members*, with *mine*: the names that lead to any of them."""
    chosen = _chosen(members, mine, steerings, leads)
    places = [endpoints[member] for member in members]
    served = Counter(host for each in places for host in set(each.names) if "*" not in host)
    steering, name = None, _shared(served, len(members))
    if chosen is not None:
        steering = steerings[chosen]
        name = steering.name
        places = [_steered(each, steering, leads[chosen], member) for each, member in zip(places, members, strict=True)]
    own: list[str] = []
    for member, place in zip(members, places, strict=True):
        single = [steerings[i].name for i in mine if i != chosen and set[int]().union(*leads[i]) == {member}]
        if len(members) > 1:
            single += [host for host in place.names if served[host] == 1 and host != name]
        own.append(min(single, key=lambda each: (each.count("."), each), default=place.own))
    if steering is not None:
        places = [_alike(place, steering, host) for place, host in zip(places, own, strict=True)]
    tag = next((each.tag for each in places if each.tag), "")
    called = slug(tag) or _regionless(places[0].name, places[0].region) or "service"
    return FoundService(called, name, tuple(places), _because(places, steering, tag), steering, tuple(own))


def _alike(place: FoundEndpoint, steering: FoundSteering, own: str) -> FoundEndpoint:
    """*place*, which *steering* does not know yet, with an answer that can stand beside those that it has."""
    kinds = {target.answer.kind for target in steering.targets}
    if place.share or (place.answer is not None and place.answer.kind in kinds):
        return place
    host = own or next(iter(place.hosts), "")
    named = kinds == {"cname"} and host and not is_address(host)
    return replace(place, answer=Answer("cname", (f"{host}.",)) if named else None)


def _shared(served: Counter[str], members: int) -> str:
    """The host name that most of them serve by their own word; empty where each serves another."""
    most = max(served.values(), default=0)
    said = sorted((host for host, times in served.items() if times == most), key=lambda each: (each.count("."), each))
    return said[0] if said and (most > 1 or members == 1) else ""


def _steered(place: FoundEndpoint, steering: FoundSteering, leads: list[set[int]], member: int) -> FoundEndpoint:
    """*place* with what *steering* answers for it, and how often."""
    to = [target for target, at in zip(steering.targets, leads, strict=True) if member in at]
    answer = to[0].answer if to else place.answer
    return replace(place, answer=answer, share=sum(each.weight for each in to))


def _because(places: list[FoundEndpoint], steering: FoundSteering | None, tag: str) -> str:
    if len(places) == 1:
        return f"found: {places[0].says}"
    if tag and all(place.tag == tag for place in places):
        return f"one service by the tag '{tag}'"
    if steering is not None and all(place.share is not None for place in places) and len(steering.targets) > 1:
        return f"one service by the answers of {steering.name}"
    return f"one service by the name '{places[0].name}' in several places"


def _alone(steering: FoundSteering) -> FoundService:
    """A name behind which nothing was found: its answers are its endpoints."""
    places = tuple(_standing(steering, target) for target in steering.targets)
    called = slug(steering.name.split(".")[0]) or "service"
    own = tuple(place.own for place in places)
    return FoundService(called, steering.name, places, f"found: {steering.says}", steering, own)


def _standing(steering: FoundSteering, target: FoundTarget) -> FoundEndpoint:
    host = next(iter(target.hosts), "")
    named = bool(host) and not is_address(host)
    return FoundEndpoint(
        slug(host.split(".")[0]) if named else "",
        target.region,
        target.says or f"what {steering.name} answers: {' '.join(target.answer.values)}",
        hosts=target.hosts,
        own=host if named else "",
        answer=target.answer,
        share=target.weight,
    )


def _unique(name: str, taken: set[str]) -> str:
    made = next(each for each in _numbered(name) if each not in taken)
    taken.add(made)
    return made


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
