"""Reading what a decision needs, as local activities: heartbeats, routing, the fate of a run. They write nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core import signals
from orchestrator.core.errors import FailoverError
from orchestrator.core.load import Observed, gathered
from orchestrator.core.names import RunId, ServiceId, VantageId
from orchestrator.core.quorum import Verdict
from orchestrator.core.signals import Evidence
from orchestrator.core.steering import Routing
from orchestrator.core.topology import SteeringSpec
from providers import registry
from workflows import options
from workflows.activities.loads import By, observed
from workflows.activities.signals import Signs, evidence
from workflows.wire import (
    Heartbeats,
    Look,
    LookRequest,
    RecheckRequest,
    ServiceStatus,
    StatusQuestion,
    service_id,
    shard_of,
    watch_id,
)
from workflows.wire.watching import LoadsBeat

log = structlog.get_logger()

SAME_S = 0.1
"""So old an answer is given to others who ask: a prober's heart beats every 0.8 s."""


class _Beat:
    """One heartbeat of one prober, as the server has it."""

    def __init__(self, at: datetime, loads: LoadsBeat | None) -> None:
        self.at = at
        self._loads = loads
        self._by: By | None = None
        self._signs: Signs | None = None

    def signs_of(self, service: ServiceId) -> tuple[Evidence, ...]:
        """What it says of signals at *service*; nothing where it says it in a way that is not understood."""
        if self._signs is None:
            beat = self._loads
            try:
                self._signs = evidence(beat.signals, self.at - timedelta(seconds=beat.age_s)) if beat else {}
            except ValueError:
                self._signs = {}
        return self._signs.get(service, ())

    def of(self, service: ServiceId) -> tuple[Observed, ...]:
        """What it says of the load of *service*; nothing where it says it in a way that is not understood."""
        if self._by is None:
            try:
                self._by = {} if self._loads is None else observed(self._loads, self.at)
            except ValueError:
                self._by = {}
        return self._by.get(service, ())


class Pulses:
    """Reads heartbeats for everybody in this process: when a region is lost, hundreds ask at the same time.

    Each question holds the prober's workflow still at the server for a moment, and the answers would be the same.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._read: dict[tuple[VantageId, int], tuple[float, asyncio.Task[_Beat | None]]] = {}
        self._beats: dict[tuple[VantageId, int], _Beat] = {}

    async def heard(self, vantages: tuple[VantageId, ...], shard: int, service: ServiceId | None = None) -> Heartbeats:
        """The last heartbeat of each, by the server's clock, as it was ``SAME_S`` ago at most; with the load of
        *service* as they say it."""
        beats = await asyncio.gather(*(self._last(vantage, shard) for vantage in vantages))
        heard = Heartbeats(tuple((v, beat.at) for v, beat in zip(vantages, beats, strict=True) if beat is not None))
        return heard if service is None else self.about(service, heard, shard)

    def about(self, service: ServiceId, heard: Heartbeats, shard: int) -> Heartbeats:
        """*heard* with the load of *service*, as the heartbeats of that shard said it when they were last read."""
        beats = [beat for vantage, _ in heard.heard if (beat := self._beats.get((vantage, shard))) is not None]
        now = max((beat.at for beat in beats), default=None)
        found = signals.gathered(*(each for beat in beats for each in beat.signs_of(service)))
        return replace(
            heard,
            loads=gathered(*(each for beat in beats for each in beat.of(service))),
            evidence=signals.remembered(found, now=now) if now is not None else (),
        )

    async def _last(self, vantage: VantageId, shard: int) -> _Beat | None:
        now = asyncio.get_running_loop().time()
        begun, reading = self._read.get((vantage, shard), (0.0, None))
        if reading is None or now - begun > SAME_S:
            reading = asyncio.create_task(self._keep(vantage, shard))
            self._read[vantage, shard] = (now, reading)
        # Whoever asked first may give up before the others do.
        return await asyncio.shield(reading)

    async def _keep(self, vantage: VantageId, shard: int) -> _Beat | None:
        beat = await self._ask(vantage, shard)
        if beat is not None:
            self._beats[vantage, shard] = beat
        return beat

    async def _ask(self, vantage: VantageId, shard: int) -> _Beat | None:
        try:
            described = await self._client.get_workflow_handle(watch_id(vantage, shard)).describe()
        except RPCError:
            return None
        beating = [
            each for each in described.raw_description.pending_activities if each.HasField("last_heartbeat_time")
        ]
        if not beating:
            return None
        last = max(beating, key=lambda each: each.last_heartbeat_time.ToDatetime())
        loads = await self._loads(last.heartbeat_details.payloads)
        return _Beat(last.last_heartbeat_time.ToDatetime(tzinfo=UTC), loads)

    async def _loads(self, details: Sequence[Payload]) -> LoadsBeat | None:
        """The second detail; None where there is none, or another program has written it."""
        if len(details) < 2:
            return None
        try:
            (loads,) = await self._client.data_converter.decode([details[1]], [LoadsBeat])
        except Exception as error:
            log.debug("look.loads-unreadable", reason=f"{type(error).__name__}: {error}")
            return None
        return loads if isinstance(loads, LoadsBeat) else None


async def routing(steering: SteeringSpec | None, budget_s: float) -> tuple[Routing | None, str]:
    """The routing at the primary, or why it could not be read within *budget_s*."""
    if steering is None:
        return None, "the service has no steering"
    try:
        async with asyncio.timeout(budget_s):
            return await registry.steering(steering).read(), ""
    except TimeoutError:
        return None, f"{steering.at} did not answer within {budget_s:g} s"
    except FailoverError as error:
        return None, str(error)


async def look(pulses: Pulses, request: LookRequest) -> Look:
    """Heartbeats (with the load that they tell) and routing, side by side, within the request's budget."""
    heard, (read, error) = await asyncio.gather(
        _within(pulses.heard(request.vantages, request.shard, request.service), request.budget_s),
        routing(request.steering, request.budget_s),
    )
    return Look(heard, read, error)


