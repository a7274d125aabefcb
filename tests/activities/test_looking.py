"""Reading heartbeats: once for all who ask at the same time, and again for who asks later."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.names import VantageId
from workflows.activities.looking import SAME_S, Pulses

WEST, EAST = VantageId("west"), VantageId("east")


class _Server:
    """Watches whose hearts beat; one that is away is not found."""

    def __init__(self) -> None:
        self.beat = datetime(2026, 1, 1, tzinfo=UTC)
        self.away: set[str] = set()
        self.asked: list[str] = []
        self.slow = asyncio.Event()
        self.slow.set()

    def get_workflow_handle(self, workflow: str) -> SimpleNamespace:
        async def describe() -> SimpleNamespace:
            self.asked.append(workflow)
            await self.slow.wait()
            if workflow in self.away:
                raise RPCError("not found", RPCStatusCode.NOT_FOUND, b"")
            stamp = Timestamp()
            stamp.FromDatetime(self.beat)
            pending: Any = SimpleNamespace(last_heartbeat_time=stamp, HasField=lambda _name: True)
            return SimpleNamespace(raw_description=SimpleNamespace(pending_activities=[pending]))

        return SimpleNamespace(describe=describe)


async def test_a_crowd_asks_once() -> None:
    """Hundreds ask at the same time, one of them gives up early: each vantage is asked once, and all others know."""
    server = _Server()
    server.slow.clear()
    pulses = Pulses(cast("Client", server))
    first = asyncio.create_task(pulses.heard((WEST, EAST), 0))
    others = [asyncio.create_task(pulses.heard((WEST, EAST), 0)) for _ in range(200)]
    await asyncio.sleep(0)
    first.cancel()
    server.slow.set()
    found = await asyncio.gather(*others)
    assert sorted(server.asked) == ["watch/east/0", "watch/west/0"]
    assert {each.heard for each in found} == {((WEST, server.beat), (EAST, server.beat))}


async def test_who_asks_later_is_told_what_is_new() -> None:
    """An answer is not kept: a prober that has fallen silent, or speaks again, is seen at the next look."""
    server = _Server()
    pulses = Pulses(cast("Client", server))
    assert dict((await pulses.heard((WEST,), 0)).heard) == {WEST: server.beat}
    server.beat += timedelta(seconds=1)
    server.away = {"watch/east/0"}
    await asyncio.sleep(2 * SAME_S)
    assert dict((await pulses.heard((WEST, EAST), 0)).heard) == {WEST: server.beat}
