"""The steps' activities against a real name server: what they do to the world, and do only once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Service
from providers.probes import Probes
from real.stage import endpoint
from real.steering import NAME, BindWorld
from workflows.activities.steps import Steps

EU, US = EndpointId("eu"), EndpointId("us")


@pytest.fixture
async def world() -> AsyncIterator[BindWorld]:
    bind = BindWorld()
    await bind.open()
    yield bind
    bind.close()


def service(world: BindWorld) -> Service:
    """eu and us as the world answers for them."""
    eu = replace(endpoint("eu", "alpha/paris", "127.0.1.10"), answer=world.home)
    us = replace(endpoint("us", "beta/ohio", "127.0.2.10"), answer=world.away)
    return Service(ServiceId("chat"), NAME.rstrip("."), (eu, us), world.spec)


async def adopt(chat: Service, run: str) -> Routing:
    return await ActivityEnvironment().run(Steps(Probes()).adopt, chat, run)


async def test_adopt_takes_the_record_and_leaves_the_answer(world: BindWorld) -> None:
    """The fence stands afterwards with the weights that the answer means; clients see no change."""
    before = await world.now()
    routing = await adopt(service(world), "adopt-1")
    assert await world.now() == before
    assert routing.fence is not None
    assert (routing.generation, routing.fence.weights) == (1, ((EU, 100), (US, 0)))


async def test_adopting_twice_changes_nothing(world: BindWorld) -> None:
    """What is under the fence already stays as it is."""
    first = await adopt(service(world), "adopt-1")
    assert await adopt(service(world), "adopt-2") == first


async def test_adopt_after_a_hand_edit_takes_what_it_says_now(world: BindWorld) -> None:
    """A person's edit is kept: adopting it is a new generation with the edit's own weights."""
    chat = service(world)
    await adopt(chat, "adopt-1")
    await world.edit("AAAA")
    await world.edit("A", *world.away.values)
    routing = await adopt(chat, "adopt-2")
    assert await world.now() == world.away
    assert routing.fence is not None
    assert (routing.generation, routing.fence.weights) == (2, ((EU, 0), (US, 100)))
    assert routing.fence.lineage == ((1, "adopt-1/adopt"),)


async def test_an_answer_that_nobody_explains_is_not_adopted(world: BindWorld) -> None:
    """An address of no endpoint is refused with the address and the cure, and nothing is written."""
    await world.edit("AAAA")
    await world.edit("A", "127.9.9.9")
    with pytest.raises(ApplicationError, match=r"answers 127\.9\.9\.9, which no endpoint of 'chat' explains"):
        await adopt(service(world), "adopt-1")
    assert (await world.steering().read()).fence is None


async def test_a_service_without_steering_has_nothing_to_adopt(world: BindWorld) -> None:
    """It says so, as a refusal that no retry would change."""
    with pytest.raises(ApplicationError, match="no steering") as caught:
        await adopt(replace(service(world), steering=None), "adopt-1")
    assert caught.value.non_retryable
