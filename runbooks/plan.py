"""A plan: a runbook resolved against the topology. Immutable, with no choice left in it.

It carries everything its execution needs (addresses, fence, undo, budgets), so that the failover workflow and
break-glass carry out the same value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.core.move import MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer, ProbeSpec, SteeringSpec, Weights, Workload

OnFailure = Literal["rollback", "halt", "continue"]


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint as a step needs it: where it is and how it is asked."""

    endpoint: EndpointId
    url: str
    name: str
    """The service's host name, for probes *as the name*."""
    region: Domain
    probes: tuple[ProbeSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Promote:
    """Scale the target up (dark, before traffic), wait until it is ready, warm the model."""

    endpoint: EndpointId
    workload: Workload
    replicas: int
    was: int | None = None
    """Replicas before, for the undo; None: read when the step starts and recorded in its result."""
    kind: Literal["promote"] = "promote"


@dataclass(frozen=True, slots=True)
class Verify:
    """Require *passes* good answers in a row from the target: a completed inference where a chat probe exists."""

    place: Place
    passes: int
    kind: Literal["verify"] = "verify"


@dataclass(frozen=True, slots=True)
class Steer:
    """Move the weights by compare-and-set. The fence and the answer to replace are in the plan."""

    steering: SteeringSpec
    expects: int
    was: Answer | None
    weights: Weights
    answer: Answer
    lineage: tuple[tuple[int, str], ...] = ()
    before: Weights | None = None
    """Weights to go back to; None where the old answer was no known set of endpoints."""
    stands: Fence | None = None
    """The fence as it was read: a write made by hand names it to the letter."""
    kind: Literal["steer"] = "steer"


@dataclass(frozen=True, slots=True)
class Converge:
    """Ask every authoritative server until each gives *answer*; then hold for one TTL so that caches follow."""

    steering: SteeringSpec
    answer: Answer
    hold_s: float
    """Clients that obey the TTL have moved after this."""
    kind: Literal["converge"] = "converge"


@dataclass(frozen=True, slots=True)
class Drain:
    """Let requests in flight finish at the old endpoint, bounded by the step's timeout."""

    endpoint: EndpointId
    workload: Workload
    kind: Literal["drain"] = "drain"


@dataclass(frozen=True, slots=True)
class Demote:
    """Return the old endpoint to standby capacity. Only when the routing shows it at weight 0 under our generation."""

    endpoint: EndpointId
    workload: Workload
    replicas: int
    steering: SteeringSpec
    bake_s: float
    kind: Literal["demote"] = "demote"


Work = Promote | Verify | Steer | Converge | Drain | Demote


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    work: Work
    timeout_s: float
    attempts: int
    on_failure: OnFailure
    text: str
    """What it does, in one line: what the approver reads and the golden tests compare."""
    undo: str | None = None
    """What its undo does, in one line; None: there is nothing to undo."""


@dataclass(frozen=True, slots=True)
class Plan:
    run: RunId
    service: ServiceId
    kind: MoveKind
    trigger: Trigger
    runbook: str
    source: tuple[EndpointId, ...]
    target: EndpointId
    before: Weights
    after: Weights
    revision: int
    generation: int
    objective_s: float
    steps: tuple[Step, ...]
    failing: tuple[Domain, ...] = ()
    objections: tuple[Objection, ...] = ()

    @property
    def planned(self) -> bool:
        """Whether the source still serves."""
        return self.kind is not MoveKind.FAILOVER
