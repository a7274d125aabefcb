"""Crashes: when a service did not serve as it should, as it remembers them for the topology's sake. Pure.

A crash comes later than every gate: an endpoint that carried traffic was down for longer than a blip, traffic had to be
moved away from it unplanned, or a run was given up half done. It costs no event: it is noted where a service looks
anyway, and asked for when somebody wants to know which revision of the topology was good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.core.move import MoveKind
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import serving
from orchestrator.core.topology import Weights

PER_REVISION = 2
"""The newest of each sort that are kept of one revision: the last one decides."""
REVISIONS = 11
"""Revisions of which crashes are kept, as many as the topology keeps itself."""
LONGEST_TEXT = 200

Since = tuple[tuple[EndpointId, datetime], ...]
"""The endpoints that are down now, and when each was found so."""


@dataclass(frozen=True, slots=True)
class Crash:
    """One time at which a service did not serve as it should."""

    began: datetime
    seen: datetime
    """When it was last known to last: until its endpoint was well again, wherever its traffic went."""
    text: str
    endpoint: EndpointId | None = None
    """The endpoint that was down; None: a run was given up."""
    saved: bool = False
    """Traffic was moved to where it was served, so that the topology has done what it is there for."""
    revision: int = 0
    """The revision under which it was noted."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one service knows of how it served."""

    service: ServiceId
    crashes: tuple[Crash, ...] = ()
    since: datetime | None = None
    """It knows nothing from before; None: it knows all that there was."""


def noted(
    crashes: tuple[Crash, ...],
    found: tuple[Assessment, ...],
    *,
    weights: Weights | None,
    since: Since,
    blip_s: float,
    revision: int,
    now: datetime,
) -> tuple[Crash, ...]:
    """*crashes* after a look that *found* how the endpoints are: those that go on, and those that begin.

    What is down for less than *blip_s*, or carried no traffic, is none. Nobody's word is none either.
    """
    begun = dict(since)
    carrying = set(serving(weights)) if weights is not None else set()
    for each in found:
        if each.verdict is not Verdict.DOWN or each.endpoint not in begun:
            continue
        began = begun[each.endpoint]
        lasting = each.endpoint in carrying and (now - began).total_seconds() >= blip_s
        text = f"{each.endpoint} was {each.text}"[:LONGEST_TEXT]
        crashes = _with(crashes, Crash(began, now, text, each.endpoint, revision=revision), new=lasting)
    return _newest(crashes)


def ran(crashes: tuple[Crash, ...], record: Record, since: Since, *, revision: int, now: datetime) -> tuple[Crash, ...]:
    """*crashes* after the run of *record*: an unplanned one is a crash, however well it went, and so is one given up.

    A drill is none: neither its way home nor, once that is complete, anything from the failover that it led to.
    """
    if record.drill is not None:
        return crashes
    if record.kind is MoveKind.FAILOVER and record.status in {RunStatus.COMPLETED, RunStatus.HALTED, RunStatus.UNDONE}:
        detected = record.first(Mark.DETECTED)
        noticed = detected.at if detected is not None else record.started
        for endpoint in record.source:
            text = f"{endpoint} failed: run {record.run} moved its traffic away"
            began = dict(since).get(endpoint, noticed)
            saved = record.status is RunStatus.COMPLETED
            crashes = _with(crashes, Crash(began, now, text, endpoint, saved, revision))
    if record.status is RunStatus.HALTED:
        given_up = Crash(record.started, now, f"run {record.run} was given up half done", revision=revision)
        crashes = (*crashes, given_up)
    return _newest(crashes)


def forgiven(crashes: tuple[Crash, ...], since: datetime) -> tuple[Crash, ...]:
    """*crashes* without those that began at *since* or later: they were put in on purpose."""
    return tuple(each for each in crashes if each.began < since)


def _with(crashes: tuple[Crash, ...], crash: Crash, *, new: bool = True) -> tuple[Crash, ...]:
    """*crashes* with *crash* still going on; one that is not known yet is added where it is *new*."""
    known = next((each for each in crashes if (each.endpoint, each.began) == (crash.endpoint, crash.began)), None)
    if known is None:
        return (*crashes, crash) if new else crashes
    after = replace(known, seen=crash.seen, saved=known.saved or crash.saved)
    return tuple(after if each is known else each for each in crashes)


def _newest(crashes: tuple[Crash, ...]) -> tuple[Crash, ...]:
    """The few that decide: of each revision the last ones of each sort, in the order in which they ended."""
    ordered = sorted(crashes, key=lambda each: (each.seen, each.began, each.endpoint or ""))
    left = sorted({each.revision for each in ordered}, reverse=True)[:REVISIONS]
    kept: list[Crash] = []
    for revision in left:
        for saved in (False, True):
            kept += [each for each in ordered if (each.revision, each.saved) == (revision, saved)][-PER_REVISION:]
    return tuple(sorted(kept, key=lambda each: (each.seen, each.began, each.endpoint or "")))
