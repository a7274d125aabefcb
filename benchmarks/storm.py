"""A storm: a region with a thousand services is lost, and all of them move within a minute, or say why not.

What runs is what a user starts: ``failover up`` (embedded Temporal with its database on disk, one worker process per
vantage), ``failover apply`` of one topology file, BIND with one zone for all names. Each service is at home in the
region that is lost, in mode automatic. Two fifths of them prefer a shared pool that carries three quarters of them and
may go to another one; one fifth has a pool that carries 60 % of it and nothing else; the rest has hardware of its own.
So some must be sent on and some must be refused, and a pool that is promised to more than it carries would be seen.

    python benchmarks/storm.py                          # 1,000 services, three vantages, probes every 5 s, killed
    python benchmarks/storm.py --services 30 --json
    python benchmarks/storm.py --fault frozen --keep

Seen from outside: the zone's serial, polled every 10 ms, gives the time of each update (at most one poll late); an
incremental transfer afterwards gives every change of every name in order. The verdict on a service is the moment when
the log of the vantage that made a majority says that the service's home turned down: before the report is on its way.

Bars: first write below 1 s after the first verdict, last write below 60 s after it; nothing ever refused by the change
guard; no pool with more than it carries at any moment, by DNS and by the governor's ledger; no service left behind that
has room somewhere; no answer empty or elsewhere, nobody moved twice; one generation for each moved service. Exit status
1 when one is missed.

Limits, as somebody with so many services would set them: ``at_once`` and ``per_domain`` a quarter of the services,
``confirm: 0s`` (the default of 10 s would hold every write that long), TTL 5 s; everything else is at its default, the
change guard and the cool-down too.

Run it from a checkout that nobody edits: workers read the code of workflows from disk as each of them begins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import storm_eye as eye
import structlog
from storm_judge import STEADY_S, Storm, final, judged, left_behind
from storm_report import Prepared, Report, text
from storm_world import Wish, World, each_of, say, world

from orchestrator.core.errors import FailoverError
from orchestrator.core.quorum import Verdict
from workflows.wire import ServiceStatus

SETTLE_S = 900.0
QUIET_S = 4.0
"""Without a write for so long: look whether anything is still to come."""


# ------------------------------------------------------------------ before the storm


def well(status: ServiceStatus) -> bool:
    """Every endpoint is healthy and proven, and the record is ours."""
    seen = bool(status.assessments) and all(a.verdict is Verdict.HEALTHY and a.proven for a in status.assessments)
    return seen and status.routing is not None and status.routing.fence is not None


def unwell(status: ServiceStatus) -> str:
    """What is missing."""
    seen = "; ".join(f"{each.endpoint} {each.text}, proven {each.proven}" for each in status.assessments)
    return f"{status.service}: {seen}; routing {status.routing}"


async def prepared(made: World) -> Prepared:
    """Apply, adopt, and wait until everything is well."""
    plane = made.plane
    apply_s = await made.apply()
    say(f"applied in {apply_s:.1f} s")
    began = time.monotonic()
    names = [subject.id for subject in made.scene.subjects]
    await each_of(lambda service: plane.adopt(service, by="benchmark"), names, within_s=SETTLE_S)
    adopt_s = time.monotonic() - began
    say(f"adopted in {adopt_s:.1f} s")
    left = dict.fromkeys(names, "")
    while left:
        statuses = await each_of(plane.status, left, within_s=SETTLE_S)
        left = {name: unwell(status) for name, status in statuses.items() if not well(status)}
        if time.monotonic() - began > SETTLE_S:
            raise RuntimeError(f"{len(left)} services are not well: {next(iter(left.values()))}")
        await asyncio.sleep(0.5)
    settle_s = time.monotonic() - began
    say(f"all well after {settle_s:.1f} s")
    return Prepared(round(apply_s, 2), round(adopt_s, 2), round(settle_s, 2))


# ------------------------------------------------------------------ the storm


async def storm(made: World, fault: str, patience_s: float) -> Storm:
    """Lose the region, and watch until nothing is left to move or patience ends."""
    serials, meter = eye.Serials(made.bind), eye.Meter(made.pids)
    polling, metering = asyncio.create_task(serials.watch()), asyncio.create_task(meter.watch())
    try:
        serial, before = await asyncio.to_thread(eye.whole, made.bind)
        await asyncio.sleep(STEADY_S)
        if serials.last[1] != serial:
            raise RuntimeError(f"somebody wrote while all was well: serial {serials.last[1]}, not {serial}")
        meter.sample()
        at = time.time()
        made.lose("one", fault)
        say(f"region one is {fault}")
        asked = 0.0
        while time.time() < at + patience_s:
            await asyncio.sleep(0.2)
            quiet = time.time() - max(serials.last[0], asked)
            if serials.last[0] > at and quiet > QUIET_S:
                asked = time.time()
                updates = await asyncio.to_thread(eye.updates, made.bind, serial, before)
                stay = left_behind(made.scene, final(before, updates))
                say(f"{asked - at:.0f} s: {len(updates)} updates, {len(stay)} services still to move")
                if not stay:
                    break
        meter.sample()
        updates = await asyncio.to_thread(eye.updates, made.bind, serial, before)
        return Storm(at, serials, before, updates, meter)
    finally:
        serials.stop()
        metering.cancel()
        await asyncio.gather(polling, metering, return_exceptions=True)


# ------------------------------------------------------------------ running it


async def measured(given: argparse.Namespace, folder: Path) -> Report:
    """Everything, from nothing to the report."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    at_once = given.at_once or max(10, given.services // 4)
    wish = Wish(given.services, given.interval, given.vantages, at_once)
    async with world(folder, wish) as made:
        ready = await prepared(made)
        seen = await storm(made, given.fault, given.patience)
        return await judged(made, seen, asdict(wish) | {"fault": given.fault}, ready)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--interval", default="5s", help="between health probes")
    parser.add_argument("--vantages", type=int, default=3, choices=(2, 3, 4, 5))
    parser.add_argument("--fault", choices=("killed", "frozen"), default="killed")
    parser.add_argument("--patience", type=float, default=180.0, help="seconds after the fault")
    parser.add_argument(
        "--at-once", type=int, help="limits.at_once and per_domain (default: a quarter of the services)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and database")
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    try:
        report = asyncio.run(measured(given, folder))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except (FailoverError, RuntimeError, TimeoutError) as error:
        say(f"no figures: {type(error).__name__}: {error}")
        return 1
    finally:
        if given.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(asdict(report) | {"held": report.bars()}, indent=2) if given.json else text(report))
    return 0 if all(report.bars().values()) else 1


if __name__ == "__main__":
    sys.exit(main())
