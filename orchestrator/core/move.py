"""A move: which way a service's traffic should go, and why. The thing that is decided, planned and recorded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.names import Domain, EndpointId, ServiceId
from orchestrator.core.topology import Weights


class MoveKind(StrEnum):
    FAILOVER = "failover"
    """Unplanned: the active endpoint is down."""
    SWITCHOVER = "switchover"
    """Planned: away from an endpoint that works."""
    FAILBACK = "failback"
    """Planned: the way home."""
    PREPARATION = "preparation"
    """No traffic moves: capacity is made ready, or people are asked and told."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """Who or what asked for a move."""

    by: str
    """``automatic``, a person's name, or ``drill:<id>``."""
    reason: str
    overrides: tuple[str, ...] = ()
    """Safety rules set aside by name; each needs a person and a reason."""


@dataclass(frozen=True, slots=True)
class Move:
    service: ServiceId
    kind: MoveKind
    source: tuple[EndpointId, ...]
    """The endpoints that lose traffic."""
    target: EndpointId
    """The endpoint that gains it."""
    after: Weights
    failing: tuple[Domain, ...] = ()
    """Domains whose workers must not carry the steps out."""

    @property
    def planned(self) -> bool:
        """Whether the source still serves: then it is drained, and the world may be put back."""
        return self.kind is not MoveKind.FAILOVER


@dataclass(frozen=True, slots=True)
class Objection:
    """A reason not to act, as a value."""

    rule: str
    """Stable name: what ``--override`` takes and docs explain."""
    text: str
    """One sentence for a person."""
    asks: bool = False
    """A person may decide this one: it turns *act* into *ask*, not into *hold*."""
