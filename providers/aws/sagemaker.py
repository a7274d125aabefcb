"""Endpoints of SageMaker: the instances of a production variant, and how variants share traffic.

One call sets either, and the endpoint is *Updating* until it is done: it serves meanwhile, and takes no other change
(https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpointWeightsAndCapacities.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.core.errors import BadInput
from orchestrator.core.steering import shares_of
from orchestrator.core.topology import SteeringSpec, Workload
from providers.aws.calling import Reply, Way, parts
from providers.aws.dials import must_be_there
from providers.aws.scalable import Scalable
from providers.base import Capacity, NoCapacity, NotFound, ProviderError, Refused, ServerAnswer, Transient
from providers.documents.places import document
from providers.fenced import FencedDial, Targets, answer_of

_SERVES = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"})
"""States in which an endpoint answers requests."""
_CHANGING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack"})
"""States in which it takes no change."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A SageMaker endpoint by its name."""

    way: Way
    name: str

    @property
    def called(self) -> str:
        return f"SageMaker endpoint {self.name} in {self.way.region}"

    async def read(self) -> Reply:
        """Raises Transient, NotFound, Forbidden, Unauthenticated."""
        return await self.way.read(f"read {self.called}", "describe_endpoint", told=self._told, EndpointName=self.name)

    async def change(self, what: str, variants: list[dict[str, Any]]) -> None:
        """Raises Transient while another change is under way, NoCapacity for a quota, and as ``read``."""
        await self.way.write(
            what,
            "update_endpoint_weights_and_capacities",
            told=self._told,
            EndpointName=self.name,
            DesiredWeightsAndCapacities=variants,
        )

    def _told(self, code: str, says: str) -> ProviderError | None:
        if code == "ValidationException" and "could not find" in says.lower():
            return NotFound(f"there is no {self.called}; mend the name, or the option region")
        if code == "ValidationException" and "in-progress" in says.lower():
            return Transient(f"{self.called} is being changed, and takes no other change until that is done")
        return None


