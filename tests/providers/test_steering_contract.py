"""The contract of Steering: the same stories for every provider that steers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer
from providers.base import (
    ChangedOutside,
    Forbidden,
    NotFound,
    Refused,
    StaleGeneration,
    Steering,
    Transient,
    Unauthenticated,
)
from real.local_dns import LocalDnsWorld
from real.lossy import LossyProxy
from real.steering import EU, NAME, US, BindWorld, KnotWorld, PowerDnsWorld, World, change

WORLDS: dict[str, Callable[[], World]] = {
    "bind-addresses": lambda: BindWorld("addresses"),
    "bind-cname": lambda: BindWorld("cname"),
    "knot-addresses": lambda: KnotWorld("addresses"),
    "knot-cname": lambda: KnotWorld("cname"),
    "powerdns-addresses": lambda: PowerDnsWorld("addresses"),
    "powerdns-cname": lambda: PowerDnsWorld("cname"),
    "local": LocalDnsWorld,
}


BOTH_KINDS = pytest.mark.parametrize("world", sorted(WORLDS), indirect=True)
"""For the cases where one message must hold fence and answer together: with a CNAME too, at every server."""
ONE_KIND = sorted(WORLDS.keys() - {"knot-cname", "powerdns-cname"})


@pytest.fixture(params=ONE_KIND)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = WORLDS[request.param]()
    try:
        await made.open()
        yield made
    finally:
        made.close()


async def adopted(world: World) -> Steering:
    """The name under the fence, its answer as it was."""
    steering = world.steering()
    await steering.write(change(await steering.read(), EU, world.home, run="adopt", step="adopt"))
    return steering


async def test_a_name_that_does_not_exist_reads_as_nothing(world: World) -> None:
    """A name without records and without a fence reads as no answer at generation 0."""
    routing = await world.steering(name="nothing.example.").read()
    assert (routing.answer, routing.fence, routing.generation) == (None, None, 0)


@BOTH_KINDS
async def test_adopting_puts_the_fence_up_and_leaves_the_answer_as_it_was(world: World) -> None:
    """Adopting a live record changes nothing that a client can see."""
    steering = world.steering()
    before = await steering.read()
    assert (before.answer, before.fence) == (world.home, None)
    after = await steering.write(change(before, EU, world.home, run="adopt", step="adopt"))
    assert await world.now() == world.home
    assert after.fence == Fence(1, "adopt", "adopt", EU)
    assert await steering.read() == after


@BOTH_KINDS
async def test_a_write_replaces_answer_and_fence_together(world: World) -> None:
    """After a write the name answers the target, and the fence says who did it and when before."""
    steering = await adopted(world)
    written = await steering.write(change(await steering.read(), US, world.away))
    assert await world.now() == world.away
    assert written.fence == Fence(2, "run-1", "steer", US, ((1, "adopt/adopt"),))
    assert await steering.read() == written


@BOTH_KINDS
async def test_a_stale_writer_is_refused_and_told_who_is_ahead(world: World) -> None:
    """A plan made before somebody else's write is refused, and the refusal names that writer."""
    steering = await adopted(world)
    old = await steering.read()
    await steering.write(change(old, US, world.away, run="first"))
    with pytest.raises(StaleGeneration, match=r"run first, step steer wrote generation 2") as refused:
        await world.steering().write(change(old, EU, world.home, run="second"))
    assert "expected generation 1" in str(refused.value)
    assert await world.now() == world.away


async def test_repeating_a_write_that_landed_is_success(world: World) -> None:
    """The same write sent again, by another worker, answers the same and does nothing."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away)
    first = await steering.write(step)
    assert await world.steering().write(step) == first
    assert (await steering.read()).generation == 2


async def test_a_write_that_was_overtaken_halts(world: World) -> None:
    """A retry of a write that landed and was then followed by another is told so."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away, run="overtaken")
    landed = await steering.write(step)
    await steering.write(change(landed, EU, world.home, run="newer"))
    with pytest.raises(StaleGeneration, match=r"run newer, .* generation 3 .* after this write had landed"):
        await steering.write(step)
    assert await world.now() == world.home


