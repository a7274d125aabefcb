"""What a drill rehearses on when nothing real may move: a shadow of the service, steered at a canary name. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.core.errors import BadInput
from orchestrator.core.governing import Ledger, judge, may_proceed, slot_request
from orchestrator.core.move import Move
from orchestrator.core.names import EndpointId, RunId, shadow
from orchestrator.core.situation import Situation
from orchestrator.core.topology import Endpoint, Mode, Role, Service, SteeringSpec

CANARY = "_drill."
"""Stands before a name: the record that a drill moves in its place."""


@dataclass(frozen=True, slots=True)
class Pretence:
    """What probers are told to see: a fault at one endpoint, between two moments that no retry moves."""

    drill: str
    url: str
    """The endpoint's."""
    fault: str
    """A ``providers.base.FaultKind`` value."""
    since: datetime
    until: datetime
    """It ends then by itself, whoever is still alive."""

    def in_force(self, now: datetime) -> bool:
        """Whether it is to be seen at *now*."""
        return self.since <= now < self.until


def canary(spec: SteeringSpec) -> SteeringSpec:
    """The steering of the name that is moved in place of *spec*'s: same servers and key, another name."""
    return replace(spec, name=f"{CANARY}{spec.name}")


def shadow_of(service: Service) -> Service:
    """*service* as a drill moves it: the same endpoints, probes and rules, and a record that no client asks for.

    It acts by itself whatever the mode of the real one is, without a pause after the drill before. It takes nothing
    of shared pools. Raises BadInput where the service has no steering.
    """
    if service.steering is None:
        raise BadInput(f"service '{service.id}' has no steering, so there is no record to rehearse with")
    return replace(
        service,
        id=shadow(service.id),
        endpoints=tuple(replace(endpoint, pool=None) for endpoint in service.endpoints),
        steering=canary(service.steering),
        policy=replace(service.policy, mode=Mode.AUTOMATIC, cooldown_s=0.0, acknowledge=False),
        depends=(),
    )


def cold_standbys(service: Service) -> tuple[EndpointId, ...]:
    """The standbys that are scaled to nothing in ordinary times, and can be asked nothing until they are promoted."""
    return tuple(
        each.id
        for each in service.endpoints
        if each.role is Role.STANDBY
        and each.workload is not None
        and each.workload.standby == 0 < each.workload.serving
    )


def home_of(service: Service, carrying: tuple[EndpointId, ...], wanted: EndpointId | None) -> EndpointId:
    """Where the canary begins: the endpoint *wanted*, or that which carries the traffic, or is meant to.

    Raises BadInput where there is no endpoint *wanted*: a schedule may be older than the topology.
    """
    names = [endpoint.id for endpoint in service.endpoints]
    if wanted is not None and wanted not in names:
        raise BadInput(f"service '{service.id}' has no endpoint '{wanted}'; it has: {', '.join(names)}")
    if wanted is not None:
        return wanted
    if carrying:
        return carrying[0]

    def standing_by(endpoint: Endpoint) -> bool:
        return endpoint.role is not Role.ACTIVE

    return min(service.endpoints, key=standing_by).id


def governor_says(move: Move, situation: Situation, ledger: Ledger | None) -> tuple[bool, str]:
    """Whether *move*, which a drill rehearses, would be let go, and in words; no place and no room is taken.

    *ledger* None: the governor does not answer.
    """
    if ledger is None:
        if may_proceed(move, situation):
            return True, "the governor does not answer, and this service would go without it"
        return False, "the governor does not answer, and without it a person would be asked; look at: failover doctor"
    request = slot_request(move, situation, RunId("rehearsed"), "")
    answer = judge(ledger, request, now=situation.now)
    if not answer.granted:
        return False, f"the governor would refuse: {'; '.join(each.text for each in answer.objections)}"
    taken = {each.pool: each.amount for each in answer.promised}
    carries = {each.id: each.capacity for each in ledger.pools}
    rooms = [
        f"pool '{pool}' carries {carries.get(pool, 0)} requests in flight, {taken.get(pool, 0)} are promised to others "
        f"and {coming} would come to it"
        for pool, coming in request.needs
    ]
    return True, "; ".join(("the governor would let it go", *rooms))
