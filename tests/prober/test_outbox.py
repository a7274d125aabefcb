"""The outbox: what is delivered when the receiver is slow, away or comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from orchestrator.core.names import Domain, ServiceId, VantageId
from orchestrator.core.quorum import Report
from orchestrator.prober import Bundling, Outbox
from orchestrator.prober.outbox import BUNDLE

PARIS = Domain("alpha/paris")


def report(seq: int, service: str = "chat") -> Report:
    return Report(ServiceId(service), VantageId("v1"), 0, "here", 1, seq, 1, isolated=False, states=())


class Receiver:
    """Takes reports, unless it is away or slow."""

    def __init__(self) -> None:
        self.got: list[Report] = []
        self.away = False
        self.tried = 0
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.under_way = 0
        self.most = 0

    async def send(self, taken: Report) -> None:
        self.tried += 1
        if self.away:
            raise ConnectionError("nobody there")
        self.begun.set()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.open.wait()
        self.under_way -= 1
        self.got.append(taken)


@asynccontextmanager
async def delivering(outbox: Outbox) -> AsyncIterator[None]:
    task = asyncio.create_task(outbox.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settled(outbox: Outbox, within_s: float = 45.0) -> None:
    async with asyncio.timeout(within_s):
        while outbox.owed:  # noqa: ASYNC110  polled with a deadline: the outbox announces nothing
            await asyncio.sleep(0.005)


async def test_reports_are_delivered() -> None:
    """Each service's report arrives, each once."""
    receiver = Receiver()
    outbox = Outbox(receiver.send, lambda taken: taken)
    async with delivering(outbox):
        for number in range(40):
            outbox.put(report(number, f"s{number}"))
        await settled(outbox)
    assert sorted(taken.seq for taken in receiver.got) == list(range(40))


async def test_after_an_outage_the_present_is_sent_and_never_the_past() -> None:
    """While the receiver is away reports replace each other; what arrives is renewed as it leaves."""
    receiver = Receiver()
    receiver.away = True
    outbox = Outbox(receiver.send, lambda taken: replace(taken, revision=9), first_pause_s=0.01)
    async with delivering(outbox):
        for seq in range(1, 6):
            outbox.put(report(seq))
            await asyncio.sleep(0.02)
        assert receiver.tried > 1
        receiver.away = False
        await settled(outbox)
    assert [(taken.seq, taken.revision) for taken in receiver.got] == [(5, 9)]


async def test_reports_of_one_service_never_overtake_each_other() -> None:
    """A report that comes while another is on its way waits for it."""
    receiver = Receiver()
    receiver.open.clear()
    outbox = Outbox(receiver.send, lambda taken: taken)
    async with delivering(outbox):
        outbox.put(report(1))
        await receiver.begun.wait()
        outbox.put(report(2))
        outbox.put(report(3))
        outbox.put(report(1, "other"))
        async with asyncio.timeout(45):
            while receiver.most < 2:  # noqa: ASYNC110  polled with a deadline
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        receiver.open.set()
        await settled(outbox)
    assert receiver.most == 2
    assert [taken.seq for taken in receiver.got if taken.service == "chat"] == [1, 3]


async def test_a_failed_delivery_does_not_bring_back_an_older_report() -> None:
    """When the send fails and a newer report came meanwhile, the newer one is sent."""
    receiver = Receiver()
    outbox = Outbox(receiver.send, lambda taken: taken, first_pause_s=0.01)
    failing = asyncio.Event()

    async def send(taken: Report) -> None:
        if taken.seq == 1:
            failing.set()
            await asyncio.sleep(0.02)
            raise ConnectionError("lost")
        await receiver.send(taken)

    outbox = Outbox(send, lambda taken: taken, first_pause_s=0.01)
    async with delivering(outbox):
        outbox.put(report(1))
        await failing.wait()
        outbox.put(report(2))
        await settled(outbox)
    assert [taken.seq for taken in receiver.got] == [2]


async def test_a_report_of_a_service_that_is_gone_is_dropped() -> None:
    """Nothing is owed about what is watched no more."""
    receiver = Receiver()
    outbox = Outbox(receiver.send, lambda taken: None)
    async with delivering(outbox):
        outbox.put(report(1))
        await settled(outbox)
    assert receiver.got == []


class Bundles(Receiver):
    """Takes bundles too; *falling*: every service is one of many that fall."""

    def __init__(self) -> None:
        super().__init__()
        self.falling = False
        self.bundles: list[tuple[Domain, tuple[Report, ...]]] = []

    def region(self, _: Report) -> Domain | None:
        return PARIS if self.falling else None

    async def bundle(self, region: Domain, reports: tuple[Report, ...]) -> None:
        if self.away:
            self.tried += 1
            raise ConnectionError("nobody there")
        self.bundles.append((region, reports))

    def outbox(self) -> Outbox:
        return Outbox(self.send, lambda said: said, Bundling(self.region, self.bundle), first_pause_s=0.01)


async def test_what_falls_together_leaves_together() -> None:
    """Hundreds of services fall in one tick: they leave in two bundles, those that were first among them."""
    receiver = Bundles()
    outbox = receiver.outbox()
    async with delivering(outbox):
        outbox.put(report(1, "first"))
        receiver.falling = True
        for number in range(BUNDLE + 5):
            outbox.put(report(2 + number, f"s{number}"))
        assert outbox.owed == BUNDLE + 6
        await settled(outbox)
    assert receiver.got == []
    assert [region for region, _ in receiver.bundles] == [PARIS, PARIS]
    assert [len(reports) for _, reports in receiver.bundles] == [BUNDLE, 6]
    said = {each.service for _, reports in receiver.bundles for each in reports}
    assert len(said) == BUNDLE + 6
    assert "first" in said


async def test_a_bundle_that_does_not_get_through_is_said_again_as_it_is_then() -> None:
    """The receiver is away: nothing is lost, and a service that was heard of again is said once, by its own way."""
    receiver = Bundles()
    receiver.away = receiver.falling = True
    outbox = receiver.outbox()
    async with delivering(outbox):
        outbox.put(report(1, "a"))
        outbox.put(report(2, "b"))
        async with asyncio.timeout(45):
            while not receiver.tried:  # noqa: ASYNC110  polled with a deadline
                await asyncio.sleep(0.005)
        outbox.put(report(3, "a"))
        receiver.away = False
        await settled(outbox)
    said = sorted((each.service, each.seq) for _, reports in receiver.bundles for each in reports)
    assert said == [("a", 3), ("b", 2)]


async def test_a_service_that_is_well_again_leaves_its_bundle() -> None:
    """What is said of a service after the region has come back goes by itself, and its older word is forgotten."""
    receiver = Bundles()
    receiver.falling = True
    outbox = receiver.outbox()
    outbox.put(report(1, "a"))
    receiver.falling = False
    outbox.put(report(2, "a"))
    async with delivering(outbox):
        await settled(outbox)
    assert [each.seq for each in receiver.got] == [2]
    assert receiver.bundles == []
