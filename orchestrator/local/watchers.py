"""An observer outside everything: asks the authoritative server every few milliseconds and notes each change.

A process of its own, so that what it measures cannot delay it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.local.layout import WorldFailed
from orchestrator.local.processes import die_with
from orchestrator.local.stub_resolver import NoAnswer, StubResolver, parse

EVERY_S = 0.01


@dataclass(frozen=True, slots=True)
class Change:
    """The answer became another one."""

    at: float
    """When the new answer was first seen: Unix seconds, at most ``EVERY_S`` late."""
    addresses: tuple[str, ...]
    """Sorted; empty where the name has no address or nobody answers."""


async def watch(server: tuple[str, int], name: str, seen: Callable[[Change], None], every_s: float = EVERY_S) -> None:
    """Ask for ever, and call *seen* with the first answer and with every change."""
    loop = asyncio.get_running_loop()
    resolver = StubResolver(server, name)
    last: bytes | None = None
    addresses: tuple[str, ...] | None = None
    due = loop.time()
    while True:
        try:
            reply = await resolver.exchange()
        except NoAnswer:
            reply = b""
        if reply != last:
            last, at = reply, time.time()
            try:
                found = parse(reply)[0]
            except NoAnswer:
                found = ()
            if found != addresses:
                addresses = found
                seen(Change(at, found))
        due = max(due + every_s, loop.time())
        await asyncio.sleep(due - loop.time())


@dataclass
class Watcher:
    """A watching process."""

    path: Path
    process: asyncio.subprocess.Process

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, dns: str, name: str, path: Path) -> AsyncIterator[Watcher]:
        """Watch *name* at *dns* (``address:port``) and write changes to *path*, until the block ends."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orchestrator.local.watchers", "--dns", dns, "--name", name),
            *("--out", str(path), "--parent", str(os.getpid())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            if process.stdout is None or (await process.stdout.readline()).strip() != b"ready":
                raise WorldFailed("the DNS watcher did not start")
            yield cls(path, process)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()

    def changes(self) -> list[Change]:
        """Everything seen so far, oldest first."""
        with self.path.open("rb") as file:
            rows = [json.loads(line) for line in file.read().split(b"\n")[:-1]]
        return [Change(at, tuple(addresses)) for at, addresses in rows]

    async def until(self, addresses: Sequence[str], *, since: float = 0.0, timeout: float = 30.0) -> Change:
        """The first change to exactly *addresses* at or after *since*. Raises TimeoutError."""
        wanted = tuple(sorted(addresses))
        async with asyncio.timeout(timeout):
            while True:
                for change in self.changes():
                    if change.addresses == wanted and change.at >= since:
                        return change
                await asyncio.sleep(0.05)


async def _run(dns: str, name: str, out: Path) -> None:
    host, _, port = dns.rpartition(":")
    with out.open("wb", buffering=0) as file:

        def write(change: Change) -> None:
            file.write(json.dumps([change.at, change.addresses]).encode() + b"\n")

        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await watch((host, int(port)), name, write)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.local.watchers", description=__doc__)
    parser.add_argument("--dns", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with(options.parent)
    asyncio.run(_run(options.dns, options.name, options.out))


if __name__ == "__main__":
    main()
