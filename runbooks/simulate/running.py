"""One run of a history: the driver of ``workflows.failover`` in small, pure form, and the executors of its steps.

What comes next is said by ``runbooks.course``. An executor may die or freeze at each point of a step; the next attempt
has the same effect token, and the frozen one may wake up later and go on with what it was about to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.core.record import RunStatus
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Service
from runbooks import course
from runbooks.course import Close, Do, Hold, Undo
from runbooks.plan import (
    Analyse,
    Approve,
    Converge,
    Plan,
    Promote,
    Steer,
    Tell,
    Verify,
    Wait,
)
from runbooks.progress import Event, StepState, advance, begin, unwanted
from runbooks.simulate.doing import FINAL, OVERTAKEN, Ballot, Doing, endpoint_of, told, told_back
from runbooks.simulate.facts import Ended
from runbooks.simulate.hands import Course, Hands, Result, StepFailed, Task
from runbooks.simulate.stage import Stage

SILENCE_S = 2.0
"""After this long without a heartbeat an attempt is given up."""
STALE_VERDICT_S = 2.0


@dataclass(frozen=True, slots=True)
class Ties:
    """What a run asks of those outside it, and tells them."""

    recheck: Callable[[Plan], str]
    """Why traffic must not move after all: the source is well again."""
    overtaken: Callable[[], bool]
    """Whether anybody else has changed the record since the routing that the plan was made from."""
    closed: Callable[[Run], None]
    """Its last word."""


class Run:
    """Carries one plan out."""

    def __init__(
        self,
        stage: Stage,
        hands: Hands,
        plan: Plan,
        service: Service,
        *,
        faults: Mapping[str, float],
        ties: Ties,
    ) -> None:
        self._stage = stage
        self._hands = hands
        self._service = service
        self._faults = faults
        self._ties = ties
        self.started = stage.now
        self._replicas: dict[str, int] = {}
        self._fell = ""
        self._going = False
        """What is under way is being let go: what comes next is asked afterwards."""
        self._held = ""
        self.under_way: dict[str, Doing] = {}
        self.plan = plan
        self.progress = begin(plan)
        self.routing: Routing | None = None
        self.ballots: dict[str, Ballot] = {}
        self.hold: Hold | None = None
        self.let_pass: set[str] = set()
        """Steps that a person has let pass."""
        self.switched = False
        self.terminated = False
        """Ended from outside, without a last word."""
        self.status: RunStatus | None = None
        stage.after(0.02, self.go)

    @property
    def overtaken(self) -> bool:
        """Whether anybody else has changed the record since its plan was made, or by hand before."""
        return self._ties.overtaken()

    @property
    def open(self) -> bool:
        return self.status is None and not self.terminated

    # ------------------------------------------------------------------ what comes next

    def go(self) -> None:
        """Put under way what may be, or close."""
        if not self.open or self._going:
            return
        self.progress = course.released(self.plan, self.progress)
        self._let_go()
        actions = course.next_actions(self.plan, self.progress)
        first, self.hold = actions[0], None
        if isinstance(first, Close):
            if not self.under_way:
                self._close(first)
        elif isinstance(first, Hold):
            if not self.under_way:
                self.hold = first
                if first.text != self._held:
                    self._held = first.text
                    self._say("waits: {}", first.text)
                    self._stage.count("run held" if first.step else "run paused")
        else:
            for action in actions:
                if isinstance(action, Do | Undo) and action.step.id not in self.under_way:
                    doing = Doing(action.step, isinstance(action, Undo))
                    self.under_way[action.step.id] = doing
                    self._stage.after(0.01 + 0.04 * self._stage.rng.random(), self._begin, doing)

    def _close(self, close: Close) -> None:
        self.status = close.status
        self._say("closes as {}: {}", close.status, close.text)
        self._stage.count(f"run {close.status}")
        self._stage.tell(Ended(self.plan, self.progress, close.status, close.text))
        self._ties.closed(self)

    def _say(self, text: str, *args: object) -> None:
        self._stage.say("{}: " + text, self.plan.run, *args)

    def _over(self, doing: Doing) -> None:
        doing.ended = True
        if self.under_way.get(doing.step.id) is doing:
            del self.under_way[doing.step.id]
        self.go()

    # ------------------------------------------------------------------ steps

    def _begin(self, doing: Doing) -> None:
        if doing.ended or not self.open:
            return
        step = doing.step
        if doing.back:
            self.progress = advance(self.progress, step.id, Event.UNDO)
            self._stage.count(f"undo of {step.work.kind}")
            self._attempt(doing)
            return
        if isinstance(step.work, Steer) and (again := self._fell or self._came_back()):
            self._say("does not move traffic after all: {}", again)
            self._stage.count("move stopped before the steer")
            self.progress = advance(self.progress, "", Event.ABORT, again)
            if self.progress.state(step.id) is StepState.RUNNING:
                self._failed(doing, "Transient", again)
            else:
                self._over(doing)
            return
        if unwanted(self.progress, step.id):
            self._over(doing)
            return
        self.progress = advance(self.progress, step.id, Event.START)
        match step.work:
            case Approve(people=people):
                self.ballots[step.id] = Ballot(people)
                self._stage.after(self._stage.between(2.0, 8.0), self._unanswered, doing)
            case Wait(seconds):
                self._stage.after(min(seconds, 3.0), self._did, doing, Result(text="held"))
            case Tell():
                self._stage.after(0.01, self._did, doing, Result(text="on its way"))
            case _:
                self._attempt(doing)

    def _came_back(self) -> str:
        late = self._stage.now - self.started >= STALE_VERDICT_S
        return self._ties.recheck(self.plan) if late and not self.progress.planned else ""

    def _unanswered(self, doing: Doing) -> None:
        if doing.ended or not self.open:
            return
        work = doing.step.work
        if isinstance(work, Approve) and work.on_timeout == "proceed":
            self._did(doing, Result(text="nobody answered"))
        else:
            doing.tries = 1
            self._failed(doing, "Refused", "nobody answered in time")

    # ------------------------------------------------------------------ attempts

    def _attempt(self, doing: Doing) -> None:
        if doing.ended or not self.open:
            return
        step = doing.step
        if self._fell and self._prepares(doing):
            self._failed(doing, "Transient", self._fell)
            return
        doing.attempt += 1
        own = next((e.answer for e in self._service.endpoints if e.id == endpoint_of(step)), None)
        stands = course.standing(self.plan, self.progress, step)
        task = Task(
            run=self.plan.run,
            step=f"{step.id}-undo" if doing.back else step.id,
            plan_step=step.id,
            work=stands.work,
            generation=stands.generation,
            base=self.plan.generation,
            own=own,
            sources=self.plan.source if doing.back else (),
            replicas_before=self._replicas.get(step.id),
            back=doing.back,
        )
        task.stopped = lambda: doing.stopping and doing.task is task
        doing.task = task
        try:
            work = self._hands.undo(task) if doing.back else self._hands.do(task)
        except StepFailed as error:
            self._replied(doing, doing.attempt, error)
            return
        if doing.attempt > 1:
            self._stage.count("step tried again")
        self._say("{} attempt {}", task.step, doing.attempt)
        self._stage.after(0.01, self._point, doing, doing.attempt, task, work)

    def _point(self, doing: Doing, number: int, task: Task, work: Course) -> None:
        """The executor comes to the next point of its work; it may be its last."""
        stage, faults = self._stage, self._faults
        late = doing.ended or doing.attempt != number
        if not late and stage.chance(faults["kill"]):
            self._say("the executor of {} dies (attempt {})", task.step, number)
            stage.count(f"executor killed in {task.work.kind}")
            stage.after(SILENCE_S, self._replied, doing, number, StepFailed("", "no worker answered in time"))
            return
        if not late and stage.chance(faults["freeze"]):
            wakes = stage.between(1.0, 25.0)
            self._say("the executor of {} freezes (attempt {}) for {:.1f} s", task.step, number, wakes)
            stage.count(f"executor frozen in {task.work.kind}")
            stage.after(SILENCE_S, self._replied, doing, number, StepFailed("", "no worker answered in time"))
            stage.after(wakes, self._point, doing, number, task, work)
            return
        if late:
            stage.count("executor alive beside another" if self.open else "executor alive after its run")
        try:
            delay_s = next(work)
        except StopIteration as end:
            self._reply(doing, number, end.value)
        except StepFailed as error:
            self._reply(doing, number, error)
        else:
            stage.after(delay_s, self._point, doing, number, task, work)

    def _reply(self, doing: Doing, number: int, said: Result | StepFailed) -> None:
        lost = self._stage.chance(self._faults["silence"])
        if lost:
            self._say("a reply about {} is lost", doing.step.id)
            self._stage.count("reply lost")
            said = StepFailed("", "no worker answered in time")
        self._stage.after(SILENCE_S if lost else 0.01, self._replied, doing, number, said)

    def _replied(self, doing: Doing, number: int, said: Result | StepFailed) -> None:
        """An attempt has ended, or was given up."""
        if doing.ended or doing.attempt != number or not self.open:
            return
        if isinstance(said, Result):
            self._hold_on(doing, said)
            return
        if doing.task is not None and doing.task.beat is not None:
            self._replicas.setdefault(doing.step.id, doing.task.beat)
        if doing.stopping and not self._fell:
            self._cancelled(doing)
            return
        doing.tries += 1
        if said.kind in FINAL | OVERTAKEN or doing.tries >= doing.step.attempts or doing.stopping:
            self._failed(doing, said.kind, said.text)
        else:
            self._stage.after(0.2, self._attempt, doing)

    def _hold_on(self, doing: Doing, result: Result) -> None:
        """Take the result, after the old answer's time where the step waits for caches."""
        self.routing = result.routing or self.routing
        if result.replicas_before is not None:
            self._replicas.setdefault(doing.step.id, result.replicas_before)
        if isinstance(doing.step.work, Converge) and not doing.back:
            self._stage.after(self._stage.between(0.2, 2.0), self._did, doing, result)
        else:
            self._did(doing, result)

    def _did(self, doing: Doing, result: Result) -> None:
        if doing.ended or not self.open:
            return
        name = doing.step.id
        self._say("{}{} is done: {}", "undo of " if doing.back else "", name, result.text)
        if doing.back:
            self.progress = advance(self.progress, name, Event.SUCCEED_UNDO, result.text)
        elif self.progress.state(name) is StepState.RUNNING:
            self.progress = advance(self.progress, name, Event.SUCCEED, result.text)
        self._over(doing)

    def _failed(self, doing: Doing, kind: str, text: str) -> None:
        name = doing.step.id
        self._say("{}{} has failed: {} ({})", "undo of " if doing.back else "", name, text, kind or "silence")
        if doing.back:
            self._stage.count("undo failed")
            self.progress = advance(self.progress, name, told_back(doing, kind), text)
        elif self.progress.state(name) is StepState.RUNNING:
            event = told(doing, kind)
            self._stage.count(f"step told {event}")
            self.progress = advance(self.progress, name, event, text)
        self._over(doing)

    # ------------------------------------------------------------------ news and people

    def target_fell(self, why: str) -> None:
        """The target is down, and another endpoint is well: preparing it is in vain."""
        if not self.open:
            return
        self._fell = why
        self._say("hears that preparing is in vain: {}", why)
        for doing in tuple(self.under_way.values()):
            if self._prepares(doing) and doing.attempt and not doing.ended:
                doing.stopping = True
                if not isinstance(doing.step.work, Promote):
                    self._failed(doing, "Transient", why)

    def _prepares(self, doing: Doing) -> bool:
        return not doing.back and isinstance(doing.step.work, Promote | Verify | Analyse)

    def stop(self, why: str) -> None:
        """A person ends it."""
        self.progress = advance(self.progress, "", Event.ABORT, why)
        for doing in tuple(self.under_way.values()):
            if self.progress.state(doing.step.id) is not StepState.UNDOING:
                self.cancel(doing)
        self.go()

    def cancel(self, doing: Doing) -> None:
        """Let a step that is under way go. A promotion is waited for: it says what it had found."""
        if doing.attempt and isinstance(doing.step.work, Promote) and not doing.back:
            doing.stopping = True
        else:
            self._cancelled(doing)

    def _cancelled(self, doing: Doing) -> None:
        if self.progress.state(doing.step.id) is StepState.RUNNING and self.progress.aborted:
            self.progress = advance(self.progress, doing.step.id, Event.FAIL, self.progress.stopped)
        self._over(doing)

    def _let_go(self) -> None:
        """End what is under way and no part of the run any more."""
        self._going = True
        for doing in tuple(self.under_way.values()):
            state = self.progress.state(doing.step.id)
            if state not in {StepState.RUNNING, StepState.UNDOING, StepState.PENDING}:
                self.cancel(doing)
        self._going = False

    def vote(self, step: str, who: str, *, yes: bool) -> None:
        """A person answers an approval."""
        doing, ballot = self.under_way.get(step), self.ballots.get(step)
        if doing is None or ballot is None or doing.ended:
            return
        if not yes:
            doing.tries = 1
            self._failed(doing, "Refused", f"{who} said no")
            return
        ballot.yes.add(who)
        if len(ballot.yes) >= ballot.people:
            self._did(doing, Result(text="approved"))

    def terminate(self) -> None:
        """Somebody ends the workflow from outside: it says nothing more, and its executors go on."""
        self.terminated = True
        self._say("is terminated from outside")
        self._stage.count("run terminated")
