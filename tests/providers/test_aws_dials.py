"""What is special to dials at AWS, beside the contract: what else an action says, the order of dials, updates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Answer, SteeringSpec
from providers import registry
from providers.aws.accelerator import HOME, TrafficDials
from providers.aws.catalog_workloads import WORKLOAD_ENTRIES
from providers.aws.elb import ListenerWeights
from providers.aws.sagemaker import VariantWeights
from providers.base import NotFound, Refused, Transient
from providers.fenced import Dial
from real.aws_places import AwsDial, DialsPlace, ListenerPlace, RulePlace, VariantsPlace
from real.place import change
from real.saboteur import Mischief, Reply

OIDC: dict[str, Any] = {
    "Type": "authenticate-oidc",
    "Order": 1,
    "AuthenticateOidcConfig": {
        "Issuer": "https://login.example",
        "AuthorizationEndpoint": "https://login.example/authorize",
        "TokenEndpoint": "https://login.example/token",
        "UserInfoEndpoint": "https://login.example/userinfo",
        "ClientId": "chat",
        "ClientSecret": "hidden",
        "Scope": "openid",
        "SessionTimeout": 3600,
    },
}


async def opened(place: AwsDial) -> AsyncIterator[Any]:
    try:
        await place.open()  # type: ignore[attr-defined]
        yield place
    finally:
        await asyncio.to_thread(place.close)


@pytest.fixture(params=[ListenerPlace, RulePlace])
async def elb(request: pytest.FixtureRequest) -> AsyncIterator[ListenerPlace]:
    async for place in opened(request.param()):
        yield place


@pytest.fixture
async def dials() -> AsyncIterator[DialsPlace]:
    async for place in opened(DialsPlace()):
        yield place


@pytest.fixture
async def variants() -> AsyncIterator[VariantsPlace]:
    async for place in opened(VariantsPlace(looks=1000)):
        yield place


async def adopted(place: AwsDial, eu: int = 100, us: int = 0) -> Routing:
    """How it is steered, under our fence."""
    steering = place.steering()
    return await steering.write(change(place, await steering.read(), eu, us, run="adopt", step="adopt"))  # type: ignore[arg-type]


# Elastic Load Balancing


async def test_what_else_an_action_says_is_kept(elb: ListenerPlace) -> None:
    """Sign-on before it, stickiness, order: only weights are changed."""
    elb.put([OIDC, *elb.actions(100, 0)])
    before = elb.found()
    await elb.steering().write(change(elb, await adopted(elb), 30, 70))
    assert await elb_weights(elb) == [30, 70]
    after = elb.found()
    for actions in (before, after):
        actions[0]["AuthenticateOidcConfig"].pop("UseExistingClientSecret", None)
        for group in actions[1]["ForwardConfig"]["TargetGroups"]:
            group.pop("Weight")
    assert after == before


async def elb_weights(elb: ListenerPlace) -> list[int]:
    forward = next(each for each in await asyncio.to_thread(elb.found) if each["Type"] == "forward")
    return [int(each["Weight"]) for each in forward["ForwardConfig"]["TargetGroups"]]


async def test_the_secret_of_a_sign_on_is_told_to_stay(elb: ListenerPlace) -> None:
    """AWS never tells a client secret, and takes no action without one unless it is told to keep what it has."""
    elb.put([OIDC, *elb.actions(100, 0)])
    sent: list[bytes] = []
    elb.proxy.after = sent.append
    await elb.steering().write(change(elb, await adopted(elb), 0, 100))
    [body] = sent
    fields = dict(parse_qsl(body.decode()))
    word = "Actions" if elb.rule else "DefaultActions"
    assert fields[f"{word}.member.1.AuthenticateOidcConfig.UseExistingClientSecret"] == "true"


async def test_a_move_is_one_call(elb: ListenerPlace) -> None:
    """So that no moment leaves a weight between."""
    await elb.steering().write(change(elb, await adopted(elb), 0, 100))
    assert (elb.effects, await elb_weights(elb)) == (1, [0, 100])


async def test_weights_of_another_sum_stay_until_traffic_moves(elb: ListenerPlace) -> None:
    """Adopting 3 to 1 as 75 and 25 changes nothing at AWS."""
    elb.put(elb.actions(3, 1))
    assert (await adopted(elb, 75, 25)).answer == Answer(
        "shares",
        tuple(sorted(f"{elb.targets[name]}={share}" for name, share in zip(elb.targets, (75, 25), strict=True))),
    )
    assert (elb.effects, await elb_weights(elb)) == (0, [3, 1])


async def test_a_target_group_that_the_action_does_not_name_is_not_found(elb: ListenerPlace) -> None:
    """Nothing is turned, and those that could be named are."""
    with pytest.raises(NotFound, match="has no nobody; it has: tg-"):
        await ListenerWeights(elb.spec).turn((("nobody", 100),))
    assert elb.effects == 0


async def test_an_action_with_one_target_group_gives_it_all_traffic(elb: ListenerPlace) -> None:
    """In its short form, too, that knows no weights."""
    elb.put([{"Type": "forward", "TargetGroupArn": elb.groups[1]}])
    assert await ListenerWeights(elb.spec).read() == ((elb.groups[1].split("/")[1], 1),)


async def test_an_action_that_forwards_nothing_cannot_be_steered(elb: ListenerPlace) -> None:
    """A redirect is told for what it is."""
    elb.put([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}])
    with pytest.raises(Refused, match="forwards to no target group"):
        await elb.steering().read()


# Global Accelerator


async def test_who_gains_is_turned_up_before_who_loses_is_turned_down(dials: DialsPlace) -> None:
    """Clients of the dial at 0 have somewhere to go by then."""
    await dials.steering().write(change(dials, await adopted(dials), 0, 100))
    assert dials.accelerator.turns == [("us-east-1", 100.0), ("eu-west-1", 0.0)]


async def test_a_move_that_broke_off_between_two_dials_is_carried_on(dials: DialsPlace) -> None:
    """Both are up meanwhile; the repeated step turns down what is left."""
    step = change(dials, await adopted(dials), 0, 100)
    failed = Reply(500, b'{"__type": "InternalServiceErrorException"}')
    dials.proxy.mischief.append(
        Mischief(lambda _m, _p, body: b"TrafficDial" in body and b"eu-west-1" in body, 1, failed)
    )
    with pytest.raises(Transient):
        await dials.steering().write(step)
    assert dials.accelerator.dials() == {"eu-west-1": 100.0, "us-east-1": 100.0}
    assert (await dials.steering().write(step)).fence == step.fence
    assert dials.accelerator.dials() == {"eu-west-1": 0.0, "us-east-1": 100.0}


async def test_regions_that_all_take_their_nearest_clients_are_adopted_as_they_are() -> None:
    """Both dials at 100 are no halves of all traffic: adopting them turns none."""
    async for dials in opened(DialsPlace({"eu-west-1": 100.0, "us-east-1": 100.0})):
        await adopted(dials, 50, 50)
        assert dials.accelerator.turns == []


async def test_a_dial_leaves_endpoints_and_health_checks_alone(dials: DialsPlace) -> None:
    """Only what is named is changed."""
    before = [{**each, "TrafficDialPercentage": None} for each in dials.accelerator.groups]
    await dials.steering().write(change(dials, await adopted(dials), 40, 60))
    assert [{**each, "TrafficDialPercentage": None} for each in dials.accelerator.groups] == before
    assert dials.accelerator.dials() == {"eu-west-1": 40.0, "us-east-1": 60.0}


async def test_dials_are_said_when_aws_has_brought_them_everywhere(dials: DialsPlace) -> None:
    """Until then there is no answer, and why."""
    dials.accelerator.deployed = False
    [said] = await dials.steering().answers()
    assert (said.answer, said.error) == (None, "AWS is still bringing the dials to its edge")
    dials.accelerator.deployed = True
    [said] = await dials.steering().answers()
    assert said.answer == Answer("shares", ("eu-west-1=100",))


async def test_the_accelerators_api_is_asked_where_it_lives(dials: DialsPlace) -> None:
    """In us-west-2, whatever fails elsewhere; and the catalog says so."""
    heads: list[str] = []
    forward = dials.proxy.forward

    def seen(method: str, path: str, body: bytes, headers: list[tuple[str, str]]) -> Any:
        heads.extend(value for name, value in headers if name.lower() == "authorization")
        return forward(method, path, body, headers)

    dials.proxy.forward = seen  # type: ignore[method-assign]
    await TrafficDials(dials.spec).read()
    assert heads
    assert f"/{HOME}/globalaccelerator/" in heads[0]
    [entry] = [each for each in WORKLOAD_ENTRIES if each.name == "global-accelerator"]
    assert entry.planes[0].domain == f"aws/{HOME}"


def test_the_server_refuses_what_aws_would_not_know(dials_server: DialsPlace) -> None:
    """Its requests are held against the SDK's own model, so that a test that passes says something."""
    server, group = dials_server.accelerator.server, dials_server.accelerator.groups[0]["EndpointGroupArn"]
    for name, asked in (
        ("UpdateEndpointGroup", {"EndpointGroupArn": group, "TrafficDialPercentage": 101.0}),
        ("UpdateEndpointGroup", {"EndpointGroupArn": group, "Dial": 50.0}),
        ("UpdateEndpointGroup", {"TrafficDialPercentage": 50.0}),
        ("TurnDial", {"EndpointGroupArn": group}),
    ):
        assert server.answer(f"GlobalAccelerator_V20180706.{name}", json.dumps(asked).encode())[0] == 400


