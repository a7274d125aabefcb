"""The real Temporal development server, from the pinned package on this environment's path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from real.ports import free_port


def binary(name: str) -> str:
    """The path of *name* (``temporal``, ``temporal-test-server``) beside this interpreter."""
    return str(Path(sys.executable).parent / name)


@dataclass
class TemporalServer:
    """``temporal server start-dev`` as a process. *database* keeps its state across restarts."""

    database: Path | None = None
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start and wait until it takes connections."""
        command = [
            *(binary("temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(self.port)),
            *("--log-level", "error", "--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
        ]
        if self.database:
            command += ["--db-filename", str(self.database)]
        self.process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        for _ in range(1800):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.025)
        raise RuntimeError("the Temporal development server did not start")

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None and self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
