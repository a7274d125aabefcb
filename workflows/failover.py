"""A run: carries a plan out step by step, undoes what must be undone, and writes the one record everyone reads.

It chooses nothing. What comes next is said by ``runbooks.progress``; how a step is done, by its activity.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, TimeoutType, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TemporalTimeout

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.record import Entry, Mark, Record, RunStatus
    from orchestrator.core.steering import Routing
    from runbooks.plan import Converge, Demote, Drain, Place, Promote, Steer, Step, Verify
    from runbooks.planner import brief
    from runbooks.progress import Close, Do, Event, Progress, StepState, Undo, advance, begin, next_action
    from workflows import options
    from workflows.finishing import to_the_end
    from workflows.herald import Heralds
    from workflows.wire import (
        Carry,
        Publication,
        RecheckRequest,
        RunClosed,
        StepResult,
        StepTask,
        Telling,
        service_id,
    )

STALE_VERDICT = timedelta(seconds=2)
"""A verdict older than this is asked for again before traffic is moved."""
PAUSE_S = 0.2
"""Between attempts at a step that failed for a passing reason."""
AFTER_SILENCE = timedelta(seconds=10)
"""A step whose worker fell silent has this long at least for its next attempt: silence is no answer."""
FINAL = frozenset({"Refused", "NotFound", "Unauthenticated", "Forbidden", "NoCapacity", "BadInput", "UndoFailed"})
"""Errors that another attempt would meet again."""
OVERTAKEN = frozenset({"StaleGeneration", "ChangedOutside"})


@dataclass(frozen=True, slots=True)
class _Failed(Exception):
    kind: str
    text: str
    tries: int = 0
    """Attempts that a worker had taken up."""

    @property
    def event(self) -> Event:
        """What the state machine is told. In doubt whether anything landed, FAIL."""
        if self.kind in OVERTAKEN:
            return Event.STALE
        return Event.REFUSE if self.kind in FINAL and self.tries <= 1 else Event.FAIL


@workflow.defn(name="failover")
class FailoverWorkflow:
    """``failover/<service>/<run>``. Its record is its state; the query ``record`` reads it."""

    @workflow.init
    def __init__(self, carry: Carry) -> None:
        plan = carry.plan
        self._carry = carry
        self._queues = carry.queues
        self._routing: Routing | None = None
        self._replicas: dict[str, int] = {}
        self._heralds = Heralds()
        self._fell = ""
        self._preparing: workflow.ActivityHandle[StepResult] | None = None
        self._record = Record(
            run=plan.run,
            service=plan.service,
            kind=plan.kind,
            trigger=plan.trigger,
            status=RunStatus.RUNNING,
            started=workflow.now(),
            objective_s=plan.objective_s,
            source=plan.source,
            target=plan.target,
            before=plan.before,
            after=plan.after,
            revision=plan.revision,
            generation=plan.generation,
            runbook=plan.runbook,
            steps=brief(plan),
            objections=plan.objections,
            drill=carry.drill,
            entries=carry.entries,
        )

    @workflow.run
    async def run(self, carry: Carry) -> Record:
        plan = carry.plan
        self._note(Mark.STARTED, f"{plan.kind} of {plan.service}: {' and '.join(plan.source)} to {plan.target}")
        self._tell("run.started", self._record.entries[-1].text)
        progress = begin(plan)
        while True:
            action = next_action(plan, progress)
            match action:
                case Do(step):
                    progress = await self._do(step, progress)
                case Undo(step):
                    progress = await self._undo(step, progress)
                case Close(status, text):
                    return await self._close(status, text)

    @workflow.query
    def record(self) -> Record:
        """The timeline so far."""
        return self._record

    @workflow.signal
    def target_fell(self, why: str) -> None:
        """The endpoint that would get the traffic is down, and another is well. Once traffic has moved, no news."""
        self._fell = why
        if self._preparing is not None:
            self._preparing.cancel()

    # ------------------------------------------------------------------ steps

    async def _do(self, step: Step, progress: Progress) -> Progress:
        began = workflow.now()
        try:
            if isinstance(step.work, Steer) and (again := self._fell or await self._recheck()):
                return advance(progress, step.id, Event.ABORT, again)
            progress = advance(progress, step.id, Event.START)
            self._note(Mark.STEP_STARTED, step.text, step.id)
            result = await self._attempt(options.STEP_ACTIVITY, step, self._task(step))
            await self._landed(step, result, began)
        except _Failed as failure:
            self._note(Mark.STEP_FAILED, failure.text, step.id, since=began)
            # Only a write or a promotion is refused before anything was done; a drain had begun.
            effective = isinstance(step.work, Steer | Promote)
            event = failure.event if effective or failure.event is Event.STALE else Event.FAIL
            return advance(progress, step.id, event, failure.text)
        except (asyncio.CancelledError, FailureError) as error:
            if not is_cancelled_exception(error):
                raise
            if progress.state(step.id) is StepState.RUNNING:
                self._note(Mark.STEP_FAILED, "the run was cancelled", step.id, since=began)
                progress = advance(progress, step.id, Event.FAIL, "cancelled")
            return advance(progress, step.id, Event.ABORT, "cancelled")
        return advance(progress, step.id, Event.SUCCEED, result.text)

    async def _landed(self, step: Step, result: StepResult, began: datetime) -> None:
        """Take a step's result into the record."""
        self._routing = result.routing or self._routing
        self._had(step, result.replicas_before)
        self._extend(result.entries)
        if isinstance(step.work, Steer):
            self._note(Mark.STEERED, result.text or step.text, step.id, since=began)
            self._heralds.send(Publication(record=self._record))
        if isinstance(step.work, Converge):
            # Clients that obey the TTL have moved when the old answer's time is over, and not before.
            await workflow.sleep(step.work.hold_s)
            self._note(Mark.CONVERGED, f"the old answer's {step.work.hold_s:g} s are over", step.id, since=began)
        if isinstance(step.work, Verify):
            self._note(Mark.VERIFIED, result.text, step.id)
        self._note(Mark.STEP_DONE, result.text or step.text, step.id, since=began)

    async def _undo(self, step: Step, progress: Progress) -> Progress:
        progress = advance(progress, step.id, Event.UNDO)
        began = workflow.now()
        self._note(Mark.UNDO_STARTED, step.undo or f"undo {step.id}", step.id)
        task = replace(
            self._task(step),
            step=f"{step.id}-undo",
            replicas_before=self._replicas.get(step.id),
            sources=self._places(self._carry.plan.source),
        )
        try:
            result = await to_the_end(self._attempt(options.UNDO_ACTIVITY, step, task))
        except _Failed as failure:
            self._note(Mark.UNDO_FAILED, failure.text, step.id, since=began)
            return advance(progress, step.id, Event.FAIL_UNDO, failure.text)
        self._routing = result.routing or self._routing
        self._extend(result.entries)
        self._note(Mark.UNDO_DONE, result.text, step.id, since=began)
        return advance(progress, step.id, Event.SUCCEED_UNDO, result.text)

    def _had(self, step: Step, replicas: object) -> None:
        """Keep the replicas that the first attempt found: the next ones find what the first has done."""
        if isinstance(replicas, int):
            self._replicas.setdefault(step.id, replicas)

    def _task(self, step: Step) -> StepTask:
        plan = self._carry.plan
        return StepTask(
            service=plan.service,
            name=self._carry.service.name,
            run=plan.run,
            step=step.id,
            work=step.work,
            timeout_s=step.timeout_s,
            generation=plan.generation + 1,
            steering=self._carry.service.steering,
            own=next((e.answer for e in self._carry.service.endpoints if e.id == _endpoint(step)), None),
        )

    def _places(self, endpoints: tuple[str, ...]) -> tuple[Place, ...]:
        service = self._carry.service
        return tuple(
            Place(e.id, e.url, service.name, e.region, e.probes) for e in service.endpoints if e.id in endpoints
        )

    async def _attempt(self, activity: str, step: Step, task: StepTask) -> StepResult:
        """One queue after another, outside the failing domain first, with the same effect token each time.

        Time in which nobody could decide (all workers dead, Temporal away) is not taken from the step's own.
        """
        deadline = workflow.now() + timedelta(seconds=step.timeout_s)
        tried = 0
        failure = _Failed("Transient", f"no worker took it up within {step.timeout_s:g} s")
        while (left := (deadline - workflow.now()).total_seconds()) > 0 and tried < step.attempts:
            # The undo of a steer asks the source before it writes, which takes as long as a completion does.
            quick = isinstance(task.work, Steer) and activity == options.STEP_ACTIVITY
            prepares = isinstance(task.work, Promote | Verify) and activity == options.STEP_ACTIVITY
            if prepares and self._fell:
                raise _Failed("Transient", self._fell)
            queue, asked = self._queues[0], workflow.now()
            longest = options.STEER_ATTEMPT if quick else timedelta(seconds=left + 1)
            try:
                attempt: workflow.ActivityHandle[StepResult] = workflow.start_activity(
                    activity,
                    replace(task, timeout_s=left),
                    result_type=StepResult,
                    task_queue=queue,
                    schedule_to_start_timeout=options.SCHEDULE_TO_START,
                    start_to_close_timeout=longest,
                    heartbeat_timeout=None if quick else options.STEP_HEARTBEAT,
                    retry_policy=options.ONCE,
                    cancellation_type=_cancelled(task),
                )
                self._preparing = attempt if prepares else None
                return await attempt
            except ActivityError as error:
                cause = error.cause
                self._had(step, _found(cause))
                if (me := asyncio.current_task()) is not None and me.cancelling():
                    raise asyncio.CancelledError from error
                if is_cancelled_exception(error) and not (prepares and self._fell):
                    raise
                untouched = isinstance(cause, TemporalTimeout) and cause.type is TimeoutType.SCHEDULE_TO_START
                if isinstance(cause, ApplicationError):
                    failure = _Failed(cause.type or "Transient", cause.message, tried + 1)
                    if failure.kind in FINAL | OVERTAKEN:
                        raise failure from error
                elif isinstance(cause, TemporalTimeout):
                    did = "took it up" if untouched else "answered in time"
                    failure = _Failed("Transient", f"no worker on {queue} {did}")
                usual = options.SCHEDULE_TO_START if untouched else options.SCHEDULE_TO_START + longest
                deadline += max(timedelta(), workflow.now() - asked - usual)
                if not untouched:
                    tried += 1
                    await workflow.sleep(PAUSE_S)
                    if isinstance(cause, TemporalTimeout):
                        least = min(AFTER_SILENCE, timedelta(seconds=step.timeout_s))
                        deadline = max(deadline, workflow.now() + least)
                # What does not answer goes to the end of the line, for the steps to come as well.
                self._queues = (*self._queues[1:], queue)
        raise failure

    async def _recheck(self) -> str | None:
        """Why traffic must not move after all: the endpoint came back while the run prepared. Unplanned moves only."""
        plan = self._carry.plan
        if plan.planned or workflow.now() - self._record.started < STALE_VERDICT:
            return None
        try:
            return (
                await workflow.execute_local_activity(
                    options.RECHECK,
                    RecheckRequest(plan.service, plan.source),
                    result_type=str,
                    start_to_close_timeout=options.LOOK,
                    schedule_to_close_timeout=options.LOOK,
                    retry_policy=options.ONCE,
                )
                or None
            )
        except FailureError as error:
            # A local activity raises its failure as it is, not as an ActivityError.
            if is_cancelled_exception(error):
                raise
            return None  # nobody could say otherwise: the verdict stands

    # ------------------------------------------------------------------ the record

    def _note(self, mark: Mark, text: str, step: str | None = None, *, since: datetime | None = None) -> None:
        now = workflow.now()
        seconds = None if since is None else (now - since).total_seconds()
        self._extend((Entry(now, mark, text, step, seconds),))

    def _extend(self, entries: tuple[Entry, ...]) -> None:
        self._record = replace(self._record, entries=(*self._record.entries, *entries))

    def _tell(self, event: str, text: str) -> None:
        plan = self._carry.plan
        self._heralds.send(Telling(self._carry.notify, plan.service, event, text, workflow.now(), plan.run))

    async def _close(self, status: RunStatus, text: str) -> Record:
        self._note(Mark.CLOSED, text)
        self._record = replace(self._record, status=status, closed=workflow.now())
        self._tell("run.closed", f"{self._record.service}: {status}: {text}")
        await to_the_end(self._last_word())
        return self._record

    async def _last_word(self) -> None:
        """Free the service, and let go of all news that is not on its way yet."""
        closed = RunClosed(self._carry.plan.run, self._record.status, self._record, self._routing)
        try:
            await workflow.get_external_workflow_handle(service_id(self._carry.plan.service)).signal(
                "run_closed", closed
            )
        except FailureError:
            # The service is gone: the record is published from here, so that it is not lost.
            self._heralds.send(Publication(record=self._record))
        await self._heralds.sent()


def _found(cause: BaseException | None) -> object:
    """What an attempt that failed had found when it began: the replicas there were."""
    if isinstance(cause, ApplicationError):
        return next(iter(cause.details), None)
    return next(iter(cause.last_heartbeat_details), None) if isinstance(cause, TemporalTimeout) else None


def _cancelled(task: StepTask) -> workflow.ActivityCancellationType:
    """A promotion is waited for when it is cancelled: it says what it had found. The others are just let go."""
    kinds = workflow.ActivityCancellationType
    return kinds.WAIT_CANCELLATION_COMPLETED if isinstance(task.work, Promote) else kinds.TRY_CANCEL


def _endpoint(step: Step) -> str | None:
    """The endpoint whose capacity *step* changes."""
    return step.work.endpoint if isinstance(step.work, Promote | Drain | Demote) else None
