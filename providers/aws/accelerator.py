"""Traffic dials of AWS Global Accelerator.

A dial says which percentage of the clients that are *nearest* to an endpoint group it takes; the others go to the next
one. With dials that sum to 100 over two groups, each gets its percentage of all traffic, wherever clients are; with
more, a share depends on where they are
(https://docs.aws.amazon.com/global-accelerator/latest/dg/about-endpoint-groups-traffic-dial.html). New connections
follow a dial, those that stand stay. All of its API lives in us-west-2
(https://docs.aws.amazon.com/global-accelerator/latest/dg/preserve-client-ip-address.regions.html).
"""

from __future__ import annotations

from orchestrator.core.errors import BadInput
from orchestrator.core.steering import shares_of
from orchestrator.core.topology import SteeringSpec
from providers.aws.calling import Reply, Way, region_of
from providers.aws.dials import must_be_there
from providers.base import ProviderError, ServerAnswer
from providers.documents.places import document
from providers.fenced import FencedDial, Targets, answer_of

HOME = "us-west-2"
"""The region of the API."""
_MOST = 100
"""More endpoint groups than a listener may have."""


class TrafficDials:
    """Dial: the endpoint groups of one listener. A target is an endpoint group's region: ``eu-west-1``.

    It may: ``globalaccelerator:ListEndpointGroups``, ``globalaccelerator:UpdateEndpointGroup``,
    ``globalaccelerator:DescribeAccelerator``.
    """

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput without the ARN of a listener."""
        options = dict(spec.options)
        who = f"the steering of {spec.name}"
        self._listener = options.get("listener", "")
        region_of(self._listener, "globalaccelerator", f"{who}, options.listener")
        self._accelerator, found, _ = self._listener.partition("/listener/")
        if not found:
            raise BadInput(f"{who}, options.listener: '{self._listener}' is no listener of an accelerator")
        self._way = Way.of("globalaccelerator", {**options, "region": HOME}, who)
        self.at = f"accelerator {self._listener.partition(':accelerator/')[2]}"

    async def read(self) -> Targets:
        """Raises Transient, NotFound, Unauthenticated, Forbidden."""
        return _dials(await self._groups())

    async def turn(self, targets: Targets) -> None:
        """One dial after another, those that gain first: clients of a group at 0 have somewhere to go by then."""
        groups = await self._groups()
        now = _dials(groups)
        wanted = must_be_there(targets, now, self.at)
        if shares_of(targets) == shares_of(now):
            return
        for group in sorted(groups, key=lambda each: _dial(each) - wanted.get(each["EndpointGroupRegion"], 0)):
            percent = wanted.get(group["EndpointGroupRegion"], 0)
            if _dial(group) != percent:
                await self._way.write(
                    f"turn the dial of {group['EndpointGroupRegion']} at {self.at} to {percent}",
                    "update_endpoint_group",
                    EndpointGroupArn=group["EndpointGroupArn"],
                    TrafficDialPercentage=float(percent),
                )

    async def deployed(self) -> bool:
        """Whether what was set is in force everywhere."""
        reply = await self._way.read(f"read {self.at}", "describe_accelerator", AcceleratorArn=self._accelerator)
        return bool(reply["Accelerator"]["Status"] == "DEPLOYED")

    async def _groups(self) -> list[Reply]:
        reply = await self._way.read(
            f"read {self.at}", "list_endpoint_groups", ListenerArn=self._listener, MaxResults=_MOST
        )
        groups: list[Reply] = reply["EndpointGroups"]
        return groups


class AcceleratorSteering(FencedDial):
    """Steering by the traffic dials of an accelerator."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a steering that names no listener or fence."""
        self._dials = TrafficDials(spec)
        super().__init__(spec, self._dials, document(spec))

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What the dials say, once AWS has brought it everywhere. Never raises for its silence."""
        try:
            said = answer_of(await self._dials.read())
            if not await self._dials.deployed():
                return (ServerAnswer(self._dials.at, None, "AWS is still bringing the dials to its edge"),)
        except ProviderError as error:
            return (ServerAnswer(self._dials.at, None, str(error)),)
        return (ServerAnswer(self._dials.at, said),)


def _dial(group: Reply) -> int:
    # Anything above nothing is something: half a percent of the clients is not nobody.
    percent = float(group.get("TrafficDialPercentage", 100.0))
    return max(1, round(percent)) if percent > 0 else 0


def _dials(groups: list[Reply]) -> Targets:
    return tuple(sorted((each["EndpointGroupRegion"], _dial(each)) for each in groups))
