"""Traffic Manager, Container Apps and Azure Machine Learning: what the contracts do not reach."""

from __future__ import annotations

import asyncio
import time
from copy import deepcopy
from dataclasses import replace

import pytest

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Routing, SteeringChange, next_lineage, shares_of
from orchestrator.core.topology import SteeringSpec
from providers import registry
from providers.azure.container_apps import ContainerAppsSteering, ContainerAppsWorkload
from providers.azure.session import Reach
from providers.azure.traffic_manager import TrafficManagerSteering
from providers.azure.txt import TxtDocument, fence_of
from providers.base import ChangedOutside, NoCapacity, NotFound, Refused, Transient
from providers.catalog import Part
from providers.fenced import Overtaken
from real.azure_places import (
    APP,
    ENDPOINT,
    FENCE,
    PROFILE,
    SCALED,
    STEERED,
    ZONE,
    AzurePlace,
    ContainerAppsPlace,
    MachineLearningPlace,
    ScaledApp,
    ScaledDeployment,
    TrafficManagerPlace,
    app,
)
from real.place import Trouble, change
from real.stage import until


def shares(now: Routing, *weighed: tuple[str, int]) -> SteeringChange:
    """A change to shares by the names that the steering itself uses."""
    weights = tuple((EndpointId(name), percent) for name, percent in weighed)
    answer = shares_of(weighed)
    return SteeringChange(now.generation, now.answer, weights, answer, "run-1", "steer", next_lineage(now.fence))


# Traffic Manager


async def test_all_weights_turn_by_one_put_that_keeps_the_rest_of_the_profile() -> None:
    """Enabling who gains and disabling who loses is one request: there is no moment with nobody."""
    place = TrafficManagerPlace()
    await place.open()
    before = deepcopy(place.arm.state.resources[PROFILE.lower()].body)
    await place.steering().write(change(place, await place.steering().read(), 30, 70))
    puts = [each for each in place.arm.seen if each.method == "PUT" and "trafficManager" in each.path]
    assert len(puts) == 1
    after = place.arm.state.resources[PROFILE.lower()].body
    assert [each["properties"]["weight"] for each in after["properties"]["endpoints"]] == [30, 70]
    for each in (before, after):
        for endpoint in each["properties"]["endpoints"]:
            endpoint["properties"] |= {"weight": 0, "endpointStatus": ""}
    assert after == before
    place.close()


async def test_no_weight_of_0_is_ever_sent() -> None:
    """Traffic Manager has weights of 1 to 1000: who gets nothing is disabled, and keeps the weight it had."""
    place = TrafficManagerPlace()
    await place.open()
    await place.steering().write(change(place, await place.steering().read(), 0, 100))
    paris, ohio = place.properties(PROFILE)["endpoints"]
    assert (paris["properties"]["endpointStatus"], paris["properties"]["weight"]) == ("Disabled", 1)
    assert (ohio["properties"]["endpointStatus"], ohio["properties"]["weight"]) == ("Enabled", 100)
    place.close()


async def test_weights_of_any_sum_read_as_percents() -> None:
    """A profile that people have set to 600 and 200 is read as 75 and 25, and adopted as that."""
    place = TrafficManagerPlace()
    await place.open()
    for each, weight in zip(place.properties(PROFILE)["endpoints"], (600, 200), strict=True):
        each["properties"] |= {"endpointStatus": "Enabled", "weight": weight}
    now = await place.steering().read()
    assert now.answer == shares_of((("paris", 75), ("ohio", 25)))
    assert (await place.steering().write(change(place, now, 75, 25))).answer == now.answer
    place.close()


async def test_a_profile_that_does_not_weigh_is_refused() -> None:
    """Weights mean nothing under another routing method: it says which one is set, and the cure."""
    place = TrafficManagerPlace()
    await place.open()
    place.properties(PROFILE)["trafficRoutingMethod"] = "Priority"
    with pytest.raises(Refused, match="routes by 'Priority'; set its routing method to Weighted"):
        await place.steering().read()
    place.close()


