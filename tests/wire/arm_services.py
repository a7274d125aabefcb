"""The services behind ``arm``: Azure DNS, Traffic Manager, Container Apps, Azure Machine Learning."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from real.saboteur import Reply
from wire.arm import Arm, Body, Kept, Rejection, Service, Target, bad, merged, only, reply, target

DNS_FIELDS = {"A": "ARecords", "AAAA": "AAAARecords", "CNAME": "CNAMERecord", "TXT": "TXTRecords"}
PRIVATE_FIELDS = {"A": "aRecords", "AAAA": "aaaaRecords", "CNAME": "cnameRecord", "TXT": "txtRecords"}


class Dns(Service):
    """Public and private zones and their record sets, api-versions 2018-05-01 and 2020-06-01."""

    versions: ClassVar = {
        "microsoft.network/dnszones": "2018-05-01",
        "microsoft.network/privatednszones": "2020-06-01",
    }

    def __init__(self) -> None:
        self.keeps = 15
        """Pairs of metadata that are kept; the others are left out without an error."""
        self.silences: list[str] = []
        """The names that answered nothing after a write, though they had an answer before."""

    def get(self, arm: Arm, at: Target) -> Body:
        if len(at.names) == 1:
            return arm.kept(at).body
        found = arm.state.resources.get(at.id.lower())
        if found is None:
            # Bare, as it comes: https://github.com/Azure/azure-cli/issues/27374
            message = f"The resource record '{at.names[-1]}' does not exist in resource group."
            raise Rejection(404, "NotFound", message, bare=True)
        return {**found.body, "etag": found.etag}

    def put(self, arm: Arm, at: Target, body: Body, headers: Mapping[str, str]) -> Reply:
        kind = at.kind.split("/")[-1]
        if kind not in DNS_FIELDS:
            raise bad(f"The record type {kind} is not supported.")
        stands = arm.state.resources.get(at.id.lower())
        if headers.get("if-none-match") == "*" and stands is not None:
            raise Rejection(
                412, "PreconditionFailed", "The Record set exists already and hence cannot be created again."
            )
        wanted = headers.get("if-match")
        if wanted is not None and (stands is None or wanted not in {"*", stands.etag}):
            raise Rejection(412, "PreconditionFailed", "The condition '...' in the If-Match header was not satisfied.")
        self._check(arm, at, kind, body)
        answered = self.answer(arm, at.parent, at.names[-1])
        kept = dict(list((body["properties"].get("metadata") or {}).items())[: self.keeps])
        made = arm.keep(
            at.id, {"properties": {**body["properties"], "metadata": kept, "provisioningState": "Succeeded"}}
        )
        arm.effects += 1
        if answered and not self.answer(arm, at.parent, at.names[-1]):
            self.silences.append(at.id)
        return reply(200 if stands else 201, {**made.body, "etag": made.etag})

    def answer(self, arm: Arm, zone: str, name: str) -> tuple[str, ...]:
        """What a resolver is told of the name, sorted; an empty record set is not served."""
        found: list[str] = []
        for kind in ("A", "AAAA", "CNAME"):
            kept = arm.state.resources.get(f"{zone}/{kind}/{name}".lower())
            fields = {each.lower(): value for each, value in kept.properties.items()} if kept else {}
            records: Any = fields.get(DNS_FIELDS[kind].lower()) or []
            if kind == "CNAME":
                found += [f"{records['cname']}."] if records else []
            else:
                found += [next(iter(each.values())) for each in records]
        return tuple(sorted(found))

    def _check(self, arm: Arm, at: Target, kind: str, body: Body) -> None:
        only(body, frozenset({"properties", "etag"}), "RecordSet")
        properties = body["properties"]
        private = "/privatednszones/" in at.id.lower()
        field, ttl = (PRIVATE_FIELDS[kind], "ttl") if private else (DNS_FIELDS[kind], "TTL")
        known = {ttl, "metadata", field} | (set() if private else {"targetResource"})
        only(properties, frozenset(known), "RecordSetProperties")
        if not isinstance(properties.get(ttl), int) or not 1 <= properties[ttl] <= 2_147_483_647:
            raise bad("The TTL is out of range.")
        if any(not isinstance(value, str) for value in (properties.get("metadata") or {}).values()):
            raise bad("Metadata holds text only.")
        records = properties.get(field) or []
        match kind:
            case "A":
                for each in records:
                    ipaddress.IPv4Address(each["ipv4Address"])
            case "AAAA":
                for each in records:
                    ipaddress.IPv6Address(each["ipv6Address"])
            case "TXT":
                strings = [text for each in records for text in each["value"]]
                if any(len(text) > 255 for text in strings) or sum(map(len, strings)) > 4096:
                    raise bad("The TXT record is too long.")
        beside = [
            each
            for each in DNS_FIELDS
            if each != kind
            and "CNAME" in {each, kind}
            and f"{at.parent}/{each}/{at.names[-1]}".lower() in arm.state.resources
        ]
        if beside:
            raise Rejection(409, "Conflict", f"The record could not be created because {beside[0]} records exist.")


class TrafficManager(Service):
    """Profiles, api-version 2022-04-01. There is no ETag, and If-Match means nothing."""

    versions: ClassVar = {"microsoft.network/trafficmanagerprofiles": "2022-04-01"}
    _PROFILE = frozenset(
        {
            "profileStatus",
            "trafficRoutingMethod",
            "dnsConfig",
            "monitorConfig",
            "endpoints",
            "trafficViewEnrollmentStatus",
            "allowedEndpointRecordTypes",
            "maxReturn",
        }
    )
    _ENDPOINT = frozenset(
        {
            "targetResourceId",
            "target",
            "endpointStatus",
            "weight",
            "priority",
            "endpointLocation",
            "endpointMonitorStatus",
            "minChildEndpoints",
            "minChildEndpointsIPv4",
            "minChildEndpointsIPv6",
            "geoMapping",
            "subnets",
            "customHeaders",
            "alwaysServe",
        }
    )

    def get(self, arm: Arm, at: Target) -> Body:
        return arm.kept(at).body

    def put(self, arm: Arm, at: Target, body: Body, headers: Mapping[str, str]) -> Reply:
        only(body, frozenset({"id", "name", "type", "tags", "location", "properties"}), "Profile")
        if body.get("location") != "global":
            raise bad("The provided location is not available: profiles are global.")
        properties = body["properties"]
        only(properties, self._PROFILE, "ProfileProperties")
        if properties.get("trafficRoutingMethod") not in {"Performance", "Priority", "Weighted", "Geographic"}:
            raise bad("The traffic routing method is not supported.")
        for each in properties.get("endpoints") or ():
            only(each, frozenset({"id", "name", "type", "properties"}), "Endpoint")
            only(each["properties"], self._ENDPOINT, "EndpointProperties")
            if not 1 <= each["properties"].get("weight", 1) <= 1000:
                raise bad(f"The weight of endpoint {each['name']} is not between 1 and 1000.")
            if each["properties"].get("endpointStatus", "Enabled") not in {"Enabled", "Disabled"}:
                raise bad("The endpoint status is not supported.")
        stands = arm.state.resources.get(at.id.lower())
        if stands is None or stands.properties != properties:
            arm.effects += 1
        arm.keep(at.id, {name: value for name, value in body.items() if name not in {"id", "name", "type"}})
        return reply(200 if stands else 201, arm.kept(at).body)


@dataclass
class Revision:
    name: str
    replicas: int
    begun_at: float
    ready_at: float
    """When the last of its replicas is ready; they come one after the other."""
    active: bool = True


@dataclass
class ContainerApps(Service):
    """Apps, their revisions and replicas, api-version 2025-01-01."""

    versions: ClassVar = {"microsoft.app/containerapps": "2025-01-01"}
    revisions: dict[str, list[Revision]] = field(default_factory=dict)
    """By the app's id in lower case, oldest first."""

    def get(self, arm: Arm, at: Target) -> Body:
        *_, last = at.kind.split("/")
        if len(at.kind.split("/")) == 2:
            kept = arm.kept(at)
            self._settle(kept)
            kept.properties["provisioningState"] = "InProgress" if kept.busy else "Succeeded"
            return kept.body
        app = arm.state.resources["/".join(at.id.lower().split("/")[:9])]
        self._settle(app)
        if last == "revisions" and len(at.names) == 1:
            known = self.revisions[app.id.lower()]
            half = len(known) // 2 or 1  # in pages, as ARM may
            if page := at.page:
                return {"value": [self._shown(each) for each in known[int(page) :]]}
            return {"value": [self._shown(each) for each in known[:half]], "nextLink": arm.link(at, str(half))}
        found = next((each for each in self.revisions[app.id.lower()] if each.name == at.names[1]), None)
        if found is None:
            raise Rejection(404, "RevisionNotFound", f"The revision {at.names[1]} was not found.")
        if last == "revisions":
            return self._shown(found)
        return {"value": [self._replica(found, each) for each in range(found.replicas if found.active else 0)]}

    def patch(self, arm: Arm, at: Target, body: Body) -> Reply:
        kept = arm.kept(at)
        self._settle(kept)
        if kept.busy:
            message = "Cannot modify a container app because another operation is in progress."
            raise Rejection(409, "ContainerAppOperationInProgress", message)
        only(body, frozenset({"location", "tags", "properties"}), "ContainerApp")
        only(
            body.get("properties") or {}, frozenset({"configuration", "template", "workloadProfileName"}), "properties"
        )
        after = merged(kept.body, body)
        configuration, template = after["properties"]["configuration"], after["properties"]["template"]
        traffic = (configuration.get("ingress") or {}).get("traffic") or []
        for each in traffic:
            only(each, frozenset({"revisionName", "weight", "latestRevision", "label"}), "TrafficWeight")
        if traffic and sum(each.get("weight", 0) for each in traffic) != 100:
            raise bad("The sum of the weights of the traffic must be 100.")
        scale = template["scale"]
        if not 0 <= scale["minReplicas"] <= scale["maxReplicas"] <= 1000:
            raise bad("minReplicas must not be more than maxReplicas.")
        new = template != kept.properties["template"]
        if new:
            self._revise(arm, kept, template)
        if after != kept.body:
            arm.effects += 1
            kept.body = after | {"properties": {**after["properties"], **self._names(kept)}}
        return arm.begin(kept, by_location=True, status=202)

    def open(self, arm: Arm, app_id: str, body: Body, *names: str) -> None:
        """An app that stands, with these revisions ready."""
        kept = arm.keep(app_id, body)
        replicas = body["properties"]["template"]["scale"]["minReplicas"]
        self.revisions[app_id.lower()] = [Revision(name, replicas, 0.0, 0.0) for name in names]
        kept.properties.update(self._names(kept))

    def _revise(self, arm: Arm, kept: Kept, template: Body) -> None:
        suffix = template.get("revisionSuffix") or arm.fresh()
        name = f"{kept.id.rsplit('/', 1)[-1]}--{suffix}"
        known = self.revisions[kept.id.lower()]
        if any(each.name == name for each in known):
            # https://github.com/microsoft/azure-container-apps/issues/1278
            raise Rejection(400, "ContainerAppInvalidTemplate", "Field 'template.revisionsuffix' is invalid: exists.")
        now = time.monotonic()
        known.append(Revision(name, template["scale"]["minReplicas"], now, now + arm.starts_s))

    def _settle(self, kept: Kept) -> None:
        """In single mode the newest revision takes over as soon as it is ready."""
        known = self.revisions[kept.id.lower()]
        single = kept.properties["configuration"].get("activeRevisionsMode", "Single") == "Single"
        if single and known[-1].ready_at <= time.monotonic():
            for each in known[:-1]:
                each.active = False
        kept.properties.update(self._names(kept))

    def _names(self, kept: Kept) -> Body:
        known = self.revisions[kept.id.lower()]
        ready = [each.name for each in known if each.ready_at <= time.monotonic()]
        return {"latestRevisionName": known[-1].name, "latestReadyRevisionName": ready[-1] if ready else ""}

    def _shown(self, revision: Revision) -> Body:
        return {"name": revision.name, "properties": {"active": revision.active, "replicas": revision.replicas}}

    def _replica(self, revision: Revision, number: int) -> Body:
        took_s = (revision.ready_at - revision.begun_at) * (number + 1) / revision.replicas
        up = revision.begun_at + took_s <= time.monotonic()
        container = {"name": "server", "ready": up, "started": True, "restartCount": 0}
        state = "Running" if up else "NotRunning"
        return {"name": f"{revision.name}-{number}", "properties": {"runningState": state, "containers": [container]}}