@BOTH_KINDS
async def test_a_hand_edit_between_read_and_write_is_not_overwritten(world: World) -> None:
    """A person's edit after the plan was made stops the write, which names what it found."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away)
    kind, value = ("CNAME", "byhand.example.net.") if world.home.kind == "cname" else ("A", "192.0.2.99")
    await world.edit(kind, value)
    edited = await world.now()
    with pytest.raises(ChangedOutside, match=value):
        await steering.write(step)
    assert await world.now() == edited
    assert (await steering.read()).generation == 1


async def test_an_address_that_a_person_added_is_seen(world: World) -> None:
    """An AAAA added by hand where there was none counts as a changed answer."""
    if world.home.kind == "cname":
        pytest.skip("a CNAME allows no address beside it")
    steering = await adopted(world)
    written = await steering.write(change(await steering.read(), US, world.away))
    await world.edit("AAAA", "2001:db8::99")
    with pytest.raises(ChangedOutside, match="2001:db8::99"):
        await steering.write(change(written, EU, world.home, run="run-2"))
    assert "2001:db8::99" in str(await world.now())


@BOTH_KINDS
async def test_a_hand_edit_after_our_write_is_told_when_the_write_is_repeated(world: World) -> None:
    """A landed write whose answer was edited since is not taken for success."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away)
    await steering.write(step)
    kind, value = ("CNAME", "byhand.example.net.") if world.home.kind == "cname" else ("A", "192.0.2.99")
    await world.edit(kind, value)
    with pytest.raises(ChangedOutside, match="changed outside"):
        await steering.write(step)


@BOTH_KINDS
async def test_a_lost_reply_is_recognised_as_our_own_write(world: World) -> None:
    """A write that landed while its reply was lost ends as a success, within two seconds."""
    await adopted(world)
    async with LossyProxy(world.spec.primary) as proxy:
        steering = world.steering(primary=proxy.at)
        step = change(await steering.read(), US, world.away)
        proxy.drop = 1
        begun = time.perf_counter()
        written = await steering.write(step)
        assert time.perf_counter() - begun < 2.0
    assert (proxy.dropped, written.generation) == (1, 2)
    assert await world.now() == world.away


async def test_replies_lost_for_good_leave_a_write_that_the_next_attempt_knows(world: World) -> None:
    """A first write of a fence whose reply was lost is success for whoever tries again with the same step."""
    steering = world.steering()
    step = change(await steering.read(), EU, world.home, run="adopt")
    async with LossyProxy(world.spec.primary) as proxy:
        proxy.drop = 1
        await world.steering(primary=proxy.at).write(step)
    assert (await world.steering().write(step)).generation == 1


