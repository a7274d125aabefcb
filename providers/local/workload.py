"""Capacity and draining of a model server in the local world."""

from __future__ import annotations

from typing import Any

from orchestrator.core.topology import Workload
from providers.base import Capacity
from providers.local.api import WorldApi, part


class LocalWorkload:
    """WorkloadControl over the world's control API. The world remembers keys: a retry scales nothing."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle without the world's URL."""
        self._api = WorldApi(handle)
        self._path = f"/endpoints/{part(handle.target)}"

    async def read(self) -> Capacity:
        """Raises Transient, NotFound."""
        return _capacity(await self._api.call("GET", self._path))

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Ask for *replicas* and return at once. Raises Transient, NoCapacity, NotFound."""
        body = {"replicas": replicas, "key": key}
        return _capacity(await self._api.call("PUT", f"{self._path}/replicas", body))


class LocalDrain:
    """DrainControl over the world's control API.

    A model server that drains serves what still comes and closes each connection after its answer, so that
    clients with pooled connections resolve the name again and lose nothing.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle without the world's URL."""
        self._api = WorldApi(handle)
        self._path = f"/endpoints/{part(handle.target)}"

    async def begin(self, *, key: str) -> None:
        """Send clients away after their next answer. Raises Transient, NotFound."""
        await self._api.call("PUT", f"{self._path}/drain", {"on": True, "key": f"{key}/begin"})

    async def in_flight(self) -> int | None:
        """Completions in flight by the server's own count; None where it does not answer (a black hole)."""
        count = (await self._api.call("GET", self._path)).get("in_flight")
        return None if count is None else int(count)

    async def end(self, *, key: str) -> None:
        """Keep connections again. Raises Transient, NotFound."""
        await self._api.call("PUT", f"{self._path}/drain", {"on": False, "key": f"{key}/end"})


def _capacity(document: dict[str, Any]) -> Capacity:
    return Capacity(int(document["desired"]), int(document["ready"]), int(document["limit"]))
