"""Attempts at one step: one queue after another, outside the failing domain first, under the same effect token."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TemporalTimeout

with workflow.unsafe.imports_passed_through():
    from runbooks.plan import Analyse, Call, Promote, Steer, Step, Verify, Work
    from runbooks.progress import Event
    from workflows import options
    from workflows.wire import StepResult, StepTask

PAUSE_S = 0.2
"""Between attempts at a step that failed for a passing reason."""
AFTER_SILENCE = timedelta(seconds=10)
"""A step whose worker fell silent has this long at least for its next attempt: silence is no answer."""
FINAL = frozenset(
    {
        "Refused",
        "NotFound",
        "Unauthenticated",
        "Forbidden",
        "NoCapacity",
        "BadInput",
        "BadFence",
        "UndoFailed",
        "NoWayBack",
        "Inconclusive",
    }
)
"""Errors that another attempt would meet again."""
OVERTAKEN = frozenset({"StaleGeneration", "ChangedOutside"})


@dataclass(frozen=True, slots=True)
class StepFailed(Exception):
    """A step was given up."""

    kind: str
    """The class of the provider's error."""
    text: str
    tries: int = 0
    """Attempts that a worker had taken up."""

    def event(self, work: Work) -> Event:
        """What the state machine is told where *work* was to be done. In doubt whether anything landed, FAIL."""
        if self.kind in OVERTAKEN:
            return Event.STALE
        if self.kind == "Inconclusive":
            return Event.ASK
        # Only a write or a promotion is refused before anything was done, and a call that lacks its secret; a drain
        # had begun.
        unsent = isinstance(work, Call) and self.kind == "BadInput"
        surely = self.kind in FINAL and (isinstance(work, Steer | Promote) or unsent)
        return Event.REFUSE if surely and self.tries <= 1 else Event.FAIL

    @property
    def of_undo(self) -> Event:
        """The same of an undo. In doubt whether anything was put back, FAIL_UNDO."""
        if self.kind in OVERTAKEN:
            return Event.STALE
        return Event.REFUSE_UNDO if self.kind == "NoWayBack" and self.tries <= 1 else Event.FAIL_UNDO


class Attempts:
    """Makes the attempts of one run."""

    def __init__(self, queues: tuple[str, ...]) -> None:
        self._queues = queues
        self._replicas: dict[str, int] = {}
        self._more_s: dict[str, float] = {}
        self._preparing: list[workflow.ActivityHandle[StepResult]] = []
        self.fell = ""
        """Why preparing the target is in vain."""

    def found(self, step: str) -> int | None:
        """The replicas that the first attempt at a promotion found."""
        return self._replicas.get(step)

    def had(self, step: Step, replicas: object) -> None:
        """Keep the replicas that the first attempt found: the next ones find what the first has done."""
        if isinstance(replicas, int):
            self._replicas.setdefault(step.id, replicas)

    def more(self, step: str, seconds: float) -> None:
        """Give *step* more time than its plan says."""
        self._more_s[step] = self._more_s.get(step, 0.0) + seconds

    def more_s(self, step: str) -> float:
        """What *step* was given beyond its plan."""
        return self._more_s.get(step, 0.0)

    def in_vain(self, why: str) -> None:
        """The target has fallen: stop preparing it."""
        self.fell = why
        for attempt in self._preparing:
            attempt.cancel()

    def elsewhere(self, count: int) -> list[tuple[str, ...]]:
        """*count* orders of the queues, each with another one first: what is asked from several places at once."""
        queues = self._queues
        return [(*queues[n % len(queues) :], *queues[: n % len(queues)]) for n in range(count)]

    async def attempt(
        self, activity: str, step: Step, task: StepTask, *, queues: tuple[str, ...] | None = None
    ) -> StepResult:
        """Do *task*, again where that may help. Raises StepFailed.

        Time in which nobody could decide (all workers dead, Temporal away) is not taken from the step's own.
        """
        budget = _Budget(step)
        doing = activity == options.STEP_ACTIVITY
        # The undo of a steer asks the source before it writes, which takes as long as a completion does.
        quick = task.work.steering.attempt_s if isinstance(task.work, Steer) and doing else None
        prepares = isinstance(task.work, Promote | Verify | Analyse) and doing
        line = queues
        while (left := budget.left_s(self.more_s(step.id))) > 0:
            if prepares and self.fell:
                raise StepFailed("Transient", self.fell)
            queue, asked = (line or self._queues)[0], workflow.now()
            longest = timedelta(seconds=left + 1 if quick is None else quick)
            attempt: workflow.ActivityHandle[StepResult] = workflow.start_activity(
                activity,
                replace(task, timeout_s=left),
                result_type=StepResult,
                task_queue=queue,
                schedule_to_start_timeout=options.SCHEDULE_TO_START,
                start_to_close_timeout=longest,
                heartbeat_timeout=options.STEP_HEARTBEAT if longest > options.STEP_HEARTBEAT else None,
                retry_policy=options.ONCE,
                cancellation_type=_cancelled(task),
            )
            try:
                if prepares:
                    self._preparing.append(attempt)
                return await attempt
            except ActivityError as error:
                self.had(step, _found(error.cause))
                if (me := asyncio.current_task()) is not None and me.cancelling():
                    raise asyncio.CancelledError from error
                if is_cancelled_exception(error) and not (prepares and self.fell):
                    raise
                await budget.spend(error.cause, queue, asked, longest)
            finally:
                if attempt in self._preparing:
                    self._preparing.remove(attempt)
            # What does not answer goes to the end of the line, for the steps to come as well.
            if line is not None:
                line = (*line[1:], queue)
            else:
                self._queues = (*(each for each in self._queues if each != queue), queue)
        raise budget.failure


