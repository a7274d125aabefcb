"""A worker that dies at a chosen moment of a chosen step: before its effect, during it, or after it and unsaid.

    python -m real.crashing --vantage east --domain watch/east      # CRASH_ORDER names the order's file

The order is one line, ``<step> <when>``; who carries it out takes the file away first, so that one worker dies once.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from orchestrator.runtime import worker
from workflows.activities.verbs import Verbs
from workflows.wire import StepResult, StepTask

BEFORE, DURING, AFTER = "before", "during", "after"
EFFECT_S = 0.02
"""Within this a write to a name server, or the call of a provider, is on its way."""
Verb = Callable[[Verbs, StepTask], Awaitable[StepResult]]


def _ordered(step: str) -> str | None:
    """When this worker is to die in *step*; the order is taken by whoever asks first."""
    order = Path(os.environ["CRASH_ORDER"])
    try:
        named, when = order.read_text(encoding="utf-8").split()
        if named != step:
            return None
        order.rename(order.with_suffix(".taken"))
    except (FileNotFoundError, ValueError):
        return None
    return when


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _mortal(verb: Verb) -> Verb:
    async def do(self: Verbs, task: StepTask) -> StepResult:
        when = _ordered(task.step)
        if when == BEFORE:
            _die()
        if when == DURING:
            asyncio.get_running_loop().call_later(random.uniform(0, EFFECT_S), _die)
        result = await verb(self, task)
        if when in {DURING, AFTER}:
            _die()
        return result

    return do


if __name__ == "__main__":
    Verbs.do = _mortal(Verbs.do)  # type: ignore[method-assign]  # this process exists to die in it
    Verbs.undo = _mortal(Verbs.undo)  # type: ignore[method-assign]  # the same
    worker.main()
