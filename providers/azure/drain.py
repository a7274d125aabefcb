"""Draining where Azure does it: what gets no more requests finishes those it has, and there is nothing to begin.

A replica of a container app that is stopped is given its termination grace period, 30 s where the app says nothing
(https://learn.microsoft.com/azure/container-apps/application-lifecycle-management#shutdown).
"""

from __future__ import annotations

from orchestrator.core.topology import Workload
from providers.inflight import running


class ManagedDrain:
    """DrainControl that waits: it counts, where the model server tells its count."""

    def __init__(self, handle: Workload) -> None:
        """Nothing is asked here."""
        self._metrics = dict(handle.options).get("metrics", "")

    async def begin(self, *, key: str) -> None:
        """Nothing: no new requests come once traffic has moved."""

    async def in_flight(self) -> int | None:
        """Requests in flight by the model server's own metrics; None without the option metrics."""
        return await running(self._metrics) if self._metrics else None

    async def end(self, *, key: str) -> None:
        """Nothing was begun."""
