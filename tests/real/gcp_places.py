"""Places at Google Cloud: servers that speak its protocols, one for each place, on loopback."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from google.cloud.run_v2.types import TrafficTarget

from orchestrator.core.topology import Shares, SteeringSpec, Workload
from providers.base import DrainControl, Steering, WorkloadControl
from providers.gcp.cloud_dns import CloudDnsSteering
from providers.gcp.drain import ManagedDrain
from providers.gcp.run_steering import CloudRunSteering
from providers.gcp.run_workload import CloudRunWorkload
from providers.gcp.vertex import VertexSteering, VertexWorkload
from real.place import EU, US, Trouble
from wire import google_rest, google_run
from wire.google_dns import CloudDns, Zone
from wire.google_rest import Json
from wire.google_run import CODES, CloudRun
from wire.google_vertex import Vertex

NAME = "chat.example."
WRITES = frozenset({Trouble.THROTTLED, Trouble.BROKEN, Trouble.LATE})
"""Troubles that only writes meet."""
OVER_REST: Mapping[Trouble, google_rest.Answer] = {
    Trouble.THROTTLED: (429, "rateLimitExceeded", "Quota exceeded for quota metric 'Write requests per minute'."),
    Trouble.BROKEN: (503, "backendError", "Backend Error"),
    Trouble.LATE: google_rest.LOST,
    Trouble.EXPIRED: (401, "authError", "Request had invalid authentication credentials."),
    Trouble.FORBIDDEN: (403, "forbidden", "Forbidden"),
}
OVER_GRPC = {
    Trouble.THROTTLED: (
        CODES.RESOURCE_EXHAUSTED,
        "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute per region'.",
    ),
    Trouble.BROKEN: (CODES.INTERNAL, "Internal error encountered."),
    Trouble.LATE: google_run.LOST,
    Trouble.EXPIRED: (CODES.UNAUTHENTICATED, "Request had invalid authentication credentials."),
    Trouble.FORBIDDEN: (
        CODES.PERMISSION_DENIED,
        "Permission 'run.services.update' denied on resource 'projects/acme/locations/europe-west1/services/chat'.",
    ),
}


class _Way:
    """The troubles on a way, counted down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[Trouble] = []

    def add(self, what: Trouble, times: int) -> None:
        self._left += [what] * times

    def meet(self, *, writes: bool) -> Trouble | None:
        with self._lock:
            if not self._left or (self._left[0] in WRITES and not writes):
                return None
            return self._left.pop(0)


class DnsPlace:
    """A name in a managed zone. *dual*: each endpoint has an address of both families."""

    cannot: frozenset[Trouble] = frozenset()

    def __init__(self, *, dual: bool = False) -> None:
        self.targets = {EU: "192.0.2.10", US: "198.51.100.10"}
        if dual:
            self.targets = {EU: "192.0.2.10 2001:db8:1::10", US: "198.51.100.10 2001:db8:2::10"}
        self.dns = CloudDns()
        self.zone = Zone()
        self.dns.zones["acme", "edge"] = self.zone
        options = (("endpoint", self.dns.url), ("managed_zone", "edge"), ("project", "acme"))
        self.spec = SteeringSpec("cloud-dns", NAME, "", 30, "", options=options, shares=Shares.WEIGHTED)
        self._way = _Way()
        self.dns.meets = self._meet

    async def open(self) -> None:
        for kind, value in zip(("A", "AAAA"), self.targets[EU].split(), strict=False):
            self.zone.put({"name": NAME, "type": kind, "ttl": 30, "rrdatas": [value]})

    def close(self) -> None:
        self.dns.leave()

    def steering(self) -> Steering:
        return CloudDnsSteering(self.spec)

    def missing(self) -> Steering:
        options = tuple((name, "elsewhere" if name == "managed_zone" else value) for name, value in self.spec.options)
        return CloudDnsSteering(replace(self.spec, options=options))

    async def now(self) -> dict[str, int]:
        """As name servers draw: by weight where there is a policy, all values alike where there is none."""
        drawn = [_drawn(self.zone.served[NAME, kind]) for kind in ("A", "AAAA") if (NAME, kind) in self.zone.served]
        shares = {}
        for target in self.targets.values():
            parts = {found.get(value, 0) for found, value in zip(drawn, target.split(), strict=True)}
            assert len(parts) == 1, f"clients of one address family are led elsewhere: {drawn}"
            shares[target] = parts.pop()
        assert sum(shares.values()) == 100, drawn
        return {target: share for target, share in shares.items() if share}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        for index, kind in enumerate(("A", "AAAA")[: len(self.targets[EU].split())]):
            items = [{"weight": share, "rrdatas": [target.split()[index]]} for target, share in shares.items()]
            self.zone.put({"name": NAME, "type": kind, "ttl": 30, "routingPolicy": {"wrr": {"items": items}}})

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.dns.leave()
        else:
            self._way.add(what, times)

    @property
    def effects(self) -> int:
        return len(self.zone.changes)

    def _meet(self, method: str, _: str) -> google_rest.Answer | None:
        met = self._way.meet(writes=method == "POST")
        return OVER_REST[met] if met else None


