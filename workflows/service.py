"""One entity workflow per service: folds reports, decides, starts at most one run at a time, answers for itself."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.decision import Ask, Go, Hold, Request, Situation, consider, decide, wait_s
    from orchestrator.core.easing import return_of
    from orchestrator.core.errors import BadInput
    from orchestrator.core.governing import Needs, standing
    from orchestrator.core.move import Move, MoveKind, Objection, Trigger
    from orchestrator.core.names import RunId
    from orchestrator.core.quorum import Assessment, Report, fold
    from orchestrator.core.steering import Routing
    from runbooks.compare import WorldMoved
    from runbooks.plan import Plan
    from runbooks.planner import Unplannable
    from workflows import led, options, planning, reading, situation
    from workflows.attended import Attended
    from workflows.herald import Heralds
    from workflows.leave import Leave
    from workflows.pace import Pace
    from workflows.wire import (
        ActiveRun,
        AdoptRequest,
        Carry,
        FailoverRequest,
        Publication,
        Question,
        Refusal,
        RunClosed,
        ServiceState,
        Slice,
        Started,
        Telling,
    )
    from workflows.wire.governor import GiveBack
    from workflows.wire.lost import LeadRequest, Led, Steered
    from workflows.wire.run import HeadStart

HELD_CHECK = timedelta(seconds=30)
"""How often a service asks after the run that holds it, so that a terminated one frees the lock."""
LAST_WORD = timedelta(seconds=5)
UNHEARD = timedelta(seconds=15)
"""How long nobody may be able to say how an endpoint is before people are told: probers need a moment to begin."""


@workflow.defn(name="service")
class ServiceWorkflow(Attended):
    """``service/<id>``. Its state is one frozen value, replaced as news comes in."""

    @workflow.init
    def __init__(self, state: ServiceState) -> None:
        super().__init__(state)
        self._pace = Pace()
        self._wake_s: float | None = None
        self._unheard: datetime | None = None
        self._stopped: RunId | None = None
        self._heralds = Heralds()
        self._leave = Leave()
        self._led: led.Awaiting | None = None
        # Awaiting inside a decision lets another report or request in; the lock holds the decision still.
        self._deciding = asyncio.Lock()

    @workflow.run
    async def run(self, state: ServiceState) -> None:
        while not self._state.retired:
            late = await self._wait()
            await self._leave.tell(self._state.slice.service.id, self._takes())
            if self._led is not None and (late or self._led.head is not None):
                await self._go_on(self._led)
            elif self._state.run is not None:
                if late:
                    await self._ask_after_run()
                if self._news:
                    await self._mind_run()
            elif self._news:
                self._news = False
                async with self._deciding:
                    await self._think()
            if self._should_continue():
                await self._heralds.sent()
                if self._should_continue():
                    workflow.continue_as_new(self._state)
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._leave.tell(self._state.slice.service.id, ())
        await self._heralds.sent()

    def _should_continue(self) -> bool:
        long = workflow.info().get_current_history_length() > options.CONTINUE_AT
        # Handlers are not waited for: an adopt on a dead name server must not hold up decisions. There is a next time.
        busy = self._news or self._leave.owes(self._takes())
        return long and self._state.run is None and not busy and workflow.all_handlers_finished()

    async def _wait(self) -> bool:
        """Until there is news, a run begins or ends, or it is time to look again; whether it is time."""
        held = self._state.run
        timeout = self._wake_s
        if held is not None:
            timeout = min(HELD_CHECK.total_seconds(), self._wake_s or HELD_CHECK.total_seconds())
        if self._led is not None:
            timeout = max(0.0, (self._led.until - workflow.now()).total_seconds())
        try:
            await workflow.wait_condition(
                # A run that a person starts changes what is waited for: without it nobody would ask after that run.
                lambda: (
                    self._state.retired
                    or self._state.run != held
                    or (self._led is not None and self._led.head is not None)
                    or self._leave.owes(self._takes())
                    or (self._news and self._minds_news())
                ),
                timeout=None if timeout is None else timedelta(seconds=timeout),
            )
        except TimeoutError:
            self._news = True
            return True
        return False

    def _minds_news(self) -> bool:
        """Whether news concern it now: during a move, only what is said of its target does."""
        run_minds = situation.target_doubted(self._state) or (
            situation.prepares(self._state) and situation.concerning(self._state)
        )
        return self._state.run is None or run_minds

    def _takes(self) -> Needs | None:
        """What its traffic takes of shared pools, by the routing as it was last read."""
        return standing(situation.situation(self._state, (), workflow.now()))

    # ------------------------------------------------------------------ deciding

    async def _think(self) -> None:
        """Look at the world, decide, and do what was decided."""
        self._wake_s = None
        if self._state.run is not None or self._state.retired:
            return
        if not (self._look_due or situation.unsettled(self._state)):
            self._state = replace(self._state, question=None, told=(), detected=())
            self._pace.anew()
            return
        found = await self._look()
        facts = situation.situation(self._state, found, workflow.now())
        run = self._run_id()
        decision = await self._leave.settle(decide, facts, run)
        match decision:
            case Go():
                trigger = Trigger("automatic", planning.why(decision.move, found))
                try:
                    with self._leave.kept(run):
                        await self._start(run, decision, trigger, found)
                except (Unplannable, FailureError) as error:
                    self._hold(Hold((Objection("unplannable", str(error)),)), found)
            case Ask(move, reasons):
                self._ask(move, reasons)
            case Hold():
                self._hold(situation.at_rest(decision, facts), found)
        self._set_wake(facts)

    def _set_wake(self, facts: Situation) -> None:
        """While something is wrong and nothing is done, look again: soon at first, then ever more rarely."""
        if self._state.run is not None or not situation.unsettled(self._state):
            return
        self._wake_s = self._pace.pause_s(facts, self._state.hold, concerning=situation.concerning(self._state))

    async def _look(self) -> tuple[Assessment, ...]:
        """Read heartbeats and routing in one local activity, and assess every endpoint in that light."""
        self._look_due = False
        look = await reading.look(situation.look_request(self._state))
        self._pace.saw(anything=bool(look.heartbeats.heard))
        state = situation.hearing(self._state, look.heartbeats)
        # A routing that cannot be read now is as it was: the fence in the write guards against its age.
        routing = look.routing if look.routing is not None else state.routing
        state = replace(state, routing=routing, routing_error=look.routing_error)
        found = situation.assessments(state, workflow.now())
        self._state = situation.standing(situation.detecting(state, found, workflow.now()), found, workflow.now())
        return found

    def _hold(self, decision: Hold, found: tuple[Assessment, ...]) -> None:
        self._state = replace(self._state, hold=decision.reasons, question=None)
        if not decision.reasons:
            self._state = replace(self._state, told=(), detected=())
            return
        telling = situation.wants_telling(decision)
        self._unheard = (self._unheard or workflow.now()) if telling and telling[0] == "unknown" else None
        early = self._unheard is not None and workflow.now() - self._unheard < UNHEARD
        if telling is None or early or telling[0] in self._state.told:
            return
        self._state = replace(self._state, told=(*self._state.told, telling[0]))
        text = telling[1]
        if decision.move is not None:
            record = planning.observed(
                self._state, decision.move, decision.reasons, found, run=self._run_id(), now=workflow.now()
            )
            if record is not None:
                self._state = situation.remember(self._state, record)
                self._heralds.send(Publication(record=record))
                text = f"would move traffic to {decision.move.target}: {text}"
        rule = "everything-down" if "everything-down" in telling[0] else "held"
        self._tell(rule, text)

    def _ask(self, move: Move, reasons: tuple[Objection, ...]) -> None:
        """Put the question to people, once per target."""
        self._state = replace(self._state, hold=reasons)
        asked = self._state.question
        if asked is not None and (asked.source, asked.target) == (move.source, move.target):
            return
        question = Question(f"q-{self._run_id()}", workflow.now(), move.source, move.target, reasons)
        self._state = replace(self._state, question=question)
        self._tell("question", situation.asking(move, reasons))

    async def _start(
        self,
        run: RunId,
        decided: Go,
        trigger: Trigger,
        found: tuple[Assessment, ...],
        request: FailoverRequest | None = None,
    ) -> Plan:
        """Plan what was *decided* and start it. Raises Unplannable, WorldMoved. The lock must be held."""
        carry = planning.start_of(self._state, decided, trigger, found, run=run, request=request, now=workflow.now())
        active = planning.holding(self._state, carry, decided.move, found, request)
        self._state, self._wake_s = replace(self._state, run=active, hold=(), question=None), None
        await self._begin(carry, active)
        return carry.plan

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
                await self._begin(replace(awaiting.carry, head=awaiting.head), active)

    def _run_id(self) -> RunId:
        service = self._state.slice.service.id
        return RunId(f"{service}-{workflow.now():%Y%m%d-%H%M%S}-{workflow.random().getrandbits(16):04x}")

    def _tell(self, event: str, text: str, run: RunId | None = None) -> None:
        piece = self._state.slice
        self._heralds.send(Telling(piece.notify, piece.service.id, event, text, workflow.now(), run))

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

    # ------------------------------------------------------------------ news

    @workflow.signal
    def report(self, report: Report) -> None:
        """A vantage's present opinion of this service's endpoints."""
        views = fold(self._state.views, report, now=workflow.now())
        if views != self._state.views:
            self._state = replace(self._state, views=views)
            self._news = True

    @workflow.update
    async def lead(self, asked: LeadRequest) -> Led:
        """Its region is lost, and others leave it at the same time: decide now, and wait for a leader."""
        async with self._deciding:
            self._state = led.informed(self._state, asked, workflow.now())
            before = self._state.run
            self._state, answer = led.led(self._state, asked, self._run_id(), workflow.now())
            if answer.carry is not None:
                self._led = led.Awaiting(answer.carry, asked.until)
            elif before is None or self._state.run is None:
                self._led = None
                self._news = self._look_due = True  # it sees to it by itself, with all that it may ask
            return answer

    @workflow.signal
    def go_on(self, head: HeadStart) -> None:
        """A leader has done what can be done at once; the run goes on from there."""
        if self._led is not None and self._led.carry.plan.run == head.run:
            self._led.head = head

    @workflow.signal
    def left_behind(self, back: GiveBack) -> None:
        """The run that waited for a leader was granted nothing: the service sees to it by itself."""
        if self._state.run is not None and self._state.run.run == back.token:
            self._state, self._led = replace(self._state, run=None), None
            self._leave.give_back(back.token)
            self._news = self._look_due = True

    @workflow.signal
    def steered(self, moved: Steered) -> None:
        """The run's traffic has moved: what it takes is told, and its place is free for another."""
        if self._state.run is not None and self._state.run.run == moved.run:
            self._state = replace(self._state, routing=moved.routing)
            self._leave.give_back(moved.run)

    @workflow.signal
    def look_again(self) -> None:
        """A vantage saw the answer change: by our own hand, or by somebody else's."""
        self._news = self._look_due = True

    @workflow.signal
    def configure(self, piece: Slice) -> None:
        """The topology changed. An older revision arriving late changes nothing."""
        if piece.revision < self._state.slice.revision:
            return
        self._state = situation.configured(self._state, piece)
        self._leave.forget()
        self._news = self._look_due = True

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

    @workflow.signal
    def take_in(self, closed: RunClosed) -> None:
        """A run that was carried out without us is in the record from now on. The same again changes nothing."""
        if closed.record in self._state.last_runs or closed.record.service != self._state.slice.service.id:
            return
        self._state = situation.taken_in(self._state, closed)
        self._news = self._look_due = True
        self._heralds.send(Publication(record=closed.record))

    @workflow.signal
    def retire(self) -> None:
        """The service is gone from the topology."""
        self._state = replace(self._state, retired=True)

    # ------------------------------------------------------------------ people

    @workflow.update
    async def request(self, asked: FailoverRequest) -> Started | Refusal:
        """A person, or a drill, asks for a run. A retry of the same request gets the same answer."""
        async with self._deciding:
            if (given := situation.answered(self._state, asked)) is not None:
                return given
            found = await self._look()
            if situation.unread(self._state, asked.request):
                found = await self._look()
            facts = situation.situation(self._state, found, workflow.now())
            if situation.unread(self._state, asked.request):
                facts = replace(facts, routing=None)
            try:
                meant = planning.meant(self._state, asked.request)
            except BadInput as error:
                return situation.refusal(self._state, (planning.not_meant(error),))
            if await self._way_is_free(facts, meant):
                found = await self._look()
                facts = situation.situation(self._state, found, workflow.now())
            run = self._run_id()
            decision = await self._leave.settle(lambda now: consider(now, meant), facts, run, asked.evacuating)
            if not isinstance(decision, Go):
                return situation.refusal(self._state, decision.reasons)
            trigger = asked.request.trigger
            try:
                with self._leave.kept(run):
                    plan = await self._start(run, decision, trigger, found, asked)
            except Unplannable as error:
                return situation.refusal(self._state, (Objection("unplannable", str(error)),))
            except WorldMoved as error:
                return situation.refusal(self._state, tuple(Objection("world-moved", text) for text in error.texts))
            self._state, started = situation.answering(self._state, asked, plan)
            return started

    @workflow.update
    async def adopt(self, asked: AdoptRequest) -> Routing:
        """Take the live record under the fence, its answer unchanged."""
        # Not under the lock: no decision waits for a name server. The fence itself settles a race with a run.
        routing = await reading.adopt(self._state.slice.service)
        known = self._state.routing
        if known is None or known.generation <= routing.generation:
            self._state = replace(self._state, routing=routing)
        self._news = self._look_due = True
        return routing
