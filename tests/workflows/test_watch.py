"""The watch workflow: one prober after another, for ever, and people told when there is none."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from orchestrator.core.names import Domain
from orchestrator.core.topology import Vantage
from real.actors import DOWN, Prober
from real.scenery import TOLD, VANTAGES, World
from real.stage import desk, time_skipping, until
from workflows import options
from workflows.wire import CONTROL_QUEUE, Watch, WatchState, probe_queue, watch_id

HERE = VANTAGES[0]


@dataclass
class Post:
    """A watch workflow and what may probe for it."""

    env: WorkflowEnvironment
    world: World
    prober: Prober

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.env.client.get_workflow_handle(watch_id(HERE.id, 0))

    async def open(self) -> None:
        state = WatchState(HERE, 0, 1, notify=TOLD)
        await self.env.client.start_workflow("watch", state, id=watch_id(HERE.id, 0), task_queue=CONTROL_QUEUE)

    def worker(self) -> Worker:
        """One worker that probes for the vantage, as the product runs it."""
        return Worker(
            self.env.client,
            task_queue=probe_queue(HERE.id),
            activities=[self.prober.probe],
            max_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
            default_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
        )

    async def epochs(self, count: int) -> list[Watch]:
        """The first *count* epochs, as soon as they have begun."""
        await until(lambda: asyncio.sleep(0, len(self.prober.began)), lambda begun: begun >= count)
        return [watch for _, watch in self.prober.began][:count]


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    """A server, a worker for the workflows, and nobody who probes yet."""
    async with time_skipping() as env:
        world = World(env.get_current_time)
        async with desk(env.client, world, *world.activities()):
            yield Post(env, world, Prober())


async def test_a_dead_probers_last_word_begins_the_next_epoch(post: Post) -> None:
    """A prober falls silent: within seconds the next epoch begins, with what its last heartbeat said."""
    post.prober.ends = lambda watch: "dies" if watch.epoch == 1 else "never"
    await post.open()
    async with post.worker():
        first, second = await post.epochs(2)
    assert (first.epoch, first.seed) == (1, None)
    assert (second.epoch, second.seed) == (2, DOWN)
    (began, _), (again, _) = post.prober.began[:2]
    assert again - began < options.PROBE_HEARTBEAT + timedelta(seconds=options.PROBE_AGAIN_S + 3)


async def test_the_pause_between_epochs_is_constant(post: Post) -> None:
    """A prober that fails at once, again and again, is started again after the same pause each time."""
    post.prober.ends = lambda _: "fails"
    await post.open()
    async with post.worker():
        await post.epochs(8)
    assert post.prober.epochs[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    starts = [at for at, _ in post.prober.began[:8]]
    pauses = [(b - a).total_seconds() for a, b in itertools.pairwise(starts)]
    # Temporal's own retry would wait for half a minute by now.
    assert all(options.PROBE_AGAIN_S <= pause < 2.0 for pause in pauses), pauses


async def test_an_epoch_that_ends_in_peace_hands_its_seed_over(post: Post) -> None:
    """When an epoch's hours are over, the next one begins with what it returned."""
    post.prober.ends = lambda watch: "returns" if watch.epoch < 3 else "never"
    await post.open()
    async with post.worker():
        watches = await post.epochs(3)
    assert [watch.seed for watch in watches] == [None, DOWN, DOWN]


async def test_a_worker_that_is_stopped_hands_the_shard_over(post: Post) -> None:
    """A worker is shut down in peace: another one goes on with the next epoch, and nobody is alarmed."""
    await post.open()
    async with post.worker():
        await post.epochs(1)
        await asyncio.sleep(0.1)
    async with post.worker():
        _, second = await post.epochs(2)
    assert second.epoch == 2
    assert not post.world.told


async def test_nobody_probing_is_told_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker for the vantage: people are told how to start one, once, and one that comes is used."""
    assert timedelta(seconds=15) == options.SILENCE
    # The test server's time passes no faster than ours while an activity waits for a worker.
    monkeypatch.setattr(options, "SILENCE", timedelta(seconds=2))
    await post.open()
    await until(lambda: asyncio.sleep(0.2, post.world.events()), bool)
    state: WatchState = await post.handle.query("state", result_type=WatchState)
    assert state.told_silent
    assert "failover worker --vantage v1 --domain alpha/paris" in post.world.told[0].text
    async with post.worker():
        (watch,) = await post.epochs(1)
        assert watch.epoch == 2
    assert post.world.events() == ["vantage-silent"]


async def test_a_watch_that_is_stopped_ends(post: Post) -> None:
    """The vantage is gone from the topology: probing stops and the workflow ends."""
    await post.open()
    async with post.worker():
        await post.epochs(1)
        await post.handle.signal("stop")
        await asyncio.wait_for(post.handle.result(), 10)
        await until(lambda: asyncio.sleep(0, post.prober.stopped), lambda stopped: stopped == 1)


async def test_a_stop_during_the_pause_is_heard(post: Post) -> None:
    """A stop that comes between two epochs ends the watch."""
    post.prober.ends = lambda _: "fails"
    await post.open()
    async with post.worker():
        await post.epochs(2)
        await post.handle.signal("stop")
        await asyncio.wait_for(post.handle.result(), 10)
    assert len(post.prober.began) <= 4


async def test_changes_reach_the_next_epoch(post: Post) -> None:
    """The topology moves the vantage to another region: the next epoch knows."""
    post.prober.ends = lambda watch: "returns" if watch.epoch == 1 and moved.is_set() else "fails"
    moved = asyncio.Event()
    await post.open()
    elsewhere = Vantage(HERE.id, Domain("alpha/lyon"))
    async with post.worker():
        await post.epochs(1)
        await post.handle.signal("configure", WatchState(elsewhere, 0, 4, notify=TOLD))
        moved.set()
        await until(
            lambda: asyncio.sleep(0, post.prober.began[-1][1]),
            lambda watch: (watch.vantage, watch.shards) == (elsewhere, 4),
        )


async def test_goes_over_into_new_executions_without_losing_count(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many epochs later the history has been left behind, and epochs count on from where they were."""
    monkeypatch.setattr(options, "CONTINUE_AT", 60)
    monkeypatch.setattr(options, "PROBE_AGAIN_S", 0.01)
    post.prober.ends = lambda _: "fails"
    await post.open()
    first = (await post.handle.describe()).run_id
    async with post.worker():
        await post.epochs(12)
        assert (await post.handle.describe()).run_id != first
    assert post.prober.epochs == sorted(set(post.prober.epochs))
    assert post.prober.epochs[:12] == list(range(1, 13))
