"""What is special to Cloud Run: etags, masks, tags, what is accepted and what is carried out, and instances."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from google.cloud.run_v2.types import ServiceScaling, TrafficTarget

from orchestrator.core.steering import encode
from orchestrator.core.topology import Answer
from providers.base import (
    Capacity,
    ChangedOutside,
    NoCapacity,
    NotFound,
    Refused,
    StaleGeneration,
    Transient,
)
from providers.gcp.drain import ManagedDrain
from providers.gcp.run_steering import FENCE, CloudRunSteering
from providers.gcp.run_workload import CloudRunWorkload
from real.gcp_places import RunSteeringPlace, RunWorkloadPlace
from real.place import EU, US, Trouble, change
from wire.google_run import BY_NAME, LATEST

EU_REVISION, US_REVISION = "chat-00001-eu", "chat-00002-us"


@pytest.fixture
async def place() -> AsyncIterator[RunSteeringPlace]:
    made = RunSteeringPlace()
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


@pytest.fixture
async def scaled() -> AsyncIterator[RunWorkloadPlace]:
    made = RunWorkloadPlace()
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


def between(place: RunSteeringPlace | RunWorkloadPlace, act: Callable[[], None]) -> None:
    """Have *act* done after a writer has read and before its update arrives."""
    left = [act]

    def meet(method: str) -> None:
        if method == "UpdateService" and left:
            left.pop()()

    place.run.meets = meet


def edited(place: RunSteeringPlace, **shares: int) -> None:
    with place.run.console(place.path) as service:
        service.traffic = [TrafficTarget(type_=BY_NAME, revision=name, percent=share) for name, share in shares.items()]


async def adopted(place: RunSteeringPlace) -> None:
    await place.steering().write(change(place, await place.steering().read(), 100, 0, run="adopt"))


async def test_one_update_sets_the_split_and_the_fence_and_nothing_else(place: RunSteeringPlace) -> None:
    """It names its two fields and the etag as read: the template is left alone, so no revision is made."""
    with place.run.console(place.path) as service:
        service.annotations["team"] = "inference"
    etag = place.run.services[place.path].etag
    await adopted(place)
    update = place.run.updates[-1]
    assert sorted(update.update_mask.paths) == ["annotations", "traffic"]
    assert update.service.etag == etag
    stands = place.run.services[place.path]
    assert dict(stands.annotations) == {"team": "inference", FENCE: "v=1 gen=1 run=adopt step=steer w=eu:100,us:0"}
    assert stands.template.revision == US_REVISION


async def test_a_tag_keeps_its_address(place: RunSteeringPlace) -> None:
    """Whoever tests a revision by its tag still can; a tag of the latest revision, too."""
    with place.run.console(place.path) as service:
        service.traffic = [
            TrafficTarget(type_=BY_NAME, revision=EU_REVISION, percent=100),
            TrafficTarget(type_=BY_NAME, revision=US_REVISION, tag="canary"),
            TrafficTarget(type_=LATEST, tag="next"),
        ]
    await adopted(place)
    await place.steering().write(change(place, await place.steering().read(), 90, 10))
    split = place.run.services[place.path].traffic
    assert [(each.revision, each.tag, each.percent) for each in split] == [
        (US_REVISION, "canary", 10),
        ("", "next", 0),
        (EU_REVISION, "", 90),
    ]
    assert (await place.steering().read()).answer == Answer("shares", (f"{EU_REVISION}=90", f"{US_REVISION}=10"))


@pytest.mark.parametrize("split", [[], [TrafficTarget(type_=LATEST, percent=100)]], ids=["no split", "the latest"])
async def test_the_latest_revision_is_adopted_by_its_name(place: RunSteeringPlace, split: list[TrafficTarget]) -> None:
    """Traffic to "the latest" is told as the revision that this is now, and stays there when another is deployed."""
    with place.run.console(place.path) as service:
        service.traffic = split
    now = await place.steering().read()
    assert now.answer == Answer("shares", (f"{US_REVISION}=100",))
    await place.steering().write(change(place, now, 0, 100, run="adopt"))
    with place.run.console(place.path) as service:
        service.latest_ready_revision = f"{place.path}/revisions/chat-00003-new"
    assert await place.now() == {US_REVISION: 100}


async def test_an_etag_that_changed_without_an_edit_is_no_rival(place: RunSteeringPlace) -> None:
    """Cloud Run makes a new one when it has carried something out: the update is sent again, and lands."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100)
    between(place, lambda: edited(place, **{EU_REVISION: 100}))
    written = await place.steering().write(move)
    assert (written.generation, await place.now()) == (2, {US_REVISION: 100})
    assert place.run.seen.count("UpdateService") == 3