class SageMakerVariant:
    """WorkloadControl: target ``endpoint/variant``, options region, profile, role, endpoint.

    It may: ``sagemaker:DescribeEndpoint``, ``sagemaker:UpdateEndpointWeightsAndCapacities``,
    ``application-autoscaling:DescribeScalableTargets``, and ``application-autoscaling:RegisterScalableTarget`` where
    the variant scales by itself.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a target that is not ``endpoint/variant``, or without a region."""
        name, self._variant = parts(handle.target, "endpoint/variant", "sagemaker")
        way = Way.of("sagemaker", dict(handle.options), f"the sagemaker workload '{handle.target}'")
        self._endpoint = Endpoint(way, name)
        self._called = f"variant {self._variant} of {self._endpoint.called}"
        self._scaling = Scalable(
            way.to("application-autoscaling"),
            "sagemaker",
            f"endpoint/{name}/variant/{self._variant}",
            "sagemaker:variant:DesiredInstanceCount",
        )

    async def read(self) -> Capacity:
        """Instances desired and serving: while the endpoint is updated fewer are ready than desired.

        Raises Transient, NotFound, NoCapacity (the last change failed for want of instances).
        """
        reply = await self._endpoint.read()
        bounds = await self._scaling.bounds()
        now = self._capacity(reply, bounds.most if bounds is not None else None)
        why = str(reply.get("FailureReason", ""))
        if now.ready < now.desired and reply["EndpointStatus"] not in _CHANGING and "capacity" in why.lower():
            raise NoCapacity(f"{self._called} has {now.ready} of {now.desired} instances, and AWS says: {why[:200]}")
        return now

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Ask for so many instances. Raises Transient while another change is under way, NotFound, NoCapacity."""
        reply = await self._endpoint.read()
        bounds = await self._scaling.bounds()
        now = self._capacity(reply, bounds.most if bounds is not None else None)
        if now.limit is not None and bounds is None and replicas > now.limit:
            raise NoCapacity(f"{self._called} may have {now.limit} by its managed scaling, not {replicas}; raise it")
        await self._scaling.allow(replicas, bounds)
        if now.desired != replicas:
            # Only what is changed is named: the weight may be steered by somebody else in this moment.
            wanted = {"VariantName": self._variant, "DesiredInstanceCount": replicas}
            try:
                await self._endpoint.change(f"scale {self._called} to {replicas}", [wanted])
            except Transient:
                # Application Auto Scaling may have gone up to the new minimum before us.
                if self._capacity(await self._endpoint.read(), None).desired != replicas:
                    raise
        return Capacity(replicas, now.ready, now.limit)

    def _capacity(self, reply: Reply, most: int | None) -> Capacity:
        found = [each for each in _variants(reply) if each["VariantName"] == self._variant]
        if not found:
            raise NotFound(f"there is no {self._called}; it has: {', '.join(_names(reply)) or 'none'}")
        variant = found[0]
        if "DesiredInstanceCount" not in variant:
            raise Refused(f"{self._called} is serverless: it has no instances to scale; take the workload away")
        managed = variant.get("ManagedInstanceScaling", {})
        limit = most if most is not None else managed.get("MaxInstanceCount")
        serves = int(variant.get("CurrentInstanceCount", 0)) if reply["EndpointStatus"] in _SERVES else 0
        return Capacity(int(variant["DesiredInstanceCount"]), serves, limit)


class VariantWeights:
    """Dial: how the production variants of one endpoint share its traffic. A target is a variant's name."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput without the endpoint's name or its region."""
        options = dict(spec.options)
        name = options.get("endpoint_name", "")
        if not name:
            raise BadInput(f"the steering of {spec.name} does not say which endpoint: write options.endpoint_name")
        self._endpoint = Endpoint(Way.of("sagemaker", options, f"the steering of {spec.name}"), name)
        self.at = self._endpoint.called

    async def read(self) -> Targets:
        """What was asked for last: while the endpoint is updated it still serves the former weights."""
        return _weights(await self._endpoint.read(), "DesiredWeight")

    async def serving(self) -> Targets:
        """What is served now."""
        return _weights(await self._endpoint.read(), "CurrentWeight")

    async def turn(self, targets: Targets) -> None:
        """All weights in one call, which SageMaker puts in force together."""
        now = await self.read()
        wanted = must_be_there(targets, now, self.at)
        if shares_of(targets) == shares_of(now):
            return
        weights = [{"VariantName": name, "DesiredWeight": float(wanted.get(name, 0))} for name, _ in now]
        await self._endpoint.change(f"set the weights of {self.at}", weights)


class VariantSteering(FencedDial):
    """Steering by the weights of production variants."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a steering that names no endpoint, region or fence."""
        self._weights = VariantWeights(spec)
        super().__init__(spec, self._weights, document(spec))

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What the endpoint serves now, which follows what was asked for. Never raises for its silence."""
        try:
            return (ServerAnswer(self._weights.at, answer_of(await self._weights.serving())),)
        except ProviderError as error:
            return (ServerAnswer(self._weights.at, None, str(error)),)


def _variants(reply: Reply) -> list[Reply]:
    found: list[Reply] = reply.get("ProductionVariants", [])
    return found


def _names(reply: Reply) -> list[str]:
    return [each["VariantName"] for each in _variants(reply)]


def _weights(reply: Reply, which: str) -> Targets:
    raw = {each["VariantName"]: float(each.get(which, 0.0)) for each in _variants(reply)}
    # Weights are numbers of any sum. Ours are whole; those of others may be fractions, and small ones are not nothing.
    fine = 1 if all(weight.is_integer() for weight in raw.values()) else 100_000 / max(raw.values())
    return tuple(sorted((name, round(weight * fine)) for name, weight in raw.items()))
