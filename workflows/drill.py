"""A drill: a failover rehearsed on purpose. Only the fault is put in; everything else must happen by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.names import EndpointId, RunId
    from orchestrator.core.record import Record, RunStatus
    from orchestrator.core.topology import Service
    from runbooks.plan import Plan, Verify
    from workflows import options
    from workflows.finishing import to_the_end
    from workflows.herald import herald
    from workflows.wire import (
        DrillPhase,
        DrillReport,
        DrillRequest,
        FailbackTask,
        FaultSeen,
        FaultTask,
        Publication,
        RunQuestion,
        RunSeen,
        Started,
        Steady,
        SteadyQuestion,
        StepResult,
        StepTask,
    )
    from workflows.wire.drill import DryDecision, DryQuestion, DrySeen

STEADY_WITHIN_S = 30.0
FAILBACK_WITHIN_S = 120.0
ASKED_WITHIN_S = 15.0
DRY = "dry"
_T = TypeVar("_T")


class _Stopped(Exception):
    def __init__(self, verdict: str, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict
        self.text = text


def _went_wrong(error: ActivityError) -> str:
    if is_cancelled_exception(error):
        return "the drill was cancelled"
    return f"a step of the drill itself failed: {getattr(error.cause, 'message', error)}"


@workflow.defn(name="drill")
class DrillWorkflow:
    """``drill/<service>/<id>``: steady, fault in, failover by itself, fault out, failback, steady again."""

    @workflow.init
    def __init__(self, request: DrillRequest) -> None:
        self._request = request
        # A schedule starts every drill with one request; what differs is the id it gives the workflow.
        self._id = workflow.info().workflow_id.rpartition("/")[2]
        self._report = DrillReport(
            id=self._id,
            service=request.service,
            fault=request.fault,
            target=request.target or EndpointId(""),
            by=request.by,
            started=workflow.now(),
            verdict="running",
            level=request.level,
        )

    @workflow.run
    async def run(self, request: DrillRequest) -> DrillReport:
        verdict, text = "failed", ""
        try:
            verdict, text = await (self._ask_only(request) if request.level == DRY else self._rehearse(request))
        except _Stopped as stopped:
            verdict, text = stopped.verdict, stopped.text
            self._end_phase(ok=False, text=text)
        except ActivityError as error:
            verdict, text = "inconclusive", _went_wrong(error)
            self._end_phase(ok=False, text=text)
        self._report = replace(self._report, verdict=verdict, text=text, ended=workflow.now())
        await herald(Publication(drill=self._report))
        return self._report

    @workflow.query
    def report(self) -> DrillReport:
        """The drill so far."""
        return self._report

    # ------------------------------------------------------------------ phases

    async def _rehearse(self, request: DrillRequest) -> tuple[str, str]:
        self._phase("steady", "waiting for a healthy service with no run in progress")
        before = await self._steady(home=None)
        home = before.active
        if not before.ok or home is None:
            raise _Stopped("inconclusive", f"not begun: {before.text}")
        if request.target not in {None, home}:
            text = (
                f"not begun: '{request.target}' carries no traffic, {home} does, and only there a fault moves anything"
            )
            raise _Stopped("inconclusive", text)
        if before.workload is None:
            raise _Stopped("inconclusive", f"not begun: endpoint '{home}' has no workload to put a fault into")
        self._report = replace(self._report, target=home, objective_s=before.objective_s)
        self._end_phase(ok=True, text=before.text)

        fault = FaultTask(
            key=f"drill:{self._id}",
            kind=request.fault,
            workload=before.workload,
            deadline=workflow.now() + timedelta(seconds=request.max_s),
        )
        record, stopped = None, None
        try:
            record = await self._fault_and_failover(fault, before)
        except _Stopped as reason:
            stopped = reason
            self._end_phase(ok=False, text=reason.text)
        except ActivityError as error:
            self._end_phase(ok=False, text=_went_wrong(error))
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
        back = await self._failback(home)
        self._phase("steady-again", "waiting for a healthy service with its traffic at home")
        after = await self._steady(home=home)
        if not after.ok:
            raise _Stopped("failed", after.text)
        self._end_phase(ok=True, text=after.text)
        self._report = replace(self._report, failback=back.run)
        if record.ttr_s is not None and record.ttr_s > before.objective_s:
            return "failed", f"recovered in {record.ttr_s:.1f} s, above the objective of {before.objective_s:g} s"
        took = f" in {record.ttr_s:.1f} s" if record.ttr_s is not None else ""
        return "passed", f"recovered{took}, objective {before.objective_s:g} s, and went home"

    async def _ask_only(self, request: DrillRequest) -> tuple[str, str]:
        """What would be done, and whether all that it needs is there: nothing is put in, and nothing is written."""
        self._phase("decide", "asking what would be done")
        question = DryQuestion(request.service, request.target)
        decision = await self._call(options.DRY_DECIDE, question, DryDecision, ASKED_WITHIN_S)
        self._end_phase(ok=decision.ok, text=decision.text)
        plan, service = decision.plan, decision.service
        self._report = replace(
            self._report,
            target=decision.target or self._report.target,
            objective_s=service.policy.rto_s if service else 0.0,
        )
        if plan is None or service is None:
            return "failed", decision.text
        capacity = await self._read("capacity", options.DRY_CAPACITY, plan)
        target = await self._prove(plan, service, cold=capacity.cold)
        steering = await self._read("steering", options.DRY_STEERING, service)
        wrong = [each.text for each in (decision, capacity, target, steering) if not each.ok]
        if wrong:
            return "failed", "; ".join(wrong)
        # A figure that nobody has measured yet fails no drill.
        slow = plan.predicted_s > plan.objective_s
        beyond = ": above it, and a drill with a fault would measure it" if slow else ""
        took = f"about {plan.predicted_s:.0f} s from the decision on, objective {plan.objective_s:g} s{beyond}"
        return "passed", f"{plan.target} is ready; it would take {took}"

    async def _prove(self, plan: Plan, service: Service, *, cold: bool) -> DrySeen:
        """Ask the target as the plan's verify step would."""
        step = next((each for each in plan.steps if isinstance(each.work, Verify)), None)
        if step is None:
            return DrySeen(True, "the plan verifies nothing")
        self._phase("target", step.text)
        if cold:
            seen = DrySeen(True, f"{plan.target} is cold: it is asked only once it is promoted")
        else:
            run = RunId(f"drill-{self._id}")
            task = StepTask(service.id, service.name, run, step.id, step.work, step.timeout_s, target=plan.target)
            try:
                result = await self._call(options.STEP_ACTIVITY, task, StepResult, step.timeout_s + 2, once=True)
                seen = DrySeen(True, result.text)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                seen = DrySeen(False, str(getattr(error.cause, "message", error)))
        self._end_phase(ok=seen.ok, text=seen.text)
        return seen

    async def _read(self, phase: str, activity: str, argument: object) -> DrySeen:
        self._phase(phase, "reading")
        seen = await self._call(activity, argument, DrySeen, ASKED_WITHIN_S)
        self._end_phase(ok=seen.ok, text=seen.text)
        return seen

    async def _fault_and_failover(self, fault: FaultTask, before: Steady) -> Record:
        self._phase("fault", f"{fault.kind} at {self._report.target}")
        await self._call(options.INJECT, fault, FaultSeen, 20.0)
        self._end_phase(ok=True, text=f"{fault.kind} is in, until {fault.deadline:%H:%M:%S} UTC at the latest")
        self._phase("failover", "the failover must happen by itself")
        left = (fault.deadline - workflow.now()).total_seconds()
        seen = await self._call(
            options.AWAIT_RUN, RunQuestion(self._request.service, left, known=before.runs), RunSeen, left + 10
        )
        record = seen.record
        if record is None:
            raise _Stopped("failed", f"no failover came of the fault: {seen.text}")
        self._report = replace(self._report, failover=record.run, ttd_s=record.ttd_s, ttr_s=record.ttr_s)
        if record.status is not RunStatus.COMPLETED:
            raise _Stopped("failed", f"run {record.run} ended as {record.status}")
        self._end_phase(ok=True, text=f"run {record.run} completed")
        return record

    async def _clear(self, fault: FaultTask) -> bool:
        """Take the fault out; whether it had come out by itself before."""
        self._phase("clear", "taking the fault out")
        seen: FaultSeen = await workflow.execute_activity(
            options.CLEAR,
            fault,
            result_type=FaultSeen,
            start_to_close_timeout=timedelta(seconds=10),
            schedule_to_close_timeout=timedelta(minutes=30),
            retry_policy=options.PATIENT,
        )
        self._end_phase(ok=not seen.expired, text="the fault had expired" if seen.expired else "the fault is out")
        return seen.expired

    async def _failback(self, home: EndpointId) -> Record:
        self._phase("failback", f"waiting for {home} to be healthy, then going home")
        task = FailbackTask(self._request.service, self._id, home, self._request.by)
        answer = await self._call(options.ASK_FAILBACK, task, Started, FAILBACK_WITHIN_S)
        question = RunQuestion(self._request.service, FAILBACK_WITHIN_S, answer.run)
        seen = await self._call(options.AWAIT_RUN, question, RunSeen, FAILBACK_WITHIN_S + 10)
        if seen.record is None or seen.record.status is not RunStatus.COMPLETED:
            raise _Stopped("failed", f"the way home failed: {seen.text or answer.run}")
        self._end_phase(ok=True, text=f"run {seen.record.run} completed")
        return seen.record

    async def _steady(self, home: EndpointId | None) -> Steady:
        question = SteadyQuestion(self._request.service, STEADY_WITHIN_S, home)
        return await self._call(options.STEADY, question, Steady, STEADY_WITHIN_S + 10)

    async def _call(
        self, activity: str, argument: object, answer: type[_T], within_s: float, *, once: bool = False
    ) -> _T:
        result: _T = await workflow.execute_activity(
            activity,
            argument,
            result_type=answer,
            start_to_close_timeout=timedelta(seconds=max(1.0, within_s)),
            schedule_to_close_timeout=timedelta(seconds=max(1.0, within_s) + 30),
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=options.ONCE if once else options.PATIENT,
        )
        return result

    # ------------------------------------------------------------------ the report

    def _phase(self, name: str, text: str) -> None:
        began = DrillPhase(name, None, text, workflow.now())
        self._report = replace(self._report, phases=(*self._report.phases, began))

    def _end_phase(self, *, ok: bool, text: str) -> None:
        phases = self._report.phases
        if not phases or phases[-1].ended is not None:
            return
        ended = replace(phases[-1], ok=ok, text=text, ended=workflow.now())
        self._report = replace(self._report, phases=(*phases[:-1], ended))
