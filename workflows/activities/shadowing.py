"""A service that is there for a drill only: its canary record, its probing, and how it is left behind."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.quorum import Report, Seed
from orchestrator.core.rehearsal import Pretence, home_of, shadow_of
from orchestrator.core.steering import Routing, SteeringChange, answer_for, full, next_lineage, shares_now, stands
from orchestrator.core.topology import Service
from orchestrator.prober import Engine, Loads, Outbox, PretendingProbes
from providers import registry
from providers.base import Refused, Steering, Transient
from providers.dns.grants import least_grant
from workflows import options
from workflows.activities.loads import Packed
from workflows.activities.looking import routing, run_of
from workflows.activities.probing import epoch
from workflows.wire import Slice, Watch, run_workflow_id, service_id
from workflows.wire.drill import CanaryTask, DrySeen, ShadowQuestion, ShadowSeen, Told

log = structlog.get_logger()

ASK_EVERY_S = 0.5
"""How often a prober of a drill asks what it is told to see."""
ASK_WITHIN_S = 3.0
READ_S = 3.0
PATIENCE_S = 6.0
"""How long a name server that is busy or away is asked again."""
EVERYWHERE_S = 10.0
"""How long name servers may take to give the canary's answer before the drill begins."""
POLL_S = 0.25
RUN_OVER_S = 10.0
"""How long a run of the shadow may go on after its drill before it is cancelled, and then until it has ended."""
_STRANGE = re.compile(r"[^A-Za-z0-9._:-]")
_T = TypeVar("_T")


class Shadowing:
    """Activities of synthetic drills."""

    def __init__(self, client: Client, *, host: str) -> None:
        self._client = client
        self._host = host

    @activity.defn(name=options.SHADOW)
    async def shadow(self, question: ShadowQuestion) -> ShadowSeen:
        """What would stand in for the service, and where its canary would begin. Writes nothing."""
        piece = await self._slice(question.service)
        real = piece.service
        now, _ = await routing(real.steering, READ_S)
        weights = (shares_now(now, real.endpoints) if now is not None else None) or ()
        try:
            service = shadow_of(real)
            home = home_of(real, tuple(endpoint for endpoint, share in weights if share > 0), question.target)
        except FailoverError as error:
            return ShadowSeen(str(error))
        return ShadowSeen("", replace(piece, service=service, drill=question.drill), home)

    @activity.defn(name=options.CANARY)
    async def canary(self, task: CanaryTask) -> DrySeen:
        """Put the canary record at home, and wait until every name server says so.

        It is written each time: that proves the key, its grants and the fence before anything begins.
        """
        try:
            put = await _patiently(lambda: put_home(task, "canary", anew=True))
            behind = await _behind(_steering(task.service), put)
        except FailoverError as error:
            return DrySeen(False, str(error))
        text = f"{steering_name(task.service)} is at {task.home}, generation {put.generation}"
        return DrySeen(not behind, behind or text)

    @activity.defn(name=options.SETTLE_SHADOW)
    async def settle(self, task: CanaryTask) -> DrySeen:
        """Wait until no run moves the canary any more, and leave it at home."""
        deadline = time.monotonic() + RUN_OVER_S
        cancelled = False
        while (run := await run_of(self._client, task.service.id)) is not None:
            activity.heartbeat()
            if time.monotonic() > deadline and cancelled:
                break
            if time.monotonic() > deadline:
                cancelled, deadline = True, time.monotonic() + RUN_OVER_S
                await self._client.get_workflow_handle(run_workflow_id(task.service.id, run)).cancel()
            await asyncio.sleep(POLL_S)
        try:
            now = await _patiently(lambda: put_home(task, "home", anew=False))
        except FailoverError as error:
            return DrySeen(False, f"{steering_name(task.service)} may not be at {task.home}: {error}")
        return DrySeen(True, f"{steering_name(task.service)} is at {task.home}, generation {now.generation}")

    @activity.defn(name=options.PROBE_SHADOW)
    async def probe(self, watch: Watch) -> Seed:
        """Probe the service of a drill until the epoch is over, or the drill is; see what the drill says.

        The engine is the one that every prober runs, and this one's own: what it pretends reaches no other service,
        and no vantage suspects itself for it.
        """
        if watch.rehearsed is None:
            raise ApplicationError("this watch rehearses nothing", type="Bug", non_retryable=True)
        clients = PretendingProbes()
        engine = Engine(
            vantage=watch.vantage,
            shard=watch.shard,
            epoch=watch.epoch,
            host=self._host,
            clients=clients,
            emit=lambda report: outbox.put(report),  # noqa: PLW0108 - the outbox needs the engine, and is made after it
            seed=watch.seed,
        )
        outbox = Outbox(self._send, engine.present)
        # Before the first probe: who takes over from a prober that died in the middle must not see a recovery.
        clients.pretend(await self._told(watch.rehearsed.drill))
        engine.configure((watch.rehearsed.service,), watch.rehearsed.revision)
        loads = Loads(engine.serves)
        loads.configure((watch.rehearsed.service,))
        log.info("rehearsal.started", vantage=watch.vantage.id, epoch=watch.epoch, drill=watch.rehearsed.drill)
        listening = self._listen(clients, watch.rehearsed.drill)
        return await epoch(engine, outbox, clients, Packed(loads), loads.run(), listening)

    async def _listen(self, clients: PretendingProbes, drill: str) -> None:
        """Ask the drill, again and again. While nobody answers, what was said last is true until its deadline."""
        trouble = ""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            try:
                clients.pretend(await self._told(drill))
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
                if said != trouble:
                    log.warning("rehearsal.unheard", drill=drill, reason=said)
                trouble = said
            else:
                trouble = ""

    async def _told(self, drill: str) -> Pretence | None:
        async with asyncio.timeout(ASK_WITHIN_S):
            told: Told = await self._client.get_workflow_handle(drill).query("told", result_type=Told)
        return told.pretence

    async def _send(self, report: Report) -> None:
        """Signal the shadow. Once it is gone its reports are worth nothing."""
        try:
            await self._client.get_workflow_handle(service_id(report.service)).signal("report", report)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _slice(self, service: ServiceId) -> Slice:
        try:
            piece: Slice = await self._client.get_workflow_handle(service_id(service)).query("slice", result_type=Slice)
        except RPCError as error:
            raise ApplicationError(f"service '{service}' is not there: {error.message}", type="NotFound") from error
        return piece


