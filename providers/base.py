"""The seam: what the orchestrator asks of the world, and the errors the world may answer with.

Every verb is idempotent by its *key* (an effect token, ``run/step``): asked twice with one key, it does the
thing once and answers the same. Verbs may raise the errors below and nothing else; times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from orchestrator.core.errors import FailoverError
from orchestrator.core.probe import Outcome
from orchestrator.core.steering import Routing, SteeringChange
from orchestrator.core.topology import Answer, ProbeSpec, Shares


class ProviderError(FailoverError):
    """Base of what a provider may raise. The name says what the caller does."""


class Transient(ProviderError):
    """It may work next time: retry."""


class Throttled(Transient):
    """The provider asks for patience: retry later."""


class Refused(ProviderError):
    """The provider understood and said no: stop."""


class NotFound(Refused):
    """The thing named does not exist: stop, and mend the topology."""


class Unauthenticated(Refused):
    """The key or token is not accepted: stop, and mend the secret."""


class Forbidden(Refused):
    """The key is known but not allowed to do this: stop, and mend the grant."""


class NoCapacity(Refused):
    """There is no room to scale: stop, or choose another target."""


class StaleGeneration(Refused):
    """Somebody else wrote first: stop, and plan again."""


class ChangedOutside(Refused):
    """The answer was edited by hand under our generation: hold, and tell people."""


class Inconclusive(ProviderError):
    """Neither yes nor no: ask a person. No data is never a yes."""


class UndoFailed(ProviderError):
    """Neither forward nor back: call a human."""


class NoWayBack(UndoFailed):
    """Going back would make it worse, so it was not tried: what the step did stands, for certain."""


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What one authoritative server says now."""

    server: str
    answer: Answer | None
    error: str | None = None
    """Why there is no answer: one short phrase."""


@runtime_checkable
class Steering(Protocol):
    """How clients are spread over endpoints."""

    shares: Shares

    async def read(self) -> Routing:
        """The routing at the primary, fence included. Raises Transient, NotFound, Unauthenticated, BadFence."""
        ...

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set; returns the routing that now stands.

        Idempotent by ``change.fence.token``: a write whose reply was lost is recognised as our own.
        Raises StaleGeneration, ChangedOutside, Transient, Forbidden, Unauthenticated.
        """
        ...

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What every authoritative server says now. Never raises for one server's silence."""
        ...


@dataclass(frozen=True, slots=True)
class Capacity:
    """Replicas of a workload."""

    desired: int
    ready: int
    limit: int | None = None
    """The most it may be scaled to; None: not known."""


@runtime_checkable
class WorkloadControl(Protocol):
    """The capacity behind an endpoint."""

    async def read(self) -> Capacity:
        """Raises Transient, NotFound, and NoCapacity where what was asked for will not come: a shortage, a quota."""
        ...

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Ask for *replicas* and return at once; readiness is read. Raises Transient, NoCapacity, NotFound."""
        ...


@runtime_checkable
class DrainControl(Protocol):
    """Letting work in flight finish."""

    async def begin(self, *, key: str) -> None:
        """Take no new work where the provider can say so; DNS-steered endpoints need nothing here."""
        ...

    async def in_flight(self) -> int | None:
        """Requests in flight by the endpoint's own count; None: it cannot tell."""
        ...

    async def end(self, *, key: str) -> None:
        """Take new work again: the undo of *begin*."""
        ...


@dataclass(frozen=True, slots=True)
class Sign:
    """What a source of signals says now."""

    active: bool
    text: str
    """In a phrase, without secrets: ``3 XID errors in 5 min``."""
    since: datetime | None = None


@runtime_checkable
class Signal(Protocol):
    """Outside evidence on one endpoint: an alarm, a notice. It never says that an endpoint works."""

    async def read(self) -> Sign:
        """What it says now. No data is no signal where the source cannot tell the two apart, and Inconclusive where it
        can. Raises Transient, NotFound, Unauthenticated, Forbidden, Inconclusive."""
        ...


class Severity(StrEnum):
    ERROR = "error"
    """Traffic must not come before it is mended."""
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class NotReady:
    """One finding: what is missing for traffic to come."""

    severity: Severity
    reason: str
    """With figures and units: ``the replica is 45 s behind, above 30 s``."""
    cure: str


@runtime_checkable
class Readiness(Protocol):
    """Whether state that an endpoint needs is there: examined just before traffic comes."""

    async def examine(self) -> tuple[NotReady, ...]:
        """Everything that is missing; empty: ready. What cannot be known is never ready.

        Raises Transient, NotFound, Unauthenticated, Forbidden, Refused, Inconclusive.
        """
        ...


class FaultKind(StrEnum):
    BLACKHOLE = "region-blackhole"
    """No answer and no reset, for connections old and new."""
    KILL = "process-kill"
    ERRORS = "errors-5xx"
    SLOW = "slow-first-token"
    HOLLOW = "health-lies"
    """/health says yes, completions fail."""


@dataclass(frozen=True, slots=True)
class FaultState:
    """What the world says about one fault."""

    id: str
    kind: FaultKind
    target: str
    active: bool
    expired: bool
    """It came out by itself at its deadline: nobody cleared it."""


@runtime_checkable
class FaultControl(Protocol):
    """Putting a fault in on purpose. It always comes out: at the deadline by itself."""

    async def inject(self, kind: FaultKind, target: str, *, key: str, deadline: datetime) -> FaultState:
        """Put the fault in until *deadline* (absolute, never extended by a retry).

        After ``clear(key)`` a late inject with the same key does nothing (a tombstone stands).
        """
        ...

    async def clear(self, *, key: str) -> FaultState | None:
        """Take the fault out and leave a tombstone; None when it never was there."""
        ...

    async def state(self, *, key: str) -> FaultState | None:
        """The fault now; None when it never was there."""
        ...


@runtime_checkable
class ProbeClient(Protocol):
    """Asks one endpoint one question."""

    async def ask(self, spec: ProbeSpec, url: str, *, name: str, fresh: bool = False) -> Outcome:
        """Never raises for what the endpoint does: that is the outcome. *fresh* forces a new connection."""
        ...
