"""Revisions of the topology: what the owner keeps of them, what services remember, and the way back to a good one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from orchestrator.config import restore
from orchestrator.core.crashes import Crash, Memory
from orchestrator.core.names import EndpointId
from orchestrator.core.revisions import Judged, last_good
from orchestrator.core.topology import Mode, Topology
from orchestrator.runtime.control import NoSuch
from real.land import CHAT, CODE, Land, landed, topology
from real.scenery import VANTAGES, service
from real.stage import until
from workflows import options
from workflows.activities.documents import unpack
from workflows.wire import TOPOLOGY_ID, Applied, Past, ServiceState, Slice, StatusQuestion, service_id

EU = EndpointId("eu")
BAKE_S = 0.2


@pytest.fixture
async def land() -> AsyncIterator[Land]:
    """No topology yet."""
    async with landed() as here:
        yield here


async def later(land: Land, **span: float) -> datetime:
    return await land.env.get_current_time() + timedelta(**span)


def baking(wanted: Topology) -> Topology:
    """*wanted* with a bake time that a test can wait for."""
    return replace(wanted, orders=replace(wanted.orders, bake_s=BAKE_S))


async def baked(land: Land) -> None:
    """Wait until what is in force now has been so for the bake time."""
    end = await later(land, seconds=BAKE_S)
    await until(land.env.get_current_time, lambda now: now > end)


def without_us(wanted: Topology) -> Topology:
    """*wanted* without the only standby of its first service."""
    first, *others = wanted.services
    return replace(wanted, services=(replace(first, endpoints=first.endpoints[:1]), *others))


async def judge(land: Land, now: datetime) -> tuple[Judged, ...]:
    _, current = await land.plane.topology()
    return await land.plane.revisions.judged(current, now=now)


async def begin_with(land: Land, *crashes: Crash) -> None:
    """chat's workflow is there before the first topology, and remembers *crashes*."""
    state = ServiceState(Slice(1, service("chat"), VANTAGES), crashes=crashes)
    await land.env.client.start_workflow("service", state, id=service_id(CHAT), task_queue="control")


async def test_the_owner_keeps_what_was_in_force(land: Land) -> None:
    """Who applied which revision, when and why, newest first, with the documents; those who ask for one get only it."""
    first, second = topology("chat", "code"), without_us(topology("chat", "code"))
    await land.apply(first, 0, "ann", "the beginning")
    await land.apply(second, 1, "bob", "us is not needed")
    past = await land.plane.revisions.past()
    newest, before = past.revisions
    assert (newest.number, newest.by, newest.reason, newest.until) == (2, "bob", "us is not needed", None)
    assert (before.number, before.by, before.reason, before.until) == (1, "ann", "the beginning", newest.since)
    assert (newest.kept, before.kept, newest.document, before.document) == (True, True, "", "")
    assert await land.plane.revisions.document(1) == first
    assert await land.plane.revisions.document(2) == second
    applied: Applied = await land.handle(TOPOLOGY_ID).query("applied", result_type=Applied)
    assert applied.past == Past()
    assert restore(unpack(applied.document)) == second
    with pytest.raises(NoSuch, match="there is no revision 7 any more, or never was; the revisions 2, 1 can be had"):
        await land.plane.revisions.document(7)


async def test_the_past_outlives_the_history(land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    """After many revisions and new executions the last ten are there beside the one in force, and no more."""
    monkeypatch.setattr(options, "CONTINUE_AT", 40)
    await land.apply(topology("chat"), 0, reason="the first")
    first = (await land.handle(TOPOLOGY_ID).describe()).run_id
    for revision in range(1, 14):
        await land.apply(topology("chat", shards=revision + 1), revision)
    await until(land.handle(TOPOLOGY_ID).describe, lambda seen: seen.run_id != first)
    past = await land.plane.revisions.past()
    assert [each.number for each in past.revisions] == list(range(14, 3, -1))
    assert (await land.plane.revisions.document(4)).shards == 4
    with pytest.raises(NoSuch, match="there is no revision 3"):
        await land.plane.revisions.document(3)


async def test_a_good_revision_comes_back_as_a_new_one(land: Land) -> None:
    """Revision 1 baked; under revision 2 chat crashed: 2 is not good, 1 is, and comes back as 3. No traffic moves."""
    first = baking(topology("chat", "code"))
    began = await later(land, minutes=1)
    await begin_with(land, Crash(began, began + timedelta(seconds=9), "eu was down", EU))
    await land.apply(first, 0)
    await baked(land)
    routing = land.world.routing
    await land.apply(without_us(first), 1)
    found = await judge(land, began + timedelta(seconds=9))
    assert [each.good for each in found] == [False, True]
    assert found[0].why[0].startswith("chat: eu was down")
    good = last_good(found, found[0].revision.digest)
    assert good is not None
    assert good.number == 1
    wanted = await land.plane.revisions.document(1)
    applied = await land.apply(wanted, 2, "ann", "back to revision 1: chat has lost its standby")
    assert applied.revision == 3
    piece = await until(lambda: land.slice(CHAT), lambda seen: seen.revision == 3)
    assert piece.service == first.services[0]
    assert land.world.routing == routing
    newest, _, oldest = (await land.plane.revisions.past()).revisions
    assert newest.digest == oldest.digest


async def test_a_service_that_left_is_still_a_witness(land: Land) -> None:
    """chat crashed and was taken out of the topology: what it remembered still speaks against that revision."""
    await land.apply(baking(topology("chat", "code")), 0)
    await land.handle(service_id(CHAT)).terminate("so that it remembers a crash")
    began = await land.env.get_current_time()
    await begin_with(land, Crash(began, began + timedelta(minutes=40), "eu was down", EU))
    await baked(land)
    await land.apply(baking(topology("code")), 1)
    _, before = await judge(land, await later(land, minutes=1))
    assert not before.good
    assert before.why[0].startswith("chat: eu was down")


async def test_a_service_that_lost_its_memory_proves_nothing(land: Land) -> None:
    """A service's workflow was lost and made anew: how it served before, nobody knows."""
    await land.apply(topology("chat", "code"), 0)
    await land.handle(service_id(CODE)).terminate("lost")
    await land.apply(topology("chat", "code", mode=Mode.MANUAL), 1)
    memory: Memory = await land.handle(service_id(CODE)).query(
        "memory", StatusQuestion(await later(land)), result_type=Memory
    )
    assert memory.since is not None
    found = await judge(land, await later(land, minutes=29))
    assert [each.good for each in found] == [False, False]
    assert any("how code served is not known: its workflow was lost" in why for each in found for why in each.why)
    assert (await judge(land, await later(land, minutes=61)))[0].good


async def test_who_does_not_answer_is_named(land: Land) -> None:
    """A service that cannot be asked leaves every revision unproven."""
    await land.apply(topology("chat", "code"), 0)
    await land.handle(service_id(CODE)).terminate("lost")
    (found,) = await judge(land, await later(land, hours=5))
    assert found.why == ("how code served is not known: it does not answer",)
