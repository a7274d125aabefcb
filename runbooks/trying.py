"""A runbook tried on a topology: the plans that it would become, with nothing asked and nothing read. Pure.

Traffic is taken to go where the topology wants it in ordinary times, under the first fence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.core.errors import BadInput, Unsteerable
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.steering import Fence, Routing, answer_for, evenly, full, serving
from orchestrator.core.topology import Endpoint, Role, Service, Topology
from runbooks.books import Shelf
from runbooks.ground import Ground, Unplannable
from runbooks.model import Runbook, SteerTask, every
from runbooks.nesting import unnested
from runbooks.plan import Plan
from runbooks.planner import plan

RUN = RunId("tried")


@dataclass(frozen=True, slots=True)
class Tried:
    """What a runbook becomes in one kind of move."""

    kind: MoveKind
    plan: Plan | None
    why: str = ""
    """Why there is no plan."""


def tried(
    book: Runbook, topology: Topology, service: Service, shelf: Shelf, target: EndpointId | None = None
) -> tuple[Tried, ...]:
    """*book* in a planned and in an unplanned move of *service*, or in a preparation where it moves no traffic.

    A kind of move that the book has no steer for is left out, as long as it is for the other. Raises BadInput for a
    target that there is not, and for a service that nothing can be tried on.
    """
    try:
        traffic = [step for step in every(unnested(book, shelf).steps) if isinstance(step.task, SteerTask)]
    except BadInput as error:
        return (Tried(MoveKind.SWITCHOVER, None, str(error)),)
    kinds = [
        kind
        for kind in (MoveKind.SWITCHOVER, MoveKind.FAILOVER)
        if any(step.when.holds(planned=kind is not MoveKind.FAILOVER) for step in traffic)
    ]
    ground = _ground(topology, service, shelf)
    return tuple(_tried(book, ground, kind, target) for kind in kinds or [MoveKind.PREPARATION])


def _tried(book: Runbook, ground: Ground, kind: MoveKind, target: EndpointId | None) -> Tried:
    move = _move(ground, kind, target)
    trigger = Trigger("somebody", "the runbook is tried")
    try:
        return Tried(kind, plan(move, ground, run=RUN, trigger=trigger, book=book))
    except Unplannable as error:
        return Tried(kind, None, str(error))


def _ground(topology: Topology, service: Service, shelf: Shelf) -> Ground:
    endpoints = service.endpoints
    ordinary = tuple(each.id for each in endpoints if each.role is Role.ACTIVE) or tuple(e.id for e in endpoints[:1])
    weights = evenly(endpoints, ordinary)
    routing: Routing | None = None
    if service.steering is not None:
        try:
            answer = answer_for(endpoints, weights)
        except Unsteerable as error:
            raise BadInput(f"service '{service.id}' of the topology cannot be steered: {error}") from error
        routing = Routing(answer, service.steering.ttl_s, Fence(1, "first", "adopt", weights))
    return Ground(service, routing, revision=1, shelf=shelf, roles=topology.roles)


def _move(ground: Ground, kind: MoveKind, target: EndpointId | None) -> Move:
    service = ground.service
    fence = ground.routing.fence if ground.routing is not None else None
    carrying = serving(fence.weights) if fence is not None else ()
    known = [each.id for each in service.endpoints]
    if target is not None and target not in known:
        raise BadInput(f"service '{service.id}' has no endpoint '{target}'; there are: {', '.join(known)}")
    chosen = target if target is not None else next(_targets(service, carrying))
    if kind is MoveKind.PREPARATION:
        return Move(service.id, kind, (), chosen, fence.weights if fence is not None else ())
    source = tuple(name for name in carrying if name != chosen)
    failing = tuple(sorted({service.endpoint(name).region for name in source}))
    after = full(service.endpoints, chosen)
    return Move(service.id, kind, source, chosen, after, failing if kind is MoveKind.FAILOVER else ())


def _targets(service: Service, carrying: tuple[EndpointId, ...]) -> Iterator[EndpointId]:
    """Endpoints in the order in which the policy prefers them, those without traffic first."""
    prefer = service.policy.prefer

    def rank(endpoint: Endpoint) -> tuple[bool, int, EndpointId]:
        place = prefer.index(endpoint.id) if endpoint.id in prefer else len(prefer)
        return endpoint.id in carrying, place, endpoint.id

    yield from (endpoint.id for endpoint in sorted(service.endpoints, key=rank))