async def test_an_edit_just_before_the_update_stops_it(place: RunSteeringPlace) -> None:
    """Between the look and the write, a person's split is not overwritten: the etag no longer fits."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100)
    between(place, lambda: edited(place, **{EU_REVISION: 70, US_REVISION: 30}))
    with pytest.raises(ChangedOutside, match=f"{EU_REVISION}=70, {US_REVISION}=30"):
        await place.steering().write(move)
    assert await place.now() == {EU_REVISION: 70, US_REVISION: 30}


async def test_a_rival_just_before_the_update_wins(place: RunSteeringPlace) -> None:
    """The loser is told who was first."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100, run="late")

    def rival() -> None:
        with place.run.console(place.path) as service:
            service.annotations[FENCE] = encode(replace(move, run="rival").fence)

    between(place, rival)
    with pytest.raises(StaleGeneration, match="run rival, step steer wrote generation 2"):
        await place.steering().write(move)
    assert await place.now() == {EU_REVISION: 100}


async def test_an_update_whose_answer_was_lost_is_known_for_ours_at_once(place: RunSteeringPlace) -> None:
    """The fence that stands is this write's own: no other try is needed."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100)
    place.trouble(Trouble.LATE)
    assert (await place.steering().write(move)).fence == move.fence
    assert place.run.seen.count("UpdateService") == 2


async def test_a_fence_of_another_history_is_refused(place: RunSteeringPlace) -> None:
    """The same generation by another writer, after the service was made anew, is not ours to replace."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100)
    with place.run.console(place.path) as service:
        service.annotations[FENCE] = encode(replace(move, expects=0, run="other", lineage=()).fence)
    with pytest.raises(StaleGeneration, match="of another history"):
        await place.steering().write(move)


async def test_a_service_that_never_holds_still_is_given_up(place: RunSteeringPlace) -> None:
    """Its etag changes before every update: the step is told to try again."""
    await adopted(place)
    move = change(place, await place.steering().read(), 0, 100)
    place.run.meets = lambda method: edited(place, **{EU_REVISION: 100}) if method == "UpdateService" else None
    with pytest.raises(Transient, match="changes faster"):
        await place.steering().write(move)


async def test_a_revision_that_is_not_there_is_told_before_anything_is_sent(place: RunSteeringPlace) -> None:
    """Cloud Run would accept the split, and fail to carry it out: clients would stay, and nobody be told."""
    await adopted(place)
    sent = len(place.run.updates)
    place.targets = {EU: EU_REVISION, US: "chat-00009-gone"}
    with pytest.raises(NotFound, match=r"service chat in europe-west1 has no revision chat-00009-gone"):
        await place.steering().write(change(place, await place.steering().read(), 0, 100))
    assert len(place.run.updates) == sent


async def test_what_is_accepted_is_told_as_served_when_it_is_carried_out(place: RunSteeringPlace) -> None:
    """The write returns when it is accepted; answers tell what clients get, so that converge waits."""
    await adopted(place)
    place.run.slow = True
    written = await place.steering().write(change(place, await place.steering().read(), 0, 100))
    assert written.generation == 2
    assert [each.answer for each in await place.steering().answers()] == [Answer("shares", (f"{EU_REVISION}=100",))]
    place.run.settle()
    assert [each.answer for each in await place.steering().answers()] == [Answer("shares", (f"{US_REVISION}=100",))]


async def test_an_annotation_of_somebody_else_is_not_overwritten(place: RunSteeringPlace) -> None:
    """What no write of ours left stops the write."""
    move = change(place, await place.steering().read(), 100, 0)
    with place.run.console(place.path) as service:
        service.annotations[FENCE] = "mine"
    with pytest.raises(ChangedOutside, match="wrote there by hand"):
        await place.steering().write(move)


