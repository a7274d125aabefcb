"""Draining at AWS: who is taken out of a target group, and who is put back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from providers import registry
from providers.aws.living import living_of
from providers.aws.targets import TAG, Target, TargetGroup
from providers.base import Refused, Transient
from real.aws import sdk, target_group
from real.aws_places import AwsWorkload, EcsPlace, GroupPlace
from real.saboteur import Mischief, Reply


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


def registered(arn: str) -> list[str]:
    health = sdk("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return sorted(each["Target"]["Id"] for each in health if each["TargetHealth"]["State"] == "healthy")


def tagged(arn: str) -> dict[str, str]:
    tags = sdk("elbv2").describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
    return {each["Key"]: each["Value"] for each in tags}


async def test_a_drained_service_is_out_of_its_target_group_and_comes_back(ecs: EcsPlace) -> None:
    """Who was taken out is written down at the target group itself, for whoever ends it."""
    drain = ecs.drain()
    assert drain is not None
    before = registered(ecs.group)
    assert len(before) == 2
    await drain.begin(key="run-1/drain")
    assert registered(ecs.group) == []
    assert tagged(ecs.group) == {TAG: " ".join(f"{each}@8080@" for each in before)}
    again = ecs.drain()
    assert again is not None
    await again.end(key="run-1/drain")
    assert (registered(ecs.group), tagged(ecs.group)) == (before, {})


async def test_a_task_that_has_ended_meanwhile_is_not_put_back(ecs: EcsPlace) -> None:
    """Its address may be somebody else's by now, who would be given our clients."""
    drain = ecs.drain()
    assert drain is not None
    await drain.begin(key="run-1/drain")
    arns = sdk("ecs").list_tasks(cluster=ecs.cluster)["taskArns"]
    sdk("ecs").stop_task(cluster=ecs.cluster, task=arns[0])
    [left] = sdk("ecs").describe_tasks(cluster=ecs.cluster, tasks=arns[1:])["tasks"]
    address = next(each["value"] for each in left["attachments"][0]["details"] if each["name"].endswith("IPv4Address"))
    await drain.end(key="run-1/drain")
    assert (registered(ecs.group), tagged(ecs.group)) == ([address], {})


async def test_an_instance_that_is_gone_is_not_put_back(asg: GroupPlace) -> None:
    """A group replaces its instances while they are drained."""
    drain = asg.drain()
    assert drain is not None
    before = registered(asg.group)
    await drain.begin(key="run-1/drain")
    sdk("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=before[0], ShouldDecrementDesiredCapacity=True
    )
    await drain.end(key="run-1/drain")
    assert registered(asg.group) == before[1:]


async def test_an_instance_in_standby_is_not_put_back(asg: GroupPlace) -> None:
    """Somebody has taken it out of service since, on purpose."""
    drain = asg.drain()
    assert drain is not None
    before = registered(asg.group)
    await drain.begin(key="run-1/drain")
    sdk("autoscaling").enter_standby(
        AutoScalingGroupName=asg.name, InstanceIds=before[:1], ShouldDecrementDesiredCapacity=True
    )
    await drain.end(key="run-1/drain")
    assert registered(asg.group) == before[1:]


async def test_who_joins_while_it_is_drained_is_taken_out_and_put_back_with_the_others(ecs: EcsPlace) -> None:
    """ECS registers new tasks by itself: the repeated begin takes them out, too, and forgets none of the first."""
    drain = ecs.drain()
    assert drain is not None
    before = registered(ecs.group)
    await drain.begin(key="run-1/drain")
    [late] = ecs.run_tasks(1)
    sdk("elbv2").register_targets(TargetGroupArn=ecs.group, Targets=[{"Id": late, "Port": 8080}])
    await drain.begin(key="run-1/drain")
    assert registered(ecs.group) == []
    await drain.end(key="run-1/drain")
    assert registered(ecs.group) == sorted([*before, late])


async def test_a_drain_that_broke_off_forgets_nobody(asg: GroupPlace) -> None:
    """Whom it takes out is written down before it takes them out."""
    drain = asg.drain()
    assert drain is not None
    before = registered(asg.group)
    broken = Reply(500, b"<ErrorResponse><Error><Code>InternalFailure</Code></Error></ErrorResponse>")
    asg.proxy.mischief.append(Mischief(lambda _m, _p, body: b"=DeregisterTargets" in body, 1, broken))
    with pytest.raises(Transient):
        await drain.begin(key="run-1/drain")
    assert (registered(asg.group), len(tagged(asg.group)[TAG].split())) == (before, 2)
    await drain.begin(key="run-1/drain")
    assert registered(asg.group) == []
    await drain.end(key="run-1/drain")
    assert registered(asg.group) == before


