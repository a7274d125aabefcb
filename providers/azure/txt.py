"""A routing document in a TXT record set of Azure DNS: the fence of services that know no compare-and-set.

Traffic Manager, Container Apps and Azure Machine Learning take the last word they are told: their resources have no
ETag that a write may require. A record set has one, is as global as Traffic Manager, and needs no service beside ARM.
In a public zone anybody can read it, as the fence of any name server; a private zone keeps it to its networks.
"""

from __future__ import annotations

from orchestrator.core.topology import SteeringSpec
from providers.azure.records import RecordSet, Zone, zone_and_name
from providers.azure.session import Reach
from providers.base import Refused
from providers.documents.places import document
from providers.fenced import Document, Overtaken, Sheet

TTL_S = 60
"""Of a record set made here. Nobody but this program reads it, and never through a resolver."""
MOST = {"public": 4096}
"""Characters in a TXT record set: https://learn.microsoft.com/azure/dns/dns-zones-records#txt-records."""
MOST_ELSEWHERE = 1024
"""The same in the national clouds."""


class TxtDocument:
    """The one TXT record at a name of a zone."""

    def __init__(self, record_id: str, reach: Reach) -> None:
        """Raises BadInput for an id of something else."""
        zone, self._name = zone_and_name(record_id, option="fence")
        self._zone = Zone(zone, reach, option="fence")
        self._most = MOST.get(reach.cloud, MOST_ELSEWHERE)
        self.at = f"TXT {self._name}.{self._zone.name} in Azure DNS"

    async def read(self) -> Sheet:
        """What stands now. Raises Transient, Unauthenticated, Forbidden, NotFound for a zone that is not there."""
        found = await self._zone.get("TXT", self._name)
        if found.etag is None:
            return Sheet(None, None)
        # Several records are several texts: no routing document, as whoever reads it will say.
        return Sheet("\n".join(found.values) or None, found.etag)

    async def put(self, text: str, *, tag: str | None) -> None:
        """Replace what stood at *tag*. Raises Overtaken, Refused for a text that is too long, and as ``read``."""
        line = " ".join(text.split())
        if len(line) > self._most:
            raise Refused(
                f"the routing document at {self.at} would be {len(line)} characters long, and Azure DNS takes "
                f"{self._most}; give endpoints and targets shorter names"
            )
        wanted = RecordSet((line,), TTL_S, etag=tag)
        if await self._zone.put("TXT", self._name, wanted) is None:
            raise Overtaken


def fence_of(spec: SteeringSpec, reach: Reach) -> Document:
    """Where the option ``fence`` keeps the fence: a TXT record set by its id, or any place of a routing document.

    Raises BadInput for a place that is neither.
    """
    place = dict(spec.options).get("fence", "")
    return TxtDocument(place, reach) if place.startswith("/") else document(spec)
