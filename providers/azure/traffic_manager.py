"""Traffic Manager: the weights of a weighted profile, by the names of its endpoints.

Traffic Manager has no compare-and-set: its API knows neither an ETag of a profile nor ``If-Match``
(https://learn.microsoft.com/rest/api/trafficmanager/profiles/create-or-update). So the fence stands in a document
(``txt``), and the profile is the dial. One PUT of the whole profile turns all weights at the same moment. It carries
the rest of the profile as it was read just before: what a person changes there in that moment is written over.

Traffic Manager leaves endpoints out that its own probes find degraded, and gives all of them when all are:
https://learn.microsoft.com/azure/traffic-manager/traffic-manager-monitoring. What is read here is what was set.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from orchestrator.core.topology import SteeringSpec
from providers.azure.session import Reach, Reply, arm, name_of, resource
from providers.azure.txt import fence_of
from providers.base import NotFound, Refused
from providers.fenced import FencedDial, Targets

KIND = "Microsoft.Network/trafficManagerProfiles"
VERSION = "2022-04-01"


class Profile:
    """A weighted profile as a dial.

    An endpoint's weight is 1 to 1000 (https://learn.microsoft.com/rest/api/trafficmanager/endpoints/create-or-update);
    there is no 0, so an endpoint without traffic is disabled.
    """

    def __init__(self, profile_id: str, reach: Reach) -> None:
        """Raises BadInput for an id that is no profile's."""
        self._id = resource(profile_id, KIND, option="option profile")
        self._arm = arm("Azure Traffic Manager", reach)
        self.at = f"Traffic Manager profile {name_of(self._id)}"

    async def read(self) -> Targets:
        """Raises Transient, NotFound, Unauthenticated, Forbidden, Refused for a profile that does not weigh."""
        return _targets((await self._get()).body)

    async def turn(self, targets: Targets) -> None:
        """One PUT; none where the profile is so already."""
        body, wanted = (await self._get()).body, dict(targets)
        endpoints = _endpoints(body)
        missing = sorted(wanted.keys() - endpoints.keys())
        if missing:
            raise NotFound(f"{self.at} has no endpoint {', '.join(missing)}; it has {', '.join(sorted(endpoints))}")
        if {name: weight for name, weight in _targets(body) if weight} == {n: w for n, w in wanted.items() if w}:
            return
        if not _serves(body):
            raise Refused(f"the {self.at} is disabled, so that its name answers nothing; enable it")
        turned = deepcopy(body)
        for name, endpoint in _endpoints(turned).items():
            weight = wanted.get(name, 0)
            properties = endpoint.setdefault("properties", {})
            properties["endpointStatus"] = "Enabled" if weight else "Disabled"
            if weight:
                properties["weight"] = weight
        await self._arm.put(self._id, VERSION, turned, what=f"set the weights of the {self.at}")

    async def _get(self) -> Reply:
        reply = await self._arm.get(self._id, VERSION, what=f"read the {self.at}")
        method = reply.properties.get("trafficRoutingMethod")
        if method != "Weighted":
            raise Refused(f"the {self.at} routes by '{method}'; set its routing method to Weighted")
        return reply


def _endpoints(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(each["name"]): each for each in (body.get("properties") or {}).get("endpoints") or ()}


def _targets(body: dict[str, Any]) -> Targets:
    serves = _serves(body)
    endpoints = sorted(_endpoints(body).items())
    return tuple((name, _weight(each.get("properties") or {}) if serves else 0) for name, each in endpoints)


def _serves(body: dict[str, Any]) -> bool:
    return bool((body.get("properties") or {}).get("profileStatus", "Enabled") == "Enabled")


def _weight(properties: dict[str, Any]) -> int:
    return int(properties.get("weight") or 1) if properties.get("endpointStatus", "Enabled") == "Enabled" else 0


class TrafficManagerSteering(FencedDial):
    """Steering by a Traffic Manager profile, its fence in a document."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for options that name no profile, or no place for the fence."""
        options = dict(spec.options)
        reach = Reach.of(options)
        super().__init__(spec, Profile(options.get("profile", ""), reach), fence_of(spec, reach))
