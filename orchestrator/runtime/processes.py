"""Processes: children that never outlive their parent, their output in a file, ended by their own id; and this one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Runs in the child between fork and exec: a parent killed with -9 takes its children along (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def settle() -> None:
    """Take what is loaded by now for no garbage ever: looking through all of it again would hold up ticks of probes."""
    gc.collect()
    gc.freeze()


async def spawn(*command: str, log: Path, environment: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    """Start *command* in a session of its own, its output appended to *log*."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


async def end(process: asyncio.subprocess.Process, *, within_s: float = 5.0) -> None:
    """SIGTERM, and SIGKILL when that was not heard within *within_s*. A stopped process is continued first."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
        process.terminate()
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
