"""What is special to Envoy: fence and shares in one file, what each Envoy says of it, and streams under a move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import shares_of
from orchestrator.core.topology import Answer, Workload
from providers.base import ChangedOutside, NoCapacity, NotFound, Refused, StaleGeneration, Steering, Transient
from providers.onprem.envoy import EnvoySteering
from providers.onprem.envoy_locality import EnvoyDrain, EnvoyWorkload
from real.envoy import CLUSTER, Envoy
from real.onprem_places import EnvoyPlace
from real.place import EU, US, change
from real.ports import free_port
from real.stage import until
from real.streams import Upstream, stream

CLIENTS = 100
PARIS, OHIO = "aws/paris", "aws/ohio"


@pytest.fixture
async def place() -> AsyncIterator[EnvoyPlace]:
    made = EnvoyPlace()
    try:
        await made.open()
        yield made
    finally:
        made.close()


def handle(proxy: Envoy, target: str = f"{CLUSTER}/{PARIS}", *, file: bool = True) -> Workload:
    options = {"admin": proxy.at} | ({"file": str(proxy.file)} if file else {})
    return Workload("envoy", target, options=tuple(sorted(options.items())))


async def to_ohio(place: EnvoyPlace, steering: Steering) -> None:
    await steering.write(change(place, await steering.read(), 0, 100))


async def converged(steering: Steering, *values: str) -> None:
    """Wait until every Envoy says so, as the step does."""
    await until(steering.answers, lambda said: {each.answer for each in said} == {Answer("shares", values)})


def groups(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The localities of a file of endpoints, by name."""
    found = document["resources"][0]["endpoints"]
    return {"/".join(each["locality"].values()): each for each in found}


@pytest.mark.parametrize("routes", [False, True], ids=["endpoints", "routes"])
async def test_a_planned_move_under_streams_cuts_none(routes: bool) -> None:
    """A hundred streams that began before the move end whole; who asks after it is served by the target."""
    async with AsyncExitStack() as stack:
        paris, ohio = [await stack.enter_async_context(Upstream(name)) for name in ("paris", "ohio")]
        place = EnvoyPlace(routes=routes, places={PARIS: paris.at, OHIO: ohio.at})
        stack.callback(place.close)
        await place.open()
        steering = place.steering()
        drain = EnvoyDrain(handle(place.proxy, PARIS if routes else f"{CLUSTER}/{PARIS}", file=False))
        streams = [asyncio.create_task(stream(place.proxy.url)) for _ in range(CLIENTS)]
        await paris.serving(CLIENTS)
        await to_ohio(place, steering)
        await converged(steering, f"{OHIO}=100")
        late = await asyncio.gather(*(stream(place.proxy.url, tokens=1) for _ in range(20)))
        await drain.begin(key="run-1/drain")
        counted = await drain.in_flight()
        told = await asyncio.gather(*streams)
        await until(drain.in_flight, lambda left: left == 0)
    assert {each.server for each in late} == {"ohio"}
    assert counted == CLIENTS
    assert [each.whole for each in told].count(False) == 0
    assert {each.server for each in told} == {"paris"}


async def test_each_envoy_says_which_generation_it_follows(place: EnvoyPlace) -> None:
    """The fence is the file's version: Envoy's own statistic tells who moved it, and when."""
    await to_ohio(place, place.steering())
    await place.proxy.caught_up()
    assert place.proxy.version() == "v=1 gen=1 run=run-1 step=steer w=eu:0,us:100"


async def test_an_envoy_that_is_away_stops_no_move_and_follows_the_file_when_it_is_back(place: EnvoyPlace) -> None:
    """The file keeps what was decided: a restarted Envoy begins with it."""
    place.proxy.kill()
    steering = place.steering()
    await to_ohio(place, steering)
    (away,) = await steering.answers()
    assert (away.server, away.answer) == (place.proxy.at, None)
    assert "is Envoy running?" in (away.error or "")
    place.proxy.start()
    assert place.proxy.weights() == {OHIO: 100}


async def test_a_cluster_that_spreads_evenly_whatever_the_file_says_is_refused() -> None:
    """Envoy ignores the weights of localities unless it is told not to: said before anything is written."""
    place = EnvoyPlace()
    place.proxy.weighs = False
    try:
        await place.open()
        before = place.proxy.file.read_text()
        with pytest.raises(Refused, match="locality_weighted_lb_config"):
            await to_ohio(place, place.steering())
        (said,) = await place.steering().answers()
        assert (said.answer, place.proxy.file.read_text()) == (None, before)
    finally:
        place.close()


