"""The contract of a steering that weighs: the same stories for each, against what it really speaks to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestrator.core.steering import Fence, SteeringChange, shares_in
from orchestrator.core.topology import Answer, Shares
from providers.base import (
    ChangedOutside,
    Forbidden,
    NotFound,
    Refused,
    StaleGeneration,
    Throttled,
    Transient,
    Unauthenticated,
)
from real.place import EU, US, SteeredPlace, Trouble, change, weights
from real.places import steered

PLACES = steered()


@pytest.fixture(params=sorted(PLACES))
async def place(request: pytest.FixtureRequest) -> AsyncIterator[SteeredPlace]:
    made = PLACES[request.param]()
    try:
        await made.open()
        yield made
    finally:
        await asyncio.to_thread(made.close)


async def adopt(place: SteeredPlace) -> Fence:
    """Put the name under the fence, as it is."""
    steering = place.steering()
    written = await steering.write(change(place, await steering.read(), 100, 0, run="adopt", step="adopt"))
    assert written.fence is not None
    return written.fence


async def move(place: SteeredPlace, eu: int, us: int, *, run: str = "run-1") -> SteeringChange:
    """The change that moves traffic from how it is read now."""
    return change(place, await place.steering().read(), eu, us, run=run)


async def percents(place: SteeredPlace) -> dict[str, int]:
    """What clients are given, by endpoint."""
    now = await place.now()
    return {name: now.get(target, 0) for name, target in place.targets.items()}


def cannot(place: SteeredPlace, trouble: Trouble) -> None:
    if trouble in place.cannot:
        pytest.skip(f"{trouble} cannot happen at {place.spec.provider}")


async def test_adopting_puts_the_fence_up_and_leaves_the_shares_as_they_were(place: SteeredPlace) -> None:
    """Adopting changes nothing that a client can see, and what is read afterwards says who did it."""
    before = await place.steering().read()
    assert before.fence is None
    assert before.answer == Answer("shares", (f"{place.targets[EU]}=100",))
    await adopt(place)
    assert await percents(place) == {EU: 100, US: 0}
    after = await place.steering().read()
    assert (after.answer, after.fence) == (before.answer, Fence(1, "adopt", "adopt", weights(100, 0)))


async def test_a_write_moves_the_shares_and_the_fence_together(place: SteeredPlace) -> None:
    """All traffic goes over, and the fence says who did it and when before."""
    await adopt(place)
    step = await move(place, 0, 100)
    written = await place.steering().write(step)
    assert await percents(place) == {EU: 0, US: 100}
    assert written.fence == Fence(2, "run-1", "steer", weights(0, 100), ((1, "adopt/adopt"),))
    assert await place.steering().read() == written


async def test_a_share_in_percent_is_what_clients_get(place: SteeredPlace) -> None:
    """A canary's 5 percent is written, read back and stands as 5 percent."""
    if place.spec.shares is not Shares.WEIGHTED:
        pytest.skip(f"{place.spec.provider} does not weigh")
    await adopt(place)
    written = await place.steering().write(await move(place, 95, 5))
    assert await percents(place) == {EU: 95, US: 5}
    assert written.answer is not None
    assert dict(shares_in(written.answer)) == {place.targets[EU]: 95, place.targets[US]: 5}
    assert await place.steering().read() == written


async def test_a_stale_writer_is_refused_and_told_who_is_ahead(place: SteeredPlace) -> None:
    """A plan made before somebody else's write is refused, and the refusal names that writer."""
    await adopt(place)
    late = await move(place, 100, 0, run="second")
    await place.steering().write(await move(place, 0, 100, run="first"))
    with pytest.raises(StaleGeneration, match=r"run first, step steer wrote generation 2") as refused:
        await place.steering().write(late)
    assert "expected generation 1" in str(refused.value)
    assert await percents(place) == {EU: 0, US: 100}


async def test_repeating_a_write_that_landed_is_success_and_does_nothing(place: SteeredPlace) -> None:
    """The same write sent again by another worker answers the same and changes nothing."""
    await adopt(place)
    step = await move(place, 0, 100)
    first = await place.steering().write(step)
    done = place.effects
    assert await place.steering().write(step) == first
    assert place.effects == done


async def test_a_write_that_was_overtaken_halts(place: SteeredPlace) -> None:
    """A retry of a write that landed and was then followed by another is told so."""
    await adopt(place)
    step = await move(place, 0, 100, run="overtaken")
    await place.steering().write(step)
    await place.steering().write(await move(place, 100, 0, run="newer"))
    with pytest.raises(StaleGeneration, match=r"run newer, .* generation 3 .* after this write had landed"):
        await place.steering().write(step)
    assert await percents(place) == {EU: 100, US: 0}


async def test_a_hand_edit_between_read_and_write_is_not_overwritten(place: SteeredPlace) -> None:
    """A person's edit after the plan was made stops the write, which says what it found."""
    await adopt(place)
    step = await move(place, 100, 0)
    await place.by_hand({place.targets[US]: 100})
    with pytest.raises(ChangedOutside, match="changed outside"):
        await place.steering().write(step)
    assert await percents(place) == {EU: 0, US: 100}
    assert (await place.steering().read()).generation == 1


