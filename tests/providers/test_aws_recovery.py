"""What is special to the ways without Route 53's control plane: a cluster of five endpoints, and a switch in S3."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Routing, SteeringChange, next_lineage, shares_of
from orchestrator.core.topology import Answer, SteeringSpec
from providers.aws.recovery_arc import ArcSteering
from providers.aws.recovery_switch import SwitchSteering
from providers.aws.session import client
from providers.base import NotFound, Refused, Transient
from providers.documents.s3 import S3Document
from providers.documents.settings import Settings
from real.moto import fresh, moto_url
from real.place import Trouble
from real.route53_places import ArcPlace, SwitchPlace
from real.saboteur import Mischief
from wire import s3
from wire.arc import Cluster


@pytest.fixture
async def arc() -> AsyncIterator[ArcPlace]:
    made = ArcPlace()
    await made.open()
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
async def switch() -> AsyncIterator[SwitchPlace]:
    made = SwitchPlace()
    await made.open()
    yield made
    await asyncio.to_thread(made.close)


def turned(routing: Routing, run: str = "run-1", **percents: int) -> SteeringChange:
    """The change from *routing* to these percents by target."""
    answer = shares_of(tuple(percents.items()))
    weights = tuple(sorted((EndpointId(name), percent) for name, percent in percents.items()))
    lineage = next_lineage(routing.fence)
    return SteeringChange(routing.generation, routing.answer, weights, answer, run, "steer", lineage)


def states(cluster: Cluster) -> dict[str, bool]:
    return {each.name: each.on for each in cluster.controls.values()}


def varied(spec: SteeringSpec, **options: str) -> SteeringSpec:
    return replace(spec, options=tuple(sorted((dict(spec.options) | options).items())))


async def test_three_of_five_endpoints_suffice(arc: ArcPlace) -> None:
    """Two are away: whichever of the others answers reads and switches."""
    for each in arc.cluster.endpoints[1:3]:
        each.leave()
    for turn in range(4):
        steering = arc.steering()
        to = {"eu": 0, "us": 100} if turn % 2 == 0 else {"eu": 100, "us": 0}
        await steering.write(turned(await steering.read(), f"run-{turn}", **to))
        assert states(arc.cluster) == {name: percent > 0 for name, percent in to.items()}


async def test_an_endpoint_that_hangs_costs_less_than_a_second(arc: ArcPlace) -> None:
    """An endpoint takes the connection and says nothing: the next one is asked beside it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        alive = dict(arc.spec.options)["endpoints"].split()[0]
        spec = varied(arc.spec, endpoints=f"eu-west-2=http://127.0.0.1:{silent.getsockname()[1]} {alive}")
        for _ in range(4):  # each begins at an endpoint of its own choosing
            steering = ArcSteering(spec)
            begun = time.perf_counter()
            assert (await steering.read()).answer == Answer("shares", ("eu=100",))
            assert time.perf_counter() - begun < 2.5
        routing = await steering.read()
        begun = time.perf_counter()
        await steering.write(turned(routing, eu=0, us=100))
        assert time.perf_counter() - begun < 4


async def test_all_endpoints_away_says_so_once(arc: ArcPlace) -> None:
    """The error counts the endpoints and says what the last one did."""
    arc.trouble(Trouble.AWAY)
    with pytest.raises(Transient, match=r"none of the 5 endpoints .* gave no answer"):
        await arc.steering().read()


async def test_a_safety_rule_stops_the_switch_and_the_step_can_be_tried_again(arc: ArcPlace) -> None:
    """ARC refuses the transaction whole; once a person has changed the rule, the same step lands."""
    steering = arc.steering()
    step = turned(await steering.read(), eu=0, us=100)
    arc.cluster.at_least = 2
    with pytest.raises(Refused, match=r"safety rule .* chat-rule: at least 2 must be On.* try this step again"):
        await steering.write(step)
    assert states(arc.cluster) == {"eu": True, "us": False}
    arc.cluster.at_least = 1
    written = await arc.steering().write(step)
    assert (written.fence, states(arc.cluster)) == (step.fence, {"eu": False, "us": True})


async def test_uneven_shares_are_refused_before_anything_is_written(arc: ArcPlace) -> None:
    """A control is on or off: 95 and 5 cannot be said."""
    steering = arc.steering()
    with pytest.raises(Refused, match="on or off"):
        await steering.write(turned(await steering.read(), eu=95, us=5))
    assert (await steering.read()).fence is None


