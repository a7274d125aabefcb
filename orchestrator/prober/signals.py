"""Outside evidence on each endpoint, read now and then beside the probes: a change is news, a sample is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from time import monotonic

import structlog

from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.topology import Service, SignalSpec
from providers import registry
from providers.base import Sign, Signal

log = structlog.get_logger()

EVERY_S = 30.0
"""How often each source is asked."""
APART_S = 0.05
"""From one question to the next at least."""
WITHIN_S = 8.0
"""So long one answer is waited for. Each is waited for by itself: one that hangs holds up no other."""
RARELY_S = 300.0
"""How often one is asked that this worker cannot ask at all: it has no such provider, or not its secret."""

Changed = Callable[[ServiceId], Awaitable[None]]
Make = Callable[[SignalSpec], Signal]
Place = tuple[ServiceId, EndpointId]


@dataclass(frozen=True, slots=True)
class Active:
    """One signal that is active at one endpoint, and how old that word is."""

    service: ServiceId
    endpoint: EndpointId
    spec: SignalSpec
    sign: Sign
    age_s: float


@dataclass(slots=True)
class _Asked:
    """One source, and what it has said last."""

    places: tuple[Place, ...] = ()
    source: Signal | None = None
    asking: asyncio.Task[None] | None = None
    sign: Sign | None = None
    """What it said when it could last be asked; None: nothing yet."""
    at: float = 0.0
    not_before: float = 0.0
    broken: str = ""
    turns: int = 0


class Signals:
    """Asks the sources of signals of everything that a prober watches. Configure it, then run it.

    A source that cannot be asked says nothing: what it said before is forgotten by whoever hears no more of it.
    *changed* hears of each service of which a signal has become active, or is active no more.
    """

    def __init__(self, changed: Changed, make: Make = registry.signal) -> None:
        self._changed = changed
        self._make = make
        self._asked: dict[SignalSpec, _Asked] = {}

    def configure(self, services: tuple[Service, ...]) -> None:
        """Ask the sources of *services* from now on. One that is the same keeps what it said."""
        places: dict[SignalSpec, list[Place]] = {}
        for service in services:
            for endpoint in service.endpoints:
                for spec in endpoint.signals:
                    places.setdefault(spec, []).append((service.id, endpoint.id))
        for spec in tuple(self._asked):
            if spec not in places:
                _stop(self._asked.pop(spec))
        for spec, there in places.items():
            self._asked.setdefault(spec, _Asked()).places = tuple(there)

    async def run(self) -> None:
        """Ask until cancelled, one source after the other, spread over the interval."""
        try:
            while True:
                specs = tuple(self._asked)
                pause_s = max(APART_S, EVERY_S / max(1, len(specs)))
                for spec in specs:
                    self._ask(spec)
                    # A source that was never asked does not wait for its turn.
                    fresh = any(each.turns == 0 for each in self._asked.values())
                    await asyncio.sleep(APART_S if fresh else pause_s)
                if not specs:
                    await asyncio.sleep(1.0)
        finally:
            for asked in self._asked.values():
                _stop(asked)

    def active(self) -> Iterator[Active]:
        """Every signal that is active now, in no order."""
        now = monotonic()
        for spec, asked in self._asked.items():
            if asked.sign is not None and asked.sign.active:
                for service, endpoint in asked.places:
                    yield Active(service, endpoint, spec, asked.sign, now - asked.at)

    def _ask(self, spec: SignalSpec) -> None:
        asked = self._asked.get(spec)
        if asked is None:
            return
        asked.turns += 1
        if monotonic() >= asked.not_before and (asked.asking is None or asked.asking.done()):
            asked.asking = asyncio.create_task(self._read(spec, asked))

    async def _read(self, spec: SignalSpec, asked: _Asked) -> None:
        """Ask once. Whatever goes wrong in here concerns one source, and nothing else."""
        try:
            async with asyncio.timeout(WITHIN_S):
                if asked.source is None:
                    # A provider's SDK is imported with it, which takes longer than a tick of the engine.
                    asked.source = await asyncio.to_thread(self._make, spec)
                sign = await asked.source.read()
        except (FailoverError, TimeoutError) as error:
            asked.source = None  # with the next one, a secret that was exchanged is read anew
            if isinstance(error, BadInput):
                asked.not_before = monotonic() + RARELY_S
            self._say(spec, asked, str(error) or "no answer in time")
            return
        except Exception as error:
            asked.source = None
            self._say(spec, asked, f"{type(error).__name__}: {error}")
            return
        asked.broken = ""
        was_active = asked.sign is not None and asked.sign.active
        asked.sign, asked.at = sign, monotonic()
        if sign.active is not was_active:
            log.info("signal.changed", signal=spec.id, active=sign.active, text=sign.text)
            for service in sorted({service for service, _ in asked.places}):
                await self._changed(service)

    def _say(self, spec: SignalSpec, asked: _Asked, why: str) -> None:
        """Log what is wrong with a source, once for each thing."""
        if why != asked.broken:
            asked.broken = why
            log.warning("signal.unreadable", signal=spec.id, provider=spec.provider, reason=why)


def _stop(asked: _Asked) -> None:
    if asked.asking is not None:
        asked.asking.cancel()
