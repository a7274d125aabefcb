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
    over: bool = False
    """Whether its endpoint was seen well again: what comes after that is another one."""


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
    """*crashes* after a look that *found* how the endpoints are: those that go on, those that end and that begin.

    What is down for less than *blip_s*, or carried no traffic, is none. Silence neither begins nor ends any.
    """
    begun = dict(since)
    carrying = set(serving(weights)) if weights is not None else set()
    verdicts = {each.endpoint: each.verdict for each in found}
    crashes = tuple(_after(each, verdicts, now) for each in crashes)
    for each in found:
        began = begun.get(each.endpoint)
        known = any(crash.endpoint == each.endpoint and not crash.over for crash in crashes)
        if known or began is None or each.verdict is not Verdict.DOWN or each.endpoint not in carrying:
            continue
        if (now - began).total_seconds() >= blip_s:
            text = f"{each.endpoint} was {each.text}"[:LONGEST_TEXT]
            crashes = (*crashes, Crash(began, now, text, each.endpoint, revision=revision))
    return _newest(crashes)


def _after(crash: Crash, verdicts: dict[EndpointId, Verdict], now: datetime) -> Crash:
    """*crash* in the light of what is known now; an endpoint that is there no more is not looked at either."""
    if crash.over or crash.endpoint is None:
        return crash
    match verdicts.get(crash.endpoint):
        case None:
            return replace(crash, over=True)
        case Verdict.UNKNOWN:
            return crash
        case Verdict.DOWN:
            return replace(crash, seen=now)
        case _:
            return replace(crash, seen=now, over=True)


def ended(crashes: tuple[Crash, ...], down: frozenset[EndpointId], now: datetime) -> tuple[Crash, ...]:
    """*crashes* once only the endpoints *down* are said to be down by anybody: the others have ended."""
    return tuple(
        each if each.over or each.endpoint is None or each.endpoint in down else replace(each, seen=now, over=True)
        for each in crashes
    )


def ran(crashes: tuple[Crash, ...], record: Record, since: Since, *, revision: int, now: datetime) -> tuple[Crash, ...]:
    """*crashes* after the run of *record*: an unplanned one is a crash, however well it went, and so is one given up.

    The runs of a drill are none, nor is the one that its fault has provoked.
    """
    if record.drill is not None:
        return crashes
    if record.kind is MoveKind.FAILOVER and record.status in {RunStatus.COMPLETED, RunStatus.HALTED, RunStatus.UNDONE}:
        detected, down = record.first(Mark.DETECTED), dict(since)
        noticed = detected.at if detected is not None else record.started
        for endpoint in record.source:
            text = f"{endpoint} failed: run {record.run} moved its traffic away"
            made = Crash(down.get(endpoint, noticed), now, text, endpoint, revision=revision, over=endpoint not in down)
            crashes = _met(crashes, made, record)
    if record.status is RunStatus.HALTED:
        text = f"run {record.run} was given up half done"
        crashes = (*crashes, Crash(record.started, now, text, revision=revision, over=True))
    return _newest(crashes)


def _met(crashes: tuple[Crash, ...], crash: Crash, record: Record) -> tuple[Crash, ...]:
    """*crashes* after a run that met *crash*, or the one that is known already of the same endpoint and time."""
    saved = record.status is RunStatus.COMPLETED
    of_it = (each for each in reversed(crashes) if each.endpoint == crash.endpoint)
    known = next((each for each in of_it if not each.over or each.seen >= record.started), None)
    if known is None:
        return (*crashes, replace(crash, saved=saved))
    after = replace(known, saved=known.saved or saved, seen=known.seen if known.over else crash.seen)
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
