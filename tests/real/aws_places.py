"""Workloads and dials at AWS: moto where it keeps their state, else servers made from the SDK's own models.

What moto does otherwise than AWS: the tasks of an ECS service and the instances of a group are there at once, and no
task belongs to a service (those that run in the cluster stand for its own). A wait for readiness is thus told by
target groups, by the wire server of SageMaker, and by events that a test puts into an answer.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import shares_in, shares_of
from orchestrator.core.topology import Shares, SteeringSpec, Workload
from providers import registry
from providers.base import DrainControl, Steering, WorkloadControl
from real.aws import REGION, AwsPlace, network, sdk, target_group
from real.moto import fresh
from real.place import EU, US, ScaledPlace, SteeredPlace
from wire.accelerator import Accelerator
from wire.sagemaker import SageMaker

NAME = "chat.example."


class AwsWorkload(AwsPlace):
    """Capacity at AWS."""

    provider = ""

    def __init__(self) -> None:
        super().__init__()
        self.handle = Workload(self.provider, "", options=(("endpoint", self.proxy.url), ("region", REGION)))
        self.group = ""
        """A target group, where draining takes targets out of it."""

    def workload(self) -> WorkloadControl:
        return registry.workload(self.handle)

    def drain(self) -> DrainControl | None:
        return registry.drain(self.behind("drain", "deregister"))

    def behind(self, *more: str) -> Workload:
        """Its handle, behind the target group, with one more option."""
        extra = (tuple(more),) if more else ()
        return replace(self.handle, options=(*self.handle.options, ("target_group", self.group), *extra))

    def missing(self) -> WorkloadControl:
        return registry.workload(replace(self.handle, target=self.handle.target.replace("-", "-no-")))


class EcsPlace(AwsWorkload):
    """A service in a cluster of its own, which scales by itself between 2 and 4."""

    provider = "ecs"

    def __init__(self) -> None:
        super().__init__()
        self.cluster, self.service = fresh("cluster"), "chat-us"
        self.handle = replace(self.handle, target=f"{self.cluster}/{self.service}")

    async def open(self) -> None:
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        ecs, name = sdk("ecs"), {"cluster": self.cluster}
        ecs.create_cluster(clusterName=self.cluster)
        ecs.register_task_definition(
            family="chat",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "vllm", "image": "vllm", "memory": 512}],
        )
        ecs.create_service(**name, serviceName=self.service, taskDefinition="chat", desiredCount=2)
        ecs.update_service(**name, service=self.service, desiredCount=2)
        self.bound(2, 4)

    def bound(self, least: int, most: int) -> None:
        """What it scales between by itself."""
        sdk("application-autoscaling").register_scalable_target(**self.scalable, MinCapacity=least, MaxCapacity=most)

    @property
    def scalable(self) -> dict[str, str]:
        return {
            "ServiceNamespace": "ecs",
            "ResourceId": f"service/{self.handle.target}",
            "ScalableDimension": "ecs:service:DesiredCount",
        }

    def run_tasks(self, count: int) -> list[str]:
        """Tasks in the cluster, which stand for those of the service; their addresses."""
        started = sdk("ecs").run_task(
            cluster=self.cluster,
            taskDefinition="chat",
            count=count,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [network()[1][0]], "securityGroups": []}},
        )["tasks"]
        details = (detail for task in started for each in task["attachments"] for detail in each["details"])
        return [each["value"] for each in details if each["name"] == "privateIPv4Address"]

    def drain(self) -> DrainControl | None:
        if not self.group:
            addresses = self.run_tasks(2)
            self.group = target_group("ip", [{"Id": each, "Port": 8080} for each in addresses])
        return super().drain()

    async def replicas(self) -> int:
        found = await asyncio.to_thread(sdk("ecs").describe_services, cluster=self.cluster, services=[self.service])
        return int(found["services"][0]["desiredCount"])


class GroupPlace(AwsWorkload):
    """An Auto Scaling group between 2 and 4."""

    provider = "asg"
    query = True

    def __init__(self) -> None:
        super().__init__()
        self.name = fresh("chat")
        self.handle = replace(self.handle, target=self.name)

    async def open(self) -> None:
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        scaling = sdk("autoscaling")
        scaling.create_launch_configuration(
            LaunchConfigurationName=self.name, ImageId="ami-12c6146b", InstanceType="g6.xlarge"
        )
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            LaunchConfigurationName=self.name,
            MinSize=2,
            MaxSize=4,
            DesiredCapacity=2,
            VPCZoneIdentifier=network()[1][0],
        )

    def found(self) -> dict[str, Any]:
        """The group, as it stands."""
        groups = sdk("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        one: dict[str, Any] = groups["AutoScalingGroups"][0]
        return one

    def drain(self) -> DrainControl | None:
        if not self.group:
            instances = [each["InstanceId"] for each in self.found()["Instances"]]
            self.group = target_group("instance", [{"Id": each, "Port": 8080} for each in instances])
        return super().drain()

    async def replicas(self) -> int:
        return int((await asyncio.to_thread(self.found))["DesiredCapacity"])


class VariantPlace(AwsWorkload):
    """A variant of a SageMaker endpoint, which scales by itself between 2 and 4."""

    provider = "sagemaker"

    def __init__(self, *, looks: int = 1) -> None:
        super().__init__()
        self.name = fresh("chat")
        self.sagemaker = SageMaker(self.name, {"paris": (1.0, 2), "ohio": (0.0, 1)}, looks=looks)
        self.proxy.services = {"SageMaker.": self.sagemaker.server.start().at}
        self.handle = replace(self.handle, target=f"{self.name}/paris")

    async def open(self) -> None:
        await asyncio.to_thread(self.bound, 2, 4)

    def bound(self, least: int, most: int) -> None:
        """What it scales between by itself."""
        sdk("application-autoscaling").register_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId=f"endpoint/{self.name}/variant/paris",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
            MinCapacity=least,
            MaxCapacity=most,
        )

    def drain(self) -> DrainControl | None:
        return registry.drain(self.handle)

    async def replicas(self) -> int:
        return int(self.sagemaker.desired("InstanceCount")["paris"])

    def close(self) -> None:
        super().close()
        self.sagemaker.server.close()
        assert not self.sagemaker.server.wrong


class AwsDial(AwsPlace):
    """A dial at AWS, its fence in a file."""

    provider = ""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory()
        self.targets: Mapping[EndpointId, str] = {EU: "paris", US: "ohio"}
        self.spec = self.specified()

    def specified(self, **options: str) -> SteeringSpec:
        given = {"endpoint": self.proxy.url, "fence": f"file:{self._home.name}/fence.json", **options}
        return SteeringSpec(
            self.provider, NAME, "", 0, "", options=tuple(sorted(given.items())), shares=Shares.WEIGHTED
        )

    def steering(self) -> Steering:
        return registry.steering(self.spec)

    def close(self) -> None:
        super().close()
        self._home.cleanup()


class ListenerPlace(AwsDial):
    """A listener of a load balancer with two target groups, or a rule of it."""

    provider = "elb"
    query = True
    rule = False

    async def open(self) -> None:
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        elb = sdk("elbv2")
        balancer = elb.create_load_balancer(Name=fresh("lb"), Subnets=list(network()[1][:2]))["LoadBalancers"][0]
        self.groups = [target_group("ip"), target_group("ip")]
        self.targets = dict(zip((EU, US), (each.split("/")[1] for each in self.groups), strict=True))
        listener = elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=self.actions(100, 0),
        )["Listeners"][0]["ListenerArn"]
        if not self.rule:
            self.spec = self.specified(region=REGION, listener=listener)
            return
        made = elb.create_rule(
            ListenerArn=listener,
            Priority=10,
            Conditions=[{"Field": "path-pattern", "Values": ["/v1/*"]}],
            Actions=self.actions(100, 0),
        )
        self.spec = self.specified(region=REGION, rule=made["Rules"][0]["RuleArn"])

    def actions(self, *weights: int) -> list[dict[str, Any]]:
        """A forward action that keeps clients at their target group."""
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in zip(self.groups, weights, strict=True)]
        stay = {"Enabled": True, "DurationSeconds": 300}
        forward = {"TargetGroups": groups, "TargetGroupStickinessConfig": stay}
        return [{"Type": "forward", "Order": 50000, "ForwardConfig": forward}]

    def found(self) -> list[dict[str, Any]]:
        """The actions as they stand."""
        options = dict(self.spec.options)
        elb = sdk("elbv2")
        actions: list[dict[str, Any]] = (
            elb.describe_rules(RuleArns=[options["rule"]])["Rules"][0]["Actions"]
            if self.rule
            else elb.describe_listeners(ListenerArns=[options["listener"]])["Listeners"][0]["DefaultActions"]
        )
        return actions

    def put(self, actions: list[dict[str, Any]]) -> None:
        options = dict(self.spec.options)
        if self.rule:
            sdk("elbv2").modify_rule(RuleArn=options["rule"], Actions=actions)
        else:
            sdk("elbv2").modify_listener(ListenerArn=options["listener"], DefaultActions=actions)

    def missing(self) -> Steering:
        word = "rule" if self.rule else "listener"
        arn = dict(self.spec.options)[word]
        return registry.steering(self.specified(region=REGION, **{word: f"{arn[:-4]}0000"}))

    async def now(self) -> dict[str, int]:
        groups = (await asyncio.to_thread(self.found))[0]["ForwardConfig"]["TargetGroups"]
        weights = tuple((each["TargetGroupArn"].split("/")[1], int(each["Weight"])) for each in groups)
        return dict(shares_in(shares_of(weights)))

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        await asyncio.to_thread(self.put, self.actions(*(shares.get(self.targets[each], 0) for each in (EU, US))))


class RulePlace(ListenerPlace):
    rule = True


class DialsPlace(AwsDial):
    """A Global Accelerator with endpoint groups in two regions."""

    provider = "global-accelerator"

    def __init__(self, dials: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.accelerator = Accelerator(fresh("1234abcd"), dict(dials or {"eu-west-1": 100.0, "us-east-1": 0.0}))
        self.proxy.services = {"GlobalAccelerator": self.accelerator.server.start().at}
        self.targets = {EU: "eu-west-1", US: "us-east-1"}
        self.spec = self.specified(listener=self.accelerator.listener)

    async def open(self) -> None:
        """It stands already."""

    def missing(self) -> Steering:
        return registry.steering(self.specified(listener=f"{self.accelerator.listener}-no"))

    async def now(self) -> dict[str, int]:
        """With dials that sum to 100 over two groups, each takes its dial of all clients."""
        dials = {region: round(dial) for region, dial in self.accelerator.dials().items() if dial}
        assert sum(dials.values()) == 100
        return dials

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        for group in self.accelerator.groups:
            group["TrafficDialPercentage"] = float(shares.get(group["EndpointGroupRegion"], 0))

    def close(self) -> None:
        super().close()
        self.accelerator.server.close()
        assert not self.accelerator.server.wrong


class VariantsPlace(AwsDial):
    """Two variants of one SageMaker endpoint."""

    provider = "sagemaker-variants"

    def __init__(self, *, looks: int = 0) -> None:
        super().__init__()
        self.sagemaker = SageMaker(fresh("chat"), {"paris": (1.0, 2), "ohio": (0.0, 2)}, looks=looks)
        self.proxy.services = {"SageMaker.": self.sagemaker.server.start().at}
        self.spec = self.specified(region=REGION, endpoint_name=self.sagemaker.name)

    async def open(self) -> None:
        """It stands already."""

    def missing(self) -> Steering:
        return registry.steering(self.specified(region=REGION, endpoint_name="nobody"))

    async def now(self) -> dict[str, int]:
        weights = tuple((name, round(weight)) for name, weight in self.sagemaker.current("Weight").items())
        return dict(shares_in(shares_of(weights)))

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        for variant in self.sagemaker.variants:
            variant["DesiredWeight"] = variant["CurrentWeight"] = float(shares.get(variant["VariantName"], 0))

    def close(self) -> None:
        super().close()
        self.sagemaker.server.close()
        assert not self.sagemaker.server.wrong


STEERED: dict[str, Callable[[], SteeredPlace]] = {
    "elb": ListenerPlace,
    "elb-rule": RulePlace,
    "global-accelerator": DialsPlace,
    "sagemaker-variants": VariantsPlace,
}
SCALED: dict[str, Callable[[], ScaledPlace]] = {"ecs": EcsPlace, "asg": GroupPlace, "sagemaker": VariantPlace}
