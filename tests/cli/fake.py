"""A control plane that keeps its state in memory, so that the command can be tested without Temporal.

It answers as the real one does: names that do not exist raise NoSuch, a revision that has moved raises Stale, a run
grows entry by entry, and what a person sets is what the next status says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.config.canonical import digest
from orchestrator.core.crashes import Memory
from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId, VantageId, nearest
from orchestrator.core.quorum import Assessment, Verdict, View
from orchestrator.core.record import Entry, Mark, Record, RunStatus, StepBrief
from orchestrator.core.revisions import Judged, Revision, judged
from orchestrator.core.steering import Fence, Routing
from orchestrator.core.topology import (
    Answer,
    Endpoint,
    Mode,
    Policy,
    Role,
    Service,
    SteeringSpec,
    Topology,
    Vantage,
)
from orchestrator.runtime.control import (
    ControlPlane,
    ControlPlaneAway,
    DrillSchedule,
    Explanation,
    NoSuch,
    RefusedByRule,
    Stale,
)
from runbooks.plan import Approve, Plan, Steer, Step
from runbooks.progress import Event, Progress, StepState, advance, begin
from workflows import acting
from workflows.wire import (
    Acknowledge,
    Acted,
    Applied,
    DrillPhase,
    DrillReport,
    DrillRequest,
    EndpointBrief,
    FailoverRequest,
    Pause,
    Refusal,
    RunAct,
    RunState,
    ServiceStatus,
    SetMode,
    Started,
    Waiting,
)
from workflows.wire.drill import AbortDrill

T0 = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EU, US, AP = EndpointId("eu"), EndpointId("us"), EndpointId("ap")
HOMES = {EU: "10.0.0.1", US: "10.0.0.2", AP: "10.0.0.3"}


def at(offset_s: float) -> datetime:
    """A moment *offset_s* after the tests' beginning of time."""
    return T0 + timedelta(seconds=offset_s)


def make_service(name: str, *, policy: Policy | None = None) -> Service:
    """A service with three endpoints, eu active, steered by DNS."""
    endpoints = tuple(
        Endpoint(
            endpoint,
            f"http://{home}:8000",
            Domain(f"cloud/{endpoint}"),
            Role.ACTIVE if endpoint == EU else Role.STANDBY,
            Answer("addresses", (home,)),
            capacity=10,
        )
        for endpoint, home in sorted(HOMES.items())
    )
    steering = SteeringSpec("rfc2136", f"{name}.example.", "example.", 10, "127.0.0.1:53")
    return Service(ServiceId(name), f"{name}.example", endpoints, steering, policy or Policy(capacity=5))


def make_topology(*names: str) -> Topology:
    """A topology with services of those names and three vantages."""
    vantages = tuple(Vantage(VantageId(f"v{n}"), Domain(f"watch/r{n}")) for n in (1, 2, 3))
    regions = tuple(sorted({Domain(f"cloud/{e}") for e in HOMES} | {vantage.region for vantage in vantages}))
    return Topology(regions, vantages, tuple(make_service(name) for name in sorted(names)))


def serving_weights(active: EndpointId) -> tuple[tuple[EndpointId, int], ...]:
    return tuple((endpoint, 100 if endpoint == active else 0) for endpoint in sorted(HOMES))


def make_entries(*, unplanned: bool = True) -> tuple[Entry, ...]:
    """The entries of a run that goes well."""
    first = (Entry(at(0), Mark.LAST_GOOD, "eu answered"), Entry(at(1.4), Mark.DETECTED, "eu is down from 2 of 3"))
    return (
        *(first if unplanned else ()),
        Entry(at(1.5), Mark.DECIDED, "eu is down; us has room"),
        Entry(at(1.6), Mark.STEP_STARTED, "steer to us", "steer"),
        Entry(at(1.7), Mark.STEERED, "the primary took the write", "steer"),
        Entry(at(1.7), Mark.STEP_DONE, "traffic goes to us", "steer", 0.1),
        Entry(at(1.8), Mark.STEP_STARTED, "ask every server", "converge"),
        Entry(at(2.0), Mark.CHANGED, "127.0.0.1:53 gives the new answer", "converge"),
        Entry(at(12.0), Mark.STEP_DONE, "every server gives the new answer", "converge", 10.2),
        Entry(at(12.0), Mark.CONVERGED, "clients that obey the time to live have moved"),
        Entry(at(12.1), Mark.CLOSED, "completed"),
    )


