"""Proof that an endpoint serves: good answers in a row, asked for here and now."""

from __future__ import annotations

import asyncio
import time

from orchestrator.core.topology import ProbeKind
from providers.base import ProbeClient, Refused
from runbooks.plan import Place
from workflows.activities.pulse import Pulse
from workflows.wire import StepResult


async def verify(place: Place, passes: int, within_s: float, probes: ProbeClient, pulse: Pulse) -> StepResult:
    """*passes* good answers in a row; a completed inference where the endpoint is a model. Raises Refused.

    Asked under the service's own name too, where a probe does so: a certificate that lacks it must not go live.
    """
    chats = [spec for spec in place.probes if spec.kind is ProbeKind.CHAT]
    specs = [spec for spec in place.probes if not chats or spec in chats or spec.as_name]
    if not specs:
        raise Refused(f"endpoint '{place.endpoint}' has no probes, so nothing can verify it: give it one")
    row, last, what = 0, "", "completions" if chats else "answers"
    began = time.monotonic()
    async for _ in pulse.turns(within_s):
        # No pause between good answers: it would prove nothing more, and nobody is served meanwhile.
        while (passed := time.monotonic() - began) < within_s:
            asked = (probes.ask(spec, place.url, name=place.name, fresh=True) for spec in specs)
            outcomes = await pulse.through(asyncio.gather(*asked))
            bad = [outcome for outcome in outcomes if outcome.kind != "passed"]
            if bad:
                row, last = 0, bad[0].detail
                break
            row += 1
            if row >= passes:
                return StepResult(text=f"{place.endpoint}: {row} good {what} in a row after {passed:.1f} s")
    raise Refused(f"{place.endpoint} did not give {passes} good answers in a row within {within_s:g} s: {last}")
