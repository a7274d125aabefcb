"""Target groups of Elastic Load Balancing: who is healthy in one, and letting everybody in it finish.

A target that is deregistered gets no new work, and finishes what it has within the group's deregistration delay (300 s
where nobody has changed it). Elastic Load Balancing goes on to call it draining until that delay is over, whether it
has finished or not, so that this is no count of what is in flight
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers import inflight
from providers.aws.calling import Way, region_of
from providers.aws.living import Living, living_of
from providers.base import Refused

TAG = "failover:drained"
"""The tags of a target group that hold whom we deregistered: this, and this with ``-2``, ``-3`` ..."""
TAG_LENGTH = 256
"""The longest value of a tag."""
TAGS = 30
"""So many of a resource's 50 tags at most."""
_GONE = frozenset({"draining", "unused"})
_NOT_HERE = frozenset({"Target.NotRegistered", "Target.DeregistrationInProgress"})


@dataclass(frozen=True, slots=True)
class Target:
    """One target, as it was registered."""

    id: str
    port: int | None = None
    zone: str = ""
    """``all``, or a zone, where an address outside of the VPC was registered; empty: as the load balancer finds it."""

    @property
    def described(self) -> dict[str, Any]:
        """As the API takes it."""
        port = {} if self.port is None else {"Port": self.port}
        return {"Id": self.id} | port | ({"AvailabilityZone": self.zone} if self.zone else {})

    @property
    def word(self) -> str:
        """As a tag holds it."""
        return f"{self.id}@{'' if self.port is None else self.port}@{self.zone}"

    @classmethod
    def read(cls, word: str) -> Self:
        """Raises ValueError for another text."""
        name, port, zone = word.split("@")
        return cls(name, int(port) if port else None, zone)


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A target group by its ARN."""

    way: Way
    arn: str

    @classmethod
    def of(cls, arn: str, options: Mapping[str, str]) -> Self:
        """Raises BadInput for a text that is no ARN of a target group."""
        region = region_of(arn, "elasticloadbalancing", "the option target_group")
        if ":targetgroup/" not in arn:
            raise BadInput(f"the option target_group names '{arn}', which is no target group")
        return cls(Way.of("elbv2", {**options, "region": region}, "the option target_group"), arn)

    @property
    def called(self) -> str:
        return f"target group {self.arn.split('/')[1]} in {self.way.region}"

    async def healthy(self) -> tuple[Target, ...]:
        """Raises Transient, NotFound, Forbidden, Unauthenticated."""
        return tuple(target for target, state, _ in await self._health() if state == "healthy")

    async def registered(self) -> tuple[Target, ...]:
        """All that get work, or would if they were healthy; none that drains."""
        return tuple(
            target
            for target, state, reason in await self._health()
            if state not in _GONE or (state == "unused" and reason not in _NOT_HERE)
        )

    async def drained(self) -> tuple[Target, ...]:
        """Whom we deregistered, by the tags. Raises as ``healthy``."""
        words = " ".join(value for _, value in sorted((await self._tags()).items())).split()
        try:
            return tuple(sorted({Target.read(word) for word in words}, key=lambda each: each.word))
        except ValueError:
            raise Refused(
                f"the tags {TAG} of {self.called} do not say whom a drain took out: they were edited by hand; register "
                "its targets, and delete the tags"
            ) from None

    async def remember(self, targets: tuple[Target, ...]) -> None:
        """Write down whom we deregister, in the place of what stood there; nobody: take it away."""
        words = sorted({each.word for each in targets})
        wanted, now = _as_tags(words, self.called), await self._tags()
        if wanted and wanted != now:
            await self.way.write(
                f"tag {self.called}",
                "add_tags",
                ResourceArns=[self.arn],
                Tags=[{"Key": key, "Value": value} for key, value in wanted.items()],
            )
        if left := sorted(now.keys() - wanted.keys()):
            await self.way.write(f"tag {self.called}", "remove_tags", ResourceArns=[self.arn], TagKeys=left)

    async def deregister(self, targets: tuple[Target, ...]) -> None:
        await self._change("deregister the targets of", "deregister_targets", targets)

    async def register(self, targets: tuple[Target, ...]) -> None:
        await self._change("register targets with", "register_targets", targets)

    async def _change(self, verb: str, operation: str, targets: tuple[Target, ...]) -> None:
        if targets:
            described = [each.described for each in targets]
            await self.way.write(f"{verb} {self.called}", operation, TargetGroupArn=self.arn, Targets=described)

    async def _health(self) -> tuple[tuple[Target, str, str], ...]:
        reply = await self.way.read(
            f"read who is healthy in {self.called}", "describe_target_health", TargetGroupArn=self.arn
        )
        return tuple(
            (_target(each["Target"]), each["TargetHealth"]["State"], each["TargetHealth"].get("Reason", ""))
            for each in reply["TargetHealthDescriptions"]
        )

    async def _tags(self) -> dict[str, str]:
        reply = await self.way.read(f"read the tags of {self.called}", "describe_tags", ResourceArns=[self.arn])
        tags = {tag["Key"]: tag["Value"] for each in reply["TagDescriptions"] for tag in each["Tags"]}
        return {key: value for key, value in tags.items() if key.startswith(TAG)}


def _target(said: Mapping[str, Any]) -> Target:
    # Only an address may be registered with a zone.
    address = not str(said["Id"]).startswith(("i-", "arn:"))
    return Target(said["Id"], said.get("Port"), said.get("AvailabilityZone", "") if address else "")


class TargetsDrain:
    """DrainControl of a workload at AWS.

    Clients leave when traffic is steered away: nothing else is needed where nothing else is asked for. With the option
    ``drain: deregister`` its targets are taken out of the target group, for those who still come by an address that
    they keep: they meet an empty target group, which answers them with errors. Who was taken out stands in tags of the
    group, so that *end* puts the same back, but for those that are gone meanwhile; until then the endpoint serves
    nobody. AWS does not say what ECS makes of tasks that somebody else has deregistered: try it with yours before you
    rely on it.

    It may, with that option: ``elasticloadbalancing:DescribeTargetHealth``, ``DescribeTags``, ``AddTags``,
    ``RemoveTags``, ``DeregisterTargets``, ``RegisterTargets``, and ``ecs:ListTasks``, ``ecs:DescribeTasks``,
    ``ecs:DescribeContainerInstances`` or ``autoscaling:DescribeAutoScalingGroups``.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for ``drain: deregister`` without a target group, or for another word."""
        options = dict(handle.options)
        self._metrics = options.get("metrics", "")
        wish, arn = options.get("drain", ""), options.get("target_group", "")
        if wish not in {"", "deregister"}:
            raise BadInput(f"option drain of '{handle.target}' says '{wish}'; it knows: deregister")
        if wish and not arn:
            raise BadInput(f"option drain of '{handle.target}' needs target_group, the ARN of the one to drain")
        self._group = TargetGroup.of(arn, options) if wish else None
        self._living: Living | None = living_of(handle) if wish else None

    async def begin(self, *, key: str) -> None:
        """Deregister whoever is registered. Raises Transient, NotFound, Forbidden."""
        if self._group is None:
            return
        now = await self._group.registered()
        if now:
            # Written down first: who dies in between has lost nobody.
            await self._group.remember((*await self._living_of(await self._group.drained()), *now))
            await self._group.deregister(now)

    async def in_flight(self) -> int | None:
        """By the page of metrics that the option names; None: nobody counts it."""
        return await inflight.running(self._metrics) if self._metrics else None

    async def end(self, *, key: str) -> None:
        """Register again whom *begin* took out and who still lives. Raises Transient, NotFound, Forbidden."""
        if self._group is None:
            return
        taken_out = await self._group.drained()
        if taken_out:
            await self._group.register(await self._living_of(taken_out))
            await self._group.remember(())

    async def _living_of(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Those that still are the workload's: an address that is somebody else's by now would be given our clients."""
        if not targets or self._living is None:
            return targets
        alive = await self._living.among()
        return tuple(each for each in targets if not alive.isdisjoint({each.id, (each.id, each.port)}))


def _as_tags(words: list[str], where: str) -> dict[str, str]:
    """Raises Refused for more than tags hold."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) < TAG_LENGTH:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > TAGS:
        raise Refused(f"{where} has {len(words)} targets, more than its tags can hold; drain it by weights instead")
    return {TAG if number == 1 else f"{TAG}-{number}": line for number, line in enumerate(lines, 1)}
