"""Planned moves at load balancers of one's own, under streams: how soon traffic has moved, and whether a stream is cut.

Clients stream completions of about a second through a real HAProxy or Envoy, one after another, without a pause. The
service is moved to the other endpoint and drained, and back, time after time, by the steering and the drain that a run
would use. Beside them requests without a token follow each other every few milliseconds: the last of them that began
after the call of the move and was still served by the old endpoint says when traffic had moved. Clients and endpoints
are processes of their own.

    python benchmarks/draining.py
    python benchmarks/draining.py --clients 100 --times 20 --only haproxy --json

Bar: no stream is cut, no request fails, and in nine moves of ten traffic has moved within 50 ms of the call: in the
tenth a busy machine may hold the caller up. Exit status 1 when it is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import structlog

from orchestrator.core.steering import SteeringChange, next_lineage, shares_of
from orchestrator.core.topology import Workload
from providers.base import DrainControl, Steering
from providers.onprem.envoy_locality import EnvoyDrain
from providers.onprem.haproxy_server import HaproxyDrain
from real.envoy import CLUSTER
from real.haproxy import BACKEND
from real.onprem_places import EnvoyPlace, HaproxyPlace
from real.place import weights
from real.ports import free_port
from real.streams import Told, Upstream, stream

BAR_MS = 50.0
MOST = 0.9
"""The part of the moves that must keep to it."""
TOKENS, PACE_S = 50, 0.02
"""Of each stream: a second."""
ASK_EVERY_S = 0.002
"""From the end of a request without a token to the next: what is left of the machine is the load balancer's."""
AFTER_S = 0.5
"""From the end of a drain to the next move; in the first half is looked at what short requests were told."""


@dataclass(frozen=True, slots=True)
class Move:
    """One move."""

    called_ms: float
    """How long the call took."""
    moved_ms: float
    """From the call until every request that begins is served by the target."""
    drained_s: float
    """From the call until nothing was in flight at the old endpoint, by the load balancer's count."""
    asked: int
    """Short requests that began after the call."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one load balancer."""

    name: str
    clients: int
    moves: tuple[Move, ...]
    streams: int
    cut: int
    """Streams that did not come to their end."""
    requests: int
    failed: int
    """Of the short requests, those that were not answered."""

    def moved_ms(self, part: float) -> float:
        """Within how long traffic had moved in this *part* of the moves."""
        return sorted(move.moved_ms for move in self.moves)[math.ceil(part * len(self.moves)) - 1]

    @property
    def passed(self) -> bool:
        seen = all(move.asked for move in self.moves)
        return seen and self.cut == 0 and self.failed == 0 and self.moved_ms(MOST) <= BAR_MS


@dataclass
class Balancer:
    """One kind of load balancer, with what moves and drains it."""

    name: str
    place: HaproxyPlace | EnvoyPlace
    drain: Callable[[str], DrainControl]
    """Of the endpoint that is called so there."""


def haproxy(eu: str, us: str) -> Balancer:
    place = HaproxyPlace({"paris": f"{eu} weight 100", "ohio": f"{us} weight 0"})
    options = (("sockets", place.proxy.at),)
    place.spec = place.specified(place.proxy.at)
    return Balancer(
        "haproxy", place, lambda each: HaproxyDrain(Workload("haproxy", f"{BACKEND}/{each}", options=options))
    )


def envoy(eu: str, us: str, *, routes: bool = False) -> Balancer:
    place = EnvoyPlace(routes=routes, places={"aws/paris": eu, "aws/ohio": us})
    options = (("admin", place.proxy.at),)

    def drain(each: str) -> DrainControl:
        return EnvoyDrain(Workload("envoy", each if routes else f"{CLUSTER}/{each}", options=options))

    return Balancer("envoy-routes" if routes else "envoy", place, drain)


BALANCERS: dict[str, Callable[[str, str], Balancer]] = {
    "haproxy": haproxy,
    "envoy": envoy,
    "envoy-routes": lambda eu, us: envoy(eu, us, routes=True),
}


def serve(names: tuple[tuple[str, int], ...]) -> None:
    """The endpoints, in a process of their own."""

    async def forever() -> None:
        for name, port in names:
            await Upstream(name, port, PACE_S).__aenter__()
        await asyncio.Event().wait()

    asyncio.run(forever())


def ask(url: str, clients: int, pipe: Connection) -> None:
    """The clients, in a process of their own, until *pipe* says so: then it is told what they were told."""

    async def all_clients() -> tuple[list[Told], list[Told]]:
        long: list[Told] = []
        short: list[Told] = []
        ending = asyncio.Event()

        async def again(told: list[Told], tokens: int, begin_s: float) -> None:
            await asyncio.sleep(begin_s)
            while not ending.is_set():
                told.append(await stream(url, tokens=tokens))
                if not tokens:
                    await asyncio.sleep(ASK_EVERY_S)

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                # Spread, as clients are: not all end a stream in the same moment.
                group.create_task(again(long, TOKENS, TOKENS * PACE_S * number / clients))
            group.create_task(again(short, 0, 0.0))
            await asyncio.to_thread(pipe.recv)
            ending.set()
        return long, short

    pipe.send(asyncio.run(all_clients()))