async def _within(reading: object, budget_s: float) -> Heartbeats:
    try:
        async with asyncio.timeout(budget_s):
            result: Heartbeats = await reading  # type: ignore[misc] # always the coroutine of heartbeats
            return result
    except TimeoutError:
        return Heartbeats()


async def run_of(client: Client, service: ServiceId) -> RunId | None:
    """The run that holds *service*; None also where the service is not there. Raises RPCError."""
    handle = client.get_workflow_handle(service_id(service))
    try:
        status: ServiceStatus = await handle.query(
            "status", StatusQuestion(datetime.now(UTC)), result_type=ServiceStatus
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return status.run


class Looking:
    """Local activities of the service and failover workflows."""

    def __init__(self, client: Client, pulses: Pulses) -> None:
        self._client = client
        self._pulses = pulses

    @activity.defn(name=options.LOOK_ACTIVITY)
    async def look(self, request: LookRequest) -> Look:
        """Never raises for what cannot be read: it says so."""
        return await look(self._pulses, request)

    @activity.defn(name=options.DESCRIBE_RUN)
    async def describe_run(self, workflow_id: str) -> str:
        """The run's status as the server has it: ``RUNNING``, ``COMPLETED``, ``TERMINATED`` ... or ``GONE``."""
        try:
            described = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return "GONE"
            raise
        return described.status.name if described.status is not None else "RUNNING"

    @activity.defn(name=options.RECHECK)
    async def recheck(self, request: RecheckRequest) -> str:
        """Why traffic must not move after all: a source that is healthy again. Empty when it may."""
        handle = self._client.get_workflow_handle(service_id(request.service))
        status = await handle.query("status", StatusQuestion(datetime.now(UTC)), result_type=ServiceStatus)
        vantages = tuple(view.vantage for view in status.views)
        heard = await self._pulses.heard(vantages, shard_of(request.service, status.shards), request.service)
        question = StatusQuestion(datetime.now(UTC), heard)
        status = await handle.query("status", question, result_type=ServiceStatus)
        well = [
            each.endpoint
            for each in status.assessments
            if each.endpoint in request.sources and each.verdict is Verdict.HEALTHY
        ]
        return f"{' and '.join(well)} is healthy again" if well and set(well) == set(request.sources) else ""
