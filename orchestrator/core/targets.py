"""Whether the endpoints that a move gives traffic to are fit for it: known to work, proven, large, allowed.

Each function is the check of one safety rule: a text for each way in which the move breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import EndpointId, ServiceId, encloses
from orchestrator.core.quorum import Verdict
from orchestrator.core.situation import Situation
from orchestrator.core.steering import evenly, serving
from orchestrator.core.topology import Service, Weights

MOST_NAMED = 5
"""Services that a sentence names; the others are counted."""


def gaining(move: Move, situation: Situation) -> tuple[EndpointId, ...]:
    """The target, and every other endpoint that begins to carry traffic."""
    begin = {e for e in serving(move.after) if e not in situation.carrying}
    return tuple(sorted({move.target} | begin))


def coming(after: Weights, service: Service) -> Iterator[tuple[EndpointId, int | None]]:
    """Each endpoint that would serve by *after*, and the requests in flight that would come to it; None: not known."""
    serves = serving(after)
    even = after == evenly(service.endpoints, serves)
    total = sum(weight for _, weight in after if weight > 0)
    need = service.policy.capacity
    for name, weight in after:
        if weight > 0:
            part, parts = (1, len(serves)) if even else (weight, total)
            yield name, None if need is None else -(-need * part // parts)


def load(after: Weights, situation: Situation) -> Iterator[tuple[EndpointId, int | None, int | None]]:
    """Each endpoint that would serve by *after*, its capacity, and the requests in flight that would come to it."""
    for name, need in coming(after, situation.service):
        endpoint = situation.endpoint(name)
        yield name, endpoint.capacity if endpoint else None, need


def target_unknown(move: Move, situation: Situation) -> Iterator[str]:
    """Nobody can say whether an endpoint works that would begin to serve."""
    for name in gaining(move, situation):
        if situation.verdict(name) is Verdict.UNKNOWN and not situation.cold(name):
            seen = situation.assessment(name).text
            yield f"nobody can say whether endpoint '{name}' works ({seen}); get its vantages going or choose another"


def target_down(move: Move, situation: Situation) -> Iterator[str]:
    """An endpoint that would begin to serve is down."""
    for name in gaining(move, situation):
        # A cold standby is promoted and proves itself in the run, before it gets traffic.
        if situation.verdict(name) is Verdict.DOWN and not situation.cold(name):
            yield f"endpoint '{name}' is down itself ({situation.assessment(name).text}); choose another target"


def target_cold(move: Move, situation: Situation) -> Iterator[str]:
    """An endpoint that would begin to serve runs nothing yet."""
    for name in gaining(move, situation):
        if situation.cold(name):
            yield (
                f"endpoint '{name}' is a cold standby without replicas: it gets traffic only once it is promoted and "
                "has completed inferences, which takes as long as loading its model"
            )


def target_degraded(move: Move, situation: Situation) -> Iterator[str]:
    """An endpoint that would begin to serve is slow or throttles."""
    for name in gaining(move, situation):
        if situation.verdict(name) is Verdict.DEGRADED:
            yield f"endpoint '{name}' is degraded ({situation.assessment(name).text}); relieve it or choose another"


def target_not_proven(move: Move, situation: Situation) -> Iterator[str]:
    """An endpoint that would begin to serve has not been seen to complete an answer."""
    for name in gaining(move, situation):
        if not situation.assessment(name).proven and not situation.cold(name):
            yield f"no completed answer of endpoint '{name}' has been seen lately; try it with: failover probe {name}"


def capacity_unknown(move: Move, situation: Situation) -> Iterator[str]:
    """What is needed, or what an endpoint carries, is not known."""
    service = situation.service
    if service.policy.capacity is None:
        yield f"how many requests in flight service '{service.id}' needs is not known; set its policy's capacity"
    for name, capacity, _ in load(move.after, situation):
        if capacity is None:
            yield f"how many requests in flight endpoint '{name}' can carry is not known; set its capacity"


def capacity_short(move: Move, situation: Situation) -> Iterator[str]:
    """More would come to an endpoint than it carries."""
    for name, capacity, need in load(move.after, situation):
        if capacity is not None and need is not None and capacity < need:
            yield (
                f"endpoint '{name}' can carry {capacity} requests in flight and {need} would come to it; "
                "raise its capacity or shed load first"
            )


def same_region(move: Move, situation: Situation) -> Iterator[str]:
    """An endpoint that would begin to serve stands where the trouble is."""
    for name in gaining(move, situation):
        endpoint = situation.endpoint(name)
        near = [domain for domain in move.failing if endpoint and encloses(domain, endpoint.region)]
        if near:
            yield f"endpoint '{name}' stands in {near[0]}, where the trouble is; choose a target elsewhere"


def too_few_serving(move: Move, situation: Situation) -> Iterator[str]:
    """Fewer endpoints would serve than the policy wants."""
    service, least = situation.service, situation.service.policy.least
    # That one serves is what the rules on the target itself see to.
    if least <= 1 or move.kind is MoveKind.PREPARATION:
        return
    working = {Verdict.HEALTHY, Verdict.DEGRADED}
    left = [e for e in serving(move.after) if situation.cold(e) or situation.verdict(e) in working]
    if len(left) < least:
        who = f"{len(left)} would ({', '.join(left)})" if left else "none would"
        yield (
            f"{least} endpoints of service '{service.id}' are to serve after a move and {who}; bring another one "
            "into service, or lower its policy's serving.least"
        )


def outside_residency(move: Move, situation: Situation) -> Iterator[str]:
    """Traffic would go to where the service's data must not go."""
    allowed = situation.service.policy.residency
    if not allowed or move.kind is MoveKind.PREPARATION:
        return
    for name in sorted({move.target, *serving(move.after)}):
        endpoint = situation.endpoint(name)
        law = situation.orders.jurisdiction(endpoint.region) if endpoint else None
        if endpoint is None or law in allowed:
            continue
        stands = f"stands in {endpoint.region}, jurisdiction '{law}'" if law else f"stands in {endpoint.region}"
        unknown = "" if law else ", whose jurisdiction is not known"
        yield (
            f"endpoint '{name}' {stands}{unknown}, and the data of service '{situation.service.id}' must stay in "
            f"{', '.join(allowed)}; choose a target there"
        )


