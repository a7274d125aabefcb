"""The supervising process of a world: model servers, DNS and control API, and the faults' deadlines."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
import structlog
import uvicorn

from orchestrator.local.control import application
from orchestrator.local.dns_server import DnsServer
from orchestrator.local.dns_zone import WEIGHTS_LABEL, Grant, Key, Records, Zone
from orchestrator.local.faults import Fault, FaultBoard, Kind
from orchestrator.local.journal import Journal
from orchestrator.local.layout import (
    KEY_FILE,
    KEY_NAME,
    REGIONS,
    SERVICE,
    TOPOLOGY_FILE,
    WORLD_FILE,
    ZONE,
    Layout,
    Place,
    Settings,
    WorldFailed,
    write_layout,
)
from orchestrator.local.servers import ModelProcess
from orchestrator.local.sockets import claim
from orchestrator.local.topology_file import topology_yaml

log = structlog.get_logger()


class _Control(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the supervisor."""
        yield


@dataclass
class Supervisor:
    """A running world. Everything it started ends with it, however it ends."""

    settings: Settings
    journal: Journal = field(default_factory=Journal)
    servers: dict[str, ModelProcess] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    layout: Layout = field(init=False)
    board: FaultBoard = field(init=False)
    dns_server: DnsServer = field(init=False)
    _deadlines: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _lock: int = -1

    # ------------------------------------------------------------ start and end

    async def run(self) -> None:
        """Start everything, say where it is in ``world.json``, and stay until ``ended`` is set."""
        state = Path(self.settings.state)
        self._lock = _locked(state)
        (state / WORLD_FILE).unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ended.set)
        control = socket.create_server(("127.0.0.1", 0))
        prefix, port, listeners = claim(self.settings.regions)
        places = tuple(self._place(number, prefix) for number in range(self.settings.regions))
        self.board = FaultBoard(places)
        try:
            self.dns_server = DnsServer(self._zone(places), self._keys(state), self._updated)
            await self.dns_server.start()
            self.layout = self._layout(places, port, control, state)
            await self._start_servers(listeners, state)
            async with self._control(control):
                (state / TOPOLOGY_FILE).write_text(topology_yaml(self.layout), encoding="utf-8")
                write_layout(self.layout, state / WORLD_FILE)
                self.journal.note("world.ready")
                sys.stdout.write("ready\n")
                sys.stdout.flush()
                log.info("world.ready", control=self.layout.control, dns=self.layout.dns, topology=self.layout.topology)
                await self.ended.wait()
        finally:
            await self._end(state)

    async def _end(self, state: Path) -> None:
        for timer in self._deadlines.values():
            timer.cancel()
        (state / WORLD_FILE).unlink(missing_ok=True)
        await asyncio.gather(*(server.kill() for server in self.servers.values()), return_exceptions=True)
        if hasattr(self, "dns_server"):
            await self.dns_server.stop()

    def _place(self, number: int, prefix: str) -> Place:
        region = REGIONS[number] if number < len(REGIONS) else f"cloud{number + 1}/region{number + 1}"
        role, replicas = ("standby", self.settings.standby) if number else ("active", self.settings.serving)
        return Place(region.split("/")[1], region, f"{prefix}.{number + 1}.1", role, replicas)

    def _layout(self, places: tuple[Place, ...], port: int, control: socket.socket, state: Path) -> Layout:
        return Layout(
            control=f"http://127.0.0.1:{control.getsockname()[1]}",
            dns=f"127.0.0.1:{self.dns_server.port}",
            zone=ZONE,
            name=f"{SERVICE}.{ZONE.rstrip('.')}",
            port=port,
            regions=places,
            key_name=KEY_NAME,
            key_file=str((state / KEY_FILE).absolute()),
            topology=str((state / TOPOLOGY_FILE).absolute()),
            ttl_s=self.settings.ttl_s,
            serving=self.settings.serving,
            standby=self.settings.standby,
            slots=self.settings.model.slots,
            model=self.settings.model.model,
            supervisor=os.getpid(),
        )

    async def _start_servers(self, listeners: list[socket.socket], state: Path) -> None:
        for place, listener in zip(self.layout.regions, listeners, strict=True):
            server = ModelProcess(place, self.layout.port, self.settings.model, state, self.journal, listener)
            server.desired = place.replicas
            self.servers[place.id] = server
        await asyncio.gather(*(server.start(warm=True) for server in self.servers.values()))

    @contextlib.asynccontextmanager
    async def _control(self, listener: socket.socket) -> AsyncIterator[None]:
        config = uvicorn.Config(application(self), log_level="warning", access_log=False, lifespan="off", ws="none")
        # Event streams and kept-alive clients must not hold up the end.
        config.timeout_graceful_shutdown = 1
        server = _Control(config)
        task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await task

    # ------------------------------------------------------------ DNS

    def _keys(self, state: Path) -> dict[dns.name.Name, dns.tsig.Key]:
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        path = state / KEY_FILE
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secret + "\n")
        name = dns.name.from_text(KEY_NAME)
        return {name: dns.tsig.Key(name, secret, dns.tsig.HMAC_SHA256)}

    def _zone(self, places: tuple[Place, ...]) -> Zone:
        """The zone at its beginning: the service's name answers with the active region."""
        origin = dns.name.from_text(ZONE)
        service = dns.name.from_text(SERVICE, origin)
        ns = dns.name.from_text("ns", origin)
        ttl = self.settings.ttl_s

        def one(owner: dns.name.Name, kind: str, text: str) -> tuple[Key, Records]:
            rdtype = dns.rdatatype.from_text(kind)
            return (owner, rdtype), (ttl, (dns.rdata.from_text(dns.rdataclass.IN, rdtype, text),))

        active = next(place for place in places if place.role == "active")
        records = dict(
            (
                one(origin, "SOA", f"ns.{ZONE} hostmaster.{ZONE} 1 60 10 600 {ttl}"),
                one(origin, "NS", f"ns.{ZONE}"),
                one(ns, "A", "127.0.0.1"),
                one(service, "A", active.address),
            )
        )
        types = {kind: dns.rdatatype.from_text(kind) for kind in ("A", "AAAA", "CNAME", "TXT")}
        texts = frozenset({types["TXT"]})
        # The canary is what synthetic drills move.
        names = (service, dns.name.from_text("_drill", service))
        grants = tuple(
            grant
            for name in names
            for grant in (
                Grant(name, frozenset({types["A"], types["AAAA"], types["CNAME"]})),
                Grant(dns.name.from_text("_failover", name), texts),
                Grant(dns.name.from_text(WEIGHTS_LABEL, name), texts),
            )
        )
        return Zone(origin, records, grants)

    def _updated(self, message: dns.update.UpdateMessage) -> None:
        name = dns.name.from_text(f"{self.layout.name}.")
        answer = self.dns_server.zone.records.get((name, dns.rdatatype.A), (0, ()))[1]
        addresses = sorted(item.to_text() for item in answer)
        self.journal.note("dns.updated", serial=self.dns_server.zone.serial, addresses=addresses)

    # ------------------------------------------------------------ faults

    async def inject(self, kind: Kind, target: str, *, key: str, deadline: datetime) -> Fault:
        """Put a fault in until *deadline*, which this process keeps. Once per *key*."""
        known = self.board.state(key)
        fault = self.board.inject(kind, target, key=key, deadline=deadline, now=datetime.now(UTC))
        if known is None and fault.active:
            self._watch(key)
            self.journal.note("fault.in", key=key, kind=kind, target=target, deadline=fault.deadline.isoformat())
            await self._reconcile(fault)
        return fault

    async def clear(self, key: str) -> Fault | None:
        """Take a fault out for good."""
        known = self.board.state(key)
        fault = self.board.clear(key)
        timer = self._deadlines.pop(key, None)
        if timer is not None:
            timer.cancel()
        if fault is not None and known is not None and known.active:
            await self._reconcile(fault)
            self.journal.note("fault.out", key=key, kind=fault.kind, target=fault.target)
        return fault

    def _watch(self, key: str) -> None:
        """Take the fault out when its deadline has come; else look again soon, since the wall clock may be set."""
        now = datetime.now(UTC)
        fault = self.board.state(key)
        if fault is None or not fault.active:
            return
        wait = (fault.deadline - now).total_seconds()
        if wait > 0:
            self._deadlines[key] = asyncio.get_running_loop().call_later(min(wait, 1.0), self._watch, key)
            return
        for over in self.board.expire(now):
            self._deadlines.pop(over.key, None)
            self.journal.note("fault.expired", key=over.key, kind=over.kind, target=over.target)
            task = asyncio.get_running_loop().create_task(self._reconcile(over))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reconcile(self, fault: Fault) -> None:
        for endpoint in fault.endpoints:
            await self.servers[endpoint].suffer(self.board.standing(endpoint))


def _locked(state: Path) -> int:
    """Hold *state* for this process alone, until it ends. Raises WorldFailed."""
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise WorldFailed(
            f"another local world runs in {state}; end it, or choose another directory with --state"
        ) from None
    return lock


async def supervise(settings: Settings, *, end_with_stdin: bool = False) -> None:
    """Run a world until it is told to end; says ``ready`` on standard output. Raises WorldFailed.

    *end_with_stdin*: the closing of standard input is the death of whoever started it.
    """
    supervisor = Supervisor(settings)
    if end_with_stdin:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _on_input, supervisor.ended)
    try:
        await supervisor.run()
    except OSError as error:
        raise WorldFailed(f"the local world could not start in {settings.state}: {error.strerror}") from error


def _on_input(ended: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        ended.set()
