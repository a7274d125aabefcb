"""Instances of an Auto Scaling group.

Which instance types it tries, and in which order, is the group's own mixed instances policy: a ladder of types belongs
there, where AWS climbs it at each launch. A group that cannot launch says so in its activities, seconds to minutes
after it was asked, and keeps trying; whoever waits is told so by ``read``
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html).
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.core.topology import Workload
from providers.aws.calling import Reply, Way, answered_at
from providers.aws.shortage import RECENT, of_group
from providers.aws.targets import TargetGroup
from providers.base import Capacity, NoCapacity, NotFound, ProviderError, Transient

_ACTIVITIES = 20
"""The newest so many are looked at: a few for each zone."""


class AutoScalingGroup:
    """WorkloadControl: target is the group's name, options region, target_group, profile, role, endpoint.

    It may: ``autoscaling:DescribeAutoScalingGroups``, ``autoscaling:DescribeScalingActivities``,
    ``autoscaling:UpdateAutoScalingGroup``, and ``elasticloadbalancing:DescribeTargetHealth`` where a target group is
    named.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput without a region."""
        options = dict(handle.options)
        self._name = handle.target
        self._way = Way.of("autoscaling", options, f"the asg workload '{handle.target}'")
        self._called = f"Auto Scaling group {handle.target} in {self._way.region}"
        arn = options.get("target_group", "")
        self._targets = TargetGroup.of(arn, options) if arn else None
        self._asked: datetime | None = None

    async def read(self) -> Capacity:
        """Instances desired, ready (in service and healthy, in the target group, too, where one is named), and MaxSize.

        Raises Transient, NotFound, NoCapacity (AWS has said that it has none, and has not found any since).
        """
        reply = await self._look()
        group = self._there(reply)
        now = await self._capacity(group)
        if sum(_in_service(group).values()) < now.desired:
            await self._must_find_room(group, self._asked or answered_at(reply) - RECENT)
        return now

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Ask for so many instances: in one call, desired, and the least that scaling policies may go down to.

        Raises Transient, NotFound, NoCapacity above MaxSize.
        """
        reply = await self._look()
        group = self._there(reply)
        now = await self._capacity(group)
        if replicas > int(group["MaxSize"]):
            raise NoCapacity(
                f"{self._called} may have {group['MaxSize']} by its MaxSize, and {replicas} are asked for; raise it"
            )
        self._asked = answered_at(reply)
        if (int(group["DesiredCapacity"]), int(group["MinSize"])) != (replicas, replicas):
            await self._way.write(
                f"scale {self._called} to {replicas}",
                "update_auto_scaling_group",
                told=_own,
                AutoScalingGroupName=self._name,
                MinSize=replicas,
                DesiredCapacity=replicas,
            )
        return Capacity(replicas, now.ready, now.limit)

    async def _look(self) -> Reply:
        return await self._way.read(
            f"read {self._called}", "describe_auto_scaling_groups", AutoScalingGroupNames=[self._name]
        )

    def _there(self, reply: Reply) -> Reply:
        found: list[Reply] = reply["AutoScalingGroups"]
        if not found:
            raise NotFound(f"there is no {self._called}; mend the target, or the option region")
        return found[0]

    async def _capacity(self, group: Reply) -> Capacity:
        serving = _in_service(group)
        if self._targets is not None and serving:
            healthy = {each.id for each in await self._targets.healthy()}
            serving = {name: weight for name, weight in serving.items() if name in healthy}
        return Capacity(int(group["DesiredCapacity"]), sum(serving.values()), int(group["MaxSize"]))

    async def _must_find_room(self, group: Reply, since: datetime) -> None:
        reply = await self._way.read(
            f"read what {self._called} has done",
            "describe_scaling_activities",
            AutoScalingGroupName=self._name,
            MaxRecords=_ACTIVITIES,
        )
        why = of_group(reply["Activities"], since, frozenset(group["AvailabilityZones"]))
        if why is not None:
            ready = sum(_in_service(group).values())
            raise NoCapacity(
                f"{self._called} has {ready} of {group['DesiredCapacity']} instances, and AWS says: {why}; "
                "give its mixed instances policy other types, or choose another place"
            )


def _in_service(group: Reply) -> dict[str, int]:
    """Instances with what they count for: a mixed instances policy may count a large one as several."""
    return {
        each["InstanceId"]: int(each.get("WeightedCapacity") or 1)
        for each in group["Instances"]
        if each["LifecycleState"] == "InService" and each["HealthStatus"] == "Healthy"
    }


def _own(code: str, says: str) -> ProviderError | None:
    if code in {"ScalingActivityInProgress", "ResourceContention"}:
        return Transient(f"AWS changes this group in this moment ({code})")
    if code == "ValidationError" and "not found" in says:
        return NotFound(f"AWS has no such Auto Scaling group: {says}")
    return None
