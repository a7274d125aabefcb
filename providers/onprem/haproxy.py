"""Steering by the weights of a backend's servers in one HAProxy or several, under a fence kept in a document.

An endpoint's target is the name of its server in the backend. Weights are set as percents, absolutely (0-256).

- All HAProxies of the option ``sockets`` are turned at once. One that does not answer holds up nobody: of a pair, the
  other one moves. It is named in the log and by ``answers``, which ``converge`` reads. Where HAProxies may serve
  clients while no worker reaches them, let the option ``quorum`` say how many must answer.
- HAProxy forgets at a restart or reload what it was told. One that comes back with other weights than the others is
  told as changed outside, by name. To let it keep them: ``server-state-file`` in ``global``,
  ``load-server-state-from-file global`` in ``defaults``, and ``show servers state`` written to that file before each
  reload (``ExecReload`` of the service) and every few seconds, for the restart that nobody planned.
- A server in state ``drain`` gets nothing, and reads as 0. Given a share it is made ``ready`` again, for a drain is
  what a move leaves behind. One in maintenance is a person's word: it is refused before anything is turned.
- What health checks say is no weight: a server that is down by them keeps its share.

Source: HAProxy Management Guide, 9.3, ``set server``, ``show servers state``, ``show stat``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from orchestrator.core.errors import BadInput
from orchestrator.core.steering import Routing, SteeringChange, shares_in, shares_of
from orchestrator.core.topology import SteeringSpec
from providers.base import ChangedOutside, NotFound, ProviderError, Refused, ServerAnswer, Transient
from providers.documents.places import document
from providers.fenced import FencedDial, Targets, answer_of
from providers.onprem.runtime import ANSWER_S, LEVEL, Admin, Runtime, Server, addresses, named

log = structlog.get_logger()

T = TypeVar("T")
Servers = tuple[Server, ...]
Seen = tuple[tuple[Runtime, Servers], ...]
"""What each HAProxy that answers has."""

GRACE_S = 0.25
"""How long all of them are waited for when they are read, seconds, where a quorum has answered."""


class _Unturned(Transient):
    """One that could be read failed to turn: it is there, and may serve clients as before."""


class HaproxyDial:
    """A Dial over one backend of the HAProxies that stand side by side."""

    def __init__(self, runtimes: tuple[Runtime, ...], *, quorum: int = 1) -> None:
        self.runtimes = runtimes
        self._quorum = quorum
        self.at = " and ".join(each.at for each in runtimes)

    async def read(self) -> Targets:
        """Each server's weight, 0 for one that gets nothing; of HAProxies that disagree, the most that one gives.

        Raises Transient, NotFound, Forbidden.
        """
        return agreed(await self.seen())

    async def seen(self) -> Seen:
        """The servers at every HAProxy that answers. Raises as ``read``."""
        return await self._asked(lambda runtime: runtime.servers(), GRACE_S)

    async def foresee(self, targets: Targets) -> None:
        """Raises what ``turn`` would refuse, and turns nothing."""
        seen = await self._asked(lambda runtime: runtime.servers((LEVEL,)), GRACE_S)
        for runtime, servers in seen:
            _object(runtime, servers, targets)

    async def turn(self, targets: Targets) -> None:
        """Give these servers these percents, and 0 to the others, at each HAProxy that answers.

        Raises as ``read``, and Refused for a server that is kept from traffic, before anything is turned there.
        """
        await self._asked(lambda runtime: _turned(runtime, targets), ANSWER_S)

    async def _asked(
        self, ask: Callable[[Runtime], Coroutine[Any, Any, T]], grace_s: float
    ) -> tuple[tuple[Runtime, T], ...]:
        """What each HAProxy answers. Who is away is left out, while at least the quorum answers.

        Raises the first refusal, once all have answered; Transient where fewer than the quorum do.
        """
        tasks = {runtime: asyncio.create_task(ask(runtime)) for runtime in self.runtimes}
        try:
            done, late = await asyncio.wait(tasks.values(), timeout=grace_s)
            if late and sum(each.exception() is None for each in done) < self._quorum:
                await asyncio.wait(late)
        finally:
            for task in tasks.values():
                task.cancel()
        # Each is looked at before any is raised, as asyncio tells of errors that nobody has looked at.
        errors = {runtime: _error(task, runtime) for runtime, task in tasks.items()}
        away = [str(error) for error in errors.values() if isinstance(error, Transient)]
        for error in errors.values():
            if isinstance(error, _Unturned):
                raise Transient(str(error)) from error
            if error is not None and not isinstance(error, Transient):
                raise error
        found = tuple((runtime, task.result()) for runtime, task in tasks.items() if errors[runtime] is None)
        if len(found) < self._quorum:
            raise Transient("; ".join(away))
        if away:
            log.warning("haproxy.away", of=len(tasks), reasons=away)
        return found


def _error(task: asyncio.Task[T], runtime: Runtime) -> BaseException | None:
    if not task.done() or task.cancelled():
        return Transient(f"{runtime.at} did not answer in time")
    return task.exception()


class HaproxySteering(FencedDial):
    """FencedDial over HaproxyDial: it objects before the document is written, and names the HAProxy that differs."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for options that say nothing."""
        options = dict(spec.options)
        runtimes = runtimes_of(options.get("sockets", ""), options.get("backend", ""))
        self._haproxies = HaproxyDial(runtimes, quorum=_quorum(options, len(runtimes)))
        super().__init__(spec, self._haproxies, document(spec))

    async def write(self, change: SteeringChange) -> Routing:
        """As ``FencedDial.write``; NotFound and Refused for a server that cannot take traffic come first."""
        if change.answer.kind == "shares":
            await self._haproxies.foresee(shares_in(change.answer))
        try:
            return await super().write(change)
        except ChangedOutside as error:
            raise ChangedOutside(f"{error}{await self._who()}") from error

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What each HAProxy says. Never raises for one's silence."""
        return tuple(await asyncio.gather(*(self._answer_of(runtime) for runtime in self._haproxies.runtimes)))

    async def _answer_of(self, runtime: Runtime) -> ServerAnswer:
        try:
            answer = answer_of(_shares(await runtime.servers()))
        except ProviderError as error:
            return ServerAnswer(runtime.address.text, None, str(error))
        return ServerAnswer(runtime.address.text, answer, None if answer else "it sends traffic nowhere")

    async def _who(self) -> str:
        """Which HAProxy says what, where they differ, and which has forgotten what it was told."""
        try:
            seen = await self._haproxies.seen()
        except ProviderError:
            return ""
        said = {runtime.address.text: shares_of(_shares(servers)).values for runtime, servers in seen}
        differ = len(set(said.values())) > 1
        parts = [f"{each} has {', '.join(values) or 'nothing'}" for each, values in said.items() if differ]
        parts += [
            f"{runtime.address.text} has the weights of its configuration: was it restarted or reloaded?"
            for runtime, servers in seen
            if all(server.weight == server.configured and not server.admin for server in servers)
        ]
        return f" ({'; '.join(parts)})" if parts else ""


