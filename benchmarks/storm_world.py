"""The world of ``storm.py``: a thousand services at home in one region, their standbys in two others, a zone in BIND.

One process per region answers for everything that stands there, each endpoint on an address of its own; losing the
region is losing that process. The control plane is what a user starts: ``failover up`` with its database on disk, and
``failover apply``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from storm_region import MODEL

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import ServiceId
from orchestrator.runtime.control import ControlPlane
from orchestrator.runtime.embedded import free_port
from orchestrator.runtime.processes import end, spawn
from real.bind import Bind

ZONE = "storm.example."
TTL_S = 5
REGIONS = {"one": "onprem/one", "two": "cloud-a/two", "three": "cloud-b/three"}
"""``one`` is lost."""
OUTSIDE = ("cloud-a/two", "cloud-b/three", "cloud-c/four", "cloud-d/five", "cloud-e/six")
"""Where vantages stand."""
HEAVIEST = 6
"""Requests in flight that a service needs at most; each needs 1 to so many."""
SHARE = {"shared-two": 0.75, "shared-three": 0.4, "small-two": 0.6}
"""What each pool carries, of all that would come to it first (for ``shared-three``: of what prefers the other)."""
ASKED_AT_ONCE = 4
START_S = 60.0
APPLY_S = 900.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint of a service."""

    id: str
    region: str
    address: str
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A service: at home in ``one``, with its standbys in the order in which they are tried."""

    id: str
    load: int
    home: Place
    standbys: tuple[Place, ...]

    @property
    def name(self) -> str:
        return f"{self.id}.{ZONE}"

    def standing(self, answer: tuple[str, ...]) -> Place | None:
        """The endpoint that *answer* sends clients to; None where it is empty, or no endpoint of this service alone."""
        return next((place for place in (self.home, *self.standbys) if answer == (place.address,)), None)


@dataclass(frozen=True, slots=True)
class Scenery:
    """Who stands where, and what the pools carry."""

    subjects: tuple[Subject, ...]
    pools: dict[str, int]


def scenery(services: int) -> Scenery:
    """Two fifths prefer a pool that is too small for them and have another; one fifth has a small pool alone; the rest
    has hardware of its own."""
    rng = Random(3)  # the same world each time
    subjects, wanted = [], dict.fromkeys(SHARE, 0)
    for number in range(services):
        load = rng.randint(1, HEAVIEST)
        at = {name: f"127.{10 + index}.{number // 250}.{number % 250 + 1}" for index, name in enumerate(REGIONS)}
        near, far = Place("near", "two", at["two"]), Place("far", "three", at["three"])
        match number % 5:
            case 0 | 1:
                both = (replace(near, pool="shared-two"), replace(far, pool="shared-three"))
                standbys: tuple[Place, ...] = both
                wanted["shared-two"] += load
                wanted["shared-three"] += load
            case 2:
                standbys = (replace(near, pool="small-two"),)
                wanted["small-two"] += load
            case 3:
                standbys = (near,)
            case _:
                standbys = (far,)
        subjects.append(Subject(f"s{number:04}", load, Place("home", "one", at["one"]), standbys))
    return Scenery(tuple(subjects), {pool: max(1, round(wanted[pool] * share)) for pool, share in SHARE.items()})


# ------------------------------------------------------------------ the topology file


@dataclass(frozen=True, slots=True)
class Wish:
    """What the run is to be like."""

    services: int
    interval: str
    vantages: int
    at_once: int


_HEAD = """\
apiVersion: failover/v1
kind: Topology
regions: [{regions}]
simulates_hosts: true # its vantages stand on one machine and count apart
vantages:
{vantages}
"""
_RULES = """\
pools:
{pools}
limits: {{at_once: {at_once}, per_domain: {at_once}}}
services:
"""
_SERVICE = """\
  - id: {id}
    name: {name}
    as_name: false
    endpoints:
{endpoints}
    probes:
      - {{id: health, path: /health, interval: {interval}}}
      - {{id: completion, kind: chat, model: {model}, max_tokens: 4}}
    steering:
      provider: rfc2136
      zone: {zone}
      ttl: {ttl}s
      primary: "{dns}"
      key: {{name: {key_name}, secret: {{file: "{key}"}}}}
    policy: {{mode: automatic, rto: 1m, capacity: {load}, confirm: 0s, prefer: [{prefer}]}}
