"""The run that holds a service: begun, minded, followed to its end. A service has at most one at a time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.decision import Ask, Request, Situation, wait_s
    from orchestrator.core.easing import return_of
    from orchestrator.core.errors import BadInput
    from orchestrator.core.move import MoveKind
    from orchestrator.core.names import RunId
    from orchestrator.core.quorum import Assessment
    from workflows import led, options, reading, situation
    from workflows.attended import Attended
    from workflows.herald import Heralds
    from workflows.leave import Leave
    from workflows.pace import Pace
    from workflows.wire import Acted, ActiveRun, Carry, Publication, RunClosed, ServiceState, Telling
    from workflows.wire.acts import EarlyAct
    from workflows.wire.governor import GiveBack
    from workflows.wire.lost import LeadRequest, Led, Steered
    from workflows.wire.run import HeadStart

LAST_WORD = timedelta(seconds=5)
"""How long the last word of a run that has ended may be on its way."""


class Holding(Attended):
    """The part of a service's workflow that is about the run which holds it."""

    def __init__(self, state: ServiceState) -> None:
        super().__init__(state)
        self._pace = Pace()
        self._wake_s: float | None = None
        self._stopped: RunId | None = None
        """The run that was told to stop, or to give way."""
        self._heralds = Heralds()
        self._leave = Leave()
        self._led: led.Awaiting | None = None
        self._refused: Ask | None = None
        """What the governor left to ask people when a leader had asked it."""
        # Awaiting inside a decision lets another report or request in; the lock holds the decision still.
        self._deciding = asyncio.Lock()

    # ------------------------------------------------------------------ begun

    async def _begin(self, carry: Carry, active: ActiveRun) -> None:
        """Start the run that holds the service. Raises FailureError, and lets it go."""
        try:
            # Started, not awaited to its end: a child's completion does not reach us across continue-as-new.
            await workflow.start_child_workflow(
                "failover",
                carry,
                id=active.workflow,
                task_timeout=options.TASK_TIMEOUT,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            )
        except FailureError:
            self._state = replace(self._state, run=None)
            raise

    async def _go_on(self, awaiting: led.Awaiting) -> None:
        """Start the run that a leader has begun; one who fell silent is not missed, for what he did is done once."""
        self._led, active = None, self._state.run
        if active is not None:
            with contextlib.suppress(FailureError), self._leave.kept(active.run):
                await self._begin(awaiting.carried(), active)

    # ------------------------------------------------------------------ minded

    def _minds_news(self) -> bool:
        """Whether news concern it now: during a move, only what is said of its target does."""
        run_minds = situation.target_doubted(self._state) or (
            situation.prepares(self._state) and situation.concerning(self._state)
        )
        return self._state.run is None or run_minds

    async def _mind_run(self) -> None:
        """Stop a run whose target fell before traffic has moved, and a preparation when traffic must move."""
        active = self._state.run
        if active is None:
            return
        self._news = False
        if self._stopped == active.run or not self._minds_news():
            return
        async with self._deciding:
            found = await self._look()
        signal, why = situation.news_for_run(self._state, found, workflow.now())
        if self._state.run == active and signal:
            await self._say_to_run(active, signal, why)
        elif situation.prepares(self._state):
            self._wake_s = wait_s(situation.without_run(self._state, found, workflow.now()))

    async def _say_to_run(self, active: ActiveRun, signal: str, why: str) -> None:
        self._stopped = active.run
        # A run that is over meanwhile has said so itself.
        with contextlib.suppress(FailureError):
            await workflow.get_external_workflow_handle(active.workflow).signal(signal, why)

    async def _way_is_free(self, facts: Situation, wanted: Request) -> bool:
        """Whether a preparation was in the way of a person's move away from what is down, and is not any more."""
        active = self._state.run
        if active is None or not situation.prepares(self._state):
            return False
        if wanted.kind is MoveKind.PREPARATION or not facts.dead:
            return False
        await self._say_to_run(active, "give_way", f"{wanted.trigger.by}: {wanted.trigger.reason}")
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._state.run != active, timeout=LAST_WORD)
        return self._state.run is None

    async def _ask_after_run(self) -> None:
        """Free the lock when the run that holds it ended without a word (it was terminated from outside)."""
        active = self._state.run
        if active is None:
            return
        status = await reading.fate_of(active.workflow)
        if status == "COMPLETED":
            # Its last word was sent before it ended, and may arrive with this very task.
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._state.run != active, timeout=LAST_WORD)
        if status is None or status == "RUNNING" or self._state.run != active:
            return
        lost = situation.lost_run(self._state, active.run, status)
        self._leave.give_back(active.run)
        self._state = replace(
            self._state, run=None, routing=None, last_closed=workflow.now(), held=(*self._state.held, lost)
        )
        self._news = True
        self._tell("run-lost", lost.text, active.run)

    # ------------------------------------------------------------------ led with others

    @workflow.update
    async def lead(self, asked: LeadRequest) -> Led:
        """Its region is lost, and others leave it at the same time: decide now, and wait for a leader."""
        async with self._deciding:
            self._state = led.informed(self._state, asked, workflow.now())
            before, waited = self._state.run, self._led
            if waited is None and before is not None:
                return Led(run=before.run, text=f"run {before.run} is under way")
            self._state, answer, self._refused = led.led(self._state, asked, self._run_id(), workflow.now())
            if answer.carry is not None:
                self._led = led.in_place_of(waited, answer.carry, asked.until)
            elif before is None or self._state.run is None:
                self._never_begins()
                self._news = self._look_due = True  # it sees to it by itself, with all that it may ask
            return answer

    @workflow.signal
    def go_on(self, head: HeadStart) -> None:
        """A leader has done what can be done at once; the run goes on from there."""
        if self._led is not None and self._led.carry.plan.run == head.run:
            self._led.head = head

    @workflow.update
    def act_early(self, early: EarlyAct) -> Acted:
        """A person acts on the run that waits for its leader: that is done as soon as it begins, and it begins soon."""
        if self._led is None or self._led.carry.plan.run != early.run:
            raise ApplicationError(f"run {early.run} does not wait for a leader any more", type="Begun")
        try:
            return Acted(self._led.take_in(early.act, workflow.now()))
        except BadInput as error:
            raise ApplicationError(str(error), type="Refused") from error

    @workflow.signal
    def left_behind(self, back: GiveBack) -> None:
        """The run that waited for a leader was granted nothing: the service sees to it by itself."""
        if self._led is not None and self._led.carry.plan.run == back.token:
            self._state = replace(self._state, run=None)
            self._never_begins()
            self._leave.give_back(back.token)
            self._news = self._look_due = True

    def _never_begins(self) -> None:
        """Let go of the run that waited for a leader, and tell who has acted on it that nothing came of it."""
        waited, self._led = self._led, None
        if waited is not None and waited.acts:
            self._tell("run.note", waited.in_vain(), waited.carry.plan.run)

    @workflow.signal
    def steered(self, moved: Steered) -> None:
        """The run's traffic has moved: what it takes is told, and its place is free for another."""
        if self._state.run is not None and self._state.run.run == moved.run:
            self._state = replace(self._state, routing=moved.routing)
            self._leave.give_back(moved.run)

    # ------------------------------------------------------------------ its end

    @workflow.signal
    def run_closed(self, closed: RunClosed) -> None:
        """A run's last act: its record is kept and published, and the service is free again."""
        if self._state.run is None or self._state.run.run != closed.run:
            return
        self._leave.give_back(closed.run, return_of(closed.record, self._state.slice.service))
        stopped = self._stopped == closed.run
        self._state = situation.closed(self._state, closed, stopped=stopped, now=workflow.now())
        self._pace.anew()
        self._news = self._look_due = True
        self._heralds.send(Publication(record=closed.record))

    # ------------------------------------------------------------------ seeing and telling

    async def _look(self, *, patiently: bool = False) -> tuple[Assessment, ...]:
        """Read heartbeats and routing, and assess every endpoint in that light."""
        self._look_due = False
        read = reading.look_longer if patiently else reading.look
        look = await read(situation.look_request(self._state))
        self._pace.saw(anything=bool(look.heartbeats.heard))
        state = situation.hearing(self._state, look.heartbeats)
        # A routing that cannot be read now is as it was: the fence in the write guards against its age.
        routing = look.routing if look.routing is not None else state.routing
        state = replace(state, routing=routing, routing_error=look.routing_error)
        found = situation.assessments(state, workflow.now())
        self._state = situation.standing(situation.detecting(state, found, workflow.now()), found, workflow.now())
        return found

    def _run_id(self) -> RunId:
        service = self._state.slice.service.id
        return RunId(f"{service}-{workflow.now():%Y%m%d-%H%M%S}-{workflow.random().getrandbits(16):04x}")

    def _tell(self, event: str, text: str, run: RunId | None = None) -> None:
        piece = self._state.slice
        self._heralds.send(Telling(piece.notify, piece.service.id, event, text, workflow.now(), run))