def runtimes_of(sockets: str, backend: str) -> tuple[Runtime, ...]:
    """The runtime APIs of a comma-separated list, for one backend. Raises BadInput."""
    if not backend:
        raise BadInput("say which backend of HAProxy is steered: options: {backend: NAME}")
    return tuple(Runtime(address, named(backend, "backend")) for address in addresses(sockets))


def agreed(seen: Seen) -> Targets:
    """The weights as HAProxies have them.

    Where they disagree, the most that one of them gives: then some target gets more than it should, which no document
    explains, and one that was turned while another was away still reads as half way.
    """
    each = [_shares(servers) for _, servers in seen]
    if len({shares_of(one) for one in each}) == 1:
        return each[0]
    weights = [dict(one if sum(weight for _, weight in one) >= 100 else _percents(one)) for one in each]
    names = sorted({name for one in weights for name in one})
    most = {name: max(one.get(name, 0) for one in weights) for name in names}
    # One that sends traffic nowhere disagrees with all others, and none of its weights says so.
    idle = (runtime for (runtime, _), one in zip(seen, weights, strict=True) if not any(one.values()))
    most |= {f"nobody at {runtime.address.text}": 100 for runtime in idle}
    return tuple(sorted(most.items()))


def _shares(servers: Servers) -> Targets:
    return tuple((server.name, server.share) for server in servers)


def _percents(targets: Targets) -> Targets:
    shares = dict(shares_in(shares_of(targets)))
    return tuple((name, shares.get(name, 0)) for name, _ in targets)


def _object(runtime: Runtime, servers: Servers, targets: Targets) -> None:
    """Raise NotFound or Refused for a target that cannot be given traffic."""
    known = {server.name: server for server in servers}
    for name, _ in targets:
        where = f"backend {runtime.backend} of {runtime.at}"
        if name not in known:
            raise NotFound(f"no server is called '{name}' in {where}; there are: {', '.join(known) or 'none'}")
        if known[name].admin.kept:
            raise Refused(f"server {name} is in maintenance in {where}: set it ready there, or choose another target")
        if known[name].backup:
            raise Refused(f"server {name} is a backup in {where}, whose weight moves nothing: take 'backup' off it")


async def _turned(runtime: Runtime, targets: Targets) -> Servers:
    """Turn up who gains; once that is seen, turn down who loses."""
    servers = await runtime.servers()
    _object(runtime, servers, targets)
    wanted = dict(targets)
    for commands in (_up, _down):
        said = tuple(each for server in servers for each in commands(runtime, server, wanted.get(server.name, 0)))
        if not said:
            continue
        try:
            servers = await runtime.servers(said)
        except Transient as error:
            raise _Unturned(str(error)) from error
    return servers


def _up(runtime: Runtime, server: Server, weight: int) -> tuple[str, ...]:
    place = f"{runtime.backend}/{server.name}"
    more = (f"set server {place} weight {weight}",) if weight > server.weight else ()
    return (*more, f"set server {place} state ready") if weight and Admin.FORCED_DRAIN in server.admin else more


def _down(runtime: Runtime, server: Server, weight: int) -> tuple[str, ...]:
    if weight >= server.weight:
        return ()
    return (f"set server {runtime.backend}/{server.name} weight {weight}",)


def _quorum(options: dict[str, str], there: int) -> int:
    text = options.get("quorum", "1")
    if not text.isdecimal() or not 1 <= int(text) <= there:
        raise BadInput(f"quorum must be a number from 1 to {there}, as many as there are sockets; it is '{text}'")
    return int(text)
