"""The outbox: reports on their way out. It keeps the latest of each service, and never makes probing wait.

Where a region falls, what is said of its services leaves in bundles: a thousand reports would come one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from orchestrator.core.names import Domain, ServiceId
from orchestrator.core.quorum import Report

log = structlog.get_logger()

SENDERS = 16
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
SEND_WITHIN_S = 10.0
BUNDLE = 200
"""Reports that travel together at most: a payload stays well below a megabyte."""
BUNDLE_PAUSE_S = 0.2
"""From one bundle to the next: what falls meanwhile is in it."""

Send = Callable[[Report], Awaitable[None]]
Present = Callable[[Report], Report | None]
SendBundle = Callable[[Domain, tuple[Report, ...]], Awaitable[None]]
Region = Callable[[Report], Domain | None]
"""The region whose bundle a report leaves in; None: it goes by itself."""


@dataclass(frozen=True, slots=True)
class Bundling:
    """How reports leave together."""

    region: Region
    send: SendBundle


APART = Bundling(lambda _report: None, lambda _region, _reports: asyncio.sleep(0))
"""Each report goes by itself."""


class Outbox:
    """Delivers the latest report of each service with *send*, again and again until it gets through.

    *present* renews a report just before each attempt (``Engine.present``), so that what arrives late says the
    present; None from it drops the report. Reports of one service never overtake each other.
    """

    def __init__(
        self, send: Send, present: Present, bundling: Bundling = APART, *, first_pause_s: float = FIRST_PAUSE_S
    ) -> None:
        self._send = send
        self._bundling = bundling
        self._bundles: dict[Domain, dict[ServiceId, Report]] = {}
        self._bundled = asyncio.Event()
        self._present = present
        self._first_pause_s = first_pause_s
        self._latest: dict[ServiceId, Report] = {}
        self._pauses: dict[ServiceId, float] = {}
        self._under_way: set[ServiceId] = set()
        self._ready: asyncio.Queue[ServiceId] = asyncio.Queue()

    @property
    def owed(self) -> int:
        """Services whose latest report has not been delivered."""
        waiting = {service for bundle in self._bundles.values() for service in bundle}
        return len(self._latest.keys() | self._under_way | waiting)

    def put(self, report: Report) -> None:
        """Take *report* for delivery; what was waiting for the same service is forgotten. Never blocks."""
        region = self._bundling.region(report)
        for bundle in self._bundles.values():
            bundle.pop(report.service, None)
        if region is not None:
            bundle = self._bundles.setdefault(region, {})
            # Those that were the first to fall are still here where all fell at once.
            for service in [each for each, said in self._latest.items() if self._bundling.region(said) == region]:
                bundle[service] = self._latest.pop(service)
            self._latest.pop(report.service, None)
            bundle[report.service] = report
            self._bundled.set()
            return
        known = report.service in self._latest
        self._latest[report.service] = report
        if not known and report.service not in self._under_way:
            self._ready.put_nowait(report.service)

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._deliver())
            group.create_task(self._deliver_bundles())

    async def _deliver_bundles(self) -> None:
        pause_s = self._first_pause_s
        while True:
            await self._bundled.wait()
            self._bundled.clear()
            for region in [region for region, bundle in self._bundles.items() if bundle]:
                whole = self._bundles[region]
                taken = {service: whole.pop(service) for service in tuple(whole)[:BUNDLE]}
                now = tuple(said for report in taken.values() if (said := self._present(report)) is not None)
                try:
                    async with asyncio.timeout(SEND_WITHIN_S):
                        await self._bundling.send(region, now)
                except Exception as error:
                    log.warning("outbox.delayed", region=region, reason=type(error).__name__)
                    # Said again, as it is then.
                    self._bundles[region] = {**taken, **whole}
                    pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
                    await asyncio.sleep(pause_s)
                else:
                    pause_s = self._first_pause_s
            if any(self._bundles.values()):
                self._bundled.set()
            await asyncio.sleep(BUNDLE_PAUSE_S)

    async def _deliver(self) -> None:
        while True:
            service = await self._ready.get()
            report = self._latest.pop(service, None)
            current = self._present(report) if report is not None else None
            if report is None or current is None:
                self._pauses.pop(service, None)
                continue
            self._under_way.add(service)
            try:
                async with asyncio.timeout(SEND_WITHIN_S):
                    await self._send(current)
            except Exception as error:
                self._latest.setdefault(service, report)
                self._retry_later(service, error)
            else:
                if self._pauses.pop(service, None) is not None:
                    log.info("outbox.delivered", service=service, seq=report.seq)
                if service in self._latest:
                    self._ready.put_nowait(service)
            finally:
                self._under_way.discard(service)

    def _retry_later(self, service: ServiceId, error: Exception) -> None:
        pause_s = self._pauses.get(service)
        if pause_s is None:
            log.warning("outbox.delayed", service=service, reason=type(error).__name__)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2 if pause_s is not None else self._first_pause_s)
        self._pauses[service] = pause_s
        asyncio.get_running_loop().call_later(pause_s, self._ready.put_nowait, service)
