"""All in one on this machine: embedded Temporal, one worker process per vantage, a topology in force."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import getpass
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from orchestrator.config import digest
from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.core.topology import Topology, Vantage
from orchestrator.runtime.control import ControlPlane, ControlPlaneAway, NoSuch
from orchestrator.runtime.embedded import EmbeddedTemporal, free_port
from orchestrator.runtime.processes import end, spawn

log = structlog.get_logger()

READY_S = 30.0
RESTART_S = 1.0
GIVEN_UP = 3
"""Ends of a worker, in a row, before it has done anything: the next start would end no other way."""


@dataclass
class Running:
    """What ``up`` started."""

    plane: ControlPlane
    temporal: EmbeddedTemporal
    state: Path
    workers: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    """By vantage."""
    ends: Counter[str] = field(default_factory=Counter)
    """How often the worker of a vantage has ended."""

    @property
    def history(self) -> str:
        """URL of the history store."""
        return f"sqlite:///{self.state / 'history.db'}"

    async def start_worker(self, vantage: Vantage) -> None:
        """Start the worker process of *vantage*."""
        self.workers[vantage.id] = await spawn(
            *(sys.executable, "-m", "orchestrator.runtime.worker"),
            *("--vantage", vantage.id, "--domain", vantage.region),
            *("--state", str(self.state / f"worker-{vantage.id}"), "--history", self.history),
            log=self.state / f"worker-{vantage.id}.log",
            environment={"TEMPORAL_ADDRESS": self.temporal.address, "TEMPORAL_NAMESPACE": "default"},
        )


@contextlib.asynccontextmanager
async def up(
    topology: Topology, state: Path, *, port: int | None = None, ui_port: int | None = None, keep_database: bool = True
) -> AsyncIterator[Running]:
    """Run everything for *topology*, and end it all when the block ends.

    The state folder holds Temporal's database, the history and the logs; with ``keep_database`` off Temporal
    keeps its state in memory. Raises EmbeddedFailed, ControlPlaneAway, and BadInput for a folder in use.
    """
    state.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a local folder, once, before anything runs
    with _owned(state):
        async with _everything(topology, state, port, ui_port, keep_database=keep_database) as running:
            yield running


@contextlib.contextmanager
def _owned(state: Path) -> Iterator[None]:
    """Hold *state* for this process alone: two servers on one database file damage it. Raises BadInput."""
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"{state}: is in use by another 'failover up'; end that one, or choose another with --state"
            ) from None
        yield
    finally:
        os.close(lock)


@contextlib.asynccontextmanager
async def _everything(
    topology: Topology, state: Path, port: int | None, ui_port: int | None, *, keep_database: bool
) -> AsyncIterator[Running]:
    temporal = EmbeddedTemporal(state if keep_database else None, port or free_port(), ui_port)
    await temporal.start()
    running: Running | None = None
    watching: asyncio.Task[None] | None = None
    try:
        running = Running(await _connected(temporal), temporal, state)
        for vantage in topology.vantages:
            await running.start_worker(vantage)
        watching = asyncio.create_task(_keep_alive(running, topology))
        await _in_force(running, topology)
        yield running
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if running is not None:
            await asyncio.gather(*(end(process) for process in running.workers.values()))
        await temporal.stop()


async def _connected(temporal: EmbeddedTemporal) -> ControlPlane:
    """The server takes connections a little before it answers."""
    for _ in range(200):
        with contextlib.suppress(ControlPlaneAway):
            return await ControlPlane.connect(temporal.address, "default")
        await asyncio.sleep(0.05)
    raise ControlPlaneAway(f"the embedded Temporal server at {temporal.address} does not answer")


async def _in_force(running: Running, topology: Topology) -> None:
    """Put the topology in force. Raises ControlPlaneAway where no worker stays alive to do it."""
    applying = asyncio.create_task(_apply(running.plane, topology))
    try:
        while not (await asyncio.wait([applying], timeout=RESTART_S))[0]:
            if min((running.ends[vantage.id] for vantage in topology.vantages), default=0) >= GIVEN_UP:
                first = running.state / f"worker-{topology.vantages[0].id}.log"
                raise ControlPlaneAway(f"no worker stays alive; the end of {first} says why, and the others beside it")
        await applying
    finally:
        applying.cancel()
        await asyncio.gather(applying, return_exceptions=True)


async def _apply(plane: ControlPlane, topology: Topology) -> None:
    """Put the topology in force, as soon as a worker is there to do it."""
    deadline = asyncio.get_running_loop().time() + READY_S
    while True:
        try:
            expects = 0
            with contextlib.suppress(NoSuch):
                applied, known = await plane.topology()
                if digest(known) == digest(topology):
                    return
                expects = applied.revision
            await plane.apply(topology, expects=expects, by=getpass.getuser())
            return
        except FailoverError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)


async def _keep_alive(running: Running, topology: Topology) -> None:
    """Start again what ended: a worker, and Temporal where its state is in a database."""
    while True:
        await asyncio.sleep(RESTART_S)
        if running.temporal.ended:
            log.warning("temporal.restarted", address=running.temporal.address)
            try:
                await running.temporal.start()
            except FailoverError as error:
                log.error("temporal.not-restarted", reason=str(error))
        for vantage in topology.vantages:
            process = running.workers[vantage.id]
            if process.returncode is not None:
                running.ends[vantage.id] += 1
                said = str(running.state / f"worker-{vantage.id}.log")
                log.warning("worker.restarted", vantage=vantage.id, status=process.returncode, log=said)
                await running.start_worker(vantage)
