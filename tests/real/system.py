"""The whole product with real processes: a local world, BIND, Temporal on a database file, one worker per vantage.

    async with System.start(tmp_path) as system:
        await system.steady()
        await system.black_hole("paris")
        run = await system.run()

What it says about the world it has seen from outside: DNS is polled by the test itself, from begin to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import dns.exception
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import WorkflowHandle

from orchestrator.config import parse
from orchestrator.core.decision import Request
from orchestrator.core.errors import FailoverError
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId, VantageId
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.steering import decode
from orchestrator.core.topology import Topology, Vantage
from orchestrator.local.layout import ModelSettings
from orchestrator.local.topology_file import topology_yaml
from orchestrator.local.world import World
from orchestrator.runtime.control import ControlPlane
from orchestrator.runtime.embedded import EmbeddedTemporal
from orchestrator.runtime.processes import spawn
from orchestrator.runtime.up import Running
from real.bind import Bind, least
from real.ports import free_port
from workflows.wire import FailoverRequest, ServiceStatus, Started

CHAT = ServiceId("chat")
NAME = "chat.local.test."
FENCE = f"_failover.{NAME}"
CANARY = f"_drill.{NAME}"
ZONE = "local.test."
OUTSIDE = tuple(Vantage(VantageId(name), Domain(f"watch/{name}")) for name in ("east", "north", "west"))
"""Vantages that stand where no endpoint does: any one of them may fall silent, and two still see everything."""
PAIR = OUTSIDE[:2]
"""Enough where nobody falls: two workers start quicker than three."""
LONGEST_S = 100.0
"""A test that hangs ends with the place where it hung, before pytest ends everything."""
_T = TypeVar("_T")


async def _connected(temporal: EmbeddedTemporal) -> ControlPlane:
    """A connection; a server that has ended is started again, as ``up`` does: it chooses ports that others may take."""
    if temporal.ended:
        await temporal.start()
    return await ControlPlane.connect(temporal.address, "default")


async def until(ask: Callable[[], Awaitable[_T]], true: Callable[[_T], bool], what: str, within_s: float = 45.0) -> _T:
    """What *ask* answers, as soon as it is *true*; what it raises for a passing reason counts as not yet."""
    deadline = time.monotonic() + within_s
    said: object = None
    while True:
        try:
            answer = await ask()
        except (FailoverError, OSError, dns.exception.DNSException) as error:
            said = error
        else:
            if true(answer):
                return answer
            said = answer
        assert time.monotonic() < deadline, f"{what} did not happen within {within_s:g} s; last: {said}"
        await asyncio.sleep(0.03)


@dataclass
class Eye:
    """Polls the name server like a client would, and remembers every change. Times are monotonic."""

    server: Bind
    answers: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    fences: list[tuple[float, int]] = field(default_factory=list)
    serials: list[tuple[float, int]] = field(default_factory=list)
    unanswered: int = 0
    every_s: float = 0.02
    over: bool = False
    """Ends the polling: a cancellation may be lost in ``asyncio.wait_for`` (before Python 3.12) as a reply comes."""

    async def watch(self) -> None:
        """Poll until it is over."""
        while not self.over:
            try:
                self._note(self.answers, await self.server.ask(NAME, "A", timeout_s=0.5))
                text = await self.server.ask(FENCE, "TXT", timeout_s=0.5)
                self._note(self.fences, decode(text[0]).generation if text else 0)
                self._note(self.serials, await self.serial())
            except (dns.exception.DNSException, OSError):
                self.unanswered += 1
            await asyncio.sleep(self.every_s)

    async def serial(self) -> int:
        """The zone's serial: every update that changed anything has raised it by one."""
        return int((await self.server.ask(ZONE, "SOA", timeout_s=0.5))[0].split()[2])

    @staticmethod
    def _note(seen: list[tuple[float, Any]], value: Any) -> None:
        if not seen or seen[-1][1] != value:
            seen.append((time.monotonic(), value))

    def begin(self) -> None:
        """Forget what was seen, except for what stands now."""
        for seen in (self.answers, self.fences, self.serials):
            del seen[:-1]

    @property
    def told(self) -> tuple[tuple[str, ...], ...]:
        """The answers that clients got, in order, without repetition."""
        return tuple(answer for _, answer in self.answers)

    @property
    def writes(self) -> int:
        """How many updates changed the zone since polling began."""
        return self.serials[-1][1] - self.serials[0][1]

    def changed(self, since: float, to: tuple[str, ...]) -> float:
        """Seconds from *since* until the answer was *to*. Raises AssertionError when it never was."""
        for at, answer in self.answers:
            if at >= since and answer == to:
                return at - since
        raise AssertionError(f"the answer never became {to}: {self.answers}")


