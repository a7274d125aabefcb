"""Workers that die or freeze in the middle of a failover: it completes, and the world sees one write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.core.names import VantageId
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import RunStatus
from real.system import CHAT, PAIR, System, until
from workflows.wire import service_id, watch_id

BOTH = pytest.mark.parametrize("how", ["kill", "freeze"])


@pytest.mark.parametrize(("who", "how"), [("step", "freeze"), ("run", "kill"), ("run", "freeze"), ("other", "freeze")])
async def test_any_worker_may_fall_while_the_model_loads(tmp_path: Path, who: str, how: str) -> None:
    """Whichever worker dies or freezes while the standby loads, the run completes and steers exactly once."""
    async with System.start(tmp_path) as system:
        await system.steady()
        fault = await system.black_hole("paris")
        await system.promoting("ohio")
        run = await system.run()
        at_work, holds = await system.executor(run), await system.holder(run)
        other = next(key for key in system.running.workers if key not in {at_work, holds})
        await system.strike({"step": at_work, "run": holds, "other": other}[who], how)
        record = await system.closed(run)
        assert record.status is RunStatus.COMPLETED, record.entries
        await system.moved_once(fault)


@BOTH
async def test_a_worker_may_fall_with_its_write_on_the_way(tmp_path: Path, how: str) -> None:
    """A worker falls while the name server holds its write: another recognises the write, and none comes late."""
    async with System.start(tmp_path) as system:
        await system.steady()
        fault = await system.black_hole("paris")
        await system.promoting("ohio")
        system.dns.freeze()
        run = await system.run()
        writer = await until(lambda: _steering(system, run), lambda key: key is not None, "an attempt to steer")
        assert writer is not None
        await system.strike(writer, how)
        system.dns.thaw()
        record = await system.closed(run)
        assert record.status is RunStatus.COMPLETED, record.entries
        assert [word for word in record.entries if word.step == "steer" and word.mark == "steered"]
        if how == "freeze":
            system.thaw(writer)
            await until(lambda: _heard(system, writer), bool, "the thawed worker probes again")
        await system.moved_once(fault)


async def _steering(system: System, run: str) -> str | None:
    """The worker that is at work on the step ``steer``; None while another step goes on."""
    begun = [entry.step for entry in (await system.record(run)).entries if entry.mark == "step-started"]
    return await system.executor(run) if begun[-1:] == ["steer"] else None


async def _heard(system: System, vantage: str) -> bool:
    status = await system.status()
    return all(vantage not in seen.text.partition("silent:")[2] for seen in status.assessments)


async def test_everything_may_fall_with_the_write_on_the_way(tmp_path: Path) -> None:
    """Temporal and every worker are killed while the name server holds a write: once they are back, it is done once."""
    async with System.start(tmp_path, vantages=PAIR) as system:
        await system.steady()
        fault = await system.black_hole("paris")
        await system.promoting("ohio")
        system.dns.freeze()
        run = await system.run()
        await until(lambda: _steering(system, run), lambda key: key is not None, "an attempt to steer")
        await asyncio.gather(system.kill_temporal(), *(system.kill(key) for key in system.running.workers))
        system.dns.thaw()
        await system.running.temporal.start()
        for vantage in system.topology.vantages:
            await system.start_worker(vantage)
        record = await system.closed(run)
        assert record.status is RunStatus.COMPLETED, record.entries
        await system.moved_once(fault)


async def test_a_frozen_worker_delays_the_decision_by_few_seconds(tmp_path: Path) -> None:
    """The worker that holds the service freezes before the fault: clients are moved soon, not after the 20 s that a
    frozen worker costs by Temporal's own settings."""
    async with System.start(tmp_path) as system:
        await system.steady()
        fault = await system.black_hole("paris")
        assert (await system.closed(await system.run())).status is RunStatus.COMPLETED
        undisturbed = await system.moved_once(fault)
        await system.go_home()
        system.eye.begin()
        system.freeze(await system.holder(service_id(CHAT)))
        fault = await system.black_hole("paris", key="again")
        record = await system.closed(await system.run(nth=3))
        assert record.status is RunStatus.COMPLETED, record.entries
        # What a loaded machine adds, it adds to both.
        assert await system.moved_once(fault) < 2.0 * undisturbed + 8.0, record.entries


@BOTH
async def test_a_vantage_is_watched_on_by_its_second_worker(tmp_path: Path, how: str) -> None:
    """The prober of a vantage that is needed for the majority falls with the fault: its twin takes over."""
    async with System.start(tmp_path, vantages=None) as system:
        ohio = next(each for each in system.topology.vantages if each.id == "from-ohio")
        await system.start_worker(ohio, key="twin")
        await system.steady()
        watch = watch_id(ohio.id, 0)
        prober = await system.executor(watch)
        assert prober in {"from-ohio", "twin"}
        await system.strike(prober, how)
        fault = await system.black_hole("paris")
        record = await system.closed(await system.run())
        assert record.status is RunStatus.COMPLETED, record.entries
        twin = ({"from-ohio", "twin"} - {prober}).pop()
        await until(lambda: system.executor(watch), lambda key: key == twin, "its twin takes over")
        await system.moved_once(fault)


async def test_the_worker_of_the_failing_region_is_not_needed(tmp_path: Path) -> None:
    """The region's own worker dies with it: the run completes on workers outside, and asks nothing of the dead."""
    async with System.start(tmp_path, vantages=None) as system:
        await system.steady()
        own = VantageId("from-paris")
        fault, _ = await asyncio.gather(system.black_hole("paris"), system.kill(own))
        run = await system.run()
        record = await system.closed(run)
        assert record.status is RunStatus.COMPLETED, record.entries
        queues = [queue for name, queue in await system.queues(run) if name == "step"]
        assert queues
        assert set(queues) <= {"steps/beta/ohio", "steps/onprem/tokyo"}
        await system.moved_once(fault)
        seen = {each.endpoint: each.verdict for each in (await system.status()).assessments}
        assert seen["paris"] is Verdict.DOWN