async def test_a_disabled_profile_is_seen_as_answering_nothing() -> None:
    """Somebody who has switched the profile off has changed what clients are given, and no write goes over that."""
    place = TrafficManagerPlace()
    await place.open()
    await place.steering().write(change(place, await place.steering().read(), 100, 0))
    step = change(place, await place.steering().read(), 0, 100)
    place.properties(PROFILE)["profileStatus"] = "Disabled"
    assert (await place.steering().read()).answer is None
    with pytest.raises(ChangedOutside, match="answers nothing"):
        await place.steering().write(step)
    place.close()


async def test_the_reply_of_the_dial_is_lost_and_the_write_ends_well() -> None:
    """The fence is written, the weights are turned, and their answer is lost: the same step ends as a success."""
    place = TrafficManagerPlace()
    await place.open()
    step = change(place, await place.steering().read(), 0, 100)
    place.arm.lose(2)
    try:
        await place.steering().write(step)
    except Transient:
        assert (await place.steering().write(step)).fence == step.fence
    assert await place.now() == {"ohio": 100}
    place.close()


async def test_a_writer_that_died_before_the_dial_is_finished_by_its_retry() -> None:
    """The fence stands and the weights do not: the same step turns them."""
    place = TrafficManagerPlace()
    await place.open()
    step = change(place, await place.steering().read(), 0, 100)
    place.arm.trouble(Trouble.BROKEN, times=1)
    place.arm.mischief[-1].matches = lambda method, path, body: method == "PUT" and "trafficManager" in path
    with pytest.raises(Transient, match="500"):
        await place.steering().write(step)
    assert await place.now() == {"paris": 100}
    assert (await place.steering().write(step)).fence == step.fence
    assert await place.now() == {"ohio": 100}
    place.close()


# The document


async def test_a_document_in_a_txt_record_set_is_compared_and_set() -> None:
    """The first put makes it, the next needs the tag that was read, and who comes late is told."""
    place = AzurePlace()
    await place.open()
    document = TxtDocument(FENCE, Reach.of({"endpoint": place.arm.url}))
    nothing = await document.read()
    assert (nothing.text, nothing.tag) == (None, None)
    await document.put('{"a": 1}\n', tag=None)
    with pytest.raises(Overtaken):
        await document.put('{"a": 2}', tag=None)
    first = await document.read()
    assert first.text == '{"a": 1}'
    await document.put('{"a": 3}', tag=first.tag)
    with pytest.raises(Overtaken):
        await document.put('{"a": 4}', tag=first.tag)
    assert (await document.read()).text == '{"a": 3}'
    place.close()


async def test_a_long_document_is_cut_and_one_too_long_is_refused() -> None:
    """Strings of 255 characters, 4096 in all, and 1024 in the national clouds: the sentence says the limit."""
    place = AzurePlace()
    await place.open()
    document = TxtDocument(FENCE, Reach.of({"endpoint": place.arm.url}))
    await document.put("x" * 4096, tag=None)
    assert (await document.read()).text == "x" * 4096
    with pytest.raises(Refused, match="4097 characters long, and Azure DNS takes 4096"):
        await document.put("x" * 4097, tag=None)
    china = TxtDocument(FENCE, Reach.of({"endpoint": place.arm.url, "cloud": "china"}))
    with pytest.raises(Refused, match="takes 1024"):
        await china.put("x" * 1025, tag=None)
    place.close()


async def test_a_document_of_a_zone_that_is_not_there_is_not_found() -> None:
    """It is the zone that is missing, and that is said, before anything is turned."""
    place = TrafficManagerPlace()
    await place.open()
    del place.arm.state.resources[ZONE.lower()]
    with pytest.raises(NotFound, match="its zone or its resource group is not there"):
        await place.steering().read()
    place.close()


async def test_a_txt_that_somebody_else_wrote_is_told() -> None:
    """Another text, or one beside ours, is no routing document."""
    place = TrafficManagerPlace()
    await place.open()
    step = change(place, await place.steering().read(), 0, 100)
    await place.steering().write(step)
    place.properties(FENCE)["TXTRecords"].append({"value": ["v=spf1 -all"]})
    with pytest.raises(BadFence, match=r"TXT _failover.chat.example.com in Azure DNS"):
        await place.steering().read()
    place.close()