class MachineLearning(Service):
    """Online endpoints and their deployments, api-version 2024-04-01."""

    versions: ClassVar = {"microsoft.machinelearningservices/workspaces": "2024-04-01"}
    _GIVEN = frozenset(
        {"authMode", "compute", "description", "keys", "mirrorTraffic", "properties", "publicNetworkAccess", "traffic"}
    )

    def get(self, arm: Arm, at: Target) -> Body:
        if at.kind.endswith("/deployments") and len(at.names) == 2:
            arm.kept(target(at.parent))
            return {"value": [each.body for each in arm.under(at.id)]}
        kept = arm.kept(at)
        kept.properties["provisioningState"] = "Updating" if kept.busy else "Succeeded"
        return kept.body

    def put(self, arm: Arm, at: Target, body: Body, headers: Mapping[str, str]) -> Reply:
        kept = arm.kept(at)
        self._free(kept)
        only(body, frozenset({"location", "tags", "kind", "sku", "identity", "properties"}), "OnlineEndpoint")
        only(body["properties"], self._GIVEN, "OnlineEndpointProperties")
        for each in (body.get("identity") or {}).get("userAssignedIdentities", {}).values():
            only(each, frozenset(), "UserAssignedIdentity")
        traffic = body["properties"].get("traffic") or {}
        if sum(traffic.values()) not in {0, 100}:
            raise bad("The traffic of the deployments must sum to 0 or 100.")
        for name in traffic:
            if f"{at.id}/deployments/{name}".lower() not in arm.state.resources:
                raise bad(f"The deployment {name} does not exist.")
        if kept.properties.get("traffic") != traffic:
            arm.effects += 1
        kept.body = {**kept.body, **body, "properties": {**kept.properties, **body["properties"]}}
        return arm.begin(kept, by_location=False, status=200, body=kept.body)

    def patch(self, arm: Arm, at: Target, body: Body) -> Reply:
        kept = arm.kept(at)
        self._free(kept)
        only(body, frozenset({"sku", "tags"}), "PartialMinimalTrackedResourceWithSku")
        if body["sku"]["capacity"] < 1:
            raise bad("The instance count must be at least 1.")
        if body["sku"]["capacity"] > 20:
            raise Rejection(400, "OutOfQuota", "Not enough quota for Standard_NC24ads_A100_v4 in this subscription.")
        if kept.body["sku"]["capacity"] != body["sku"]["capacity"]:
            arm.effects += 1
        kept.body = merged(kept.body, body)
        return arm.begin(kept, by_location=True, status=202)

    def _free(self, kept: Kept) -> None:
        if kept.busy:
            raise Rejection(409, "ConflictingOperation", "Another operation is in progress on this resource.")
