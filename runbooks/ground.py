"""What a plan stands on: the service, its routing as it was read, and what must be there before anything is planned."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.core.errors import FailoverError, Unsteerable
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.steering import Routing, answer_for, serving, weights_in
from orchestrator.core.topology import Answer, Endpoint, Service, Shares, SteeringSpec, Weights
from runbooks.books import Shelf
from runbooks.printed import spread


class Unplannable(FailoverError):
    """A move that cannot be planned. The sentence names what is missing."""


class Unweighable(Unplannable):
    """Weights that this steering cannot say, though it may say others."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan is made from."""

    service: Service
    routing: Routing | None
    """As it was read; None: not known, and then nothing can be moved."""
    revision: int
    shelf: Shelf = field(default_factory=Shelf)
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Named roles, and who is in them."""
    usual: tuple[tuple[str, float], ...] = ()
    """How long steps have usually taken, by id: seconds."""
    detection_s: float = 0.0
    """How long the outage lasts already: part of the predicted recovery."""
    crowded: bool = False
    """Whether it is one of several moves to the same place, or one that nobody waits for: then it keeps a distance."""


@dataclass(frozen=True, slots=True)
class Case:
    """What every step is planned from."""

    move: Move
    ground: Ground
    run: RunId
    trigger: Trigger
    before: Weights | None

    @property
    def service(self) -> Service:
        return self.ground.service

    @property
    def target(self) -> Endpoint:
        return self.service.endpoint(self.move.target)

    @property
    def gaining(self) -> tuple[EndpointId, ...]:
        """The target, and after it every other endpoint that begins to carry traffic: each is made ready and proved."""
        if self.move.kind is MoveKind.PREPARATION:
            return (self.move.target,)
        carried = {self.move.target, *(serving(self.before) if self.before else ())}
        return (self.move.target, *(name for name in serving(self.move.after) if name not in carried))

    @property
    def generation(self) -> int:
        """The generation that stands."""
        return self.ground.routing.generation if self.ground.routing else 0

    @property
    def routing(self) -> Routing:
        """The routing. Raises Unplannable where it is not known."""
        if self.ground.routing is None:
            raise Unplannable(f"the routing of service '{self.service.id}' is not known, so nothing can be moved")
        return self.ground.routing

    @property
    def spec(self) -> SteeringSpec:
        """How it is steered. Raises Unplannable where it is not."""
        if self.service.steering is None:
            raise Unplannable(
                f"service '{self.service.id}' has no steering, so its traffic cannot be moved; give it one"
            )
        return self.service.steering

    @property
    def returns(self) -> bool:
        """Whether a steer has a way back: the source still serves, and the old answer can be said again."""
        return self.move.planned and self.before is not None


def the_case(move: Move, ground: Ground, run: RunId, trigger: Trigger) -> Case:
    """The case of *move*, once everything is known to be there that it needs. Raises Unplannable."""
    service = ground.service
    known = tuple(sorted(endpoint.id for endpoint in service.endpoints))
    before = None if ground.routing is None else _before(service, ground.routing)
    case = Case(move, ground, run, trigger, before)
    if move.kind is not MoveKind.PREPARATION:
        spec = case.spec
    for name in (move.target, *move.source):
        if name not in known:
            raise Unplannable(f"service '{service.id}' has no endpoint '{name}'; there are: {', '.join(known)}")
    if move.kind is MoveKind.PREPARATION:
        return case
    if tuple(name for name, _ in move.after) != known:
        raise Unplannable(
            f"the weights {_listed(move.after)} do not name each endpoint of service '{service.id}' once, in order; "
            f"give one weight each to {', '.join(known)}"
        )
    if move.target not in serving(move.after):
        raise Unplannable(f"the move to '{move.target}' would give it no traffic; give it a weight above 0")
    answer = expressed(service, spec, move.after)
    if before == move.after and answer == case.routing.answer:
        raise Unplannable(
            f"traffic of service '{service.id}' goes to {spread(before)} already; there is nothing to move"
        )
    return case


def expressed(service: Service, spec: SteeringSpec, weights: Weights) -> Answer:
    """The answer that means *weights*. Raises Unweighable where this steering cannot say it."""
    try:
        answer = answer_for(service.endpoints, weights)
    except Unsteerable as error:
        raise Unweighable(f"service '{service.id}' cannot be steered to {spread(weights)}: {error}") from error
    given = [weight for _, weight in weights if weight]
    if spec.shares is Shares.ONE and len(given) > 1:
        raise Unweighable(
            f"steering of service '{service.id}' by {spec.provider} sends traffic to one endpoint at a time and cannot "
            f"express {spread(weights)}; send all of it to one"
        )
    # A third is 34, 33 and 33: weights that differ by rounding are equal.
    if spec.shares is Shares.EQUAL and max(given) - min(given) > 1:
        raise Unweighable(
            f"steering of service '{service.id}' by {spec.provider} spreads traffic evenly and cannot express "
            f"{spread(weights)}; ask for equal weights, or send all of it to one"
        )
    return answer


def _before(service: Service, routing: Routing) -> Weights | None:
    """The weights that stand: the fence's where they explain the answer, else what the answer alone says."""
    if routing.answer is None:
        return None
    if routing.fence is not None:
        weights = routing.fence.weights
        try:
            if answer_for(service.endpoints, weights) == routing.answer:
                given = dict(weights)
                return tuple(sorted((endpoint.id, given.get(endpoint.id, 0)) for endpoint in service.endpoints))
        except Unsteerable:
            pass  # the topology has changed since that write; the answer itself may still be explained
    return weights_in(routing.answer, service.endpoints)


def _listed(weights: Weights) -> str:
    return " ".join(f"{endpoint}:{weight}" for endpoint, weight in weights) or "(none)"
