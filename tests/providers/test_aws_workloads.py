"""What is special to capacity at AWS, beside the contract: bounds, readiness, shortages, updates."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.topology import Workload
from providers import registry
from providers.aws.shortage import of_group, of_service
from providers.base import Capacity, Forbidden, NoCapacity, NotFound, Refused, Transient
from providers.catalog import Part
from real.aws import REGION, sdk, target_group
from real.aws_places import AwsWorkload, EcsPlace, GroupPlace, VariantPlace
from real.moto import fresh, moto_url
from real.place import US, Trouble
from real.saboteur import Mischief, Reply
from runbooks.plan import Promote
from workflows.activities.capacity import promote
from workflows.activities.pulse import Pulse
from workflows.wire import StepTask

NOW = datetime(2026, 3, 1, 2, 10, tzinfo=UTC)
FULL = (
    "(service chat) was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later."
)
NO_MACHINE = "(service chat) was unable to place a task because no container instance met all of its requirements."
STARTED = "(service chat) has started 1 tasks: (task 4711)."
NO_GPU = "We currently do not have sufficient p5.48xlarge capacity in the Availability Zone you requested (eu-west-1a)."


async def opened(place: AwsWorkload) -> AsyncIterator[Any]:
    try:
        await place.open()  # type: ignore[attr-defined]
        yield place
    finally:
        await asyncio.to_thread(place.close)


@pytest.fixture
async def ecs() -> AsyncIterator[EcsPlace]:
    async for place in opened(EcsPlace()):
        yield place


@pytest.fixture
async def asg() -> AsyncIterator[GroupPlace]:
    async for place in opened(GroupPlace()):
        yield place


@pytest.fixture
async def sagemaker() -> AsyncIterator[VariantPlace]:
    async for place in opened(VariantPlace(looks=1000)):
        yield place


# ECS


def scaled_between(ecs: EcsPlace) -> tuple[int, int]:
    given = ecs.scalable
    found = sdk("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="ecs", ResourceIds=[given["ResourceId"]]
    )["ScalableTargets"][0]
    return found["MinCapacity"], found["MaxCapacity"]


async def test_the_minimum_of_a_service_that_scales_by_itself_goes_along(ecs: EcsPlace) -> None:
    """Up and down: who was promoted without load yet is not scaled in, who was demoted is not put up again."""
    await ecs.workload().scale(4, key="run-1/promote")
    assert scaled_between(ecs) == (4, 4)
    await ecs.workload().scale(1, key="run-2/demote")
    assert (scaled_between(ecs), await ecs.replicas()) == ((1, 4), 1)


async def test_a_raised_minimum_comes_before_the_tasks(ecs: EcsPlace) -> None:
    """Where the second call is lost, the repeated step finds the first done, and does the second."""
    ecs.proxy.mischief.append(
        Mischief(lambda _m, _p, body: b"desiredCount" in body, 1, Reply(500, b'{"__type": "ServerException"}'))
    )
    with pytest.raises(Transient):
        await ecs.workload().scale(3, key="run-1/promote")
    assert (scaled_between(ecs), await ecs.replicas()) == ((3, 4), 2)
    await ecs.workload().scale(3, key="run-1/promote")
    assert (await ecs.replicas(), ecs.effects) == (3, 2)


async def test_a_service_that_does_not_scale_by_itself_has_no_limit_that_we_know(ecs: EcsPlace) -> None:
    """Nothing is registered on the way."""
    sdk("application-autoscaling").deregister_scalable_target(**ecs.scalable)
    assert await ecs.workload().read() == Capacity(2, 2, None)
    assert await ecs.workload().scale(9, key="run-1/promote") == Capacity(9, 9, None)
    assert ecs.effects == 1


async def test_more_than_people_allow_names_who_allows_it(ecs: EcsPlace) -> None:
    """The cure stands in the sentence."""
    with pytest.raises(NoCapacity, match=r"may have 4 by the maximum .* 5 are asked for; raise MaxCapacity"):
        await ecs.workload().scale(5, key="run-1/promote")


async def test_ready_tasks_are_no_more_than_are_healthy_behind_the_load_balancer(ecs: EcsPlace) -> None:
    """A task that runs has not loaded its model yet: the target group's health check says when."""
    ecs.group = target_group("ip")
    control = registry.workload(ecs.behind())
    assert (await control.read()).ready == 0
    for number in (1, 2, 3):
        sdk("elbv2").register_targets(TargetGroupArn=ecs.group, Targets=[{"Id": f"172.31.0.{number}", "Port": 8080}])
        assert (await control.read()).ready == min(number, 2)


