"""Watching the answers: one bad name server hides nothing of the others, and restless answers cost little."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Service
from orchestrator.prober import budget
from real.bind import Bind
from real.stage import service
from workflows.activities.answers import Answers


@pytest.fixture
async def bind() -> AsyncIterator[Bind]:
    async with Bind(records=("good 5 A 127.0.1.10",)) as server:
        yield server


@pytest.fixture
def silent() -> Iterator[str]:
    """A name server that takes every question and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{hole.getsockname()[1]}"


def steered(name: str, primary: str) -> Service:
    made = service(name)
    assert made.steering is not None
    return replace(made, steering=replace(made.steering, primary=primary))


@contextlib.asynccontextmanager
async def watching(*services: Service, every_s: float) -> AsyncIterator[asyncio.Queue[ServiceId]]:
    """What is said to have changed, as it is said."""
    changed: asyncio.Queue[ServiceId] = asyncio.Queue()
    answers = Answers(changed.put, every_s)
    answers.configure(services)
    task = asyncio.ensure_future(answers.run())
    try:
        yield changed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_name_servers_that_hang_hide_no_other(bind: Bind, silent: str) -> None:
    """With eight name servers that never answer, an edit at the ninth is seen as soon as without them."""
    hanging = tuple(steered(f"hanging-{number}", silent) for number in range(8))
    async with watching(*hanging, steered("good", bind.at), every_s=0.3) as changed:
        seen = asyncio.ensure_future(changed.get())
        for number in range(20):  # the first edit may come before the answer was looked at once
            await bind.edit("good.example.", "A", f"127.0.1.{number + 1}")
            await asyncio.wait([seen], timeout=0.5)
            if seen.done():
                break
        assert seen.done()
        assert seen.result() == "good"


async def test_an_answer_that_never_rests_is_told_ever_more_rarely(bind: Bind) -> None:
    """A name whose answer differs at every question is news ten times, not thousands of times."""
    async with watching(steered("good", bind.at), every_s=0.02) as changed:
        for number in range(60):
            await bind.edit("good.example.", "A", f"127.0.1.{number + 1}")
            await asyncio.sleep(0.02)
        assert 0 < changed.qsize() <= budget.BURST + 1