class _Budget:
    """The time and the attempts that a step has.

    What is left is counted before a pause: a timer that has fired is believed, and no clock asked behind it.
    """

    def __init__(self, step: Step) -> None:
        self._least_s = min(AFTER_SILENCE.total_seconds(), step.timeout_s)
        self._left_s = step.timeout_s
        self._attempts = step.attempts
        self._given_s = 0.0
        self._tried = 0
        self.failure = StepFailed("Transient", f"no worker took it up within {step.timeout_s:g} s")

    def left_s(self, more_s: float) -> float:
        """Seconds that are left for another attempt, of those that it had and *more_s* given since; 0: none."""
        if more_s > self._given_s:
            self._left_s += more_s - self._given_s
            self._given_s, self._attempts = more_s, self._attempts + 1
        return max(0.0, self._left_s) if self._tried < self._attempts else 0.0

    async def spend(self, cause: BaseException | None, queue: str, asked: datetime, longest: timedelta) -> None:
        """Take an attempt that failed into account. Raises StepFailed where another would meet the same."""
        untouched = isinstance(cause, TemporalTimeout) and cause.type is TimeoutType.SCHEDULE_TO_START
        if isinstance(cause, ApplicationError):
            self.failure = StepFailed(cause.type or "Transient", cause.message, self._tried + 1)
            if self.failure.kind in FINAL | OVERTAKEN:
                raise self.failure
        elif isinstance(cause, TemporalTimeout):
            did = "took it up" if untouched else "answered in time"
            self.failure = StepFailed("Transient", f"no worker on {queue} {did}")
        usual = options.SCHEDULE_TO_START if untouched else options.SCHEDULE_TO_START + longest
        self._left_s -= min(workflow.now() - asked, usual).total_seconds()
        if untouched:
            return
        self._tried += 1
        self._left_s -= PAUSE_S
        if isinstance(cause, TemporalTimeout):
            self._left_s = max(self._left_s, self._least_s)
        await workflow.sleep(PAUSE_S)


def _found(cause: BaseException | None) -> object:
    """What an attempt that failed had found when it began: the replicas there were."""
    if isinstance(cause, ApplicationError):
        return next(iter(cause.details), None)
    return next(iter(cause.last_heartbeat_details), None) if isinstance(cause, TemporalTimeout) else None


def _cancelled(task: StepTask) -> workflow.ActivityCancellationType:
    """A promotion is waited for when it is cancelled: it says what it had found. The others are just let go."""
    kinds = workflow.ActivityCancellationType
    return kinds.WAIT_CANCELLATION_COMPLETED if isinstance(task.work, Promote) else kinds.TRY_CANCEL
