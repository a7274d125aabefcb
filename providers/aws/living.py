"""What stands behind a workload right now, as target groups name it: so that nobody is put back who is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.core.topology import Workload
from providers.aws.calling import Way, parts

Names = frozenset[str | tuple[str, int | None]]
"""Ids that live with all their ports (an address, an instance), and ids with the one port that lives."""
_AT_ONCE = 100
"""So many tasks are described by one call."""


class Living(Protocol):
    """Whose targets live."""

    async def among(self) -> Names:
        """Raises Transient, NotFound, Forbidden."""
        ...


def living_of(handle: Workload) -> Living | None:
    """Of an ECS service or an Auto Scaling group; None for what has no targets of its own."""
    options = dict(handle.options)
    who = f"the {handle.provider} workload '{handle.target}'"
    match handle.provider:
        case "ecs":
            return Tasks(Way.of("ecs", options, who), *parts(handle.target, "cluster/service", "ecs"))
        case "asg":
            return Instances(Way.of("autoscaling", options, who), handle.target)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Instances:
    """The instances of an Auto Scaling group that are in service."""

    way: Way
    group: str

    async def among(self) -> Names:
        reply = await self.way.read(
            f"read the instances of Auto Scaling group {self.group}",
            "describe_auto_scaling_groups",
            AutoScalingGroupNames=[self.group],
        )
        instances = (each for group in reply["AutoScalingGroups"] for each in group["Instances"])
        return frozenset(each["InstanceId"] for each in instances if each["LifecycleState"] == "InService")


@dataclass(frozen=True, slots=True)
class Tasks:
    """The running tasks of an ECS service: addresses of their own, or ports of the instances they run on."""

    way: Way
    cluster: str
    service: str

    async def among(self) -> Names:
        what = f"read the tasks of ECS service {self.cluster}/{self.service}"
        listed = await self.way.read_all(
            what, "list_tasks", cluster=self.cluster, serviceName=self.service, desiredStatus="RUNNING"
        )
        arns: list[str] = listed.get("taskArns", [])
        tasks: list[dict[str, Any]] = []
        for start in range(0, len(arns), _AT_ONCE):
            some = arns[start : start + _AT_ONCE]
            tasks += (await self.way.read(what, "describe_tasks", cluster=self.cluster, tasks=some))["tasks"]
        return frozenset({*_addresses(tasks), *await self._ports(what, tasks)})

    async def _ports(self, what: str, tasks: list[dict[str, Any]]) -> set[tuple[str, int | None]]:
        bound = [
            (task["containerInstanceArn"], binding["hostPort"])
            for task in tasks
            if "containerInstanceArn" in task
            for container in task.get("containers", ())
            for binding in container.get("networkBindings", ())
            if binding.get("hostPort")
        ]
        machines = sorted({machine for machine, _ in bound})
        ids: dict[str, str] = {}
        for start in range(0, len(machines), _AT_ONCE):
            reply = await self.way.read(
                what,
                "describe_container_instances",
                cluster=self.cluster,
                containerInstances=machines[start : start + _AT_ONCE],
            )
            ids |= {each["containerInstanceArn"]: each["ec2InstanceId"] for each in reply["containerInstances"]}
        return {(ids[machine], port) for machine, port in bound if machine in ids}


def _addresses(tasks: list[dict[str, Any]]) -> set[str]:
    return {
        detail["value"]
        for task in tasks
        for attachment in task.get("attachments", ())
        if attachment.get("type") == "ElasticNetworkInterface"
        for detail in attachment.get("details", ())
        if detail.get("name") in {"privateIPv4Address", "privateIPv6Address"}
    }