async def put_home(task: CanaryTask, step: str, *, anew: bool) -> Routing:
    """Give the canary record the answer of its home; *anew*: although it may have it, under a new generation.

    The same again does nothing. Raises what ``Steering.read`` and ``Steering.write`` do, Unsteerable, and Refused
    where somebody else's records stand at the name.
    """
    # A schedule's name may be anything, and what stands in a fence may not.
    service, run = task.service, RunId(f"drill-{_STRANGE.sub('-', task.drill)}")
    steering = _steering(service)
    now = await steering.read()
    if now.fence is None and now.answer is not None:
        raise Refused(
            f"{steering_name(service)} answers {', '.join(now.answer.values)}, which no drill has written: "
            "delete these records, or the wildcard that makes them: the name belongs to drills"
        )
    weights = full(service.endpoints, task.home)
    fence = now.fence
    at_home = fence is not None and fence.weights == weights and stands(now, service.endpoints)
    if at_home and (not anew or (fence is not None and fence.token == f"{run}/{step}")):
        return now
    answer = answer_for(service.endpoints, weights)
    change = SteeringChange(now.generation, now.answer, weights, answer, run, step, next_lineage(now.fence))
    try:
        return await steering.write(change)
    except Transient as error:
        # PowerDNS has the same word for a missing right and for a full disk.
        rights = least_grant(service.steering) if service.steering is not None else ""
        raise Transient(f"{error}; the key needs these rights for drills: {rights}") from error


def steering_name(service: Service) -> str:
    """The name that *service* is steered by."""
    return service.steering.name if service.steering is not None else service.name


def _steering(service: Service) -> Steering:
    if service.steering is None:
        raise Refused(f"service '{service.id}' has no steering")
    return registry.steering(service.steering)


async def _patiently(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """What *attempt* comes to; again for a while where it may work next time."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        activity.heartbeat()
        try:
            return await attempt()
        except Transient:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(POLL_S)


async def _behind(steering: Steering, put: Routing) -> str:
    """Which name servers do not give the answer that was *put*; empty once all do."""
    deadline = time.monotonic() + EVERYWHERE_S
    while True:
        activity.heartbeat()
        answers = await steering.answers()
        behind = [f"{each.server}: {each.error or 'another answer'}" for each in answers if each.answer != put.answer]
        if not behind or time.monotonic() > deadline:
            return f"not every name server gives the canary's answer: {'; '.join(behind)}" if behind else ""
        await asyncio.sleep(POLL_S)
