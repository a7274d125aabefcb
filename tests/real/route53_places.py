"""Places where Route 53 steers: by its control plane, and by the switches that do without."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from orchestrator.core.names import EndpointId
from orchestrator.core.topology import Shares, SteeringSpec
from providers.aws.recovery_arc import ArcSteering
from providers.aws.recovery_switch import SwitchSteering
from providers.aws.route53 import Route53Steering
from providers.base import Steering
from real.place import EU, US, SteeredPlace, Trouble
from real.saboteur import Mischief, Reply
from wire import s3
from wire.arc import PANEL, Cluster, refused
from wire.route53 import RecordSet, Route53, Zone, error, simple, weighted
from wire.s3 import S3

NAME = "chat.example."

REPLIES: Mapping[Trouble, Reply] = {
    Trouble.THROTTLED: error(400, "Throttling", "Rate exceeded"),
    Trouble.BROKEN: error(500, "InternalError", "We encountered an internal error. Please try again."),
    Trouble.EXPIRED: error(403, "ExpiredToken", "The security token included in the request is expired"),
    Trouble.FORBIDDEN: error(
        403,
        "AccessDenied",
        "User: arn:aws:iam::123456789012:user/failover is not authorized to perform: "
        "route53:ChangeResourceRecordSets on resource: arn:aws:route53:::hostedzone/Z1",
    ),
}
"""What Route 53 answers, by trouble."""


class Route53Place:
    """A name in a hosted zone, at a wire server that makes batches whole or not at all. It opens with simple sets."""

    cannot: frozenset[Trouble] = frozenset()

    def __init__(self) -> None:
        self.server = Route53()
        self.targets: Mapping[EndpointId, str] = {
            EU: "192.0.2.1 2001:db8::1",
            US: "198.51.100.1 198.51.100.2 2001:db8::2",
        }
        self.zone = self.server.zone("example.", *self.sets())
        self.spec = self.at(self.zone.id)

    def sets(self) -> tuple[RecordSet, ...]:
        """What stands when it opens."""
        neighbour = simple("chat-b.example.", "A", "203.0.113.9")
        return (neighbour, simple(NAME, "A", "192.0.2.1"), simple(NAME, "AAAA", "2001:db8::1"))

    def at(self, zone: str) -> SteeringSpec:
        options = (("endpoint", self.server.url), ("zone_id", zone))
        return SteeringSpec("route53", NAME, "", 30, "", options=options, shares=Shares.WEIGHTED)

    async def open(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.server.close()

    def steering(self) -> Steering:
        return Route53Steering(self.spec)

    def missing(self) -> Steering:
        return Route53Steering(self.at("ZNOWHERE"))

    async def now(self) -> dict[str, int]:
        return served(self.zone, self.targets)

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        for kind in ("A", "AAAA"):
            self.zone.remove(NAME, kind)
        for text, share in shares.items():
            for kind, colon in (("A", False), ("AAAA", True)):
                values = [value for value in text.split() if (":" in value) == colon]
                self.zone.put(weighted(NAME, kind, *values, weight=share, identifier=f"by-hand-{text[:9]}"))

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.server.leave()
            return
        reads_too = what in {Trouble.EXPIRED, Trouble.FORBIDDEN}

        def meant(method: str, _path: str, _body: bytes) -> bool:
            return reads_too or method == "POST"

        self.server.mischief.append(Mischief(meant, times, REPLIES.get(what)))

    @property
    def effects(self) -> int:
        return self.server.effects


def served(zone: Zone, targets: Mapping[EndpointId, str]) -> dict[str, int]:
    """Percent of the answers of each type that are a target's, as Route 53 draws them; both types must say the same."""
    by_kind: dict[str, dict[str, int]] = {}
    for kind in ("A", "AAAA"):
        sets = [each for each in zone.at(NAME) if each["Type"] == kind]
        weights = [int(each.get("Weight", 1)) for each in sets]
        weights = weights if any(weights) else [1] * len(weights)
        found: Counter[str] = Counter()
        for each, weight in zip(sets, weights, strict=True):
            if weight:
                found[_target(each, targets)] += round(100 * weight / sum(weights))
        by_kind[kind] = dict(found)
    assert by_kind["A"] == by_kind["AAAA"], by_kind
    return by_kind["A"]


def _target(each: RecordSet, targets: Mapping[EndpointId, str]) -> str:
    values = {record["Value"] for record in each["ResourceRecords"]}
    return next((text for text in targets.values() if values <= set(text.split())), f"unknown: {sorted(values)}")


