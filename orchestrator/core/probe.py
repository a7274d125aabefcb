"""One probe's outcome: what a vantage learned by asking an endpoint once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OutcomeKind(StrEnum):
    PASSED = "passed"
    SLOW = "slow"
    """Right, but later than ``expect.latency_s``."""
    THROTTLED = "throttled"
    """429, or 503 with Retry-After: overload is not death."""
    MISMATCH = "mismatch"
    """Reachable, but unfit to serve under the name: certificate wrong, expired or about to."""
    REFUSED = "refused"
    """Connection refused or reset."""
    UNREACHABLE = "unreachable"
    """No connection within the time."""
    TIMED_OUT = "timed-out"
    """Connected, no complete answer within the time."""
    FAILED = "failed"
    """A complete answer, and a wrong one: 5xx, body, JSON, content."""


PASSING = frozenset({OutcomeKind.PASSED})
SOFT = frozenset({OutcomeKind.SLOW, OutcomeKind.THROTTLED, OutcomeKind.MISMATCH})
"""Count towards ``degraded``, never towards ``down``."""
HARD = frozenset({OutcomeKind.REFUSED, OutcomeKind.UNREACHABLE})
"""Call for fast confirm: the answer is quick, and asking again costs the endpoint nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: OutcomeKind
    latency_s: float
    detail: str = ""
    """One short phrase for a person: ``connect refused``, ``status 503``."""
    completed: bool = False
    """A model finished an inference: the proof that a failover target needs."""
