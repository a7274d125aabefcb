"""The control plane as its users see it: what the CLI and the status page call. One facade over Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy

from orchestrator.config import digest, dump, restore
from orchestrator.core.decision import Request
from orchestrator.core.names import RunId, ServiceId, nearest
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Service, Topology
from orchestrator.runtime import schedules
from orchestrator.runtime.acts import Acts, StillToBegin, no_run, owner_of, to_begin
from orchestrator.runtime.asking import AGAIN, Asking
from orchestrator.runtime.connection import ControlPlaneAway, NoSuch, RefusedByRule, Stale, connect
from orchestrator.runtime.drills import Drills, rehearsable
from orchestrator.runtime.evacuations import Evacuations
from orchestrator.runtime.glance import glance
from orchestrator.runtime.governing import held
from orchestrator.runtime.revisions import Revisions
from orchestrator.runtime.schedules import DrillSchedule
from runbooks.plan import Plan
from workflows.activities.documents import pack, unpack
from workflows.activities.looking import Pulses, look
from workflows.options import TASK_TIMEOUT
from workflows.wire import (
    CONTROL_QUEUE,
    GOVERNOR_ID,
    TOPOLOGY_ID,
    Acknowledge,
    Acted,
    AdoptRequest,
    Applied,
    Apply,
    DrillReport,
    DrillRequest,
    Explanation,
    FailoverRequest,
    Heartbeats,
    LookRequest,
    Pause,
    PlanQuestion,
    Refusal,
    RunAct,
    RunState,
    ServiceStatus,
    SetMode,
    Slice,
    Started,
    StatusQuestion,
    run_workflow_id,
    service_id,
    shard_of,
    watch_id,
)
from workflows.wire.drill import AbortDrill

__all__ = [
    "ControlPlane",
    "ControlPlaneAway",
    "DrillSchedule",
    "Explanation",
    "NoSuch",
    "RefusedByRule",
    "Stale",
]

FOLLOW_S = 0.15
STUCK_ATTEMPTS = 4
"""Attempts at one workflow task from which it is not bad luck any more."""
_T = TypeVar("_T")


class ControlPlane:
    """Everything that a person can ask of the orchestrator. Raises ControlPlaneAway, NoSuch, BadInput."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._temporal = Asking(client)
        self.evacuations = Evacuations(client)
        self._drills = Drills(client)
        self.revisions = Revisions(client)
        self._pulses = Pulses(client)

    @classmethod
    async def connect(cls, address: str | None = None, namespace: str | None = None) -> ControlPlane:
        """Connect by Temporal's environment configuration; arguments win over it."""
        return cls(await connect(address, namespace))

    # ------------------------------------------------------------------ topology

    async def topology(self) -> tuple[Applied, Topology]:
        """The topology in force. NoSuch when nothing was ever applied."""
        applied = await self._temporal.query(TOPOLOGY_ID, "applied", Applied, missing="no topology was ever applied")
        if not applied.document:
            raise NoSuch("no topology was ever applied: failover apply failover.yaml")
        return applied, restore(unpack(applied.document))

    async def apply(self, topology: Topology, *, expects: int, by: str, reason: str = "") -> Applied:
        """Put *topology* in force if *expects* is still the revision (0: none yet). Raises Stale, RefusedByRule."""
        await self._temporal.call(
            self.client.start_workflow(
                "topology",
                Applied(0, ""),
                id=TOPOLOGY_ID,
                task_queue=CONTROL_QUEUE,
                task_timeout=TASK_TIMEOUT,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        )
        apply = Apply(expects, digest(topology), pack(dump(topology)), by, reason)
        return await self._temporal.update(TOPOLOGY_ID, "apply", apply, Applied)

    # ------------------------------------------------------------------ services

    async def statuses(self) -> tuple[ServiceStatus, ...]:
        """All services, sorted by id."""
        try:
            _, topology = await self.topology()
        except NoSuch:
            return ()
        vantages = tuple(vantage.id for vantage in topology.vantages)
        heard = await asyncio.gather(*(self._pulses.heard(vantages, shard) for shard in range(topology.shards)))

        def ask(service: Service) -> Awaitable[ServiceStatus]:
            shard = shard_of(service.id, topology.shards)
            return self._status(service.id, self._pulses.about(service.id, heard[shard], shard))

        return await glance(ask, topology.services)

    async def stuck(self) -> tuple[str, ...]:
        """Sentences about workflows that ended, or whose tasks fail again and again (a fault here, or old workers)."""
        _, topology = await self.topology()
        watches = (watch_id(v.id, shard) for v in topology.vantages for shard in range(topology.shards))
        ids = (TOPOLOGY_ID, GOVERNOR_ID, *(service_id(service.id) for service in topology.services), *watches)
        found = []
        for workflow in ids:
            try:
                described = await self._temporal.call(self.client.get_workflow_handle(workflow).describe())
            except NoSuch:
                found.append(f"{workflow} is gone: {AGAIN}")
                continue
            if described.status is not WorkflowExecutionStatus.RUNNING:
                how = described.status.name.lower().replace("_", " ") if described.status else "ended"
                found.append(f"{workflow} was {how}: {AGAIN}")
            attempt = described.raw_description.pending_workflow_task.attempt
            if attempt >= STUCK_ATTEMPTS:
                found.append(f"{workflow} has failed its task {attempt} times: its worker's log says why")
        return tuple(found)

    async def status(self, service: ServiceId) -> ServiceStatus:
        """One service, in the light of the probers' heartbeats as of now."""
        piece = await self._slice(service)
        vantages = tuple(vantage.id for vantage in piece.vantages)
        return await self._status(service, await self._pulses.heard(vantages, shard_of(service, piece.shards), service))

    async def explain(self, service: ServiceId) -> Explanation:
        """What the orchestrator would do by itself now, and why (not)."""
        return await self._preview(service, None)

    async def plan(self, service: ServiceId, request: Request) -> Plan | Refusal:
        """The plan that *request* would become now; nothing is started."""
        explanation = await self._preview(service, request)
        if explanation.decision == "go" and explanation.plan is not None:
            return explanation.plan
        status = await self.status(service)
        return Refusal(explanation.reasons, held_by=status.run, started_by=status.run_started_by)

    async def request(self, service: ServiceId, request: FailoverRequest) -> Started | Refusal:
        """Start a run. A retry with the same id answers the same."""
        answer: Any = Started | Refusal
        result: Started | Refusal = await self._update(service, "request", request, answer)
        return result

    async def pause(self, service: ServiceId, pause: Pause) -> None:
        """No automatic run starts until somebody resumes."""
        await self._update(service, "pause", pause)

    async def resume(self, service: ServiceId, pause: Pause) -> None:
        """Automation goes on; also releases a service that is held."""
        await self._update(service, "resume", pause)

    async def acknowledge(self, service: ServiceId, word: Acknowledge) -> None:
        """A person has seen what automation did, and it may go on."""
        await self._update(service, "acknowledge", word)

    async def set_mode(self, service: ServiceId, mode: SetMode) -> None:
        """What the orchestrator may do by itself, until the topology says otherwise."""
        await self._update(service, "set_mode", mode)

    async def adopt(self, service: ServiceId, *, by: str) -> Routing:
        """Take the live record under the fence, answer unchanged."""
        return await self._update(service, "adopt", AdoptRequest(by), Routing)

    # ------------------------------------------------------------------ runs

    async def record(self, run: RunId, service: ServiceId | None = None) -> Record:
        """A run's record, running or closed (as long as Temporal keeps it)."""
        owner = service or owner_of(run)
        try:
            return await self._record(run, owner)
        except NoSuch:
            try:
                status = await self.status(owner)
            except NoSuch as error:
                # The service guessed from the run's id may be none: what is wrong then is still the run.
                raise error if service else NoSuch(no_run(run)) from None
            if status.run == run:
                raise StillToBegin(to_begin(run)) from None
            known = next((record for record in status.last_runs if record.run == run), None)
            if known is None:
                raise
            return known

    async def follow(self, service: ServiceId, run: RunId) -> AsyncIterator[Record]:
        """The record each time it grows, until it is closed."""
        seen = -1
        while True:
            record = await self.record(run, service)
            if len(record.entries) != seen:
                seen = len(record.entries)
                yield record
            if record.status is not RunStatus.RUNNING:
                return
            await asyncio.sleep(FOLLOW_S)

    async def run_state(self, run: RunId, service: ServiceId | None = None) -> RunState:
        """What a run waits for, and what people may do with it now."""
        return await self._temporal.query(
            run_workflow_id(service or owner_of(run), run), "state", RunState, missing=no_run(run)
        )

    async def act(self, run: RunId, act: RunAct, service: ServiceId | None = None) -> Acted:
        """Approve, stop, hold or change a run under way. A retry with the same id answers the same.

        Raises RefusedByRule with the run's own sentence, also for a run that is closed.
        """
        return await Acts(self._temporal, self.record).act(run, act, service)

    # ------------------------------------------------------------------ drills

    async def drill(self, request: DrillRequest) -> DrillReport:
        """Start a drill; answers with its first report. RefusedByRule while another of the service is under way."""
        return await self._drills.begin(request, (await self._slice(request.service)).service)

    async def drill_report(self, service: ServiceId, drill: str) -> DrillReport:
        """The drill so far."""
        return await self._drills.report(service, drill)

    async def abort_drill(self, service: ServiceId, drill: str, asked: AbortDrill) -> DrillReport:
        """End a drill, with everything that it has put in taken out. RefusedByRule where it is over."""
        return await self._drills.abort(service, drill, asked)

    async def schedule_drill(self, name: str, cron: str, request: DrillRequest) -> None:
        """Rehearse at the times of *cron* (UTC). BadInput for a cron that Temporal does not take."""
        rehearsable(request, (await self._slice(request.service)).service)
        await self._temporal.call(schedules.create(self.client, name, cron, request))

    async def drill_schedules(self) -> tuple[DrillSchedule, ...]:
        """All of them, sorted by name."""
        return await self._temporal.call(schedules.known(self.client))

    async def pause_schedule(self, name: str, *, paused: bool, by: str, reason: str) -> None:
        """Pause a schedule, or let it go on."""
        asked = schedules.pause(self.client, name, paused=paused, note=f"{by}: {reason}")
        await self._temporal.call(asked, await self._no_schedule(name))

    async def unschedule_drill(self, name: str) -> None:
        """Delete a schedule."""
        await self._temporal.call(schedules.delete(self.client, name), await self._no_schedule(name))

    # ------------------------------------------------------------------ asking Temporal

    async def _slice(self, service: ServiceId) -> Slice:
        return await self._of(service, self._temporal.query(service_id(service), "slice", Slice, running=True))

    async def _update(self, service: ServiceId, update: str, argument: object, answer: type[_T] | None = None) -> _T:
        return await self._of(service, self._temporal.update(service_id(service), update, argument, answer))

    async def _of(self, service: ServiceId, asked: Awaitable[_T]) -> _T:
        """Await *asked* of a service. Only where there is none the topology is read: it takes a while, and may be away.

        Raises NoSuch with the nearest name.
        """
        try:
            return await asked
        except NoSuch as error:
            raise NoSuch(await self._no_service(service)) from error

    async def _status(self, service: ServiceId, heard: Heartbeats) -> ServiceStatus:
        question = StatusQuestion(datetime.now(UTC), heard)
        status = await self._temporal.query(service_id(service), "status", ServiceStatus, question, running=True)
        if status.run is None or any(record.run == status.run for record in status.last_runs):
            return status
        try:
            record = await self._record(status.run, service)
        except NoSuch:
            return status  # it is led out of a lost region with others, and is still to begin
        return replace(status, last_runs=(record, *status.last_runs))

    async def _record(self, run: RunId, service: ServiceId) -> Record:
        return await self._temporal.query(run_workflow_id(service, run), "record", Record, missing=no_run(run))

    async def _preview(self, service: ServiceId, request: Request | None) -> Explanation:
        piece = await self._slice(service)
        seen = await look(
            self._pulses,
            LookRequest(
                service=service,
                vantages=tuple(vantage.id for vantage in piece.vantages),
                shard=shard_of(service, piece.shards),
                steering=piece.service.steering,
                budget_s=3.0,
            ),
        )
        question = PlanQuestion(datetime.now(UTC), seen, request, ledger=await held(self.client))
        return await self._temporal.query(service_id(service), "explain", Explanation, question, running=True)

    async def _no_service(self, service: ServiceId) -> str:
        """The sentence for a service that is not there, with the nearest name."""
        try:
            _, topology = await self.topology()
        except NoSuch as error:
            return str(error)
        names = [known.id for known in topology.services]
        close = nearest(service, names)
        hint = f"did you mean '{close}'?" if close else f"there are: {', '.join(names) or 'none'}"
        return f"there is no service '{service}'; {hint}"

    async def _no_schedule(self, name: str) -> str:
        names = [schedule.name for schedule in await self.drill_schedules()]
        close = nearest(name, names)
        return f"there is no drill schedule '{name}'" + (f"; did you mean '{close}'?" if close else "")