def make_record(run: str = "r1", service: str = "chat", **changes: object) -> Record:
    """A completed failover from eu to us."""
    record = Record(
        run=RunId(run),
        service=ServiceId(service),
        kind=MoveKind.FAILOVER,
        trigger=Trigger("automatic", "eu is down"),
        status=RunStatus.COMPLETED,
        started=at(1.5),
        objective_s=60.0,
        source=(EU,),
        target=US,
        before=serving_weights(EU),
        after=serving_weights(US),
        revision=1,
        generation=41,
        runbook="region-failover",
        steps=(
            StepBrief("steer", "steer", "send all traffic to us", 5.0),
            StepBrief("converge", "converge", "wait until every server says so", 60.0),
        ),
        entries=make_entries(),
        closed=at(12.1),
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # tests name real fields


@dataclass
class Life:
    """A run under way, as its workflow would keep it: people act on it by the workflow's own rules."""

    plan: Plan
    progress: Progress
    ballots: dict[str, acting.Ballot] = field(default_factory=dict)
    answers: dict[str, Acted] = field(default_factory=dict)
    told: int = 0
    """How much of the script has been played."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    """A person has acted."""


@dataclass
class Entity:
    """One service's state, as its workflow would keep it."""

    service: Service
    mode: Mode
    active: EndpointId = EU
    generation: int = 41
    verdicts: dict[EndpointId, Verdict] = field(default_factory=lambda: dict.fromkeys(HOMES, Verdict.HEALTHY))
    short: set[EndpointId] = field(default_factory=set)
    """Endpoints without room."""
    paused: str | None = None
    acknowledged: str | None = None
    refuses: tuple[Objection, ...] = ()
    """Why it refuses whatever it is asked for."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further fields of its status."""
    held: tuple[Objection, ...] = ()
    hold: tuple[Objection, ...] = ()
    run: RunId | None = None
    records: list[Record] = field(default_factory=list)
    answers: dict[str, Started] = field(default_factory=dict)


class FakeRevisions:
    """The revisions in memory, each in force for an hour; tests set what the services remember."""

    def __init__(self) -> None:
        self.every: list[Revision] = []
        self.texts: dict[int, Topology] = {}
        self.memories: list[Memory] = []

    def add(self, number: int, topology: Topology, by: str, reason: str) -> None:
        """*topology* comes in force."""
        since = at(3600.0 * number)
        if self.every:
            self.every[0] = replace(self.every[0], until=since)
        self.every.insert(0, Revision(number, digest(topology), since, None, by, reason, kept=True))
        self.texts[number] = topology

    async def judged(self, topology: Topology) -> tuple[Judged, ...]:
        now = self.every[0].since + timedelta(hours=1)
        bake_s = topology.orders.bake_s
        return tuple(judged(each, tuple(self.memories), bake_s=bake_s, now=now) for each in self.every)

    async def document(self, number: int) -> Topology:
        if number not in self.texts:
            raise NoSuch(f"what revision {number} said is not kept any more")
        return self.texts[number]


class FakeControlPlane(ControlPlane):
    """The control plane in memory. Tests set *away*, *ending*, *pace_s* and the entities' verdicts."""

    def __init__(self, *services: str) -> None:
        self.away = False
        self.ending = RunStatus.COMPLETED
        self.pace_s = 0.0
        """Between two entries of a run."""
        self.approval: Approve | None = None
        """What every run waits for before it steers."""
        self.revisions: Any = FakeRevisions()
        self.lives: dict[RunId, Life] = {}
        self.drill_verdict = "passed"
        self.revision = 0
        self.current: Topology | None = None
        self.entities: dict[str, Entity] = {}
        self.requests: list[FailoverRequest] = []
        self.drills: dict[str, DrillReport] = {}
        self.schedules: dict[str, DrillSchedule] = {}
        self.calls: list[str] = []
        self.addressed: list[tuple[str | None, str | None]] = []
        if services:
            self._put(make_topology(*services))

    async def reach(self, address: str | None, namespace: str | None) -> ControlPlane:
        """What the desk's ``connect`` is in tests."""
        self.addressed.append((address, namespace))
        self._alive()
        return self

    def _alive(self) -> None:
        if self.away:
            raise ControlPlaneAway("Temporal does not answer at localhost:7233: start it, or set TEMPORAL_ADDRESS")

    def _put(self, topology: Topology, by: str = "tester", reason: str = "") -> None:
        self.current = topology
        self.revision += 1
        self.revisions.add(self.revision, topology, by, reason)
        for service in topology.services:
            known = self.entities.get(service.id)
            self.entities[service.id] = (
                replace(known, service=service) if known else Entity(service, service.policy.mode)
            )

    def entity(self, service: str) -> Entity:
        self._alive()
        if service not in self.entities:
            close = nearest(service, self.entities)
            hint = f"did you mean '{close}'?" if close else f"there are: {', '.join(self.entities)}"
            raise NoSuch(f"there is no service '{service}'; {hint}")
        return self.entities[service]

    # ------------------------------------------------------------------ topology

    async def topology(self) -> tuple[Applied, Topology]:
        self._alive()
        if self.current is None:
            raise NoSuch("no topology is in force")
        return Applied(self.revision, digest(self.current), by="tester", at=T0), self.current

    async def apply(self, topology: Topology, *, expects: int, by: str, reason: str = "") -> Applied:
        self._alive()
        self.calls.append(f"apply by {by}")
        if self.current is not None and digest(topology) == digest(self.current):
            return Applied(self.revision, digest(topology), by=by, at=T0)
        if expects != self.revision:
            raise Stale(f"revision {self.revision} is in force, not {expects}: look at the difference again")
        self._put(topology, by, reason)
        return Applied(self.revision, digest(topology), by=by, at=T0)

    # ------------------------------------------------------------------ services

    async def stuck(self) -> tuple[str, ...]:
        return ()

    async def statuses(self) -> tuple[ServiceStatus, ...]:
        self._alive()
        return tuple([await self.status(ServiceId(name)) for name in sorted(self.entities)])

    async def status(self, service: ServiceId) -> ServiceStatus:
        entity = self.entity(service)
        weights = dict(serving_weights(entity.active))
        heard = datetime.now(UTC)
        seen = ServiceStatus(
            service=service,
            name=entity.service.name,
            revision=self.revision,
            mode=entity.mode,
            as_of=heard,
            assessments=tuple(
                Assessment(endpoint, verdict, f"{verdict} from 3 of 3 vantages", T0, None, True)
                for endpoint, verdict in sorted(entity.verdicts.items())
            ),
            views=tuple(View(VantageId(f"v{n}"), f"host{n}", 1, 1, self.revision, False, heard, ()) for n in (1, 2, 3)),
            routing=self._routing(entity),
            paused=entity.paused,
            run=entity.run,
            run_started_by="automatic" if entity.run else None,
            held=entity.held,
            hold=entity.hold,
            last_runs=tuple(entity.records[-5:]),
            endpoints=tuple(
                EndpointBrief(e.id, e.region, e.role, e.url, weights[e.id]) for e in entity.service.endpoints
            ),
        )
        return replace(seen, **entity.more)

    def _routing(self, entity: Entity) -> Routing:
        fence = Fence(entity.generation, "r0", "steer", serving_weights(entity.active))
        return Routing(Answer("addresses", (HOMES[entity.active],)), 10, fence)

    def _plan(self, entity: Entity, request: Request) -> Plan | Refusal:
        if entity.refuses:
            return Refusal(entity.refuses)
        reasons = []
        if entity.run:
            return Refusal((), entity.run, "automatic")
        home = request.kind is MoveKind.FAILBACK
        target = (
            EU
            if home
            else request.target
            or next(
                e for e in sorted(HOMES, reverse=True) if e != entity.active and entity.verdicts[e] is Verdict.HEALTHY
            )
        )
        if target == entity.active:
            reasons.append(Objection("already-there", f"{target} has all the traffic already"))
        if entity.verdicts[target] is Verdict.DOWN:
            reasons.append(Objection("target-down", f"{target} is down itself"))
        if entity.verdicts[target] is Verdict.DEGRADED:
            reasons.append(Objection("target-degraded", f"{target} is degraded", asks=True))
        if target in entity.short:
            reasons.append(Objection("capacity-short", f"{target} carries less than is needed", asks=True))
        left = tuple(reason for reason in reasons if reason.rule not in request.trigger.overrides)
        if left:
            return Refusal(left)
        return self._planned(entity, request, target, tuple(reasons))

    def _planned(self, entity: Entity, request: Request, target: EndpointId, overridden: tuple[Objection, ...]) -> Plan:
        steering = entity.service.steering
        assert steering is not None
        steer = Steer(
            steering,
            entity.generation,
            Answer("addresses", (HOMES[entity.active],)),
            serving_weights(target),
            Answer("addresses", (HOMES[target],)),
            before=serving_weights(entity.active),
        )
        return Plan(
            run=RunId(f"run{len(entity.records) + 1}"),
            service=entity.service.id,
            kind=request.kind,
            trigger=request.trigger,
            runbook="region-failover",
            source=(entity.active,),
            target=target,
            before=serving_weights(entity.active),
            after=serving_weights(target),
            revision=self.revision,
            generation=entity.generation,
            objective_s=60.0,
            steps=(
                *((Step("yes", self.approval, 600.0, 1, "rollback", "wait for a yes"),) if self.approval else ()),
                Step("steer", steer, 5.0, 3, "halt", f"send all traffic to {target}"),
            ),
            objections=overridden,
        )

    async def explain(self, service: ServiceId) -> Explanation:
        entity = self.entity(service)
        if entity.verdicts[entity.active] is Verdict.DOWN:
            trigger = Trigger("automatic", f"{entity.active} is down")
            plan = self._plan(entity, Request(MoveKind.FAILOVER, trigger))
            if isinstance(plan, Plan):
                return Explanation("go", (), plan)
            return Explanation("hold", plan.reasons)
        return Explanation("hold", (Objection("all-well", f"{entity.active} is healthy"),))

    async def plan(self, service: ServiceId, request: Request) -> Plan | Refusal:
        return self._plan(self.entity(service), request)

    async def request(self, service: ServiceId, request: FailoverRequest) -> Started | Refusal:
        entity = self.entity(service)
        self.requests.append(request)
        if request.id in entity.answers:
            return entity.answers[request.id]
        plan = self._plan(entity, request.request)
        if isinstance(plan, Refusal):
            return plan
        record = make_record(
            plan.run,
            service,
            kind=plan.kind,
            trigger=plan.trigger,
            status=RunStatus.RUNNING,
            source=plan.source,
            target=plan.target,
            before=plan.before,
            after=plan.after,
            entries=(),
            closed=None,
        )
        entity.records.append(record)
        entity.run = plan.run
        life = self.lives[plan.run] = Life(plan, begin(plan))
        if self.approval is not None:
            life.progress = advance(life.progress, "yes", Event.START)
            life.ballots["yes"] = acting.Ballot(self.approval, self.approval.roles)
        started = Started(plan.run, f"failover/{service}/{plan.run}")
        entity.answers[request.id] = started
        return started

    # ------------------------------------------------------------------ runs

    async def record(self, run: RunId, service: ServiceId | None = None) -> Record:
        self._alive()
        for name, entity in self.entities.items():
            for record in entity.records:
                if record.run == run and service in {None, name}:
                    return record
        raise NoSuch(f"no run is called '{run}'; list them with 'failover history'")

    async def run_state(self, run: RunId, service: ServiceId | None = None) -> RunState:
        await self.record(run, service)
        life = self.lives[run]
        waiting = tuple(
            Waiting(step, f"{step} waits for a yes", ("sre",), tuple(ballot.yes), ballot.work.people)
            for step, ballot in life.ballots.items()
            if not ballot.decided
        )
        states = tuple((name, str(state)) for name, state in life.progress.states)
        return RunState(states, life.progress.planned, life.progress.paused, waiting)

    async def act(self, run: RunId, act: RunAct, service: ServiceId | None = None) -> Acted:
        record = await self.record(run, service)
        if record.status is not RunStatus.RUNNING:
            raise RefusedByRule(f"run {run} is {record.status}, and nothing can be done to it any more")
        life = self.lives[run]
        if act.id in life.answers:
            return life.answers[act.id]
        if why := acting.refused(life.plan, life.progress, life.ballots, act):
            raise RefusedByRule(why)
        life.progress, step = acting.acted(life.plan, life.progress, life.ballots, act)
        answer = life.answers[act.id] = Acted(acting.done(act, step))
        self._note(run, Entry(at(0), Mark.ACT, answer.text, step))
        life.stirred.set()
        return answer

    def _note(self, run: RunId, entry: Entry, **changes: object) -> Record:
        """The record of *run* with one more entry."""
        entity = next(each for each in self.entities.values() if any(record.run == run for record in each.records))
        index = next(n for n, record in enumerate(entity.records) if record.run == run)
        record = entity.records[index]
        record = replace(record, entries=(*record.entries, entry), **changes)  # type: ignore[arg-type]  # real fields
        entity.records[index] = record
        return record

    async def follow(self, service: ServiceId, run: RunId) -> AsyncIterator[Record]:
        entity = self.entity(service)
        record = await self.record(run, service)
        life = self.lives.setdefault(run, Life(self._planned_again(record), begin(self._planned_again(record))))
        script = make_entries(unplanned=record.kind is MoveKind.FAILOVER)
        for entry in script[life.told :]:
            await asyncio.sleep(self.pace_s)
            if entry.mark is Mark.STEP_STARTED:
                yield await self.record(run, service)
                while self._waits(life):
                    life.stirred.clear()
                    await life.stirred.wait()
                yield await self.record(run, service)
            life.told += 1
            if life.progress.aborted or any(ballot.no for ballot in life.ballots.values()):
                yield self._note(run, Entry(at(12), Mark.CLOSED, "stopped"), status=RunStatus.ABORTED, closed=at(12))
                entity.run = None
                return
            if entry.mark is not Mark.CLOSED:
                self._live(life, entry)
                yield self._note(run, entry)
                continue
            record = self._note(run, entry, status=self.ending, closed=entry.at)
            entity.run = None
            if self.ending is RunStatus.COMPLETED:
                entity.active = record.target
                entity.generation += 1
            yield record

    @staticmethod
    def _waits(life: Life) -> bool:
        asks = any(not ballot.decided for ballot in life.ballots.values())
        return (asks or bool(life.progress.paused)) and not life.progress.aborted

    @staticmethod
    def _live(life: Life, entry: Entry) -> None:
        """The step's state after *entry*, where the plan has that step."""
        state = dict(life.progress.states).get(entry.step or "")
        if entry.step and state is StepState.PENDING and entry.mark is Mark.STEP_STARTED:
            life.progress = advance(life.progress, entry.step, Event.START)
        if entry.step and state is StepState.RUNNING and entry.mark is Mark.STEP_DONE:
            life.progress = advance(life.progress, entry.step, Event.SUCCEED)

    def _planned_again(self, record: Record) -> Plan:
        """A plan for a record that a test has put there itself."""
        request = Request(record.kind, record.trigger, record.target)
        return self._planned(self.entities[record.service], request, record.target, ())

    # ------------------------------------------------------------------ standing orders

    async def pause(self, service: ServiceId, pause: Pause) -> None:
        self.entity(service).paused = f"{pause.by}: {pause.reason}"

    async def resume(self, service: ServiceId, pause: Pause) -> None:
        entity = self.entity(service)
        entity.paused, entity.held = None, ()

    async def acknowledge(self, service: ServiceId, word: Acknowledge) -> None:
        self.entity(service).acknowledged = f"{word.by}: {word.reason}"

    async def set_mode(self, service: ServiceId, mode: SetMode) -> None:
        self.entity(service).mode = mode.mode

    async def adopt(self, service: ServiceId, *, by: str) -> Routing:
        entity = self.entity(service)
        entity.generation += 1
        return self._routing(entity)

    # ------------------------------------------------------------------ drills

    async def drill(self, request: DrillRequest) -> DrillReport:
        self.entity(request.service)
        report = DrillReport(
            request.id,
            request.service,
            request.fault,
            request.target or EU,
            request.by,
            T0,
            "running",
            objective_s=60.0,
            level=request.level,
        )
        self.drills[request.id] = report
        return report

    async def drill_report(self, service: ServiceId, drill: str) -> DrillReport:
        self.entity(service)
        if drill not in self.drills:
            raise NoSuch(f"no drill of '{service}' is called '{drill}'")
        report = self.drills[drill]
        names = ("steady", "fault", "failover", "clear", "failback", "steady-again")
        if report.verdict == "running":
            done = len(report.phases)
            phase = DrillPhase(names[done], True, f"{names[done]} went well", at(done), at(done + 1))
            report = replace(report, phases=(*report.phases, phase))
            if len(report.phases) == len(names):
                report = replace(
                    report, verdict=self.drill_verdict, text="measured", ended=at(6), ttd_s=1.4, ttr_s=12.0
                )
            self.drills[drill] = report
        return report

    async def abort_drill(self, service: ServiceId, drill: str, asked: AbortDrill) -> DrillReport:
        report = await self.drill_report(service, drill)
        if report.verdict != "running":
            raise RefusedByRule(f"drill {drill} is over already ({report.verdict})")
        text = f"{asked.by} ended the drill: {asked.reason}"
        self.drills[drill] = replace(report, verdict="inconclusive", text=text, ended=at(6))
        return report

    async def schedule_drill(self, name: str, cron: str, request: DrillRequest) -> None:
        self._alive()
        self.schedules[name] = DrillSchedule(name, cron, request, False, "", ("2026-03-03T09:00:00Z",))

    async def drill_schedules(self) -> tuple[DrillSchedule, ...]:
        self._alive()
        return tuple(self.schedules[name] for name in sorted(self.schedules))

    async def pause_schedule(self, name: str, *, paused: bool, by: str, reason: str) -> None:
        self.schedules[name] = replace(self.schedules[name], paused=paused, note=f"{by}: {reason}")

    async def unschedule_drill(self, name: str) -> None:
        del self.schedules[name]
