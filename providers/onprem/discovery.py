"""Envoy's discovery files: what they say of shares, and the same file saying something else.

A file holds one ``DiscoveryResponse`` in JSON with one resource. Its ``version_info`` is the fence, so that fence and
weights change together, and every Envoy says by itself which generation it follows (statistic ``version_text``).
Source: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, "Filesystem subscriptions".
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from orchestrator.core.steering import Fence, decode, encode
from providers.base import NotFound, Refused
from providers.fenced import Targets

Node = dict[str, Any]
"""A message of Envoy in JSON. Fields that nothing here knows stay as they are."""
TYPE = "type.googleapis.com/"
DRAINING = "DRAINING"
SERVING, OUT = frozenset({"UNKNOWN", "HEALTHY", "DEGRADED"}), frozenset({"UNHEALTHY", "TIMEOUT"})
"""What ``health_status`` of an endpoint may say. Without a word of it Envoy takes it for healthy."""


class Kind(Protocol):
    """Where in a resource the shares stand."""

    @property
    def type(self) -> str:
        """The message that the file holds."""
        ...

    def targets(self, resource: Node) -> Targets:
        """Every target with its weight, sorted. Raises Refused for a resource that cannot be steered."""
        ...

    def turned(self, resource: Node, targets: Targets) -> Node:
        """The same with these percents, and 0 for all others. Raises NotFound, Refused."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """A discovery file as it was read."""

    document: Node
    fence: Fence | None
    """None for a version that somebody else has written, or none."""

    @property
    def resource(self) -> Node:
        found: Node = self.document["resources"][0]
        return found

    def with_(self, resource: Node, fence: Fence | None = None) -> str:
        """The file's text with another resource, and another fence where one is given."""
        changed = self.document | {"resources": [resource]}
        if fence is not None:
            changed["version_info"] = encode(fence)
        return json.dumps(changed, indent=1) + "\n"


