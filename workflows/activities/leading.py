"""Leading services out of a lost region, many at a time: what each run would do first is done here, under its tokens.

A leader is in a hurry and decides nothing: the service does, the governor grants, and the fence refuses what came too
late. Whatever is not done at once is left to the run, which begins a little later and finds done what is done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.client import Client, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from orchestrator.core.errors import FailoverError
from orchestrator.core.governing import CHOICES, SlotAnswer, SlotRequest
from orchestrator.core.names import ServiceId
from orchestrator.core.record import Entry, Mark
from orchestrator.core.topology import Notify
from providers.base import Transient
from runbooks.course import Do, next_actions
from runbooks.plan import Plan, Promote, Steer, Step, Verify
from runbooks.progress import Event, advance, begin
from workflows import options
from workflows.activities.governing import Governing
from workflows.activities.looking import Pulses
from workflows.wire import (
    Carry,
    Heartbeats,
    RecheckRequest,
    ServiceStatus,
    StatusQuestion,
    StepResult,
    StepTask,
    service_id,
)
from workflows.wire.evacuation import Fate
from workflows.wire.governor import Arrival, GiveBack
from workflows.wire.lost import (
    Following,
    HandOver,
    Lead,
    LeadAnswer,
    LeadRequest,
    LeadTask,
    Led,
)
from workflows.wire.run import Ahead, HeadStart
from workflows.wire.tasks import task_of

log = structlog.get_logger()

BY_ITSELF = timedelta(seconds=150)
"""After so long a service begins its run by itself: its leader has fallen silent."""
EACH = timedelta(seconds=0.5)
"""And so much later for each service that leaves the region: their runs go on one after the other."""
DECIDED_FOR_S = 2.0
"""A verdict older than this is asked for again before traffic moves."""
STEP_S = 4.0
"""A first step that takes longer is the run's own."""
CROWDED_S = 10.0
"""How long a service waits for a place before it goes its own way."""
SILENT_S = 4.0
"""How long the governor may say nothing: when a region is lost, everybody asks it at once."""
WRITES = 3
"""Writes under way at one time in one process: BIND keeps ten connections waiting (its ``tcp-listen-queue``), and a
further one is heard after a second."""
AGAIN = 3
"""Tries at a first step that fails for a passing reason."""
_LATER = "it waits for its turn"
PLACE_S = (0.05, 0.8)
"""Before the governor is asked again for a place: soon at first, then more rarely, for others ask as well."""
AGAIN_S = 0.05
"""Before a step that failed for a passing reason is tried again."""
BEAT_S = 0.5
AT_ONCE = 10
"""Signals under way at one time."""
DoStep = Callable[[StepTask], Awaitable[StepResult]]
"""Does a step, as ``Verbs.do``: raises the errors of ``providers.base``."""
Recheck = Callable[[RecheckRequest], Awaitable[str]]
"""Why traffic must not leave after all, as ``Looking.recheck``."""