async def test_a_server_that_hangs_is_given_up_within_the_deadline() -> None:
    """It takes connections and says nothing: the call ends by its own deadline, not by TCP's."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = (("endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}"), ("project", "acme"), ("region", "r1"))
        workload = CloudRunWorkload(replace(RunWorkloadPlace.HANDLE, options=options))
        with pytest.raises(Transient):
            await workload.scale(3, key="run-1/promote")


async def test_scaling_sets_the_service_and_makes_no_revision(scaled: RunWorkloadPlace) -> None:
    """The minimum of the whole service is set, by its etag, and nothing beside it."""
    await scaled.workload().scale(3, key="run-1/promote")
    await scaled.workload().scale(3, key="run-1/promote")
    assert len(scaled.run.updates) == 1, "a level that stands is not set again"
    update = scaled.run.updates[-1]
    assert list(update.update_mask.paths) == ["scaling.min_instance_count"]
    assert update.service.etag
    assert scaled.run.services[scaled.path].template.revision == US_REVISION


async def test_instances_are_ready_when_they_are_carried_out(scaled: RunWorkloadPlace) -> None:
    """What is accepted is wanted and not yet ready."""
    scaled.run.slow = True
    assert await scaled.workload().scale(3, key="run-1/promote") == Capacity(3, 0, 4)
    assert await scaled.workload().read() == Capacity(3, 0, 4)
    scaled.run.settle()
    assert await scaled.workload().read() == Capacity(3, 3, 4)


async def test_the_word_of_before_is_not_taken_for_ready(scaled: RunWorkloadPlace) -> None:
    """Just after an update the service may still say that it is done: with what was wanted before."""
    scaled.run.slow = True
    await scaled.workload().scale(3, key="run-1/promote")
    service = scaled.run.services[scaled.path]
    state = type(service.terminal_condition).State
    service.reconciling, service.terminal_condition.state = False, state.CONDITION_SUCCEEDED
    assert (await scaled.workload().read()).ready == 0
    service.reconciling, service.observed_generation = True, service.generation
    assert (await scaled.workload().read()).ready == 0
    service.reconciling = False
    assert (await scaled.workload().read()).ready == 3


async def test_a_service_that_scales_by_itself_is_never_told_as_gone(scaled: RunWorkloadPlace) -> None:
    """With a minimum of 0 it still starts an instance for a request: it cannot be fenced off so."""
    await scaled.workload().scale(0, key="run-1/fence")
    assert await scaled.workload().read() == Capacity(0, 1, 4)


async def test_a_service_of_manual_scaling_is_gone_at_0_once_it_is_carried_out(scaled: RunWorkloadPlace) -> None:
    """Zero instances by hand take it out of service; while that is under way it may still serve."""
    with scaled.run.console(scaled.path) as service:
        service.scaling = ServiceScaling(scaling_mode=ServiceScaling.ScalingMode.MANUAL, manual_instance_count=2)
    assert await scaled.workload().read() == Capacity(2, 2, None)
    scaled.run.slow = True
    await scaled.workload().scale(0, key="run-1/fence")
    assert list(scaled.run.updates[-1].update_mask.paths) == ["scaling.manual_instance_count"]
    assert await scaled.workload().read() == Capacity(0, 1, None)
    scaled.run.settle()
    assert await scaled.workload().read() == Capacity(0, 0, None)


async def test_a_quota_is_named(scaled: RunWorkloadPlace) -> None:
    """Cloud Run tells it as an invalid argument: it is no room, and which quota."""
    with scaled.run.console(scaled.path) as service:
        service.template.scaling.max_instance_count = 100
    with pytest.raises(NoCapacity, match=r"CpuAllocPerProjectRegion \(20000 of 10000\)"):
        await scaled.workload().scale(20, key="run-1/promote")
    assert await scaled.replicas() == 2


async def test_a_quota_that_is_found_too_small_later_is_told_by_the_read(scaled: RunWorkloadPlace) -> None:
    """Cloud Run accepted the level and could not carry it out: whoever waits for it need not wait on."""
    with scaled.run.console(scaled.path) as service:
        service.scaling.min_instance_count = 3
    condition = scaled.run.services[scaled.path].terminal_condition
    condition.state = type(condition).State.CONDITION_FAILED
    assert await scaled.workload().read() == Capacity(3, 0, 4)
    condition.message = "Quota violated:\nGpuAllocPerProjectRegion requested: 3 allowed: 2"
    with pytest.raises(NoCapacity, match=r"GpuAllocPerProjectRegion \(3 of 2\)"):
        await scaled.workload().read()


async def test_a_minimum_of_the_revisions_is_told(scaled: RunWorkloadPlace) -> None:
    """It would keep instances whatever the service's minimum says."""
    with scaled.run.console(scaled.path) as service:
        service.template.scaling.min_instance_count = 2
        service.scaling.min_instance_count = 0
    assert (await scaled.workload().read()).desired == 2
    with pytest.raises(Refused, match="keep 2 instances of their own"):
        await scaled.workload().scale(1, key="run-1/demote")


async def test_an_update_of_somebody_else_is_not_lost_to_a_scaling(scaled: RunWorkloadPlace) -> None:
    """A maximum lowered in the same moment is seen, and holds."""

    def lower() -> None:
        with scaled.run.console(scaled.path) as service:
            service.template.scaling.max_instance_count = 2

    between(scaled, lower)
    with pytest.raises(NoCapacity, match="at most 2 instances"):
        await scaled.workload().scale(3, key="run-1/promote")


async def test_draining_counts_only_where_the_server_tells(scaled: RunWorkloadPlace) -> None:
    """Cloud Run counts nothing in flight: without the option metrics nobody can tell."""
    drain = ManagedDrain(scaled.handle)
    await drain.begin(key="run-1/drain")
    assert await drain.in_flight() is None
    await drain.end(key="run-1/drain")


async def test_the_options_say_which_service() -> None:
    """A specification without them is a mistake of the topology, told by name."""
    spec = RunSteeringPlace.spec_of(())
    with pytest.raises(Exception, match="needs the option project"):
        CloudRunSteering(spec)