def answer_of_ecs(ecs: EcsPlace, running: int, *events: tuple[float, str]) -> Mischief:
    """What ECS says of the service, with events so many seconds ago; as the next answers to whoever reads it."""
    found = sdk("ecs").describe_services(cluster=ecs.cluster, services=[ecs.service])["services"][0]
    now = datetime.now(UTC).timestamp()
    said = [{"id": str(ago), "createdAt": now - ago, "message": text} for ago, text in events]
    body = json.dumps(
        {"services": [found | {"runningCount": running, "events": said}], "failures": []},
        default=lambda each: each.timestamp(),
    )
    return Mischief(lambda _m, _p, asked: b'"services"' in asked, 50, Reply(200, body.encode()))


async def test_a_service_that_finds_no_room_says_so_while_it_is_waited_for(ecs: EcsPlace) -> None:
    """What ECS says in its events is told in its own words, and ends the wait: another place may have room."""
    ecs.proxy.mischief.append(answer_of_ecs(ecs, 1, (20, FULL), (40, STARTED)))
    with pytest.raises(NoCapacity, match=r"runs 1 of 2 tasks, and AWS says: .*Capacity is unavailable"):
        await ecs.workload().read()


async def test_a_promotion_ends_when_aws_says_that_there_is_no_room(ecs: EcsPlace) -> None:
    """Not after its whole time: the run may take another place."""

    def finds_no_room(body: bytes) -> None:
        if b"desiredCount" in body:
            ecs.proxy.mischief.append(answer_of_ecs(ecs, 2, (0, FULL)))

    ecs.proxy.after = finds_no_room
    work = Promote(US, ecs.handle, 4)
    task = StepTask(ServiceId("chat"), "chat.example", RunId("run-1"), "promote", work, timeout_s=20.0)
    with pytest.raises(NoCapacity, match="runs 2 of 4 tasks"):
        await promote(work, task, Pulse(lambda *_: None))


async def test_what_was_said_before_it_was_asked_for_more_says_nothing_of_now(ecs: EcsPlace) -> None:
    """The shortage of a minute ago may be over: who has just asked waits for newer word."""
    ecs.proxy.mischief.append(answer_of_ecs(ecs, 1, (60, FULL)))
    control = ecs.workload()
    with pytest.raises(NoCapacity):
        await control.read()
    await control.scale(2, key="run-1/promote")
    assert (await control.read()).ready == 1


@pytest.mark.parametrize(
    ("events", "grows", "short"),
    [
        ([(20, FULL)], False, True),
        ([(20, "(service chat) was unable to place a task. You've reached the limit on vCPUs.")], False, True),
        ([(20, NO_MACHINE)], False, True),
        ([(20, NO_MACHINE)], True, False),
        ([(20, FULL)], True, True),
        ([(400, FULL)], False, False),
        ([(10, STARTED), (20, FULL)], False, False),
        ([(10, FULL), (20, STARTED)], False, True),
        ([(5, "(service chat) registered 1 targets in (target-group x)"), (10, FULL)], False, True),
        ([(10, "(service chat) was unable to place a task because of a typo")], False, False),
        ([], False, False),
    ],
)
def test_the_newest_word_of_ecs_counts(events: list[tuple[int, str]], grows: bool, short: bool) -> None:
    """Old news, and what a capacity provider mends by itself, are no shortage."""
    said = [{"createdAt": NOW - timedelta(seconds=ago), "message": text} for ago, text in events]
    assert (of_service(said, NOW - timedelta(minutes=5), grows=grows) is not None) is short


