"""What a service remembers of how it served: noted where it looks anyway, told when it is asked. Pure."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import datetime

from orchestrator.core import crashes, lastgood
from orchestrator.core.crashes import Memory
from orchestrator.core.health import Health
from orchestrator.core.lastgood import Ground
from orchestrator.core.names import EndpointId
from orchestrator.core.provoked import LINGER
from orchestrator.core.quorum import Assessment
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.steering import shares_now
from orchestrator.core.topology import Weights
from workflows.wire import ServiceState


def weights(state: ServiceState) -> Weights | None:
    """The shares of traffic as the routing last read says them; None where the answer says something else."""
    if state.routing is None:
        return None
    return shares_now(state.routing, state.slice.service.endpoints, state.former)


def looked(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> ServiceState:
    """*state* with the crashes that a look tells of; what falls in a drill, or by its fault, is none."""
    if state.slice.drill is not None or not (state.detected or state.crashes):
        return state
    service = state.slice.service
    after = crashes.noted(
        state.crashes,
        found,
        weights=weights(state),
        since=tuple(each for each in state.detected if not _on_purpose(state, *each)),
        blip_s=service.policy.confirm_s,
        revision=state.slice.revision,
        now=now,
    )
    return state if after == state.crashes else replace(state, crashes=after)


def heard(state: ServiceState, now: datetime) -> ServiceState:
    """*state* after a report: what no vantage calls down any more is well again."""
    if all(each.over for each in state.crashes):
        return state
    after = crashes.ended(state.crashes, _down(state), now)
    return state if after == state.crashes else replace(state, crashes=after)


def _down(state: ServiceState) -> frozenset[EndpointId]:
    """The endpoints that any vantage says are down."""
    said = (opinion.state for view in state.views for opinion in view.opinions)
    return frozenset(each.endpoint for each in said if each.health is Health.DOWN)


def stood(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> ServiceState:
    """*state* with what is known of how well its routing serves; one that was replaced may be the last good."""
    old, good, bake_s = state.standing, state.last_good, state.slice.orders.bake_s
    shares = weights(state)
    if state.routing is None or shares is None:
        return state
    generation = state.routing.generation
    if old is not None and (old.generation, old.weights) != (generation, shares):
        good = lastgood.left(old, good, bake_s=bake_s, now=now)
    new = lastgood.seen(
        old,
        weights=shares,
        generation=generation,
        ground=ground(state),
        found=found,
        bake_s=bake_s,
        now=now,
    )
    return replace(state, standing=new, last_good=good)


def ground(state: ServiceState) -> Ground:
    """The topology in force, as the service stands on it."""
    known = state.standing
    if known is not None and known.shape and known.revision == state.slice.revision:
        return Ground(known.revision, known.shape)  # made once for each revision: a thousand services look at a time
    return Ground(state.slice.revision, f"{zlib.crc32(repr(state.slice.service).encode()):08x}")


def ran(state: ServiceState, record: Record, now: datetime) -> ServiceState:
    """*state* with what the run of *record* tells."""
    if state.slice.drill is not None or record.status is RunStatus.OBSERVED:
        return state
    after = crashes.ran(state.crashes, record, state.detected, revision=state.slice.revision, now=now)
    return replace(state, crashes=after)


def _on_purpose(state: ServiceState, endpoint: EndpointId, began: datetime) -> bool:
    """Whether *endpoint* fell by the fault of a drill."""
    fault = state.faulted
    return fault is not None and fault.endpoint == endpoint and fault.since <= began <= fault.until + LINGER


def memory(state: ServiceState, now: datetime) -> Memory:
    """How the service has served until *now*: what is down still lasts."""
    down = _down(state)
    lasting = (each.endpoint in down and not each.over for each in state.crashes)
    told = (
        replace(each, seen=max(each.seen, now)) if lasts else each
        for each, lasts in zip(state.crashes, lasting, strict=True)
    )
    return Memory(state.slice.service.id, tuple(told), state.remembers)
