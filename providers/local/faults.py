"""Faults in the local world. The world keeps the deadline, so a fault comes out even when everybody else is dead."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.core.topology import Workload
from providers.base import FaultKind, FaultState, NotFound
from providers.local.api import WorldApi, part


class LocalFaults:
    """FaultControl over the world's control API."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle without the world's URL."""
        self._api = WorldApi(handle)

    async def inject(self, kind: FaultKind, target: str, *, key: str, deadline: datetime) -> FaultState:
        """Put the fault in until *deadline* at *target*: an endpoint, a region or a cloud of the world.

        The world shortens a deadline further away than an hour. Raises Transient, Refused.
        """
        body = {"kind": kind.value, "target": target, "deadline": deadline.isoformat()}
        return _state(await self._api.call("PUT", f"/faults/{part(key)}", body))

    async def clear(self, *, key: str) -> FaultState | None:
        """Take the fault out and leave a tombstone; None when it never was there. Raises Transient."""
        return await self._maybe("DELETE", key)

    async def state(self, *, key: str) -> FaultState | None:
        """The fault now; None when it never was there. Raises Transient."""
        return await self._maybe("GET", key)

    async def _maybe(self, method: str, key: str) -> FaultState | None:
        try:
            return _state(await self._api.call(method, f"/faults/{part(key)}"))
        except NotFound:
            return None


def _state(document: dict[str, Any]) -> FaultState:
    return FaultState(
        id=str(document["key"]),
        kind=FaultKind(document["kind"]),
        target=str(document["target"]),
        active=bool(document["active"]),
        expired=bool(document["expired"]),
    )