def test_the_fence_may_be_kept_anywhere() -> None:
    """An id is a TXT record set, public or private; other places are those of every document; the rest is told."""
    spec = SteeringSpec("traffic-manager", "chat.example.com.", "", 30, "", options=(("fence", FENCE),))
    assert isinstance(fence_of(spec, Reach()), TxtDocument)
    private = FENCE.replace("dnsZones", "privateDnsZones")
    assert "Azure DNS" in fence_of(replace(spec, options=(("fence", private),)), Reach()).at
    elsewhere = fence_of(replace(spec, options=(("fence", "file:/tmp/fence.json"),)), Reach())
    assert not isinstance(elsewhere, TxtDocument)
    for place in (PROFILE, ZONE, "chat"):
        with pytest.raises(BadInput):
            fence_of(replace(spec, options=(("fence", place),)), Reach())


# Container Apps


async def test_a_new_level_makes_one_new_revision_that_takes_over() -> None:
    """The old revision serves until the new one is ready; a name that was given to the old one is not used again."""
    place = ScaledApp()
    place.arm.starts_s = 0.3
    await place.open()
    control = place.workload()
    asked = await control.scale(3, key="run-1/promote")
    assert (asked.desired, asked.ready) == (3, 2)
    assert (await control.read()).ready == 2
    await until(control.read, lambda now: now.ready == 3)
    old, new = place.apps.revisions[APP.lower()]
    assert new.ready_at <= time.monotonic(), "replicas of both revisions were added up"
    assert (old.active, new.active) == (False, True)
    assert new.name != "chat--first"
    await control.scale(4, key="run-2/promote")
    assert len(place.apps.revisions[APP.lower()]) == 3
    place.close()


async def test_an_app_with_several_revisions_is_not_scaled() -> None:
    """There the new revision would get no traffic: it is refused with the cure, and nothing is sent."""
    place = ContainerAppsPlace()
    await place.open()
    handle = replace(ScaledApp().handle, options=(("endpoint", place.arm.url), ("region", "westeurope")))
    control = ContainerAppsWorkload(handle)
    with pytest.raises(Refused, match="set its revision mode to Single"):
        await control.scale(3, key="run-1/promote")
    assert (await control.read()).desired == 2
    assert place.effects == 0
    place.close()


async def test_a_change_under_way_is_transient() -> None:
    """An app or a deployment that is at another change answers 409: the step tries again."""
    for place in (ScaledApp(), ScaledDeployment()):
        place.arm.takes_s = 5.0
        await place.open()
        await place.workload().scale(3, key="run-1/promote")
        with pytest.raises(Transient, match="at another change of the same thing"):
            await place.workload().scale(4, key="run-2/promote")
        assert (await place.workload().scale(3, key="run-1/promote")).desired == 3
        place.close()


async def test_an_app_that_wakes_for_a_request_is_never_said_to_be_gone() -> None:
    """With 0 replicas left it still serves, so a fence is not confirmed by that; stopped, or deaf, it is gone."""
    place = ScaledApp()
    await place.open()
    await place.workload().scale(0, key="run-1/fence")
    await until(place.workload().read, lambda now: (now.desired, now.ready) == (0, 1))
    place.properties(APP)["configuration"]["ingress"] = None
    place.properties(APP)["template"]["scale"]["rules"] = []
    assert (await place.workload().read()).ready == 0
    place.close()
    place = ScaledApp()
    await place.open()
    place.properties(APP)["runningStatus"] = "Stopped"
    now = await place.workload().read()
    assert (now.desired, now.ready) == (0, 0)
    with pytest.raises(Refused, match="az containerapp start"):
        await place.workload().scale(2, key="run-2/promote")
    place.close()


async def test_an_app_without_a_maximum_may_have_ten() -> None:
    """What Azure takes where nothing is said is the limit that is told."""
    place = ScaledApp()
    await place.open()
    del place.properties(APP)["template"]["scale"]["maxReplicas"]
    assert (await place.workload().read()).limit == 10
    place.close()


