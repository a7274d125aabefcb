"""Finishing what must not be left half done, whatever happens to the workflow."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import TypeVar

_T = TypeVar("_T")


async def to_the_end(work: Coroutine[object, object, _T]) -> _T:
    """*work*, finished even when the workflow is cancelled: a shield alone would let the workflow end without it.

    The cancellation is swallowed: what comes after *work* has to end by itself. Where the worker has shut down, and
    what it had of a workflow under way is dropped, nothing is begun: it would run in whatever loop is there, for ever.
    """
    if isinstance(sys.exc_info()[1], GeneratorExit):
        work.close()
        raise GeneratorExit
    task = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                raise