@pytest.fixture
async def dials_server(dials: DialsPlace) -> DialsPlace:
    return dials


# SageMaker


async def test_weights_asked_for_are_read_and_weights_served_are_answered(variants: VariantsPlace) -> None:
    """The endpoint follows in a while: convergence waits for what is served."""
    step = change(variants, await adopted(variants), 25, 75)
    written = await variants.steering().write(step)
    assert await variants.steering().read() == written
    [said] = await variants.steering().answers()
    assert said.answer == Answer("shares", ("paris=100",))
    variants.sagemaker.finish()
    [said] = await variants.steering().answers()
    assert said.answer == Answer("shares", ("ohio=75", "paris=25"))


async def test_an_endpoint_under_update_takes_the_move_when_it_is_done(variants: VariantsPlace) -> None:
    """The step is told to try again; tried again, it finds its own fence and turns the weights."""
    step = change(variants, await adopted(variants), 0, 100)
    variants.sagemaker.status = "Updating"
    with pytest.raises(Transient, match="being changed"):
        await variants.steering().write(step)
    variants.sagemaker.finish()
    assert (await variants.steering().write(step)).fence == step.fence
    assert variants.sagemaker.desired("Weight") == {"paris": 0.0, "ohio": 100.0}


async def test_weights_leave_instances_alone(variants: VariantsPlace) -> None:
    """They may be scaled in the same moment."""
    await variants.steering().write(change(variants, await adopted(variants), 0, 100))
    assert variants.sagemaker.desired("InstanceCount") == {"paris": 2, "ohio": 2}
    assert variants.sagemaker.changes == 1


