"""Azure Machine Learning's online endpoints: instances of a deployment, and the spread of traffic over deployments.

https://learn.microsoft.com/azure/machine-learning/concept-endpoints-online. An endpoint has no ETag, so the fence of
its traffic stands in a document (``txt``); its PATCH knows no traffic, so the whole endpoint is PUT, as its own tools
do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from orchestrator.core.topology import SteeringSpec, Workload
from providers.azure.session import Arm, Reach, Reply, arm, name_of, resource
from providers.azure.txt import fence_of
from providers.base import Capacity, NotFound, Refused
from providers.fenced import FencedDial, Targets

ENDPOINT = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
DEPLOYMENT = f"{ENDPOINT}/deployments"
VERSION = "2024-04-01"
TURN_S = 6.0
"""How long a change of the traffic is waited for. It goes on afterwards, and the next attempt finds it done."""
_GIVEN = ("authMode", "compute", "description", "mirrorTraffic", "properties", "publicNetworkAccess", "traffic")
"""The properties of an endpoint that are given; the others are made by the service, and not taken back."""


def _arm(options: Mapping[str, str]) -> Arm:
    return arm(f"Azure Machine Learning in {options.get('region', '')}", Reach.of(options))


class MachineLearningWorkload:
    """WorkloadControl of one deployment: the level is the capacity of its SKU, in instances."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a target that is no deployment's id."""
        self._id = resource(handle.target, DEPLOYMENT, option="target")
        self._at = f"deployment {name_of(self._id)} of the online endpoint {self._id.split('/')[-3]}"
        self._arm = _arm(dict(handle.options))

    async def read(self) -> Capacity:
        """Raises Transient, NotFound.

        The service tells no instances one by one: all are ready when it calls the deployment done, none before.
        """
        return _capacity(await self._get())

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Ask for *replicas* and return at once. Raises Transient, NoCapacity, NotFound, Refused."""
        now = _capacity(await self._get())
        if replicas < 1:
            raise Refused(f"the {self._at} keeps one instance at least; write standby: 1, or delete it by hand")
        if replicas == now.desired:
            return now
        what = f"scale the {self._at} to {replicas} instances"
        await self._arm.patch(self._id, VERSION, {"sku": {"capacity": replicas}}, what=what)
        return Capacity(replicas, 0)

    async def _get(self) -> Reply:
        return await self._arm.get(self._id, VERSION, what=f"read the {self._at}")


def _capacity(reply: Reply) -> Capacity:
    desired = int((reply.body.get("sku") or {}).get("capacity") or 0)
    return Capacity(desired, desired if reply.properties.get("provisioningState") == "Succeeded" else 0)


class Endpoint:
    """The traffic of an online endpoint, as a dial."""

    def __init__(self, endpoint_id: str, options: Mapping[str, str]) -> None:
        """Raises BadInput for an id that is no online endpoint's."""
        self._id = resource(endpoint_id, ENDPOINT, option="option online_endpoint")
        self._arm = _arm(options)
        self.at = f"online endpoint {name_of(self._id)}"

    async def read(self) -> Targets:
        """Raises Transient, NotFound, Unauthenticated, Forbidden."""
        return (await self._stands())[1]

    async def turn(self, targets: Targets) -> None:
        """One PUT of the endpoint; none where it is so already."""
        (now, stands), wanted = await self._stands(), dict(targets)
        names = [name for name, _ in stands]
        missing = sorted(wanted.keys() - set(names))
        if missing:
            raise NotFound(f"the {self.at} has no deployment {', '.join(missing)}; it has {', '.join(names) or 'none'}")
        turned = {name: wanted.get(name, 0) for name in names}
        if turned == dict(stands):
            return
        what = f"set the traffic of the {self.at}"
        begun = await self._arm.put(self._id, VERSION, _given(now.body, turned), what=what)
        await self._arm.done(begun, what=what, within_s=TURN_S)

    async def _stands(self) -> tuple[Reply, Targets]:
        """The endpoint, and every deployment of it with its percent."""
        what = f"read the deployments of the {self.at}"
        now, found = await asyncio.gather(self._get(), self._arm.every(f"{self._id}/deployments", VERSION, what=what))
        traffic = now.properties.get("traffic") or {}
        names = {str(each["name"]) for each in found} | set(traffic)
        return now, tuple((name, int(traffic.get(name) or 0)) for name in sorted(names))

    async def _get(self) -> Reply:
        return await self._arm.get(self._id, VERSION, what=f"read the {self.at}")


def _given(body: Mapping[str, Any], traffic: Mapping[str, int]) -> dict[str, Any]:
    """What an endpoint is made of, without what the service adds: its state, its addresses, ids of its identities."""
    properties = {name: value for name, value in (body.get("properties") or {}).items() if name in _GIVEN}
    out = {name: body[name] for name in ("location", "tags", "kind", "sku") if body.get(name)}
    identity = body.get("identity")
    if identity:
        assigned = identity.get("userAssignedIdentities")
        out["identity"] = {"type": identity.get("type")}
        if assigned:
            out["identity"]["userAssignedIdentities"] = {each: {} for each in assigned}
    return out | {"properties": properties | {"traffic": dict(traffic)}}


class MachineLearningSteering(FencedDial):
    """Steering by the traffic of an online endpoint over its deployments, its fence in a document."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for options that name no online endpoint, or no place for the fence."""
        options = dict(spec.options)
        dial = Endpoint(options.get("online_endpoint", ""), options)
        super().__init__(spec, dial, fence_of(spec, Reach.of(options)))
