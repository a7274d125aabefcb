"""The demo: a region fails under client load, the traffic moves by itself, and goes home when people say so.

What is reported was seen from outside: DNS polled by one process, clients counted by another, the world's own
journal. Only when a failure was detected and decided is taken from the run's record, as nobody else can know.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.config import parse
from orchestrator.core.decision import Request
from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Record, RunStatus
from orchestrator.local.layout import SERVICE
from orchestrator.local.load import Load
from orchestrator.local.measure import DemoReport, Seen, Settings, measure
from orchestrator.local.requests import read_requests
from orchestrator.local.topology_file import topology_yaml
from orchestrator.local.watchers import Watcher
from orchestrator.local.world import World
from orchestrator.runtime.control import ControlPlane
from orchestrator.runtime.up import Running, up
from workflows.wire import FailoverRequest, Refusal, ServiceStatus, run_workflow_id, service_id, watch_id

CHAT = ServiceId(SERVICE)
SCENARIOS = ("region-blackhole", "process-kill", "errors-5xx", "health-lies")
QUIET_S = 3.0
"""Steady traffic before the fault, and after each move."""
SLOWEST_S = 60.0
INTERVAL_S = (0.1, 5.0)
"""What the demo takes: a topology's least, and what still ends within its patience."""
TIMEOUT_S = (0.05, 5.0)
POLL_S = 0.1


class DemoFailed(FailoverError):
    """The demo's world did not do what the demo waits for."""


@dataclass
class Stage:
    """The world, the control plane and the observers of one demo."""

    world: World
    running: Running
    load: Load
    watcher: Watcher
    say: Callable[[str], None]

    @property
    def plane(self) -> ControlPlane:
        return self.running.plane

    async def until(
        self, true: Callable[[ServiceStatus], bool], what: str, within_s: float = SLOWEST_S
    ) -> ServiceStatus:
        """The service's status as soon as *true* of it. Raises DemoFailed."""
        deadline = time.monotonic() + within_s
        while True:
            status = await self.plane.status(CHAT)
            if true(status):
                return status
            if time.monotonic() > deadline:
                wrong = [*(hold.text for hold in status.hold), *(f"{a.endpoint} {a.text}" for a in status.assessments)]
                raise DemoFailed(f"{what} did not happen within {within_s:g} s: {'; '.join(wrong)}")
            await asyncio.sleep(POLL_S)


async def run(
    *,
    interval_s: float = 1.0,
    timeout_s: float = 0.5,
    fall: int = 3,
    scenario: str = "region-blackhole",
    say: Callable[[str], None] = lambda line: None,
    keep: Callable[[Running], Awaitable[None]] | None = None,
) -> DemoReport:
    """Play *scenario* and measure it. *keep* is awaited at the end, with everything still running.

    Raises BadInput for a scenario there is not, DemoFailed, and what starting the parts may raise.
    """
    if scenario not in SCENARIOS:
        raise BadInput(f"there is no scenario '{scenario}'; there are: {', '.join(SCENARIOS)}")
    for option, value, (least, most) in (("interval", interval_s, INTERVAL_S), ("timeout", timeout_s, TIMEOUT_S)):
        if not least <= value <= most:
            raise BadInput(f"--{option} of {value:g} s: the demo takes {least:g} s to {most:g} s")
    with _folder() as folder:
        settings = Settings(interval_s, timeout_s, fall, 3)
        async with staged(folder, settings, say) as stage:
            report = await _play(stage, scenario, settings)
            if keep is not None:
                await keep(stage.running)
            return report


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder that goes away even when this process is killed with -9."""
    with tempfile.TemporaryDirectory(prefix="failover-demo-") as folder:
        # Its input ends with this process; the world, which ends in the same way, has its files until then.
        sweeper = subprocess.Popen(
            ["sh", "-c", 'cat; sleep 3; rm -rf -- "$1"', "sh", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield Path(folder)
        finally:
            sweeper.kill()
            sweeper.communicate()


@asynccontextmanager
async def staged(folder: Path, settings: Settings, say: Callable[[str], None], **load: float) -> AsyncIterator[Stage]:
    """The demo's world, running, with client load as *load* says (``LoadSettings``)."""
    say("starting a world of three regions, its DNS, Temporal and three workers")
    async with World.start(folder / "world") as world:
        text = topology_yaml(
            world.layout,
            interval=f"{round(settings.interval * 1000)}ms",
            timeout=f"{round(settings.timeout * 1000)}ms",
            fall=settings.fall,
        )
        topology = parse(text, "failover.yaml")
        (folder / "failover.yaml").write_text(text, encoding="utf-8")
        async with (
            up(topology, folder / "state") as running,
            Load.start(world.layout, folder / "requests.jsonl", **load) as pressing,
            Watcher.start(world.layout.dns, world.layout.name, folder / "changes.jsonl") as watcher,
        ):
            yield Stage(world, running, pressing, watcher, say)