async def test_without_an_admin_interface_the_file_is_all_that_is_known(place: EnvoyPlace) -> None:
    """The answer is then the file's, and is called so."""
    steering = EnvoySteering(place.specified(place.proxy.file, admin=""))
    (said,) = await steering.answers()
    assert (said.server, said.answer) == (f"file {place.proxy.file}", shares_of(((PARIS, 100),)))


async def test_what_the_file_says_beside_shares_is_kept(place: EnvoyPlace) -> None:
    """Weights of endpoints inside a locality, policies, localities of lower priority: nothing of it is lost."""
    document = place.proxy.document()
    resource = document["resources"][0]
    resource["policy"] = {"overprovisioning_factor": 100}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 11}}
    spare = {"locality": {"region": "spare"}, "priority": 1, "lb_endpoints": [{"endpoint": {"address": address}}]}
    spare["load_balancing_weight"] = 50
    resource["endpoints"].append(spare)
    groups(document)[OHIO]["lb_endpoints"][0]["load_balancing_weight"] = 7
    place.proxy.replace(document)
    await to_ohio(place, place.steering())
    after = place.proxy.document()["resources"][0]
    assert after["policy"] == {"overprovisioning_factor": 100}
    assert after["endpoints"][2] == spare
    assert groups(place.proxy.document())[OHIO]["lb_endpoints"][0]["load_balancing_weight"] == 7
    assert (await place.steering().read()).answer == shares_of(((OHIO, 100),))


async def test_a_hand_that_takes_the_fence_out_is_told(place: EnvoyPlace) -> None:
    """A file with a version of its own is under no fence any more: a plan from before stops."""
    steering = place.steering()
    await to_ohio(place, steering)
    plan = change(place, await steering.read(), 100, 0, run="run-2")
    place.proxy.move({OHIO: 100}, version="7")
    with pytest.raises(StaleGeneration, match=r"is gone.*adopt"):
        await steering.write(plan)
    place.proxy.move({OHIO: 100}, version="v=1 and nothing else")
    with pytest.raises(ChangedOutside, match="by hand"):
        await steering.write(plan)
    with pytest.raises(BadFence):
        await steering.read()


async def test_a_locality_without_weight_is_drained_by_that(place: EnvoyPlace) -> None:
    """After a move the file is left as it is: nothing new comes where no weight is."""
    await to_ohio(place, place.steering())
    before = place.proxy.file.read_text()
    await EnvoyDrain(handle(place.proxy)).begin(key="run-1/drain")
    assert place.proxy.file.read_text() == before


async def test_a_region_that_is_unhealthy_gets_nothing_back_after_the_move() -> None:
    """Envoy that finds most endpoints unhealthy keeps to the weights: the failed region stays without traffic."""
    async with AsyncExitStack() as stack:
        paris, more, ohio = [await stack.enter_async_context(Upstream(name)) for name in ("paris", "paris", "ohio")]
        place = EnvoyPlace(places={PARIS: f"{paris.at}, {more.at}", OHIO: ohio.at})
        stack.callback(place.close)
        await place.open()
        document = place.proxy.document()
        for end in groups(document)[PARIS]["lb_endpoints"]:
            end["health_status"] = "UNHEALTHY"
        place.proxy.replace(document)
        await to_ohio(place, place.steering())
        await converged(place.steering(), f"{OHIO}=100")
        told = [await stream(place.proxy.url, tokens=1) for _ in range(20)]
    assert {each.server for each in told} == {"ohio"}


async def test_an_envoy_that_would_panic_is_not_adopted_and_moved_nonetheless() -> None:
    """That weights are disregarded in an outage is said when there is time to mend it, and stops no move later."""
    place = EnvoyPlace()
    place.proxy.panics = True
    try:
        await place.open()
        steering = place.steering()
        with pytest.raises(Refused, match="healthy_panic_threshold"):
            await steering.write(change(place, await steering.read(), 100, 0, run="adopt", step="adopt"))
        place.proxy.move({PARIS: 100}, version="v=1 gen=1 run=adopt step=adopt w=eu:100,us:0")
        await to_ohio(place, steering)
        assert await place.now() == {OHIO: 100}
    finally:
        place.close()