def page_of(text: str | None, kind: Kind, at: str) -> Page:
    """Read a discovery file. Raises NotFound where there is none, Refused for another one, BadFence."""
    if text is None:
        raise NotFound(f"there is no {at}: write the file as Envoy is to begin with it, or mend the option file")
    try:
        document = json.loads(text)
        resources = document["resources"]
        types = [str(resource["@type"]) for resource in resources]
    except (ValueError, KeyError, TypeError) as error:
        kind_of = type(error).__name__
        raise Refused(f"{at} is no discovery file in JSON ({kind_of}); write it as Envoy reads it") from error
    if types != [TYPE + kind.type]:
        raise Refused(
            f"{at} must hold one {kind.type.rpartition('.')[2]} and nothing else: give each service a file of its own"
        )
    version = str(document.get("version_info", ""))
    return Page(document, decode(version) if version.startswith("v=") else None)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Shares as weights of localities. A target is a locality by name: ``eu``, ``aws/us-east-1``."""

    type: ClassVar[str] = "envoy.config.endpoint.v3.ClusterLoadAssignment"

    def targets(self, resource: Node) -> Targets:
        """Localities of priority 0; the others stand by for what Envoy itself finds unhealthy, and are left alone."""
        found = {}
        for group in first(resource):
            name = locality(group)
            if not name or name in found:
                raise Refused("each locality at priority 0 needs a name of its own, for it is what traffic is given to")
            found[name] = int(group.get("load_balancing_weight", 0))
        return tuple(sorted(found.items()))

    def turned(self, resource: Node, targets: Targets) -> Node:
        """A locality without a weight gets nothing. Who is given a share is no longer draining.

        Raises NotFound for no such locality, Refused for one whose endpoints are all told to be unhealthy.
        """
        known, wanted = dict(self.targets(resource)), dict(targets)
        _object(wanted, known, "locality")
        _object_to_twins(resource)
        changed = copy.deepcopy(resource)
        for group in first(changed):
            weight = wanted.get(locality(group), 0)
            if not weight:
                group.pop("load_balancing_weight", None)
                continue
            group["load_balancing_weight"] = weight
            unmark_draining(group)
            if kept_out(group):
                raise Refused(f"no endpoint of {locality(group)} may take traffic: the file calls them unhealthy")
        return changed


@dataclass(frozen=True, slots=True)
class Routes:
    """Shares as weights of clusters in routes. A target is a cluster.

    With *route* only routes of that name are steered; else all that weigh clusters, which must weigh the same.
    """

    route: str = ""
    type: ClassVar[str] = "envoy.config.route.v3.RouteConfiguration"

    def targets(self, resource: Node) -> Targets:
        """Of routes that disagree, the most that one of them gives."""
        most: dict[str, int] = {}
        for cluster in self._weighed(resource):
            name = str(cluster.get("name", ""))
            most[name] = max(most.get(name, 0), int(cluster.get("weight", 0)))
        if not most:
            which = f"no route '{self.route}'" if self.route else "no route"
            raise Refused(f"{which} has weighted_clusters: write them as Envoy is to begin with them")
        return tuple(sorted(most.items()))

    def turned(self, resource: Node, targets: Targets) -> Node:
        """Raises NotFound for a cluster that no route weighs."""
        wanted = dict(targets)
        _object(wanted, dict(self.targets(resource)), "weighted cluster")
        changed = copy.deepcopy(resource)
        for cluster in self._weighed(changed):
            cluster["weight"] = wanted.get(str(cluster.get("name", "")), 0)
        return changed

    def _weighed(self, resource: Node) -> Iterator[Node]:
        for host in resource.get("virtual_hosts", []):
            for route in host.get("routes", []):
                if not self.route or route.get("name") == self.route:
                    yield from route.get("route", {}).get("weighted_clusters", {}).get("clusters", [])


def first(resource: Node) -> list[Node]:
    """The localities that share traffic: those at priority 0."""
    return [group for group in resource.get("endpoints", []) if not group.get("priority", 0)]


def locality(node: Node) -> str:
    """``region/zone/sub_zone`` of an endpoint or a group, as far as they are given."""
    place = node.get("locality", {})
    return "/".join(str(place[part]) for part in ("region", "zone", "sub_zone") if place.get(part))


def hosts(group: Node) -> list[Node]:
    """The endpoints of a locality."""
    found: list[Node] = group.get("lb_endpoints", [])
    return found


def mark_draining(group: Node) -> None:
    """Tell the endpoints of a locality to drain; what a person marked otherwise stays."""
    for host in hosts(group):
        if _status(host) in SERVING:
            host["health_status"] = DRAINING


def unmark_draining(group: Node) -> None:
    """Take these marks off."""
    for host in hosts(group):
        if _status(host) == DRAINING:
            del host["health_status"]


def kept_out(group: Node) -> bool:
    """Whether no endpoint of a locality may serve, by the file's word."""
    return all(_status(host) in OUT for host in hosts(group))


def keep_out(group: Node) -> None:
    """Let no endpoint of a locality serve."""
    for host in hosts(group):
        if _status(host) not in OUT:
            host["health_status"] = "UNHEALTHY"


def let_in(group: Node) -> None:
    """Let the endpoints of a locality serve that drained; all, where none may. One of several that is out stays so."""
    unmark_draining(group)
    if kept_out(group):
        for host in hosts(group):
            host.pop("health_status", None)


def _status(host: Node) -> str:
    return str(host.get("health_status", "UNKNOWN"))


def _object(wanted: dict[str, int], known: dict[str, int], what: str) -> None:
    missing = sorted(wanted.keys() - known.keys())
    if missing:
        there = ", ".join(known) or "none"
        raise NotFound(f"no {what} is called '{missing[0]}' in the file; there are: {there}")


def _object_to_twins(resource: Node) -> None:
    """Raise Refused for an address in two places: Envoy drops the second, and what traffic that was to get."""
    seen: set[str] = set()
    for group in resource.get("endpoints", []):
        for host in hosts(group):
            address = json.dumps(host.get("endpoint", {}).get("address"), sort_keys=True)
            if address in seen:
                raise Refused(f"an endpoint of {locality(group)} stands in the file twice, and Envoy keeps only one")
            seen.add(address)