async def test_revisions_are_steered_by_their_labels() -> None:
    """A label is a name that stays while revisions come and go; the list keeps it, and who never had traffic is out."""
    place = ContainerAppsPlace()
    body = app(
        mode="Multiple",
        traffic=(
            {"revisionName": "chat--1", "weight": 100, "label": "blue"},
            {"revisionName": "chat--2", "weight": 0, "label": "green"},
        ),
    )
    place.apps.open(place.arm, APP, body, "chat--1", "chat--2", "chat--3")
    await place.open()
    steering = place.steering()
    now = await steering.read()
    assert now.answer == shares_of((("blue", 100),))
    await steering.write(shares(now, ("blue", 40), ("green", 60)))
    traffic = place.properties(APP)["configuration"]["ingress"]["traffic"]
    assert traffic == [
        {"revisionName": "chat--1", "weight": 40, "label": "blue"},
        {"revisionName": "chat--2", "weight": 60, "label": "green"},
    ]
    place.close()


async def test_traffic_that_follows_the_newest_revision_is_called_latest() -> None:
    """It is moved off like any other, and the entry stays."""
    place = ContainerAppsPlace()
    body = app(mode="Multiple", traffic=({"latestRevision": True, "weight": 100},))
    place.apps.open(place.arm, APP, body, "chat--blue", "chat--green")
    await place.open()
    now = await place.steering().read()
    assert now.answer == shares_of((("latest", 100),))
    await place.steering().write(shares(now, ("chat--blue", 100)))
    assert traffic_of(place) == {"latest": 0, "chat--blue": 100}
    place.close()


def traffic_of(place: ContainerAppsPlace) -> dict[str, int]:
    entries = place.properties(APP)["configuration"]["ingress"]["traffic"]
    return {each.get("revisionName", "latest"): each["weight"] for each in entries}


@pytest.mark.parametrize(
    ("ingress", "mode", "text"),
    [(None, "Multiple", "has no ingress"), ({"traffic": []}, "Single", "set its revision mode to Multiple")],
)
async def test_an_app_whose_traffic_cannot_be_spread_is_refused(ingress: object, mode: str, text: str) -> None:
    """Without ingress, or with one active revision at a time, there is nothing to steer."""
    place = ContainerAppsPlace()
    await place.open()
    place.properties(APP)["configuration"] = {"activeRevisionsMode": mode, "ingress": ingress}
    with pytest.raises(Refused, match=text):
        await ContainerAppsSteering(place.spec).read()
    place.close()


async def test_a_revision_that_was_deactivated_takes_no_traffic() -> None:
    """It is not among the targets, and a write that names it stops before the fence is written."""
    place = ContainerAppsPlace()
    await place.open()
    place.apps.revisions[APP.lower()][1].active = False
    with pytest.raises(NotFound, match="chat--green"):
        await place.steering().write(change(place, await place.steering().read(), 0, 100))
    assert FENCE.lower() not in place.arm.state.resources
    place.close()