async def test_endpoints_with_a_weight_are_marked_and_unmarked(place: EnvoyPlace) -> None:
    """A drain where something else steers is Envoy's own mark; what a person marked stays; a share takes it off."""
    drain = EnvoyDrain(handle(place.proxy))
    for _ in range(2):
        await drain.begin(key="run-1/drain")
    assert groups(place.proxy.document())[PARIS]["lb_endpoints"][0]["health_status"] == "DRAINING"
    assert "health_status" not in groups(place.proxy.document())[OHIO]["lb_endpoints"][0]
    for _ in range(2):
        await drain.end(key="run-1/drain")
    assert "health_status" not in groups(place.proxy.document())[PARIS]["lb_endpoints"][0]
    await drain.begin(key="run-2/drain")
    steering = place.steering()
    await steering.write(change(place, await steering.read(), 100, 0))
    assert "health_status" not in groups(place.proxy.document())[PARIS]["lb_endpoints"][0]
    document = place.proxy.document()
    groups(document)[OHIO]["lb_endpoints"][0]["health_status"] = "UNHEALTHY"
    place.proxy.replace(document)
    with pytest.raises(Refused, match=f"no endpoint of {OHIO} may take traffic"):
        await to_ohio(place, steering)
    assert place.proxy.document() == document


async def test_a_locality_is_kept_out_and_let_in_again() -> None:
    """Fencing keeps endpoints from serving whatever they do themselves; promoting lets them in, and lifts a drain."""
    async with AsyncExitStack() as stack:
        paris, ohio = [await stack.enter_async_context(Upstream(name)) for name in ("paris", "ohio")]
        place = EnvoyPlace(places={PARIS: f"{paris.at}, 127.0.0.1:11", OHIO: ohio.at})
        stack.callback(place.close)
        await place.open()
        work = EnvoyWorkload(handle(place.proxy))
        assert (await work.read()).ready == 1
        assert (await work.scale(0, key="run-1/fence")).desired == 0
        gone = await until(work.read, lambda now: now.ready == 0)
        assert (gone.desired, gone.limit) == (0, 1)
        # Its weight stands. Envoy then gives traffic to those without weight that are well.
        assert (await stream(place.proxy.url, tokens=1)).server == "ohio"
        assert (await work.scale(1, key="run-2/promote")).desired == 1
        await until(work.read, lambda now: now.ready == 1)
        await EnvoyDrain(handle(place.proxy)).begin(key="run-3/drain")
        await until(work.read, lambda now: now.ready == 0)
        await work.scale(1, key="run-4/promote")
        await until(work.read, lambda now: now.ready == 1)
        with pytest.raises(NoCapacity, match="serving: 1"):
            await work.scale(2, key="run-5/promote")
        place.proxy.kill()
        with pytest.raises(Transient, match="is Envoy running"):
            await work.scale(0, key="run-6/fence")
        assert {each["health_status"] for each in groups(place.proxy.document())[PARIS]["lb_endpoints"]} == {
            "UNHEALTHY"
        }


async def test_one_endpoint_that_a_person_took_out_stays_out(place: EnvoyPlace) -> None:
    """Letting a locality in changes nothing while some of its endpoints serve."""
    document = place.proxy.document()
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 11}}
    groups(document)[PARIS]["lb_endpoints"].append({"endpoint": {"address": address}, "health_status": "UNHEALTHY"})
    place.proxy.replace(document)
    await EnvoyWorkload(handle(place.proxy)).scale(1, key="run-1/promote")
    assert place.proxy.document() == document


async def test_what_is_not_there_is_named_with_what_is(place: EnvoyPlace) -> None:
    """Wrong names of a target, a locality, a cluster: told before anything is written."""
    steering, before = place.steering(), place.proxy.document()
    routing = await steering.read()
    place.targets = {EU: PARIS, US: "aws/ohyo"}
    with pytest.raises(NotFound, match=f"'aws/ohyo' .* there are: {OHIO}, {PARIS}"):
        await steering.write(change(place, routing, 0, 100))
    with pytest.raises(NotFound, match="aws/rome"):
        await EnvoyDrain(handle(place.proxy, f"{CLUSTER}/aws/rome")).begin(key="run-1/drain")
    with pytest.raises(NotFound, match="no cluster for 'rome'"):
        await EnvoyDrain(handle(place.proxy, "rome")).in_flight()
    assert place.proxy.document() == before


