"""The product as a subject of ``detection.py``: three vantages with everything, or one vantage's probing alone.

``Product`` is what a user runs: embedded Temporal, three worker processes, BIND, mode automatic. ``OneVantage`` is no
mode of the product, where down takes two vantages at least: it is the probe engine, the health and the fenced write,
without Temporal and without a quorum, and shows what detection alone costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from abc import abstractmethod
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import structlog

from orchestrator.config import parse
from orchestrator.core.health import Health
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.quorum import Report
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.steering import SteeringChange, next_lineage
from orchestrator.core.topology import Topology
from orchestrator.prober import Engine
from orchestrator.runtime.up import Running, up
from providers import registry
from providers.probes import Probes
from real.bind import Bind, least

CHAT, ACTIVE, STANDBY = ServiceId("chat"), EndpointId("active"), EndpointId("standby")
READY_S = 30.0

TOPOLOGY = """\
apiVersion: failover/v1
kind: Topology
regions: [one/active, two/standby, three/far, four/farther]
simulates_hosts: true
vantages:
  - {{id: near, region: two/standby}}
  - {{id: far, region: three/far}}
  - {{id: farther, region: four/farther}}
services:
  - id: chat
    name: chat.example
    as_name: false
    probes:
      - id: http
        path: /health
        interval: {interval}
        timeout: {timeout}
        fall: {failures}
        rise: 1
        connection: {connection}
    endpoints:
      - id: active
        url: http://{active}:{port}
        answer: [{active}]
        region: one/active
        role: active
        capacity: 10
      - id: standby
        url: http://{standby}:{port}
        answer: [{standby}]
        region: two/standby
        role: standby
        capacity: 10
    steering:
      provider: rfc2136
      zone: example
      ttl: 1s
      primary: "{dns}"
      key: {{name: failover., secret: {{file: "{key}"}}}}
    policy: {{mode: automatic, rto: 1m, capacity: 10, confirm: 0s, cooldown: 0s}}
"""


class Ours:
    """Two endpoints in a real BIND, asked by DNS from outside."""

    def __init__(self, *, interval_s: float, timeout_s: float, failures: int, connection: str = "kept-alive") -> None:
        self.settings = {
            "interval": f"{round(interval_s * 1000)}ms",
            "timeout": f"{round(timeout_s * 1000)}ms",
            "failures": failures,
            "connection": connection,
        }
        self.directory = Path(tempfile.mkdtemp(prefix="detection-"))
        self.bind: Bind | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def port(self) -> int:
        """Where the name server listens."""
        return self.bind.port if self.bind else 0

    async def start(self, active: str, standby: str, port: int) -> None:
        """Serve *active* and watch both; returns when the standby would be taken."""
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
        self.bind = Bind(records=(f"chat 1 A {active}",), policy=least("chat.example."))
        await self._stack.enter_async_context(self.bind)
        key = self.directory / "key"
        key.write_text(self.bind.secret, encoding="utf-8")
        text = TOPOLOGY.format(**self.settings, active=active, standby=standby, port=port, dns=self.bind.at, key=key)
        await self.watch(parse(text, "failover.yaml"))

    @abstractmethod
    async def watch(self, topology: Topology) -> None:
        """Begin to watch, and wait until everything is known to be well."""

    async def timeline(self) -> list[tuple[str, float]]:
        """What it says of itself, for the curious: moments by Unix time."""
        return []

    async def stop(self) -> None:
        await self._stack.aclose()
        shutil.rmtree(self.directory, ignore_errors=True)


class Product(Ours):
    """Everything, as ``failover up`` runs it: three vantages, Temporal, quorum, plan, run."""

    running: Running | None = None

    async def watch(self, topology: Topology) -> None:
        self.running = await self._stack.enter_async_context(up(topology, self.directory / "up", keep_database=False))
        plane = self.running.plane
        await plane.adopt(CHAT, by="benchmark")
        async with asyncio.timeout(READY_S):
            while True:
                status = await plane.status(CHAT)
                if all(each.verdict == "healthy" and each.proven for each in status.assessments):
                    return
                await asyncio.sleep(0.1)

    async def timeline(self) -> list[tuple[str, float]]:
        record = await self._closed()
        return [(f"{entry.mark} {entry.step or ''}".strip(), entry.at.timestamp()) for entry in record.entries]

    async def _closed(self) -> Record:
        if self.running is None:
            raise RuntimeError("it was never started")
        async with asyncio.timeout(READY_S):
            while True:
                for record in (await self.running.plane.status(CHAT)).last_runs:
                    if record.status is not RunStatus.RUNNING:
                        return record
                await asyncio.sleep(0.1)


class OneVantage(Ours):
    """One vantage's engine and the fenced write: no Temporal, no quorum, and no mode of the product."""

    _writing: asyncio.Task[None] | None = None

    async def watch(self, topology: Topology) -> None:
        self._well = asyncio.Event()
        self._service = topology.services[0]
        await self._write(STANDBY, ACTIVE)
        clients = Probes()
        self._stack.push_async_callback(clients.close)
        engine = Engine(vantage=topology.vantages[0], shard=0, epoch=1, host="here", clients=clients, emit=self._take)
        engine.configure(topology.services, 1)
        running = asyncio.create_task(engine.run())
        self._stack.callback(running.cancel)
        async with asyncio.timeout(READY_S):
            await self._well.wait()

    def _take(self, report: Report) -> None:
        health = {state.endpoint: state.health for state in report.states}
        if set(health.values()) == {Health.HEALTHY}:
            self._well.set()
        if self._well.is_set() and health[ACTIVE] is Health.DOWN and self._writing is None:
            self._writing = asyncio.create_task(self._write(ACTIVE, STANDBY))

    async def _write(self, away: EndpointId, to: EndpointId) -> None:
        spec = self._service.steering
        answer = next(endpoint.answer for endpoint in self._service.endpoints if endpoint.id == to)
        if spec is None or answer is None:
            raise RuntimeError("the topology above has both")
        steering = registry.steering(spec)
        now = await steering.read()
        weights = tuple(sorted(((away, 0), (to, 100))))
        lineage = next_lineage(now.fence)
        await steering.write(SteeringChange(now.generation, now.answer, weights, answer, f"to-{to}", "steer", lineage))
