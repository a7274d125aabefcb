"""Carries a plan out in this process, as the failover workflow does: same course, same verbs, same effect tokens.

What happens is in the journal before anything follows from it. A process that is killed at any point is followed by
one that does the steps which were under way again, under the same tokens, and the world recognises them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import structlog

from orchestrator.core.errors import FailoverError
from orchestrator.core.record import Entry, Mark, Record
from orchestrator.runtime.breakglass.account import Account, account, record
from orchestrator.runtime.breakglass.ahead import unasked
from orchestrator.runtime.breakglass.journal import BadJournal, Journal, Noted
from runbooks.course import Action, Close, Do, Hold, Undo, next_actions
from runbooks.plan import (
    Approve,
    Check,
    Converge,
    Plan,
    Promote,
    Steer,
    Step,
    Tell,
    Verify,
    Wait,
)
from runbooks.progress import Event, StepState, advance
from workflows.attempting import FINAL, OVERTAKEN, StepFailed
from workflows.wire import StepResult, StepTask
from workflows.wire.tasks import places, task_of

log = structlog.get_logger()

PAUSE_S = 0.2
"""Between attempts at a step that failed for a passing reason."""
STEER_S = 5.0
"""One attempt at a write: longer than in a region, for a laptop may be far away."""


class Doer(Protocol):
    """Does steps and undoes them: ``workflows.activities.verbs``."""

    async def do(self, task: StepTask) -> StepResult: ...

    async def undo(self, task: StepTask) -> StepResult: ...


Doers = Callable[[Callable[..., None]], Doer]
"""From a beat, which is told what an attempt has found so far, to who does it."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The run is over."""

    record: Record


@dataclass(frozen=True, slots=True)
class Asks:
    """*step* waits for a yes."""

    step: Step
    work: Approve


@dataclass(frozen=True, slots=True)
class Waits:
    """*step* ended without an answer that the plan knows what to do with: retry it, skip it, or abort the run."""

    step: Step
    text: str


