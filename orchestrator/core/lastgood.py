"""Last good: where traffic went when all was well for long enough. Pure.

A routing that passed its gates is not yet good: it is good once it has served for the bake time, and it is no longer
what to go back to if it ended in a crash, however long it had served.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.steering import serving
from orchestrator.core.topology import Weights


@dataclass(frozen=True, slots=True)
class Standing:
    """A routing that stands, and since when all that carries its traffic has been well."""

    weights: Weights
    generation: int
    revision: int
    """The topology's revision it was written under."""
    well_since: datetime | None = None
    """None: not all of its endpoints are well."""


@dataclass(frozen=True, slots=True)
class LastGood:
    """A routing that had served well for the bake time."""

    weights: Weights
    generation: int
    revision: int
    until: datetime
    """When it was last seen to serve well."""


def seen(
    standing: Standing | None,
    *,
    weights: Weights | None,
    generation: int,
    revision: int,
    found: tuple[Assessment, ...],
    now: datetime,
) -> Standing | None:
    """What stands now, as far as *found* tells; None where nobody knows where the traffic goes.

    An endpoint of which nobody can say anything leaves the time as it is: silence is neither health nor failure.
    """
    if weights is None:
        return None
    verdicts = {each.endpoint: each.verdict for each in found}
    mine = [verdicts.get(endpoint, Verdict.UNKNOWN) for endpoint in serving(weights)]
    same = standing is not None and (standing.generation, standing.weights) == (generation, weights)
    since = standing.well_since if same and standing is not None else None
    if any(verdict in {Verdict.DOWN, Verdict.DEGRADED} for verdict in mine):
        since = None
    elif since is None and mine and all(verdict is Verdict.HEALTHY for verdict in mine):
        since = now
    return Standing(weights, generation, revision, since)


def left(standing: Standing | None, good: LastGood | None, *, bake_s: float, now: datetime) -> LastGood | None:
    """What is last good once *standing* is replaced: itself if it served well to its end, and for *bake_s*."""
    if standing is None or standing.well_since is None:
        return good
    if (now - standing.well_since).total_seconds() < bake_s:
        return good
    return LastGood(standing.weights, standing.generation, standing.revision, now)
