"""Tasks of a service in Amazon ECS.

A service is asked for a count and goes there by itself. Where it cannot place tasks it says so in its events, seconds
to minutes after it was asked, and keeps trying; whoever waits is told so by ``read``
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages.html).
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.core.topology import Workload
from providers.aws.calling import Reply, Way, answered_at, parts
from providers.aws.scalable import Scalable
from providers.aws.shortage import RECENT, of_service
from providers.aws.targets import TargetGroup
from providers.base import Capacity, NoCapacity, NotFound


class EcsService:
    """WorkloadControl: target ``cluster/service``, options region, target_group, profile, role, endpoint.

    It may: ``ecs:DescribeServices``, ``ecs:UpdateService``, ``application-autoscaling:DescribeScalableTargets``,
    ``application-autoscaling:RegisterScalableTarget`` where the service scales by itself, and
    ``elasticloadbalancing:DescribeTargetHealth`` where a target group is named.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a target that is not ``cluster/service``, or without a region."""
        options = dict(handle.options)
        self._cluster, self._name = parts(handle.target, "cluster/service", "ecs")
        self._way = Way.of("ecs", options, f"the ecs workload '{handle.target}'")
        self._called = f"ECS service {handle.target} in {self._way.region}"
        self._scaling = Scalable(
            self._way.to("application-autoscaling"), "ecs", f"service/{handle.target}", "ecs:service:DesiredCount"
        )
        arn = options.get("target_group", "")
        self._group = TargetGroup.of(arn, options) if arn else None
        self._asked: datetime | None = None

    async def read(self) -> Capacity:
        """Tasks desired, and ready: running, and no more than are healthy in the target group where one is named.

        Raises Transient, NotFound, NoCapacity (AWS has said that it finds no room, and has not found any since).
        """
        reply = await self._way.read(
            f"read {self._called}", "describe_services", cluster=self._cluster, services=[self._name]
        )
        service = self._there(reply)
        bounds = await self._scaling.bounds()
        now = Capacity(
            int(service["desiredCount"]), await self._ready(service), bounds.most if bounds is not None else None
        )
        if int(service["runningCount"]) < now.desired:
            since = self._asked or answered_at(reply) - RECENT
            why = of_service(service.get("events", ()), since, grows=bool(service.get("capacityProviderStrategy")))
            if why is not None:
                raise NoCapacity(
                    f"{self._called} runs {service['runningCount']} of {now.desired} tasks, and AWS says: {why}; "
                    "choose another place, or ask AWS for more"
                )
        return now

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Ask for so many tasks. Raises Transient, NotFound, NoCapacity above the maximum of the scalable target."""
        found = await self._way.read(
            f"read {self._called}", "describe_services", cluster=self._cluster, services=[self._name]
        )
        service = self._there(found)
        bounds = await self._scaling.bounds()
        await self._scaling.allow(replicas, bounds)
        self._asked = answered_at(found)
        if int(service["desiredCount"]) != replicas:
            reply = await self._way.write(
                f"scale {self._called} to {replicas}",
                "update_service",
                cluster=self._cluster,
                service=self._name,
                desiredCount=replicas,
            )
            service = reply["service"]
        return Capacity(replicas, await self._ready(service), bounds.most if bounds is not None else None)

    def _there(self, reply: Reply) -> Reply:
        found: list[Reply] = [each for each in reply["services"] if each["status"] != "INACTIVE"]
        if not found:
            raise NotFound(f"there is no {self._called}; mend the target, or the option region")
        return found[0]

    async def _ready(self, service: Reply) -> int:
        running = int(service["runningCount"])
        if self._group is None or running == 0:
            return running
        return min(running, len(await self._group.healthy()))
