"""The contract of capacity and draining: the same stories for each provider, against what it really speaks to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from providers.base import Forbidden, NoCapacity, NotFound, Throttled, Transient, Unauthenticated
from real.place import ScaledPlace, Trouble
from real.places import scaled
from real.stage import until

PLACES = scaled()


@pytest.fixture(params=sorted(PLACES))
async def place(request: pytest.FixtureRequest) -> AsyncIterator[ScaledPlace]:
    made = PLACES[request.param]()
    try:
        await made.open()
        yield made
    finally:
        await asyncio.to_thread(made.close)


def cannot(place: ScaledPlace, trouble: Trouble) -> None:
    if trouble in place.cannot:
        pytest.skip(f"{trouble} cannot happen at {place.handle.provider}")


async def ready(place: ScaledPlace, replicas: int) -> None:
    """Wait until so many are ready, as ``promote`` does."""
    await until(lambda: place.workload().read(), lambda now: now.ready >= replicas)


async def test_capacity_is_read_as_it_is(place: ScaledPlace) -> None:
    """Two replicas stand ready, and the limit is told where it can be known."""
    now = await place.workload().read()
    assert (now.desired, now.ready) == (2, 2)
    assert now.limit in {None, 4}


async def test_scaling_sets_a_level_and_readiness_follows(place: ScaledPlace) -> None:
    """Asked for three, three are desired at once and ready in a while."""
    asked = await place.workload().scale(3, key="run-1/promote")
    assert asked.desired == 3
    assert await place.replicas() == 3
    await ready(place, 3)


async def test_scaling_twice_by_one_key_has_its_effect_once(place: ScaledPlace) -> None:
    """Another worker that repeats the step changes nothing."""
    await place.workload().scale(3, key="run-1/promote")
    done = place.effects
    again = await place.workload().scale(3, key="run-1/promote")
    assert (again.desired, place.effects) == (3, done)


async def test_capacity_comes_down_again(place: ScaledPlace) -> None:
    """What was promoted is demoted, and the level of before is read."""
    await place.workload().scale(4, key="run-1/promote")
    await place.workload().scale(2, key="run-2/demote")
    assert await place.replicas() == 2
    assert (await place.workload().read()).desired == 2


async def test_more_than_the_limit_is_no_capacity(place: ScaledPlace) -> None:
    """What cannot be had is told at once, and nothing is changed: the runbook chooses another target."""
    if (await place.workload().read()).limit is None:
        pytest.skip(f"{place.handle.provider} knows no limit before it is asked")
    with pytest.raises(NoCapacity, match="4"):
        await place.workload().scale(9, key="run-1/promote")
    assert await place.replicas() == 2


@pytest.mark.parametrize("trouble", [Trouble.THROTTLED, Trouble.BROKEN])
async def test_scaling_that_met_trouble_is_tried_again(place: ScaledPlace, trouble: Trouble) -> None:
    """Throttled or failed, it says so; tried again it is done."""
    cannot(place, trouble)
    place.trouble(trouble)
    with pytest.raises(Throttled if trouble is Trouble.THROTTLED else Transient):
        await place.workload().scale(3, key="run-1/promote")
    assert await place.replicas() == 2
    await place.workload().scale(3, key="run-1/promote")
    assert await place.replicas() == 3


async def test_scaling_whose_answer_was_lost_has_its_effect_once(place: ScaledPlace) -> None:
    """The level is set and the answer is lost: tried again, nothing more happens."""
    cannot(place, Trouble.LATE)
    place.trouble(Trouble.LATE)
    try:
        await place.workload().scale(3, key="run-1/promote")
    except Transient:
        done = place.effects
        await place.workload().scale(3, key="run-1/promote")
        assert place.effects == done
    assert await place.replicas() == 3


@pytest.mark.parametrize(
    ("trouble", "error"),
    [(Trouble.EXPIRED, Unauthenticated), (Trouble.FORBIDDEN, Forbidden), (Trouble.AWAY, Transient)],
)
async def test_what_will_not_be_served_says_why(place: ScaledPlace, trouble: Trouble, error: type[Exception]) -> None:
    """Expired credentials, a missing permission, nobody there: the right error in one line, for reads and writes."""
    cannot(place, trouble)
    place.trouble(trouble, times=50)
    with pytest.raises(error) as told:
        await place.workload().scale(3, key="run-1/promote")
    with pytest.raises(error):
        await place.workload().read()
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500
    assert await place.replicas() == 2


async def test_something_that_is_not_there_is_not_found(place: ScaledPlace) -> None:
    """A wrong name is an error of the topology, not a reason to retry."""
    with pytest.raises(NotFound):
        await place.missing().read()
    with pytest.raises(NotFound):
        await place.missing().scale(3, key="run-1/promote")


async def test_draining_begins_twice_and_ends_twice_without_harm(place: ScaledPlace) -> None:
    """Begin and end are levels, too; what is in flight is a count or unknown."""
    if place.drain() is None:
        pytest.skip(f"{place.handle.provider} can tell nothing to drain")
    for _ in range(2):
        control = place.drain()
        assert control is not None
        await control.begin(key="run-1/drain")
    control = place.drain()
    assert control is not None
    assert (await control.in_flight() or 0) >= 0
    for _ in range(2):
        await control.end(key="run-1/drain")
    assert (await place.workload().read()).desired == 2
