"""The installed command as a process against a running product, and how it ended."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from real.system import System


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """What it said on standard error: one line, and no traceback."""
        lines = [line for line in self.err.strip().splitlines() if line.strip()]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


async def failover(system: System, *words: str, within_s: float = 45.0, **environment: str) -> Ended:
    """Run the installed command against *system*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "FAILOVER_"))}
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).parent / "failover"), *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**kept, "TEMPORAL_ADDRESS": system.running.temporal.address, "FAILOVER_USER": "ada", **environment},
    )
    try:
        async with asyncio.timeout(within_s):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode or 0, out.decode(), err.decode())
