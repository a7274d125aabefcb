"""What came of the storm: computed from what was seen outside, with the reasons and records that the product gives."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import storm_eye as eye
from storm_report import Moved, Outside, PoolUse, Prepared, Report, Timing
from storm_world import Place, Scenery, Subject, World, each_of, say
from temporalio.client import Client

from orchestrator.core.governing import promised
from orchestrator.core.record import Mark
from orchestrator.runtime.governing import held
from workflows.wire import ServiceStatus

GUARD = "change-guard"
STEADY_S = 10.0
"""All is well for so long before the fault."""
CLOSE_S = 600.0
"""Runs write their records to the end after the storm, when there is time for it."""
ASK_S = 300.0
RUNNING = 'WorkflowType IN ("failover", "lost") AND ExecutionStatus="Running"'


@dataclass(frozen=True, slots=True)
class Storm:
    """What was seen of it."""

    fault: float
    """Unix time, as all of these."""
    serials: eye.Serials
    before: eye.Sayings
    updates: list[eye.Update]
    meter: eye.Meter


def final(before: eye.Sayings, updates: list[eye.Update]) -> eye.Sayings:
    """What every name says after *updates*."""
    now = dict(before)
    for update in updates:
        now |= update.now
    return now


def where(subject: Subject, sayings: eye.Sayings) -> Place | None:
    return subject.standing(sayings.get(subject.name, eye.Saying()).answer)


def carried(scene: Scenery, sayings: eye.Sayings) -> Counter[str]:
    """Requests in flight in each pool, by the answers."""
    found: Counter[str] = Counter()
    for subject in scene.subjects:
        place = where(subject, sayings)
        if place is not None and place.pool is not None:
            found[place.pool] += subject.load
    return found


def left_behind(scene: Scenery, sayings: eye.Sayings) -> tuple[str, ...]:
    """Services that are still at home though one of their standbys has room for them."""
    used = carried(scene, sayings)

    def has_room(subject: Subject) -> bool:
        pools = [place.pool for place in subject.standbys]
        return any(pool is None or used[pool] + subject.load <= scene.pools[pool] for pool in pools)

    return tuple(s.id for s in scene.subjects if where(s, sayings) is s.home and has_room(s))


# ------------------------------------------------------------------ what came of it


async def judged(made: World, seen: Storm, settings: dict[str, Any], ready: Prepared) -> Report:
    """The report. Asks the product for its reasons, its ledger and its records."""
    plane, client = made.plane, made.plane.client
    now = final(seen.before, seen.updates)
    stay = [subject.id for subject in made.scene.subjects if where(subject, now) is subject.home]
    closed_s = await closed(client)
    ledgered = await ledger_of(client)
    statuses: dict[str, ServiceStatus] = {}
    try:
        await each_of(plane.status, [*stay, *(s.id for s in made.scene.subjects)], within_s=ASK_S, found=statuses)
    except TimeoutError:
        say(f"{len(made.scene.subjects) - len(statuses)} services did not say how they are within {ASK_S:g} s")
    reasons = [reason for name in stay if name in statuses for reason in reasons_of(statuses[name])]
    refusals = await refused(client, seen.fault)
    logs = sorted(made.state.glob("worker-*.log"))
    last = seen.serials.at(seen.updates[-1].serial) if seen.updates else seen.fault
    return Report(
        settings=settings,
        prepared=ready,
        timing=timed(made, seen, statuses, logs),
        closed_s=round(closed_s, 1),
        moved=Moved(
            len(made.scene.subjects),
            len(made.scene.subjects) - len(stay),
            dict(Counter(rule for rule, _ in reasons).most_common()),
            dict(reversed(reasons)),
            left_behind(made.scene, now),
            dict(Counter(record.status.value for each in statuses.values() for record in each.last_runs)),
        ),
        guard_refusals=refusals.get(GUARD, 0) + sum(rule == GUARD for rule, _ in reasons),
        refusals=refusals,
        pools=pools(made.scene, seen, ledgered),
        outside=outside(made.scene, seen),
        cpu_s=seen.meter.used(seen.fault, last),
        steady_cpu_percent={
            name: round(100 * used / STEADY_S, 1)
            for name, used in seen.meter.used(seen.fault - STEADY_S, seen.fault).items()
        },
        cpu_window_s=round(last - seen.fault, 1),
        complaints=eye.complaints(logs),
    )


async def closed(client: Client) -> float:
    """Wait until no run is under way (or for CLOSE_S); seconds. One cheap question now and then: it must not be the
    benchmark that keeps the product busy."""
    began = time.monotonic()
    while True:
        left, took = (await client.count_workflows(RUNNING)).count, time.monotonic() - began
        if not left or took > CLOSE_S:
            break
        await asyncio.sleep(2.0)
    say(f"{took:.0f} s later {left} runs are still under way" if left else f"all runs are closed {took:.0f} s later")
    return took


async def ledger_of(client: Client) -> dict[str, int] | None:
    """What the governor says that each pool is promised; None where it says nothing."""
    for _ in range(10):
        if (ledger := await held(client)) is not None:
            return {each.pool: each.amount for each in promised(ledger)}
        await asyncio.sleep(1.0)
    return None


def reasons_of(status: ServiceStatus) -> list[tuple[str, str]]:
    """Why the service is where it is, as it says itself: each rule once."""
    asked = status.question.reasons if status.question else ()
    found = {each.rule: each.text for each in (*status.hold, *status.held, *asked)}
    return list(found.items()) or [("no reason given", f"{status.service} says nothing")]


async def refused(client: Client, since: float) -> dict[str, int]:
    """Every refusal since then in the histories of the governor and of evacuations, by rule.

    What a service says at the end does not show a refusal that it got over; a history does.
    """
    found: Counter[str] = Counter()
    async for execution in client.list_workflows('WorkflowType="governor" OR WorkflowType="domain"'):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        async for event in handle.fetch_history_events():
            if event.event_time.ToDatetime(tzinfo=UTC).timestamp() < since:
                continue
            attributes = event.workflow_execution_update_completed_event_attributes
            for payload in attributes.outcome.success.payloads:
                found.update(rules_in(json.loads(payload.data)))
    return dict(found.most_common())


def rules_in(document: Any) -> Iterable[str]:
    """The rule of every objection in *document*."""
    if isinstance(document, dict):
        if isinstance(rule := document.get("rule"), str):
            yield rule
        for value in document.values():
            yield from rules_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from rules_in(value)


def pools(scene: Scenery, seen: Storm, ledgered: dict[str, int] | None) -> dict[str, PoolUse]:
    """What each pool came to carry, update by update."""
    now, most = dict(seen.before), carried(scene, seen.before)
    by_name = {subject.name: subject for subject in scene.subjects}
    used = Counter(most)
    for update in seen.updates:
        for name, saying in update.now.items():
            subject = by_name[name]
            for sayings, sign in ((now, -1), ({name: saying}, 1)):
                place = where(subject, sayings)
                if place is not None and place.pool is not None:
                    used[place.pool] += sign * subject.load
            now[name] = saying
        most |= used
    asked: Counter[str] = Counter()
    for subject in scene.subjects:
        for pool in {place.pool for place in subject.standbys if place.pool}:
            asked[pool] += subject.load
    return {
        pool: PoolUse(
            capacity, asked[pool], most[pool], used[pool], None if ledgered is None else ledgered.get(pool, 0)
        )
        for pool, capacity in scene.pools.items()
    }


def outside(scene: Scenery, seen: Storm) -> Outside:
    """What the updates did to each name."""
    by_name = {subject.name: subject for subject in scene.subjects}
    empty = elsewhere = 0
    moves: Counter[str] = Counter()
    now = dict(seen.before)
    for update in seen.updates:
        for name, saying in update.now.items():
            empty += not saying.answer
            elsewhere += bool(saying.answer) and by_name[name].standing(saying.answer) is None
            moves[name] += saying.answer != now[name].answer
            now[name] = saying
    back = sum(count - 1 for count in moves.values() if count > 1)
    wrong = tuple(
        subject.id
        for name, subject in by_name.items()
        if now[name].generation != seen.before[name].generation + moves[name]
    )
    return Outside(empty, elsewhere, back, wrong, seen.serials.unanswered)


def timed(made: World, seen: Storm, statuses: dict[str, ServiceStatus], logs: list[Path]) -> Timing:
    """All seconds. Raises RuntimeError when nothing was ever written or nobody saw the region fall."""
    majority = made.wish.vantages // 2 + 1
    logged = eye.verdicts(logs, "home", seen.fault, majority)
    verdicts = logged | {
        service: entry.at.timestamp()
        for service, status in statuses.items()
        for record in status.last_runs
        if service not in logged and (entry := record.first(Mark.DETECTED)) is not None
    }
    if not verdicts or not seen.updates:
        why = Counter(rule for status in statuses.values() for rule, _ in reasons_of(status))
        raise RuntimeError(f"{len(seen.updates)} updates, {len(verdicts)} services seen down, and they say: {why}")
    by_name = {subject.name: subject.id for subject in made.scene.subjects}
    written: dict[str, float] = {}
    at = [seen.serials.at(update.serial) for update in seen.updates]
    for when, update in zip(at, seen.updates, strict=True):
        for name in update.now:
            written.setdefault(by_name[name], when)
    first, last = min(verdicts.values()), max(verdicts.values())
    own = sorted(when - verdicts[service] for service, when in written.items() if service in verdicts)
    order = sorted(written.values())
    marks: dict[str, list[float]] = {}
    for status in statuses.values():
        for record in status.last_runs:
            for mark in (Mark.DETECTED, Mark.DECIDED, Mark.STARTED, Mark.VERIFIED, Mark.STEERED, Mark.CLOSED):
                if (entry := record.first(mark)) is not None:
                    marks.setdefault(mark.value, []).append(entry.at.timestamp() - seen.fault)
    return Timing(
        first_verdict_after_fault=round(first - seen.fault, 3),
        last_verdict_after_fault=round(last - seen.fault, 3),
        first_write_after_verdict=round(at[0] - first, 3),
        first_write_after_fault=round(at[0] - seen.fault, 3),
        last_write_after_verdict=round(at[-1] - first, 3),
        last_write_after_last_verdict=round(at[-1] - last, 3),
        last_write_after_fault=round(at[-1] - seen.fault, 3),
        writes=len(at),
        writes_a_second=round(len(at) / max(at[-1] - at[0], 0.001), 1),
        from_own_verdict={
            "median": round(median(own), 3),
            "p90": round(quantiles(own, n=10)[-1] if len(own) > 1 else own[0], 3),
            "most": round(own[-1], 3),
        },
        written_by={
            f"{share} %": round(order[max(0, len(order) * share // 100 - 1)] - first, 2) for share in (10, 50, 90, 99)
        },
        longest_pause=round(max((b - a for a, b in pairwise(at)), default=0.0), 2),
        verdicts_by={"logs": len(logged), "records": len(verdicts) - len(logged)},
        stages={mark: (round(median(each), 2), round(max(each), 2)) for mark, each in marks.items()},
    )
