"""The shadow of a service: what a drill may move in its place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from orchestrator.config.fields import ID
from orchestrator.core.errors import BadInput
from orchestrator.core.governing import Ledger, Standing, asked_about
from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import Domain, EndpointId, ServiceId, rehearses, shadow
from orchestrator.core.orders import Orders, Pool
from orchestrator.core.rehearsal import cold_standbys, governor_says, home_of, shadow_of
from orchestrator.core.situation import Situation
from orchestrator.core.topology import Mode, Role, Ungoverned, Workload
from real.scenery import AWAY, EU, US, at_home, service
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


def test_the_governor_is_asked_what_it_would_say() -> None:
    """A full pool refuses with its figures, one with room says so too, and nothing is kept in the ledger by asking."""
    real = service(capacity=50)
    real = replace(real, endpoints=tuple(replace(each, pool=f"h100-{each.id}") for each in real.endpoints))
    pools = (Pool("h100-eu", 300), Pool("h100-us", 300))
    facts = Situation(real, (), at_home(), Mode.AUTOMATIC, datetime(2026, 3, 1, tzinfo=UTC), orders=Orders(pools=pools))
    move = Move(real.id, MoveKind.FAILOVER, (EU,), US, AWAY, (Domain("alpha/paris"),))
    others = (Standing(ServiceId("code"), (("h100-us", 280),)),)
    full = Ledger(pools=pools, services=2, standing=others)
    assert governor_says(move, facts, full) == (
        False,
        (
            "the governor would refuse: pool 'h100-us' carries 300 requests in flight, 280 are promised to 'code' and "
            "50 would come to it; free some of it or choose a target elsewhere"
        ),
    )
    room = replace(full, standing=(replace(others[0], needs=(("h100-us", 200),)),))
    assert governor_says(move, facts, room) == (
        True,
        (
            "the governor would let it go; pool 'h100-us' carries 300 requests in flight, 200 are promised to others "
            "and 50 would come to it"
        ),
    )


def test_a_silent_governor_is_a_question_to_a_person_where_the_policy_does_not_go_on_without() -> None:
    """Nobody knows what a shared pool is promised to: the drill says that a person would be asked."""
    real = service()
    pooled = replace(real, endpoints=tuple(replace(each, pool="h100") for each in real.endpoints))
    bold = replace(pooled, policy=replace(pooled.policy, without_governor=Ungoverned.PROCEED))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for each, goes in ((real, True), (pooled, False), (bold, True)):
        facts = Situation(each, (), at_home(), Mode.AUTOMATIC, now)
        ok, text = governor_says(Move(each.id, MoveKind.FAILOVER, (EU,), US, AWAY), facts, None)
        assert ok is goes
        assert text.startswith("the governor does not answer, and ")


def test_a_standby_that_is_scaled_to_nothing_is_cold() -> None:
    """Only a standby that gets replicas by promotion: one that runs, and one that nothing can scale, are not."""
    real = service()
    us = real.endpoint(US)
    cold = Workload("fake", "us", serving=2, standby=0)
    for workload, role, found in (
        (cold, Role.STANDBY, (US,)),
        (cold, Role.ACTIVE, ()),
        (us.workload, Role.STANDBY, ()),
        (None, Role.STANDBY, ()),
    ):
        changed = replace(real, endpoints=(real.endpoint(EU), replace(us, workload=workload, role=role)))
        assert cold_standbys(changed) == found