async def _play(stage: Stage, scenario: str, settings: Settings) -> DemoReport:
    await stage.plane.adopt(CHAT, by="demo")
    status = await stage.until(well, "a healthy start")
    home = next(endpoint.id for endpoint in status.endpoints if endpoint.weight)
    stage.say(f"steady: every endpoint healthy from three vantages, traffic at {home}")
    await asyncio.sleep(QUIET_S)

    fault = (await stage.world.inject(scenario, home, key="demo", seconds=SLOWEST_S), time.time())[1]
    stage.say(f"{scenario} at {home}")
    status = await stage.until(lambda s: closed(s, set()), "the failover")
    failover = status.last_runs[0]
    stage.say(f"failover to {failover.target}: {failover.status}")
    await asyncio.sleep(QUIET_S)
    await stage.world.clear("demo")
    healed = time.time()
    stage.say(f"{home} is healed; waiting until it is healthy again")
    await stage.until(well, f"recovery of {home}")

    asked = time.time()
    failback = await _go_home(stage, home, {failover.run})
    stage.say(f"failback to {failback.target}: {failback.status}")
    await asyncio.sleep(QUIET_S)
    await stage.load.stop()
    journal = await stage.world.events()
    requests = read_requests(stage.load.path)
    changes = stage.watcher.changes()
    address = {place.id: place.address for place in stage.world.layout.regions}
    seen = Seen(requests, changes, journal, address, stage.world.layout.ttl_s)
    return replace(
        measure(scenario, settings, seen, (failover, fault, healed), (failback, asked, time.time())),
        history_events=await _history(stage, (failover.run, failback.run)),
    )


async def _go_home(stage: Stage, home: EndpointId, known: set[RunId]) -> Record:
    """A person asks for the way home."""
    request = Request(MoveKind.FAILBACK, Trigger("demo", "the region is healed"), home)
    answer = await stage.plane.request(CHAT, FailoverRequest("demo-failback", request))
    if isinstance(answer, Refusal):
        raise DemoFailed("the failback was refused: " + "; ".join(reason.text for reason in answer.reasons))
    status = await stage.until(lambda s: closed(s, known), "the failback")
    return status.last_runs[0]


def well(status: ServiceStatus) -> bool:
    """Whether every endpoint is healthy and proven, and no run is under way."""
    return status.run is None and all(a.verdict is Verdict.HEALTHY and a.proven for a in status.assessments)


def closed(status: ServiceStatus, known: set[RunId]) -> bool:
    """Whether a run that is not among *known* has closed."""
    done = [r for r in status.last_runs if r.run not in known and r.status is not RunStatus.RUNNING]
    return status.run is None and bool(done)


async def _history(stage: Stage, runs: tuple[RunId, ...]) -> int:
    """Events in the histories of the service, its runs and its watches."""
    ids = [service_id(CHAT), *(run_workflow_id(CHAT, run) for run in runs)]
    ids += [watch_id(vantage, 0) for vantage in stage.running.workers]  # type: ignore[arg-type] # keyed by vantage id
    described = [await stage.plane.client.get_workflow_handle(each).describe() for each in ids]
    return sum(d.history_length for d in described)
