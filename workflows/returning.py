"""A failback on its way: between its stages it hears whether its regions have not borne the return of another service,
and it says at once when they do not bear its own.

Where one of them has not, no more traffic comes: the run stays at the stage where it is, and goes on looking at it, for
what is there already must go back at once when the region bears that no more either.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.crowd import Moving
    from orchestrator.core.easing import RULE, Return, Setback, holding_up, regions_into, said, staying
    from orchestrator.core.move import MoveKind
    from orchestrator.core.names import Domain, RunId, rehearses
    from orchestrator.core.waiting import at
    from runbooks.plan import Analyse, Plan, Steer, Step
    from runbooks.progress import BEGUN, Progress
    from workflows import options, reading
    from workflows.attempting import Attempts
    from workflows.story import Story
    from workflows.wire import GOVERNOR_ID, Carry, StepResult, StepTask, Waiting

ROUND_S = 60.0
"""How long a stage that stays is looked at before the governor is asked once more, at least."""


class Returning:
    """What one run asks of the governor between its stages; nothing, where it is no failback."""

    def __init__(self, carry: Carry, attempts: Attempts, story: Story) -> None:
        self._plan: Plan = carry.plan
        self._into = _into(carry)
        self._regions = () if RULE in carry.plan.trigger.overrides else self._into
        """What is asked about: nothing, where the run's person has set the rule aside."""
        self._attempts = attempts
        self._story = story
        self._staying: dict[str, tuple[Setback, Waiting]] = {}
        """The steps that stay where they are, and why."""
        self._word: asyncio.Task[None] | None = None
        self._seen: tuple[RunId, ...] = ()
        """The runs that turned back, and that a person let pass."""

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """What people may say a word to: it goes on by itself without."""
        return tuple(waiting for _, waiting in self._staying.values())

    def stays(self, step: str) -> bool:
        """Whether *step* takes longer than usual because of another service."""
        return step in self._staying

    def let_pass(self, step: str) -> None:
        """A person who has looked goes on: what kept *step* keeps no stage to come, and a new setback does."""
        if step in self._staying:
            self._seen = (*self._seen, self._staying[step][0].run)

    def turns_back(self, step: Step, why: str) -> None:
        """Tell the governor at once that the regions did not bear it: the way back takes its time, and others come.

        The run's end says so once more, and twice is once.
        """
        if self._into and isinstance(step.work, Analyse) and step.on_failure in {"rollback", "halt"}:
            end = Return(self._plan.run, self._plan.service, self._into, why)
            self._word = asyncio.create_task(_tell(end))

    async def told(self) -> None:
        """Wait until what was to be said is on its way."""
        if self._word is not None:
            await self._word

    async def barred(self, progress: Progress) -> str | None:
        """Why not even the first traffic may come: a region has said no since the run was granted. None: it may.

        Once traffic has moved, or where nobody says so within half a second, nothing bars it.
        """
        if not self._regions or self._moved(progress) or not progress.planned:
            return None
        found = await reading.setbacks(self._regions) or ()
        others = tuple(each for each in found if each.run != self._plan.run)
        one = Moving(self._plan.service, self._regions, home=True)
        return next((each.text for each in holding_up(one, others, workflow.now())), None)

    async def look(self, step: Step, work: Analyse, task: Callable[[Step], StepTask], progress: Progress) -> StepResult:
        """What the look that *step* takes has found, once more traffic may come. Raises StepFailed.

        A person who skips the step goes on at once; who has it tried again looks, and asks, anew. Before any traffic
        has come nothing stays: the first write asks for itself.
        """
        result = await self._attempts.attempt(options.STEP_ACTIVITY, step, task(step))
        against = await self._against(None) if self._moved(progress) else None
        if against is None:
            return result
        _heed_people()
        round_s = max(work.hold_s, ROUND_S)
        longer = replace(step, work=replace(work, hold_s=round_s), timeout_s=step.timeout_s - work.hold_s + round_s)
        try:
            while against is not None:
                self._stay(step, against)
                began = workflow.now()
                result = await self._attempts.attempt(options.STEP_ACTIVITY, longer, task(longer))
                _heed_people()
                # An attempt that follows another one holds for what is left of its time only.
                left = round_s - (workflow.now() - began).total_seconds()
                # Always a timer: whether there is one must not hang on the clock.
                await workflow.sleep(max(0.001, left))
                against = await self._against(against)
                _heed_people()
        finally:
            self._staying.pop(step.id, None)
        self._story.say("run.note", f"goes on: nothing holds up {' and '.join(self._regions)} any more", step.id)
        return result

    def _moved(self, progress: Progress) -> bool:
        """Whether traffic has come already, or may have."""
        return any(isinstance(each.work, Steer) and progress.state(each.id) in BEGUN for each in self._plan.steps)

    async def _against(self, known: Setback | None) -> Setback | None:
        """Why no more traffic may come. A governor that does not answer takes nothing back, and adds nothing."""
        if not self._regions:
            return None
        found = await reading.setbacks(self._regions)
        if found is None:
            found = () if known is None else (known,)
        found = tuple(each for each in found if each.run not in self._seen)
        return staying(found, self._regions, self._plan.run, workflow.now())

    def _stay(self, step: Step, setback: Setback) -> None:
        run = self._plan.run
        text = (
            f"no more traffic goes to {setback.region} until {at(setback.until)}, since {said(setback)}. What is there "
            "stays, is looked at meanwhile, and goes on by itself then"
        )
        before = self._staying.get(step.id)
        self._staying[step.id] = setback, Waiting(step.id, f"step {step.id}: {text}")
        if before is None or before[0] != setback:
            ways = f"go on now: failover skip {run} --step {step.id}; take it back: failover abort {run}"
            self._story.say("run.waiting", f"waiting: {text}; {ways}", step.id)


async def _tell(end: Return) -> None:
    """Where there is no governor, nobody is told."""
    with contextlib.suppress(FailureError):
        await workflow.get_external_workflow_handle(GOVERNOR_ID).signal("turned_back", end)


def _into(carry: Carry) -> tuple[Domain, ...]:
    """The regions that a run brings traffic home to; none where it is no failback, or the governor does not know it."""
    plan = carry.plan
    if plan.kind is not MoveKind.FAILBACK or rehearses(plan.service):
        return ()
    return regions_into(carry.service, plan.target, plan.before, plan.after)


def _heed_people() -> None:
    """End here where a person has ended this look: an activity whose result was on its way keeps the word to itself.

    Raises CancelledError.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
