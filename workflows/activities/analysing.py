"""A stage that holds: those that gain and the source are asked side by side, and ``core.analysis`` judges them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import assert_never

from orchestrator.core.analysis import Fail, Judgement, Pass, Sample, certain, judge, worst
from orchestrator.core.analysis import Inconclusive as Doubt
from orchestrator.core.errors import BadInput
from orchestrator.core.probe import OutcomeKind
from orchestrator.core.topology import ProbeKind, ProbeSpec
from providers import registry
from providers.base import Inconclusive, ProbeClient, ProviderError, Refused
from providers.catalog import Part
from providers.probes.chat import Completion
from providers.probes.exchange import NOT_ASKED
from runbooks.plan import Analyse, Analysis, Place, Room
from runbooks.stages import MARGIN_S
from workflows.activities.pulse import Pulse
from workflows.wire import StepResult, StepTask

SPARE_S = 0.5
"""Kept of a step's time for its answer."""
ROOM_POLL_S = 0.2


async def analyse(work: Analyse, task: StepTask, probes: ProbeClient, pulse: Pulse) -> StepResult:
    """Hold, ask all the while, judge, and see whether there is room for more. Raises Refused for a fail, Inconclusive
    where nobody can say and where there is no room.

    A fail that is certain ends the hold at once: clients suffer meanwhile.
    An attempt that follows another one holds for what is left of the time, and asks for all answers once more.
    """
    began = time.monotonic()
    result = await _looked(work, task, probes, pulse)
    said = [result.text]
    for each in work.gainers:
        if each.room is not None:
            left_s = task.timeout_s - (time.monotonic() - began) - SPARE_S
            found = await _room(each.place, each.room, left_s, pulse)
            said.append(f"{each.place.endpoint}: {found}" if work.others else found)
    return replace(result, text="; ".join(filter(None, said)))


async def _room(target: Place, room: Room, within_s: float, pulse: Pulse) -> str:
    """That the replicas are ready which the next stage needs. Raises Inconclusive: a person may have it tried again.

    Nothing is wrong with the stage that stands, so nothing goes back; and no more comes than can be served.
    """
    control, why = registry.workload(room.workload), "it was not asked in time"
    # Once at least: an attempt that follows another one may have no time left.
    every_s = max(ROOM_POLL_S, registry.pace_s(Part.WORKLOAD, room.workload.provider))
    async for _ in pulse.turns(max(within_s, every_s), every_s):
        try:
            ready = (await pulse.through(control.read())).ready
        except ProviderError as error:
            why = str(error)
            continue
        if ready >= room.ready:
            return f"{ready} replica{'s are' if ready != 1 else ' is'} ready, and {room.percent} % needs {room.ready}"
        why = f"{ready} {'is' if ready == 1 else 'are'} ready"
    raise Inconclusive(
        f"{room.percent} % of the move needs {room.ready} ready replica{'s' if room.ready != 1 else ''} of "
        f"{target.endpoint}: {why}; "
        "have it tried again when they are there"
    )


async def _looked(work: Analyse, task: StepTask, probes: ProbeClient, pulse: Pulse) -> StepResult:
    """Hold, ask all the while, and judge."""
    left_s = task.timeout_s - MARGIN_S
    if work.analysis is None:
        await pulse.hold(max(0.0, min(work.hold_s, left_s)))
        return StepResult(text=f"held for {work.hold_s:g} s" if work.hold_s else "")
    places = [each.place for each in work.gainers] + ([] if work.source is None else [work.source])
    longest = max(spec.timeout_s for place in places for spec in _questions(place))
    hold_s = min(work.hold_s, max(left_s, (task.timeout_s - longest) / 2))
    deadline = time.monotonic() + task.timeout_s - SPARE_S
    async with _asking(places, work.analysis, hold_s, probes) as (found, unasked):
        async for passed in pulse.turns(deadline - time.monotonic()):
            bad = next(_certain(found, work, work.analysis), None)
            if bad is not None and passed < hold_s:
                raise Refused(f"{bad}, after {passed:.1f} s of {hold_s:g} s")
            answered = sum(len(each) for each in found) + len(unasked)
            if passed >= hold_s and answered >= work.analysis.samples * len(places):
                break
    try:
        return _judged(work, work.analysis, found)
    except Inconclusive as error:
        raise Inconclusive("; ".join((str(error), *unasked[:1]))) from error


