"""What a service remembers of how it served: noted where it looks anyway, told when it is asked. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.core import crashes, lastgood
from orchestrator.core.crashes import Crash, Memory
from orchestrator.core.move import MoveKind
from orchestrator.core.quorum import Assessment
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.steering import shares_now
from workflows.wire import ServiceState


def looked(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> ServiceState:
    """*state* with the crashes that a look tells of; a service that is there for a drill has none."""
    if state.slice.drill is not None or not (state.detected or state.crashes):
        return state
    service = state.slice.service
    after = crashes.noted(
        state.crashes,
        found,
        weights=None if state.routing is None else shares_now(state.routing, service.endpoints),
        since=state.detected,
        blip_s=service.policy.confirm_s,
        revision=state.slice.revision,
        now=now,
    )
    return state if after == state.crashes else replace(state, crashes=after)


def stood(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> ServiceState:
    """*state* with what is known of how well its routing serves; one that was replaced may be the last good."""
    service, old, good, bake_s = state.slice.service, state.standing, state.last_good, state.slice.orders.bake_s
    weights = None if state.routing is None else shares_now(state.routing, service.endpoints)
    if state.routing is None or weights is None:
        return state
    generation = state.routing.generation
    if old is not None and (old.generation, old.weights) != (generation, weights):
        good = lastgood.left(old, good, bake_s=bake_s, now=now)
    new = lastgood.seen(
        old,
        weights=weights,
        generation=generation,
        revision=state.slice.revision,
        found=found,
        bake_s=bake_s,
        now=now,
    )
    return replace(state, standing=new, last_good=good)


def ran(state: ServiceState, record: Record, now: datetime) -> ServiceState:
    """*state* with what the run of *record* tells. With a drill's own run all that the drill led to is forgiven.

    To be asked before *record* stands among the state's last runs.
    """
    if state.slice.drill is not None or record.status is RunStatus.OBSERVED:
        return state
    after = crashes.ran(state.crashes, record, state.detected, revision=state.slice.revision, now=now)
    if record.drill is not None:
        led_to = next((each for each in state.last_runs if each.status is not RunStatus.OBSERVED), None)
        if led_to is not None and led_to.run != record.run and led_to.kind is MoveKind.FAILOVER:
            after = crashes.forgiven(after, _beginning(led_to))
    return replace(state, crashes=after)


def _beginning(record: Record) -> datetime:
    """When what led to the run of *record* began."""
    return min((entry.at for entry in record.entries), default=record.started)


def memory(state: ServiceState, now: datetime) -> Memory:
    """How the service has served until *now*: what is down still lasts."""
    down = set(state.detected)
    told = (
        replace(each, seen=max(each.seen, now)) if (each.endpoint, each.began) in down else each
        for each in state.crashes
    )
    kept: tuple[Crash, ...] = tuple(told)
    return Memory(state.slice.service.id, kept, state.remembers)
