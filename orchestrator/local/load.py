"""Steady client load on a name, as a process of its own: ``python -m orchestrator.local.load``.

Two populations stream completions: clients that obey the TTL, and clients with pooled connections. Nobody retries:
every failure is counted. One line of JSON per request goes to the file as soon as the request has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import BinaryIO

from orchestrator.local.completion_client import ClientConnection, RequestFailed, completion_request
from orchestrator.local.layout import Layout, WorldFailed
from orchestrator.local.processes import die_with
from orchestrator.local.requests import POOLED, RESOLVING, RequestRecord, read_requests
from orchestrator.local.stub_resolver import NoAnswer, StubResolver


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """Whom the load asks, and how often. Rates per second, durations in seconds."""

    dns: str
    name: str
    port: int
    model: str
    resolving_rate: float = 20.0
    pooled_rate: float = 10.0
    timeout_s: float = 5.0
    """From the start of a request, resolving and connecting included, to its last token."""
    max_tokens: int = 16
    clients_per_rate: float = 1.0
    """Clients for each request a second: each asks about once a second."""


@dataclass
class _Client:
    """One client: its resolver's memory, and its idle connections where it pools."""

    settings: LoadSettings
    population: str
    resolver: StubResolver
    request: bytes
    addresses: tuple[str, ...] = ()
    good_until: float = 0.0
    idle: list[ClientConnection] = field(default_factory=list)

    async def ask(self) -> RequestRecord:
        """One request, from resolving to the last token."""
        started = time.time()
        error, address, tokens, connection = "", "", 0, None
        phase = "resolve"
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                connection = self._pooled()
                if connection is None:
                    address = await self._address()
                    phase = "connect"
                    connection = await self._connect(address)
                address, phase = connection.address, "answer"
                await connection.complete(self.request)
        except TimeoutError:
            error = f"{phase} timed out"
        except (RequestFailed, NoAnswer) as failed:
            error = str(failed)
        except OSError as failed:
            # asyncio puts the address into strerror; the number says it shorter.
            error = f"{phase}: {os.strerror(failed.errno).lower()}" if failed.errno else f"{phase} failed"
        if connection is not None:
            tokens = connection.tokens
            if not error and connection.reusable and self.population == POOLED:
                self.idle.append(connection)
            else:
                connection.close()
        return RequestRecord(self.population, started, time.time(), not error, error, address, tokens)

    def _pooled(self) -> ClientConnection | None:
        while self.idle:
            connection = self.idle.pop()
            if connection.reusable:
                return connection
        return None

    async def _address(self) -> str:
        loop = asyncio.get_running_loop()
        if loop.time() >= self.good_until:
            self.addresses, ttl_s = await self.resolver.resolve()
            self.good_until = loop.time() + ttl_s
        return random.choice(self.addresses)  # noqa: S311  # spreads load, guards nothing

    async def _connect(self, address: str) -> ClientConnection:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: ClientConnection(address), address, self.settings.port)
        return protocol


@dataclass
class _Crowd:
    """Clients of one population who ask in turn, at a steady rate whatever becomes of the answers."""

    clients: list[_Client]
    rate: float
    out: BinaryIO
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask_steadily(self, ended: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due, turn = loop.time() + random.random() / self.rate, 0  # noqa: S311  # only a phase
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), max(due - loop.time(), 0))
                break
            task = loop.create_task(self._one(self.clients[turn % len(self.clients)]))
            self.running.add(task)
            task.add_done_callback(self.running.discard)
            due, turn = due + 1 / self.rate, turn + 1
        if self.running:
            await asyncio.wait(self.running)

    async def _one(self, client: _Client) -> None:
        record = await client.ask()
        self.out.write(json.dumps(astuple(record)).encode() + b"\n")


async def press(settings: LoadSettings, out: BinaryIO, ended: asyncio.Event) -> None:
    """Ask until *ended* is set, then wait for the answers under way."""
    host, _, port = settings.dns.rpartition(":")
    crowds = []
    for population, rate in ((RESOLVING, settings.resolving_rate), (POOLED, settings.pooled_rate)):
        if rate <= 0:
            continue
        resolver = StubResolver((host, int(port)), settings.name)
        request = completion_request(settings.name, settings.model, settings.max_tokens, keep=population == POOLED)
        count = max(round(rate * settings.clients_per_rate), 1)
        clients = [_Client(settings, population, resolver, request) for _ in range(count)]
        crowds.append(_Crowd(clients, rate, out))
    await asyncio.gather(*(crowd.ask_steadily(ended) for crowd in crowds))


@dataclass
class Load:
    """A load process that runs."""

    path: Path
    process: asyncio.subprocess.Process

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, layout: Layout, path: Path, **settings: float) -> AsyncIterator[Load]:
        """Press on *layout*'s name, writing requests to *path*, until the block ends. Settings as LoadSettings.

        A block that is left by an exception ends it at once; else what is under way is waited for.
        """
        wanted = LoadSettings(layout.dns, layout.name, layout.port, layout.model, **settings)  # type: ignore[arg-type]  # numbers
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orchestrator.local.load", "--out", str(path), "--parent", str(os.getpid())),
            *("--settings", json.dumps(asdict(wanted))),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        load = cls(path, process)
        try:
            if process.stdout is None or (await process.stdout.readline()).strip() != b"ready":
                raise WorldFailed("the client load did not start")
            yield load
        except BaseException:
            # Nobody will read what comes now: answers out of a black hole would be waited for to their time-out.
            load.drop()
            raise
        finally:
            await load.stop()

    def requests(self) -> list[RequestRecord]:
        """The requests that have ended so far."""
        return read_requests(self.path)

    def drop(self) -> None:
        """End it at once, with what is under way."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    async def stop(self) -> None:
        """Begin nothing new, wait for what is under way, and end."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            await self.process.wait()


async def _run(settings: LoadSettings, out: Path) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    # Unbuffered: a reader sees whole lines as soon as they are written.
    with out.open("wb", buffering=0) as file:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await press(settings, file, ended)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.local.load", description=__doc__)
    parser.add_argument("--settings", required=True, help="JSON of LoadSettings")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with(options.parent)
    asyncio.run(_run(LoadSettings(**json.loads(options.settings)), options.out))


if __name__ == "__main__":
    main()
