"""Fence and answer in two record sets that never change together: every order of puts, by a zone of paper."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Fence, Landing, SteeringChange, landing, next_lineage
from orchestrator.core.topology import Answer, SteeringSpec, Weights
from providers.azure.dns import AzureDnsSteering
from providers.azure.records import RecordSet
from providers.azure.standing import PIECE, fence_in, marked
from providers.base import ChangedOutside, StaleGeneration, Transient

EU: Weights = ((EndpointId("eu"), 100), (EndpointId("us"), 0))
ZONE_ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/dnsZones/example.com"
SPEC = SteeringSpec(
    "azure-dns",
    "chat.example.com.",
    "example.com.",
    30,
    "",
    options=(("endpoint", "http://127.0.0.1:1"), ("zone_id", ZONE_ID)),
)
ANSWERS = (
    Answer("addresses", ("192.0.2.1",)),
    Answer("addresses", ("2001:db8::2",)),
    Answer("addresses", ("192.0.2.3", "2001:db8::3")),
    Answer("addresses", ("192.0.2.4", "192.0.2.5")),
)


class PaperZone:
    """Record sets under ETags, in memory; each call waits its turn, which chance gives, and may lose its reply."""

    kind = "Microsoft.Network/dnsZones"
    name = "example.com"

    def __init__(self, random: Random, *, losses: float = 0.0) -> None:
        self.sets: dict[str, RecordSet] = {}
        self.random = random
        self.losses = losses
        self.silences = 0
        self.puts = 0
        self.changed = asyncio.Event()

    async def get(self, kind: str, name: str) -> RecordSet:
        await self._turn()
        return self.sets.get(kind, RecordSet())

    async def put(self, kind: str, name: str, wanted: RecordSet) -> RecordSet | None:
        await self._turn()
        stands = self.sets.get(kind)
        if (stands.etag if stands else None) != wanted.etag:
            return None
        answered = self.answers
        self.puts += 1
        made = self.sets[kind] = replace(wanted, etag=f"e{self.puts}")
        self.silences += bool(answered) and not self.answers
        self.changed.set()
        if self.random.random() < self.losses:
            raise Transient("the reply was lost")
        await self._turn()
        return made

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(sorted(value for each in self.sets.values() for value in each.values))

    async def _turn(self) -> None:
        for _ in range(self.random.randrange(6)):
            await asyncio.sleep(0)


def writer(zone: PaperZone) -> AzureDnsSteering:
    steering = AzureDnsSteering(SPEC)
    steering._zone = zone  # type: ignore[assignment]
    steering.settle_s = (0.0, 0.0, 0.0)
    return steering


async def won(zone: PaperZone, run: str) -> None:
    """Wait until *run* has put its fence up."""
    while (fence := fence_in(zone.sets["A"])) is None or fence.run != run:
        zone.changed.clear()
        await zone.changed.wait()


async def moved(zone: PaperZone, run: str, to: Answer) -> SteeringChange | None:
    """One run that moves the name as it finds it, trying again as a step does; None where it was told to stop."""
    steering = writer(zone)
    change: SteeringChange | None = None
    for _ in range(12):
        try:
            if change is None:
                now = await steering.read()
                change = SteeringChange(now.generation, now.answer, EU, to, run, "steer", next_lineage(now.fence))
            await steering.write(change)
        except Transient:
            continue
        except (StaleGeneration, ChangedOutside):
            return None
        return change
    return None


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), losses=st.sampled_from([0.0, 0.0, 0.2]), writers=st.integers(2, 4))
def test_in_every_order_the_newest_word_stands_and_the_name_never_falls_silent(
    seed: int, losses: float, writers: int
) -> None:
    """However writers' calls come between each other and replies are lost, the name ends as the newest fence means."""
    random = Random(seed)
    zone = PaperZone(random, losses=losses)

    async def story() -> None:
        zone.sets["A"] = RecordSet(("192.0.2.9",), 30, (), "e0")
        done = await asyncio.gather(*(moved(zone, f"run-{index}", random.choice(ANSWERS)) for index in range(writers)))
        zone.losses = 0.0
        now = await writer(zone).read()
        landed = [change for change in done if change is not None]
        assert zone.silences == 0
        assert len({change.fence.generation for change in landed}) == len(landed), "two writers won one generation"
        newest = max(landed, key=lambda change: change.fence.generation, default=None)
        if losses == 0.0:
            assert newest is not None
        if newest is not None and now.fence == newest.fence:
            assert now.answer == newest.answer
            assert landing(newest, now) is Landing.OURS

    asyncio.run(story())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_reader_never_sees_half_a_write(seed: int) -> None:
    """While the name moves to and fro, every read shows the answer that the fence beside it means."""
    random = Random(seed)
    zone = PaperZone(random)

    async def story() -> None:
        zone.sets["A"] = RecordSet(("192.0.2.9",), 30, (), "e0")
        meant = {f"run-{index}": random.choice(ANSWERS) for index in range(6)}

        async def move() -> None:
            for run, answer in meant.items():
                assert await moved(zone, run, answer) is not None

        moving = asyncio.create_task(move())
        reader = writer(zone)
        reader.settle_s = (0.0,) * 100
        while not moving.done():
            seen = await reader.read()
            assert seen.fence is None or seen.answer == meant[seen.fence.run]
        await moving

    asyncio.run(story())


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), after=st.integers(0, 14), first=st.integers(0, 3), second=st.integers(0, 3))
def test_a_writer_that_dies_anywhere_is_finished_by_its_retry_or_overtaken(
    seed: int, after: int, first: int, second: int
) -> None:
    """Whenever a worker dies, another one with the same step ends it, and the next run finds a name it can move."""
    zone = PaperZone(Random(seed))

    async def story() -> None:
        zone.sets["A"] = RecordSet(("192.0.2.9",), 30, (), "e0")
        now = await writer(zone).read()
        change = SteeringChange(
            now.generation, now.answer, EU, ANSWERS[first], "run-1", "steer", next_lineage(now.fence)
        )
        dying = asyncio.create_task(writer(zone).write(change))
        for _ in range(after):
            await asyncio.sleep(0)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        assert (await writer(zone).write(change)).fence == change.fence
        assert await writer(zone).read() == replace(
            await writer(zone).read(), answer=ANSWERS[first], fence=change.fence
        )
        last = await moved(zone, "run-2", ANSWERS[second])
        assert last is not None
        assert (await writer(zone).read()).answer == ANSWERS[second]
        assert zone.silences == 0

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_a_hand_that_edits_while_a_writer_is_dead_is_not_overwritten(kind: str) -> None:
    """Between the death of a worker and its retry a person edits a record set: the retry tells it."""
    zone = PaperZone(Random(1))
    hand = "192.0.2.66" if kind == "A" else "2001:db8::66"

    async def story() -> None:
        zone.sets["A"] = RecordSet(("192.0.2.9",), 30, (), "e0")
        now = await writer(zone).read()
        change = SteeringChange(0, now.answer, EU, ANSWERS[2], "run-1", "steer")
        dying = asyncio.create_task(writer(zone).write(change))
        await won(zone, "run-1")
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        zone.sets[kind] = replace(zone.sets[kind], values=(hand,), etag="by-hand")
        with pytest.raises(ChangedOutside, match=hand):
            await writer(zone).write(change)
        assert zone.sets[kind].values == (hand,)

    asyncio.run(story())


