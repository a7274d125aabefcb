"""What is special to Vertex AI: the description that bears the fence, etags, and replicas of a deployed model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import encode
from orchestrator.core.topology import Answer
from providers.base import Capacity, ChangedOutside, NoCapacity, NotFound, Refused, StaleGeneration, Transient
from providers.gcp.vertex import VertexWorkload
from real.gcp_places import VertexSteeringPlace, VertexWorkloadPlace
from real.place import EU, US, change


@pytest.fixture
async def place() -> AsyncIterator[VertexSteeringPlace]:
    made = VertexSteeringPlace()
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


@pytest.fixture
async def scaled() -> AsyncIterator[VertexWorkloadPlace]:
    made = VertexWorkloadPlace()
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


def between(place: VertexSteeringPlace, act: Callable[[], None]) -> None:
    """Have *act* done after a writer has read and before its update arrives."""
    left = [act]

    def meet(method: str, _: str) -> None:
        if method == "PATCH" and left:
            left.pop()()

    place.vertex.meets = meet


async def adopted(place: VertexSteeringPlace) -> None:
    await place.steering().write(change(place, await place.steering().read(), 100, 0, run="adopt"))


async def test_the_description_of_people_stays_beside_the_fence(place: VertexSteeringPlace) -> None:
    """One update sets split and description by the etag; every line of somebody else is kept, before and after ours."""
    place.vertex.console(place.path, description="Chat in Europe.\nAsk the inference team.")
    etag = place.vertex.endpoints[place.path]["etag"]
    await adopted(place)
    assert place.vertex.bodies[-1]["etag"] == etag
    text = place.vertex.endpoints[place.path]["description"]
    fence = "failover/fence: v=1 gen=1 run=adopt step=steer w=eu:100,us:0"
    assert text == f"Chat in Europe.\nAsk the inference team.\n{fence}"
    place.vertex.console(place.path, description=f"{text}\nMoved to Ohio on Friday.")
    await place.steering().write(change(place, await place.steering().read(), 0, 100))
    lines = place.vertex.endpoints[place.path]["description"].splitlines()
    assert lines[:3] == ["Chat in Europe.", "Ask the inference team.", "Moved to Ohio on Friday."]
    assert (len(lines), (await place.steering().read()).generation) == (4, 2)


async def test_an_edit_just_before_the_update_stops_it(place: VertexSteeringPlace) -> None:
    """Between the look and the write, a person's split is not overwritten: the etag no longer fits."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100)
    between(place, lambda: place.vertex.console(place.path, trafficSplit={"1001": 70, "1002": 30}))
    with pytest.raises(ChangedOutside, match="1001=70, 1002=30"):
        await place.steering().write(move)
    assert await place.now() == {"1001": 70, "1002": 30}


async def test_a_rival_just_before_the_update_wins(place: VertexSteeringPlace) -> None:
    """The loser is told who was first."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100, run="late")
    text = f"failover/fence: {encode(replace(move, run='rival').fence)}"
    between(place, lambda: place.vertex.console(place.path, description=text))
    with pytest.raises(StaleGeneration, match="run rival, step steer wrote generation 2"):
        await place.steering().write(move)


async def test_a_mutation_in_the_same_moment_is_no_rival(place: VertexSteeringPlace) -> None:
    """Scaling changes the etag and nothing that is steered: the update is sent again, and lands."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100)
    between(place, lambda: place.vertex.console(place.path, labels={"team": "inference"}))
    assert (await place.steering().write(move)).generation == 2
    assert await place.now() == {"1002": 100}


async def test_a_model_that_is_not_deployed_is_told_before_anything_is_sent(place: VertexSteeringPlace) -> None:
    """A wrong target is a mistake of the topology."""
    await adopted(place)
    place.targets = {EU: "1001", US: "9999"}
    with pytest.raises(NotFound, match="has no deployed model 9999"):
        await place.steering().write(change(place, await place.steering().read(), 0, 100))
    assert len(place.vertex.bodies) == 1


