"""Kill -9 at any point of a break-glass run: the next one goes on, and no effect is doubled or lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.record import Mark, RunStatus
from orchestrator.core.steering import serving
from orchestrator.runtime.breakglass.account import account, record
from orchestrator.runtime.breakglass.journal import read
from orchestrator.runtime.breakglass.sealed import Sealed, keep, written
from real.glass import Site
from runbooks.plan import Drain

KILLED = -9
WHOLE = bool(os.environ.get("CRASH_MATRIX"))
"""Every line, in every way; else a choice that takes seconds."""
LINES = range(2, 15)
"""Of a switchover's journal: 1 opened; 2 to 4 promote, with what it found; 5, 6 verify; 7, 8 steer; 9 to 11 converge,
with the first new answer; 12, 13 drain; 14 closed."""
LINES_BACK = range(1, 8)
"""Of the way back: 1 aborted, 2 converge given up, 3, 4 steer undone, 5, 6 promote undone, 7 closed."""


def kills(lines: tuple[int, ...] | range, *ways: str) -> tuple[dict[str, Any], ...]:
    return tuple({"line": line, "how": how} for how in ways for line in lines)


TIMES = tuple({"seconds": number / 50} for number in range(1, 16))
FORWARD = (
    (*kills(LINES, "before", "torn", "after"), *TIMES)
    if WHOLE
    else (*kills((3, 4, 8, 10, 13, 14), "before"), *kills((8,), "torn"), *TIMES[5:6])
)
BACKWARD = kills(LINES_BACK, "before", "torn", "after") if WHOLE else kills((2, 4, 6), "before")


@dataclass
class Laptop:
    """Runs the command in processes that can be killed at a chosen line of the journal."""

    site: Site
    process: asyncio.subprocess.Process

    async def __call__(self, *words: str, **kill: Any) -> int:
        """The exit status; KILLED where it was."""
        order = {"words": list(words), "log": str(self.site.folder / "log"), **kill}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        await self.process.stdin.drain()
        async with asyncio.timeout(60):
            return int(await self.process.stdout.readline())

    def said(self) -> str:
        return (self.site.folder / "log").read_text(encoding="utf-8")


@pytest.fixture
async def laptop(site: Site) -> AsyncIterator[Laptop]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "FAILOVER_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).parent / "zygote.py")),
        cwd=site.folder,
        env=kept | {"FAILOVER_USER": "ada", "TEMPORAL_ADDRESS": "127.0.0.1:9"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Laptop(site, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def put(site: Site, number: int) -> tuple[Sealed, str]:
    """A fresh plan in a file of its own; drains in no time."""
    sealed = await site.sealed()
    steps = tuple(replace(s, timeout_s=5.0) if isinstance(s.work, Drain) else s for s in sealed.plan.steps)
    sealed = replace(sealed, plan=replace(sealed.plan, steps=steps))
    path = site.folder / f"{number}.plan.json"
    keep(path, written(sealed, None))
    return sealed, str(path)


@pytest.mark.timeout(600)
async def test_a_run_that_is_killed_anywhere_goes_on_and_does_each_thing_once(site: Site, laptop: Laptop) -> None:
    """Before, during and after every line of the journal: one promotion, one write, one generation, one record."""
    for number, kill in enumerate(FORWARD):
        await site.home()
        sealed, path = await put(site, number)
        before, serial, seen = await site.routing(), await site.serial(), await site.seen()
        words = ("break-glass", "run", path, "--yes", "--unverified")
        # It may be done before its time is over; killed at a line, it never is.
        assert await laptop(*words, **kill) in {KILLED, *((0,) if "seconds" in kill else ())}, laptop.said()[-2000:]
        assert await laptop(*words) == 0, (kill, laptop.said()[-2000:])
        after = await site.routing()
        assert after.generation == before.generation + 1, kill
        assert await site.serial() == serial + 1, kill
        assert after.fence is not None
        assert (after.fence.run, serving(after.fence.weights)) == (sealed.plan.run, ("ohio",)), kill
        assert await site.scalings(seen) == [("ohio", 2)], kill
        told = record(account(*read(site.folder / "journals" / f"{sealed.plan.run}.journal")))
        assert told.status is RunStatus.COMPLETED, kill
        ends = [entry.step for entry in told.entries if entry.mark is Mark.STEP_DONE]
        assert ends == [step.id for step in sealed.plan.taken(planned=True)], kill


@pytest.mark.timeout(600)
async def test_a_way_back_that_is_killed_anywhere_goes_on(site: Site, laptop: Laptop) -> None:
    """A run that is stopped after its write goes back by one more write, wherever that is killed."""
    for number, kill in enumerate(BACKWARD):
        await site.home()
        sealed, path = await put(site, number)
        before, serial, seen = await site.routing(), await site.serial(), await site.seen()
        run = ("break-glass", "run", path, "--yes", "--unverified")
        assert await laptop(*run, line=10, how="before") == KILLED
        back = ("break-glass", "abort", path, "--yes", "--unverified", "--reason", "eu is back")
        assert await laptop(*back, **kill) == KILLED, (kill, laptop.said()[-2000:])
        assert await laptop(*back) == 1, (kill, laptop.said()[-2000:])
        after = await site.routing()
        assert (after.generation, after.answer) == (before.generation + 2, before.answer), kill
        assert await site.serial() == serial + 2, kill
        assert await site.scalings(seen) == [("ohio", 2), ("ohio", 1)], kill
        told = record(account(*read(site.folder / "journals" / f"{sealed.plan.run}.journal")))
        assert told.status is RunStatus.ABORTED, kill
        assert "everything done was put back" in told.entries[-1].text
