"""The change by hand: the script is fed to the real ``nsupdate`` against a real BIND."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.move import MoveKind
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Fence, Routing, SteeringChange
from orchestrator.core.topology import Answer, Secret, SecretSource, TsigKey
from providers.dns.rfc2136 import Rfc2136Steering
from real.bind import Bind, least
from runbooks.plan import Plan, Steer
from runbooks.planner import as_nsupdate

EU, US = EndpointId("eu"), EndpointId("us")
ALIAS = ("eu.hosts A 127.0.1.10", "us.hosts A 127.0.2.10")


class Hand:
    """A person with nsupdate and the key, at a zone that the steering's own code can read."""

    def __init__(self, bind: Bind, world: Any, directory: Path) -> None:
        self.bind = bind
        self.world = world
        secret = directory / "secret"
        secret.write_text(bind.secret, encoding="utf-8")
        key = TsigKey(bind.key, Secret(SecretSource.FILE, str(secret)), bind.algorithm)
        self.spec = replace(world.steering, primary=bind.at, servers=(bind.at,), key=key)
        self.steering = Rfc2136Steering(self.spec)
        self.keyfile = directory / "key"
        self.keyfile.write_text(
            f'key "{bind.key}" {{ algorithm {bind.algorithm}; secret "{bind.secret}"; }};\n', encoding="utf-8"
        )

    async def plan(self, kind: MoveKind = MoveKind.FAILOVER, **move: Any) -> Plan:
        """A plan made from what the server says now."""
        self.world.service = replace(self.world.service, steering=self.spec)
        self.world.routing = await self.steering.read()
        plan: Plan = self.world.plan(self.world.move(kind, **move))
        return plan

    async def make(self, script: str) -> tuple[int, str]:
        """Feed *script* to nsupdate: its exit status, and what it said."""
        process = await asyncio.create_subprocess_exec(
            "nsupdate",
            "-k",
            str(self.keyfile),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(script.encode()), 45)
        return process.returncode or 0, said.decode()


def left_behind(plan: Plan) -> Fence:
    """The fence that the plan's own steer step would leave."""
    step = next(step for step in plan.steps if isinstance(step.work, Steer))
    steer = step.work
    assert isinstance(steer, Steer)
    change = SteeringChange(
        steer.expects, steer.was, steer.weights, steer.answer, plan.run, step.id, lineage=steer.lineage
    )
    return change.fence


@pytest.fixture
async def hand(world: Any, tmp_path: Path) -> AsyncIterator[Hand]:
    """A name with one address, no fence yet, and a key with the least grant."""
    async with Bind(records=("chat 5 A 127.0.1.10",), policy=least("chat.example.")) as bind:
        yield Hand(bind, world, tmp_path)


@pytest.fixture
async def alias(world: Any, tmp_path: Path) -> AsyncIterator[Hand]:
    """The same name as a CNAME."""
    world.cname()
    records = ("chat 5 CNAME eu.hosts", *ALIAS)
    async with Bind(records=records, policy=least("chat.example.")) as bind:
        yield Hand(bind, world, tmp_path)


async def test_the_script_makes_the_change_and_leaves_the_same_fence(hand: Hand) -> None:
    """By hand, twice: a first write without a fence and a second upon it, each as the program would have left it."""
    first = await hand.plan()
    assert await hand.make(as_nsupdate(first)) == (0, "")
    now = await hand.steering.read()
    assert now == Routing(Answer("addresses", ("127.0.2.10",)), 10, left_behind(first))
    second = await hand.plan(MoveKind.FAILBACK, source=(US,), target=EU)
    assert await hand.make(as_nsupdate(second)) == (0, "")
    now = await hand.steering.read()
    assert now == Routing(Answer("addresses", ("127.0.1.10",)), 10, left_behind(second))
    assert now.generation == 2
    assert now.fence is not None
    assert now.fence.lineage == ((1, "run-42/steer"),)


async def test_a_script_upon_the_programs_own_write_is_accepted(hand: Hand) -> None:
    """A fence that the program wrote, longer than one TXT string can be, is named to the letter."""
    weights = ((EU, 100), (US, 0))
    here = Answer("addresses", ("127.0.1.10",))
    lineage = tuple((generation, f"run-{'x' * 60}-{generation}/steer") for generation in (3, 2, 1))
    await hand.steering.write(SteeringChange(0, here, weights, here, "y" * 60, "steer", lineage))
    plan = await hand.plan()
    assert await hand.make(as_nsupdate(plan)) == (0, "")
    assert await hand.steering.read() == Routing(Answer("addresses", ("127.0.2.10",)), 10, left_behind(plan))


async def test_an_old_script_is_refused(hand: Hand) -> None:
    """Once somebody has written, the script that was printed before changes nothing."""
    old = await hand.plan()
    assert await hand.make(as_nsupdate(old)) == (0, "")
    stood = await hand.steering.read()
    status, said = await hand.make(as_nsupdate(old))
    assert status == 2
    assert "YXRRSET" in said
    assert await hand.steering.read() == stood


@pytest.mark.parametrize(
    ("kind", "values"), [("A", ("127.0.1.10", "127.0.9.9")), ("A", ("127.0.9.9",)), ("AAAA", ("::1",))]
)
async def test_a_hand_edit_is_not_overwritten(hand: Hand, kind: str, values: tuple[str, ...]) -> None:
    """An answer edited after the plan was printed stays as it was edited, whichever record type it was."""
    script = as_nsupdate(await hand.plan())
    await hand.bind.edit("chat.example.", kind, *values)
    status, said = await hand.make(script)
    assert status == 2
    assert "RRSET" in said
    assert set(values) <= set(await hand.bind.ask("chat.example.", kind))
    assert await hand.bind.ask("_failover.chat.example.", "TXT") == ()


async def test_a_cname_is_replaced_by_hand(alias: Hand) -> None:
    """A name that is a CNAME moves to the other endpoint's name, under the fence."""
    plan = await alias.plan()
    assert await alias.make(as_nsupdate(plan)) == (0, "")
    assert await alias.steering.read() == Routing(Answer("cname", ("us.hosts.example.",)), 10, left_behind(plan))


async def test_a_cname_takes_the_place_of_addresses(hand: Hand) -> None:
    """Addresses give way to a CNAME in one write; the name is never without an answer."""
    hand.world.cname()
    plan = await hand.plan()
    assert await hand.make(as_nsupdate(plan)) == (0, "")
    assert await hand.bind.ask("chat.example.", "CNAME") == ("us.hosts.example.",)
    assert await hand.steering.read() == Routing(Answer("cname", ("us.hosts.example.",)), 10, left_behind(plan))


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("chat.example.", "HINFO", '"a" "b"'),
        ("chat.example.", "MX", "10 ns.example."),
        ("_failover.chat.example.", "CNAME", "elsewhere.example.net."),
    ],
)
async def test_a_script_that_the_server_would_do_by_half_is_refused(
    world: Any, tmp_path: Path, name: str, kind: str, value: str
) -> None:
    """Servers drop a CNAME beside other data, and a fence beside a CNAME, silently: the name keeps its answer."""
    world.cname()
    async with Bind(records=("chat 5 A 127.0.1.10",)) as bind:
        hand = Hand(bind, world, tmp_path)
        script = as_nsupdate(await hand.plan())
        await bind.edit(name, kind, value)
        status, said = await hand.make(script)
        assert (status, "YXRRSET" in said) == (2, True)
        assert await bind.ask("chat.example.", "A") == ("127.0.1.10",)