async def test_a_hand_edit_after_our_write_is_told_when_the_write_is_repeated(place: SteeredPlace) -> None:
    """A landed write whose shares were edited since is not taken for success, and not repeated over the edit."""
    if place.spec.shares is not Shares.WEIGHTED:
        pytest.skip(f"{place.spec.provider} has no third way to be edited to")
    await adopt(place)
    step = await move(place, 0, 100)
    await place.steering().write(step)
    await place.by_hand({place.targets[EU]: 40, place.targets[US]: 60})
    with pytest.raises(ChangedOutside, match="changed outside"):
        await place.steering().write(step)
    assert await percents(place) == {EU: 40, US: 60}


@pytest.mark.parametrize("trouble", [Trouble.THROTTLED, Trouble.BROKEN])
async def test_a_write_that_met_trouble_changes_nothing_and_lands_when_repeated(
    place: SteeredPlace, trouble: Trouble
) -> None:
    """Throttled or failed, the step is told to try again; tried again, it lands once."""
    cannot(place, trouble)
    await adopt(place)
    step = await move(place, 0, 100)
    place.trouble(trouble)
    with pytest.raises(Throttled if trouble is Trouble.THROTTLED else Transient):
        await place.steering().write(step)
    assert await percents(place) == {EU: 100, US: 0}
    written = await place.steering().write(step)
    assert (written.generation, await percents(place)) == (2, {EU: 0, US: 100})


async def test_a_write_whose_answer_was_lost_has_its_effect_once(place: SteeredPlace) -> None:
    """The effect is there and the answer is not: at once, or tried again, it is known for one's own."""
    cannot(place, Trouble.LATE)
    await adopt(place)
    step = await move(place, 0, 100)
    place.trouble(Trouble.LATE)
    try:
        written = await place.steering().write(step)
    except Transient:
        written = await place.steering().write(step)
    assert written.fence == step.fence
    assert await percents(place) == {EU: 0, US: 100}
    done = place.effects
    assert await place.steering().write(step) == written
    assert place.effects == done


@pytest.mark.parametrize(
    ("trouble", "error"),
    [(Trouble.EXPIRED, Unauthenticated), (Trouble.FORBIDDEN, Forbidden), (Trouble.AWAY, Transient)],
)
async def test_what_will_not_be_served_says_why_and_changes_nothing(
    place: SteeredPlace, trouble: Trouble, error: type[Exception]
) -> None:
    """Expired credentials, a missing permission, nobody there: the right error in one line, nothing half done."""
    cannot(place, trouble)
    await adopt(place)
    step = await move(place, 0, 100)
    place.trouble(trouble, times=50)
    with pytest.raises(error) as told:
        await place.steering().write(step)
    with pytest.raises(error):
        await place.steering().read()
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500
    assert await percents(place) == {EU: 100, US: 0}


async def test_something_that_is_not_there_is_not_found(place: SteeredPlace) -> None:
    """A wrong name is an error of the topology, not a reason to retry."""
    with pytest.raises(NotFound):
        await place.missing().read()


async def test_two_writers_race_and_exactly_one_wins_each_generation(place: SteeredPlace) -> None:
    """Races for one generation after another: one winner each, and the shares are the winner's."""
    await adopt(place)
    for turn in range(4):
        to = (0, 100) if turn % 2 == 0 else (100, 0)
        steps = [await move(place, *to, run=f"{who}-{turn}") for who in ("a", "b")]
        outcomes = await asyncio.gather(*(place.steering().write(step) for step in steps), return_exceptions=True)
        # Who loses to a write on its way may be told to try again; then it is told who was ahead.
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Transient):
                outcomes[index] = (await asyncio.gather(place.steering().write(steps[index]), return_exceptions=True))[
                    0
                ]
        won = [step for step, outcome in zip(steps, outcomes, strict=True) if not isinstance(outcome, BaseException)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert len(won) == 1, outcomes
        assert isinstance(lost[0], StaleGeneration), lost
        now = await place.steering().read()
        assert (now.fence, now.answer) == (won[0].fence, won[0].answer)
    assert (await place.steering().read()).generation == 5


async def test_traffic_is_never_left_to_nobody(place: SteeredPlace) -> None:
    """Weights of nothing are refused before anything is sent."""
    await adopt(place)
    step = await move(place, 0, 100)
    done = place.effects
    for empty in (Answer("shares", ()), Answer("addresses", ("192.0.2.1",))):
        with pytest.raises(Refused):
            await place.steering().write(
                SteeringChange(step.expects, step.was, weights(0, 0), empty, "run-1", "steer", step.lineage)
            )
    assert (place.effects, await percents(place)) == (done, {EU: 100, US: 0})


async def test_what_clients_are_given_is_told_without_an_exception(place: SteeredPlace) -> None:
    """The answers say the shares, and silence is a finding."""
    await adopt(place)
    said = await place.steering().answers()
    assert {each.answer for each in said} == {Answer("shares", (f"{place.targets[EU]}=100",))}
    if Trouble.AWAY not in place.cannot:
        place.trouble(Trouble.AWAY, times=50)
        assert all(each.error or each.answer for each in await place.steering().answers())