async def test_two_fences_are_an_edit(place: VertexSteeringPlace) -> None:
    """A description that was copied together is told, not judged."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100)
    text = place.vertex.endpoints[place.path]["description"]
    place.vertex.console(place.path, description=f"{text}\n{text}")
    with pytest.raises(BadFence, match="holds 2 fences"):
        await place.steering().read()
    with pytest.raises(ChangedOutside, match="by hand"):
        await place.steering().write(move)


async def test_an_endpoint_without_traffic_says_so(place: VertexSteeringPlace) -> None:
    """An empty split serves nobody: there is no answer."""
    place.vertex.console(place.path, trafficSplit={})
    assert (await place.steering().read()).answer is None
    place.vertex.console(place.path, trafficSplit={"1002": 100})
    assert [each.answer for each in await place.steering().answers()] == [Answer("shares", ("1002=100",))]


async def test_replicas_are_ready_when_they_are_available(scaled: VertexWorkloadPlace) -> None:
    """Vertex AI counts them itself: what is accepted is not ready yet."""
    scaled.vertex.slow = True
    assert await scaled.workload().scale(4, key="run-1/promote") == Capacity(4, 2, 4)
    assert scaled.vertex.bodies == [
        {
            "deployedModel": {"id": "1002", "dedicatedResources": {"minReplicaCount": 4}},
            "updateMask": "dedicatedResources.minReplicaCount",
        }
    ]
    assert await scaled.workload().read() == Capacity(4, 2, 4)
    scaled.vertex.settle()
    assert await scaled.workload().read() == Capacity(4, 4, 4)


async def test_automatic_resources_are_scaled_as_well(scaled: VertexWorkloadPlace) -> None:
    """A model whose machines Vertex AI chooses has its minimum in another field."""
    model = scaled.vertex.endpoints[scaled.path]["deployedModels"][1]
    model["automaticResources"] = model.pop("dedicatedResources")
    assert (await scaled.workload().scale(3, key="run-1/promote")).desired == 3
    assert scaled.vertex.bodies[-1]["updateMask"] == "automaticResources.minReplicaCount"


async def test_a_quota_is_named(scaled: VertexWorkloadPlace) -> None:
    """Vertex AI says 429 of it, as of too many requests: it is no room, and which quota."""
    scaled.vertex.endpoints[scaled.path]["deployedModels"][1]["dedicatedResources"]["maxReplicaCount"] = 20
    with pytest.raises(NoCapacity, match="custom_model_serving_nvidia_l4_gpus"):
        await scaled.workload().scale(8, key="run-1/promote")


async def test_machines_that_are_not_to_be_had_are_told_by_the_read(scaled: VertexWorkloadPlace) -> None:
    """Vertex AI accepted the level and found no machines: whoever waits for them need not wait on."""
    scaled.vertex.slow = True
    await scaled.workload().scale(4, key="run-1/promote")
    status = scaled.vertex.endpoints[scaled.path]["deployedModels"][1]["status"]
    status["message"] = "Waiting for the container to pass its health check."
    assert (await scaled.workload().read()).ready == 2
    status["message"] = "Not enough GPUs of type NVIDIA_L4 in the region."
    with pytest.raises(NoCapacity, match="found no room: Not enough GPUs"):
        await scaled.workload().read()
    status["availableReplicaCount"] = 4
    assert (await scaled.workload().read()).ready == 4, "a word of before does not count once they are there"


async def test_nothing_is_not_to_be_had(scaled: VertexWorkloadPlace) -> None:
    """A deployed model keeps a replica: who wants none must undeploy it, and is told so before anything is sent."""
    with pytest.raises(Refused, match="at least 1 replica"):
        await scaled.workload().scale(0, key="run-1/fence")
    assert scaled.vertex.bodies == []


@pytest.mark.parametrize("answer", [(400, "FAILED_PRECONDITION", "being mutated"), (409, "ABORTED", "conflict")])
async def test_another_change_under_way_is_waited_for(
    scaled: VertexWorkloadPlace, answer: tuple[int, str, str]
) -> None:
    """The step is told to try again."""
    scaled.vertex.meets = lambda method, _: answer if method == "POST" else None
    with pytest.raises(Transient, match="under way, try again"):
        await scaled.workload().scale(3, key="run-1/promote")


async def test_a_target_without_a_model_is_a_mistake(scaled: VertexWorkloadPlace) -> None:
    """An endpoint alone says not which of its models is scaled."""
    with pytest.raises(BadInput, match="is no endpoint/model"):
        VertexWorkload(replace(scaled.handle, target="77"))
