"""Easing: how traffic goes back to a region that has just recovered. Pure; the governor keeps what is remembered.

Services that go home at one time do not steer in the same second, and where the region did not bear the return of one
of them, the others wait: for some minutes first, longer with each that has to turn back. Those that wait to begin are
refused; those on their way stay at the stage where they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.core.crowd import Moving
from orchestrator.core.move import MoveKind, Objection
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId, region_of
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.topology import Service, Weights
from orchestrator.core.waiting import at

RULE = "setback"
FIRST_S = 300.0
"""How long the first setback of a region holds up others; each one after it twice as long."""
LONGEST_S = 7200.0
FORGOTTEN_S = 6 * 3600.0
"""After a setback's end: what comes later is the first again."""


@dataclass(frozen=True, slots=True)
class Return:
    """How a failback ended for the regions that it brought traffic to."""

    run: RunId
    service: ServiceId
    regions: tuple[Domain, ...]
    """Sorted."""
    failed: str = ""
    """Why it had to turn back; empty: its stages passed, and it is home."""


@dataclass(frozen=True, slots=True)
class Setback:
    """A region that did not bear the return of a service."""

    region: Domain
    run: RunId
    service: ServiceId
    text: str
    at: datetime
    until: datetime
    """Until when the others wait."""
    times: int = 1
    """How often in a row."""


def regions_into(service: Service, target: EndpointId, before: Weights, after: Weights) -> tuple[Domain, ...]:
    """The regions that a move of *service* to *target* brings traffic to. Sorted."""
    had = {name for name, weight in before if weight > 0}
    gaining = {target} | {name for name, weight in after if weight > 0 and name not in had}
    return tuple(sorted({region_of(each.region) for each in service.endpoints if each.id in gaining}))


def jitter_s(seed: str, longest_s: float) -> float:
    """Seconds up to *longest_s*, in tenths, one at least, spread evenly over seeds: one seed always waits as long."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    return max(0.1, round(longest_s * number / 2**64, 1))


def return_of(record: Record, service: Service) -> Return | None:
    """What the run of *record*, which is over, says of the regions it went into; None: nothing.

    Only an analysis does: it saw how the region bore traffic. One that could not tell, and that a person ended, says
    nothing.
    """
    looked = {step.id for step in record.steps if step.kind == "analyse"}
    if record.kind is not MoveKind.FAILBACK or not looked:
        return None
    regions = regions_into(service, record.target, record.before, record.after)
    # The last word of each: one that was tried again, and passed, has not failed; one that was skipped has not passed.
    ends = (entry for entry in record.entries if entry.mark in {Mark.STEP_DONE, Mark.STEP_FAILED})
    last = {entry.step: entry for entry in ends if entry.step in looked}
    failed = [entry.text for entry in last.values() if entry.mark is Mark.STEP_FAILED]
    if record.status is RunStatus.COMPLETED and last and not failed:
        return Return(record.run, record.service, regions)
    if record.status in {RunStatus.UNDONE, RunStatus.HALTED} and failed:
        return Return(record.run, record.service, regions, failed[-1])
    return None


def after(setbacks: tuple[Setback, ...], end: Return, now: datetime) -> tuple[Setback, ...]:
    """*setbacks* once a failback has ended: one more in each of its regions, or none there any more.

    Sorted by region, one for each; those that are long over are forgotten.
    """
    kept = {each.region: each for each in setbacks if now < each.until + timedelta(seconds=FORGOTTEN_S)}
    for region in end.regions:
        last = kept.pop(region, None)
        if not end.failed or (last is not None and last.run == end.run):
            # Told twice is told once, and a region that bore a return is as any other.
            kept |= {region: last} if end.failed and last is not None else {}
            continue
        times = last.times + 1 if last is not None else 1
        lasts = min(FIRST_S * 2.0 ** min(times - 1, 32), LONGEST_S)
        until = now + timedelta(seconds=lasts)
        kept[region] = Setback(region, end.run, end.service, end.failed, now, until, times)
    return tuple(kept[region] for region in sorted(kept))


def holding_up(one: Moving, setbacks: tuple[Setback, ...], now: datetime) -> Iterator[Objection]:
    """Why *one* must not go home yet. What leaves an endpoint that is down is never held up."""
    for each in setbacks:
        if one.home and each.region in one.into and now < each.until:
            text = (
                f"{said(each)}, so nothing else goes home there until {at(each.until)}; wait "
                f"until then, or look at the region and go all the same by naming the rule {RULE}, and why"
            )
            yield Objection(RULE, text, asks=True)


def staying(setbacks: tuple[Setback, ...], regions: tuple[Domain, ...], run: RunId, now: datetime) -> Setback | None:
    """Why the failback *run*, on its way into *regions*, gets no more traffic *now*: what lasts longest; None: it may.

    Its own setback is none: it has turned back then.
    """
    found = [each for each in setbacks if each.region in regions and each.run != run and now < each.until]
    return max(found, key=lambda each: (each.until, each.region), default=None)


def said(setback: Setback) -> str:
    """Which service turned back, when, and why."""
    often = f", {setback.times} in a row" if setback.times > 1 else ""
    return (
        f"the failback of service '{setback.service}' into {setback.region} had to turn back at {at(setback.at)} "
        f"({setback.text}; run {setback.run}{often})"
    )
