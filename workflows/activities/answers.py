"""Watching the answers that clients get, from a vantage: a change is news for the service, a sample is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog

from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Answer, Service, SteeringSpec
from orchestrator.prober.budget import Budget
from providers import registry
from providers.catalog import Part

log = structlog.get_logger()

EVERY_S = 15.0
"""How long a hand edit may go unseen while nothing else happens."""
TOLD = (20, 0.5)
"""Of all services together: so many changes are told at once, then one in so many seconds. Where hundreds of answers
change, it is most likely by our own hand, and those who move them must not be held up by the news of it."""

Changed = Callable[[ServiceId], Awaitable[None]]


class Answers:
    """Asks the name servers of every steered service now and then, and says when an answer has changed.

    It needs no key: what clients may ask, it asks. A server that is silent changes nothing, and keeps nobody waiting
    but its own service. An answer that changes all the time (drawn by weight, or by place) is told ever more rarely.
    """

    def __init__(self, changed: Changed, every_s: float = EVERY_S) -> None:
        self._changed = changed
        self._every_s = every_s
        self._services: tuple[Service, ...] = ()
        self._known: dict[ServiceId, frozenset[Answer | None]] = {}
        self._budgets: dict[ServiceId, Budget] = {}
        self._all = Budget(burst=TOLD[0], every_s=TOLD[1])
        self._asking: set[ServiceId] = set()
        self._asked: dict[ServiceId, float] = {}

    def configure(self, services: tuple[Service, ...]) -> None:
        """Watch these from now on."""
        self._services = tuple(service for service in services if service.steering is not None)
        kept = {service.id for service in self._services}
        self._known = {service: answers for service, answers in self._known.items() if service in kept}
        self._asked = {service: at for service, at in self._asked.items() if service in kept}
        self._budgets = {service: self._budgets.get(service) or Budget() for service in kept}

    async def run(self) -> None:
        """Watch until cancelled. The services are spread over the interval."""
        async with asyncio.TaskGroup() as group:
            while True:
                services = self._services
                pause_s = self._every_s / max(1, len(services))
                for service in services:
                    # Not awaited: a name server that hangs would keep all other services from being looked at.
                    if service.id not in self._asking:
                        self._asking.add(service.id)
                        group.create_task(self._ask(service))
                    await asyncio.sleep(pause_s)
                if not services:
                    await asyncio.sleep(pause_s)

    async def _ask(self, service: Service) -> None:
        try:
            await self._compare(service)
        except Exception as error:
            # Probing goes on beside this one, and must not end with it.
            log.warning("answers.unreadable", service=service.id, reason=f"{type(error).__name__}: {error}")
        finally:
            self._asking.discard(service.id)

    async def _compare(self, service: Service) -> None:
        if service.steering is None or not self._due(service.id, service.steering):
            return
        said = await registry.steering(service.steering).answers()
        answers = frozenset(each.answer for each in said if not each.error)
        before = self._known.get(service.id)
        budget = self._budgets.get(service.id)
        if not answers or answers == before or budget is None:
            return
        # What is not told now is told later: it is still different then.
        now = monotonic()
        if before is not None and not (self._all.spend(now) and budget.spend(now)):
            return
        self._known[service.id] = answers
        if before is not None:
            log.info("answers.changed", service=service.id)
            await self._changed(service.id)

    def _due(self, service: ServiceId, steering: SteeringSpec) -> bool:
        """Whether its provider bears to be asked again: a cloud counts calls for a whole account."""
        every_s = registry.entry(Part.STEERING, steering.provider).watch_s
        now, last = monotonic(), self._asked.get(service)
        if every_s > EVERY_S and last is not None and now - last < every_s:
            return False
        self._asked[service] = now
        return True
