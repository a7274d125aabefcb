"""The bounds that Application Auto Scaling keeps a workload within, where somebody has registered it there.

Whoever changes a workload beside it is put back: whenever one of its policies runs, AWS brings what lies outside of
minimum and maximum inside again (https://docs.aws.amazon.com/autoscaling/application/userguide/getting-started.html).
So the minimum goes where the workload is asked to go, and comes first: a promoted endpoint that has no load yet is not
scaled in, and one that is demoted is not put up again. The maximum is what people allow, and stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from providers.aws.calling import Way
from providers.base import NoCapacity, ProviderError, Transient


@dataclass(frozen=True, slots=True)
class Bounds:
    """What scaling policies stay within."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Scalable:
    """One dimension of one resource, as Application Auto Scaling calls them."""

    way: Way
    namespace: str
    resource: str
    dimension: str

    async def bounds(self) -> Bounds | None:
        """None: nobody has registered it. Raises Transient, Forbidden, Unauthenticated."""
        found = await self.way.read(
            f"read how {self.resource} is scaled",
            "describe_scalable_targets",
            ServiceNamespace=self.namespace,
            ResourceIds=[self.resource],
            ScalableDimension=self.dimension,
        )
        targets = found["ScalableTargets"]
        return Bounds(int(targets[0]["MinCapacity"]), int(targets[0]["MaxCapacity"])) if targets else None

    async def allow(self, replicas: int, bounds: Bounds | None) -> None:
        """See to it that a level of *replicas* is kept. Raises NoCapacity above the maximum, and as ``bounds``."""
        if bounds is None:
            return
        if replicas > bounds.most:
            raise NoCapacity(
                f"{self.resource} may have {bounds.most} by the maximum of its scalable target, and {replicas} are "
                "asked for; raise MaxCapacity in Application Auto Scaling"
            )
        if replicas != bounds.least:
            await self.way.write(
                f"set the minimum of {self.resource} to {replicas}",
                "register_scalable_target",
                told=_busy,
                ServiceNamespace=self.namespace,
                ResourceId=self.resource,
                ScalableDimension=self.dimension,
                MinCapacity=replicas,
            )


def _busy(code: str, _says: str) -> ProviderError | None:
    return Transient("Application Auto Scaling is changing this target now") if "ConcurrentUpdate" in code else None