_Seen = tuple[Sample, ...]


def _of(found: list[list[Sample]], work: Analyse) -> Iterator[tuple[str, _Seen, _Seen | None]]:
    """Whom the answers are of, in words, and theirs beside the source's, where one stands beside them."""
    source = tuple(found[-1]) if work.source is not None else None
    beside = f" beside {work.source.endpoint}" if work.source else ""
    for each, samples in zip(work.gainers, found, strict=False):
        yield f"{each.place.endpoint}{beside}", tuple(samples), source


def _certain(found: list[list[Sample]], work: Analyse, analysis: Analysis) -> Iterator[str]:
    """Who fails already, and of what."""
    for who, theirs, source in _of(found, work):
        bad = certain(theirs, source, samples=analysis.samples, max_errors=analysis.max_errors)
        if bad is not None:
            yield f"{who}: {bad.reasons[0]}"


def _judged(work: Analyse, analysis: Analysis, found: list[list[Sample]]) -> StepResult:
    """What is said of all that gain: of those that are worst."""

    def one(theirs: _Seen, source: _Seen | None) -> Judgement:
        return judge(
            theirs,
            source,
            samples=analysis.samples,
            max_errors=analysis.max_errors,
            slower=analysis.slower,
            first_token_s=analysis.first_token_s,
        )

    judgement = worst(tuple((who, one(theirs, source)) for who, theirs, source in _of(found, work)))
    match judgement:
        case Pass(text):
            return StepResult(text=text)
        case Fail(reasons):
            raise Refused("; ".join(reasons))
        case Doubt(reasons):
            raise Inconclusive("; ".join(reasons))
        case _:
            assert_never(judgement)


@asynccontextmanager
async def _asking(
    places: list[Place], analysis: Analysis, hold_s: float, probes: ProbeClient
) -> AsyncIterator[tuple[list[list[Sample]], list[str]]]:
    """The answers of each of *places* as they come, and why a question could not be put at all.

    Answers that have not come at the end are no data.
    """
    found: list[list[Sample]] = [[] for _ in places]
    unasked: list[str] = []

    async def one(number: int, place: Place, at_s: float) -> None:
        # A slow answer delays no other question: each has a time of its own.
        await asyncio.sleep(at_s)
        try:
            found[number].append(await _sample(place, probes))
        except BadInput as error:
            unasked.append(f"{place.endpoint} could not be asked: {error}")

    every_s = hold_s / max(1, analysis.samples)
    asked = [
        asyncio.create_task(one(number, place, every_s * turn))
        for number, place in enumerate(places)
        for turn in range(analysis.samples)
    ]
    try:
        yield found, unasked
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


def _questions(place: Place) -> tuple[ProbeSpec, ...]:
    """What *place* is asked: completions where it is a model. Raises Refused where there is nothing to ask."""
    chats = tuple(spec for spec in place.probes if spec.kind is ProbeKind.CHAT)
    if not place.probes:
        raise Refused(f"endpoint '{place.endpoint}' has no probes, so nothing can analyse it: give it one")
    return chats or place.probes


async def _sample(place: Place, probes: ProbeClient) -> Sample:
    """One answer: good only if every question was answered well; as slow as the slowest of them.

    Raises BadInput where one could not be put, which says nothing of the endpoint.
    """
    asked = (probes.ask(spec, place.url, name=place.name, fresh=True) for spec in _questions(place))
    outcomes = await asyncio.gather(*asked)
    unasked = next((each.detail for each in outcomes if each.detail.startswith(NOT_ASKED)), None)
    if unasked is not None:
        raise BadInput(unasked.removeprefix(NOT_ASKED))
    bad = next((each for each in outcomes if each.kind is not OutcomeKind.PASSED), None)
    if bad is not None:
        return Sample(good=False, text=bad.detail)
    firsts = (each.first_token_s if isinstance(each, Completion) else None for each in outcomes)
    times = [each.latency_s if first is None else first for each, first in zip(outcomes, firsts, strict=True)]
    return Sample(good=True, first_s=max(times))
