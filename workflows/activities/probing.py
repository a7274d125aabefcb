"""Probing for hours inside one activity. Reports go to the services as signals, and only when something changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.config import restore
from orchestrator.core.names import Domain, ServiceId
from orchestrator.core.quorum import Report, Seed
from orchestrator.core.topology import Service, Topology
from orchestrator.prober import Bundling, Engine, Falling, Loads, Outbox, Pace, Signals
from providers.probes import Probes
from workflows import options
from workflows.activities.answers import Answers
from workflows.activities.documents import unpack
from workflows.activities.loads import Packed
from workflows.wire import CONTROL_QUEUE, TOPOLOGY_ID, Applied, Watch, lost_id, service_id, shard_of
from workflows.wire.lost import Bundle

log = structlog.get_logger()

REVISION_EVERY_S = 2.0
"""How often a running prober asks whether the topology has changed."""
PACE = Pace(beat_s=0.5)
RETURN_S = options.PROBE_EPOCH.total_seconds() - 600


async def epoch(
    engine: Engine, outbox: Outbox, clients: Probes, told: Packed, *besides: Coroutine[Any, Any, None]
) -> Seed:
    """Probe until the epoch is over, with what goes on *besides*, and close *clients*.

    Heartbeats come from the engine's own tick: a stuck engine is noticed. They tell what is *told* as well.
    """
    ticking = engine.run(on_tick=lambda: activity.heartbeat(engine.beat(), *told.details()), pace=PACE)
    try:
        async with asyncio.timeout(RETURN_S), asyncio.TaskGroup() as group:
            for each in (ticking, outbox.run(), told.run(), *besides):
                group.create_task(each)
    except TimeoutError:
        return engine.beat()
    finally:
        await clients.close()
    return engine.beat()


class Probing:
    """The activity of the watch workflows."""

    def __init__(self, client: Client, *, host: str, cache: Path) -> None:
        self._client = client
        self._host = host
        self._cache = cache / "topology.json"

    @activity.defn(name=options.PROBE_ACTIVITY)
    async def probe(self, watch: Watch) -> Seed:
        """Probe until the epoch is over."""
        clients = Probes()
        engine = Engine(
            vantage=watch.vantage,
            shard=watch.shard,
            epoch=watch.epoch,
            host=self._host,
            clients=clients,
            emit=lambda report: outbox.put(report),  # noqa: PLW0108 - the outbox needs the engine, and is made after it
            seed=watch.seed,
        )
        falling = Falling()
        bundles = _Bundles(self._client, watch, falling)
        outbox = Outbox(self._send, engine.present, Bundling(falling.region, bundles.send))
        answers = Answers(self._look_again)
        loads, signals = Loads(engine.serves), Signals(self._look_again)

        def configure(topology: Topology, revision: int) -> None:
            share = _share(topology, watch)
            engine.configure(share, revision)
            falling.configure(share)
            bundles.configure(topology)
            answers.configure(share)
            loads.configure(share)
            signals.configure(share)

        applied, topology = await self._topology()
        configure(topology, applied.revision)
        log.info("probe.started", vantage=watch.vantage.id, epoch=watch.epoch, revision=applied.revision)
        besides = (loads.run(), signals.run(), answers.run(), self._follow(configure, watch, applied.revision))
        return await epoch(engine, outbox, clients, Packed(loads, signals), *besides)

    async def _look_again(self, service: ServiceId) -> None:
        """The answer changed. A signal that is lost is made up for by the next change, or by any other news."""
        with contextlib.suppress(RPCError):
            await self._client.get_workflow_handle(service_id(service)).signal("look_again")

    async def _send(self, report: Report) -> None:
        """Signal the service. A service that is gone is no reason to keep its report."""
        try:
            await self._client.get_workflow_handle(service_id(report.service)).signal("report", report)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            log.warning("probe.no-service", service=report.service)

    async def _follow(self, configure: Callable[[Topology, int], None], watch: Watch, revision: int) -> None:
        """Topology changes reach the running engine. Whatever goes wrong in here, the probing itself goes on."""
        handle = self._client.get_workflow_handle(TOPOLOGY_ID)
        trouble = ""
        while True:
            await asyncio.sleep(REVISION_EVERY_S)
            try:
                now: int = await handle.query("revision", result_type=int)
                if now == revision:
                    trouble = ""
                    continue
                applied, topology = await self._in_force()
                configure(topology, applied.revision)
            except Exception as error:
                # Its owner is away, or wrote what this program is too old to read: what is known is watched on.
                said = f"{type(error).__name__}: {error}"
                if said != trouble:
                    trouble = said
                    log.warning("probe.topology-unknown", vantage=watch.vantage.id, revision=revision, reason=said)
                continue
            revision = applied.revision
            log.info("probe.reconfigured", vantage=watch.vantage.id, shard=watch.shard, revision=revision)

    async def _topology(self) -> tuple[Applied, Topology]:
        """The topology in force; the copy on this worker's disk when it cannot be had or read."""
        try:
            return await self._in_force()
        except Exception as error:
            if not self._cache.exists():
                raise
            log.warning("probe.topology-cached", reason=f"{type(error).__name__}: {error}")
            known, _, text = self._cache.read_text(encoding="utf-8").partition("\n")
            return Applied(int(known), ""), restore(text)

    async def _in_force(self) -> tuple[Applied, Topology]:
        """The topology as its owner has it, kept on disk. Raises what its owner's absence, or its document, raises."""
        async with asyncio.timeout(5):
            applied = await self._client.get_workflow_handle(TOPOLOGY_ID).query("applied", result_type=Applied)
        text = unpack(applied.document)
        topology = restore(text)
        self._keep(applied.revision, text)
        return applied, topology

    def _keep(self, revision: int, text: str) -> None:
        """Remember the topology on disk. A disk that is full costs the copy, not the probing."""
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._cache.with_suffix(f".{os.getpid()}.new")
            fresh.write_text(f"{revision}\n{text}", encoding="utf-8")
            fresh.replace(self._cache)
        except OSError as error:
            log.warning("probe.topology-not-kept", path=str(self._cache), reason=error.strerror)


class _Bundles:
    """Sends what one vantage says of many services to whoever leads them out of the region."""

    def __init__(self, client: Client, watch: Watch, falling: Falling) -> None:
        self._client = client
        self._watch = watch
        self._falling = falling
        self._vantages = self._at_once = 1

    def configure(self, topology: Topology) -> None:
        self._vantages = len(topology.vantages)
        self._at_once = topology.orders.limits.at_once

    async def send(self, region: Domain, reports: tuple[Report, ...]) -> None:
        """Signal the region's leader, who begins with the first bundle. Raises RPCError."""
        vantage = self._watch.vantage
        bundle = Bundle(
            domain=region,
            vantage=vantage.id,
            region=vantage.region,
            vantages=self._vantages,
            at_once=self._at_once,
            fallen=tuple(self._falling.fallen(report) for report in reports),
        )
        await self._client.start_workflow(
            "lost",
            region,
            id=lost_id(region),
            task_queue=CONTROL_QUEUE,
            task_timeout=options.CROWD_TASK_TIMEOUT,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            start_signal="heard",
            start_signal_args=[bundle],
        )


def _share(topology: Topology, watch: Watch) -> tuple[Service, ...]:
    """This shard's services, by the number of shards now in force."""
    return tuple(s for s in topology.services if shard_of(s.id, topology.shards) == watch.shard)
