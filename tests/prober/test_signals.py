"""Sources of signals beside the probes: asked now and then, each by itself, and a change is told once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from orchestrator.core.errors import BadInput
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.signals import Effect
from orchestrator.core.topology import Service, SignalSpec
from orchestrator.prober import signals as module
from orchestrator.prober.signals import Signals
from providers.base import Sign, Transient
from real.scenery import service
from real.stage import until
from workflows.activities.signals import evidence, packed

NOW = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
SPOT = SignalSpec("spot", "paper", "i-1", Effect.DRAIN)
HANGS = SignalSpec("hangs", "paper", "i-2")


@dataclass
class Source:
    """A source that says what it is told to say."""

    sign: Sign | Exception | None = None
    asked: int = 0

    async def read(self) -> Sign:
        self.asked += 1
        if self.sign is None:
            await asyncio.sleep(3600)
        if isinstance(self.sign, Exception):
            raise self.sign
        assert self.sign is not None
        return self.sign


@dataclass
class News:
    """Who was told of a change."""

    told: list[str] = field(default_factory=list)

    async def __call__(self, service: ServiceId) -> None:
        self.told.append(service)


def chat(*specs: SignalSpec) -> Service:
    eu, us = service().endpoints
    return replace(service(), endpoints=(replace(eu, signals=specs), us))


async def test_a_signal_is_told_when_it_becomes_active_and_when_it_ends(monkeypatch: object) -> None:
    """A change is news once; a source that hangs holds up no other, and what it says travels as it is."""
    monkeypatch.setattr(module, "EVERY_S", 0.2)  # type: ignore[attr-defined]
    source, hangs, news = Source(Sign(active=False, text="nothing")), Source(), News()
    made = {SPOT: source, HANGS: hangs}
    signals = Signals(news, made.__getitem__)
    signals.configure((chat(HANGS, SPOT),))
    running = asyncio.create_task(signals.run())
    try:
        await until(lambda: _count(source), lambda asked: asked >= 2)
        assert (news.told, list(signals.active())) == ([], [])
        source.sign = Sign(active=True, text="reclaimed in 2 min", since=NOW)
        await until(lambda: _told(news), lambda told: told == ["chat"])
        (active,) = signals.active()
        assert (active.service, active.endpoint, active.spec, active.age_s < 5) == ("chat", "eu", SPOT, True)
        (word,) = evidence(packed((active,)), NOW + timedelta(seconds=60))[ServiceId("chat")]
        assert (word.endpoint, word.signal, word.effect, word.since) == (EndpointId("eu"), "spot", Effect.DRAIN, NOW)
        source.sign = Transient("away")
        before = source.asked
        await until(lambda: _count(source), lambda asked: asked > before + 1)
        assert [each.spec for each in signals.active()] == [SPOT], "an unreachable source has said nothing new"
        source.sign = Sign(active=False, text="nothing")
        await until(lambda: _told(news), lambda told: told == ["chat", "chat"])
        assert list(signals.active()) == []
    finally:
        running.cancel()


async def test_a_source_that_cannot_be_made_is_left_alone(monkeypatch: object) -> None:
    """A provider that is not installed here is tried rarely, and the others are asked."""
    monkeypatch.setattr(module, "EVERY_S", 0.1)  # type: ignore[attr-defined]
    source, tried = Source(Sign(active=True, text="yes")), []

    def make(spec: SignalSpec) -> Source:
        if spec is HANGS:
            tried.append(spec)
            raise BadInput("no such provider")
        return source

    news = News()
    signals = Signals(news, make)
    signals.configure((chat(HANGS, SPOT),))
    running = asyncio.create_task(signals.run())
    try:
        await until(lambda: _count(source), lambda asked: asked >= 3)
        assert (len(tried), news.told) == (1, ["chat"])
        signals.configure((chat(),))
        assert list(signals.active()) == []
    finally:
        running.cancel()


async def _count(source: Source) -> int:
    return source.asked


async def _told(news: News) -> list[str]:
    return news.told
