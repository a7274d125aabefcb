"""The pane: one poller for everybody who looks, and none while nobody does.

The control plane and the history are asked side by side and may each be away: the pane then keeps what it saw
last, with the time it saw it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import structlog

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record
from orchestrator.history import Store, Tally
from orchestrator.history.merge import grown, is_closed
from orchestrator.runtime.connection import NoSuch
from orchestrator.runtime.waits import Wait, waits
from orchestrator.status.plane import Plane
from workflows.wire import DrillReport, ServiceStatus

log = structlog.get_logger()

KEPT = 20
"""Runs and drills that a page lists."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Source:
    """How well one source of the page is heard."""

    at: datetime | None = None
    """When it last answered; None: never yet."""
    error: str = ""
    """Why it did not answer just now; empty: it did."""
    since: datetime | None = None
    """When it stopped answering."""

    @property
    def away(self) -> bool:
        return bool(self.error)

    def heard(self, now: datetime) -> Source:
        return Source(at=now)

    def missed(self, now: datetime, error: str) -> Source:
        return Source(at=self.at, error=error, since=self.since or now)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the history answered in one look."""

    runs: tuple[Record, ...] = ()
    drills: tuple[DrillReport, ...] = ()
    run_tallies: tuple[Tally, ...] = ()
    drill_tallies: tuple[Tally, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What the control plane answered in one look."""

    statuses: tuple[ServiceStatus, ...]
    running: tuple[Record, ...]
    waiting: tuple[tuple[RunId, tuple[Wait, ...]], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything the page knows at one moment."""

    now: datetime
    control: Source = Source()
    history: Source = Source()
    statuses: tuple[ServiceStatus, ...] = ()
    running: tuple[Record, ...] = ()
    """Records of the runs that hold a service, as the control plane has them."""
    waiting: tuple[tuple[RunId, tuple[Wait, ...]], ...] = ()
    """What those of them wait for that wait for a person."""
    kept: Kept = Kept()

    @property
    def told(self) -> datetime:
        """The time up to which running things are known: now, or when the control plane was last heard."""
        return self.control.at if self.control.away and self.control.at is not None else self.now

    def waits(self, run: RunId | None) -> tuple[Wait, ...]:
        """What *run* waits for a person for."""
        return next((found for each, found in self.waiting if each == run), ())

    def records(self) -> tuple[Record, ...]:
        """Every run that any source told of, newest first, each as far as anybody knows it."""
        known: dict[tuple[str, str], Record] = {}
        told = (record for status in self.statuses for record in status.last_runs)
        for record in (*self.kept.runs, *told, *self.running):
            key = (record.service, record.run)
            known[key] = grown(known[key], record) if key in known else record
        return tuple(sorted(known.values(), key=lambda record: (record.started, record.run), reverse=True))


class _Slow(Generic[_T]):
    """Asks one question at a time and never waits longer than the budget: a source that hangs is asked once."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, _T]], name: str, budget_s: float) -> None:
        self._ask = ask
        self._name = name
        self._budget_s = budget_s
        self._pending: asyncio.Task[_T] | None = None

    async def __call__(self) -> _T:
        if self._pending is None:
            self._pending = asyncio.create_task(self._ask())
        done, _ = await asyncio.wait({self._pending}, timeout=self._budget_s)
        if not done:
            raise TimeoutError(f"the {self._name} has not answered within {self._budget_s:g} s")
        task, self._pending = self._pending, None
        return task.result()

    def close(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None


@dataclass(slots=True)
class _Viewers:
    """Those who follow, the poller that serves them, and the bell it rings."""

    count: int = 0
    poller: asyncio.Task[None] | None = None
    bell: asyncio.Event = field(default_factory=asyncio.Event)


class Pane:
    """What is seen, shared by all viewers of one process."""

    def __init__(
        self,
        plane: Plane,
        store: Store | None,
        *,
        every_s: float = 1.0,
        budget_s: float = 3.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._plane = plane
        self._store = store
        self._every_s = every_s
        self._clock = clock
        self._budget_s = budget_s
        self._seen = Seen(clock())
        self._looked = float("-inf")
        self._lock = asyncio.Lock()
        self._viewers = _Viewers()
        self._closed = False
        self._ask_plane = _Slow(self._read_plane, "control plane", budget_s)
        self._ask_history = _Slow(self._read_history, "history", budget_s)

    @property
    def seen(self) -> Seen:
        """What was seen last, however old; asks nobody."""
        return self._seen

    @property
    def viewers(self) -> int:
        """How many follow now."""
        return self._viewers.count

    async def look(self) -> Seen:
        """What is seen now: at most one poll period old."""
        async with self._lock:
            if asyncio.get_running_loop().time() - self._looked >= self._every_s:
                await self._poll()
        return self._seen

    async def follow(self) -> AsyncIterator[Seen]:
        """What is seen, each time it was looked at again, until the reader goes or the pane closes."""
        viewers = self._viewers
        viewers.count += 1
        if viewers.poller is None:
            viewers.poller = asyncio.create_task(self._keep_looking())
        try:
            yield await self.look()
            while not self._closed:
                await viewers.bell.wait()
                if not self._closed:
                    yield self._seen
        finally:
            viewers.count -= 1
            if viewers.count == 0 and viewers.poller is not None:
                viewers.poller.cancel()
                viewers.poller = None

    def close(self) -> None:
        """End every stream: nobody waits for viewers when the server stops."""
        self._closed = True
        self._viewers.bell.set()
        if self._viewers.poller is not None:
            self._viewers.poller.cancel()
        self._ask_plane.close()
        self._ask_history.close()

    async def find_run(self, run: RunId) -> Record | None:
        """The run of that id as far as anybody knows it; None when all who answered never heard of it.

        Raises FailoverError when it is not known and somebody who might know it is away.
        """
        seen = await self.look()
        found = next((record for record in seen.records() if record.run == run), None)
        if found is not None and is_closed(found):
            return found
        away: FailoverError | None = None
        try:
            kept = await self._kept(lambda store: store.run(run))
            found = kept if found is None or kept is None else grown(found, kept)
        except TimeoutError:
            away = FailoverError(f"the history has not answered within {self._budget_s:g} s")
        except FailoverError as error:
            away = error
        if found is not None and is_closed(found):
            return found
        holder = next((status.service for status in seen.statuses if status.run == run), None)
        service = found.service if found is not None else holder
        try:
            live = await asyncio.wait_for(self._plane.record(run, service), self._budget_s)
            return live if found is None else grown(found, live)
        except NoSuch:
            pass
        except TimeoutError:
            away = FailoverError(f"the control plane has not answered within {self._budget_s:g} s")
        except FailoverError as error:
            away = error
        if found is None and away is not None:
            raise away
        return found

    async def find_drill(self, drill: str) -> DrillReport | None:
        """The drill of that id; None when the history never heard of it. Raises FailoverError when it is away."""
        seen = await self.look()
        found = next((report for report in seen.kept.drills if report.id == drill), None)
        if found is not None:
            return found
        try:
            return await self._kept(lambda store: store.drill(drill))
        except TimeoutError:
            raise FailoverError(f"the history has not answered within {self._budget_s:g} s") from None

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        cost = 0.0
        while True:
            # A fleet that takes long to ask is asked less often.
            await asyncio.sleep(max(self._every_s, min(4 * cost, 5.0)))
            began = loop.time()
            async with self._lock:
                await self._poll()
            cost = loop.time() - began
            bell, self._viewers.bell = self._viewers.bell, asyncio.Event()
            bell.set()

    async def _poll(self) -> None:
        asking = asyncio.create_task(self._told())
        history = await self._try(self._ask_history)
        plane = await asking
        now = self._clock()
        seen = replace(self._seen, now=now)
        match plane:
            case str() as error:
                seen = replace(seen, control=seen.control.missed(now, error))
            case Told() as told:
                seen = replace(seen, control=seen.control.heard(now), statuses=told.statuses)
                seen = replace(seen, running=told.running, waiting=told.waiting)
        match history:
            case str() as error:
                seen = replace(seen, history=seen.history.missed(now, error))
            case Kept() as kept:
                seen = replace(seen, history=seen.history.heard(now), kept=kept)
        self._seen = seen
        self._looked = asyncio.get_running_loop().time()

    async def _told(self) -> Told | str:
        return await self._try(self._ask_plane)

    async def _try(self, ask: _Slow[_T]) -> _T | str:
        try:
            return await ask()
        except (FailoverError, TimeoutError) as error:
            return str(error)
        except Exception as error:  # a page that dies of its source's bug tells nobody anything
            log.exception("status.source", error=type(error).__name__)
            return f"it answered with an internal error ({type(error).__name__}); see the log of this process"

    async def _read_plane(self) -> Told:
        statuses = await self._plane.statuses()
        held = [(status.run, status.service) for status in statuses if status.run is not None]
        gate = asyncio.Semaphore(8)

        async def record(run: RunId, service: ServiceId) -> tuple[Record, tuple[Wait, ...]] | None:
            async with gate:
                try:
                    found = await self._plane.record(run, service)
                except NoSuch:
                    return None
                try:
                    return found, waits(run, await self._plane.run_state(run, service))
                except FailoverError:
                    # It may just have ended; its record says more than what it waited for.
                    return found, ()

        told = [each for each in await asyncio.gather(*(record(run, service) for run, service in held)) if each]
        waiting = tuple((found.run, asked) for found, asked in told if asked)
        return Told(statuses, tuple(found for found, _ in told), waiting)

    async def _kept(self, ask: Callable[[Store], _T | None]) -> _T | None:
        """What the store answers; None where there is none. Raises TimeoutError, HistoryAway."""
        if self._store is None:
            return None
        return await asyncio.wait_for(asyncio.to_thread(ask, self._store), self._budget_s)

    async def _read_history(self) -> Kept:
        return await asyncio.to_thread(self._read_store)

    def _read_store(self) -> Kept:
        store = self._store
        if store is None:
            return Kept()
        return Kept(store.runs(limit=KEPT), store.drills(limit=KEPT), store.run_tallies(), store.drill_tallies())
