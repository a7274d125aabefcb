"""Load as it was observed: the requests in flight at each endpoint, by its own count. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.core.names import EndpointId

WINDOW_S = 60.0
"""Of so long the most that was in flight is what counts: one reading says nothing of the moment before it."""
KEPT_S = 900.0
"""An observation is forgotten after so long, unless its endpoint has been down since: the load of what is down is
known from before only, and a question that it has raised must not go away by waiting."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The most requests that were in flight at one endpoint within ``WINDOW_S``, and when that was."""

    endpoint: EndpointId
    in_flight: int
    at: datetime


def gathered(*said: Observed) -> tuple[Observed, ...]:
    """One observation for each endpoint: the most that anybody saw within ``WINDOW_S`` of the latest one; sorted.

    What was seen before that says nothing any more, however much it was.
    """
    latest: dict[EndpointId, datetime] = {}
    for each in said:
        latest[each.endpoint] = max(each.at, latest.get(each.endpoint, each.at))
    most: dict[EndpointId, Observed] = {}
    for each in said:
        if latest[each.endpoint] - each.at > timedelta(seconds=WINDOW_S):
            continue
        before = most.get(each.endpoint)
        if before is None or (each.in_flight, each.at) > (before.in_flight, before.at):
            most[each.endpoint] = each
    return tuple(most[endpoint] for endpoint in sorted(most))


def taken_in(
    known: tuple[Observed, ...], told: tuple[Observed, ...], down: tuple[tuple[EndpointId, datetime], ...]
) -> tuple[Observed, ...]:
    """*known* with what is *told* now. *down* says since when endpoints have been down: what was seen at one after that
    is not believed, for its clients have left it, and a vantage beside it may still find it well and idle."""
    since = dict(down)
    return gathered(*known, *(each for each in told if each.endpoint not in since or each.at < since[each.endpoint]))


def remembered(
    known: tuple[Observed, ...], down: tuple[tuple[EndpointId, datetime], ...], *, now: datetime
) -> tuple[Observed, ...]:
    """*known* without what is too old to say anything; *down* says since when endpoints have been down."""
    since, kept = dict(down), timedelta(seconds=KEPT_S)
    return tuple(each for each in known if min(now, since.get(each.endpoint, now)) - each.at <= kept)


def while_shifting(known: tuple[Observed, ...]) -> tuple[Observed, ...]:
    """*known* while traffic is on its way from one endpoint to another: the same requests were seen at both within one
    window, so that only the most that any of them had is sure to be there."""
    most = max(known, key=lambda each: each.in_flight, default=None)
    return tuple(each if each is most else replace(each, in_flight=0) for each in known)
