"""Last good: where traffic went when all was well for long enough. Pure.

A routing that passed its gates is not yet good: it is good once it has served for the bake time, and it is no longer
what to go back to if it ended in a crash, however long it had served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.steering import serving
from orchestrator.core.topology import Weights


@dataclass(frozen=True, slots=True)
class Ground:
    """The topology as one service stands on it."""

    revision: int
    shape: str = ""
    """A fingerprint of what that revision says of the service; empty: not known."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A routing that stands, and since when all that carries its traffic has been well."""

    weights: Weights
    generation: int
    revision: int
    """The topology's revision under which it stands now."""
    well_since: datetime | None = None
    """None: not all of its endpoints are well."""
    revised: datetime | None = None
    """When that revision came while it served well; None: it has served well under no other."""
    proven: Ground | None = None
    """An earlier topology under which it had served well for the bake time, and does so since."""
    shape: str = ""
    """A fingerprint of what the revision says of the service; empty: not known."""


@dataclass(frozen=True, slots=True)
class LastGood:
    """A routing that had served well for the bake time."""

    weights: Weights
    generation: int
    revision: int
    """The newest revision of the topology under which it had served well for so long."""
    until: datetime
    """When it was last seen to serve well."""
    shape: str = ""
    """A fingerprint of what that revision said of the service; empty: not known."""


def seen(
    standing: Standing | None,
    *,
    weights: Weights | None,
    generation: int,
    ground: Ground,
    found: tuple[Assessment, ...],
    bake_s: float,
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
    if not same or standing is None or since is None or standing.well_since is None:
        return Standing(weights, generation, ground.revision, since, shape=ground.shape)
    if ground.revision == standing.revision:
        return replace(standing, well_since=since, shape=ground.shape)
    proven = _baked_under(standing, bake_s=bake_s, now=now)
    return Standing(weights, generation, ground.revision, since, now, proven, ground.shape)


def left(standing: Standing | None, good: LastGood | None, *, bake_s: float, now: datetime) -> LastGood | None:
    """What is last good once *standing* is replaced: itself if it served well to its end, and for *bake_s*."""
    if standing is None or standing.well_since is None:
        return good
    if (now - standing.well_since).total_seconds() < bake_s:
        return good
    under = _baked_under(standing, bake_s=bake_s, now=now) or Ground(standing.revision, standing.shape)
    return LastGood(standing.weights, standing.generation, under.revision, now, under.shape)


def _baked_under(standing: Standing, *, bake_s: float, now: datetime) -> Ground | None:
    """The newest topology under which *standing* has served well for *bake_s*; None: under none alone."""
    since = standing.revised or standing.well_since
    baked = since is not None and (now - since).total_seconds() >= bake_s
    return Ground(standing.revision, standing.shape) if baked else standing.proven


def elsewhere(good: LastGood, ground: Ground) -> str:
    """What people must know before they go back to *good* while *ground* is in force; empty: it is of that one."""
    if good.revision == ground.revision:
        return ""
    served = f"this routing served well under revision {good.revision} of the topology"
    if good.shape and good.shape == ground.shape:
        return f"{served}; revision {ground.revision}, which is in force, says the same of this service"
    return (
        f"{served}; revision {ground.revision} is in force: failover topology restore --revision {good.revision} goes "
        "back to it"
    )


def missing(good: LastGood, there: tuple[EndpointId, ...], *, revision: int) -> str:
    """Why *good* cannot be gone back to while only the endpoints *there* are, and what mends it; empty: it can."""
    lost = [endpoint for endpoint in serving(good.weights) if endpoint not in there]
    if not lost:
        return ""
    names, verb = " and ".join(lost), "are" if len(lost) > 1 else "is"
    if good.revision == revision:
        gone = f"the routing that served well last sends traffic to {names}, which {verb} not in the topology any more"
        return f"{gone}; name a target with --to"
    return (
        f"the routing that served well last sends traffic to {names}, which {verb} not in revision {revision} of the "
        f"topology: failover topology restore --revision {good.revision} brings back what it served well under"
    )
