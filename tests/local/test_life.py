"""A world begins and ends as a whole: nothing of it is left behind, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.local.layout import KEY_FILE, WORLD_FILE, WorldFailed, read_layout
from orchestrator.local.world import World

Until = Callable[..., Awaitable[None]]
Opener = Callable[..., object]


async def pids(world: World) -> list[int]:
    """The supervisor and everything under it."""
    servers = [(await world.endpoint(place.id))["pid"] for place in world.layout.regions]
    return [world.layout.supervisor, *servers]


def alive(pid: int) -> bool:
    """Whether *pid* runs; a zombie that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def none_alive(until: Until, all_pids: list[int]) -> None:
    async def gone() -> bool:
        return not any(alive(pid) for pid in all_pids)

    await until(gone)


async def test_a_world_says_where_it_is_and_keeps_its_key_to_itself(world: World) -> None:
    """world.json names every place, and nobody else may read the key."""
    layout = read_layout(world.state / WORLD_FILE)
    assert layout == world.layout
    assert [place.region for place in layout.regions] == ["alpha/paris", "beta/ohio", "onprem/tokyo"]
    assert stat.S_IMODE((world.state / KEY_FILE).stat().st_mode) == 0o600


async def test_worlds_run_side_by_side(tmp_path: Path) -> None:
    """Two worlds on one machine share neither an address nor a port."""
    async with World.start(tmp_path / "a") as a, World.start(tmp_path / "b") as b:
        assert {a.url(p.id) for p in a.layout.regions}.isdisjoint(b.url(p.id) for p in b.layout.regions)
        assert a.control != b.control


async def test_the_end_of_the_block_ends_every_process(opened: Callable[..., object], until: Until) -> None:
    """Leaving the block ends supervisor and model servers, one that is in a black hole as well."""
    async with opened() as world:  # type: ignore[attr-defined]  # an async context manager
        everyone = await pids(world)
        await world.inject("region-blackhole", "paris", key="k")
        assert all(alive(pid) for pid in everyone)
    await none_alive(until, everyone)
    assert not (world.state / WORLD_FILE).exists()


async def test_a_murdered_supervisor_leaves_nothing_behind(world: World, until: Until) -> None:
    """kill -9 of the supervisor takes every model server with it, frozen ones included."""
    everyone = await pids(world)
    await world.inject("region-blackhole", "paris", key="k")
    world.process.kill()
    await world.process.wait()
    await none_alive(until, everyone)


async def test_a_world_ends_with_whoever_started_it(tmp_path: Path, until: Until) -> None:
    """kill -9 of the process that started the world ends the world."""
    script = (
        "import asyncio, pathlib, sys\nfrom orchestrator.local.world import World\n"
        "async def main():\n"
        f"    async with World.start(pathlib.Path({str(tmp_path / 'world')!r})) as world:\n"
        "        servers = [(await world.endpoint(p.id))['pid'] for p in world.layout.regions]\n"
        "        print(world.layout.supervisor, *servers, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    everyone = [int(word) for word in (await parent.stdout.readline()).split()]
    assert len(everyone) == 4
    parent.kill()
    await parent.wait()
    await none_alive(until, everyone)


async def test_a_server_that_dies_unasked_stays_dead_until_it_is_restarted(world: World, until: Until) -> None:
    """A model server killed from outside refuses connections, and comes back when asked to."""
    before = (await world.endpoint("tokyo"))["pid"]
    os.kill(before, signal.SIGKILL)

    async def dead() -> bool:
        return (await world.endpoint("tokyo"))["pid"] is None

    await until(dead)
    assert (await world.restart("tokyo"))["pid"] not in {None, before}


async def test_a_world_that_cannot_start_says_why_in_one_sentence(tmp_path: Path) -> None:
    """A state directory that cannot be used is named in one sentence."""
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / WORLD_FILE).mkdir()
    with pytest.raises(WorldFailed, match=r"^the local world could not start in .*world: Is a directory"):
        async with World.start(tmp_path / "world"):
            pass


async def test_a_second_world_in_one_directory_is_refused_and_disturbs_nothing(world: World) -> None:
    """A directory belongs to one world at a time; the first keeps its files."""
    with pytest.raises(WorldFailed, match=r"^another local world runs in"):
        async with World.start(world.state):
            pass
    assert read_layout(world.state / WORLD_FILE) == world.layout
