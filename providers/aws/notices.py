"""Signals from EC2: Spot Instances of an Auto Scaling group that AWS takes back.

The notice itself goes to the instance and to EventBridge, two minutes ahead and on a best-effort basis
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html). Who is neither sees it at
the status of the instance's Spot request: with the interruption behaviour *terminate* it says at once that the capacity
is gone, while the instance runs on for these two minutes; else the instance is marked first
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instances-request-status-lifecycle.html). Asked every half
minute, about a minute and a half is left: enough to lead traffic away, not to warm a standby. A recommendation to
rebalance, which may come earlier, can be read nowhere but in EventBridge and on the instance.

It may: ``autoscaling:DescribeAutoScalingGroups``, ``ec2:DescribeSpotInstanceRequests``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers.aws.calling import Way
from providers.base import NotFound, Sign

TAKEN = frozenset(
    {
        "marked-for-termination",
        "marked-for-stop",
        "instance-terminated-no-capacity",
        "instance-terminated-by-price",
        "instance-terminated-by-schedule",
        "instance-terminated-launch-group-constraint",
        "instance-stopped-no-capacity",
        "instance-stopped-by-price",
    }
)
"""The statuses of a request whose instance AWS takes. That a person stopped it is no notice, though while
it stops it may be marked alike."""
_AT_ONCE = 200
"""Values that a filter of EC2 takes."""
_GONE = ("Terminated", "Detach", "Standby", "EnteringStandby", "Warmed")
"""How the lifecycle states begin of instances that do not serve, whatever becomes of them. One that the group
terminates may be one that AWS takes back."""


class SpotNotices:
    """Signal: target is the Auto Scaling group's name, options region, least, profile, role, endpoint."""

    def __init__(self, spec: SignalSpec) -> None:
        """Raises BadInput without a region, and where *least* is no number from 1 up."""
        options = dict(spec.options)
        self._group = spec.target
        self._way = Way.of("ec2", options, f"signal '{spec.id}'")
        self._called = f"Auto Scaling group {spec.target} in {self._way.region}"
        least = options.get("least", "1")
        if not least.isascii() or not least.isdigit() or int(least) < 1:
            raise BadInput(f"option least of signal '{spec.id}' says '{least}'; write how many instances make it: 1")
        self._least = int(least)

    async def read(self) -> Sign:
        """Active while AWS takes back as many instances as *least* says. Raises NotFound for a group that is not
        there; Transient, Throttled, Unauthenticated, Forbidden."""
        instances = await self._instances()
        taken = [each for each in await self._statuses(instances) if each.get("Code") in TAKEN]
        times: list[datetime] = [each["UpdateTime"] for each in taken if each.get("UpdateTime")]
        codes = ", ".join(sorted({each["Code"] for each in taken}))
        text = f"AWS takes back {len(taken)} of {len(instances)} instances ({codes})" if taken else "no notice"
        active = len(taken) >= self._least
        return Sign(active, text, min(times, default=None) if active else None)

    async def _instances(self) -> list[str]:
        """The instances that serve, or come to."""
        reply = await self._way.to("autoscaling").read(
            f"read {self._called}", "describe_auto_scaling_groups", AutoScalingGroupNames=[self._group]
        )
        if not reply["AutoScalingGroups"]:
            raise NotFound(f"there is no {self._called}; mend the target, or the option region")
        members = reply["AutoScalingGroups"][0]["Instances"]
        return sorted(each["InstanceId"] for each in members if not each["LifecycleState"].startswith(_GONE))

    async def _statuses(self, instances: Sequence[str]) -> list[dict[str, Any]]:
        """The statuses of the Spot requests of those that are Spot Instances."""
        found: list[dict[str, Any]] = []
        for some in _parts(instances):
            reply = await self._way.read_all(
                f"read the Spot requests of {self._called}",
                "describe_spot_instance_requests",
                Filters=[{"Name": "instance-id", "Values": some}],
            )
            found += [each.get("Status", {}) for each in reply.get("SpotInstanceRequests", ())]
        return found


def _parts(values: Sequence[str]) -> list[list[str]]:
    rest = iter(values)
    return list(iter(lambda: list(islice(rest, _AT_ONCE)), []))
