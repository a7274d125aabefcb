"""How much each endpoint has in flight, by its own count: read now and then, beside the probes and apart from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

import structlog

from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.core.load import KEPT_S, WINDOW_S
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.topology import Service, Workload
from providers import registry
from providers.base import DrainControl

log = structlog.get_logger()

EVERY_S = 10.0
"""How often each workload is asked."""
APART_S = 0.02
"""From one question to the next at least: where that makes more than ``EVERY_S`` for all, each is asked more rarely."""
WITHIN_S = 3.0
"""So long one answer is waited for. Each is waited for by itself: one that hangs holds up no other."""
RARELY_S = 300.0
"""How often one is asked that this worker cannot ask at all: it has no such provider, or not its secret."""
IDLE_S = 0.25
"""How often is looked whether one that was never asked serves by now: the first time is as soon as it does."""
AT_A_LOOK = 20
"""Of so many at most."""

Place = tuple[ServiceId, EndpointId]
Make = Callable[[Workload], DrainControl]


@dataclass(frozen=True, slots=True)
class Sighting:
    """The most that one endpoint had in flight within ``WINDOW_S``, and how long ago that was."""

    service: ServiceId
    endpoint: EndpointId
    in_flight: int
    age_s: float


@dataclass(slots=True)
class _Asked:
    """One workload, and what it has said of itself lately."""

    places: tuple[Place, ...]
    control: DrainControl | None = None
    asking: asyncio.Task[None] | None = None
    said: dict[Place, list[tuple[float, int]]] = field(default_factory=dict)
    """By endpoint, when and how many: the last ``WINDOW_S`` before the last answer."""
    not_before: float = 0.0
    broken: str = ""


class Loads:
    """Asks the workloads of everything that a prober watches. Configure it, then run it.

    *serves* says whether an endpoint works now: what one says of its load while it does not is not believed, for it is
    losing what it had. The last thing that was known is kept for ``KEPT_S``, for then it is needed. A provider that
    cannot tell leaves it unknown, quietly.
    """

    def __init__(self, serves: Callable[[ServiceId, EndpointId], bool], make: Make = registry.drain) -> None:
        self._serves = serves
        self._make = make
        self._asked: dict[Workload, _Asked] = {}
        self._new: dict[Workload, None] = {}
        """Those that were never asked, in turn."""
        self._turn: Iterator[Workload] = iter(())

    def configure(self, services: tuple[Service, ...]) -> None:
        """Ask the workloads of *services* from now on. An endpoint whose workload is the same keeps what is known."""
        places: dict[Workload, list[Place]] = {}
        for service in services:
            for endpoint in service.endpoints:
                if endpoint.workload is not None:
                    places.setdefault(endpoint.workload, []).append((service.id, endpoint.id))
        for handle in tuple(self._asked):
            if handle not in places:
                _stop(self._asked.pop(handle))
        self._new = dict.fromkeys(each for each in places if each not in self._asked or each in self._new)
        for handle, there in places.items():
            asked = self._asked.setdefault(handle, _Asked(()))
            asked.places = tuple(there)
            asked.said = {place: said for place, said in asked.said.items() if place in there}

    async def run(self) -> None:
        """Ask until cancelled, one workload after the other."""
        clock, due = asyncio.get_running_loop().time, 0.0
        try:
            while True:
                pause_s = APART_S if self._ask_a_new_one() else IDLE_S
                now = clock()
                if now >= due:
                    due = max(now, due + max(APART_S, EVERY_S / max(1, len(self._asked))))
                    self._ask(self._next())
                await asyncio.sleep(min(pause_s, max(APART_S, due - now)))
        finally:
            for asked in self._asked.values():
                _stop(asked)

    def seen(self) -> Iterator[Sighting]:
        """What is known now, in no order."""
        now = monotonic()
        for asked in self._asked.values():
            for (service, endpoint), said in asked.said.items():
                at, most = max(said, key=lambda each: (each[1], each[0]))
                if now - at <= KEPT_S:
                    yield Sighting(service, endpoint, most, now - at)

    def _ask_a_new_one(self) -> bool:
        """Ask one that was never asked, if one of those whose turn it is serves by now."""
        for handle in tuple(islice(self._new, AT_A_LOOK)):
            del self._new[handle]
            if self._ask(handle):
                return True
            self._new[handle] = None
        return False

    def _next(self) -> Workload | None:
        handle = next(self._turn, None)
        if handle is None:
            self._turn = iter(tuple(self._asked))
            handle = next(self._turn, None)
        return handle

    def _ask(self, handle: Workload | None) -> bool:
        """Ask one, unless that would be in vain; whether it was asked."""
        asked = self._asked.get(handle) if handle is not None else None
        if handle is None or asked is None or monotonic() < asked.not_before:
            return False
        under_way = asked.asking is not None and not asked.asking.done()
        if under_way or not any(self._serves(*place) for place in asked.places):
            return False
        self._new.pop(handle, None)
        asked.asking = asyncio.create_task(self._read(handle, asked))
        return True

    async def _read(self, handle: Workload, asked: _Asked) -> None:
        """Ask once. Whatever goes wrong in here concerns one workload, and nothing else."""
        try:
            async with asyncio.timeout(WITHIN_S):
                if asked.control is None:
                    # A provider's SDK is imported with it, which takes longer than a tick of the engine.
                    asked.control = await asyncio.to_thread(self._make, handle)
                count = await asked.control.in_flight()
        except (FailoverError, TimeoutError) as error:
            asked.control = None  # with the next one, a secret that was exchanged is read anew
            if isinstance(error, BadInput):
                asked.not_before = monotonic() + RARELY_S
            return
        except Exception as error:
            asked.control = None
            said = f"{type(error).__name__}: {error}"
            if said != asked.broken:
                asked.broken = said
                log.warning("load.unreadable", provider=handle.provider, target=handle.target, reason=said)
            return
        asked.broken = ""
        if count is not None:
            self._take(asked, max(0, count), monotonic())

    def _take(self, asked: _Asked, count: int, now: float) -> None:
        for place in asked.places:
            if self._serves(*place):
                lately = [each for each in asked.said.get(place, ()) if now - each[0] <= WINDOW_S]
                asked.said[place] = [*lately, (now, count)]


def _stop(asked: _Asked) -> None:
    if asked.asking is not None:
        asked.asking.cancel()
