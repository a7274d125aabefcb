"""Hosted zones as Route 53 keeps them, over its REST and XML: batches of changes that are all made, or none.

    server = Route53().start()
    zone = server.zone("example.", simple("chat.example.", "A", "192.0.2.1"))
    boto3.client("route53", endpoint_url=server.url, ...)

The rules are those of the API reference: a DELETE repeats the set to the letter, a CREATE finds none, simple and
weighted sets do not share a name and type, nothing stands beside a CNAME. moto applies a batch change by change and
lets a second CREATE pass, which is why this server exists.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from real.saboteur import Reply
from wire.http import Request, Wire

SPACE = "https://route53.amazonaws.com/doc/2013-04-01/"
NAME_SERVERS = ("ns-1.awsdns-01.com", "ns-2.awsdns-02.net", "ns-3.awsdns-03.org", "ns-4.awsdns-04.co.uk")
RecordSet = dict[str, Any]
Key = tuple[str, str, str]
"""Name, type and identifier; a simple set has an empty one."""
_NUMBERS = {"Weight", "TTL"}
_TEXTS = {"Name", "Type", "SetIdentifier", "Region", "Failover", "HealthCheckId"}


class Invalid(Exception):
    """One change of a batch that cannot be made: all of it is refused, with this sentence."""


@dataclass
class Zone:
    """One hosted zone."""

    id: str
    name: str
    sets: dict[Key, RecordSet] = field(default_factory=dict)

    def put(self, *sets: RecordSet) -> None:
        """Sets as a person would make them in the console: what stood is replaced."""
        for each in sets:
            self.sets[key_of(each)] = each

    def at(self, name: str) -> list[RecordSet]:
        return [each for key, each in sorted(self.sets.items()) if key[0] == stored(name)]

    def remove(self, name: str, kind: str) -> None:
        self.sets = {key: each for key, each in self.sets.items() if key[:2] != (stored(name), kind)}

    def after(self, batch: Iterable[tuple[str, RecordSet]]) -> dict[Key, RecordSet]:
        """The sets once *batch* is made. Raises Invalid."""
        sets = dict(self.sets)
        for action, each in batch:
            key = key_of(each)
            self._admit(each)
            match action:
                case "DELETE":
                    if key not in sets:
                        raise Invalid(f"Tried to delete resource record set {_named(each)} but it was not found")
                    if _exact(sets[key]) != _exact(each):
                        raise Invalid(
                            f"Tried to delete resource record set {_named(each)} but the values provided do not match "
                            "the current values"
                        )
                    del sets[key]
                case "CREATE":
                    if key in sets:
                        raise Invalid(f"Tried to create resource record set {_named(each)} but it already exists")
                    sets[key] = each
                case "UPSERT":
                    sets[key] = each
        for each in sets.values():
            self._object(each, sets)
        return sets

    def _admit(self, each: RecordSet) -> None:
        name = stored(each["Name"])
        if not (name == self.name or name.endswith(f".{self.name}")):
            raise Invalid(f"RRSet with DNS name {name} is not permitted in zone {self.name}")
        if ("SetIdentifier" in each) != bool({"Weight", "Region", "Failover"} & each.keys()):
            raise Invalid(f"Invalid request: Missing field 'SetIdentifier' or 'Weight' in {_named(each)}")
        if ("AliasTarget" in each) == ("ResourceRecords" in each) or ("AliasTarget" in each and "TTL" in each):
            raise Invalid(f"Invalid request: Expected exactly one of AliasTarget and ResourceRecords in {_named(each)}")
        if not 0 <= each.get("Weight", 0) <= 255:
            raise Invalid(f"Value '{each['Weight']}' at 'weight' failed to satisfy constraint: 0 to 255")

    @staticmethod
    def _object(each: RecordSet, sets: dict[Key, RecordSet]) -> None:
        name, kind, identifier = key_of(each)
        for other in sets:
            if other[:2] == (name, kind) and bool(other[2]) != bool(identifier):
                raise Invalid(
                    f"RRSet with DNS name {name}, type {kind}, SetIdentifier {identifier or other[2]} cannot be "
                    "created because a non multi-answer rrset exists with the same name and type."
                )
            if kind == "CNAME" and other[0] == name and other[1] != "CNAME":
                raise Invalid(
                    f"RRSet of type CNAME with DNS name {name} is not permitted because a conflicting RRSet with the "
                    "same DNS name already exists"
                )


class Route53(Wire):
    """The service."""

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, Zone] = {}
        self.changes: dict[str, str] = {}
        """Status by id."""
        self.lag = False
        """Whether a change stays PENDING until ``sync``."""
        self.health_checks: dict[str, dict[str, str]] = {}
        """Configurations by id, in the words of the API."""
        self.meanwhile: list[Callable[[], None]] = []
        """What somebody else does right before the next batches are applied, one for each batch."""
        self._ids = itertools.count(1)

    def zone(self, name: str, *sets: RecordSet) -> Zone:
        made = Zone(f"Z{next(self._ids):014d}", stored(name))
        made.put(*sets)
        self.zones[made.id] = made
        return made

    def sync(self) -> None:
        self.changes = dict.fromkeys(self.changes, "INSYNC")

    def answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        path = parts.path.removeprefix("/2013-04-01/").rstrip("/").split("/")
        match request.method, path:
            case "GET", ["change", id_]:
                return self._change(id_)
            case "GET", ["healthcheck", id_]:
                return self._health_check(id_)
            case method, ["hostedzone", id_, *rest] if id_ in self.zones:
                return self._at_zone(self.zones[id_], method, rest, request)
            case _, ["hostedzone", id_, *_]:
                return error(404, "NoSuchHostedZone", f"No hosted zone found with ID: {id_}")
        return error(400, "InvalidAction", f"this server does not know {request.method} {request.path}")

    def _at_zone(self, zone: Zone, method: str, rest: list[str], request: Request) -> Reply:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        match method, rest:
            case "GET", []:
                return _ok("GetHostedZoneResponse", _zone(zone))
            case "GET", ["rrset"]:
                return _listed(zone, query)
            case "POST", ["rrset"]:
                return self._apply(zone, request.body)
        return error(400, "InvalidAction", f"this server does not know {method} {request.path}")

    def _change(self, id_: str) -> Reply:
        if id_ not in self.changes:
            return error(404, "NoSuchChange", f"Could not find resource with ID: {id_}")
        return _ok("GetChangeResponse", self._info(id_))

    def _health_check(self, id_: str) -> Reply:
        if id_ not in self.health_checks:
            return error(404, "NoSuchHealthCheck", f"A health check with id {id_} does not exist.")
        config = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in self.health_checks[id_].items())
        return _ok(
            "GetHealthCheckResponse",
            f"<HealthCheck><Id>{id_}</Id><CallerReference>x</CallerReference>"
            f"<HealthCheckConfig>{config}</HealthCheckConfig><HealthCheckVersion>1</HealthCheckVersion></HealthCheck>",
        )

    def _apply(self, zone: Zone, body: bytes) -> Reply:
        batch = [
            (_text(change, "Action"), _set_in(change.find(f"{{{SPACE}}}ResourceRecordSet")))
            for change in ET.fromstring(body).iter(f"{{{SPACE}}}Change")  # noqa: S314 - our own client wrote it
        ]
        if self.meanwhile:
            self.meanwhile.pop(0)()
        try:
            zone.sets = zone.after(batch)
        except Invalid as why:
            return error(400, "InvalidChangeBatch", f"[{why}]")
        self.effects += 1
        id_ = f"C{next(self._ids):014d}"
        self.changes[id_] = "PENDING" if self.lag else "INSYNC"
        return _ok("ChangeResourceRecordSetsResponse", self._info(id_))

    def _info(self, id_: str) -> str:
        return (
            f"<ChangeInfo><Id>/change/{id_}</Id><Status>{self.changes[id_]}</Status>"
            "<SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo>"
        )


def simple(name: str, kind: str, *values: str, ttl: int = 30) -> RecordSet:
    return {"Name": stored(name), "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": value} for value in values]}


def weighted(name: str, kind: str, *values: str, weight: int, identifier: str, ttl: int = 30) -> RecordSet:
    return {**simple(name, kind, *values, ttl=ttl), "SetIdentifier": identifier, "Weight": weight}


def key_of(each: RecordSet) -> Key:
    return stored(each["Name"]), str(each["Type"]), str(each.get("SetIdentifier", ""))


def stored(name: str) -> str:
    """As Route 53 keeps a name: with a dot at its end, and what is no letter as an octal number."""
    text = name.lower() if name.endswith(".") else f"{name.lower()}."
    return re.sub(r"[^a-z0-9._\\-]", lambda found: f"\\{ord(found.group()):03o}", text)


def error(status: int, code: str, message: str) -> Reply:
    """A refusal in Route 53's XML."""
    body = (
        f'<?xml version="1.0"?>\n<ErrorResponse xmlns="{SPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{escape(message)}</Message></Error><RequestId>b25f48e8-84fd-11e6-80d9-574e0c4664cb</RequestId>"
        "</ErrorResponse>"
    )
    return Reply(status, body.encode(), (("content-type", "text/xml"),))