@dataclass
class System:
    """Everything that runs, and what tests do to it."""

    world: World
    dns: Bind
    topology: Topology
    text: str
    """The topology as a file, as far as a file can say it."""
    running: Running
    eye: Eye
    module: str = "orchestrator.runtime.worker"
    """What each worker process runs."""
    environment: dict[str, str] = field(default_factory=dict)

    # ------------------------------------------------------------------ start and end

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls,
        folder: Path,
        *,
        vantages: tuple[Vantage, ...] | None = OUTSIDE,
        change: Callable[[Topology], Topology] = lambda topology: topology,
        history: str | None = None,
        load_s: float = 1.0,
        adopt: bool = True,
        module: str = "orchestrator.runtime.worker",
        environment: dict[str, str] | None = None,
        longest_s: float = LONGEST_S,
        regions: int = 3,
        names: tuple[tuple[str, str], ...] = (),
        canary: bool = False,
        **settings: Any,
    ) -> AsyncIterator[System]:
        """Start everything side by side; *vantages* None: one in each region of the world, as ``up`` has it.

        *names* are further names that can be steered, each with the endpoint that it sends clients to at first;
        *canary*: the key may change the name that synthetic drills move, too.
        """
        async with asyncio.timeout(longest_s), contextlib.AsyncExitStack() as stack:
            temporal = EmbeddedTemporal(folder / "up", free_port())
            stack.push_async_callback(lambda: _kill(temporal.process))
            starting = asyncio.create_task(temporal.start())
            model = ModelSettings(load_s=load_s, first_token_s=0.01, token_s=0.005)
            world = await stack.enter_async_context(World.start(folder / "world", model=model, regions=regions))
            steered = (("chat", "paris"), *names)
            dns = Bind(
                zone=ZONE,
                records=tuple(f"{name} {world.layout.ttl_s} A {world.place(at).address}" for name, at in steered),
                policy=(
                    *(line for name, _ in steered for line in least(f"{name}.{ZONE}")),
                    *(least(CANARY) if canary else ()),
                ),
                clauses="check-names ignore;" if canary else "",
                key=world.layout.key_name,
                secret=await asyncio.to_thread(lambda: Path(world.layout.key_file).read_text(encoding="utf-8").strip()),
            )
            await stack.enter_async_context(dns)
            quick = {"interval": "500ms", "chat_interval": "2s"} | settings
            text = topology_yaml(world.layout, dns=dns.at, **quick)
            topology = parse(text, "failover.yaml")
            if vantages is not None:
                regions = tuple(sorted({*topology.regions, *(vantage.region for vantage in vantages)}))
                topology = replace(topology, vantages=vantages, regions=regions)
            await starting
            plane = await until(lambda: _connected(temporal), lambda _: True, "Temporal answers")
            running = Running(plane, temporal, folder / "up")
            system = cls(world, dns, change(topology), text, running, Eye(dns), module, environment or {})
            stack.push_async_callback(system._end)
            for vantage in topology.vantages:
                await system.start_worker(vantage, history=history)
            await until(lambda: plane.apply(system.topology, expects=0, by="test"), lambda _: True, "apply")
            if adopt:
                await plane.adopt(CHAT, by="test")
            watching = asyncio.create_task(system.eye.watch())
            try:
                yield system
            finally:
                system.eye.over = True
                await watching  # what nobody watched was not seen to be right

    async def _end(self) -> None:
        await asyncio.gather(*(_kill(process) for process in self.running.workers.values()))

    @property
    def plane(self) -> ControlPlane:
        return self.running.plane

    async def start_worker(self, vantage: Vantage, *, key: str = "", history: str | None = None) -> None:
        """Start a worker process of *vantage*, kept under *key* (its vantage, unless said otherwise)."""
        key = key or vantage.id
        self.running.workers[key] = await spawn(
            *(sys.executable, "-m", self.module),
            *("--vantage", vantage.id, "--domain", vantage.region),
            *("--state", str(self.running.state / f"worker-{key}")),
            *("--history", history or self.running.history),
            log=self.running.state / f"worker-{key}.log",
            environment={
                "TEMPORAL_ADDRESS": self.running.temporal.address,
                "TEMPORAL_NAMESPACE": "default",
                **self.environment,
            },
        )

    # ------------------------------------------------------------------ who does what

    def pid_of(self, key: str) -> int:
        return self.running.workers[key].pid

    def key_of(self, identity: str) -> str:
        """Which worker a Temporal identity (``pid@host``) means."""
        pid = int(identity.partition("@")[0])
        return next(key for key, process in self.running.workers.items() if process.pid == pid)

    async def holder(self, workflow: str) -> str:
        """The worker that carried out the last task of *workflow*: its next one sticks to it."""
        history = await self._handle(workflow).fetch_history()
        wanted = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        last = next(event for event in reversed(history.events) if event.event_type == wanted)
        return self.key_of(last.workflow_task_completed_event_attributes.identity)

    async def executor(self, run: str) -> str:
        """The worker that is at work on a step of *run*."""

        async def pending() -> list[Any]:
            described = await self._handle(run).describe()
            started = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            return [each for each in described.raw_description.pending_activities if each.state == started]

        found = await until(pending, bool, "a step in progress")
        return self.key_of(found[0].last_worker_identity)

    async def queues(self, run: str) -> list[tuple[str, str]]:
        """Step and queue of each attempt of *run*, in order, by Temporal's own history."""
        history = await self._handle(run).fetch_history()
        wanted = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        found = (e.activity_task_scheduled_event_attributes for e in history.events if e.event_type == wanted)
        return [(each.activity_type.name, each.task_queue.name) for each in found]

    def _handle(self, workflow: str) -> WorkflowHandle[Any, Any]:
        return self.plane.client.get_workflow_handle(workflow)

    # ------------------------------------------------------------------ what happens to it

    def freeze(self, key: str) -> None:
        """SIGSTOP a worker: its connections stay open, and nothing answers."""
        os.kill(self.pid_of(key), signal.SIGSTOP)

    def thaw(self, key: str) -> None:
        os.kill(self.pid_of(key), signal.SIGCONT)

    async def kill(self, key: str) -> None:
        """SIGKILL a worker, and wait until it is gone. Nobody starts it again."""
        await _kill(self.running.workers[key])

    async def strike(self, key: str, how: str) -> None:
        """``kill`` or ``freeze`` a worker."""
        if how == "kill":
            await self.kill(key)
        else:
            self.freeze(key)

    async def kill_temporal(self) -> None:
        """SIGKILL the server."""
        await _kill(self.running.temporal.process)

    async def restart_temporal(self) -> None:
        """SIGKILL the server, and start it again on its database file, at the same address."""
        await self.kill_temporal()
        await self.running.temporal.start()

    async def black_hole(self, endpoint: str, *, key: str = "fault") -> float:
        """Nothing at *endpoint* answers any more. Returns when that was, on the monotonic clock."""
        at = time.monotonic()
        await self.world.inject("region-blackhole", endpoint, key=key)
        return at

    # ------------------------------------------------------------------ what is seen

    def answer(self, endpoint: str) -> tuple[str, ...]:
        """The answer that sends clients to *endpoint*."""
        return (self.world.place(endpoint).address,)

    async def status(self) -> ServiceStatus:
        return await self.plane.status(CHAT)

    async def steady(self) -> ServiceStatus:
        """Every endpoint healthy and proven in the eyes of most vantages, nothing running."""
        most = len(self.topology.vantages) // 2 + 1

        def well(status: ServiceStatus) -> bool:
            seen = status.assessments
            return status.run is None and all(
                a.verdict is Verdict.HEALTHY and a.proven and a.votes >= most for a in seen
            )

        return await until(self.status, well, "a steady state")

    async def promoting(self, endpoint: str) -> None:
        """Until *endpoint* has been told to scale up, by the world's own word: a run is in its first step."""
        await until(lambda: self.world.endpoint(endpoint), lambda seen: seen["desired"] > 1, f"promotion of {endpoint}")

    async def runs(self) -> list[str]:
        """Workflow ids of the runs there were, newest first, by Temporal's word: no worker is asked."""
        found = [each async for each in self.plane.client.list_workflows("WorkflowType = 'failover'")]
        return [each.id for each in sorted(found, key=lambda each: each.start_time, reverse=True)]

    async def run(self, *, nth: int = 1, within_s: float = 45.0) -> str:
        """Workflow id of the *nth* run, as soon as it has been started."""
        return (await until(self.runs, lambda found: len(found) >= nth, "a run", within_s))[0]

    async def closed(self, run: str, *, within_s: float = 45.0) -> Record:
        """The record of the run *run* when it is over."""
        handle = self.plane.client.get_workflow_handle(run, result_type=Record)
        async with asyncio.timeout(within_s):
            record: Record = await handle.result()
            return record

    async def record(self, run: str) -> Record:
        return await self.plane.record(RunId(run.rpartition("/")[2]), CHAT)

    async def go_home(self, fault: str = "fault") -> Record:
        """Take the fault out, wait until all is well, and bring the traffic home."""
        await self.world.clear(fault)
        await self.steady()
        before = len(await self.runs())
        request = Request(MoveKind.FAILBACK, Trigger("test", "healed"), EndpointId("paris"))
        answer = await self.plane.request(CHAT, FailoverRequest(f"home-{before}", request))
        assert isinstance(answer, Started), answer
        record = await self.closed(answer.workflow)
        assert record.status is RunStatus.COMPLETED, record.entries
        await self.world.scale("ohio", 1, key=f"home-{before}")
        await self.steady()
        return record

    async def moved_once(self, since: float, target: str = "ohio") -> float:
        """Seconds from *since* to the new answer. Raises AssertionError unless the world saw exactly one write."""
        generation = decode((await self.dns.ask(FENCE, "TXT"))[0]).generation
        fences = [value for _, value in self.eye.fences]
        assert fences in ([generation - 1], [generation - 1, generation]), fences
        assert await self.eye.serial() == self.eye.serials[0][1] + 1, self.eye.serials
        assert self.eye.told == (self.answer("paris"), self.answer(target))
        return self.eye.changed(since, self.answer(target))


async def _kill(process: asyncio.subprocess.Process | None) -> None:
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
