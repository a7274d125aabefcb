"""What the page needs of the control plane, and nothing more."""

from __future__ import annotations

from typing import Protocol

from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record
from workflows.wire import RunState, ServiceStatus


class Plane(Protocol):
    """The questions the page asks. ``orchestrator.runtime.control.ControlPlane`` answers them.

    All raise ControlPlaneAway; those about a run raise NoSuch. None changes anything: the page is read-only.
    """

    async def statuses(self) -> tuple[ServiceStatus, ...]:
        """All services, sorted by id."""

    async def record(self, run: RunId, service: ServiceId | None = None) -> Record:
        """A run's record, running or closed."""

    async def run_state(self, run: RunId, service: ServiceId | None = None) -> RunState:
        """What a run under way waits for."""