def _ok(root: str, inner: str) -> Reply:
    body = f'<?xml version="1.0"?>\n<{root} xmlns="{SPACE}">{inner}</{root}>'
    return Reply(200, body.encode(), (("content-type", "text/xml"),))


def _exact(each: RecordSet) -> str:
    """All that a DELETE must repeat; the values in any order."""
    values = sorted(record["Value"] for record in each.get("ResourceRecords", []))
    return json.dumps({**each, "Name": stored(each["Name"]), "ResourceRecords": values}, sort_keys=True)


def _named(each: RecordSet) -> str:
    identifier = f", set identifier='{each['SetIdentifier']}'" if "SetIdentifier" in each else ""
    return f"[name='{stored(each['Name'])}', type='{each['Type']}'{identifier}]"


def _sorting(key: Key) -> tuple[str, str, str]:
    """Labels reversed, with a dot at the end, in ASCII order; then the type."""
    labels = key[0].rstrip(".").split(".")
    return ".".join(reversed(labels)) + ".", key[1], key[2]


def _listed(zone: Zone, query: dict[str, str]) -> Reply:
    if "type" in query and "name" not in query:
        return error(400, "InvalidInput", "The name is required where a type is given")
    start = _sorting((stored(query.get("name", zone.name)), query.get("type", ""), query.get("identifier", "")))
    keys = sorted((key for key in zone.sets if _sorting(key) >= start), key=_sorting)
    most = int(query.get("maxitems", "300"))
    page, rest = keys[:most], keys[most:]
    inner = "".join(_xml(zone.sets[key]) for key in page)
    inner = f"<ResourceRecordSets>{inner}</ResourceRecordSets><IsTruncated>{str(bool(rest)).lower()}</IsTruncated>"
    if rest:
        name, kind, identifier = rest[0]
        inner += f"<NextRecordName>{escape(name)}</NextRecordName><NextRecordType>{kind}</NextRecordType>"
        inner += f"<NextRecordIdentifier>{escape(identifier)}</NextRecordIdentifier>" if identifier else ""
    return _ok("ListResourceRecordSetsResponse", f"{inner}<MaxItems>{most}</MaxItems>")


