"""What a project of Google Cloud has that serves and steers: read only, page by page.

Rights: ``run.locations.list``, ``run.services.list``, ``dns.managedZones.list``, ``dns.resourceRecordSets.list``; the
roles Cloud Run Viewer and DNS Reader have them. What is not allowed is left out and said.
(https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services/list,
https://cloud.google.com/dns/docs/reference/rest/v1/resourceRecordSets/list)
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from orchestrator.core.topology import Answer
from providers.base import Refused
from providers.gcp.dns_records import ROUTED, targets
from providers.gcp.session import Access, Json, rest
from providers.inventory import (
    FoundEndpoint,
    FoundSteering,
    FoundTarget,
    FoundWorkload,
    Inventory,
    Options,
    bare,
    tagged,
)
from providers.sweep import Sweep

RUN = "https://run.googleapis.com"
DNS = "https://dns.googleapis.com"
_AT_ONCE = 6
"""Regions that are asked at a time: a line has eight threads, and a call waits for its turn."""


async def inventory(project: str, regions: tuple[str, ...] = (), *, endpoint: str = "") -> Inventory:
    """What *project* has in *regions*; none given: in every one.

    Raises what ``errors.translate`` says where nothing at all could be read.
    """
    look = _Look(project, endpoint)
    sweep = Sweep()
    given = tuple(dict.fromkeys(regions)) or await sweep.part(look.regions(), ())
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(region: str) -> list[FoundEndpoint]:
        async with turn:
            return await sweep.part(look.services(region), [])

    endpoints = [each for found in await asyncio.gather(*map(one, given)) for each in found]
    steerings = await look.names(sweep)
    where = ", ".join(regions) if regions else "every region"
    looked = f"Cloud Run services of the project {project} in {where}, and the weighted names of its Cloud DNS zones"
    return sweep.ended(endpoints, steerings, looked)


class _Look:
    """One project, as its APIs tell it."""

    def __init__(self, project: str, endpoint: str) -> None:
        self._project = project
        self._endpoint = endpoint
        self._access = Access.of((("endpoint", endpoint),) if endpoint else ())
        self._at = f"projects/{quote(project, safe='')}"

    async def regions(self) -> tuple[str, ...]:
        """Regions that have Cloud Run."""
        found = await self._pages("Cloud Run", f"/v1/{self._at}/locations", "locations", "run.locations.list")
        return tuple(sorted(str(each["locationId"]) for each in found))

    async def services(self, region: str) -> list[FoundEndpoint]:
        """Cloud Run services in *region*."""
        path = f"/v2/{self._at}/locations/{quote(region, safe='')}/services"
        found = await self._pages(f"Cloud Run in {region}", path, "services", "run.services.list")
        return [self._endpoint_of(region, each) for each in found]

    async def names(self, sweep: Sweep) -> tuple[FoundSteering, ...]:
        """Every name in the public zones that has addresses or a cname."""
        path = f"/dns/v1/{self._at}/managedZones"
        zones = await sweep.part(self._pages("Cloud DNS", path, "managedZones", "dns.managedZones.list"), [])
        found: list[FoundSteering] = []
        for zone in zones:
            name = str(zone["name"])
            if zone.get("visibility", "public") != "public":
                sweep.remarks.append(f"the private zone {name} was not looked at")
                continue
            reading = self._pages("Cloud DNS", f"{path}/{quote(name, safe='')}/rrsets", "rrsets", _MAY_READ)
            for at, records in _by_name(await sweep.part(reading, [])).items():
                try:
                    found.append(self._steering(name, at, records))
                except Refused as error:
                    sweep.remarks.append(str(error))
        return tuple(found)

    async def _pages(self, of: str, path: str, items: str, permission: str) -> list[Any]:
        base = DNS if of == "Cloud DNS" else RUN
        found: list[Any] = []
        token = ""
        while True:
            page = await self._access.line(of).read(
                f"list the {items} of {of} in the project {self._project}",
                partial(self._page, base, path, permission, token),
            )
            found += page.get(items) or ()
            token = str(page.get("nextPageToken") or "")
            if not token:
                return found

    def _page(self, base: str, path: str, permission: str, token: str) -> Json:
        query = {"pageToken": token} if token else None
        return rest(base, self._access).call("GET", path, permission=permission, query=query)

    def _options(self, **more: str) -> Options:
        own = {"project": self._project, **more, "endpoint": self._endpoint}
        return tuple((name, value) for name, value in own.items() if value)

    def _endpoint_of(self, region: str, service: Json) -> FoundEndpoint:
        name = str(service["name"]).rpartition("/")[2]
        scaling = service.get("scaling") or {}
        replicas = scaling.get("manualInstanceCount") or scaling.get("minInstanceCount") or 0
        hosts = [urlsplit(str(url)).hostname or "" for url in (service.get("uri", ""), *(service.get("urls") or ()))]
        hosts = [each for each in dict.fromkeys(hosts) if each]
        notes: tuple[str, ...] = ()
        if service.get("ingress", "INGRESS_TRAFFIC_ALL") != "INGRESS_TRAFFIC_ALL":
            notes = ("it does not answer the internet at its own address: give that of its load balancer",)
        return FoundEndpoint(
            name,
            f"gcp/{region}",
            f"Cloud Run service {name} in {region}",
            FoundWorkload("cloud-run", name, self._options(region=region), int(replicas)),
            hosts=tuple(hosts),
            own=next(iter(hosts), ""),
            tag=tagged((service.get("labels") or {}).items()),
            notes=notes,
        )

    def _steering(self, zone: str, name: str, records: dict[str, Json]) -> FoundSteering:
        """Raises Refused for a routing policy that weighs nothing."""
        items = targets(records)
        ttl_s = min((int(each["ttl"]) for each in records.values() if each.get("ttl")), default=None)
        return FoundSteering(
            bare(name),
            "cloud-dns",
            f"the records of {bare(name)} in the managed zone {zone} of Cloud DNS",
            self._options(managed_zone=zone),
            tuple(_target(values, weight) for values, weight in items),
            ttl_s if ttl_s is not None else 60,
            alone=len(items) > 1,
        )


_MAY_READ = "dns.resourceRecordSets.list"


def _by_name(records: Iterable[Json]) -> dict[str, dict[str, Json]]:
    found: dict[str, dict[str, Json]] = defaultdict(dict)
    for each in records:
        if each.get("type") in ROUTED and "*" not in str(each["name"]):
            found[str(each["name"])][str(each["type"])] = each
    return found


def _target(values: tuple[str, ...], weight: int) -> FoundTarget:
    if len(values) == 1 and values[0].endswith("."):
        return FoundTarget(Answer("cname", values), (bare(values[0]),), weight)
    return FoundTarget(Answer("addresses", tuple(sorted(values))), values, weight)