class Leading:
    """Activities of the workflow that leads services out of a lost region."""

    def __init__(self, client: Client, do: DoStep, recheck: Recheck, governing: Governing, pulses: Pulses) -> None:
        self._client = client
        self._pulses = pulses
        self._governing = governing
        self._recheck = recheck
        self._writes = asyncio.Semaphore(WRITES)
        self._do = do

    @activity.defn(name=options.LEAD)
    async def lead(self, task: LeadTask) -> LeadAnswer:
        """Lead each service of *task*. Idempotent: updates, runs and effects carry ids that do not change."""
        work = asyncio.ensure_future(self._all(task))
        try:
            while not work.done():
                activity.heartbeat()
                await asyncio.wait([work], timeout=BEAT_S)
        finally:
            work.cancel()
        return work.result()

    async def _all(self, task: LeadTask) -> LeadAnswer:
        asked = {(report.vantage, report.shard) for each in task.services for report in each.reports}
        shards = sorted({shard for _, shard in asked})
        vantages = tuple(sorted({vantage for vantage, _ in asked}))
        heard = dict(zip(shards, await asyncio.gather(*(self._pulses.heard(vantages, s) for s in shards)), strict=True))
        found = await asyncio.gather(*(self._one(task, each, heard) for each in task.services))
        told: dict[Notify, None] = {}
        for _, notify in found:
            told.update(dict.fromkeys(notify))
        return LeadAnswer(tuple(lead for lead, _ in found), tuple(told))

    async def _one(
        self, task: LeadTask, each: Following, heard: dict[int, Heartbeats]
    ) -> tuple[Lead, tuple[Notify, ...]]:
        try:
            shard = each.reports[0].shard
            led = await self._granted(task, each, self._pulses.about(each.service, heard[shard], shard))
        except (RPCError, WorkflowUpdateFailedError, ApplicationError) as error:
            log.warning("lead.failed", service=each.service, reason=f"{type(error).__name__}: {error}")
            return Lead(each.service, Fate.FAILED, text=str(error)), ()
        if led.carry is None or led.slot is None:
            fate = Fate.MOVING if led.run is not None else Fate.REFUSED
            fate = Fate.WAITING if led.text == _LATER else fate
            return Lead(each.service, fate, led.run, text=led.text), ()
        return await self._led(led.carry, led.slot), led.carry.notify

    async def _granted(self, task: LeadTask, each: Following, heard: Heartbeats) -> Led:
        """The run that the service has chosen and the governor granted; or why there is none."""
        asked = LeadRequest(
            task.id,
            task.domain,
            each.reports,
            heard,
            until=datetime.now(UTC).replace(microsecond=0) + BY_ITSELF + task.crowd * EACH,
            instead=each.before,
        )
        led = Led(text="nothing was chosen")
        service = self._client.get_workflow_handle(service_id(each.service))
        for choice in range(CHOICES):
            answered: Led = await service.execute_update(
                "lead", asked, id=f"{task.id}/{each.service}/{choice}", result_type=Led
            )
            led = answered
            if led.slot is None:
                return led
            answer = await self._place(led.slot)
            if answer is None and led.may_proceed:
                return led
            if answer is None or _crowded(answer):
                break
            if answer.granted:
                return led
            if not answer.objections:
                # It was given back already: by a leader before this one, who was not heard of any more.
                status: ServiceStatus = await service.query(
                    "status", StatusQuestion(datetime.now(UTC)), result_type=ServiceStatus
                )
                return led if status.run == led.run else Led(run=led.run, text=f"run {led.run} is over")
            asked = replace(asked, instead=led.run, refused=answer)
        if led.run is not None and not each.last:
            return Led(run=led.run, text=_LATER)
        if led.run is not None:
            await service.signal("left_behind", GiveBack(led.run))
        return Led(text="the governor granted nothing, and it goes its own way")

    async def _place(self, slot: SlotRequest) -> SlotAnswer | None:
        """The governor's answer, once there is a place or another reason; None: it is silent, for seconds.

        Asking again is harmless: the same token gets the same answer. A leader keeps no workflow waiting meanwhile.
        """
        loop = asyncio.get_running_loop()
        begun, answer, (pause_s, longest_s) = loop.time(), None, PLACE_S
        while loop.time() < begun + (SILENT_S if answer is None else CROWDED_S):
            try:
                answer = await self._governing.acquire(slot)
            except ApplicationError:
                answer = None
            else:
                if not _crowded(answer):
                    return answer
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
        return answer

    async def _led(self, carry: Carry, slot: SlotRequest) -> Lead:
        """Do the first steps of the run; it goes on when its service is told."""
        plan, began = carry.plan, datetime.now(UTC)
        done, moved, text = await self._first_steps(carry)
        head = HeadStart(plan.run, began, done)
        if not moved:
            # It takes longer than a leader can wait: the run goes on at once.
            await self._signal(service_id(plan.service), "go_on", head)
            return Lead(plan.service, Fate.MOVING, plan.run, text)
        self._governing.arrived(Arrival(plan.run, plan.service, slot.needs))
        return Lead(plan.service, Fate.MOVED, plan.run, text, head)

    async def _first_steps(self, carry: Carry) -> tuple[tuple[Ahead, ...], bool, str]:
        """What was done of the way up to the first write of the answer, whether that was made, and how it ended."""
        plan, progress = carry.plan, begin(carry.plan)
        decided = carry.entries[-1].at
        done: list[Ahead] = []
        while True:
            action = next_actions(plan, progress)[0]
            step = action.step if isinstance(action, Do) else None
            if step is None or not _quick(step):
                return tuple(done), False, "what comes first takes its time"
            began = datetime.now(UTC)
            late = isinstance(step.work, Steer) and (began - decided).total_seconds() > DECIDED_FOR_S
            if late and (again := await self._again(plan)):
                return tuple(done), False, again
            progress = advance(progress, step.id, Event.START)
            task = task_of(plan, carry.service, progress, step, min(step.timeout_s, STEP_S))
            try:
                async with asyncio.timeout(STEP_S):
                    result = await self._tried(task)
            except TimeoutError:
                return tuple(done), False, f"step {step.id} takes its time"
            except FailoverError as error:
                log.warning("lead.step-failed", run=plan.run, step=step.id, reason=str(error))
                return tuple(done), False, f"step {step.id} failed at first: {error}"
            progress = advance(progress, step.id, Event.SUCCEED, result.text)
            done.append(Ahead(step.id, result, _entries(step, result.text, began, result.entries)))
            if isinstance(step.work, Steer):
                return tuple(done), True, result.text

    async def _tried(self, task: StepTask) -> StepResult:
        """Do *task*, again where that may help. Raises FailoverError."""
        places = self._writes if isinstance(task.work, Steer) else contextlib.nullcontext()
        for _ in range(AGAIN - 1):
            async with places:
                with contextlib.suppress(Transient):
                    return await self._do(task)
            await asyncio.sleep(AGAIN_S)
        async with places:
            return await self._do(task)

    async def _again(self, plan: Plan) -> str:
        """Why traffic must not leave after all; empty where nobody can say so: the verdict stands."""
        try:
            return await self._recheck(RecheckRequest(plan.service, plan.source))
        except (RPCError, WorkflowQueryFailedError):
            return ""

    # ------------------------------------------------------------------ afterwards

    @activity.defn(name=options.HAND_OVER)
    async def hand_over(self, over: HandOver) -> None:
        """Tell services that their runs go on, and what was reported meanwhile. Twice is once."""
        places = asyncio.Semaphore(AT_ONCE)

        async def tell(service: ServiceId, signal: str, news: object) -> None:
            async with places:
                activity.heartbeat()
                await self._signal(service_id(service), signal, news)

        await asyncio.gather(
            *(tell(service, "go_on", head) for service, head in over.heads),
            *(tell(report.service, "report", report) for report in over.reports),
        )

    async def _signal(self, workflow: str, signal: str, news: object) -> None:
        """What is gone needs to hear nothing."""
        try:
            await self._client.get_workflow_handle(workflow).signal(signal, news)
        except RPCError as error:
            log.info("lead.not-told", workflow=workflow, reason=str(error))


def _crowded(answer: SlotAnswer) -> bool:
    """Whether nothing but a place is missing."""
    return not answer.granted and {each.rule for each in answer.objections} == {"too-many-at-once"}


def _quick(step: Step) -> bool:
    """Whether a leader can do it: what is asked from several places at once needs workers in each."""
    return isinstance(step.work, Promote | Steer) or (isinstance(step.work, Verify) and step.work.vantages <= 1)


def _entries(step: Step, text: str, began: datetime, seen: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """What the record says of a step, as the run itself would have said it."""
    now = datetime.now(UTC)
    seconds = (now - began).total_seconds()
    entries = [Entry(began, Mark.STEP_STARTED, step.text, step.id), *seen]
    if isinstance(step.work, Steer):
        entries.append(Entry(now, Mark.STEERED, text or step.text, step.id, seconds))
    if isinstance(step.work, Verify):
        entries.append(Entry(now, Mark.VERIFIED, text, step.id))
    return (*entries, Entry(now, Mark.STEP_DONE, text or step.text, step.id, seconds))