class Enactor:
    """One run of one plan. *journal* has been begun; *told* hears each entry as it is written."""

    def __init__(self, journal: Journal, doers: Doers, told: Callable[[Record, Entry], None]) -> None:
        if journal.opened is None:
            raise BadJournal(f"{journal.path} is empty: no plan was begun under it")
        self._journal = journal
        self._doers = doers
        self._told = told
        self._account: Account = account(journal.opened, journal.lines)
        # In the order in which they began.
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._interrupted = False

    @property
    def record(self) -> Record:
        """The record so far."""
        return record(self._account)

    @property
    def plan(self) -> Plan:
        return self._account.plan

    async def go_on(self) -> Closed | Asks | Waits:
        """Go on until the run is over or a person must speak. A cancellation leaves a journal that can be resumed."""
        if self._account.status is not None:
            return Closed(self.record)
        self._interrupted = False
        try:
            while True:
                actions = next_actions(self.plan, self._account.progress)
                self._begin(actions)
                if not self._under_way:
                    return self._at_rest(actions)
                await asyncio.wait(self._under_way.values(), return_when=asyncio.FIRST_COMPLETED)
                for name in [name for name, task in self._under_way.items() if task.done()]:
                    self._under_way.pop(name).result()
        finally:
            await self._let_go()

    def _begin(self, actions: tuple[Action, ...]) -> None:
        """Put under way what is not yet; people are asked when nothing else is."""
        for action in actions:
            if isinstance(action, Do | Undo) and action.step.id not in self._under_way:
                if isinstance(action, Do) and isinstance(action.step.work, Approve):
                    continue
                work = self._do(action.step) if isinstance(action, Do) else self._undo(action.step)
                self._under_way[action.step.id] = asyncio.create_task(work)

    def _at_rest(self, actions: tuple[Action, ...]) -> Closed | Asks | Waits:
        match actions[0]:
            case Close(status, text):
                self._write(Noted(_now(), entries=(Entry(_now(), Mark.CLOSED, text),), status=status))
                return Closed(self.record)
            case Hold(text, Step() as step):
                return Waits(step, text)
            case Do(Step(work=Approve() as work) as step):
                return Asks(step, work)
            case other:
                raise AssertionError(f"nothing is under way, and {other} is to be done")

    async def _let_go(self) -> None:
        self._interrupted = True
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        self._under_way.clear()

    # ------------------------------------------------------------------ people

    def approve(self, step: Step, text: str) -> None:
        """A yes to *step*; *text* says whose."""
        self._happened(step.id, Event.START, Mark.STEP_STARTED, step.text)
        self._happened(step.id, Event.SUCCEED, Mark.STEP_DONE, text)

    def deny(self, step: Step, why: str) -> None:
        """A no to it."""
        self._happened(step.id, Event.START, Mark.STEP_STARTED, step.text)
        self._happened(step.id, Event.FAIL, Mark.STEP_FAILED, why, why)

    def retry(self, step: Step, by: str, why: str) -> None:
        """Try *step* again."""
        self._happened(step.id, Event.RETRY, Mark.ACT, f"{step.id} to be tried again by {by}: {why}")

    def skip(self, step: Step, by: str, why: str) -> None:
        """Let *step* pass."""
        text = f"skipped by {by}: {why}"
        self._happened(step.id, Event.SKIP, Mark.ACT, f"{step.id} {text}", text)

    def abort(self, by: str, why: str) -> None:
        """End the way forward; what is done is put back as far as there is a way. Once it is over, changes nothing."""
        progress = self._account.progress
        if self._account.status is not None or advance(progress, "", Event.ABORT, why) == progress:
            return
        self._happened("", Event.ABORT, Mark.ACT, f"aborted by {by}: {why}", f"{by}: {why}")
        for name, state in self._account.progress.states:
            if state is StepState.RUNNING:
                # It was interrupted, and nobody will finish it: what it may have done is put back.
                self._happened(name, Event.FAIL, Mark.STEP_FAILED, "the run was stopped", f"{by}: {why}")

    # ------------------------------------------------------------------ steps

    async def _do(self, step: Step) -> None:
        again = self._account.progress.state(step.id) is StepState.RUNNING
        began = _now()
        text = f"{step.text} (again, after an interruption)" if again else step.text
        self._happened(step.id, Event.START, Mark.STEP_STARTED, text)
        try:
            result = await self._carried(step, tried=int(again))
            await self._landed(step, result, began)
        except StepFailed as failure:
            self._happened(step.id, failure.event(step.work), Mark.STEP_FAILED, failure.text, failure.text, since=began)

    async def _carried(self, step: Step, tried: int) -> StepResult:
        match step.work:
            case Wait(seconds):
                gone = (_now() - self._account.began.get(step.id, _now())).total_seconds()
                # A clock that was set back meanwhile must not make it longer.
                await asyncio.sleep(min(seconds, max(0.0, seconds - gone)))
                return StepResult(text=f"held for {seconds:g} s")
            case Tell(text):
                return StepResult(text=f"said here, and to nobody else: {text}")
            case Verify(vantages=places) if places > 1:
                result = await self._attempts(step, tried)
                return replace(result, text=f"{result.text}; from this machine alone, not from {places} places")
            case Check():
                result = await self._attempts(step, tried)
                return replace(result, text=f"{result.text}; {'; '.join(unasked())}")
            case _:
                return await self._attempts(step, tried)

    async def _landed(self, step: Step, result: StepResult, began: datetime) -> None:
        """Take a step's result into the journal; its end comes last, and after it nothing is repeated."""
        entries = [*result.entries]
        if isinstance(step.work, Converge):
            # Clients that obey the TTL have moved when the old answer's time is over, and not before.
            self._write(Noted(_now(), step=step.id, entries=result.entries))
            await asyncio.sleep(step.work.hold_s)
            text = f"the old answer's {step.work.hold_s:g} s are over"
            entries = [_entry(Mark.CONVERGED, text, step.id, began)]
        if isinstance(step.work, Steer):
            entries.append(_entry(Mark.STEERED, result.text or step.text, step.id, began))
        if isinstance(step.work, Verify):
            entries.append(_entry(Mark.VERIFIED, result.text, step.id))
        entries.append(_entry(Mark.STEP_DONE, result.text or step.text, step.id, began))
        self._write(
            Noted(
                at=_now(),
                event=Event.SUCCEED,
                step=step.id,
                detail=result.text,
                entries=tuple(entries),
                replicas=result.replicas_before,
                routing=result.routing,
            )
        )

    async def _undo(self, step: Step) -> None:
        began = _now()
        self._happened(step.id, Event.UNDO, Mark.UNDO_STARTED, step.undo or f"undo {step.id}")
        try:
            result = await self._attempts(step, 0, undoing=True)
        except StepFailed as failure:
            self._happened(step.id, failure.of_undo, Mark.UNDO_FAILED, failure.text, failure.text, since=began)
            return
        done = (*result.entries, _entry(Mark.UNDO_DONE, result.text, step.id, began))
        self._write(Noted(_now(), Event.SUCCEED_UNDO, step.id, result.text, done, routing=result.routing))

    async def _attempts(self, step: Step, tried: int, *, undoing: bool = False) -> StepResult:
        """Do *step*, or undo it, again where that may help. Raises StepFailed.

        *tried*: attempts of a process that did not live to see their end; they may have landed.
        """
        loop = asyncio.get_running_loop()
        deadline, left = loop.time() + step.timeout_s, step.timeout_s
        failure = StepFailed("Transient", f"nothing came of it within {step.timeout_s:g} s", tried)
        for number in range(1, step.attempts + 1):
            longest = min(left, STEER_S) if isinstance(step.work, Steer) and not undoing else left + 1
            doer = self._doers(lambda *found: self._found(step, found))
            task = self._task(step, left, undoing=undoing)
            try:
                async with asyncio.timeout(longest):
                    return await (doer.undo(task) if undoing else doer.do(task))
            except TimeoutError:
                failure = StepFailed("Transient", f"no answer within {longest:g} s", tried + number)
            except BadJournal:
                raise
            except FailoverError as error:
                failure = StepFailed(type(error).__name__, str(error), tried + number)
            except Exception as error:  # a fault of this program ends one step, not the run
                log.error("step.fault", step=step.id, error=repr(error))
                failure = StepFailed("Transient", f"a fault of this program: {error!r}", tried + number)
            if self._interrupted:
                # A promotion answers a cancellation by a failure, to say what it had found.
                raise asyncio.CancelledError
            left = deadline - loop.time()
            if failure.kind in FINAL | OVERTAKEN or left <= PAUSE_S:
                break
            await asyncio.sleep(PAUSE_S)
            left -= PAUSE_S
        raise failure

    def _found(self, step: Step, found: tuple[object, ...]) -> None:
        """Keep the replicas that the first attempt at a promotion found, before it changes them."""
        replicas = found[0] if found else None
        fresh = isinstance(step.work, Promote) and step.id not in self._account.replicas
        if isinstance(replicas, int) and fresh and not self._interrupted:
            self._write(Noted(_now(), step=step.id, replicas=replicas))

    def _task(self, step: Step, left_s: float, *, undoing: bool) -> StepTask:
        service = self._account.opened.sealed.service
        task = task_of(self.plan, service, self._account.progress, step, left_s)
        if not undoing:
            return task
        return replace(
            task,
            step=f"{step.id}-undo",
            replicas_before=self._account.replicas.get(step.id),
            sources=places(service, self.plan.source),
        )

    # ------------------------------------------------------------------ the journal

    def _happened(
        self, step: str, event: Event, mark: Mark, text: str, detail: str = "", *, since: datetime | None = None
    ) -> None:
        """An event of *step*, and the entry that tells it."""
        entry = _entry(mark, text, step or None, since)
        self._write(Noted(entry.at, event, step, detail, (entry,)))

    def _write(self, noted: Noted) -> None:
        # Weighed first: what cannot happen must not be in the journal, for it could not be read again.
        told = self._account.and_then(noted)
        self._journal.note(noted)
        self._account = told
        for entry in noted.entries:
            self._told(self.record, entry)


def _now() -> datetime:
    return datetime.now(UTC)


def _entry(mark: Mark, text: str, step: str | None, since: datetime | None = None) -> Entry:
    now = _now()
    return Entry(now, mark, text, step, None if since is None else (now - since).total_seconds())