def test_a_slow_writer_that_wakes_after_its_successor_changes_nothing() -> None:
    """A put that hangs while another run moves the name on is refused when it comes, also where it creates AAAA."""

    async def story(answer: Answer, successor: Answer) -> None:
        zone = PaperZone(Random(3))
        zone.sets["A"] = RecordSet(("192.0.2.9",), 30, (), "e0")
        slow, gate = PaperZone(Random(3)), asyncio.Event()
        slow.sets = zone.sets
        put = zone.put

        async def held(kind: str, name: str, wanted: RecordSet) -> RecordSet | None:
            if kind == "AAAA" and wanted.values:
                await gate.wait()
            return await put(kind, name, wanted)

        slow.put = held  # type: ignore[method-assign]
        now = await writer(zone).read()
        change = SteeringChange(0, now.answer, EU, answer, "slow", "steer")
        writing = asyncio.create_task(writer(slow).write(change))
        await won(zone, "slow")
        assert await moved(zone, "quick", successor) is not None
        gate.set()
        with pytest.raises(StaleGeneration, match=r"run quick, .* after this write had landed"):
            await writing
        now = await writer(zone).read()
        assert (now.answer, now.fence and now.fence.run) == (successor, "quick")

    asyncio.run(story(ANSWERS[2], ANSWERS[0]))
    asyncio.run(story(ANSWERS[1], ANSWERS[3]))


def test_a_long_fence_is_cut_into_pieces_and_what_others_keep_there_stays() -> None:
    """Metadata of somebody else survives, pieces of an older and longer fence do not."""
    lineage = tuple((number, f"run-{'x' * 60}-{number}/step") for number in (5, 4, 3, 2))
    long = Fence(6, "run-6", "steer", EU, lineage)
    there = RecordSet(metadata=(("owner", "ai-platform"),))
    once = replace(there, metadata=marked(there, long))
    assert all(len(value) <= PIECE for _, value in once.metadata)
    assert len(once.metadata) > 2
    assert fence_in(once) == long
    short = Fence(7, "run-7", "steer", EU)
    again = replace(once, metadata=marked(once, short))
    assert fence_in(again) == short
    assert dict(again.metadata)["owner"] == "ai-platform"
    assert len(again.metadata) == 2