async def test_a_missing_permission_is_named(ecs: EcsPlace) -> None:
    """At two in the morning nobody should have to look it up."""
    ecs.trouble(Trouble.FORBIDDEN)
    with pytest.raises(Forbidden, match="some:Action"):
        await ecs.workload().read()


async def test_a_target_that_is_being_changed_is_tried_again(ecs: EcsPlace) -> None:
    """Application Auto Scaling takes one change at a time."""
    body = b'{"__type": "ConcurrentUpdateException", "message": "busy"}'
    ecs.proxy.mischief.append(Mischief(lambda _m, _p, asked: b"MinCapacity" in asked, 1, Reply(400, body)))
    with pytest.raises(Transient, match="is changing"):
        await ecs.workload().scale(3, key="run-1/promote")


# Auto Scaling groups


async def test_desired_and_minimum_of_a_group_go_in_one_call(asg: GroupPlace) -> None:
    """So that its policies cannot come in between."""
    await asg.workload().scale(3, key="run-1/promote")
    assert (asg.found()["MinSize"], asg.found()["DesiredCapacity"], asg.effects) == (3, 3, 1)
    await asg.workload().scale(1, key="run-2/demote")
    assert (asg.found()["MinSize"], asg.found()["DesiredCapacity"], asg.effects) == (1, 1, 2)


async def test_ready_instances_are_in_service_and_healthy_in_the_target_group(asg: GroupPlace) -> None:
    """Two instances, of which one is registered; then one that the group itself finds unhealthy."""
    first, second = sorted(each["InstanceId"] for each in asg.found()["Instances"])
    asg.group = target_group("instance", [{"Id": first, "Port": 8080}])
    control = registry.workload(asg.behind())
    assert await control.read() == Capacity(2, 1, 4)
    sdk("autoscaling").set_instance_health(InstanceId=first, HealthStatus="Unhealthy")
    assert (await control.read()).ready == 0
    assert (await asg.workload().read()).ready == 1
    assert second


async def test_an_instance_that_counts_for_several_is_ready_as_several(asg: GroupPlace) -> None:
    """Desired is told in units of a mixed instances policy, so ready is, too; moto knows no units: it is given one."""
    forward = asg.proxy.forward

    def heavier(method: str, path: str, body: bytes, headers: list[tuple[str, str]]) -> Any:
        status, heads, answer = forward(method, path, body, headers)
        return status, heads, answer.replace(b"<InstanceId>", b"<WeightedCapacity>4</WeightedCapacity><InstanceId>")

    asg.proxy.forward = heavier  # type: ignore[method-assign]
    assert await asg.workload().read() == Capacity(2, 8, 4)


def activities(asg: GroupPlace, *failed: tuple[float, str]) -> Mischief:
    """What the group has tried and failed to do, so many seconds ago, in such a zone; moto says nothing of it."""
    members = "".join(
        f"<member><ActivityId>{ago}</ActivityId><AutoScalingGroupName>{asg.name}</AutoScalingGroupName>"
        f"<Cause>short</Cause><StartTime>{(datetime.now(UTC) - timedelta(seconds=ago)).isoformat()}</StartTime>"
        f"<StatusCode>Failed</StatusCode><StatusMessage>{NO_GPU}</StatusMessage>"
        f'<Details>{{"Availability Zone":"{zone}"}}</Details></member>'
        for ago, zone in failed
    )
    body = (
        "<DescribeScalingActivitiesResponse><DescribeScalingActivitiesResult>"
        f"<Activities>{members}</Activities></DescribeScalingActivitiesResult></DescribeScalingActivitiesResponse>"
    )
    return Mischief(lambda _m, _p, asked: b"DescribeScalingActivities" in asked, 50, Reply(200, body.encode()))