"""
_ENDPOINT = (
    '      - {{id: {id}, url: "http://{address}:{port}", answer: [{address}], '
    "region: {region}, role: {role}, capacity: {load}{pool}}}"
)


def head(wish: Wish) -> str:
    """The topology without any service: enough for workers to start."""
    stand = OUTSIDE[: wish.vantages]
    regions = sorted({*REGIONS.values(), *stand})
    vantages = "\n".join(f"  - {{id: v-{domain.partition('/')[2]}, region: {domain}}}" for domain in stand)
    return _HEAD.format(regions=", ".join(regions), vantages=vantages)


def topology(wish: Wish, scene: Scenery, *, port: int, dns: str, key: Path, key_name: str) -> str:
    """The whole topology, as a person would have it."""
    pools = "\n".join(f"  {pool}: {{capacity: {capacity}}}" for pool, capacity in scene.pools.items())
    shared = {
        "interval": wish.interval,
        "model": MODEL,
        "zone": ZONE.rstrip("."),
        "ttl": TTL_S,
        "dns": dns,
        "key": key,
        "key_name": key_name,
    }
    services = [
        _SERVICE.format(
            id=subject.id,
            name=subject.name.rstrip("."),
            endpoints="\n".join(
                _ENDPOINT.format(
                    id=place.id,
                    address=place.address,
                    port=port,
                    region=REGIONS[place.region],
                    role="active" if place is subject.home else "standby",
                    load=subject.load,
                    pool=f", pool: {place.pool}" if place.pool else "",
                )
                for place in (subject.home, *subject.standbys)
            ),
            load=subject.load,
            prefer=", ".join(place.id for place in subject.standbys),
            **shared,
        )
        for subject in scene.subjects
    ]
    return head(wish) + _RULES.format(pools=pools, at_once=wish.at_once) + "".join(services)


# ------------------------------------------------------------------ what runs


class Zone(Bind):
    """BIND, which keeps every change of the storm, to be asked for afterwards (RFC 1995)."""

    def _configuration(self) -> str:
        roomy = "options { max-journal-size 256m; max-ixfr-ratio unlimited;"
        return super()._configuration().replace("options {", roomy, 1)


@dataclass
class World:
    """Everything that runs."""

    folder: Path
    wish: Wish
    scene: Scenery
    bind: Zone
    port: int
    """Of every endpoint."""
    regions: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    up: asyncio.subprocess.Process | None = None
    temporal: str = ""
    """Address of the embedded server."""
    connected: ControlPlane | None = None

    @property
    def plane(self) -> ControlPlane:
        """What people ask the product by. Raises RuntimeError before ``failover up`` runs."""
        if self.connected is None:
            raise RuntimeError("failover up does not run")
        return self.connected

    @property
    def state(self) -> Path:
        """Where ``failover up`` keeps what it has, the workers' logs too."""
        return self.folder / "up"

    def lose(self, region: str, how: str) -> None:
        """Kill the region, or freeze it: connections stay open and nothing answers."""
        self.regions[region].send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)

    def pids(self) -> dict[str, int]:
        """Name -> process id of all that runs, this program included."""
        found = {"this program": os.getpid()}
        found |= {f"region {name}": each.pid for name, each in self.regions.items() if each.returncode is None}
        if self.bind.process is not None:
            found["bind"] = self.bind.process.pid
        if self.up is not None and self.up.returncode is None:
            found["up"] = self.up.pid
            found |= {name: pid for pid, name, _ in children(self.up.pid)}
        return found

    async def apply(self) -> float:
        """Put the topology in force with ``failover apply``; seconds that it took. Raises RuntimeError."""
        key = self.folder / "key"
        key.write_text(self.bind.secret, encoding="utf-8")
        file = self.folder / "failover.yaml"
        text = topology(
            self.wish, self.scene, port=self.port, dns=self.bind.at, key=key, key_name=self.bind.key.rstrip(".")
        )
        file.write_text(text, encoding="utf-8")
        began = time.monotonic()
        log = self.folder / "apply.log"
        process = await spawn(
            program(), "apply", str(file), "--yes", log=log, environment={"TEMPORAL_ADDRESS": self.temporal}
        )
        try:
            async with asyncio.timeout(APPLY_S):
                await process.wait()
        finally:
            await end(process)
        if process.returncode:
            raise RuntimeError(f"failover apply ended with status {process.returncode}: {_end_of(log)}")
        return time.monotonic() - began

    async def start_up(self) -> None:
        """Start ``failover up`` without any service, and connect to what it runs. Raises RuntimeError."""
        file, log = self.folder / "bare.yaml", self.folder / "up.log"
        file.write_text(head(self.wish), encoding="utf-8")
        self.up = await spawn(
            *(program(), "up", str(file), "--state", str(self.state), "--port", str(free_port())), log=log
        )
        async with asyncio.timeout(START_S):
            while "Everything runs" not in " ".join(log.read_text(encoding="utf-8").split()):
                if self.up.returncode is not None:
                    raise RuntimeError(f"failover up ended with status {self.up.returncode}: {_end_of(log)}")
                await asyncio.sleep(0.05)
        command = next(command for _, name, command in children(self.up.pid) if name == "temporal")
        self.temporal = f"127.0.0.1:{command[command.index('--port') + 1]}"
        self.connected = await ControlPlane.connect(self.temporal, "default")


