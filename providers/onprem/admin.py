"""Envoy's admin interface, read only: what an Envoy follows, and what it has in flight.

It asks for no credentials and can end the process: let it listen on loopback, or behind something that lets only GET
of ``/config_dump`` and ``/clusters`` through. Source: https://www.envoyproxy.io/docs/envoy/latest/operations/admin.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from orchestrator.core.errors import BadInput
from providers.base import Forbidden, NotFound, ProviderError, Refused, Transient
from providers.calls import line, unknown
from providers.onprem.discovery import OUT, Node, locality

ANSWER_S = 1.0
"""The longest that one question may take, seconds."""


@dataclass(frozen=True, slots=True)
class Admin:
    """One Envoy's admin interface."""

    url: str

    @classmethod
    def all(cls, text: str) -> tuple[Admin, ...]:
        """The interfaces of a comma-separated list. Raises BadInput for an address that is none."""
        found = tuple(each.strip().rstrip("/") for each in text.split(",") if each.strip())
        for url in found:
            parts = urlsplit(url)
            if parts.scheme != "http" or not parts.hostname or parts.path or parts.username:
                raise BadInput(f"'{url}' is no address of Envoy's admin interface; write http://127.0.0.1:9901")
        return tuple(cls(url) for url in found)

    async def endpoints(self, cluster: str) -> Node | None:
        """The localities and their weights that *cluster* balances by now; None for a cluster that it does not have."""
        found = await self._dumped(("dynamic_endpoint_configs", "static_endpoint_configs"), cluster, "&include_eds")
        return next((each["endpoint_config"] for each in found), None)

    async def routes(self, name: str) -> Node | None:
        """The route configuration *name* as it stands there; None where there is none."""
        found = await self._dumped(("dynamic_route_configs",), name)
        return next((each["route_config"] for each in found), None)

    async def cluster(self, name: str) -> Node | None:
        """The configuration of a cluster; None for one that it does not have."""
        found = await self._dumped(("dynamic_active_clusters", "static_clusters"), name)
        return next((each["cluster"] for each in found), None)

    async def in_flight(self, target: str) -> int:
        """Requests at the hosts of *target*, ``cluster`` or ``cluster/locality``, and those that wait to be sent there.

        Raises Transient, NotFound.
        """
        return sum(_active(host) for host in await self._hosts(target))

    async def serves(self, target: str, *, well: bool) -> bool:
        """Whether any host of *target* may be given requests: one that is *well* by checks, too; else by any word but
        the file's. Raises as ``in_flight``."""
        states = [host.get("health_status", {}) for host in await self._hosts(target)]
        if well:
            return any(state == {"eds_health_status": "HEALTHY"} for state in states)
        return any(state.get("eds_health_status") not in OUT for state in states)

    async def _hosts(self, target: str) -> list[Node]:
        document = await self._get("/clusters?format=json")
        clusters = {str(each.get("name", "")): each.get("host_statuses", []) for each in document["cluster_statuses"]}
        # Names of clusters may hold slashes, too: the longest that fits is meant.
        named = max((name for name in clusters if target == name or target.startswith(f"{name}/")), key=len, default="")
        if not named:
            raise NotFound(f"the Envoy at {self.url} has no cluster for '{target}': mend the target")
        place = target.removeprefix(named).removeprefix("/")
        return [host for host in clusters[named] if not place or locality(host) == place]

    async def _dumped(self, resources: tuple[str, ...], name: str, more: str = "") -> list[Node]:
        """Raises Transient, Forbidden, Refused."""
        found: list[Node] = []
        for resource in resources:
            try:
                document = await self._get(f"/config_dump?resource={resource}&name_regex={quote(_exactly(name))}{more}")
            except NotFound:
                continue  # an Envoy that has nothing of the kind at all
            found += document.get("configs", [])
        return found

    async def _get(self, path: str) -> Node:
        def ask() -> Node:
            parts = urlsplit(self.url)
            connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=ANSWER_S)
            try:
                connection.request("GET", path, headers={"Host": parts.netloc, "Connection": "close"})
                answer = connection.getresponse()
                body = answer.read()
            finally:
                connection.close()
            if answer.status != 200:
                raise _refusal(answer.status, self.url, path.partition("?")[0])
            document: Any = json.loads(body)
            if not isinstance(document, dict):
                raise ValueError("not an object")
            return document

        return await line(f"envoy {self.url}", translate).write(f"ask the Envoy at {self.url}", ask, within_s=ANSWER_S)


def _exactly(name: str) -> str:
    """*name* as a regular expression of RE2."""
    return "^" + "".join(each if each.isalnum() or each in "-_/" else f"\\{each}" for each in name) + "$"


def _active(host: Node) -> int:
    wanted = {"rq_active", "rq_pending_active"}
    return sum(int(each.get("value", 0)) for each in host.get("stats", []) if each.get("name") in wanted)


def _refusal(status: int, url: str, path: str) -> ProviderError:
    match status:
        case 400 | 404:
            return NotFound(f"the Envoy at {url} has nothing of the kind at {path}")
        case 401 | 403:
            return Forbidden(f"what stands before the Envoy at {url} does not let GET of {path} through ({status})")
        case _ if status >= 500:
            return Transient(f"the Envoy at {url} answered {status} to GET of {path}")
        case _:
            return Refused(f"{url} answered {status} to GET of {path}; is it Envoy's admin interface?")


def translate(error: Exception, what: str) -> ProviderError:
    """What goes wrong on the way, as one of our errors."""
    match error:
        case ConnectionRefusedError():
            return Transient(f"cannot {what}: nobody listens there; is Envoy running?")
        case TimeoutError():
            return Transient(f"cannot {what}: no answer within {ANSWER_S:g} s")
        case OSError() | HTTPException():
            reason = getattr(error, "strerror", None) or "the connection broke"
            return Transient(f"cannot {what}: {reason.lower()}")
        case ValueError() | KeyError() | TypeError():
            return Refused(f"cannot {what}: its answer is no JSON of Envoy's admin interface; mend the address")
        case _:
            return unknown(error, what)