class _RunPlace:
    """A service of Cloud Run with two revisions."""

    cannot: frozenset[Trouble] = frozenset()

    def __init__(self) -> None:
        self.run = CloudRun()
        self.path = "projects/acme/locations/europe-west1/services/chat"
        self.run.deploy(self.path, "chat-00001-eu", "chat-00002-us")
        self.options = (("endpoint", self.run.url), ("project", "acme"), ("region", "europe-west1"))
        self._way = _Way()
        self.run.meets = self._meet

    async def open(self) -> None:
        """It was deployed when it was made."""

    def close(self) -> None:
        self.run.leave()

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.run.leave()
        else:
            self._way.add(what, times)

    @property
    def effects(self) -> int:
        return self.run.effects

    def _meet(self, method: str) -> tuple[object, str] | None:
        met = self._way.meet(writes=method.startswith("Update"))
        return OVER_GRPC[met] if met else None


class RunSteeringPlace(_RunPlace):
    """Its requests, spread over the revisions."""

    def __init__(self) -> None:
        super().__init__()
        self.targets = {EU: "chat-00001-eu", US: "chat-00002-us"}
        self.spec = self.spec_of((*self.options, ("service", "chat")))

    @staticmethod
    def spec_of(options: tuple[tuple[str, str], ...]) -> SteeringSpec:
        return SteeringSpec("cloud-run", NAME, "", 0, "", options=options, shares=Shares.WEIGHTED)

    def steering(self) -> Steering:
        return CloudRunSteering(self.spec)

    def missing(self) -> Steering:
        return CloudRunSteering(replace(self.spec, options=(*self.options, ("service", "nothing"))))

    async def now(self) -> dict[str, int]:
        return {each.revision: each.percent for each in self.run.services[self.path].traffic_statuses if each.percent}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        with self.run.console(self.path) as service:
            service.traffic = [
                TrafficTarget(type_=google_run.BY_NAME, revision=revision, percent=share)
                for revision, share in shares.items()
            ]


class RunWorkloadPlace(_RunPlace):
    """Its minimum of instances."""

    HANDLE = Workload("cloud-run", "chat")

    def __init__(self) -> None:
        super().__init__()
        self.handle = replace(self.HANDLE, options=self.options)

    def workload(self) -> WorkloadControl:
        return CloudRunWorkload(self.handle)

    def drain(self) -> DrainControl | None:
        return ManagedDrain(self.handle)

    def missing(self) -> WorkloadControl:
        return CloudRunWorkload(replace(self.handle, target="nothing"))

    async def replicas(self) -> int:
        return int(self.run.services[self.path].scaling.min_instance_count)


class _VertexPlace:
    """An endpoint of Vertex AI with two deployed models."""

    cannot: frozenset[Trouble] = frozenset()

    def __init__(self) -> None:
        self.vertex = Vertex()
        self.path = "projects/acme/locations/europe-west4/endpoints/77"
        self.vertex.deploy(self.path, "1001", "1002")
        self.options = (("endpoint", self.vertex.url), ("project", "acme"), ("region", "europe-west4"))
        self._way = _Way()
        self.vertex.meets = self._meet

    async def open(self) -> None:
        """It was deployed when it was made."""

    def close(self) -> None:
        self.vertex.leave()

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.vertex.leave()
        else:
            self._way.add(what, times)

    @property
    def effects(self) -> int:
        return self.vertex.effects

    def _meet(self, method: str, _: str) -> google_rest.Answer | None:
        met = self._way.meet(writes=method != "GET")
        return OVER_REST[met] if met else None


class VertexSteeringPlace(_VertexPlace):
    """Its requests, spread over the models."""

    def __init__(self) -> None:
        super().__init__()
        self.targets = {EU: "1001", US: "1002"}
        options = (*self.options, ("vertex_endpoint", "77"))
        self.spec = SteeringSpec("vertex", NAME, "", 0, "", options=options, shares=Shares.WEIGHTED)

    def steering(self) -> Steering:
        return VertexSteering(self.spec)

    def missing(self) -> Steering:
        return VertexSteering(replace(self.spec, options=(*self.options, ("vertex_endpoint", "88"))))

    async def now(self) -> dict[str, int]:
        return {name: share for name, share in self.vertex.endpoints[self.path]["trafficSplit"].items() if share}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        self.vertex.console(self.path, trafficSplit=dict(shares))


class VertexWorkloadPlace(_VertexPlace):
    """The replicas of one of its models."""

    def __init__(self) -> None:
        super().__init__()
        self.handle = Workload("vertex", "77/1002", options=self.options)

    def workload(self) -> WorkloadControl:
        return VertexWorkload(self.handle)

    def drain(self) -> DrainControl | None:
        return ManagedDrain(self.handle)

    def missing(self) -> WorkloadControl:
        return VertexWorkload(replace(self.handle, target="77/1003"))

    async def replicas(self) -> int:
        return int(self.vertex.endpoints[self.path]["deployedModels"][1]["dedicatedResources"]["minReplicaCount"])


def _drawn(record: Json) -> dict[str, int]:
    """How often each value is given, in percent."""
    if "rrdatas" in record:
        return {value: 100 // len(record["rrdatas"]) for value in record["rrdatas"]}
    items = record["routingPolicy"]["wrr"]["items"]
    total = sum(item["weight"] for item in items)
    return {value: round(100 * item["weight"] / total) for item in items for value in item["rrdatas"]}


STEERED = {
    "cloud-dns": DnsPlace,
    "cloud-dns-dual": lambda: DnsPlace(dual=True),
    "cloud-run": RunSteeringPlace,
    "vertex": VertexSteeringPlace,
}
SCALED = {"cloud-run": RunWorkloadPlace, "vertex": VertexWorkloadPlace}