async def move(steering: Steering, place: HaproxyPlace | EnvoyPlace, eu: int, us: int, run: str) -> tuple[float, float]:
    """Move, and tell when it was called and when it had returned, by ``time.perf_counter``."""
    now = await steering.read()
    (here, there) = place.targets.values()
    change = SteeringChange(
        now.generation,
        now.answer,
        weights(eu, us),
        shares_of(((here, eu), (there, us))),
        run,
        "steer",
        next_lineage(now.fence),
    )
    called = time.perf_counter()
    await steering.write(change)
    return called, time.perf_counter()


async def drained(control: DrainControl, run: str) -> None:
    """Begin to drain, and wait until nothing is in flight; as the step does, twenty times a second."""
    await control.begin(key=f"{run}/drain")
    while await control.in_flight():  # noqa: ASYNC110  as the step does
        await asyncio.sleep(0.05)


async def measure(name: str, clients: int, times: int) -> Report:
    """Move *times* and judge what clients were told."""
    spawn = multiprocessing.get_context("spawn")
    ports = (free_port(), free_port())
    servers = spawn.Process(target=serve, args=((("paris", ports[0]), ("ohio", ports[1])),), daemon=True)
    servers.start()
    balancer = BALANCERS[name](*(f"127.0.0.1:{port}" for port in ports))
    try:
        await balancer.place.open()
        ours, theirs = spawn.Pipe()
        asking = spawn.Process(target=ask, args=(balancer.place.proxy.url, clients, theirs), daemon=True)
        while not (await stream(balancer.place.proxy.url, tokens=0)).whole:  # noqa: ASYNC110  it starts
            await asyncio.sleep(0.05)
        asking.start()
        await asyncio.sleep(2.5)
        calls: list[tuple[float, float, float, str]] = []
        for number in range(times):
            to_ohio = number % 2 == 0
            called, returned = await move(
                balancer.place.steering(), balancer.place, 100 * (not to_ohio), 100 * to_ohio, f"run-{number}"
            )
            left = tuple(balancer.place.targets.values())[0 if to_ohio else 1]
            await drained(balancer.drain(left), f"run-{number}")
            calls.append((called, returned, time.perf_counter(), "paris" if to_ohio else "ohio"))
            await asyncio.sleep(AFTER_S)
        ours.send("enough")
        long, short = await asyncio.to_thread(ours.recv)
        asking.join(10)
    finally:
        balancer.place.close()
        servers.kill()
    return _judged(name, clients, calls, long, short)


def _judged(
    name: str, clients: int, calls: list[tuple[float, float, float, str]], long: list[Told], short: list[Told]
) -> Report:
    moves = []
    for called, returned, empty, old in calls:
        # Not to the end: what begins just before the next move may be served after it.
        after = [told for told in short if called <= told.began < empty + AFTER_S / 2]
        late = [told.began - called for told in after if told.server == old]
        moved = max(late, default=0.0)
        moves.append(Move((returned - called) * 1000, moved * 1000, empty - called, len(after)))
    cut = sum(not told.whole for told in long)
    return Report(name, clients, tuple(moves), len(long), cut, len(short), sum(not told.whole for told in short))


def _line(report: Report) -> str:
    half, most, worst = (report.moved_ms(part) for part in (0.5, MOST, 1))
    called = statistics.median(each.called_ms for each in report.moves)
    drained_s = statistics.median(each.drained_s for each in report.moves)
    return (
        f"{report.name}: {len(report.moves)} moves under {report.clients} streaming clients: {report.cut} of "
        f"{report.streams} streams cut, {report.failed} of {report.requests} short requests failed; traffic had moved "
        f"{half:.1f} ms after the call, in nine of ten within {most:.1f} ms ({most / BAR_MS:.2f} of the "
        f"{BAR_MS:.0f} ms allowed), at worst {worst:.1f} ms; the call took {called:.1f} ms; nothing was in flight "
        f"after {drained_s:.2f} s"
    )


def _document(report: Report) -> dict[str, Any]:
    moved = {"median_ms": report.moved_ms(0.5), "most_ms": report.moved_ms(MOST), "worst_ms": report.moved_ms(1)}
    return asdict(report) | moved | {"bar_ms": BAR_MS, "passed": report.passed}


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", action="append", choices=sorted(BALANCERS))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    reports = []
    for name in asked.only or BALANCERS:
        reports.append(await measure(name, asked.clients, asked.times))
        if not asked.json:
            print(_line(reports[-1]), flush=True)
    if asked.json:
        print(json.dumps([_document(report) for report in reports], indent=2))
    return 0 if all(report.passed for report in reports) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