def pool_needs(after: Weights, situation: Situation) -> tuple[tuple[str, int], ...]:
    """The requests in flight that would come to each shared pool by *after*; sorted by pool."""
    needs: dict[str, int] = {}
    for name, capacity, need in load(after, situation):
        endpoint = situation.endpoint(name)
        if endpoint is not None and endpoint.pool is not None:
            # An unknown need is a question of its own; the endpoint's capacity is the most that could come.
            coming = need if need is not None else capacity or 0
            needs[endpoint.pool] = needs.get(endpoint.pool, 0) + coming
    return tuple(sorted(needs.items()))


def pool_full(move: Move, situation: Situation) -> Iterator[str]:
    """Together with what other services were promised, more would come to a shared pool than it carries."""
    promised, holders = dict(situation.promised), dict(situation.holders)
    takes = dict(pool_needs(situation.shares, situation)) if situation.shares is not None else {}
    for shared, coming in pool_needs(move.after, situation):
        if 0 < coming <= takes.get(shared, 0):
            # What it takes already is no less there for a move that stays below it.
            continue
        pool = situation.orders.pool(shared)
        taken = promised.get(shared, 0)
        if pool is None:
            yield f"how many requests in flight pool '{shared}' carries is not known; add it to the topology's pools"
        elif taken + coming > pool.capacity:
            who = holders.get(shared, "other services")
            yield (
                f"pool '{shared}' carries {pool.capacity} requests in flight, {taken} are promised to {who} "
                f"and {coming} would come to it; free some of it or choose a target elsewhere"
            )


def services_named(services: tuple[ServiceId, ...]) -> str:
    """Some of them by name, and how many more there are; empty for none."""
    names = [f"'{each}'" for each in services[:MOST_NAMED]]
    more = f" and {len(services) - MOST_NAMED} more" if len(services) > MOST_NAMED else ""
    return ", ".join(names) + more