async def test_a_change_of_traffic_that_takes_long_is_found_done_by_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The attempt that waited in vain says that it goes on; tried again, it is known for done."""
    monkeypatch.setattr("providers.azure.container_apps.TURN_S", 0.2)
    place = ContainerAppsPlace()
    place.arm.takes_s = 0.6
    await place.open()
    step = change(place, await place.steering().read(), 0, 100)
    with pytest.raises(Transient, match="it goes on, look again"):
        await place.steering().write(step)
    assert (await place.steering().write(step)).fence == step.fence
    assert await place.now() == {"chat--green": 100}
    place.close()


# Azure Machine Learning


async def test_an_endpoint_is_put_as_it_was_but_for_its_traffic() -> None:
    """What the service adds (state, addresses, ids of identities) is not sent back; what was given is."""
    place = MachineLearningPlace()
    await place.open()
    await place.steering().write(change(place, await place.steering().read(), 10, 90))
    body = place.arm.state.resources[ENDPOINT.lower()].body
    assert body["properties"]["traffic"] == {"blue": 10, "green": 90}
    assert body["properties"]["authMode"] == "Key"
    assert body["identity"]["type"] == "UserAssigned"
    assert list(body["identity"]["userAssignedIdentities"].values()) == [{}]
    place.close()


async def test_a_change_of_traffic_that_fails_afterwards_says_why() -> None:
    """The service takes the endpoint and fails at it: what it says is told, in our words."""
    place = MachineLearningPlace()
    await place.open()
    place.arm.fails_next = {"code": "InferencingClientFailed", "message": "The deployment green is not healthy."}
    with pytest.raises(Refused, match=r"InferencingClientFailed\): The deployment green is not healthy"):
        await place.steering().write(change(place, await place.steering().read(), 0, 100))
    place.close()


async def test_a_quota_that_is_used_up_is_no_capacity() -> None:
    """The quota is named, so that the runbook can choose another target and people know what to ask for."""
    place = ScaledDeployment()
    await place.open()
    with pytest.raises(NoCapacity, match="Standard_NC24ads_A100_v4"):
        await place.workload().scale(30, key="run-1/promote")
    assert await place.replicas() == 2
    place.close()


async def test_a_deployment_keeps_one_instance() -> None:
    """Azure Machine Learning scales none to 0: it says so before anything is sent."""
    place = ScaledDeployment()
    await place.open()
    with pytest.raises(Refused, match="standby: 1"):
        await place.workload().scale(0, key="run-1/demote")
    assert place.effects == 0
    place.close()


# The catalog


@pytest.mark.parametrize("part", [Part.STEERING, Part.WORKLOAD, Part.DRAIN])
async def test_the_catalog_makes_each_of_them_by_its_name(part: Part) -> None:
    """Every entry's factory takes what the places give it."""
    mine = {entry.name for entry in registry.entries(part) if entry.factory.startswith("providers.azure")}
    dials = {"azure-dns", "traffic-manager"} if part is Part.STEERING else set()
    assert mine == {"container-apps", "azure-ml"} | dials
    if part is Part.STEERING:
        assert isinstance(registry.steering(TrafficManagerPlace().spec), TrafficManagerSteering)
    elif part is Part.WORKLOAD:
        assert isinstance(registry.workload(ScaledApp().handle), ContainerAppsWorkload)
    else:
        assert await registry.drain(ScaledApp().handle).in_flight() is None


@pytest.mark.parametrize("name", [*STEERED, *SCALED])
def test_the_catalog_knows_every_option(name: str) -> None:
    """What the places give is declared, and what is required is given: the topology's check and the code agree."""
    given = {
        part: dict((made.spec if part is Part.STEERING else made.handle).options).keys()  # type: ignore[union-attr]
        for part, places in ((Part.STEERING, STEERED), (Part.WORKLOAD, SCALED))
        if name in places and (made := places[name]())
    }
    for part, options in given.items():
        declared = registry.entry(part, name).options
        assert options <= {option.name for option in declared}
        assert options >= {option.name for option in declared if option.required}


async def test_requests_in_flight_are_counted_by_the_model_server() -> None:
    """With the option metrics a drain waits for the server's own count; where that is silent, for nothing."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nvllm:num_requests_running 3\n")
        writer.close()

    server = await asyncio.start_server(page, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    handle = ScaledApp().handle
    assert await registry.drain(replace(handle, options=(*handle.options, ("metrics", url)))).in_flight() == 3
    server.close()
    assert await registry.drain(replace(handle, options=(*handle.options, ("metrics", url)))).in_flight() is None


async def test_races_of_a_fence_leave_the_dial_as_the_winner_says() -> None:
    """Four writers at once over sockets: one wins each generation, and the weights are its own."""
    place = TrafficManagerPlace()
    await place.open()
    for turn in range(3):
        now = await place.steering().read()
        to = (0, 100) if turn % 2 == 0 else (100, 0)
        steps = [change(place, now, *to, run=f"{who}-{turn}") for who in "abcd"]
        outcomes = await asyncio.gather(*(place.steering().write(step) for step in steps), return_exceptions=True)
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1, outcomes
    assert (await place.steering().read()).generation == 3
    place.close()
