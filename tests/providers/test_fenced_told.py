"""What FencedDial says when it refuses, word by word, and what it leaves as it was."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator.core.errors import BadFence
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Answer
from providers.base import ChangedOutside, NotFound, Refused, StaleGeneration, Throttled, Transient
from providers.fenced import FRESH_S, FencedDial, Targets
from providers.fencing import page, weighed
from real.interleaving import SPEC, LandDial, LandDocument, Patient, Sleepless, change_from, moved, writer


async def test_a_stale_plan_is_told_who_is_ahead() -> None:
    """The sentence names the run, its generation and what was expected, and says to plan again."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    late = change_from(await writer(land).read(), {"ap": 100}, "late")
    await moved(land, {"us": 100}, "first")
    with pytest.raises(StaleGeneration) as told:
        await writer(land).write(late)
    assert str(told.value) == (
        "run first, step steer wrote generation 2 of chat.example. first; this write expected generation 1: plan again"
    )


async def test_an_overtaken_write_is_told_that_it_had_landed() -> None:
    """Landed, then followed by another: the sentence says so, and an edit by hand since then stands."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    overtaken = await moved(land, {"us": 100}, "slow")
    await moved(land, {"ap": 100}, "newer")
    land.weights = {"eu": 30, "us": 0, "ap": 70}
    with pytest.raises(
        StaleGeneration, match=r"run newer, step steer wrote generation 3 .* after this write had landed"
    ):
        await writer(land).write(overtaken)
    assert land.weights == {"eu": 30, "us": 0, "ap": 70}


async def test_a_fence_that_is_gone_is_told() -> None:
    """A document that was deleted is no fence of generation 0 that everybody may replace."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")
    land.text = None
    with pytest.raises(StaleGeneration) as told:
        await writer(land).write(change)
    assert str(told.value) == (
        "the fence at a document in memory is gone, where generation 1 was expected: adopt the service again"
    )
    assert land.weights == {"eu": 100, "us": 0, "ap": 0}


async def test_a_fence_of_another_history_is_told() -> None:
    """The same generation by another writer is not the one that was expected."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")
    land.text = None
    await moved(land, {"eu": 100}, "adopt-anew")
    with pytest.raises(StaleGeneration, match=r"run adopt-anew, step steer wrote generation 1 .* of another history"):
        await writer(land).write(change)


async def test_an_edit_by_hand_is_told_with_what_was_left_and_what_was_found() -> None:
    """The sentence shows both, and the cure."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")
    land.weights = {"eu": 10, "us": 90, "ap": 0}
    with pytest.raises(ChangedOutside) as told:
        await writer(land).write(change)
    assert str(told.value) == (
        "chat.example. answers eu=10, us=90 where generation 1 left eu=100: it was changed outside; "
        "put it back, or adopt it as it is"
    )


@pytest.mark.parametrize(
    "text",
    [
        "maintenance\nuntil noon",
        "[]",
        "{}",
        '{"failover": "v=1 gen=1 run=a step=b w=eu:100", "shares": {"eu": -1}}',
        '{"failover": "v=1 gen=1 run=a step=b w=eu:100", "shares": {"eu": 0.5}}',
        '{"failover": "v=1 gen=1 run=a step=b w=eu:100", "shares": {"eu": 1e999}}',
        '{"failover": "v=1 gen=1 run=a step=b w=eu:100", "shares": ["eu"]}',
        '{"failover": "v=9 gen=1 run=a step=b w=eu:100", "shares": {"eu": 100}}',
        "[" * 100_000,
    ],
)
async def test_a_document_of_somebody_else_is_told_and_left(text: str) -> None:
    """What is no routing document is neither taken for one nor overwritten; the sentence is one line."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")
    land.text = text
    with pytest.raises(ChangedOutside, match="somebody wrote there by hand") as told:
        await writer(land).write(change)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300
    with pytest.raises(BadFence):
        await writer(land).read()
    assert (land.text, land.weights["eu"]) == (text, 100)


async def test_a_target_that_the_dial_does_not_have_is_told_before_anything_is_written() -> None:
    """A typing error in the topology leaves the fence as it was."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = replace(
        change_from(await writer(land).read(), {"us": 100}, "run-1"), answer=Answer("shares", ("mars=100",))
    )
    with pytest.raises(NotFound, match="a dial in memory has no target called mars; there are: ap, eu, us"):
        await writer(land).write(change)
    assert (land.version, land.weights["eu"]) == (1, 100)


