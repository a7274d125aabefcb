"""A region that is lost: one event for all its services. They are led out of it many at a time, the first tier first.

Each service still decides for itself, by its own quorum and its own rules; the governor still grants each move. What
is saved is the way of a thousand reports, children and steps through a thousand histories while the world waits.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.evacuation import Leaving, waves
    from orchestrator.core.names import Domain, ServiceId, VantageId, encloses
    from orchestrator.core.quorum import Report
    from workflows import options
    from workflows.herald import Heralds
    from workflows.wire import CONTROL_QUEUE, Telling, steps_queue
    from workflows.wire.evacuation import OVER, Departure, EvacuationReport, EvacuationStop, Fate
    from workflows.wire.lost import (
        Bundle,
        Following,
        HandOver,
        Heard,
        Lead,
        LeadAnswer,
        LeadTask,
        LostState,
        Vantage,
    )

BATCH = 10
"""Services that one leader takes at a time, at most."""
FIRST = 3
"""Services in the first batch. It goes alone for a moment: what matters most is not to wait for all the rest."""
ALONE_FOR = timedelta(seconds=0.5)
LEADERS = 4
"""Batches under way at one time, at most."""
SLOW = timedelta(seconds=2)
"""A batch that took longer says that more is asked than can be done: fewer go at a time, until one is quick again.
Tasks that wait for more than a second are given to somebody else, and are then done twice."""
TRIES = 4
"""So often a service for which there is no place is led again; then it sees to it by itself."""
LEADING = timedelta(seconds=45)
SILENT = timedelta(seconds=3)
"""A leader that is silent for so long has been given up: another one does the same again, and finds done what is."""
ALONE = timedelta(seconds=1)
"""While only one vantage speaks of the region, its reports go on to the services after so long."""
TOGETHER = timedelta(seconds=10)
"""So long they wait for a majority where most vantages speak of it."""
KEPT = timedelta(seconds=45)
"""A run that was led goes on after so long at the latest, though others are still to be led."""
HANDED = (20, 100)
"""Services that are told at a time: so many at first, and at most."""
BREATH = timedelta(seconds=2)
"""From one time to the next: what runs still have to do takes a while, and another region may fall meanwhile."""
EASY, HARD = timedelta(seconds=0.4), timedelta(seconds=1)
"""Telling them took less: more can be told the next time. It took more: fewer."""
QUIET = timedelta(seconds=15)
"""After so long without news the event is over."""
CARRIED = 1_500_000
"""Characters of its state that it takes along, at most: Temporal refuses more than 2 MB."""


@workflow.defn(name="lost")
class LostWorkflow:
    """``lost/<region>``: begins with the first bundle of reports, and ends when all is quiet."""

    @workflow.init
    def __init__(self, domain: Domain, carried: str = "") -> None:
        now = workflow.now()
        state = _unpacked(carried) if carried else None
        self._domain = domain
        self._heralds = Heralds()
        self._id = state.id if state else workflow.info().run_id
        self._started = state.started if state else now
        self._spoke = {each.id: each for each in state.spoke} if state else {}
        self._majority = state.majority if state else 2
        self._at_once = state.at_once if state else BATCH
        self._waiting = {each.service: each for each in state.waiting} if state else {}
        self._leading: list[asyncio.Task[None]] = []
        self._batches = state.batches if state else 0
        self._leaders = LEADERS
        self._together = state is not None
        """Whether more than the first batch may be under way."""
        self._first: asyncio.Task[None] | None = None
        self._departures = {each.service: each for each in state.departures} if state else {}
        self._heads = list(state.heads) if state else []
        self._late = {(each.service, each.vantage): each for each in state.late} if state else {}
        self._notify = state.notify if state else None
        self._handed = HANDED[0]
        self._news = 0
        self._last_news = now
        self._stopped = state.stopped if state else ""
        self._ended: datetime | None = None
        self._long = options.LOST_LONG + len(carried)

    @workflow.run
    async def run(self, domain: Domain, carried: str = "") -> EvacuationReport:
        while True:
            long = workflow.info().get_current_history_size() > self._long
            if long and not self._begun():
                await self._continue_as_new()
            if not long:
                self._begin_leading()
            over = self._to_hand_over()
            if over is not None:
                await self._hand_over(over)
                await self._news_within(BREATH)
                continue
            if self._is_over():
                break
            await self._news_within(self._pause())
        self._ended = workflow.now()
        self._tell("region-left", self._summary())
        await self._heralds.sent()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.report()

    async def _continue_as_new(self) -> None:
        """Go on with an empty history, while nobody leads; later, if there is too much to take along."""
        await self._heralds.sent()
        carried = _packed(
            LostState(
                self._id,
                self._started,
                tuple(self._spoke.values()),
                self._majority,
                self._at_once,
                self._batches,
                tuple(self._waiting.values()),
                tuple(self._departures.values()),
                tuple(self._heads),
                tuple(self._late.values()),
                self._notify,
                self._stopped,
            )
        )
        if len(carried) <= CARRIED:
            workflow.continue_as_new(args=[self._domain, carried])
        self._long += options.LOST_LONG // 4

    async def _news_within(self, span: timedelta) -> None:
        seen = self._news
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._news != seen, timeout=span)

    @workflow.signal
    def heard(self, bundle: Bundle) -> None:
        """What a vantage says of many services at once."""
        now = workflow.now()
        self._hear()
        self._spoke[bundle.vantage] = Vantage(bundle.vantage, bundle.region, now)
        self._majority = max(2, bundle.vantages // 2 + 1)
        self._at_once = max(1, bundle.at_once)
        for each in bundle.fallen:
            service = each.report.service
            if service in self._departures:
                # It was led already: what is still said of it waits until the others are out.
                self._late[service, bundle.vantage] = each.report
                continue
            heard = self._waiting.get(service) or Heard(service, now, each.tier, each.depends)
            others = (report for report in heard.reports if report.vantage != bundle.vantage)
            self._waiting[service] = replace(heard, reports=(*others, each.report))

    @workflow.query
    def report(self) -> EvacuationReport:
        """The event so far."""
        who = ", ".join(self._spoke)
        return EvacuationReport(
            id=self._id,
            domain=self._domain,
            by="automatic",
            reason=f"endpoints of many services are down there, say {who}",
            started=self._started,
            departures=tuple(self._departures.values()),
            stopped=self._stopped,
            ended=self._ended,
        )

    @workflow.update
    def stop(self, stop: EvacuationStop) -> EvacuationReport:
        """Nobody is led any more: each service goes on by itself, as it does where no region is lost."""
        self._stopped = f"stopped by {stop.by}: {stop.reason}"
        self._hear()
        return self.report()

    @stop.validator
    def _may_stop(self, stop: EvacuationStop) -> None:
        if self._stopped:
            raise ApplicationError(f"the evacuation of {self._domain} is stopped already", type="Refused")

    # ------------------------------------------------------------------ leading

    def _begun(self) -> bool:
        """Whether somebody leads."""
        self._leading = [task for task in self._leading if not task.done()]
        return bool(self._leading)

    def _begin_leading(self) -> None:
        self._begun()
        while len(self._leading) < (self._leaders if self._together else 1) and (batch := self._next()):
            if not self._batches:
                self._first = asyncio.create_task(self._let_others_begin())
            self._batches += 1
            self._leading.append(asyncio.create_task(self._lead(self._batches, batch)))

    async def _let_others_begin(self) -> None:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._together, timeout=ALONE_FOR)
        self._together = True
        self._hear()

    def _next(self) -> tuple[Heard, ...]:
        """The services that a majority speaks of, the most important first; they wait no longer."""
        if self._stopped:
            return ()
        ready = [each for each in self._waiting.values() if self._is_certain(each)]
        # What one stands on goes before it, and nobody waits for its arrival: what is down is not to stay there.
        order = waves(tuple(Leaving(each.service, (), each.tier, each.depends) for each in ready))
        turn = {each.service: number for number, wave in enumerate(order) for each in wave}
        ready.sort(key=lambda each: (turn[each.service], each.since, each.service))
        size = min(self._at_once, BATCH if self._batches else FIRST)
        taken = tuple(ready[:size])
        for each in taken:
            del self._waiting[each.service]
            self._departures[each.service] = Departure(each.service, 1, each.tier, Fate.MOVING, began=workflow.now())
        return taken

    async def _lead(self, number: int, batch: tuple[Heard, ...]) -> None:
        services = tuple(Following(each.service, each.reports, each.before, last=each.tries >= TRIES) for each in batch)
        crowd = len(self._waiting) + len(self._departures)
        task = LeadTask(f"{self._id}/{number}", self._domain, services, crowd)
        began = workflow.now()
        answer = await self._somewhere(task)
        self._together = True
        quick = workflow.now() - began <= SLOW
        self._leaders = min(LEADERS, self._leaders + 1) if quick else max(1, self._leaders - 1)
        if answer is None:
            # Nobody could lead: the services hear what was said of them, and go by themselves.
            leads = tuple(Lead(each.service, Fate.FAILED, text="nobody could lead it out") for each in batch)
            answer = LeadAnswer(leads)
        now = workflow.now()
        for heard, lead in zip(batch, answer.leads, strict=True):
            service = heard.service
            ended = now if lead.fate in OVER else None
            self._departures[service] = replace(
                self._departures[service], fate=lead.fate, run=lead.run, text=lead.text, ended=ended
            )
            if lead.fate is Fate.WAITING:
                del self._departures[service]
                self._waiting[service] = replace(heard, before=lead.run, tries=heard.tries + 1)
            if lead.head is not None:
                self._heads.append((now, service, lead.head))
            if lead.fate is Fate.FAILED:
                self._late.update({(service, said.vantage): said for said in heard.reports})
        self._hear()
        if any(lead.fate is Fate.MOVED for lead in answer.leads) and self._notify is None:
            self._notify = answer.notify
            self._tell("region-lost", f"{self._domain} is lost: {', '.join(self._spoke)} find it down; traffic leaves")

    async def _somewhere(self, task: LeadTask) -> LeadAnswer | None:
        """Have *task* done by a worker outside the region; by another one where it falls silent. None: nobody did."""
        for queue in self._queues():
            try:
                answer: LeadAnswer = await workflow.execute_activity(
                    options.LEAD,
                    task,
                    result_type=LeadAnswer,
                    task_queue=queue,
                    schedule_to_start_timeout=options.SCHEDULE_TO_START,
                    start_to_close_timeout=LEADING,
                    heartbeat_timeout=SILENT,
                    retry_policy=options.ONCE,
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                continue
            return answer
        return None

    def _queues(self) -> Iterator[str]:
        """Workers outside the region, each batch beginning with another one; then anybody, twice."""
        stand = [each.region for each in self._spoke.values()]
        outside = [steps_queue(region) for region in stand if not encloses(self._domain, region)]
        first = self._batches % max(1, len(outside))
        yield from dict.fromkeys((*outside[first:], *outside[:first]))
        yield CONTROL_QUEUE
        yield CONTROL_QUEUE

    # ------------------------------------------------------------------ afterwards

    def _to_hand_over(self) -> HandOver | None:
        """What services are told now; None: nothing. Who is still to be led comes before them."""
        now = workflow.now()
        busy = bool(self._leading)
        due = [item for item in self._heads if not busy or now - item[0] >= KEPT][: self._handed]
        reports = [*self._to_pass_on(now)]
        if not busy:
            late = tuple(self._late)[: max(0, self._handed - len(due) - len(reports))]
            reports.extend(self._late.pop(key) for key in late)
        if not due and not reports:
            return None
        self._heads = [item for item in self._heads if item not in due]
        return HandOver(tuple((service, head) for _, service, head in due), tuple(reports))

    def _to_pass_on(self, now: datetime) -> Iterator[Report]:
        """Reports of services of which no majority speaks: they decide nothing, and are to be known all the same."""
        patience = TOGETHER if self._votes(self._spoke) >= self._majority else ALONE
        for service, heard in tuple(self._waiting.items()):
            if not self._stopped and (self._is_certain(heard) or now - heard.since < patience):
                continue
            yield from heard.reports
            del self._waiting[service]

    async def _hand_over(self, over: HandOver) -> None:
        began = workflow.now()
        with contextlib.suppress(ActivityError):
            await workflow.execute_activity(
                options.HAND_OVER,
                over,
                start_to_close_timeout=timedelta(seconds=30),
                schedule_to_close_timeout=timedelta(minutes=10),
                heartbeat_timeout=timedelta(seconds=5),
                retry_policy=options.PATIENT,
            )
        took, (few, many) = workflow.now() - began, HANDED
        if took <= EASY:
            self._handed = min(many, self._handed + few // 2)
        elif took > HARD:
            self._handed = max(few, self._handed // 2)

    def _pause(self) -> timedelta:
        """Until something is due though no news comes."""
        return timedelta(milliseconds=500) if self._waiting or self._heads or self._leading else QUIET

    def _is_over(self) -> bool:
        busy = self._waiting or self._heads or self._late or self._leading
        return not busy and workflow.now() - self._last_news >= QUIET

    def _votes(self, vantages: Iterable[VantageId]) -> int:
        """How many of *vantages* have a vote: those that stand in the region themselves have none."""
        return sum(not encloses(self._domain, self._spoke[vantage].region) for vantage in vantages)

    def _is_certain(self, heard: Heard) -> bool:
        """Whether a majority speaks of it."""
        return self._votes(report.vantage for report in heard.reports) >= self._majority

    def _hear(self) -> None:
        self._news += 1
        self._last_news = workflow.now()

    def _summary(self) -> str:
        report = self.report()
        out = report.count(Fate.MOVED, Fate.MOVING)
        return f"{self._domain}: {out} of {len(report.departures)} services were led out of it"

    def _tell(self, event: str, text: str) -> None:
        self._heralds.send(Telling(self._notify or (), ServiceId(""), event, text, workflow.now()))


def _packed(state: LostState) -> str:
    """*state* as text: a thousand services say much the same, and it shrinks to a tenth."""
    return base64.b85encode(zlib.compress(workflow.payload_converter().to_payload(state).data)).decode()


def _unpacked(text: str) -> LostState:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=zlib.decompress(base64.b85decode(text)))
    state: LostState = workflow.payload_converter().from_payload(payload, LostState)
    return state