@BOTH_KINDS
async def test_two_writers_race_and_exactly_one_wins_each_generation(world: World) -> None:
    """Races for one generation after another: one winner each, the loser says so, the name never falls silent."""
    steering = await adopted(world)
    racing = True
    silent = 0
    polls = 0

    async def poll() -> None:
        nonlocal silent, polls
        while racing:
            polls += 1
            silent += await world.now() is None
            await asyncio.sleep(0.002)

    polling = asyncio.create_task(poll())
    routing = await steering.read()
    try:
        for turn in range(30):
            weights, answer = (US, world.away) if turn % 2 == 0 else (EU, world.home)
            steps = [change(routing, weights, answer, run=f"{who}-{turn}") for who in ("a", "b")]
            outcomes = await asyncio.gather(*(world.steering().write(step) for step in steps), return_exceptions=True)
            won = [index for index, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
            lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            assert len(won) == 1, outcomes
            assert isinstance(lost[0], StaleGeneration)
            assert f"run {steps[won[0]].run}," in str(lost[0])
            routing = await steering.read()
            assert routing.fence == steps[won[0]].fence
            assert routing.answer == answer
    finally:
        racing = False
        await polling
    assert routing.generation == 31
    assert silent == 0
    assert polls > 15


async def test_a_reader_never_sees_half_a_write(world: World) -> None:
    """While the name moves to and fro, every read shows an answer together with the fence that belongs to it."""
    steering = await adopted(world)
    meant = {EU: world.home, US: world.away}
    moving = True

    async def look() -> int:
        reads = 0
        while moving:
            try:
                seen = await world.steering().read()
            except Transient:
                continue
            assert seen.fence is not None
            assert seen.answer == meant[seen.fence.weights]
            reads += 1
        return reads

    looking = asyncio.create_task(look())
    routing = await steering.read()
    try:
        for turn in range(40):
            weights = US if turn % 2 == 0 else EU
            routing = await steering.write(change(routing, weights, meant[weights], run=f"run-{turn}"))
            await asyncio.sleep(turn % 4 / 500)  # a pause of up to 6 ms, so that reads of every overlap come through
    finally:
        moving = False
    assert await looking > 5


async def test_an_answer_is_never_emptied(world: World) -> None:
    """A write of no addresses, or of weights that are all 0, is refused before anything is sent."""
    steering = await adopted(world)
    routing = await steering.read()
    nobody = tuple((endpoint, 0) for endpoint, _ in EU)
    for weights, answer in ((US, Answer(world.home.kind, ())), (nobody, world.away)):
        with pytest.raises(Refused, match="without an answer"):
            await steering.write(change(routing, weights, answer))
    assert await world.now() == world.home


async def test_answers_come_from_every_server_and_silence_is_no_error(world: World) -> None:
    """Every authoritative server is asked, and one that is away is a finding, not an exception."""
    steering = world.steering(servers=(world.spec.primary, "127.0.0.1:9"))
    begun = time.perf_counter()
    here, there = await steering.answers()
    assert time.perf_counter() - begun < 3.0
    assert (here.server, here.answer, here.error) == (world.spec.primary, world.home, None)
    assert there.answer is None
    assert there.error


async def test_an_unknown_key_and_a_wrong_secret_are_unauthenticated(world: World) -> None:
    """A key that the server does not accept says so, in a sentence without the secret."""
    wrong = "d3JvbmctYnV0LWJhc2U2NC1zZWNyZXQ="
    for key in (world.key(name="stranger."), world.key(secret=wrong)):
        steering = world.steering(key=key)
        with pytest.raises(Unauthenticated, match="key") as read:
            await steering.read()
        with pytest.raises(Unauthenticated):
            await steering.write(change(await world.steering().read(), US, world.away))
        assert wrong not in str(read.value)
    assert await world.now() == world.home


async def test_a_missing_grant_is_forbidden_with_the_grant_that_is_needed(world: World) -> None:
    """A key without the right to the fence is told the lines to add, and nothing is half written."""
    if isinstance(world, PowerDnsWorld):
        pytest.skip("PowerDNS has no word for it: test_dns_servers.py says what is told there")
    await world.forbid()
    steering = world.steering()
    with pytest.raises(Forbidden) as refused:
        await steering.write(change(await steering.read(), US, world.away))
    key = world.spec.key.name if world.spec.key else ""
    assert f"grant {key} name {NAME} A AAAA CNAME; grant {key} name _failover.{NAME} TXT;" in str(refused.value)
    assert await world.now() == world.home


async def test_a_server_that_is_away_is_told_at_once(world: World) -> None:
    """A stopped name server is a transient trouble, named with its address, within a quarter of a second."""
    step = change(await world.steering().read(), US, world.away)
    world.kill()
    begun = time.perf_counter()
    with pytest.raises(Transient, match=world.spec.primary):
        await world.steering().write(step)
    with pytest.raises(Transient, match="refused"):
        await world.steering().read()
    assert time.perf_counter() - begun < 1.5  # a write that tried again would take longer


async def test_a_frozen_server_is_transient_within_its_budget(world: World) -> None:
    """A frozen name server costs a write at most two and a half seconds, and a read too."""
    step = change(await world.steering().read(), US, world.away)
    world.freeze()
    begun = time.perf_counter()
    for outcome in await asyncio.gather(world.steering().read(), world.steering().write(step), return_exceptions=True):
        assert isinstance(outcome, Transient)
    assert time.perf_counter() - begun < 2.5 + 1.0  # and what a busy machine adds


async def test_a_zone_that_the_server_does_not_have_is_not_found(world: World) -> None:
    """A zone named wrongly is an error of the topology, not a reason to retry."""
    steering = world.steering(name="chat.elsewhere.", zone="elsewhere.")
    with pytest.raises(NotFound, match="elsewhere"):
        await steering.read()
    routing = await world.steering().read()
    with pytest.raises(NotFound, match="elsewhere"):
        await steering.write(change(routing, US, world.away))
