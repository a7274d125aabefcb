"""A model server seen from the supervisor: its process, its channel, and what faults do to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from orchestrator.local.faults import Kind
from orchestrator.local.journal import Journal
from orchestrator.local.layout import ModelSettings, Place, WorldFailed
from orchestrator.local.sockets import DeafSocket, listen

log = structlog.get_logger()

_INSIDE = frozenset({Kind.ERRORS, Kind.SLOW, Kind.HOLLOW})
"""Faults that the model server itself acts out."""
_ANSWER_S = 0.5
_START_S = 15.0


@dataclass
class ModelProcess:
    """One endpoint's model server. ``suffer`` makes it be in exactly the given faults."""

    place: Place
    port: int
    settings: ModelSettings
    logs: Path
    journal: Journal
    listener: socket.socket | None
    desired: int = 0
    draining: bool = False
    held: DeafSocket | None = None
    """While set, the region is a black hole."""
    state: dict[str, Any] = field(default_factory=dict)
    """What the server last said of itself."""
    _process: asyncio.subprocess.Process | None = None
    _writer: asyncio.StreamWriter | None = None
    _waiting: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    _asked: int = 0
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _faults: frozenset[Kind] = frozenset()
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.alive else None

    async def start(self, *, warm: bool) -> None:
        """Start the process and wait until it listens. Raises WorldFailed.

        *warm*: its replicas have loaded before; else each takes the load time now.
        """
        if self.listener is None:
            self.listener = listen(self.place.address, self.port)
        ours, theirs = socket.socketpair()
        command = [
            *(sys.executable, "-m", "orchestrator.local.model_server", "--region", self.place.region),
            *("--listener-fd", str(self.listener.fileno()), "--channel-fd", str(theirs.fileno())),
            *("--replicas", str(self.desired), "--settings", json.dumps(asdict(self.settings))),
            *("--parent", str(os.getpid()), *(() if warm else ("--cold",))),
        ]
        self._heard.clear()
        with (self.logs / f"{self.place.id}.log").open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(self.listener.fileno(), theirs.fileno()),
                # A person's Ctrl-C reaches the supervisor alone, which ends the others.
                start_new_session=True,
            )
        theirs.close()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._spawn(self._listen_to(reader))
        self._spawn(self._mourn(self._process))
        try:
            await asyncio.wait_for(self._heard.wait(), _START_S)
        except TimeoutError:
            raise WorldFailed(f"the model server of {self.place.id} did not start; {out.name} says why") from None
        self.journal.note("server.started", endpoint=self.place.id, pid=self._process.pid)
        await self._order({"draining": self.draining, "faults": sorted(self._faults & _INSIDE)})

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen_to(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                message = json.loads(line)
                ready = self.state.get("ready")
                self.state = message["state"]
                if ready is not None and self.state["ready"] != ready:
                    self.journal.note("replicas.ready", endpoint=self.place.id, ready=self.state["ready"])
                self._heard.set()
                waiter = self._waiting.pop(message.get("id", 0), None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)

    async def _mourn(self, process: asyncio.subprocess.Process) -> None:
        """When the process dies, close our copy of its socket: a dead server refuses, it does not hang."""
        code = await process.wait()
        if process is self._process:
            self._bury()
            self.journal.note("server.died", endpoint=self.place.id, status=code)

    def _bury(self) -> None:
        if self.held is not None:
            self.held.hear()
            self.held = None
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        if self._writer is not None:
            self._writer.close()
        self.state = {}

    async def _order(self, wanted: dict[str, Any]) -> bool:
        """Tell the server; whether it answered in time. One that is stopped obeys when it goes on."""
        if not self.alive or self._writer is None or self._writer.is_closing():
            return False
        self._asked += 1
        waiter = self._waiting[self._asked] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({"id": self._asked, "set": wanted}).encode() + b"\n")
        if self.held is not None:
            return False
        try:
            await asyncio.wait_for(waiter, _ANSWER_S)
        except TimeoutError:
            return False
        return True

    # ------------------------------------------------------------ capacity

    async def scale(self, replicas: int) -> None:
        """Go to *replicas*; returns at once, readiness comes after the load time."""
        self.desired = replicas
        self.journal.note("replicas.wanted", endpoint=self.place.id, replicas=replicas)
        await self._order({"replicas": replicas})

    async def drain(self, on: bool) -> None:
        """Ask clients to leave (``Connection: close`` on every answer), or stop asking."""
        self.draining = on
        self.journal.note("drain.begun" if on else "drain.ended", endpoint=self.place.id)
        await self._order({"draining": on})

    async def pace(self, settings: ModelSettings) -> None:
        """Change slots, queue, load time and token pace of the running server."""
        self.settings = settings
        await self._order({"model": asdict(settings)})

    async def look(self) -> dict[str, Any]:
        """What stands now; ``in_flight`` is None where the server cannot be asked."""
        answered = await self._order({})
        return {
            "id": self.place.id,
            "region": self.place.region,
            "address": self.place.address,
            "pid": self.pid,
            "desired": self.desired,
            "ready": int(self.state.get("ready", 0)) if self.alive else 0,
            "in_flight": self.state.get("in_flight") if answered else None,
            "queued": self.state.get("queued") if answered else None,
            "served": self.state.get("served") if answered else None,
            "draining": self.draining,
            "faults": sorted(self._faults),
        }

    # ------------------------------------------------------------ faults

    async def suffer(self, faults: frozenset[Kind]) -> None:
        """Be in exactly *faults*: put in what is missing, take out what is gone."""
        async with self._turn:
            was, self._faults = self._faults, faults
            if Kind.KILL in faults:
                await self.kill()
            elif Kind.KILL in was and not self.alive:
                await self.start(warm=False)
            if Kind.BLACKHOLE in faults and self.alive and self.held is None:
                await self._hold()
            elif Kind.BLACKHOLE not in faults and self.held is not None:
                self._release()
            if (faults ^ was) & _INSIDE:
                await self._order({"faults": sorted(faults & _INSIDE)})

    async def _hold(self) -> None:
        if self._process is None or self.listener is None:
            return
        self.held = DeafSocket(self.listener)
        self._process.send_signal(signal.SIGSTOP)
        await self.held.deafen()

    def _release(self) -> None:
        if self._process is None or self.held is None:
            return
        self.held.hear()
        self.held = None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """kill -9, and wait until it is gone and its socket with it."""
        if self._process is None:
            return
        # Our copy goes first: with the process gone, a connection must be refused, not wait in a queue.
        self._bury()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def restart(self) -> None:
        """Start a server that died; nothing where it is alive."""
        async with self._turn:
            if not self.alive:
                await self.start(warm=False)