async def test_weights_are_fractions_of_any_sum(variants: VariantsPlace) -> None:
    """0.7 and 0.3 are adopted as they are."""
    for variant, weight in zip(variants.sagemaker.variants, (0.7, 0.3), strict=True):
        variant["DesiredWeight"] = variant["CurrentWeight"] = weight
    routing = await adopted(variants, 30, 70)
    assert routing.answer == Answer("shares", ("ohio=70", "paris=30"))
    assert variants.sagemaker.changes == 0


@pytest.mark.parametrize(
    ("make", "dial"),
    [(ListenerPlace, ListenerWeights), (DialsPlace, TrafficDials), (VariantsPlace, VariantWeights)],
)
async def test_a_dial_that_stands_as_asked_is_not_touched(
    make: type[AwsDial], dial: Callable[[SteeringSpec], Dial]
) -> None:
    """Turned twice it is written once, though the weights have another sum."""
    async for place in opened(make()):
        eu, us = place.targets.values()
        await dial(place.spec).turn(((eu, 50), (us, 50)))
        done = place.effects
        assert done > 0
        await dial(place.spec).turn(((eu, 1), (us, 1)))
        assert place.effects == done


# Mistakes

LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/chat/50dc6c495c0c9188/f2f7dc8efc522ab2"


@pytest.mark.parametrize(
    ("provider", "options", "says"),
    [
        ("elb", {"region": "eu-west-1"}, "must name one ARN"),
        ("elb", {"region": "eu-west-1", "listener": LISTENER, "rule": LISTENER}, "must name one ARN"),
        ("elb", {"region": "eu-central-1", "listener": LISTENER}, "in eu-west-1 by its ARN"),
        ("elb", {"region": "eu-west-1", "listener": "chat"}, "'chat' is no ARN of elasticloadbalancing"),
        ("elb", {"region": "eu-west-1", "listener": LISTENER}, "keeps its fence in a document"),
        ("global-accelerator", {"listener": LISTENER}, "is no ARN of globalaccelerator"),
        ("global-accelerator", {"listener": "arn:aws:globalaccelerator::1:accelerator/a"}, "is no listener"),
        ("sagemaker-variants", {"region": "eu-west-1"}, "write options.endpoint_name"),
        ("sagemaker-variants", {"endpoint_name": "chat"}, "does not say its region"),
    ],
)
def test_a_mistake_in_the_topology_is_told_before_aws_is_asked(
    provider: str, options: dict[str, str], says: str
) -> None:
    """In one sentence, with the cure."""
    with pytest.raises(BadInput, match=says):
        registry.steering(SteeringSpec(provider, "chat.example.", "", 0, "", options=tuple(options.items())))


@pytest.mark.parametrize("entry", WORKLOAD_ENTRIES, ids=lambda each: f"{each.part}-{each.name}")
def test_what_the_catalog_names_is_there(entry: Any) -> None:
    """Each factory, and a source for where its control plane lives."""
    module, _, name = entry.factory.partition(":")
    assert callable(getattr(import_module(module), name))
    assert entry.planes[0].source.startswith("https://docs.aws.amazon.com/")
