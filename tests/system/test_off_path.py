"""What is off the failover path may be broken: no failover is later for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Notify, NotifyKind, Topology
from orchestrator.runtime.processes import spawn
from real.ports import free_port
from real.system import PAIR, System, until


async def test_history_page_and_hooks_may_hang(tmp_path: Path) -> None:
    """With the history locked, the page frozen and a hook that never ends, a failover is as quick as without them."""
    history = tmp_path / "history.db"
    async with System.start(tmp_path, vantages=PAIR, history=f"sqlite:///{history}") as system:
        await system.steady()
        fault = await system.black_hole("paris")
        first = await system.closed(await system.run())
        undisturbed = await system.moved_once(fault)
        await until(lambda: _published(history), lambda runs: first.run in runs, "the first run in the history")
        await system.go_home()
        async with _frozen_page(system, tmp_path, history):
            with _locked(history):
                await system.plane.apply(_hanging(system.topology), expects=1, by="test")
                await until(system.status, lambda status: status.revision == 2, "the new topology")
                system.eye.begin()
                fault = await system.black_hole("paris", key="again")
                record = await system.closed(await system.run(nth=3))
                assert record.status is RunStatus.COMPLETED, record.entries
                # What waited for any of the three would be later by 5 s at least.
                assert await system.moved_once(fault) - undisturbed < 3.0, record.entries
            runs = await until(lambda: _published(history), lambda runs: record.run in runs, "the history catching up")
            assert first.run in runs


def _hanging(topology: Topology) -> Topology:
    """*topology* with a command to tell that does not end in time."""
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    return replace(topology, notify=(Notify(NotifyKind.EXEC, command=command, timeout_s=20.0),))


async def _published(history: Path) -> list[str]:
    """The runs in the history store, read as anybody could. OSError where it is still to be made, or busy."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=0.1)) as store:
            return [str(row[0]) for row in store.execute("select id from failover_runs")]
    except sqlite3.OperationalError as error:
        raise OSError(str(error)) from error


@contextlib.contextmanager
def _locked(history: Path) -> Iterator[None]:
    """Nobody else can write to the store."""
    with contextlib.closing(sqlite3.connect(history, isolation_level=None, timeout=10)) as holder:
        holder.execute("begin exclusive")
        yield
        holder.execute("rollback")


@contextlib.asynccontextmanager
async def _frozen_page(system: System, folder: Path, history: Path) -> AsyncIterator[None]:
    """A status page in the middle of its questions, stopped."""
    port = free_port()
    page = await spawn(
        *(str(Path(sys.executable).parent / "failover"), "serve", "--port", str(port), "--history", str(history)),
        log=folder / "page.log",
        environment={"TEMPORAL_ADDRESS": system.running.temporal.address},
    )
    try:
        await until(lambda: asyncio.open_connection("127.0.0.1", port), lambda _: True, "the page")
        os.kill(page.pid, signal.SIGSTOP)
        yield
    finally:
        os.killpg(page.pid, signal.SIGKILL)
        await page.wait()
