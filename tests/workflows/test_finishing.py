"""What is finished whatever happens to its workflow, and what is not begun where the workflow is gone."""

from __future__ import annotations

import asyncio

from workflows.finishing import to_the_end


async def test_what_a_worker_drops_begins_nothing() -> None:
    """A worker shuts down with a drill under way: its last act runs nowhere, else the worker would never end."""
    began = []

    async def act() -> None:
        began.append("in whatever loop is there")

    async def drill() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await to_the_end(act())

    dropped = drill()
    dropped.send(None)
    dropped.close()
    await asyncio.sleep(0)
    assert began == []


async def test_a_cancellation_waits_for_the_act() -> None:
    """Cancelled twice, it still ends with its act done."""
    done, going = [], asyncio.Event()

    async def act() -> None:
        going.set()
        await asyncio.sleep(0)
        done.append("cleared")

    task = asyncio.create_task(to_the_end(act()))
    await going.wait()
    task.cancel()
    await asyncio.wait([task])
    assert done == ["cleared"]
