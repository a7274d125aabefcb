"""Places where shares are steered or capacity is scaled, for the contracts: a real server, or one that keeps state.

A new provider joins the contracts with one class for each part here, and one line in ``PLACES`` of their tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Routing, SteeringChange, next_lineage, shares_of
from orchestrator.core.topology import SteeringSpec, Weights, Workload
from providers.base import DrainControl, Steering, WorkloadControl

EU, US = EndpointId("eu"), EndpointId("us")


class Trouble(StrEnum):
    """What goes wrong on the way to a provider."""

    THROTTLED = "throttled"
    """The provider asks for patience. Nothing has happened."""
    BROKEN = "broken"
    """The provider fails (500). Nothing has happened."""
    LATE = "late"
    """What was asked happens, and no answer comes."""
    EXPIRED = "expired"
    """The credentials are no longer good."""
    FORBIDDEN = "forbidden"
    """The credentials are good, for something else."""
    AWAY = "away"
    """Nobody listens."""


class Troubled(Protocol):
    """A place whose way can be troubled."""

    cannot: frozenset[Trouble]
    """Troubles that cannot exist there: a socket has no credentials that expire."""

    async def open(self) -> None: ...

    def close(self) -> None: ...

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        """From now on so many *writes* meet this trouble (EXPIRED, FORBIDDEN and AWAY: reads, too)."""
        ...

    @property
    def effects(self) -> int:
        """How many writes have changed something here so far, by the server's own count."""
        ...


class SteeredPlace(Troubled, Protocol):
    """Where traffic is steered by shares. It opens with all traffic at ``eu`` and no fence."""

    spec: SteeringSpec
    targets: Mapping[EndpointId, str]
    """What the steering calls each endpoint: the text of its answer's target."""

    def steering(self) -> Steering:
        """A writer of its own, as another worker would have it."""
        ...

    def missing(self) -> Steering:
        """A steering of something that is not there."""
        ...

    async def now(self) -> dict[str, int]:
        """Percent by target as a client is served, zeros left out, without going through the provider."""
        ...

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        """Turn it as a person would: console, socket, file. The fence is left alone."""
        ...


class ScaledPlace(Troubled, Protocol):
    """Capacity behind an endpoint. It opens with 2 replicas desired and ready, and can go up to 4."""

    handle: Workload

    def workload(self) -> WorkloadControl: ...

    def drain(self) -> DrainControl | None:
        """None where nothing can be told to drain."""
        ...

    def missing(self) -> WorkloadControl:
        """Control of something that is not there."""
        ...

    async def replicas(self) -> int:
        """The replicas desired, without going through the provider."""
        ...


def weights(eu: int, us: int) -> Weights:
    return ((EU, eu), (US, us))


def change(
    place: SteeredPlace, routing: Routing, eu: int, us: int, *, run: str = "run-1", step: str = "steer"
) -> SteeringChange:
    """The compare-and-set that replaces *routing*, as it was read, by these percents."""
    answer = shares_of(((place.targets[EU], eu), (place.targets[US], us)))
    lineage = next_lineage(routing.fence)
    return SteeringChange(routing.generation, routing.answer, weights(eu, us), answer, run, step, lineage)
