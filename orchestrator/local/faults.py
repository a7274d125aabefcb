"""Which faults stand, until when, and which came out by themselves. Pure: the caller brings time and effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.core.errors import BadInput
from orchestrator.core.names import Domain, encloses
from orchestrator.local.layout import Place

LONGEST = timedelta(hours=1)
"""No fault stays in for longer, whatever its deadline says."""


class Kind(StrEnum):
    """The values of ``providers.base.FaultKind``; the world speaks them over HTTP and imports no provider."""

    BLACKHOLE = "region-blackhole"
    KILL = "process-kill"
    ERRORS = "errors-5xx"
    SLOW = "slow-first-token"
    HOLLOW = "health-lies"


@dataclass(frozen=True, slots=True)
class Fault:
    key: str
    kind: Kind
    target: str
    """An endpoint, a region, or a cloud."""
    endpoints: tuple[str, ...]
    deadline: datetime
    active: bool
    expired: bool = False


class FaultBoard:
    """Every fault that was ever asked for, by key."""

    def __init__(self, places: tuple[Place, ...]) -> None:
        self._places = places
        self._faults: dict[str, Fault] = {}
        self._tombstones: set[str] = set()

    def inject(self, kind: Kind, target: str, *, key: str, deadline: datetime, now: datetime) -> Fault:
        """Put a fault in, once per *key*: a retry answers what stands and moves no deadline.

        A key that was cleared, even before it came, does nothing. Raises BadInput for an unknown target.
        """
        if key in self._faults:
            return self._faults[key]
        endpoints = tuple(place.id for place in self._places if _hits(place, target))
        if not endpoints:
            known = ", ".join(name for place in self._places for name in (place.id, place.region))
            raise BadInput(f"the local world has no endpoint, region or cloud called '{target}'; there are: {known}")
        deadline = min(deadline, now + LONGEST)
        buried, late = key in self._tombstones, deadline <= now
        fault = Fault(key, kind, target, endpoints, deadline, not buried and not late, late and not buried)
        self._faults[key] = fault
        return fault

    def clear(self, key: str) -> Fault | None:
        """Take a fault out and leave a tombstone; None when it never was there."""
        self._tombstones.add(key)
        fault = self._faults.get(key)
        if fault is not None and fault.active:
            fault = self._faults[key] = replace(fault, active=False)
        return fault

    def expire(self, now: datetime) -> tuple[Fault, ...]:
        """Take out the faults whose deadline has come; returns them."""
        due = [fault for fault in self._faults.values() if fault.active and fault.deadline <= now]
        out = tuple(replace(fault, active=False, expired=True) for fault in due)
        self._faults.update((fault.key, fault) for fault in out)
        return out

    def state(self, key: str) -> Fault | None:
        return self._faults.get(key)

    def all(self) -> tuple[Fault, ...]:
        return tuple(self._faults.values())

    def standing(self, endpoint: str) -> frozenset[Kind]:
        """The kinds of fault that *endpoint* suffers now."""
        return frozenset(fault.kind for fault in self._faults.values() if fault.active and endpoint in fault.endpoints)


def _hits(place: Place, target: str) -> bool:
    return place.id == target or encloses(Domain(target), Domain(place.region))
