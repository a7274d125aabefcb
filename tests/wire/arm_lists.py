"""What Azure Resource Manager lists of a subscription, page by page, with its errors' shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from real.saboteur import Reply
from wire.arm import SUBSCRIPTION, reply
from wire.http import Request, Wire

Body = dict[str, Any]
_VERSIONS = {"containerapps": "2025-01-01", "trafficmanagerprofiles": "2022-04-01"}


@dataclass
class _Kept:
    resources: dict[str, list[Body]] = field(default_factory=lambda: {kind: [] for kind in _VERSIONS})
    denied: set[str] = field(default_factory=set)


class Subscription(Wire):
    """One subscription, in pages of two."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = _Kept()

    def add(self, resource_id: str, body: Body) -> None:
        """Put a resource there."""
        kind, name = resource_id.split("/")[-2:]
        self.kept.resources[kind.lower()].append({**body, "id": resource_id, "name": name})

    def answer(self, request: Request) -> Reply:
        url = urlsplit(request.path)
        query, kind = parse_qs(url.query), url.path.rpartition("/")[2].lower()
        if request.method != "GET" or not url.path.startswith(f"/subscriptions/{SUBSCRIPTION}/providers/"):
            return _error(404, "NotFound", "there is no such list")
        if kind in self.kept.denied:
            says = f"does not have authorization to perform action 'Microsoft.App/{kind}/read' over scope"
            return _error(403, "AuthorizationFailed", f"The client 'looker' {says} '/subscriptions/{SUBSCRIPTION}'.")
        if query.get("api-version") != [_VERSIONS.get(kind)]:
            return _error(400, "NoRegisteredProviderFound", "No registered provider for this version.")
        every = self.kept.resources[kind]
        start = int(query.get("$skiptoken", ["0"])[0])
        page: Body = {"value": every[start : start + 2]}
        if start + 2 < len(every):
            page["nextLink"] = f"{self.url}{url.path}?api-version={_VERSIONS[kind]}&$skiptoken={start + 2}"
        return reply(200, page)


def _error(status: int, code: str, message: str) -> Reply:
    return reply(status, {"error": {"code": code, "message": message}})