async def test_a_group_that_cannot_launch_says_so_while_it_is_waited_for(asg: GroupPlace) -> None:
    """In AWS's words, once all its zones have been tried; where all are ready nobody asks."""
    zone = asg.found()["AvailabilityZones"][0]
    asg.proxy.mischief.append(activities(asg, (20, zone)))
    assert (await asg.workload().read()).ready == 2
    sdk("autoscaling").set_instance_health(
        InstanceId=asg.found()["Instances"][0]["InstanceId"], HealthStatus="Unhealthy"
    )
    with pytest.raises(NoCapacity, match=r"has 1 of 2 instances, .* sufficient p5.48xlarge .* mixed instances policy"):
        await asg.workload().read()
    asg.proxy.mischief[:] = [activities(asg, (20, "eu-west-1z"))]
    assert (await asg.workload().read()).ready == 1


def activity(ago_s: float, status: str = "Failed", text: str = NO_GPU, zone: str = "a") -> dict[str, Any]:
    details = json.dumps({"Availability Zone": zone}) if zone else ""
    start = NOW - timedelta(seconds=ago_s)
    return {"StartTime": start, "StatusCode": status, "StatusMessage": text, "Details": details}


@pytest.mark.parametrize(
    ("said", "zones", "short"),
    [
        ([activity(10)], "a", True),
        ([activity(10)], "ab", False),
        ([activity(10), activity(20, zone="b")], "ab", True),
        ([activity(5, "InProgress", ""), activity(10)], "a", False),
        ([activity(5, "Successful", ""), activity(10)], "a", False),
        ([activity(10), activity(20, "Successful", "")], "a", True),
        ([activity(400)], "a", False),
        ([activity(10, text="The image id '[ami-1]' does not exist")], "a", False),
        (
            [activity(10, text="Could not launch On-Demand Instances. InsufficientInstanceCapacity", zone="")],
            "ab",
            True,
        ),
        ([activity(10, text="You have requested more vCPU capacity than your current vCPU limit of 32")], "a", True),
        ([], "a", False),
    ],
)
def test_a_group_is_short_when_all_its_zones_have_failed_it(
    said: list[dict[str, Any]], zones: str, short: bool
) -> None:
    """One zone without capacity is not the last word, nor is a mistake in the launch template a shortage."""
    assert (of_group(said, NOW - timedelta(minutes=5), frozenset(zones)) is not None) is short


# SageMaker


async def test_an_endpoint_under_update_is_not_ready_yet_and_takes_no_other_change(sagemaker: VariantPlace) -> None:
    """What was serves on; the next change is told to wait, and lands when the first is done."""
    assert await sagemaker.workload().scale(3, key="run-1/promote") == Capacity(3, 2, 4)
    assert await sagemaker.workload().read() == Capacity(3, 2, 4)
    with pytest.raises(Transient, match="being changed"):
        await sagemaker.workload().scale(4, key="run-2/promote")
    sagemaker.sagemaker.finish()
    assert await sagemaker.workload().read() == Capacity(3, 3, 4)
    assert (await sagemaker.workload().scale(4, key="run-2/promote")).desired == 4


async def test_scaling_a_variant_leaves_its_weight_alone(sagemaker: VariantPlace) -> None:
    """It may be steered in the same moment."""
    await sagemaker.workload().scale(3, key="run-1/promote")
    assert sagemaker.sagemaker.desired("Weight") == {"paris": 1.0, "ohio": 0.0}


async def test_a_variant_that_got_no_instances_says_so(sagemaker: VariantPlace) -> None:
    """SageMaker goes back to what was, and tells why."""
    sagemaker.sagemaker.short = True
    control = sagemaker.workload()
    await control.scale(4, key="run-1/promote")
    assert (await control.read()).ready == 2
    sagemaker.sagemaker.finish()
    with pytest.raises(NoCapacity, match=r"has 2 of 4 instances, .*InsufficientInstanceCapacity"):
        await control.read()


