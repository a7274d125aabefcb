"""The topology's owner: revisions by compare-and-set, published to the services and watches they concern."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from orchestrator.core.names import RunId
from orchestrator.core.topology import Mode
from orchestrator.runtime.control import RefusedByRule, Stale
from real.land import CHAT, CODE, Land, landed, topology
from real.scenery import VANTAGES, service
from real.stage import until
from workflows import options
from workflows.wire import (
    TOPOLOGY_ID,
    ActiveRun,
    Applied,
    Apply,
    ServiceState,
    Slice,
    WatchState,
    service_id,
    watch_id,
)


@pytest.fixture
async def land() -> AsyncIterator[Land]:
    """No topology yet."""
    async with landed() as here:
        yield here


async def test_every_service_and_watch_learns_its_part(land: Land) -> None:
    """The first topology starts a workflow for each service, and one for each vantage and shard."""
    applied = await land.apply(topology("chat", "code", shards=2), 0)
    assert applied.revision == 1
    assert applied.document == ""
    for name in (CHAT, CODE):
        piece = await land.slice(name)
        assert (piece.revision, piece.service.id, piece.shards) == (1, name, 2)
        assert (await land.status(name)).held == ()
    for vantage in VANTAGES:
        for shard in (0, 1):
            state: WatchState = await land.handle(watch_id(vantage.id, shard)).query("state", result_type=WatchState)
            assert (state.vantage, state.shard, state.shards) == (vantage, shard, 2)
    found, restored = await land.plane.topology()
    assert found.revision == 1
    assert restored == topology("chat", "code", shards=2)


async def test_two_people_at_once_apply_one_topology(land: Land) -> None:
    """Two topologies for the same revision: one is put in force, the other one's author is told whose it is."""
    await land.apply(topology("chat"), 0)
    answers = await asyncio.gather(
        land.apply(topology("chat", "code"), 1, "ann@laptop"),
        land.apply(topology("code"), 1, "bob@laptop"),
        return_exceptions=True,
    )
    won = [answer for answer in answers if isinstance(answer, Applied)]
    lost = [answer for answer in answers if isinstance(answer, Stale)]
    assert len(won) == len(lost) == 1
    assert won[0].revision == 2
    assert f"revision 2 (by {won[0].by})" in str(lost[0])


async def test_an_author_who_is_behind_is_told_at_once(land: Land) -> None:
    """A topology made from an old revision is refused before anything is published."""
    await land.apply(topology("chat"), 0)
    await land.apply(topology("chat", "code"), 1)
    with pytest.raises(Stale, match=r"revision 2 \(by ann\), not 1"):
        await land.apply(topology("code"), 1)
    assert (await land.slice(CHAT)).revision == 2


async def test_the_same_topology_again_changes_nothing(land: Land) -> None:
    """Applying what is in force answers with its revision, whatever revision was expected."""
    await land.apply(topology("chat"), 0)
    again = await land.apply(topology("chat"), 1)
    late = await land.apply(topology("chat"), 0)
    assert again.revision == late.revision == 1
    assert (await land.slice(CHAT)).revision == 1


async def test_what_a_run_holds_is_not_removed(land: Land) -> None:
    """A topology that removes an endpoint under a run is refused and says which run; after the run it is taken."""
    gone = ActiveRun(RunId("chat-20240101-000000-beef"), "failover/chat/beef", "automatic")
    await land.apply(topology("code"), 0)
    held = ServiceState(Slice(1, service("chat"), VANTAGES), run=gone)
    await land.env.client.start_workflow("service", held, id=service_id(CHAT), task_queue="control")
    await land.apply(topology("chat", "code"), 1)
    without = topology("code")
    with pytest.raises(RefusedByRule, match="run chat-20240101-000000-beef holds service 'chat'"):
        await land.apply(without, 2)
    chat = service("chat")
    smaller = replace(without, services=(replace(chat, endpoints=chat.endpoints[:1]), *without.services))
    with pytest.raises(RefusedByRule, match="removes its endpoint 'us'"):
        await land.apply(smaller, 2)
    assert (await land.apply(topology("chat", "code", mode=Mode.MANUAL), 2)).revision == 3, "it removes nothing"
    await land.handle(service_id(CHAT)).terminate("over")
    assert (await land.apply(topology("chat", "code", "more"), 3)).revision == 4


async def test_a_service_that_left_is_retired(land: Land) -> None:
    """A service, and a shard, that are gone from the topology end; when they come back they are not held."""
    await land.apply(topology("chat", "code", shards=2), 0)
    await land.apply(topology("chat"), 1)
    await asyncio.wait_for(land.handle(service_id(CODE)).result(), 10)
    await asyncio.wait_for(land.handle(watch_id(VANTAGES[0].id, 1)).result(), 10)
    assert await land.running(watch_id(VANTAGES[0].id, 0))
    await land.apply(topology("chat", "code"), 2)
    assert (await land.slice(CODE)).revision == 3
    assert (await land.status(CODE)).held == ()


async def test_a_lost_service_comes_back_held(land: Land) -> None:
    """A service whose workflow was lost is made anew by the next topology, and automates nothing until resumed."""
    await land.apply(topology("chat", "code"), 0)
    await land.handle(service_id(CHAT)).terminate("lost")
    await land.apply(topology("chat", "code", mode=Mode.AUTOMATIC), 1)
    status = await land.status(CHAT)
    assert [held.rule for held in status.held] == ["recreated"]
    assert "failover resume chat" in status.held[0].text
    assert (await land.status(CODE)).held == ()


async def test_a_document_too_large_to_carry_is_refused(land: Land) -> None:
    """A document beyond what a payload can carry is refused with the way out."""
    await land.apply(topology("chat"), 0)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await land.handle(TOPOLOGY_ID).execute_update("apply", Apply(1, "other", "x" * 1_000_001, "ann"))
    assert isinstance(caught.value.cause, ApplicationError)
    assert "split it over several namespaces" in caught.value.cause.message


async def test_revisions_go_on_in_new_executions(land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many revisions later the owner has left its history behind, and still holds the topology in force."""
    monkeypatch.setattr(options, "CONTINUE_AT", 60)
    await land.apply(topology("chat"), 0)
    first = (await land.handle(TOPOLOGY_ID).describe()).run_id
    modes = (Mode.OBSERVE, Mode.MANUAL)
    for revision in range(1, 9):
        applied = await land.apply(topology("chat", mode=modes[revision % 2]), revision)
        assert applied.revision == revision + 1
    assert (await land.handle(TOPOLOGY_ID).describe()).run_id != first
    found, _ = await land.plane.topology()
    assert found.revision == 9
    await until(lambda: land.slice(CHAT), lambda piece: piece.revision == 9)
