"""Draining where Google does it: a revision or a deployed model that gets no more requests finishes those it has.

Instances of Cloud Run that are shut down are given ten seconds (https://cloud.google.com/run/docs/container-contract).
There is nothing to begin and nothing to end.
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
        """Nothing: Google drains by itself once traffic has moved."""

    async def in_flight(self) -> int | None:
        """Requests in flight by the model server's own metrics; None without the option metrics."""
        return await running(self._metrics) if self._metrics else None

    async def end(self, *, key: str) -> None:
        """Nothing was begun."""