async def test_the_odd_percent_of_three_is_whose_the_plan_says() -> None:
    """34, 33 and 33 come back as they were written, whoever has the 34: they are not taken for a hand edit."""
    place = ArcPlace()
    place.cluster = Cluster(ap=False, eu=True, us=False)
    place.spec = place.at(dict(place.spec.options)["control_panel"])
    await place.open()
    try:
        steering = place.steering()
        written = await steering.write(turned(await steering.read(), ap=33, eu=33, us=34))
        assert await place.steering().read() == written
        assert {each.answer for each in await place.steering().answers()} == {written.answer}
        # The fence lands and the controls do not: the next try finishes it, and nobody is told of a hand edit.
        away = turned(written, "run-2", us=100)
        place.trouble(Trouble.BROKEN)
        with pytest.raises(Transient):
            await place.steering().write(away)
        assert all(states(place.cluster).values())
        await place.steering().write(away)
        assert states(place.cluster) == {"ap": False, "eu": False, "us": True}
    finally:
        await asyncio.to_thread(place.close)


async def test_a_control_that_is_not_there_is_told_with_those_that_are(arc: ArcPlace) -> None:
    """A misspelt target stops the write before the fence."""
    steering = arc.steering()
    with pytest.raises(NotFound, match=r"asia.*eu, us"):
        await steering.write(turned(await steering.read(), asia=100))
    assert (await steering.read()).fence is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"control_panel": "chat"}, "no ARN"),
        ({"endpoints": ""}, r"options\.endpoints"),
        ({"endpoints": "https://one.example"}, "us-east-1=https"),
        ({"fence": ""}, r"options\.fence"),
    ],
)
def test_a_steering_by_controls_says_what_it_lacks(options: dict[str, str], told: str) -> None:
    """Each missing option is named, with how to write it."""
    place = ArcPlace()
    with pytest.raises(BadInput, match=told):
        ArcSteering(varied(place.spec, **options))
    place.close()


def failing_put(switch: SwitchPlace) -> Mischief:
    """The next put of the switch fails; that of the fence does not."""

    def meant(method: str, path: str, _body: bytes) -> bool:
        return method == "PUT" and path.endswith(switch.KEY)

    return Mischief(meant, 1, s3.error(500, "InternalError", "We encountered an internal error. Please try again."))


async def test_a_failover_pair_sends_clients_to_one(switch: SwitchPlace) -> None:
    """Traffic for both cannot be said, and is refused before anything is written."""
    steering = switch.steering()
    with pytest.raises(Refused, match="one of two"):
        await steering.write(turned(await steering.read(), eu=50, us=50))
    assert switch.objects == {}


async def test_an_object_of_a_longer_name_is_not_the_switch(switch: SwitchPlace) -> None:
    """``primary-off.bak`` switches nothing."""
    switch.objects[f"{switch.KEY}.bak"] = b""
    assert (await switch.steering().read()).answer == Answer("shares", ("eu=100",))


async def test_a_switch_stopped_half_way_is_finished_by_the_next_try(switch: SwitchPlace) -> None:
    """The fence is written, the object is not: the same step carries on, and nobody is told of a hand edit."""
    steering = switch.steering()
    step = turned(await steering.read(), eu=0, us=100)
    switch.server.mischief.append(failing_put(switch))
    with pytest.raises(Transient):
        await steering.write(step)
    assert sorted(switch.objects) == ["routing.json"]
    await switch.steering().write(step)
    assert sorted(switch.objects) == ["primary-off", "routing.json"]


@pytest.mark.parametrize("missing", ["switch", "primary", "secondary", "region"])
def test_a_switch_says_what_it_lacks(missing: str) -> None:
    """Each missing option is named."""
    place = SwitchPlace()
    with pytest.raises(BadInput, match=missing):
        SwitchSteering(varied(place.spec, **{missing: ""}))
    place.close()


async def test_moto_sees_the_same_switch_and_fence() -> None:
    """A second opinion on S3: adopt, move and back, by a server that somebody else wrote."""
    bucket = fresh("standby")
    sdk = client("s3", region="us-east-1", endpoint=moto_url())
    await asyncio.to_thread(lambda: sdk.create_bucket(Bucket=bucket))
    place = SwitchPlace()
    given = {"endpoint": moto_url(), "fence_endpoint": moto_url(), "region": "us-east-1"}
    steering = SwitchSteering(varied(place.at(bucket), **given))
    for turn, to in enumerate(({"eu": 100}, {"us": 100}, {"eu": 100})):
        written = await steering.write(turned(await steering.read(), f"run-{turn}", **to))
        assert await steering.read() == written
    assert (await steering.read()).generation == 3
    fence = S3Document(f"s3://{bucket}/routing.json", Settings("us-east-1", endpoint=moto_url()), "the fence")
    assert "gen=3" in ((await fence.read()).text or "")
    place.close()
