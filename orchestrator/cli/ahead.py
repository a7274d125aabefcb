"""Processes that start before what they need: a plane that may come later, and tasks that end together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record

if TYPE_CHECKING:
    from orchestrator.runtime.control import ControlPlane
    from workflows.wire import RunState, ServiceStatus

T = TypeVar("T")
DEFAULT_TEMPORAL = "127.0.0.1:7233"
"""Where Temporal's own configuration looks when nothing is set."""


class Later:
    """The control plane for the page: connected when it is first there, and away until then."""

    def __init__(self, reach: Callable[[], Awaitable[ControlPlane]] | None) -> None:
        self._reach = reach
        self._plane: ControlPlane | None = None

    def ready(self, plane: ControlPlane) -> None:
        """Here it is."""
        self._plane = plane

    async def _there(self) -> ControlPlane:
        if self._plane is None:
            if self._reach is None:
                from orchestrator.runtime.connection import ControlPlaneAway  # noqa: PLC0415 - imports Temporal's client

                raise ControlPlaneAway("the control plane is starting")
            self._plane = await self._reach()
        return self._plane

    async def statuses(self) -> tuple[ServiceStatus, ...]:
        """As the control plane's. Raises ControlPlaneAway."""
        return await (await self._there()).statuses()

    async def record(self, run: RunId, service: ServiceId | None = None) -> Record:
        """As the control plane's. Raises ControlPlaneAway, NoSuch."""
        return await (await self._there()).record(run, service)

    async def run_state(self, run: RunId, service: ServiceId | None = None) -> RunState:
        """As the control plane's. Raises ControlPlaneAway, NoSuch."""
        return await (await self._there()).run_state(run, service)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run *works* until the first ends or the process is told to; the others are cancelled and awaited.

    Raises what the first raised. SIGTERM and SIGINT are an orderly end.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    told = asyncio.create_task(stop.wait())
    tasks: list[asyncio.Task[None]] = []
    try:
        for work in works:
            tasks.append(asyncio.create_task(work))
            # One step: a port that is taken must be known before anything else starts.
            await asyncio.sleep(0)
            if tasks[-1].done():
                break
        await asyncio.wait({told, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for work in works[len(tasks) :]:
            work.close()
        ended = [task for task in tasks if task.done()]
        for task in (told, *tasks):
            task.cancel()
        await asyncio.gather(told, *tasks, return_exceptions=True)
    for task in ended:
        task.result()


async def until_told(work: Coroutine[Any, Any, T]) -> T:
    """Run *work*; SIGTERM cleans up and ends as Ctrl-C does. Raises KeyboardInterrupt then, and what *work* raises."""
    task, loop, told = asyncio.ensure_future(work), asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        told.set()
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, tell)
    try:
        return await task
    except asyncio.CancelledError:
        if told.is_set():
            raise KeyboardInterrupt from None
        raise


def temporal_port() -> int | None:
    """Temporal's usual port when nobody has it, so that other commands find it; else None."""
    host, _, port = DEFAULT_TEMPORAL.partition(":")
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind((host, int(port)))
        except OSError:
            return None
    return int(port)


def must_be_free(host: str, port: int) -> None:
    """Raise OSError now when nobody could listen at ``host:port`` later."""
    with contextlib.closing(socket.create_server((host, port))):
        return
