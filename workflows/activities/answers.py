"""Watching the answers that clients get, from a vantage: a change is news for the service, a sample is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Answer, Service
from providers import registry

log = structlog.get_logger()

EVERY_S = 15.0
"""How long a hand edit may go unseen while nothing else happens."""

Changed = Callable[[ServiceId], Awaitable[None]]


class Answers:
    """Asks the name servers of every steered service now and then, and says when an answer has changed.

    It needs no key: what clients may ask, it asks. A server that is silent changes nothing.
    """

    def __init__(self, changed: Changed, every_s: float = EVERY_S) -> None:
        self._changed = changed
        self._every_s = every_s
        self._services: tuple[Service, ...] = ()
        self._known: dict[ServiceId, frozenset[Answer | None]] = {}

    def configure(self, services: tuple[Service, ...]) -> None:
        """Watch these from now on."""
        self._services = tuple(service for service in services if service.steering is not None)
        kept = {service.id for service in self._services}
        self._known = {service: answers for service, answers in self._known.items() if service in kept}

    async def run(self) -> None:
        """Watch until cancelled. The services are spread over the interval."""
        while True:
            services = self._services
            pause_s = self._every_s / max(1, len(services))
            for service in services:
                await self._ask(service)
                await asyncio.sleep(pause_s)
            if not services:
                await asyncio.sleep(pause_s)

    async def _ask(self, service: Service) -> None:
        if service.steering is None:
            return
        try:
            said = await registry.steering(service.steering).answers()
        except FailoverError as error:
            log.warning("answers.unreadable", service=service.id, error=str(error))
            return
        answers = frozenset(each.answer for each in said if not each.error)
        before = self._known.get(service.id)
        if not answers or answers == before:
            return
        self._known[service.id] = answers
        if before is not None:
            log.info("answers.changed", service=service.id)
            await self._changed(service.id)
