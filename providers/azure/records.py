"""Record sets of Azure DNS, public and private, as they are read and compared-and-set.

Each record set has an ETag, which a PUT may require (``If-Match``), and metadata, pairs of text that no resolver sees:
https://learn.microsoft.com/azure/dns/dns-zones-records#etags. Several record sets never change in one call.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core.errors import BadInput
from providers.azure.errors import NO_PARENT, said
from providers.azure.session import Arm, Reach, Reply, arm, name_of, resource
from providers.base import NotFound

PUBLIC, PRIVATE = "Microsoft.Network/dnsZones", "Microsoft.Network/privateDnsZones"
VERSIONS = {PUBLIC: "2018-05-01", PRIVATE: "2020-06-01"}

FIELDS = {
    PUBLIC: {"A": "ARecords", "AAAA": "AAAARecords", "CNAME": "CNAMERecord", "TXT": "TXTRecords", "ttl": "TTL"},
    PRIVATE: {"A": "aRecords", "AAAA": "aaaaRecords", "CNAME": "cnameRecord", "TXT": "txtRecords", "ttl": "ttl"},
}
"""Where the values of a type stand, and the time to live."""
VALUES = {"A": "ipv4Address", "AAAA": "ipv6Address", "TXT": "value"}
"""What one value is called within."""


@dataclass(frozen=True, slots=True)
class RecordSet:
    """One record set as it was read; without an ETag it does not exist."""

    values: tuple[str, ...] = ()
    ttl_s: int = 0
    metadata: tuple[tuple[str, str], ...] = ()
    etag: str | None = None
    alias: str = ""
    """The resource that it follows, where it is an alias record."""


class Zone:
    """One zone, and its record sets."""

    def __init__(self, zone_id: str, reach: Reach, *, option: str) -> None:
        """Raises BadInput for an id that is no zone's."""
        self.kind = PRIVATE if "/privatednszones/" in zone_id.lower() else PUBLIC
        self.id = resource(zone_id, self.kind, option=option)
        self.name = name_of(self.id)
        self._arm: Arm = arm("Azure DNS" if self.kind == PUBLIC else "Azure Private DNS", reach)

    async def servers(self) -> tuple[str, ...]:
        """Its authoritative servers by host name; none of a private zone. Raises NotFound where there is no zone."""
        reply = await self._arm.get(self.id, VERSIONS[self.kind], what=f"read the DNS zone {self.name}")
        return tuple(str(server).rstrip(".") for server in reply.properties.get("nameServers") or ())

    async def get(self, kind: str, name: str) -> RecordSet:
        """The record set of *kind* at *name*, relative to the zone. Raises NotFound for a zone that is not there."""
        what = f"read the {kind} records at {name} of the DNS zone {self.name}"
        reply = await self._arm.get(f"{self.id}/{kind}/{name}", VERSIONS[self.kind], what=what, may=(404,))
        if reply.status == 404:
            code, _ = said(reply.body)
            if code in NO_PARENT:
                raise NotFound(f"cannot {what}: its zone or its resource group is not there ({code}); mend the id")
            return RecordSet()
        return _record_set(kind, reply)

    async def put(self, kind: str, name: str, wanted: RecordSet) -> RecordSet | None:
        """Make it *wanted*, only while its ETag is that of *wanted*, or, without one, only where none stands.

        Returns it as the service has kept it, which leaves out without an error what it does not take as metadata
        (https://github.com/Azure/azure-rest-api-specs/issues/8555); None where somebody else was first.
        """
        what = f"write the {kind} records at {name} of the DNS zone {self.name}"
        body = {"properties": _written(kind, wanted, FIELDS[self.kind])}
        path = f"{self.id}/{kind}/{name}"
        reply = await self._arm.put(
            path, VERSIONS[self.kind], body, what=what, etag=wanted.etag, new=wanted.etag is None
        )
        if reply.status == 412:
            return None
        return _record_set(kind, reply) if reply.body else await self.get(kind, name)


def _record_set(kind: str, reply: Reply) -> RecordSet:
    found = {name.lower(): value for name, value in reply.properties.items()}
    records = found.get(FIELDS[PRIVATE][kind].lower())
    if kind == "CNAME":
        cname = (records or {}).get("cname")
        values: tuple[str, ...] = (f"{str(cname).rstrip('.')}.",) if cname else ()
    else:
        values = tuple(_text(each[VALUES[kind]]) for each in records or ())
    if kind in {"A", "AAAA"}:
        values = tuple(sorted({str(ipaddress.ip_address(value)) for value in values}))
    metadata = tuple(sorted((str(name), str(value)) for name, value in (found.get("metadata") or {}).items()))
    alias = str((found.get("targetresource") or {}).get("id") or "")
    return RecordSet(values, int(found.get("ttl") or 0), metadata, reply.etag or "", alias)


def _text(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _written(kind: str, wanted: RecordSet, fields: Mapping[str, str]) -> Mapping[str, Any]:
    values: Any = [{VALUES.get(kind, ""): _cut(value) if kind == "TXT" else value} for value in wanted.values]
    if kind == "CNAME":
        values = {"cname": wanted.values[0].rstrip(".")}
    return {fields["ttl"]: wanted.ttl_s, "metadata": dict(wanted.metadata), fields[kind]: values}


def _cut(text: str) -> list[str]:
    """Strings of at most 255 characters, as a TXT record holds them (RFC 1035, section 3.3.14)."""
    return [text[start : start + 255] for start in range(0, len(text), 255)]


def zone_and_name(record_id: str, *, option: str) -> tuple[str, str]:
    """The zone's id and the name of a TXT record set by its id. Raises BadInput for another id."""
    for kind in (PUBLIC, PRIVATE):
        try:
            whole = resource(record_id, f"{kind}/TXT", option=option)
        except BadInput:
            continue
        zone, _, name = whole.rsplit("/", 2)
        return zone, name
    raise BadInput(
        f"option {option} says '{record_id}', which is no TXT record set; write "
        f"/subscriptions/ID/resourceGroups/GROUP/providers/{PUBLIC}/ZONE/TXT/_failover.NAME"
    )
