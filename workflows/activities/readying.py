"""Readiness: state that must be there before traffic comes, examined when a move verifies its target."""

from __future__ import annotations

import asyncio

from orchestrator.core.errors import FailoverError
from orchestrator.core.move import MoveKind
from orchestrator.core.topology import Blocks, ReadinessSpec
from providers import registry
from providers.base import NotReady, Refused, Severity
from runbooks.plan import Place
from workflows.activities.pulse import Pulse

WITHIN_S = 8.0
"""So long each examination may take; all go on at once."""


async def examine(place: Place, specs: tuple[ReadinessSpec, ...], kind: MoveKind, pulse: Pulse) -> str:
    """What was found, in a phrase. Raises Refused where what is missing holds up a move of this *kind*."""
    if not specs:
        return ""
    found = await pulse.through(asyncio.gather(*(_examined(spec) for spec in specs)))
    holding, told = [], []
    for spec, findings in zip(specs, found, strict=True):
        for each in findings:
            text = f"{spec.id}: {each.reason}"
            if each.severity is Severity.ERROR and _blocks(spec, kind):
                holding.append(f"{text}; {each.cure}")
            told.append(text)
    if holding:
        raise Refused(f"{place.endpoint} is not ready for traffic: {'. '.join(holding)}")
    names = ", ".join(spec.id for spec in specs)
    return f"{place.endpoint} goes on without: {'. '.join(told)}" if told else f"{place.endpoint}: {names} ready"


def _blocks(spec: ReadinessSpec, kind: MoveKind) -> bool:
    return spec.blocks is Blocks.ALWAYS or (spec.blocks is Blocks.PLANNED and kind is not MoveKind.FAILOVER)


async def _examined(spec: ReadinessSpec) -> tuple[NotReady, ...]:
    """What is missing. What cannot be known counts as missing."""
    try:
        async with asyncio.timeout(WITHIN_S):
            control = await asyncio.to_thread(registry.readiness, spec)
            return await control.examine()
    except TimeoutError:
        why = f"no answer within {WITHIN_S:g} s"
    except FailoverError as error:
        why = str(error)
    cure = "see that it can be asked, or let it block nothing"
    return (NotReady(Severity.ERROR, f"it is not known ({why})", cure),)
