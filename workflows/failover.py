"""A run: carries a plan out step by step, undoes what must be undone, and writes the one record everyone reads.

It chooses nothing. What comes next is said by ``runbooks.course``; how a step is done, by its activity; what people
may do meanwhile, by ``workflows.acting``.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.record import Entry, Mark, Record, RunStatus
    from orchestrator.core.steering import Routing
    from runbooks.course import Close, Do, Hold, Undo, next_actions, released
    from runbooks.plan import Analyse, Approve, Converge, Steer, Step, Tell, Verify, Wait
    from runbooks.progress import Event, StepState, advance, begin, ended_here, unwanted
    from workflows import acting, early, options, reading
    from workflows.attempting import Attempts, StepFailed
    from workflows.finishing import to_the_end
    from workflows.returning import Returning
    from workflows.story import Story
    from workflows.wire import (
        Acted,
        ActKind,
        Carry,
        RunAct,
        RunClosed,
        RunState,
        StepResult,
        StepTask,
        service_id,
    )
    from workflows.wire.lost import Steered
    from workflows.wire.run import HeadStart
    from workflows.wire.tasks import places, task_of

STALE_VERDICT = timedelta(seconds=2)
"""A verdict older than this is asked for again before traffic is moved."""
STUCK = 1.25
"""A step that has taken this many times as long as usual, and a second more, is told as stuck."""


@workflow.defn(name="failover")
class FailoverWorkflow:
    """``failover/<service>/<run>``. Its record is its state; the query ``record`` reads it."""

    @workflow.init
    def __init__(self, carry: Carry) -> None:
        plan = carry.plan
        self._carry = carry
        self._attempts = Attempts(carry.queues)
        self._routing: Routing | None = None
        self._story = Story(carry, workflow.now())
        self._returning = Returning(carry, self._attempts, self._story)
        self._progress = begin(plan)
        # In the order in which they began: sets would differ from replay to replay.
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._began: dict[str, datetime] = {}
        self._stuck: dict[str, datetime] = {}
        self._ballots: dict[str, acting.Ballot] = {}
        self._held = ""
        self._answers: dict[str, Acted] = {}
        self._news = False
        self._closed = self._timed = False
        self._steered: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, carry: Carry) -> Record:
        plan = carry.plan
        what = f"{' and '.join(plan.source)} to {plan.target}" if plan.source else f"at {plan.target}"
        head = await early.head_of(carry)
        began = head.began if head is not None else workflow.now()
        self._story.extend((Entry(began, Mark.STARTED, f"{plan.kind} of {plan.service}: {what}"),))
        self._story.tell("run.started", self._story.record.entries[-1].text)
        self._take_up(head)
        for refused in early.carried_out(carry.acts, self._may_act, self._do_act):
            self._story.say("run.note", refused)
        while True:
            self._progress = released(plan, self._progress)
            self._let_go()
            actions = next_actions(plan, self._progress)
            match actions[0]:
                case Close(status, text) if not self._under_way:
                    return await self._close(status, text)
                case Hold(text, step) if not self._under_way:
                    self._hold(text, step)
                case _:
                    self._begin(actions)
            try:
                await self._something()
            except asyncio.CancelledError:
                self._stop("cancelled")

    @workflow.query
    def record(self) -> Record:
        """The timeline so far."""
        return self._story.record

    @workflow.query
    def state(self) -> RunState:
        """What people may do now."""
        state = acting.state_of(self._carry.plan, self._progress, self._ballots)
        return replace(state, waiting=(*state.waiting, *self._returning.waiting))

    @workflow.signal
    def target_fell(self, why: str) -> None:
        """The endpoint that would get the traffic is down, and another is well. Once traffic has moved, no news."""
        self._attempts.in_vain(why)

    @workflow.signal
    def give_way(self, why: str) -> None:
        """Traffic must move now: a preparation ends, and what it has done stands for the move that comes."""
        progress = ended_here(self._carry.plan, self._progress, why)
        if self._closed or progress == self._progress:
            return
        self._progress = progress
        self._story.say("run.note", f"gives way: {why}")
        self._let_go()
        self._held, self._news = "", True

    def _take_up(self, head: HeadStart | None) -> None:
        """What a leader has done stands as if it had been done here."""
        for ahead in head.done if head is not None else ():
            self._progress = advance(self._progress, ahead.step, Event.START)
            self._story.extend(ahead.entries)
            self._routing = ahead.result.routing or self._routing
            self._attempts.had(self._step(ahead.step), ahead.result.replicas_before)
            self._progress = advance(self._progress, ahead.step, Event.SUCCEED, ahead.result.text)

    # ------------------------------------------------------------------ what is under way

    def _begin(self, actions: tuple[object, ...]) -> None:
        """Put under way what is not yet."""
        for action in actions:
            if isinstance(action, Do | Undo) and action.step.id not in self._under_way:
                work = self._do(action.step) if isinstance(action, Do) else self._undo(action.step)
                self._under_way[action.step.id] = asyncio.create_task(work)

    async def _something(self) -> None:
        """Wait until a step has ended or a person has spoken; say meanwhile what takes too long."""
        while True:
            due = min(self._stuck.values(), default=None)
            timeout = None if due is None else max(timedelta(milliseconds=1), due - workflow.now())
            try:
                await workflow.wait_condition(
                    lambda: self._news or any(task.done() for task in self._under_way.values()), timeout=timeout
                )
            except TimeoutError:
                if due is not None:
                    self._say_stuck(due)
                continue
            break
        self._news = False
        for name in [name for name, task in self._under_way.items() if task.done()]:
            self._stuck.pop(name, None)
            # An exception that nobody expects fails the task, and people can mend the code under it.
            self._under_way.pop(name).result()

    def _say_stuck(self, due: datetime) -> None:
        """Say which steps were to be over by *due*, which has passed.

        The clock is not asked whether it has: after a server was killed and restarted, a task was once seen to bring a
        fired timer with the time of the task before, and its replay chose another way.
        """
        now = workflow.now()
        for name in [name for name, each in self._stuck.items() if each <= due]:
            del self._stuck[name]
            if self._returning.stays(name):
                continue
            step = self._step(name)
            took = (now - self._began[name]).total_seconds()
            text = f"step {name} has taken {took:.0f} s and usually takes {step.expected_s:g} s: {step.text}"
            self._story.say("run.stuck", text, name)

    def _hold(self, text: str, step: Step | None) -> None:
        """Say once what the run waits for."""
        if text == self._held:
            return
        self._held = text
        self._story.say("run.waiting", f"waiting: {text}", step.id if step else None)

    def _stop(self, why: str) -> None:
        """End the way forward. What is under way ends as failed, and is put back or left, as the plan says."""
        self._progress = advance(self._progress, "", Event.ABORT, why)
        self._cut_short()

    def _cut_short(self) -> None:
        for name, task in self._under_way.items():
            if self._progress.state(name) is not StepState.UNDOING:
                task.cancel()

    def _step(self, name: str) -> Step:
        return next(step for step in self._carry.plan.steps if step.id == name)

    # ------------------------------------------------------------------ steps

    async def _do(self, step: Step) -> None:
        began = workflow.now()
        try:
            if isinstance(step.work, Steer) and (again := await self._recheck()):
                self._progress = advance(self._progress, "", Event.ABORT, again)
                if self._progress.state(step.id) is StepState.RUNNING:
                    # A person had it tried again, and the attempt before may have landed.
                    raise StepFailed("Transient", again)
                return
            if unwanted(self._progress, step.id):
                return  # the run was switched while it looked: another step takes this one's place
            self._progress = advance(self._progress, step.id, Event.START)
            self._story.note(Mark.STEP_STARTED, step.text, step.id)
            self._began[step.id] = began
            if step.expected_s > 0:
                self._stuck[step.id] = began + timedelta(seconds=step.expected_s * STUCK + 1)
                self._news = True
            result = await self._carried(step)
            await self._landed(step, result, began)
        except StepFailed as failure:
            self._story.note(Mark.STEP_FAILED, failure.text, step.id, since=began)
            event = failure.event(step.work)
            self._progress = advance(self._progress, step.id, event, failure.text)
            if event is Event.FAIL:
                self._returning.turns_back(step, failure.text)
        except (asyncio.CancelledError, FailureError) as error:
            if not is_cancelled_exception(error):
                raise
            if self._progress.state(step.id) is not StepState.RUNNING:
                why = next((text for name, text in reversed(self._progress.failures) if name == step.id), "let go")
                self._story.note(Mark.STEP_SKIPPED, why, step.id, since=began)
                return
            if self._progress.aborted:
                why = "the run was cancelled" if self._progress.stopped == "cancelled" else "the run was stopped"
                self._story.note(Mark.STEP_FAILED, why, step.id, since=began)
                self._progress = advance(self._progress, step.id, Event.FAIL, self._progress.stopped)
        else:
            if self._progress.state(step.id) is StepState.RUNNING:
                self._progress = advance(self._progress, step.id, Event.SUCCEED, result.text)

    async def _carried(self, step: Step) -> StepResult:
        """Do what *step* says: by an activity, or here where it only waits or tells."""
        match step.work:
            case Approve():
                return await self._approval(step, step.work)
            case Wait(seconds):
                await self._pass(step, seconds)
                return StepResult(text=f"held for {seconds:g} s" if seconds else step.text)
            case Tell(text):
                self._story.tell("run.note", text)
                return StepResult(text="on its way")
            case Analyse():
                return await self._returning.look(step, step.work, self._task, self._progress)
            case Verify(vantages=places) if places > 1:
                task = self._task(step)
                orders = self._attempts.elsewhere(places)
                seen = [self._attempts.attempt(options.STEP_ACTIVITY, step, task, queues=order) for order in orders]
                results = await asyncio.gather(*seen)
                return replace(results[0], text=f"{results[0].text}, from {places} places")
            case _:
                return await self._attempts.attempt(options.STEP_ACTIVITY, step, self._task(step))

    async def _pass(self, step: Step, seconds: float) -> None:
        """Let *seconds* pass, and what the step was given beyond them. Timers say when, as in ``_say_stuck``."""
        passed = 0.0
        while (left := seconds + self._attempts.more_s(step.id) - passed) > 0:
            passed, self._timed = passed + left, True
            await workflow.sleep(left)

    async def _approval(self, step: Step, work: Approve) -> StepResult:
        """Wait for a yes; ask one role after another; then silence means what the plan says. Raises StepFailed."""
        ballot = self._ballots[step.id] = acting.Ballot(work, ())
        for number, asked in enumerate(work.roles):
            ballot.asked = work.roles[: number + 1]
            whom = f"role {asked.role} ({', '.join(asked.people)})" if asked.role else "anybody"
            text = f"step {step.id} waits for {work.people} yes from {whom}: failover approve {self._story.record.run}"
            self._story.say("run.approval", text, step.id)
            waited, self._timed = 0.0, True
            while not ballot.decided and (left := work.patience_s + self._attempts.more_s(step.id) - waited) > 0:
                waited += left
                with contextlib.suppress(TimeoutError):
                    await workflow.wait_condition(lambda: ballot.decided, timeout=left)
            if ballot.no:
                raise StepFailed("Refused", ballot.no, 1)
            if ballot.decided:
                return StepResult(text=f"approved by {' and '.join(ballot.yes)}")
        ballot.no = ballot.silence
        if work.on_timeout == "proceed":
            return StepResult(text=f"{ballot.no}, and the runbook says to proceed then")
        raise StepFailed("Refused", ballot.no, 1)

    async def _landed(self, step: Step, result: StepResult, began: datetime) -> None:
        """Take a step's result into the record."""
        self._routing = result.routing or self._routing
        self._attempts.had(step, result.replicas_before)
        self._story.extend(result.entries)
        if isinstance(step.work, Steer):
            self._story.note(Mark.STEERED, result.text or step.text, step.id, since=began)
            self._story.publish()
            self._say_steered()
        if isinstance(step.work, Converge):
            # Clients that obey the TTL have moved when the old answer's time is over, and not before.
            await workflow.sleep(step.work.hold_s)
            self._story.note(Mark.CONVERGED, f"the old answer's {step.work.hold_s:g} s are over", step.id, since=began)
        if isinstance(step.work, Verify):
            self._story.note(Mark.VERIFIED, result.text, step.id)
        self._story.note(Mark.STEP_DONE, result.text or step.text, step.id, since=began)

    def _say_steered(self) -> None:
        """Once the traffic of an unplanned move has moved, others may move: what is left of this run takes nothing."""
        waiting = any(
            isinstance(step.work, Steer) and self._progress.state(step.id) is StepState.PENDING
            for step in self._carry.plan.taken(planned=self._progress.planned)
        )
        if self._progress.planned or waiting or self._routing is None:
            return
        service, moved = service_id(self._carry.plan.service), Steered(self._carry.plan.run, self._routing)

        async def say() -> None:
            with contextlib.suppress(FailureError):
                await workflow.get_external_workflow_handle(service).signal("steered", moved)

        self._steered = asyncio.create_task(say())

    async def _undo(self, step: Step) -> None:
        self._progress = advance(self._progress, step.id, Event.UNDO)
        began = workflow.now()
        self._story.note(Mark.UNDO_STARTED, step.undo or f"undo {step.id}", step.id)
        task = replace(
            self._task(step),
            step=f"{step.id}-undo",
            replicas_before=self._attempts.found(step.id),
            sources=places(self._carry.service, self._carry.plan.source),
        )
        try:
            result = await self._attempts.attempt(options.UNDO_ACTIVITY, step, task)
        except StepFailed as failure:
            self._story.note(Mark.UNDO_FAILED, failure.text, step.id, since=began)
            self._progress = advance(self._progress, step.id, failure.of_undo, failure.text)
            return
        self._routing = result.routing or self._routing
        self._story.extend(result.entries)
        self._story.note(Mark.UNDO_DONE, result.text, step.id, since=began)
        self._progress = advance(self._progress, step.id, Event.SUCCEED_UNDO, result.text)

    def _task(self, step: Step) -> StepTask:
        return task_of(self._carry.plan, self._carry.service, self._progress, step)

    async def _recheck(self) -> str | None:
        """Why traffic must not move after all: the world has changed while the run prepared.

        The target fell; the endpoint that is left came back, of an unplanned move; a region said no, of a failback.
        """
        if self._attempts.fell or self._progress.planned:
            return self._attempts.fell or await self._returning.barred(self._progress)
        if not self._timed and workflow.now() - self._story.record.started < STALE_VERDICT:
            return None
        plan = self._carry.plan
        if plan.planned:
            # A person has said in the middle of the move that the source is no good: half way helps nobody.
            return None
        again = await reading.recheck(plan.service, plan.source)
        if again and self._carry.one_of_many and await reading.landed(self._carry.service, plan.run):
            return None  # a leader wrote, and was not heard of any more
        return again

    # ------------------------------------------------------------------ people

    @workflow.update
    def act(self, act: RunAct) -> Acted:
        """A person approves, stops, holds or changes the run. A retry of the same act gets the same answer."""
        return self._do_act(act)

    def _do_act(self, act: RunAct) -> Acted:
        if act.id in self._answers:
            return self._answers[act.id]
        plan = self._carry.plan
        self._progress, step = acting.acted(plan, self._progress, self._ballots, act)
        match act.kind:
            case ActKind.ABORT:
                self._cut_short()
            case ActKind.SWITCH:
                self._story.switch(planned=self._progress.planned)
            case ActKind.EXTEND if step is not None:
                self._attempts.more(step, act.seconds)
                if step in self._stuck:
                    self._stuck[step] += timedelta(seconds=act.seconds)
            case ActKind.SKIP if step is not None:
                self._returning.let_pass(step)
            case ActKind.RETRY if step in self._under_way:
                self._under_way[step].cancel()
            case _:
                pass
        answer = self._answers[act.id] = Acted(acting.done(act, step))
        self._story.note(Mark.ACT, answer.text, step)
        if step is not None and self._progress.state(step) is StepState.SKIPPED:
            self._story.note(Mark.STEP_SKIPPED, answer.text, step)
        self._let_go()
        self._held, self._news = "", True
        return answer

    @act.validator
    def _may_act(self, act: RunAct) -> None:
        if act.id in self._answers:
            return
        run = self._carry.plan.run
        why = f"run {run} is closed; read it with: failover show {run}" if self._closed else None
        why = why or acting.refused(self._carry.plan, self._progress, self._ballots, act)
        if why is not None:
            raise ApplicationError(why, type="Refused")

    def _let_go(self) -> None:
        """End what is under way and no part of the run any more."""
        for name, task in self._under_way.items():
            if self._progress.state(name) not in {StepState.RUNNING, StepState.UNDOING, StepState.PENDING}:
                task.cancel()

    # ------------------------------------------------------------------ the end

    async def _close(self, status: RunStatus, text: str) -> Record:
        self._closed = True
        self._story.close(status, text)
        await to_the_end(self._last_word())
        return self._story.record

    async def _last_word(self) -> None:
        """Free the service, and let go of all news that is not on its way yet."""
        closed = RunClosed(self._carry.plan.run, self._story.record.status, self._story.record, self._routing)
        try:
            await workflow.get_external_workflow_handle(service_id(self._carry.plan.service)).signal(
                "run_closed", closed
            )
        except FailureError:
            # The service is gone: the record is published from here, so that it is not lost.
            self._story.publish()
        await self._story.sent()
        if self._steered is not None:
            await self._steered
        await self._returning.told()
        await workflow.wait_condition(workflow.all_handlers_finished)
