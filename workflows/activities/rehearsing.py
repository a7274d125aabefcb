"""What a drill does in the world: faults in and out, and waiting for what must happen by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId, ServiceId, rehearses
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.rehearsal import cold_standbys
from orchestrator.core.waiting import no_drill
from providers import registry
from providers.base import FaultKind
from workflows import options
from workflows.activities.looking import Pulses
from workflows.activities.translate import translated
from workflows.wire import (
    FailbackTask,
    FailoverRequest,
    FaultSeen,
    FaultTask,
    Question,
    Refusal,
    RunQuestion,
    RunSeen,
    ServiceStatus,
    Slice,
    Started,
    StatusQuestion,
    Steady,
    SteadyQuestion,
    run_workflow_id,
    service_id,
    shard_of,
)
from workflows.wire.drill import FaultNews, Turn, WhoseTurn
from workflows.wire.ids import turn_id

POLL_S = 0.25
ASKED_WITHIN = timedelta(seconds=5)
_ANSWER: Any = Started | Refusal


class Rehearsing:
    """Activities of the drill workflow."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=options.INJECT)
    async def inject(self, task: FaultTask) -> FaultSeen:
        """Put the fault in until its deadline. A late retry after the clear does nothing."""
        await self._say(task.news)
        with translated():
            state = await registry.faults(task.workload).inject(
                FaultKind(task.kind), task.workload.target, key=task.key, deadline=task.deadline
            )
            return FaultSeen(active=state.active, expired=state.expired)

    @activity.defn(name=options.CLEAR)
    async def clear(self, task: FaultTask) -> FaultSeen:
        """Take the fault out, and say whether it had come out by itself."""
        with translated():
            faults = registry.faults(task.workload)
            before = await faults.state(key=task.key)
            await faults.clear(key=task.key)
            await self._say(None if task.news is None else replace(task.news, out=True))
            return FaultSeen(active=False, expired=before is not None and before.expired)

    @activity.defn(name=options.WHOSE_TURN)
    async def whose_turn(self, service: ServiceId) -> WhoseTurn:
        """The drill of the service that is under way. One that is over, or just ending, is none."""
        handle = self._client.get_workflow_handle(turn_id(service))
        try:
            turn: Turn = await handle.query(
                "holder", result_type=Turn, reject_condition=QueryRejectCondition.NOT_OPEN, rpc_timeout=ASKED_WITHIN
            )
        except WorkflowQueryRejectedError:
            return WhoseTurn()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return WhoseTurn()
            raise
        return WhoseTurn(turn)

    @activity.defn(name=options.STEADY)
    async def steady(self, question: SteadyQuestion) -> Steady:
        """Wait until the service is well; otherwise say what is not."""
        deadline = time.monotonic() + question.within_s
        piece = await self._slice(question.service)
        service = piece.service
        while True:
            activity.heartbeat()
            status = await self._status(question.service, piece)
            colds = cold_standbys(service)
            wrong = unsteady(status, question.home, vantages=len(piece.vantages), colds=colds)
            if wrong and time.monotonic() < deadline:
                await asyncio.sleep(POLL_S)
                continue
            active = next((e.id for e in status.endpoints if (e.weight or 0) > 0), None)
            workload = service.endpoint(active).workload if active else None
            runs = tuple(record.run for record in status.last_runs)
            well = f"every endpoint is healthy{_but_cold(status, colds)}, traffic at {active}"
            text = "; ".join(wrong) or well
            frozen = no_drill((*piece.orders.freezes, *service.policy.freezes), datetime.now(UTC))
            return Steady(not wrong, text, active, workload, service.policy.rto_s, runs, frozen)

    @activity.defn(name=options.AWAIT_RUN)
    async def await_run(self, question: RunQuestion) -> RunSeen:
        """Wait for a run to begin, and then to close."""
        deadline = time.monotonic() + question.within_s
        piece = await self._slice(question.service)
        run, why = question.run, "nothing happened"
        while time.monotonic() < deadline:
            activity.heartbeat()
            if run is None:
                status = await self._status(question.service, piece)
                run, why = _next_run(status, question.known), "; ".join(hold.text for hold in status.hold) or why
                if run is None and status.question is not None and rehearses(question.service):
                    if not question.drill or not _only_cold(status.question):
                        # Nobody answers for a shadow, and by itself it will not move.
                        return RunSeen(None, f"a person would be asked first: {why}")
                    answer = await self._say_yes(question, status.question)
                    if isinstance(answer, Refusal):
                        against = "; ".join(reason.text for reason in answer.reasons)
                        return RunSeen(None, f"a person would be asked first, and their yes refused: {against}")
            else:
                record = await self._record(question.service, run)
                if record is not None and record.status is not RunStatus.RUNNING:
                    return RunSeen(record)
            await asyncio.sleep(POLL_S)
        return RunSeen(None, f"run {run} did not close in time" if run else why)

    async def _say_yes(self, question: RunQuestion, asked: Question) -> Started | Refusal:
        """Answer for the person who would be asked whether a cold standby is to be promoted. Twice is once."""
        trigger = Trigger(f"drill:{question.drill}", f"the yes of a person: {'; '.join(r.text for r in asked.reasons)}")
        request = FailoverRequest(
            id=f"drill-{question.drill}-yes",
            request=Request(MoveKind.FAILOVER, trigger, asked.target),
            drill=question.drill,
        )
        handle = self._client.get_workflow_handle(service_id(question.service))
        answer: Started | Refusal = await handle.execute_update("request", request, result_type=_ANSWER)
        return answer

    @activity.defn(name=options.ASK_FAILBACK)
    async def ask_failback(self, task: FailbackTask) -> Started:
        """Ask for the way home as soon as *target* is healthy. Retried by its workflow until it is granted."""
        trigger = Trigger(f"drill:{task.drill}", f"drill {task.drill} by {task.by}: the way home")
        request = FailoverRequest(
            id=f"drill-{task.drill}-back",
            request=Request(MoveKind.FAILBACK, trigger, task.target),
            drill=task.drill,
        )
        handle = self._client.get_workflow_handle(service_id(task.service))
        while True:
            activity.heartbeat()
            # The update's id is new each time, as a refusal must be asked again; the request's own id keeps it one run.
            answer = await handle.execute_update("request", request, result_type=_ANSWER)
            if isinstance(answer, Started):
                return answer
            if "freeze" in {reason.rule for reason in answer.reasons}:
                # What a drill has moved goes home, whatever window has begun meanwhile.
                aside = replace(trigger, overrides=("freeze",))
                request = replace(request, request=replace(request.request, trigger=aside))
            await asyncio.sleep(POLL_S * 2)

    async def _say(self, news: FaultNews | None) -> None:
        """Tell the service of the fault, so that what it brings about is no flapping; a drill hangs on nobody's ear."""
        if news is not None:
            with contextlib.suppress(RPCError):
                await self._client.get_workflow_handle(service_id(news.service)).signal("faulted", news)

    # ------------------------------------------------------------------ asking

    async def _slice(self, service: ServiceId) -> Slice:
        try:
            piece: Slice = await self._client.get_workflow_handle(service_id(service)).query("slice", result_type=Slice)
        except RPCError as error:
            raise ApplicationError(f"service '{service}' is not there: {error.message}", type="NotFound") from error
        return piece

    async def _status(self, service: ServiceId, piece: Slice) -> ServiceStatus:
        vantages = tuple(vantage.id for vantage in piece.vantages)
        heard = await Pulses(self._client).heard(vantages, shard_of(service, piece.shards))
        question = StatusQuestion(datetime.now(UTC), heard)
        handle = self._client.get_workflow_handle(service_id(service))
        status: ServiceStatus = await handle.query("status", question, result_type=ServiceStatus)
        return status

    async def _record(self, service: ServiceId, run: RunId) -> Record | None:
        handle = self._client.get_workflow_handle(run_workflow_id(service, run))
        try:
            record: Record = await handle.query("record", result_type=Record)
        except RPCError:
            return None
        return record


