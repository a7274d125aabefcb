"""Following a run: what it does and what it waits for, until it is closed or the person has seen enough."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cli.calls import now, reason_of
from orchestrator.cli.desk import Desk, who
from orchestrator.cli.errors import Detached, Failed, Objected, TimedOut
from orchestrator.core.errors import FailoverError
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record, RunStatus

if TYPE_CHECKING:
    from workflows.wire import RunState

Grow = Callable[[Record, "RunState | None"], None]


def follow(desk: Desk, service: ServiceId, run: RunId, *, timeout_s: float | None) -> Record:
    """Show a run until it is closed, and return its record.

    Raises TimedOut after *timeout_s*. Ctrl-C raises Detached; at a terminal the person is asked whether to detach, to
    abort the run or to go on looking. The run goes on either way.
    """
    sight = _Sight(desk, service, run, timeout_s)
    while True:
        began = time.monotonic()
        try:
            return desk.wait(sight.watch())
        except Detached:
            if not (desk.someone and desk.live):
                raise
            if sight.left_s is not None:
                sight.left_s = max(0.0, sight.left_s - (time.monotonic() - began))
            if not _goes_on(desk, service, run):
                raise


def states(desk: Desk, runs: Iterable[tuple[RunId, ServiceId]]) -> dict[RunId, RunState]:
    """What each of *runs* waits for; one that does not answer (it may just have ended) is left out."""
    control = desk.control()

    async def state(run: RunId, service: ServiceId) -> RunState | None:
        with contextlib.suppress(FailoverError):
            return await control.run_state(run, service)
        return None

    async def every() -> dict[RunId, RunState]:
        pairs = tuple(runs)
        found = await asyncio.gather(*(state(run, service) for run, service in pairs))
        return {run: each for (run, _), each in zip(pairs, found, strict=True) if each is not None}

    return desk.wait(every())


def _goes_on(desk: Desk, service: ServiceId, run: RunId) -> bool:
    """Ask what Ctrl-C meant, and do it; whether the person goes on looking."""
    from workflows.wire import ActKind, RunAct  # noqa: PLC0415 - start-up time

    try:
        meant = desk.ask("The run goes on. [d]etach, [a]bort the run, or [c]ontinue looking?").lower()[:1]
        if meant == "a":
            act = RunAct(uuid.uuid4().hex, ActKind.ABORT, who(), reason_of(desk, None, "Why is it ended?"))
            answer = desk.wait(desk.control().act(run, act, service))
            desk.say(f"Run {run}: {answer.text}.")
    except KeyboardInterrupt:
        return False
    except FailoverError as error:
        # What the run refuses (it may be over) is said, and what comes of it is looked at.
        desk.say(f"failover: {error}")
    return meant in {"a", "c"}


@dataclass
class _Sight:
    """One person's look at one run, over interruptions."""

    desk: Desk
    service: ServiceId
    run: RunId
    left_s: float | None
    shown: int = 0
    """Entries that were printed, where nothing is redrawn."""

    async def watch(self) -> Record:
        """Show the run until it is closed. Raises TimedOut, and Detached when it is cancelled."""
        from orchestrator.cli.render.text import seconds  # noqa: PLC0415 - start-up time

        run, look = self.run, f"it goes on; look at it with 'failover show {self.run} --watch'"
        control, last = self.desk.control(), None
        try:
            async with asyncio.timeout(self.left_s):
                with self._display() as grow:
                    async for record in control.follow(self.service, run):
                        last = record
                        running = record.status is RunStatus.RUNNING
                        grow(record, await self._state() if running else None)
        except TimeoutError:
            raise TimedOut(f"run {run} has not ended within {seconds(self.left_s)}; {look}") from None
        except asyncio.CancelledError:
            raise Detached(f"detached from run {run}; {look}") from None
        return last if last is not None else await control.record(run, self.service)

    async def _state(self) -> RunState | None:
        """What the run waits for; None where it says nothing: it may just have ended."""
        with contextlib.suppress(FailoverError):
            return await self.desk.control().run_state(self.run, self.service)
        return None

    def _display(self) -> contextlib.AbstractContextManager[Grow]:
        """How a growing record is shown: in place on a terminal, line by line elsewhere."""
        return self._in_place() if self.desk.live else self._line_by_line()

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[Grow]:
        from rich.live import Live  # noqa: PLC0415 - start-up time
        from rich.text import Text  # noqa: PLC0415 - the same

        from orchestrator.cli.render.record import progress  # noqa: PLC0415 - the same

        newest: list[tuple[Record, RunState | None]] = []
        with Live(
            get_renderable=lambda: (
                progress(newest[-1][0], now(), newest[-1][1]) if newest else Text("waiting for the first step")
            ),
            console=self.desk.out,
            refresh_per_second=5,
            transient=True,
        ):
            yield lambda record, state: newest.append((record, state))

    @contextlib.contextmanager
    def _line_by_line(self) -> Iterator[Grow]:
        from orchestrator.cli.render.record import entry_line  # noqa: PLC0415 - start-up time

        def grow(record: Record, _: RunState | None) -> None:
            for entry in record.entries[self.shown :]:
                self.desk.out.print(entry_line(record, entry), soft_wrap=True)
            self.shown = max(self.shown, len(record.entries))

        yield grow


def settle(record: Record) -> None:
    """Raise what a closed run's status means for the exit status; completed (and observed) return."""
    again = f"see 'failover show {record.run}'"
    match record.status:
        case RunStatus.COMPLETED | RunStatus.OBSERVED:
            return
        case RunStatus.STALE:
            raise Objected(f"run {record.run} was stopped by the fence: somebody else steered meanwhile; {again}")
        case RunStatus.RUNNING:
            raise TimedOut(f"run {record.run} is still under way; {again}")
        case RunStatus.UNDONE:
            raise Failed(f"run {record.run} failed and everything it had done was put back; {again}")
        case RunStatus.HALTED:
            raise Failed(f"run {record.run} failed and halted, and waits for a person; {again}")
        case RunStatus.ABORTED:
            raise Failed(f"run {record.run} was aborted; {again}")
