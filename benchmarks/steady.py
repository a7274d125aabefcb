"""What a steady service costs Temporal: history events per endpoint and day, and CPU, while nothing happens.

The real thing runs in the local world: three endpoints, three vantages, a probe a second, three workers, embedded
Temporal. After a warm-up every execution there is (services, watches, topology, heralds, runs) is counted, and
counted again after some minutes in which all stays healthy.

    python benchmarks/steady.py
    python benchmarks/steady.py --minutes 10 --json

What was seen is scaled to a day. Events that come by timers too slow to be seen are added: each vantage's probing
activity ends an epoch after 11 h 50 min (``workflows.options.PROBE_EPOCH``) and begins the next, which costs its watch
EPOCH_EVENTS and, for the snapshot that opens it, each service REPORT_EVENTS. A service that is well sets no timer.
Bar: 50 events per endpoint and day. Exit status 1 when it is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from temporalio.client import Client

from orchestrator.config import parse
from orchestrator.core.names import ServiceId
from orchestrator.core.quorum import Verdict
from orchestrator.local.layout import SERVICE
from orchestrator.local.topology_file import topology_yaml
from orchestrator.local.world import World
from orchestrator.runtime.up import Running, up
from workflows import options
from workflows.activities.probing import RETURN_S

BAR = 50.0
DAY_S = 86_400.0
WARM_S = 20.0
READY_S = 60.0
EPOCH_EVENTS = 11
"""Activity completed, workflow task (3), pause begun and over (2), another task (3), activity scheduled and started."""
REPORT_EVENTS = 4
"""Signal, and its workflow task (3)."""
CONTINUE_EVENTS = 6
"""Continued as new, started, and a workflow task (3) that goes on; rounded up."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen and what it comes to."""

    endpoints: int
    vantages: int
    services: int
    interval_s: float
    seconds: float
    events_seen: int
    seen_in: dict[str, int]
    """Events in the window, by execution."""
    seen_per_endpoint_day: float
    by_timers_per_endpoint_day: float
    per_endpoint_day: float
    cpu_percent: dict[str, float]
    """Of one core, over the window."""
    bar: float = BAR


async def histories(client: Client) -> Counter[str]:
    """Length of the history of every execution, open or closed."""
    found: Counter[str] = Counter()
    async for execution in client.list_workflows(""):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        found[f"{execution.id} {execution.run_id[:8]}"] = (await handle.describe()).history_length
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of the process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processes(running: Running) -> dict[str, int]:
    """Name -> pid of all that the control plane runs."""
    found = {f"worker {vantage}": process.pid for vantage, process in running.workers.items()}
    if running.temporal.process is not None:
        found["temporal"] = running.temporal.process.pid
    return found


async def settled(running: Running) -> None:
    """Until every endpoint is healthy and proven."""
    await running.plane.adopt(ServiceId(SERVICE), by="benchmark")
    async with asyncio.timeout(READY_S):
        while True:
            status = await running.plane.status(ServiceId(SERVICE))
            if all(each.verdict is Verdict.HEALTHY and each.proven for each in status.assessments):
                return
            await asyncio.sleep(0.2)


def by_timers(vantages: int, services: int) -> float:
    """Events a day that come by slow timers: epochs, and the new executions that so many events make necessary."""
    epochs = DAY_S / (RETURN_S + options.PROBE_AGAIN_S)
    events = vantages * epochs * (EPOCH_EVENTS + services * REPORT_EVENTS)
    return events * (1 + CONTINUE_EVENTS / options.CONTINUE_AT)


async def measure(minutes: float, interval_s: float) -> Report:
    """Run everything and count."""
    with tempfile.TemporaryDirectory(prefix="steady-") as folder:
        async with World.start(Path(folder) / "world") as world:
            text = topology_yaml(world.layout, interval=f"{round(interval_s * 1000)}ms")
            topology = parse(text, "failover.yaml")
            async with up(topology, Path(folder) / "up", keep_database=False) as running:
                await settled(running)
                await asyncio.sleep(WARM_S)
                pids = processes(running)
                before, used = await histories(running.plane.client), {name: cpu_s(pid) for name, pid in pids.items()}
                began = time.monotonic()
                await asyncio.sleep(minutes * 60)
                seconds = time.monotonic() - began
                cpu = {name: round(100 * (cpu_s(pid) - used[name]) / seconds, 2) for name, pid in pids.items()}
                after = await histories(running.plane.client)
                status = await running.plane.status(ServiceId(SERVICE))
    if any(each.verdict is not Verdict.HEALTHY for each in status.assessments):
        raise RuntimeError("not steady: " + "; ".join(f"{each.endpoint} {each.text}" for each in status.assessments))
    new = after - before
    endpoints = sum(len(service.endpoints) for service in topology.services)
    seen = new.total() * DAY_S / seconds / endpoints
    slow = by_timers(len(topology.vantages), len(topology.services)) / endpoints
    return Report(
        endpoints=endpoints,
        vantages=len(topology.vantages),
        services=len(topology.services),
        interval_s=interval_s,
        seconds=round(seconds, 1),
        events_seen=new.total(),
        seen_in=dict(new),
        seen_per_endpoint_day=round(seen, 1),
        by_timers_per_endpoint_day=round(slow, 1),
        per_endpoint_day=round(seen + slow, 1),
        cpu_percent=cpu,
    )


def said(report: Report) -> str:
    shape = f"{report.endpoints} endpoints, {report.vantages} vantages, every {report.interval_s:g} s"
    where = "".join(f"\n  {events} in {name}" for name, events in report.seen_in.items())
    cpu = ", ".join(f"{name} {share:.1f} %" for name, share in report.cpu_percent.items())
    return (
        f"{shape}: {report.events_seen} history events in {report.seconds:.0f} s{where}\n"
        f"a day, per endpoint: {report.seen_per_endpoint_day:.1f} as seen + {report.by_timers_per_endpoint_day:.1f} "
        f"by slow timers = {report.per_endpoint_day:.1f} (bar {report.bar:.0f})\n"
        f"CPU, of one core: {cpu}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="how long to count, after the warm-up")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between probes")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    report = asyncio.run(measure(given.minutes, given.interval))
    print(json.dumps(asdict(report), indent=2) if given.json else said(report))
    return 0 if report.per_endpoint_day <= report.bar else 1


if __name__ == "__main__":
    sys.exit(main())
