"""Reading heartbeats, and the load that they tell: once for all who ask together, again for who asks later."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.load import Observed
from orchestrator.core.names import EndpointId, ServiceId, VantageId
from orchestrator.core.quorum import Seed
from orchestrator.prober.loads import Sighting
from workflows.activities import looking
from workflows.activities.loads import MOST, packed
from workflows.activities.looking import SAME_S, Pulses
from workflows.wire.watching import LoadsBeat

WEST, EAST = VantageId("west"), VantageId("east")
CHAT, CODE = ServiceId("chat"), ServiceId("code")
EU, US = EndpointId("eu"), EndpointId("us")


class _Server:
    """Watches whose hearts beat, each with what it tells; one that is away is not found."""

    def __init__(self) -> None:
        self.data_converter = DataConverter.default
        self.told: dict[str, tuple[object, ...]] = {}
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
            details = await self.data_converter.encode([Seed(), *self.told.get(workflow, ())])
            pending: Any = SimpleNamespace(
                last_heartbeat_time=stamp,
                HasField=lambda _name: True,
                heartbeat_details=SimpleNamespace(payloads=details),
            )
            return SimpleNamespace(raw_description=SimpleNamespace(pending_activities=[pending]))

        return SimpleNamespace(describe=describe)


async def test_a_crowd_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds ask at the same time, one of them gives up early: each vantage is asked once, and all others know."""
    monkeypatch.setattr(looking, "SAME_S", 30.0)  # a busy machine takes its time to begin two hundred questions
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


# ------------------------------------------------------------------ load


def _tells(*seen: tuple[ServiceId, EndpointId, int, float], age_s: float = 0.0) -> tuple[LoadsBeat, ...]:
    return (LoadsBeat(packed(Sighting(*each) for each in seen), age_s),)


async def test_the_load_of_the_service_is_heard_with_the_heartbeats() -> None:
    """The most that any vantage saw within a minute counts, in times of the server's clock."""
    server = _Server()
    server.told = {
        "watch/west/0": _tells((CHAT, EU, 37, 20.0), (CHAT, US, 2, 200.0), (CODE, EU, 9, 0.0), age_s=1.0),
        "watch/east/0": _tells((CHAT, EU, 35, 4.0), (CHAT, US, 5, 2.0)),
    }
    pulses = Pulses(cast("Client", server))
    heard = await pulses.heard((WEST, EAST), 0, CHAT)
    assert heard.loads == (
        Observed(EU, 37, server.beat - timedelta(seconds=21)),
        Observed(US, 5, server.beat - timedelta(seconds=2)),
    )
    assert (await pulses.heard((WEST, EAST), 0)).loads == ()
    assert [each.in_flight for each in pulses.about(CODE, heard, 0).loads] == [9]
    assert pulses.about(CODE, heard, 1).loads == ()


async def test_a_heartbeat_that_says_it_otherwise_is_a_heartbeat_all_the_same() -> None:
    """Probers of another version tell nothing, or something else: they are alive, and the load is not known."""
    server = _Server()
    server.told = {"watch/east/0": ("something else",)}
    for told in ((), (LoadsBeat("not packed", 0.0),), ({"packed": "", "age_s": 1.0},)):
        server.told["watch/west/0"] = told
        pulses = Pulses(cast("Client", server))
        heard = await pulses.heard((WEST, EAST), 0, CHAT)
        assert dict(heard.heard) == {WEST: server.beat, EAST: server.beat}
        assert heard.loads == ()


async def test_heartbeats_stay_small() -> None:
    """Ten thousand endpoints: those with most in flight are told of, in less than a tenth of what a payload may be."""
    many = [Sighting(ServiceId(f"service-{i}"), EndpointId(f"eu-{i % 7}"), i, float(i % 60)) for i in range(10_000)]
    text = packed(many)
    assert len(text) < 25_000
    server = _Server()
    server.told = {"watch/west/0": (LoadsBeat(text, 0.0),)}
    pulses = Pulses(cast("Client", server))
    heard = await pulses.heard((WEST,), 0)
    known = [i for i in range(10_000) if pulses.about(ServiceId(f"service-{i}"), heard, 0).loads]
    assert known == list(range(10_000 - MOST, 10_000))