def _zone(zone: Zone) -> str:
    servers = "".join(f"<NameServer>{each}</NameServer>" for each in NAME_SERVERS)
    return (
        f"<HostedZone><Id>/hostedzone/{zone.id}</Id><Name>{zone.name}</Name><CallerReference>x</CallerReference>"
        f"</HostedZone><DelegationSet><NameServers>{servers}</NameServers></DelegationSet>"
    )


def _xml(each: RecordSet) -> str:
    inner = "".join(
        f"<{tag}>{escape(str(each[tag]))}</{tag}>" for tag in ("Name", "Type", "SetIdentifier") if tag in each
    )
    inner += "".join(
        f"<{tag}>{escape(str(each[tag]))}</{tag}>" for tag in ("Weight", "Region", "Failover", "TTL") if tag in each
    )
    if "ResourceRecords" in each:
        values = (escape(record["Value"]) for record in each["ResourceRecords"])
        records = "".join(f"<ResourceRecord><Value>{value}</Value></ResourceRecord>" for value in values)
        inner += f"<ResourceRecords>{records}</ResourceRecords>"
    if "AliasTarget" in each:
        alias = each["AliasTarget"]
        inner += (
            f"<AliasTarget><HostedZoneId>{alias['HostedZoneId']}</HostedZoneId><DNSName>{alias['DNSName']}</DNSName>"
            f"<EvaluateTargetHealth>{str(alias['EvaluateTargetHealth']).lower()}</EvaluateTargetHealth></AliasTarget>"
        )
    inner += f"<HealthCheckId>{each['HealthCheckId']}</HealthCheckId>" if "HealthCheckId" in each else ""
    return f"<ResourceRecordSet>{inner}</ResourceRecordSet>"


def _text(node: ET.Element, tag: str) -> str:
    found = node.find(f"{{{SPACE}}}{tag}")
    assert found is not None, f"{tag} is missing"
    return found.text or ""


def _set_in(node: ET.Element | None) -> RecordSet:
    """The record set of a request. A field that the service does not know fails the test."""
    assert node is not None
    made: RecordSet = {}
    for child in node:
        tag = child.tag.removeprefix(f"{{{SPACE}}}")
        if tag in _NUMBERS:
            made[tag] = int(child.text or "")
        elif tag in _TEXTS:
            made[tag] = child.text or ""
        elif tag == "ResourceRecords":
            made[tag] = [{"Value": _text(record, "Value")} for record in child]
        elif tag == "AliasTarget":
            made[tag] = {
                "HostedZoneId": _text(child, "HostedZoneId"),
                "DNSName": _text(child, "DNSName"),
                "EvaluateTargetHealth": _text(child, "EvaluateTargetHealth") == "true",
            }
        else:
            raise AssertionError(f"Route 53 knows no {tag} in a record set")
    return {**made, "Name": stored(made["Name"])}