async def each_of(
    work: Callable[[ServiceId], Awaitable[_T]],
    services: Iterable[str],
    *,
    within_s: float,
    found: dict[str, _T] | None = None,
) -> dict[str, _T]:
    """*work* for every service, a few at a time, again where the control plane is too busy. Raises TimeoutError.

    Answers are put into *found* as they come, so that a time-out loses none.
    """
    places = asyncio.Semaphore(ASKED_AT_ONCE)
    answers = {} if found is None else found
    trouble: set[str] = set()

    async def one(service: str) -> None:
        async with places:
            while service not in answers:
                try:
                    answers[service] = await work(ServiceId(service))
                except FailoverError as error:
                    if str(error) not in trouble:
                        trouble.add(str(error))
                        say(f"{service}, and perhaps others: {error}; asked again until it answers")
                    await asyncio.sleep(1.0)

    async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
        for service in services:
            group.create_task(one(service))
    return answers


def say(line: str) -> None:
    print(line, file=sys.stderr)


def program() -> str:
    """The ``failover`` command, beside this interpreter."""
    return str(Path(sys.executable).parent / "failover")


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()


def children(pid: int) -> list[tuple[int, str, list[str]]]:
    """Process id, name and command of each child of ``failover up``."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            with contextlib.suppress(FileNotFoundError):
                command = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
                name = f"worker {command[command.index('--vantage') + 1]}" if "--vantage" in command else "temporal"
                found.append((int(child), name, command))
    return sorted(found, key=lambda each: each[1])


@contextlib.asynccontextmanager
async def world(folder: Path, wish: Wish) -> AsyncIterator[World]:
    """Regions, zone and control plane, without any service yet; all of it is ended with the block."""
    scene = scenery(wish.services)
    records = tuple(f"{subject.id} {TTL_S} A {subject.home.address}" for subject in scene.subjects)
    made = World(folder, wish, scene, Zone(zone=ZONE, records=records), free_port())
    try:
        await made.bind.start()
        for name in REGIONS:
            places = [p for s in scene.subjects for p in (s.home, *s.standbys) if p.region == name]
            made.regions[name] = await _start_region(made, name, [place.address for place in places])
        await made.start_up()
        yield made
    finally:
        if made.up is not None:
            await end(made.up, within_s=30)
        await asyncio.gather(*(end(process) for process in made.regions.values()))
        made.bind.close()


async def _start_region(made: World, name: str, addresses: list[str]) -> asyncio.subprocess.Process:
    file, log = made.folder / f"{name}.addresses", made.folder / f"{name}.log"
    file.write_text("\n".join(addresses), encoding="utf-8")
    process = await spawn(
        *(
            sys.executable,
            str(Path(__file__).with_name("storm_region.py")),
            "--port",
            str(made.port),
            "--addresses",
            str(file),
        ),
        log=log,
    )
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(addresses[-1], made.port)
                writer.close()
                return process
            if process.returncode is not None:
                raise RuntimeError(f"region {name} ended with status {process.returncode}: {_end_of(log)}")
            await asyncio.sleep(0.02)