async def test_an_address_in_two_localities_is_refused() -> None:
    """Envoy keeps only one of two equal addresses: traffic for the other would find nobody."""
    place = EnvoyPlace(places={PARIS: "127.0.0.1:9", OHIO: "127.0.0.1:9"})
    try:
        with pytest.raises(Refused, match="twice"):
            await to_ohio(place, place.steering())
    finally:
        place.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("resources: []", "no discovery file in JSON"),
        ("[]", "no discovery file in JSON"),
        ('{"resources": []}', "must hold one ClusterLoadAssignment"),
    ],
)
async def test_a_file_of_another_kind_is_refused(text: str, says: str) -> None:
    """What is no discovery file of one service is told with the cure."""
    place = EnvoyPlace()
    try:
        place.proxy.file.write_text(text)
        with pytest.raises(Refused, match=says):
            await place.steering().read()
        (said,) = await place.steering().answers()
        assert said.answer is None
    finally:
        place.close()


async def test_only_the_routes_of_a_name_are_steered() -> None:
    """With a name, other routes of the file keep their weights; a name that no route has is told."""
    place = EnvoyPlace(routes=True)
    try:
        document = place.proxy.document()
        routes = document["resources"][0]["virtual_hosts"][0]["routes"]
        other = [{"name": PARIS, "weight": 30}, {"name": OHIO, "weight": 70}]
        routes[0]["name"] = "mine"
        routes.append(
            {"name": "theirs", "match": {"prefix": "/x"}, "route": {"weighted_clusters": {"clusters": other}}}
        )
        place.proxy.replace(document)
        steering = EnvoySteering(place.specified(place.proxy.file, route="mine", admin=""))
        await to_ohio(place, steering)
        routes = place.proxy.document()["resources"][0]["virtual_hosts"][0]["routes"]
        assert [each["weight"] for each in routes[0]["route"]["weighted_clusters"]["clusters"]] == [0, 100]
        assert routes[1]["route"]["weighted_clusters"]["clusters"] == other
        with pytest.raises(Refused, match="no route 'nobodys'"):
            await EnvoySteering(place.specified(place.proxy.file, route="nobodys")).read()
    finally:
        place.close()


async def test_a_cluster_whose_name_has_a_slash_is_no_locality_of_another() -> None:
    """What is in flight is counted at the cluster of the whole name, where there is one."""
    async with AsyncExitStack() as stack:
        ohio = await stack.enter_async_context(Upstream("ohio"))
        place = EnvoyPlace(routes=True, places={OHIO: ohio.at, "aws": "127.0.0.1:9"})
        stack.callback(place.close)
        await place.open()
        streaming = asyncio.create_task(stream(place.proxy.url, tokens=10))
        await ohio.serving(1)
        counted = [await EnvoyDrain(handle(place.proxy, target, file=False)).in_flight() for target in (OHIO, "aws")]
        assert (await streaming).whole
    assert counted == [1, 0]


async def test_of_two_envoys_that_one_answers_is_enough_to_count() -> None:
    """What is in flight is summed over those that answer."""
    place = EnvoyPlace()
    try:
        await place.open()
        admins = f"http://127.0.0.1:{free_port()}, {place.proxy.at}"
        assert await EnvoyDrain(Workload("envoy", CLUSTER, options=(("admin", admins),))).in_flight() == 0
    finally:
        place.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "where the file is"),
        ({"file": "chat.json"}, "where the file is"),
        ({"file": "/chat.json", "kind": "listeners"}, "endpoints or routes"),
        ({"file": "/chat.json", "admin": "127.0.0.1:9901"}, "write http://127.0.0.1:9901"),
    ],
)
def test_options_that_say_nothing_are_bad_input(options: dict[str, str], says: str) -> None:
    """What is missing or odd is said before anything is asked."""
    place = EnvoyPlace()
    place.close()
    with pytest.raises(BadInput, match=says):
        EnvoySteering(replace(place.spec, options=tuple(options.items())))
    with pytest.raises(BadInput, match="admin"):
        EnvoyDrain(Workload("envoy", CLUSTER))
