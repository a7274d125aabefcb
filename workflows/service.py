"""One entity workflow per service: folds reports, decides, starts at most one run at a time, answers for itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.decision import Ask, Go, Hold, Situation, consider
    from orchestrator.core.errors import BadInput
    from orchestrator.core.governing import Needs, standing
    from orchestrator.core.move import Objection, Trigger
    from orchestrator.core.names import RunId
    from orchestrator.core.quorum import Assessment, Report, fold
    from orchestrator.core.steering import Routing
    from runbooks.compare import WorldMoved
    from runbooks.plan import Plan
    from runbooks.planner import Unplannable
    from workflows import options, planning, questions, reading, remembering, situation
    from workflows.asking import Asking
    from workflows.wire import (
        Acted,
        AdoptRequest,
        FailoverRequest,
        Publication,
        Refusal,
        RunClosed,
        ServiceState,
        Slice,
        Started,
    )
    from workflows.wire.service import QuestionAnswer

HELD_CHECK = timedelta(seconds=30)
"""How often a service asks after the run that holds it, so that a terminated one frees the lock."""
LEFT = timedelta(seconds=30)
"""How long a service that the governor refused while its region was left waits to be called before it looks again."""
UNHEARD = timedelta(seconds=15)
"""How long nobody may be able to say how an endpoint is before people are told: probers need a moment to begin."""


@workflow.defn(name="service")
class ServiceWorkflow(Asking):
    """``service/<id>``. Its state is one frozen value, replaced as news comes in."""

    @workflow.init
    def __init__(self, state: ServiceState) -> None:
        super().__init__(state)
        self._unheard: datetime | None = None

    @workflow.run
    async def run(self, state: ServiceState) -> None:
        reminding = asyncio.create_task(self._remind())
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
        reminding.cancel()
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
        until = self._led.until if self._led is not None else None
        if until is not None:
            timeout = max(0.001, (until - workflow.now()).total_seconds())
        try:
            await workflow.wait_condition(
                # A run that a person starts changes what is waited for: without it nobody would ask after that run.
                lambda: (
                    self._state.retired
                    or self._state.run != held
                    or (self._led is not None and (self._led.head is not None or self._led.until != until))
                    or self._leave.owes(self._takes())
                    or (self._news and self._minds_news())
                ),
                timeout=None if timeout is None else timedelta(seconds=timeout),
            )
        except TimeoutError:
            self._news = True
            return True
        return False

    def _takes(self) -> Needs | None:
        """What its traffic takes of shared pools, by the routing as it was last read."""
        return standing(situation.situation(self._state, (), workflow.now()))

    # ------------------------------------------------------------------ deciding

    async def _think(self) -> None:
        """Look at the world, decide, and do what was decided."""
        self._wake_s = None
        refused, self._refused = self._refused, None
        if self._state.run is not None or self._state.retired:
            return
        if refused is not None:
            # The governor, whom everybody asks now, has said what is missing, and calls when it is there.
            self._ask(refused.move, refused.reasons)
            self._wake_s = LEFT.total_seconds()
            return
        if not (self._look_due or situation.unsettled(self._state)):
            self._state = replace(self._state, question=None, told=(), detected=())
            self._pace.anew()
            return
        found = await self._look()
        facts = situation.situation(self._state, found, workflow.now())
        run = self._run_id()
        asked = self._state.question
        decision = await self._leave.settle(lambda now: questions.decided(now, asked), facts, run)
        match decision:
            case Go():
                why = planning.why(decision.move, found, facts.evidence) + questions.by_silence(
                    facts, asked, decision.move
                )
                trigger = Trigger("automatic", why)
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

    def _hold(self, decision: Hold, found: tuple[Assessment, ...]) -> None:
        asked = questions.kept(self._state.question, decision, found)
        self._state = replace(self._state, hold=decision.reasons, question=asked)
        if not decision.reasons:
            self._state = replace(self._state, told=(), detected=())
            return
        if asked is not None and asked.denied:
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
        carry = questions.noted(carry, self._state.question, decided.move)
        self._state, self._wake_s = replace(self._state, run=active, hold=(), question=None), None
        await self._begin(carry, active)
        return carry.plan

    # ------------------------------------------------------------------ news

    @workflow.signal
    def report(self, report: Report) -> None:
        """A vantage's present opinion of this service's endpoints."""
        views = fold(self._state.views, report, now=workflow.now())
        if views != self._state.views:
            self._state = remembering.heard(replace(self._state, views=views), workflow.now())
            self._news = True

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
            return await self._requested(asked)

    @workflow.update
    async def answer(self, said: QuestionAnswer) -> Acted:
        """A person says yes or no to the question that stands. A retry of the same answer gets the same answer."""
        async with self._deciding:
            if questions.taken(self._state, said) is None:
                asked = self._must_take(said)
                if said.yes:
                    wanted = FailoverRequest(said.id, questions.request_of(asked, said))
                    started = await self._requested(wanted)
                    if isinstance(started, Refusal):
                        raise ApplicationError("; ".join(each.text for each in started.reasons), type="Refused")
                else:
                    self._deny(asked, said)
            return Acted(questions.taken(self._state, said) or "")

    async def _requested(self, asked: FailoverRequest) -> Started | Refusal:
        """The run that was *asked* for, or why there is none. The lock must be held."""
        if (given := situation.answered(self._state, asked)) is not None:
            return given
        found = await self._look()
        if situation.unread(self._state, asked.request):
            found = await self._look(patiently=True)
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
