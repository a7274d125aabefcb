"""Whether the endpoints that a move gives traffic to are fit for it: known to work, proven, large, allowed.

Each function is the check of one safety rule: a text for each way in which the move breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import EndpointId, ServiceId, encloses
from orchestrator.core.quorum import Verdict
from orchestrator.core.signals import Effect, against, said
from orchestrator.core.situation import Situation
from orchestrator.core.steering import evenly, serving
from orchestrator.core.topology import Service, Weights
from orchestrator.core.waiting import at

MOST_NAMED = 5
"""Services that a sentence names; the others are counted."""


def gaining(move: Move, situation: Situation) -> tuple[EndpointId, ...]:
    """The target, and every other endpoint that begins to carry traffic."""
    begin = {e for e in serving(move.after) if e not in situation.carrying}
    return tuple(sorted({move.target} | begin))


@dataclass(frozen=True, slots=True)
class Load:
    """The requests in flight that were observed at the endpoints that carry a service's traffic, together."""

    in_flight: int
    at: datetime
    """When the oldest of them was seen: nobody is to think that it is known better than it is."""
    endpoints: tuple[EndpointId, ...]
    """Where they were seen; sorted."""
    whole: bool
    """Whether those are all that carry traffic."""

    @property
    def text(self) -> str:
        """``observed 37 requests in flight at 2026-03-01T02:14:07Z``."""
        part = "" if self.whole else f" at {' and '.join(self.endpoints)} alone"
        requests = "request" if self.in_flight == 1 else "requests"
        return f"observed {self.in_flight} {requests} in flight{part} at {at(self.at)}"


def carried(situation: Situation) -> Load | None:
    """The load that was observed at the endpoints that carry traffic; None: it is known of none of them."""
    carrying = situation.carrying
    seen = sorted((each for each in situation.observed if each.endpoint in carrying), key=lambda each: each.endpoint)
    if not seen:
        return None
    return Load(
        in_flight=sum(each.in_flight for each in seen),
        at=min(each.at for each in seen),
        endpoints=tuple(each.endpoint for each in seen),
        whole=len(seen) == len(carrying),
    )


@dataclass(frozen=True, slots=True)
class Need:
    """The requests in flight that a service needs room for: those declared or those observed, whichever are more."""

    declared: int | None
    observed: Load | None

    @property
    def amount(self) -> int | None:
        """None: nothing is known of it."""
        known = (self.declared, self.observed.in_flight if self.observed is not None else None)
        return max((each for each in known if each is not None), default=None)

    @property
    def whole(self) -> bool:
        """Whether no more than that is needed as far as anybody knows; else it is a part of it, or nothing."""
        return self.declared is not None or (self.observed is not None and self.observed.whole)

    @property
    def text(self) -> str:
        """Both numbers: ``observed 37 requests in flight at 2026-03-01T02:14:07Z, 30 declared``; empty where only the
        declared one is known, or none."""
        if self.observed is None:
            return ""
        return f"{self.observed.text}, {'none' if self.declared is None else self.declared} declared"

    @property
    def source(self) -> str:
        """The same in brackets, as it stands after a number."""
        return f" ({self.text})" if self.text else ""


def needed(situation: Situation) -> Need:
    """What the service needs now. What was observed at a part of what carries traffic is the least that is needed."""
    return Need(situation.service.policy.capacity, carried(situation))


def coming(after: Weights, service: Service) -> Iterator[tuple[EndpointId, int | None]]:
    """Each endpoint that would serve by *after*, and the requests in flight that would come to it of those that are
    declared; None: not known. A plan says the same whenever it is made: what was observed does not change it."""
    return portions(service.policy.capacity, after, service)


