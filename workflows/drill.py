"""A drill: a failover rehearsed on purpose. Only the fault is put in; everything else must happen by itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.names import EndpointId, ServiceId
    from orchestrator.core.record import Record, RunStatus
    from orchestrator.core.waiting import no_drill
    from workflows import options, turn
    from workflows.dry import ask_only, read
    from workflows.finishing import to_the_end
    from workflows.herald import herald
    from workflows.phases import Phases
    from workflows.placed import Fault, PlacedFault, call
    from workflows.pretending import pretended_in, unrehearsed_in
    from workflows.shadow import NotBegun, Shadow
    from workflows.wire import (
        DrillReport,
        DrillRequest,
        FailbackTask,
        FaultTask,
        Publication,
        RunQuestion,
        RunSeen,
        Started,
        Steady,
        SteadyQuestion,
    )
    from workflows.wire.drill import (
        DRY,
        SKIPPED,
        SYNTHETIC,
        AbortDrill,
        DrySeen,
        FaultNews,
        GovernorQuestion,
        ShadowQuestion,
        ShadowSeen,
        Told,
        Turn,
    )

STEADY_WITHIN_S = 30.0
FAILBACK_WITHIN_S = 120.0
"""How long the way home may not be free."""
HOME_WITHIN_S = 1200.0
"""How long the way home may take once it is granted: one by stages holds and is looked at."""
ASKED_WITHIN_S = 15.0
WATCHED_WITHIN_S = 60.0
"""How long the probers of a shadow may take to have an opinion of every endpoint."""
CANCELLED = "the drill was cancelled"


class _Stopped(Exception):
    def __init__(self, verdict: str, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict
        self.text = text


def _verdict(record: Record, objective_s: float, governor: DrySeen | None) -> tuple[str, str]:
    """What a drill that went all the way comes to: a pass in part where something could not be rehearsed."""
    pretended, unrehearsed = pretended_in(record), unrehearsed_in(record)
    without = f"; pretended: {', '.join(pretended)}" if pretended else ""
    without = f"{without}; {unrehearsed}" if unrehearsed else without
    if record.ttr_s is not None and record.ttr_s > objective_s:
        return "failed", f"recovered in {record.ttr_s:.1f} s, above the objective of {objective_s:g} s{without}"
    took = f" in {record.ttr_s:.1f} s" if record.ttr_s is not None else ""
    text = f"recovered{took}, objective {objective_s:g} s, and went home{without}"
    if governor is not None and not governor.ok:
        return "failed", f"{governor.text}; apart from that it {text}"
    return ("partial", f"passed in part only: {text}") if unrehearsed else ("passed", text)


@workflow.defn(name="drill")
class DrillWorkflow:
    """``drill/<service>/<id>``: steady, fault in, failover by itself, fault out, failback, steady again."""

    @workflow.init
    def __init__(self, request: DrillRequest) -> None:
        self._request = request
        # A schedule starts every drill with one request; what differs is the id it gives the workflow.
        self._id = workflow.info().workflow_id.rpartition("/")[2]
        self._subject: ServiceId = request.service
        self._shadow: Shadow | None = None
        self._left = ""
        """What could not be left as it was."""
        self._at_home = False
        """Whether it has brought home what it had moved."""
        self._task: asyncio.Task[object] | None = None
        self._cancelled = CANCELLED
        self._tell = Phases(
            DrillReport(
                id=self._id,
                service=request.service,
                fault=request.fault,
                target=request.target or EndpointId(""),
                by=request.by,
                started=workflow.now(),
                verdict="running",
                level=request.level,
            )
        )

    @workflow.run
    async def run(self, request: DrillRequest) -> DrillReport:
        self._task = asyncio.current_task()
        verdict, text = "failed", ""
        try:
            verdict, text = await (self._beside_others(request) if request.level == DRY else self._in_turn(request))
        except _Stopped as stopped:
            verdict, text = stopped.verdict, stopped.text
            self._tell.end(ok=False, text=text)
        except FailureError as error:
            verdict, text = "inconclusive", self._went_wrong(error)
            self._tell.end(ok=False, text=text)
        except asyncio.CancelledError:
            verdict, text = "inconclusive", self._cancelled
            self._tell.end(ok=False, text=text)
        if verdict == "inconclusive" and request.level not in {DRY, SYNTHETIC}:
            text = f"{text}{self._away()}"
        if self._left:
            verdict, text = ("failed" if verdict in {"passed", "partial"} else verdict), f"{text}; {self._left}"
        self._tell.report = replace(self._tell.report, verdict=verdict, text=text, ended=workflow.now())
        # Who asks for a drill by hand is told that it did not begin; of a scheduled one the history says so.
        if verdict != SKIPPED or not request.id:
            await herald(Publication(drill=self._tell.report))
        return self._tell.report

    @workflow.update
    def abort(self, asked: AbortDrill) -> DrillReport:
        """End it now: the fault comes out, the canary goes home, and what was moved for real stays where it is."""
        self._cancelled = f"{asked.by} ended the drill: {asked.reason}"
        if self._task is not None:
            self._task.cancel()
        return self._tell.report

    @abort.validator
    def _may_abort(self, asked: AbortDrill) -> None:
        if self._tell.report.verdict != "running":
            raise ApplicationError(f"drill {self._id} is over already: {self._tell.report.verdict}", type="Refused")
        if self._cancelled != CANCELLED:
            raise ApplicationError(f"drill {self._id} is ending already: {self._cancelled}", type="Refused")

    def _away(self) -> str:
        """What is left to a person where the fault is out, and the traffic was not brought home; empty: nothing."""
        report = self._tell.report
        if self._at_home or not any(phase.name == "failover" for phase in report.phases):
            return ""
        what = f"run {report.failover} has moved" if report.failover else "a failover that comes late may move"
        return f"; {what} the traffic: look with failover status, and bring it home with failover failback"

    def _went_wrong(self, error: FailureError) -> str:
        if is_cancelled_exception(error):
            return self._cancelled
        return f"a step of the drill itself failed: {getattr(error.cause, 'message', None) or error}"

    @workflow.query
    def report(self) -> DrillReport:
        """The drill so far."""
        return self._tell.report

    @workflow.query
    def told(self) -> Told:
        """What the probers of this drill are to see."""
        return self._shadow.told if self._shadow is not None and self._tell.report.verdict == "running" else Told()

    # ------------------------------------------------------------------ turns

    async def _in_turn(self, request: DrillRequest) -> tuple[str, str]:
        """Hold it while no other drill of the service is held. Raises _Stopped where one is."""
        mine = Turn(self._id, request.service, request.level, request.fault, request.by, workflow.now())
        try:
            taken = await turn.take(mine)
        except turn.Taken as reason:
            raise _Stopped(SKIPPED, f"not begun: {reason}") from reason
        try:
            return await (self._on_canary if request.level == SYNTHETIC else self._rehearse)(request)
        finally:
            await to_the_end(turn.end(taken))

    async def _beside_others(self, request: DrillRequest) -> tuple[str, str]:
        """Ask only: beside any drill but one whose fault is in, which would be all that there is to see."""
        before = await turn.whose(request.service)
        if before is not None and before.level != SYNTHETIC:
            raise _Stopped(SKIPPED, f"not begun: {before.text}")
        verdict, text = await ask_only(request, self._tell)
        after = await turn.whose(request.service)
        if after is not None and after.level != SYNTHETIC:
            raise _Stopped("inconclusive", f"drill {after.drill} put its fault in meanwhile: {text}")
        return verdict, text

    # ------------------------------------------------------------------ phases

    async def _on_canary(self, request: DrillRequest) -> tuple[str, str]:
        """All of it on a shadow of the service: probers are told to see the fault, and a canary record moves."""
        self._tell.begin("canary", "putting the canary record in place")
        seen = await call(
            options.SHADOW, ShadowQuestion(request.service, self._id, request.target), ShadowSeen, ASKED_WITHIN_S
        )
        if seen.slice is None or seen.home is None:
            raise _Stopped("inconclusive", f"not begun: {seen.text}")
        self._not_frozen(no_drill((*seen.slice.orders.freezes, *seen.slice.service.policy.freezes), workflow.now()))
        shadow = self._shadow = Shadow(seen.slice, seen.home, fault=request.fault, max_s=request.max_s)
        self._subject = seen.slice.service.id
        self._tell.report = replace(self._tell.report, target=seen.home)
        try:
            put = await shadow.begin()
            self._tell.end(ok=True, text=put)
            return await self._rehearse(request, shadow)
        except NotBegun as reason:
            self._tell.end(ok=False, text=str(reason))
            raise _Stopped("inconclusive", f"not begun: {reason}") from reason
        except _Stopped as stopped:
            self._tell.end(ok=False, text=stopped.text)
            raise
        finally:
            if shadow.begun:
                await to_the_end(self._leave(shadow))

    async def _leave(self, shadow: Shadow) -> None:
        """Let go of the shadow, and leave its canary at home."""
        self._tell.end(ok=False, text="the drill did not get further")
        self._tell.begin("retire", "leaving the canary at home")
        left = await shadow.end()
        self._tell.end(ok=left.ok, text=left.text)
        self._left = "" if left.ok else left.text

    async def _rehearse(self, request: DrillRequest, shadow: Shadow | None = None) -> tuple[str, str]:
        self._tell.begin("steady", "waiting for a healthy service with no run in progress")
        before = await self._steady(home=None)
        home = before.active
        if not before.ok or home is None:
            raise _Stopped("inconclusive", f"not begun: {before.text}")
        self._not_frozen(before.frozen)
        if request.target not in {None, home}:
            text = (
                f"not begun: '{request.target}' carries no traffic, {home} does, and only there a fault moves anything"
            )
            raise _Stopped("inconclusive", text)
        self._tell.report = replace(self._tell.report, target=home, objective_s=before.objective_s)
        fault: Fault = shadow or self._placed(request, before)
        self._tell.end(ok=True, text=before.text)

        record, stopped = None, None
        try:
            record = await self._fault_and_failover(fault, before)
        except _Stopped as reason:
            stopped = reason
            self._tell.end(ok=False, text=reason.text)
        except ActivityError as error:
            self._tell.end(ok=False, text=self._went_wrong(error))
            raise
        finally:
            # Whatever happened, the fault comes out; if we die here, it comes out at its deadline.
            expired = await to_the_end(self._clear(fault))
        # A failover that never came is a failed drill only where the fault was in for as long as it may take.
        if expired and (stopped is None or request.max_s < before.objective_s):
            text = "the fault came out by itself at its deadline, before the drill was done"
            raise _Stopped("inconclusive", f"{text}: {stopped.text}" if stopped else text)
        if stopped is not None or record is None:
            raise stopped or _Stopped("failed", "no failover came of the fault")
        governor = await self._ask_governor(record) if shadow is not None else None
        back = await self._failback(home)
        self._at_home = True
        self._tell.begin("steady-again", "waiting for a healthy service with its traffic at home")
        after = await self._steady(home=home)
        if not after.ok:
            raise _Stopped("failed", after.text)
        self._tell.end(ok=True, text=after.text)
        self._tell.report = replace(self._tell.report, failback=back.run)
        return _verdict(record, before.objective_s, governor)

    async def _ask_governor(self, record: Record) -> DrySeen:
        """What the governor would say to the real move: it knows nothing of the shadow."""
        asked = GovernorQuestion(self._request.service, record.kind, record.source, record.target, record.after)
        return await read(self._tell, "governor", options.GOVERNOR_SAYS, asked)

    def _not_frozen(self, frozen: str) -> None:
        """Raises _Stopped in a freeze window that nobody has set aside."""
        if frozen and "freeze" not in self._request.overrides:
            raise _Stopped("inconclusive", f"not begun: {frozen}")

    def _placed(self, request: DrillRequest, before: Steady) -> Fault:
        """The fault for the endpoint that carries the traffic. Raises _Stopped where none can be put in."""
        if before.workload is None:
            raise _Stopped("inconclusive", f"not begun: endpoint '{before.active}' has no workload to put a fault into")
        deadline = workflow.now() + timedelta(seconds=request.max_s)
        news = FaultNews(self._subject, self._id, self._tell.report.target, deadline)
        return PlacedFault(FaultTask(f"drill:{self._id}", request.fault, before.workload, deadline, news))

    async def _fault_and_failover(self, fault: Fault, before: Steady) -> Record:
        kind = self._request.fault
        self._tell.begin("fault", f"{kind} at {self._tell.report.target}")
        await fault.put_in()
        self._tell.end(ok=True, text=f"{kind} is in, until {fault.deadline:%H:%M:%S} UTC at the latest")
        self._tell.begin("failover", "the failover must happen by itself")
        left = (fault.deadline - workflow.now()).total_seconds()
        # A person's yes is the drill's to give only where nothing real is promoted.
        yes = self._id if self._shadow is not None else ""
        question = RunQuestion(self._subject, left, known=before.runs, drill=yes)
        seen = await call(options.AWAIT_RUN, question, RunSeen, left + 10)
        record = seen.record
        if record is None:
            raise _Stopped("failed", f"no failover came of the fault: {seen.text}")
        self._tell.report = replace(self._tell.report, failover=record.run, ttd_s=record.ttd_s, ttr_s=record.ttr_s)
        if record.status is not RunStatus.COMPLETED:
            raise _Stopped("failed", f"run {record.run} ended as {record.status}")
        self._tell.end(ok=True, text=f"run {record.run} completed")
        return record

    async def _clear(self, fault: Fault) -> bool:
        """Take the fault out; whether it had come out by itself before."""
        self._tell.begin("clear", "taking the fault out")
        expired = await fault.take_out()
        self._tell.end(ok=not expired, text="the fault had expired" if expired else "the fault is out")
        return expired

    async def _failback(self, home: EndpointId) -> Record:
        self._tell.begin("failback", f"waiting for {home} to be healthy, then going home")
        task = FailbackTask(self._subject, self._id, home, self._request.by)
        answer = await call(options.ASK_FAILBACK, task, Started, FAILBACK_WITHIN_S)
        question = RunQuestion(self._subject, HOME_WITHIN_S, answer.run)
        seen = await call(options.AWAIT_RUN, question, RunSeen, HOME_WITHIN_S + 10)
        if seen.record is None or seen.record.status is not RunStatus.COMPLETED:
            raise _Stopped("failed", f"the way home failed: {seen.text or answer.run}")
        self._tell.end(ok=True, text=f"run {seen.record.run} completed")
        return seen.record

    async def _steady(self, home: EndpointId | None) -> Steady:
        within_s = STEADY_WITHIN_S if self._shadow is None else WATCHED_WITHIN_S
        return await call(options.STEADY, SteadyQuestion(self._subject, within_s, home), Steady, within_s + 10)
