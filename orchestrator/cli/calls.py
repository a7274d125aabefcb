"""Calls to the control plane that several commands make, with the sentence a person needs when a name is wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.cli.desk import Desk
from orchestrator.cli.errors import Detached, Failed, Objected, TimedOut
from orchestrator.core.errors import BadInput
from orchestrator.core.names import RunId, ServiceId, nearest
from orchestrator.core.record import Record, RunStatus

if TYPE_CHECKING:
    from orchestrator.runtime.control import ControlPlane

T = TypeVar("T")


def now() -> datetime:
    """The time of this machine, UTC."""
    return datetime.now(UTC)


def of_service(desk: Desk, service: str, call: Callable[[ControlPlane, ServiceId], Coroutine[Any, Any, T]]) -> T:
    """What *call* answers for *service*. Raises what the control plane raises: NoSuch names the nearest service."""
    return desk.wait(call(desk.control(), ServiceId(service)))


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """No *what* is called *name*, and which one was probably meant."""
    close = nearest(name, known)
    there = f"there are: {', '.join(sorted(known)[:20])}" if known else "there is none"
    return f"no {what} is called '{name}'; " + (f"did you mean '{close}'?" if close else there)


def reason_of(desk: Desk, reason: str | None, question: str) -> str:
    """*reason*, or what the person answers. Raises BadInput when there is neither."""
    if reason is None and desk.someone:
        reason = desk.ask(question)
    if not reason or not reason.strip():
        raise BadInput("a reason is needed, and is kept in the record; give it with --reason TEXT")
    return reason.strip()


def follow(desk: Desk, service: ServiceId, run: RunId, *, timeout_s: float | None) -> Record:
    """Show a run until it is closed, and return its record.

    Raises TimedOut after *timeout_s* and Detached on Ctrl-C; the run goes on either way.
    """
    from orchestrator.cli.render.text import seconds  # noqa: PLC0415 - start-up time

    look = f"it goes on; look at it with 'failover show {run} --watch'"
    control = desk.control()

    async def watch() -> Record:
        last: Record | None = None
        try:
            async with asyncio.timeout(timeout_s):
                with _display(desk) as grow:
                    async for record in control.follow(service, run):
                        grow(record)
                        last = record
        except TimeoutError:
            raise TimedOut(f"run {run} has not ended within {seconds(timeout_s)}; {look}") from None
        except asyncio.CancelledError:
            raise Detached(f"detached from run {run}; {look}") from None
        return last if last is not None else await control.record(run, service)

    return desk.wait(watch())


def _display(desk: Desk) -> contextlib.AbstractContextManager[Callable[[Record], None]]:
    """How a growing record is shown: in place on a terminal, line by line elsewhere."""
    return _in_place(desk) if desk.live else _line_by_line(desk)


@contextlib.contextmanager
def _in_place(desk: Desk) -> Any:  # contextmanager's own type is inferred from the yield
    from rich.live import Live  # noqa: PLC0415 - start-up time
    from rich.text import Text  # noqa: PLC0415 - the same

    from orchestrator.cli.render.record import progress  # noqa: PLC0415 - the same

    newest: list[Record] = []
    with Live(
        get_renderable=lambda: progress(newest[-1], now()) if newest else Text("waiting for the first step"),
        console=desk.out,
        refresh_per_second=5,
        transient=True,
    ):
        yield newest.append


@contextlib.contextmanager
def _line_by_line(desk: Desk) -> Any:  # contextmanager's own type is inferred from the yield
    from orchestrator.cli.render.record import entry_line  # noqa: PLC0415 - start-up time

    shown = 0

    def grow(record: Record) -> None:
        nonlocal shown
        for entry in record.entries[shown:]:
            desk.out.print(entry_line(record, entry), soft_wrap=True)
        shown = max(shown, len(record.entries))

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