def portions(need: int | None, after: Weights, service: Service) -> Iterator[tuple[EndpointId, int | None]]:
    """Each endpoint that would serve by *after*, and how many of *need* requests in flight would come to it."""
    serves = serving(after)
    even = after == evenly(service.endpoints, serves)
    total = sum(weight for _, weight in after if weight > 0)
    for name, weight in after:
        if weight > 0:
            part, parts = (1, len(serves)) if even else (weight, total)
            yield name, None if need is None else -(-need * part // parts)


def load(after: Weights, situation: Situation, need: int | None) -> Iterator[tuple[EndpointId, int | None, int | None]]:
    """Each endpoint that would serve by *after*, its capacity, and how many of *need* requests would come to it."""
    for name, comes in portions(need, after, situation.service):
        endpoint = situation.endpoint(name)
        yield name, endpoint.capacity if endpoint else None, comes


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


def target_doubted(move: Move, situation: Situation) -> Iterator[str]:
    """A signal speaks against an endpoint that would begin to serve."""
    for name in gaining(move, situation):
        found = against(situation.evidence, name, Effect.DOUBT, Effect.DRAIN)
        if found:
            yield f"a signal speaks against endpoint '{name}' ({said(found)}); look there or choose another"


def target_not_proven(move: Move, situation: Situation) -> Iterator[str]:
    """An endpoint that would begin to serve has not been seen to complete an answer."""
    for name in gaining(move, situation):
        if not situation.assessment(name).proven and not situation.cold(name):
            yield f"no completed answer of endpoint '{name}' has been seen lately; try it with: failover probe {name}"


def capacity_unknown(move: Move, situation: Situation) -> Iterator[str]:
    """What is needed, or what an endpoint carries, is not known."""
    service, need = situation.service, needed(situation)
    if not need.whole:
        least = f", and at least that much it is: {need.observed.text}" if need.observed else ""
        yield f"how many requests in flight service '{service.id}' needs is not known{least}; set its policy's capacity"
    for name, capacity, _ in load(move.after, situation, need.amount):
        if capacity is None:
            yield f"how many requests in flight endpoint '{name}' can carry is not known; set its capacity"


def capacity_short(move: Move, situation: Situation) -> Iterator[str]:
    """More would come to an endpoint than it carries."""
    need = needed(situation)
    for name, capacity, comes in load(move.after, situation, need.amount):
        if capacity is not None and comes is not None and capacity < comes:
            yield (
                f"endpoint '{name}' can carry {capacity} requests in flight and {comes} would come to it{need.source}; "
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


def pool_needs(after: Weights, situation: Situation, need: int | None) -> tuple[tuple[str, int], ...]:
    """How many of *need* requests in flight would come to each shared pool by *after*; sorted by pool."""
    needs: dict[str, int] = {}
    for name, capacity, comes in load(after, situation, need):
        endpoint = situation.endpoint(name)
        if endpoint is not None and endpoint.pool is not None:
            # An unknown need is a question of its own; the endpoint's capacity is the most that could come.
            amount = comes if comes is not None else capacity or 0
            needs[endpoint.pool] = needs.get(endpoint.pool, 0) + amount
    return tuple(sorted(needs.items()))


def pool_stands(situation: Situation) -> tuple[tuple[str, int], ...] | None:
    """What the service's traffic takes of shared pools now; None: it is not known where the traffic goes.

    By what is declared: what stands in the governor's ledger is not to change with every observation.
    """
    return None if situation.shares is None else pool_needs(situation.shares, situation, _declared(situation))


def pool_asks(move: Move, situation: Situation) -> tuple[tuple[str, int], ...]:
    """What *move* asks of shared pools; sorted by pool.

    Where by what is declared it takes no more than before, that is all it asks: what it takes already is no less there
    for a move that stays below it.
    """
    before = dict(pool_stands(situation) or ())
    usual = dict(pool_needs(move.after, situation, _declared(situation)))
    need = needed(situation)
    amounts = pool_needs(move.after, situation, need.amount if need.whole else None)
    return tuple((pool, usual[pool] if 0 < usual[pool] <= before.get(pool, 0) else amount) for pool, amount in amounts)


def _declared(situation: Situation) -> int | None:
    return situation.service.policy.capacity


def pool_full(move: Move, situation: Situation) -> Iterator[str]:
    """Together with what other services were promised, more would come to a shared pool than it carries."""
    promised, holders = dict(situation.promised), dict(situation.holders)
    takes, need = dict(pool_stands(situation) or ()), needed(situation)
    more = need.source if need.whole and need.amount != need.declared else ""
    for shared, coming in pool_asks(move, situation):
        if 0 < coming <= takes.get(shared, 0):
            continue
        pool = situation.orders.pool(shared)
        taken = promised.get(shared, 0)
        if pool is None:
            yield f"how many requests in flight pool '{shared}' carries is not known; add it to the topology's pools"
        elif taken + coming > pool.capacity:
            who = holders.get(shared, "other services")
            yield (
                f"pool '{shared}' carries {pool.capacity} requests in flight, {taken} are promised to {who} "
                f"and {coming} would come to it{more}; free some of it or choose a target elsewhere"
            )


def services_named(services: tuple[ServiceId, ...]) -> str:
    """Some of them by name, and how many more there are; empty for none."""
    names = [f"'{each}'" for each in services[:MOST_NAMED]]
    more = f" and {len(services) - MOST_NAMED} more" if len(services) > MOST_NAMED else ""
    return ", ".join(names) + more
