"""What a drill's own fault brings about in a service, told apart from real trouble. Pure.

A drill is a rehearsal on purpose: the failover that it provokes is no flapping, however the drill ends. Everything
else that happens meanwhile is as real as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import Assessment

LINGER = timedelta(seconds=60)
"""So long after a fault has come out, the failover that it brought about may still begin: who waited for a quorum, for
``confirm`` or for the governor. What begins later is taken for real."""


@dataclass(frozen=True, slots=True)
class Faulted:
    """A fault that a drill has put in at an endpoint of the service."""

    drill: str
    endpoint: EndpointId
    since: datetime
    until: datetime
    """When it came out, or comes out by itself."""
    out: bool = False
    """It has been taken out: a late word that it goes in is too late."""


def put_in(known: Faulted | None, drill: str, endpoint: EndpointId, until: datetime, now: datetime) -> Faulted:
    """What is known once *drill* says that its fault goes in. The same again, or after its end, changes nothing."""
    if known is not None and known.drill == drill:
        return known
    return Faulted(drill, endpoint, now, until)


def taken_out(known: Faulted | None, drill: str, now: datetime) -> Faulted | None:
    """What is known once *drill* says that its fault is out; one that had expired before was out then."""
    if known is None or known.drill != drill or known.out:
        return known
    return replace(known, until=min(known.until, now), out=True)


def provoked_by(
    known: Faulted | None,
    move: Move,
    found: tuple[Assessment, ...],
    detected: tuple[tuple[EndpointId, datetime], ...],
    now: datetime,
) -> str | None:
    """The drill whose fault *move* flees from; None: the trouble is real, as far as anybody can tell.

    In doubt it is real: the move must leave the drilled endpoint, and no other; that must have begun to fail while the
    fault was in, and have been found down after it went in.
    """
    if known is None or move.kind is not MoveKind.FAILOVER or move.source != (known.endpoint,):
        return None
    down = dict(detected).get(known.endpoint, now)
    first = next((each.first_bad for each in found if each.endpoint == known.endpoint), None)
    began = down if first is None else min(first, down)
    own = known.since <= down and began <= known.until and now <= known.until + LINGER
    return known.drill if own else None
