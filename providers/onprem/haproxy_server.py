"""One server of an HAProxy's backend: drained, and let in or kept out, at every HAProxy that has it.

The handle's target is ``backend/server``. A server of one's own has no replicas to scale: here it has one, which is
ready or in maintenance. So ``fence`` keeps it from serving whatever it does itself, and ``promote`` lets it in again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers.base import Capacity, NoCapacity, NotFound, Transient
from providers.onprem.haproxy import runtimes_of
from providers.onprem.runtime import Admin, Runtime, Server, named

KEPT_OUT = Admin.FORCED_MAINT | Admin.CONFIGURED_MAINT | Admin.INHERITED_MAINT
Changes = Callable[[Server], str | None]
"""The state that a server is to have; None: it may stay as it is."""


class HaproxyServer:
    """The server *target* names, at every HAProxy of the option ``sockets``."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle that names no server or no socket."""
        backend, slash, server = handle.target.partition("/")
        if not slash:
            raise BadInput(f"'{handle.target}' names no server of HAProxy: write target: backend/server")
        self._server = named(server, "server")
        self._runtimes = runtimes_of(dict(handle.options).get("sockets", ""), backend)

    async def read(self) -> tuple[Server, ...]:
        """The server, once for each HAProxy. Raises Transient where one of them is away, NotFound, Forbidden."""
        return tuple(await asyncio.gather(*(self._at(runtime) for runtime in self._runtimes)))

    async def set(self, changes: Changes) -> tuple[Server, ...]:
        """Give it the state that *changes* says; at all that answer, even where one is away. Raises as ``read``."""
        outcomes = await asyncio.gather(
            *(self._set_at(runtime, changes) for runtime in self._runtimes), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return tuple(outcome for outcome in outcomes if isinstance(outcome, Server))

    async def here(self) -> tuple[Server, ...]:
        """As ``read``, of those HAProxies that answer. Raises Transient where none does."""
        outcomes = await asyncio.gather(*(self._at(runtime) for runtime in self._runtimes), return_exceptions=True)
        found = tuple(outcome for outcome in outcomes if isinstance(outcome, Server))
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and (not found or not isinstance(outcome, Transient)):
                raise outcome
        return found

    async def _set_at(self, runtime: Runtime, changes: Changes) -> Server:
        now = await self._at(runtime)
        state = changes(now)
        if state is None:
            return now
        return await self._at(runtime, f"set server {runtime.backend}/{self._server} state {state}")

    async def _at(self, runtime: Runtime, *commands: str) -> Server:
        servers = await runtime.servers(commands)
        for server in servers:
            if server.name == self._server:
                return server
        known = ", ".join(each.name for each in servers) or "none"
        raise NotFound(
            f"no server is called '{self._server}' in backend {runtime.backend} of {runtime.at}; there are: {known}"
        )


class HaproxyDrain:
    """DrainControl: no new requests for the server, and those that it has may finish.

    A server in maintenance stays so. HAProxy still gives a drained server those clients that it knows by a cookie or a
    stick table (``persist``): without such, nothing new comes.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle that names no server or no socket."""
        self._server = HaproxyServer(handle)

    async def begin(self, *, key: str) -> None:
        """State ``drain``. Raises Transient, NotFound, Forbidden."""
        await self._server.set(lambda server: None if server.admin else "drain")

    async def in_flight(self) -> int | None:
        """Requests (HTTP) or connections (TCP) at the server, of all HAProxies that answer. Raises as ``begin``."""
        return sum(server.in_flight for server in await self._server.here())

    async def end(self, *, key: str) -> None:
        """State ``ready``, where it is drained. Raises as ``begin``."""
        await self._server.set(lambda server: "ready" if server.admin == Admin.FORCED_DRAIN else None)


class HaproxyWorkload:
    """WorkloadControl: one replica, which is let in or kept out. Both are levels, so that no key needs keeping."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle that names no server or no socket."""
        self._server = HaproxyServer(handle)
        self._target = handle.target

    async def read(self) -> Capacity:
        """Desired: 1 where any HAProxy lets it in; ready: 1 where all do and none has it down by its checks.

        Raises Transient where one of them is away, as that one may let it in; NotFound, Forbidden.
        """
        return _capacity(await self._server.read())

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """0: maintenance; 1: ready, also after a drain. Raises NoCapacity for more, and as ``read``."""
        if replicas > 1:
            raise NoCapacity(f"{self._target} is one server, and {replicas} were asked for: write serving: 1")
        if replicas:
            return _capacity(await self._server.set(lambda server: "ready" if server.admin else None))
        return _capacity(await self._server.set(lambda server: None if server.admin & KEPT_OUT else "maint"))


def _capacity(servers: tuple[Server, ...]) -> Capacity:
    let_in = [not server.admin & KEPT_OUT for server in servers]
    up = [not server.admin and not server.status.startswith(("DOWN", "MAINT")) for server in servers]
    return Capacity(int(any(let_in)), int(all(up)), limit=1)
