"""Asking all services how they are: bounded in number and time, and nobody hides behind somebody else."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

import pytest

from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Service
from orchestrator.runtime.connection import ControlPlaneAway
from orchestrator.runtime.glance import AT_ONCE, glance, silent
from real.stage import service
from workflows.wire import ServiceStatus


@dataclass
class Plane:
    """Services that answer after a moment, or never."""

    takes_s: float = 0.01
    hanging: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    under_way: int = 0
    most: int = 0
    asked: list[str] = field(default_factory=list)

    async def ask(self, asked: Service) -> ServiceStatus:
        self.asked.append(asked.id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if asked.id in self.hanging:
                await asyncio.Event().wait()
            if asked.id in self.lost:
                raise ControlPlaneAway("it is gone")
            await asyncio.sleep(self.takes_s)
            return replace(silent(asked, ""), held=())
        finally:
            self.under_way -= 1


def services(count: int) -> tuple[Service, ...]:
    return tuple(replace(service(), id=ServiceId(f"s{number:03d}")) for number in reversed(range(count)))


def no_answer(found: tuple[ServiceStatus, ...]) -> list[str]:
    return [status.service for status in found if any(held.rule == "no-answer" for held in status.held)]


async def test_many_services_are_asked_a_few_at_a_time() -> None:
    """Two hundred services are all told, sorted, and never more than a few are asked at one time."""
    plane = Plane()
    found = await glance(plane.ask, services(200))
    assert [status.service for status in found] == sorted(plane.asked)
    assert len(found) == 200
    assert plane.most == AT_ONCE


async def test_services_that_do_not_answer_hide_no_other() -> None:
    """Some hang and one is gone: they are shown as silent, the others as they are, and nobody waits for long."""
    plane = Plane(hanging=frozenset({"s003", "s190"}), lost=frozenset({"s100"}))
    began = time.perf_counter()
    found = await glance(plane.ask, services(200), within_s=1.5)
    assert no_answer(found) == ["s003", "s100", "s190"]
    assert time.perf_counter() - began < 3.0


async def test_many_that_hang_are_given_up_together() -> None:
    """Even where half of them hang, the page is not minutes late."""
    plane = Plane(hanging=frozenset(f"s{number:03d}" for number in range(0, 200, 2)))
    began = time.perf_counter()
    found = await glance(plane.ask, services(200), within_s=0.5, all_within_s=0.5)
    assert len(no_answer(found)) >= 100
    assert time.perf_counter() - began < 4.0


async def test_when_nobody_answers_that_is_said() -> None:
    """Not one service answers: the control plane is away, which is another message than two hundred."""
    plane = Plane(hanging=frozenset(f"s{number:03d}" for number in range(3)))
    with pytest.raises(ControlPlaneAway, match="no worker answered"):
        await glance(plane.ask, services(3), within_s=0.05)
