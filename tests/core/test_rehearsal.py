"""The shadow of a service: what a drill may move in its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.config.fields import ID
from orchestrator.core.errors import BadInput
from orchestrator.core.governing import asked_about
from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import Domain, EndpointId, rehearses, shadow
from orchestrator.core.rehearsal import home_of, shadow_of
from orchestrator.core.topology import Mode, Role
from real.scenery import AWAY, EU, US, service
from workflows.wire import shard_of


def test_a_shadow_is_the_service_with_another_record() -> None:
    """Same endpoints, probes and rules, the same server and key; only the record's name is the drill's."""
    real = service(mode=Mode.OBSERVE, cooldown_s=600.0, acknowledge=True, confirm_s=10.0)
    real = replace(real, endpoints=tuple(replace(each, pool="h100") for each in real.endpoints), depends=(real.id,))
    made = shadow_of(real)
    assert real.steering is not None
    assert made.steering == replace(real.steering, name="_drill.chat.example.")
    assert made.name == real.name
    assert [each.probes for each in made.endpoints] == [each.probes for each in real.endpoints]
    assert {each.pool for each in made.endpoints} == {None}
    assert (made.policy.mode, made.policy.cooldown_s, made.policy.acknowledge) == (Mode.AUTOMATIC, 0.0, False)
    assert made.policy.confirm_s == 10.0
    assert made.depends == ()


def test_a_shadow_is_nobodys_service() -> None:
    """No topology can give its id, no shard of real services probes it, and the governor is not asked about it."""
    made = shadow_of(service())
    assert rehearses(made.id)
    assert not rehearses(service().id)
    assert not ID.fullmatch(made.id)
    assert shard_of(made.id, 4) > 1_000_000
    move = Move(made.id, MoveKind.FAILOVER, (EU,), US, AWAY, (Domain("alpha/paris"),))
    assert not asked_about(move)
    assert asked_about(replace(move, service=service().id))
    assert shadow(service().id) == made.id


def test_a_service_without_steering_has_nothing_to_rehearse_with() -> None:
    """The sentence says so."""
    with pytest.raises(BadInput, match="'chat' has no steering"):
        shadow_of(replace(service(), steering=None))


def test_the_canary_begins_where_the_traffic_is() -> None:
    """Where a person says, else where the traffic is, else at the endpoint that is meant to have it."""
    real = service()
    assert home_of(real, (), None) == EU
    assert home_of(real, (US,), None) == US
    assert home_of(real, (US,), EU) == EU
    with pytest.raises(BadInput, match="has no endpoint 'ap'; it has: eu, us"):
        home_of(real, (US,), EndpointId("ap"))
    turned = tuple(replace(e, role=Role.ACTIVE if e.id == US else Role.STANDBY) for e in real.endpoints)
    assert home_of(replace(real, endpoints=turned), (), None) == EndpointId("us")
