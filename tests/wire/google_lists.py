"""What Google's REST APIs list of a project: regions and services of Cloud Run, zones and record sets of Cloud DNS."""

from __future__ import annotations

from wire.google_rest import Json, Refusal, RestServer


class Project(RestServer):
    """One project, in pages of *most*."""

    def __init__(self, name: str = "ai", *regions: str) -> None:
        self.name = name
        self.regions = regions
        self.services: dict[str, list[Json]] = {region: [] for region in regions}
        self.zones: dict[str, list[Json]] = {}
        self.denied: set[str] = set()
        """Words of paths that may not be listed: ``rrsets``."""
        self.most = 2
        super().__init__()

    def run(self, region: str, name: str, *, least: int = 1, **more: object) -> str:
        """The host name of a service."""
        host = f"{name}-x1-{region}.a.run.app"
        path = f"projects/{self.name}/locations/{region}/services/{name}"
        self.services[region].append(
            {"name": path, "uri": f"https://{host}", "scaling": {"minInstanceCount": least}} | more
        )
        return host

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Json) -> Json:
        if method != "GET":
            raise Refusal(405, "httpMethodNotAllowed", "this only lists")
        if path[-1] in self.denied:
            raise Refusal(403, "forbidden", "Forbidden")
        match path:
            case ["v1", "projects", self.name, "locations"]:
                return self._page("locations", [{"locationId": region} for region in self.regions], query)
            case ["v2", "projects", self.name, "locations", region, "services"] if region in self.services:
                return self._page("services", self.services[region], query)
            case ["dns", "v1", "projects", self.name, "managedZones"]:
                zones: list[Json] = [{"name": zone, "visibility": "public"} for zone in self.zones]
                return self._page("managedZones", zones, query)
            case ["dns", "v1", "projects", self.name, "managedZones", zone, "rrsets"] if zone in self.zones:
                return self._page("rrsets", self.zones[zone], query)
        raise Refusal(404, "notFound", "Not Found")

    def _page(self, items: str, every: list[Json], query: dict[str, str]) -> Json:
        start = int(query.get("pageToken", 0))
        end = start + self.most
        more = {"nextPageToken": str(end)} if end < len(every) else {}
        return {items: every[start:end]} | more
