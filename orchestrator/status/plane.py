"""What the page needs of the control plane, and nothing more."""

from __future__ import annotations

from typing import Protocol

from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record
from workflows.wire import ServiceStatus


class Plane(Protocol):
    """The two questions the page asks. ``orchestrator.runtime.control.ControlPlane`` answers them.

    Both raise ControlPlaneAway; ``record`` raises NoSuch. Neither changes anything: the page is read-only.
    """

    async def statuses(self) -> tuple[ServiceStatus, ...]:
        """All services, sorted by id."""

    async def record(self, run: RunId, service: ServiceId | None = None) -> Record:
        """A run's record, running or closed."""
