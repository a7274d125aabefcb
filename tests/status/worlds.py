"""Worlds to show: what a control plane and a history would say in the situations a page must tell well."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from orchestrator.core.health import EndpointState, Health
from orchestrator.core.move import MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId, VantageId
from orchestrator.core.quorum import Assessment, Opinion, Verdict, View
from orchestrator.core.record import Entry, Mark, Record, RunStatus, StepBrief
from orchestrator.core.steering import Fence, Routing
from orchestrator.core.topology import Answer, Mode
from orchestrator.runtime.control import ControlPlaneAway, NoSuch
from workflows.wire import DrillPhase, DrillReport, EndpointBrief, Question, RunState, ServiceStatus

PLACES = (("ap", "azure/japaneast"), ("eu", "gcp/europe-west1"), ("us", "aws/us-east-1"))
EU, US, AP = EndpointId("eu"), EndpointId("us"), EndpointId("ap")
STEPS = (
    ("promote", 1.31, "Scale eu from 0 to 2 replicas and load the model"),
    ("verify", 0.42, "Verify eu by 2 completed inferences"),
    ("steer", 0.02, "Steer chat.example.com to eu, replacing generation 41"),
    ("converge", 1.15, "Wait until 2 authoritative servers answer eu, then one TTL of 1 s"),
    ("drain", 2.4, "Let requests in flight at us finish"),
)


def status(
    name: str = "chat",
    *,
    active: str = "us",
    now: datetime,
    verdicts: dict[str, Verdict] | None = None,
    mode: Mode = Mode.AUTOMATIC,
) -> ServiceStatus:
    """One service in three regions, all healthy but for *verdicts*, with its traffic at *active*."""
    found = {place: Verdict.HEALTHY for place, _ in PLACES} | (verdicts or {})
    weights = tuple((EndpointId(place), 100 if place == active else 0) for place, _ in PLACES)
    said = {
        Verdict.HEALTHY: "healthy from 3 of 3 vantages",
        Verdict.DOWN: "down from 2 of 3 vantages (ap, eu): http: connect timed out",
        Verdict.DEGRADED: "degraded from 2 of 3 vantages (ap, eu): http: status 429",
        Verdict.UNKNOWN: "unknown: 1 of 3 vantages heard from within 10 s, 2 are needed",
    }
    return ServiceStatus(
        service=ServiceId(name),
        name=f"{name}.example.com",
        revision=3,
        mode=mode,
        as_of=now,
        assessments=tuple(
            Assessment(EndpointId(place), found[place], said[found[place]], now, None, True) for place, _ in PLACES
        ),
        views=tuple(
            View(
                VantageId(place),
                f"host-{place}",
                epoch=1,
                seq=7,
                revision=3,
                isolated=False,
                heard=now,
                opinions=(Opinion(EndpointState(US, Health.HEALTHY), now, None),),
            )
            for place, _ in PLACES
        ),
        routing=Routing(Answer("addresses", ("127.0.1.10",)), 5, Fence(41, "r0", "steer", weights)),
        endpoints=tuple(
            EndpointBrief(
                EndpointId(place),
                Domain(region),
                "active" if place == "us" else "standby",
                f"https://{place}.example.com",
                100 if place == active else 0,
            )
            for place, region in PLACES
        ),
    )


def record(
    *,
    began: datetime,
    run: str = "chat-20260301-0007",
    service: str = "chat",
    until: float = 99.0,
    objective_s: float = 30.0,
    drill: str | None = None,
) -> Record:
    """An unplanned failover as far as it is *until* seconds after the last good probe."""
    at = lambda seconds: began + timedelta(seconds=seconds)  # noqa: E731 - a scale, not a function of its own
    story = [
        Entry(at(0), Mark.LAST_GOOD, "us answered its last good probe"),
        Entry(at(2.31), Mark.DETECTED, "us is down from 2 of 3 vantages (ap, eu): connect timed out", seconds=2.31),
        Entry(at(2.36), Mark.DECIDED, "move chat to eu: us is down, eu is proven and has room for 40 requests"),
        Entry(at(2.37), Mark.STARTED, "run started on onprem/fra1"),
    ]
    clock = 2.4
    for step, seconds, text in STEPS:
        story.append(Entry(at(clock), Mark.STEP_STARTED, text, step))
        clock += seconds
        if step == "steer":
            story.append(Entry(at(clock - 0.005), Mark.STEERED, "the primary took generation 42", step))
        if step == "converge":
            story.append(Entry(at(clock - 1.1), Mark.CHANGED, "127.0.0.1:5301 answers 127.0.2.10", step))
            story.append(Entry(at(clock), Mark.CONVERGED, "2 of 2 authoritative servers answer 127.0.2.10", step))
        story.append(Entry(at(clock), Mark.STEP_DONE, f"{step} done", step, seconds=seconds))
    story.append(Entry(at(clock + 0.01), Mark.VERIFIED, "eu answers as chat.example.com"))
    story.append(Entry(at(clock + 0.02), Mark.CLOSED, "clients were served again after 5.3 s", seconds=clock))
    known = tuple(entry for entry in story if (entry.at - began).total_seconds() <= until)
    done = len(known) == len(story)
    return Record(
        run=RunId(run),
        service=ServiceId(service),
        kind=MoveKind.FAILOVER,
        trigger=Trigger(f"drill:{drill}" if drill else "automatic", "us is down from 2 of 3 vantages"),
        status=RunStatus.COMPLETED if done else RunStatus.RUNNING,
        started=at(2.36),
        objective_s=objective_s,
        source=(US,),
        target=EU,
        before=((AP, 0), (EU, 0), (US, 100)),
        after=((AP, 0), (EU, 100), (US, 0)),
        revision=3,
        generation=41,
        runbook="region-failover",
        steps=tuple(StepBrief(step, step, text, 30.0) for step, _, text in STEPS),
        drill=drill,
        entries=known,
        closed=known[-1].at if done else None,
    )


def halted(*, began: datetime) -> Record:
    """A switchover that a person forced, whose steer was refused after its promote."""
    whole = record(began=began, run="embed-20260228-0003", service="embed")
    promoted = [entry for entry in whole.entries if entry.step == "promote"]
    entries = (
        Entry(began, Mark.DECIDED, "move embed to eu: asked by ana"),
        *promoted,
        Entry(began + timedelta(seconds=3.9), Mark.STEP_STARTED, "Steer embed.example.com to eu", "steer"),
        Entry(began + timedelta(seconds=4), Mark.STEP_FAILED, "generation 44 stands, 41 was expected", "steer", 0.1),
        Entry(began + timedelta(seconds=4.1), Mark.UNDO_STARTED, "Scale eu back to 0", "promote"),
        Entry(began + timedelta(seconds=5), Mark.UNDO_DONE, "eu is at 0 again", "promote", 0.9),
    )
    return replace(
        whole,
        kind=MoveKind.SWITCHOVER,
        trigger=Trigger("ana", "patching us tonight", ("cooldown",)),
        status=RunStatus.STALE,
        objections=(Objection("cooldown", "the last run closed 120 s ago; cool-down is 300 s"),),
        entries=entries,
        closed=began + timedelta(seconds=5.1),
    )


def drill(*, began: datetime, run: str, name: str = "weekly-2026-03-01", passed: bool = True) -> DrillReport:
    """A drill that is over."""
    lengths = (
        ("steady", 5.0),
        ("fault", 0.2),
        ("failover", 5.3),
        ("clear", 0.3),
        ("failback", 9.8),
        ("steady-again", 5.0),
    )
    phases, clock = [], began
    for phase, seconds in lengths:
        end = clock + timedelta(seconds=seconds)
        ok = passed or phase != "failover"
        phases.append(DrillPhase(phase, ok, f"{phase.replace('-', ' ')} held" if ok else "no run started", clock, end))
        clock = end
    return DrillReport(
        id=name,
        service=ServiceId("chat"),
        fault="region-blackhole",
        target=US,
        by="schedule weekly",
        started=began,
        verdict="passed" if passed else "failed",
        text="clients were served again after 5.3 s of 30 s" if passed else "no run started within 30 s of the fault",
        objective_s=30.0,
        phases=tuple(phases),
        ended=clock,
        failover=RunId(run) if passed else None,
        ttd_s=2.31 if passed else None,
        ttr_s=5.3 if passed else None,
    )


@dataclass
class World:
    """A control plane that keeps state: change it and the page must follow. Counts how often it is asked."""

    services: dict[str, ServiceStatus] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    states: dict[str, RunState] = field(default_factory=dict)
    away: str = ""
    asked: int = 0

    async def statuses(self) -> tuple[ServiceStatus, ...]:
        self.asked += 1
        if self.away:
            raise ControlPlaneAway(self.away)
        return tuple(self.services[name] for name in sorted(self.services))

    async def record(self, run: RunId, service: ServiceId | None = None) -> Record:
        if self.away:
            raise ControlPlaneAway(self.away)
        if run not in self.records:
            raise NoSuch(f"no run is called {run}")
        return self.records[run]

    async def run_state(self, run: RunId, service: ServiceId | None = None) -> RunState:
        if run not in self.states:
            raise NoSuch(f"no run is called {run}")
        return self.states[run]

    def put(self, *statuses: ServiceStatus) -> None:
        for each in statuses:
            self.services[each.service] = each


def well(now: datetime) -> World:
    """Four services, nothing wrong."""
    world = World()
    world.put(
        status("chat", now=now),
        status("embed", active="eu", now=now),
        status("rerank", now=now, mode=Mode.APPROVAL),
        status("vision", active="ap", now=now, mode=Mode.OBSERVE),
    )
    return world


def failing(now: datetime) -> World:
    """A region is down: one service moves, one asks, one only watches."""
    world = well(now)
    run = record(began=now - timedelta(seconds=4.35), until=4.35)
    world.records[run.run] = run
    down = {"us": Verdict.DOWN}
    asks = Question(
        "q1", now - timedelta(seconds=2), (US,), EU, (Objection("mode", "mode is approval: a person decides", True),)
    )
    held = (Objection("changed-outside", "the answer was edited by hand at generation 41"),)
    world.put(
        replace(status("chat", now=now, verdicts=down), run=run.run, run_started_by="automatic"),
        replace(status("rerank", now=now, verdicts=down, mode=Mode.APPROVAL), question=asks),
        replace(status("vision", active="ap", now=now, verdicts=down | {"eu": Verdict.DEGRADED}), held=held),
        status("embed", active="eu", now=now, verdicts=down),
    )
    return world


def past(now: datetime) -> tuple[tuple[Record, ...], tuple[DrillReport, ...]]:
    """Runs and drills of the last days."""
    hour = timedelta(hours=1)
    back = record(began=now - 3 * hour, run="chat-20260301-0006")
    back = replace(back, kind=MoveKind.FAILBACK, trigger=Trigger("ana", "us is mended"), source=(EU,), target=US)
    drilled = record(began=now - 26 * hour, run="chat-20260228-0005", drill="weekly-2026-02-28")
    observed = record(began=now - 50 * hour, run="vision-20260227-0001", service="vision")
    observed = replace(observed, status=RunStatus.OBSERVED, entries=observed.entries[:3])
    runs = (back, drilled, halted(began=now - 30 * hour), observed)
    drills = (
        drill(began=now - 26 * hour, run="chat-20260228-0005", name="weekly-2026-02-28"),
        replace(drill(began=now - 194 * hour, run="", name="weekly-2026-02-21", passed=False), level="synthetic"),
    )
    return runs, drills


def utc_now() -> datetime:
    return datetime.now(UTC)