async def test_a_document_that_is_removed_while_the_dial_is_turned_is_told() -> None:
    """Who follows the document does not follow into nothing."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")

    class Removing(LandDial):
        async def turn(self, targets: Targets) -> None:
            await super().turn(targets)
            land.text = None

    with pytest.raises(ChangedOutside, match="was removed by hand while it was written"):
        await Patient(SPEC, Removing(land), LandDocument(land)).write(change)


async def test_a_document_that_does_not_compare_is_found_out_when_it_is_adopted() -> None:
    """The dial is not touched, and the sentence says what the store lacks."""
    land = Sleepless()

    class Careless(LandDocument):
        async def put(self, text: str, *, tag: str | None) -> None:
            await super().put(text, tag=(await self.read()).tag)

    steering = Patient(SPEC, LandDial(land), Careless(land))
    with pytest.raises(Refused, match="a document in memory lets itself be replaced under a tag that it does not have"):
        await steering.write(change_from(await steering.read(), {"eu": 100}, "adopt"))
    assert land.turns == 0


async def test_a_dial_that_does_not_stay_as_it_is_turned_is_told() -> None:
    """Somebody else who turns it all the time is not fought for ever."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")

    class Stubborn(LandDial):
        async def turn(self, targets: Targets) -> None:
            land.turns += 1

    with pytest.raises(Transient, match="was turned 5 times and does not stay"):
        await Patient(SPEC, Stubborn(land), LandDocument(land)).write(change)
    assert land.turns == 5


async def test_throttling_of_the_document_is_told_as_throttling() -> None:
    """The kind of trouble is kept, as it says when to come back."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")

    class Busy(LandDocument):
        async def put(self, text: str, *, tag: str | None) -> None:
            raise Throttled("one write a second")

    with pytest.raises(Throttled, match="one write a second"):
        await Patient(SPEC, LandDial(land), Busy(land)).write(change)
    assert (land.version, land.turns) == (1, 0)


async def test_a_write_that_is_put_back_meanwhile_is_tried_again() -> None:
    """Refused by the compare although all stands as expected: nothing is known to be wrong."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")

    class Touched(LandDocument):
        async def put(self, text: str, *, tag: str | None) -> None:
            land.version += 1
            await super().put(text, tag=tag)

    with pytest.raises(Transient, match="was written and put back meanwhile"):
        await Patient(SPEC, LandDial(land), Touched(land)).write(change)
    assert (await writer(land).write(change)).generation == 2


async def test_a_worker_that_was_frozen_looks_again_before_it_turns_the_dial() -> None:
    """Between his write of the document and his turn a writer slept, and somebody went ahead: he turns nothing."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "slow")
    now = [0.0]

    class Frozen(LandDocument):
        async def put(self, text: str, *, tag: str | None) -> None:
            await super().put(text, tag=tag)
            now[0] += FRESH_S + 0.1
            await moved(land, {"ap": 100}, "newer")

    turns = land.turns
    with pytest.raises(StaleGeneration, match="run newer"):
        await Patient(SPEC, LandDial(land), Frozen(land), clock=lambda: now[0]).write(change)
    assert (land.turns - turns, land.weights["ap"]) == (1, 100)


async def test_reading_while_a_write_is_on_its_way_is_no_alarm() -> None:
    """Who reads between document and dial looks again before he says that they differ."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    change = change_from(await writer(land).read(), {"us": 100}, "run-1")
    looks: list[Routing] = []

    class Read(LandDial):
        async def turn(self, targets: Targets) -> None:
            reader = FencedDial(SPEC, LandDial(land), LandDocument(land))
            reading = asyncio.create_task(reader.read())
            await asyncio.sleep(0)
            await super().turn(targets)
            looks.append(await reading)

    await Patient(SPEC, Read(land), LandDocument(land)).write(change)
    assert [look.answer for look in looks] == [change.answer]


async def test_a_document_whose_shares_were_edited_leaves_the_dial_alone() -> None:
    """Clients are served by the dial: an edit of the document alone moves nothing, and the next write mends it."""
    land = Sleepless()
    await moved(land, {"eu": 100}, "adopt")
    fence, _ = land.says
    repeated = replace(change_from(Routing(None, 0), {"eu": 100}, "adopt"), was=Answer("shares", ("eu=100",)))
    land.text, land.version = page(fence, Answer("shares", ("us=100",))), land.version + 1
    with pytest.raises(ChangedOutside, match="a document in memory says us=100 where generation 1 left eu=100"):
        await writer(land).write(repeated)
    assert (await writer(land).read()).answer == Answer("shares", ("eu=100",))
    await moved(land, {"us": 100}, "run-1")
    assert land.says[1] == land.answer == Answer("shares", ("us=100",))


def test_what_a_document_says_in_whole_numbers_is_brought_to_percents() -> None:
    """A person may write 1 and 3; what is no count is refused."""
    assert weighed({"eu": 1, "us": 3}) == Answer("shares", ("eu=25", "us=75"))
    for wrong in ({"eu": True}, {"eu": "100"}, {"eu": None}, None, 3):
        with pytest.raises(ValueError, match="whole numbers"):
            weighed(wrong)