class ArcPlace:
    """Two routing controls in a cluster of five endpoints, and the fence in a file."""

    cannot: frozenset[Trouble] = frozenset()
    targets: Mapping[EndpointId, str] = {EU: "eu", US: "us"}

    def __init__(self) -> None:
        self.cluster = Cluster(eu=True, us=False)
        self.directory = Path(tempfile.mkdtemp(prefix="arc-"))
        self.spec = self.at(PANEL)

    def at(self, panel: str) -> SteeringSpec:
        options = {
            "control_panel": panel,
            "endpoints": self.cluster.option,
            "fence": f"file:{self.directory / 'routing.json'}",
        }
        return SteeringSpec("arc", NAME, "", 30, "", options=tuple(sorted(options.items())), shares=Shares.EQUAL)

    async def open(self) -> None:
        self.cluster.start()

    def close(self) -> None:
        self.cluster.close()
        shutil.rmtree(self.directory)

    def steering(self) -> Steering:
        return ArcSteering(self.spec)

    def missing(self) -> Steering:
        return ArcSteering(self.at(f"{PANEL}-gone"))

    async def now(self) -> dict[str, int]:
        on = [each.name for each in self.cluster.controls.values() if each.on]
        return {name: 100 // len(on) for name in on}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        for each in self.cluster.controls.values():
            each.on = shares.get(each.name, 0) > 0

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        """So many calls meet it at *every* endpoint: one that is well would carry out what the others do not."""
        for each in self.cluster.endpoints:
            if what is Trouble.AWAY:
                each.leave()
                continue
            reads_too = what in {Trouble.EXPIRED, Trouble.FORBIDDEN}
            each.mischief.append(Mischief(partial(_calls, reads_too), times, _CLUSTER_REPLIES.get(what)))

    @property
    def effects(self) -> int:
        return sum(each.effects for each in self.cluster.endpoints)


class SwitchPlace:
    """A failover pair's switch and its fence, two objects of one bucket."""

    cannot: frozenset[Trouble] = frozenset()
    targets: Mapping[EndpointId, str] = {EU: "eu", US: "us"}
    KEY = "primary-off"

    def __init__(self) -> None:
        self.server = S3("standby")
        self.objects = self.server.buckets["standby"]
        self.spec = self.at("standby")

    def at(self, bucket: str) -> SteeringSpec:
        options = {
            "switch": f"s3://{bucket}/{self.KEY}",
            "region": "us-west-2",
            "primary": "eu",
            "secondary": "us",
            "endpoint": self.server.url,
            "fence": f"s3://{bucket}/routing.json",
            "fence_endpoint": self.server.url,
        }
        return SteeringSpec(
            "route53-recovery", NAME, "", 30, "", options=tuple(sorted(options.items())), shares=Shares.ONE
        )

    async def open(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.server.close()

    def steering(self) -> Steering:
        return SwitchSteering(self.spec)

    def missing(self) -> Steering:
        return SwitchSteering(self.at("nowhere"))

    async def now(self) -> dict[str, int]:
        return {"us" if self.KEY in self.objects else "eu": 100}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        if shares.get("eu"):
            self.objects.pop(self.KEY, None)
        else:
            self.objects[self.KEY] = b"moved by hand"

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.server.leave()
            return
        reads_too = what in {Trouble.EXPIRED, Trouble.FORBIDDEN}

        def meant(method: str, _path: str, _body: bytes) -> bool:
            return reads_too or method != "GET"

        self.server.mischief.append(Mischief(meant, times, _STORE_REPLIES.get(what)))

    @property
    def effects(self) -> int:
        return self.server.effects


_STORE_REPLIES: Mapping[Trouble, Reply] = {
    Trouble.THROTTLED: s3.error(503, "SlowDown", "Please reduce your request rate."),
    Trouble.BROKEN: s3.error(500, "InternalError", "We encountered an internal error. Please try again."),
    Trouble.EXPIRED: s3.error(400, "ExpiredToken", "The provided token has expired."),
    Trouble.FORBIDDEN: s3.error(403, "AccessDenied", "Access Denied"),
}
_CLUSTER_REPLIES: Mapping[Trouble, Reply] = {
    Trouble.THROTTLED: refused(429, {"__type": "ThrottlingException", "message": "Rate exceeded"}),
    Trouble.BROKEN: refused(503, {"__type": "EndpointTemporarilyUnavailableException", "message": "try another"}),
    Trouble.EXPIRED: refused(400, {"__type": "ExpiredTokenException", "message": "The security token has expired"}),
    Trouble.FORBIDDEN: refused(
        400, {"__type": "AccessDeniedException", "message": "no identity-based policy allows it"}
    ),
}


def _calls(reads_too: bool, _method: str, _path: str, body: bytes) -> bool:
    return reads_too or b"UpdateRoutingControlStateEntries" in body


STEERED: dict[str, Callable[[], SteeredPlace]] = {
    "route53": Route53Place,
    "route53-recovery": SwitchPlace,
    "arc": ArcPlace,
}
