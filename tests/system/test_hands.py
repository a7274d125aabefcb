"""Other hands on the record, between decision and write and at rest: seen, told, and never overwritten."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from orchestrator.core.record import RunStatus
from orchestrator.core.steering import SteeringChange, decode, next_lineage
from providers import registry
from real.system import FENCE, NAME, PAIR, System, until

BY_HAND = "192.0.2.77"


async def test_a_hand_edit_between_decision_and_write_stands(tmp_path: Path, people: Any) -> None:
    """A person edits the record while the standby loads: the run ends without writing, says so and tells people."""
    async with System.start(tmp_path, vantages=PAIR, change=people.among) as system:
        await system.steady()
        await system.black_hole("paris")
        await system.promoting("ohio")
        await system.dns.edit(NAME, "A", BY_HAND, ttl_s=1)
        record = await system.closed(await system.run())
        assert record.status is RunStatus.STALE
        assert BY_HAND in record.entries[-1].text or BY_HAND in str(record.entries)
        held = await until(system.status, lambda s: "changed-outside" in {h.rule for h in s.hold}, "the hold")
        assert held.run is None
        assert BY_HAND in next(hold.text for hold in held.hold if hold.rule == "changed-outside")
        await until(lambda: _told(people, "held", BY_HAND), bool, "word to the people")
        closed = await until(lambda: _told(people, "run.closed"), bool, "word of the end")
        assert {each["run"] for each in closed} == {record.run}
        assert await system.dns.ask(NAME, "A") == (BY_HAND,)
        assert decode((await system.dns.ask(FENCE, "TXT"))[0]).generation == 1
        assert system.eye.told == (system.answer("paris"), (BY_HAND,))
        await until(lambda: _posted(people), lambda events: len(events) >= len(people.told), "the webhooks")
        await until(lambda: _posted(people), {"run.started", "run.closed", "held"}.issubset, "a webhook of each")
        for headers, body in people.posts:
            assert _signed(headers["failover-signature"], body, people.key)


async def test_a_rival_that_takes_the_generation_stays_ahead(tmp_path: Path) -> None:
    """Somebody else writes under the fence while the standby loads: the run ends stale and says who is ahead."""
    async with System.start(tmp_path, vantages=PAIR) as system:
        await system.steady()
        await system.black_hole("paris")
        await system.promoting("ohio")
        spec = system.topology.services[0].steering
        assert spec is not None
        steering = registry.steering(spec)
        now = await steering.read()
        assert now.fence is not None
        assert now.answer is not None
        tokyo = next(each for each in system.topology.services[0].endpoints if each.id == "tokyo")
        assert tokyo.answer is not None
        weights = tuple((name, 100 if name == "tokyo" else 0) for name, _ in now.fence.weights)
        lineage = next_lineage(now.fence)
        await steering.write(SteeringChange(1, now.answer, weights, tokyo.answer, "laptop-of-ada", "steer", lineage))
        record = await system.closed(await system.run())
        assert record.status is RunStatus.STALE
        assert "laptop-of-ada" in record.entries[-1].text
        assert await system.dns.ask(NAME, "A") == system.answer("tokyo")
        assert await steering.read() == await steering.read()
        assert (await steering.read()).generation == 2
        status = await until(system.status, lambda status: status.run is None, "the end of the run")
        assert status.routing is None or status.routing.generation == 2
        await system.moved_once(0.0, "tokyo")


async def test_a_hand_edit_at_rest_is_seen_and_told(tmp_path: Path, people: Any) -> None:
    """Nothing is wrong and a person edits the record: it is held as changed outside, told, and left as it is."""
    async with System.start(tmp_path, vantages=PAIR, change=people.among) as system:
        await system.steady()
        await system.dns.edit(NAME, "A", BY_HAND, ttl_s=1)
        held = await until(system.status, lambda s: "changed-outside" in {h.rule for h in s.hold}, "the hold")
        assert held.run is None
        await until(lambda: _told(people, "held", BY_HAND), bool, "word to the people")
        await system.black_hole("paris")
        await until(system.status, lambda s: any(a.verdict == "down" for a in s.assessments), "the outage")
        assert await system.runs() == []
        assert await system.dns.ask(NAME, "A") == (BY_HAND,)
        assert system.eye.writes == 1


async def _told(people: Any, event: str, about: str = "") -> list[dict[str, Any]]:
    return [each for each in people.told if each["event"] == event and about in each["text"]]


async def _posted(people: Any) -> list[str]:
    return [json.loads(body)["event"] for _, body in people.posts]


def _signed(header: str, body: bytes, key: str) -> bool:
    """Whether *header* signs *body*, computed here as the documentation says."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    wanted = hmac.new(key.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(parts["v1"], wanted)