async def test_many_targets_are_remembered_in_several_tags(asg: GroupPlace) -> None:
    """A tag holds 256 characters; what is no longer needed is taken away."""
    group = TargetGroup.of(target_group("ip"), dict(asg.handle.options))
    many = tuple(Target(f"10.0.{part}.1", 8080, "all") for part in range(100, 160))
    await group.remember(many)
    assert await group.drained() == many
    assert len(tagged(group.arn)) == 5
    assert max(len(value) for value in tagged(group.arn).values()) <= 256
    await group.remember(many[:3])
    assert (await group.drained(), len(tagged(group.arn))) == (many[:3], 1)
    with pytest.raises(Refused, match="drain it by weights"):
        await group.remember(tuple(Target(f"10.{part // 250}.{part % 250}.1", 8080) for part in range(500)))


async def test_tasks_that_share_a_machine_are_told_by_their_ports(ecs: EcsPlace) -> None:
    """Their target is the machine, with the port that ECS has given; moto gives none, so the answer is given one."""
    machine = sdk("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    sdk("ecs").register_container_instance(
        cluster=ecs.cluster, instanceIdentityDocument=json.dumps({"instanceId": machine})
    )
    sdk("ecs").register_task_definition(
        family="shared", containerDefinitions=[{"name": "vllm", "image": "vllm", "memory": 512}]
    )
    sdk("ecs").run_task(cluster=ecs.cluster, taskDefinition="shared", count=1, launchType="EC2")
    forward = ecs.proxy.forward

    def bound(method: str, path: str, body: bytes, headers: list[tuple[str, str]]) -> Any:
        status, heads, answer = forward(method, path, body, headers)
        if b'"tasks"' in body:
            said = json.loads(answer)
            said["tasks"][0]["containers"][0]["networkBindings"] = [{"containerPort": 8080, "hostPort": 32768}]
            answer = json.dumps(said).encode()
        return status, heads, answer

    ecs.proxy.forward = bound  # type: ignore[method-assign]
    living = living_of(ecs.handle)
    assert living is not None
    assert await living.among() == {(machine, 32768)}


async def test_who_is_gone_for_good_is_not_remembered_for_ever(ecs: EcsPlace) -> None:
    """A drain that was never ended has been followed by new tasks: the next one writes down these."""
    drain = ecs.drain()
    assert drain is not None
    await drain.begin(key="run-1/drain")
    for task in sdk("ecs").list_tasks(cluster=ecs.cluster)["taskArns"]:
        sdk("ecs").stop_task(cluster=ecs.cluster, task=task)
    [new] = ecs.run_tasks(1)
    sdk("elbv2").register_targets(TargetGroupArn=ecs.group, Targets=[{"Id": new, "Port": 8080}])
    await drain.begin(key="run-2/drain")
    assert tagged(ecs.group) == {TAG: f"{new}@8080@"}


async def test_tags_that_somebody_has_edited_are_told(ecs: EcsPlace) -> None:
    """Nobody is forgotten in silence."""
    drain = ecs.drain()
    assert drain is not None
    await drain.begin(key="run-1/drain")
    sdk("elbv2").add_tags(ResourceArns=[ecs.group], Tags=[{"Key": TAG, "Value": "all of them"}])
    with pytest.raises(Refused, match="edited by hand; register its targets, and delete the tags"):
        await drain.end(key="run-1/drain")


async def test_without_being_asked_to_nothing_is_deregistered(ecs: EcsPlace) -> None:
    """Steering has sent clients away; an empty target group would answer who still comes with errors."""
    ecs.group = target_group("ip", [{"Id": "172.31.0.9", "Port": 8080}])
    drain = registry.drain(ecs.behind())
    await drain.begin(key="run-1/drain")
    assert (await drain.in_flight(), registered(ecs.group), ecs.effects) == (None, ["172.31.0.9"], 0)
    await drain.end(key="run-1/drain")


async def test_requests_in_flight_are_counted_by_the_page_of_metrics(ecs: EcsPlace) -> None:
    """A load balancer does not count them by target: the model server does."""
    page = Reply(200, b"vllm:num_requests_running 3\nvllm:num_requests_waiting 1\n")
    ecs.proxy.mischief.append(Mischief(lambda _m, path, _b: path == "/metrics", 1, page))
    handle = replace(ecs.handle, options=(*ecs.handle.options, ("metrics", f"{ecs.proxy.url}/metrics")))
    assert await registry.drain(handle).in_flight() == 4