async def test_an_autoscaler_that_goes_up_before_us_has_done_our_work(sagemaker: VariantPlace) -> None:
    """A raised minimum makes Application Auto Scaling change the endpoint at once: ours comes too late, and is done."""
    state = sagemaker.sagemaker

    def goes_up(body: bytes) -> None:
        if b"MinCapacity" in body:
            next(each for each in state.variants if each["VariantName"] == "paris")["DesiredInstanceCount"] = 3
            state.status = "Updating"

    sagemaker.proxy.after = goes_up
    assert (await sagemaker.workload().scale(3, key="run-1/promote")).desired == 3
    assert state.changes == 0


async def test_a_variant_that_is_not_there_names_those_that_are(sagemaker: VariantPlace) -> None:
    """A typo is seen at once."""
    with pytest.raises(NotFound, match="it has: ohio, paris"):
        await registry.workload(replace(sagemaker.handle, target=f"{sagemaker.name}/pairs")).read()


async def test_a_serverless_variant_has_nothing_to_scale(sagemaker: VariantPlace) -> None:
    """Said as what it is: a mistake in the topology."""
    for variant in sagemaker.sagemaker.variants:
        variant.pop("DesiredInstanceCount")
    with pytest.raises(Refused, match="serverless"):
        await sagemaker.workload().read()


async def test_a_server_that_others_wrote_agrees_on_what_an_endpoint_is() -> None:
    """moto's endpoint is read and scaled as that of our own server, which is built for what moto lacks."""
    name, maker = fresh("chat"), sdk("sagemaker")
    role = "arn:aws:iam::123456789012:role/sagemaker"
    maker.create_model(ModelName=name, PrimaryContainer={"Image": "vllm"}, ExecutionRoleArn=role)
    variant = {"VariantName": "paris", "ModelName": name, "InitialInstanceCount": 2, "InstanceType": "ml.g4dn.xlarge"}
    maker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    maker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    handle = Workload("sagemaker", f"{name}/paris", options=(("endpoint", moto_url()), ("region", REGION)))
    assert await registry.workload(handle).read() == Capacity(2, 2, None)
    await registry.workload(handle).scale(3, key="run-1/promote")
    assert await registry.workload(handle).read() == Capacity(3, 3, None)
    with pytest.raises(NotFound, match="there is no SageMaker endpoint nobody"):
        await registry.workload(replace(handle, target="nobody/paris")).read()


# Mistakes


@pytest.mark.parametrize(
    ("part", "handle", "says"),
    [
        (Part.WORKLOAD, Workload("ecs", "chat", options=(("region", "eu-west-1"),)), "must be named cluster/service"),
        (Part.WORKLOAD, Workload("ecs", "a/b"), "does not say its region"),
        (Part.WORKLOAD, Workload("asg", "chat"), "does not say its region"),
        (Part.WORKLOAD, Workload("sagemaker", "chat", options=(("region", "x"),)), "must be named endpoint/variant"),
        (
            Part.WORKLOAD,
            Workload("ecs", "a/b", options=(("region", "x"), ("target_group", "tg-1"))),
            "'tg-1' is no ARN of elasticloadbalancing",
        ),
        (Part.DRAIN, Workload("ecs", "a/b", options=(("drain", "deregister"),)), "needs target_group"),
        (Part.DRAIN, Workload("asg", "a", options=(("drain", "please"),)), "it knows: deregister"),
    ],
)
def test_a_mistake_in_the_topology_is_told_before_aws_is_asked(part: Part, handle: Workload, says: str) -> None:
    """In one sentence, with the cure."""
    make = registry.workload if part is Part.WORKLOAD else registry.drain
    with pytest.raises(BadInput, match=re.escape(says)):
        make(handle)