def unsteady(
    status: ServiceStatus, home: EndpointId | None, *, vantages: int, colds: tuple[EndpointId, ...] = ()
) -> tuple[str, ...]:
    """Everything that keeps the service from being steady, for a drill that begins or ends.

    Too few of the configured *vantages* with an opinion are among it: they could not find the fault. One of *colds*
    that carries nothing is meant to be silent.
    """
    silent = _cold_now(status, colds)
    wrong = [
        f"{a.endpoint} is {a.verdict}: {a.text}"
        for a in status.assessments
        if a.verdict is not Verdict.HEALTHY and a.endpoint not in silent
    ]
    wrong += [
        f"only {a.votes} of {vantages} vantages have a say on {a.endpoint}, and 'down' needs more"
        for a in status.assessments
        if a.verdict is Verdict.HEALTHY and a.votes * 2 <= vantages
    ]
    if status.run:
        wrong.append(f"run {status.run} holds it")
    if status.paused:
        wrong.append(status.paused)
    wrong += [held.text for held in status.held]
    active = [endpoint.id for endpoint in status.endpoints if (endpoint.weight or 0) > 0]
    if home is not None and active != [home]:
        wrong.append(f"traffic is at {', '.join(active) or 'nothing'}, not at {home}")
    return tuple(wrong)


def _cold_now(status: ServiceStatus, colds: tuple[EndpointId, ...]) -> tuple[EndpointId, ...]:
    """Those of *colds* that run nothing now, and need not."""
    silent = {a.endpoint for a in status.assessments if a.verdict in {Verdict.DOWN, Verdict.UNKNOWN}}
    return tuple(e.id for e in status.endpoints if e.id in colds and e.id in silent and e.weight == 0)


def _but_cold(status: ServiceStatus, colds: tuple[EndpointId, ...]) -> str:
    cold = _cold_now(status, colds)
    return f" but {' and '.join(cold)}, cold until promoted" if cold else ""


def _only_cold(asked: Question) -> bool:
    """Whether a person is asked for no other reason than that the target must be promoted first."""
    return bool(asked.reasons) and all(each.rule == "target-cold" for each in asked.reasons)


def _next_run(status: ServiceStatus, known: tuple[RunId, ...]) -> RunId | None:
    """The run that came after those *known*; what would only have been done does not count."""
    if status.run and status.run not in known:
        return status.run
    done = (r.run for r in status.last_runs if r.run not in known and r.status is not RunStatus.OBSERVED)
    return next(done, None)
