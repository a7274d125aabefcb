"""The control plane as its users see it: what the CLI and the status page call. One facade over Temporal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from orchestrator.core.decision import Request
from orchestrator.core.errors import FailoverError
from orchestrator.core.move import Objection
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Topology
from runbooks.plan import Plan
from workflows.wire import (
    Applied,
    DrillReport,
    DrillRequest,
    FailoverRequest,
    Pause,
    Refusal,
    ServiceStatus,
    SetMode,
    Started,
)


class ControlPlaneAway(FailoverError):
    """Temporal, or every worker, cannot be reached. Exit status 5."""


class NoSuch(FailoverError):
    """No such service, run or drill. Exit status 4."""


class Stale(FailoverError):
    """The topology was changed by somebody else meanwhile. Exit status 3."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a service would or would not act now."""

    decision: str
    """``hold``, ``ask`` or ``go``."""
    reasons: tuple[Objection, ...]
    plan: Plan | None = None
    """What it would do, or would have done."""


@dataclass(frozen=True, slots=True)
class DrillSchedule:
    name: str
    cron: str
    request: DrillRequest
    paused: bool
    note: str
    next_runs: tuple[str, ...]


class ControlPlane:
    """Everything that a person can ask of the orchestrator. Raises ControlPlaneAway, NoSuch, BadInput."""

    @classmethod
    async def connect(cls, address: str | None = None, namespace: str | None = None) -> ControlPlane:
        """Connect by Temporal's environment configuration; arguments win over it."""
        raise NotImplementedError

    async def topology(self) -> tuple[Applied, Topology]:
        """The topology in force. NoSuch when nothing was ever applied."""
        raise NotImplementedError

    async def apply(self, topology: Topology, *, expects: int, by: str) -> Applied:
        """Put *topology* in force if *expects* is still the revision (0: none yet). Raises Stale."""
        raise NotImplementedError

    async def statuses(self) -> tuple[ServiceStatus, ...]:
        """All services, sorted by id."""
        raise NotImplementedError

    async def status(self, service: ServiceId) -> ServiceStatus:
        raise NotImplementedError

    async def explain(self, service: ServiceId) -> Explanation:
        """What the orchestrator would do by itself now, and why (not)."""
        raise NotImplementedError

    async def plan(self, service: ServiceId, request: Request) -> Plan | Refusal:
        """The plan that *request* would become now; nothing is started."""
        raise NotImplementedError

    async def request(self, service: ServiceId, request: FailoverRequest) -> Started | Refusal:
        """Start a run. A retry with the same id answers the same."""
        raise NotImplementedError

    async def pause(self, service: ServiceId, pause: Pause) -> None:
        raise NotImplementedError

    async def resume(self, service: ServiceId, pause: Pause) -> None:
        """Automation goes on; also releases a service that is held."""
        raise NotImplementedError

    async def set_mode(self, service: ServiceId, mode: SetMode) -> None:
        raise NotImplementedError

    async def adopt(self, service: ServiceId, *, by: str) -> Routing:
        """Take the live record under the fence, answer unchanged."""
        raise NotImplementedError

    async def record(self, run: RunId, service: ServiceId | None = None) -> Record:
        """A run's record, running or closed (as long as Temporal keeps it)."""
        raise NotImplementedError

    def follow(self, service: ServiceId, run: RunId) -> AsyncIterator[Record]:
        """The record each time it grows, until it is closed."""
        raise NotImplementedError

    async def drill(self, request: DrillRequest) -> DrillReport:
        """Start a drill; answers at once with its first report."""
        raise NotImplementedError

    async def drill_report(self, service: ServiceId, drill: str) -> DrillReport:
        raise NotImplementedError

    async def schedule_drill(self, name: str, cron: str, request: DrillRequest) -> None:
        raise NotImplementedError

    async def drill_schedules(self) -> tuple[DrillSchedule, ...]:
        raise NotImplementedError

    async def pause_schedule(self, name: str, *, paused: bool, by: str, reason: str) -> None:
        raise NotImplementedError

    async def unschedule_drill(self, name: str) -> None:
        raise NotImplementedError
