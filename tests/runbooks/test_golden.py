"""Plans as text, compared to the letter: what an approver reads is reviewed like code.

A plan that changed on purpose: delete its file, run the test once (it writes the file and fails), read the new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId
from orchestrator.core.steering import Fence, Routing
from orchestrator.core.topology import Answer, Shares
from runbooks.books import book
from runbooks.model import Runbook
from runbooks.parse import parse
from runbooks.plan import Plan
from runbooks.planner import as_nsupdate, text

GOLDEN = Path(__file__).parent / "golden"
EU, US, AP = EndpointId("eu"), EndpointId("us"), EndpointId("ap")


def failover(world: Any) -> Plan:
    move = world.move(MoveKind.FAILOVER, failing=(Domain("aws/eu-central-1"),))
    trigger = Trigger("automatic", "eu is down from 2 of 3 vantages (v2, v3): http: connect timed out")
    return world.plan(move, trigger=trigger)  # type: ignore[no-any-return]  # the fixture's class lives in conftest


def failover_by_cname(world: Any) -> Plan:
    world.cname()
    return failover(world)


def failover_overridden(world: Any) -> Plan:
    trigger = Trigger("bob", "customers are down, us will queue", overrides=("capacity", "cooldown"))
    against = (
        Objection("capacity", "us carries 8 requests in flight and the service needs 12."),
        Objection("cooldown", "the last run closed 2m ago; automatic runs wait 5m.", asks=True),
    )
    return world.plan(world.move(MoveKind.FAILOVER), trigger=trigger, objections=against)  # type: ignore[no-any-return]  # as above


def failover_spread(world: Any) -> Plan:
    """Two standbys take what neither could take alone; one has no workload to scale."""
    world.three()
    (ap, *others) = world.service.endpoints
    world.service = replace(world.service, endpoints=(replace(ap, workload=None), *others))
    home = Answer("addresses", ("127.0.1.10",))
    world.routing = Routing(home, 30, Fence(7, "run-7", "steer", ((AP, 0), (EU, 100), (US, 0))))
    after = ((AP, 50), (EU, 0), (US, 50))
    move = world.move(MoveKind.FAILOVER, after=after, failing=(Domain("aws/eu-central-1"),))
    return world.plan(move)  # type: ignore[no-any-return]  # as above


def switchover(world: Any) -> Plan:
    return world.plan(world.move(MoveKind.SWITCHOVER))  # type: ignore[no-any-return]  # as above


def switchover_of_two(world: Any) -> Plan:
    world.three()
    return world.plan(world.move(MoveKind.SWITCHOVER, source=(EU, US), target=AP))  # type: ignore[no-any-return]  # as above


def switchover_shared(world: Any) -> Plan:
    return world.plan(world.move(MoveKind.SWITCHOVER, after=((EU, 50), (US, 50))))  # type: ignore[no-any-return]  # as above


def failback(world: Any) -> Plan:
    return world.plan(world.move(MoveKind.FAILBACK))  # type: ignore[no-any-return]  # as above


def first_write(world: Any) -> Plan:
    world.routing = Routing(Answer("addresses", ("127.0.9.9",)), 300)
    return world.plan(world.move(MoveKind.SWITCHOVER))  # type: ignore[no-any-return]  # as above


def weighing(world: Any) -> Any:
    """*world* behind a steering that weighs, with people on call."""
    world.service = replace(world.service, steering=replace(world.steering, provider="local", shares=Shares.WEIGHTED))
    world.roles = (("leads", ("carol", "dave")), ("oncall", ("alice", "bob")))
    return world


def canary_shift(world: Any) -> Plan:
    move = weighing(world).move(MoveKind.SWITCHOVER)
    return world.plan(move, book_=book("canary-shift", {"stages": "5,50"}))  # type: ignore[no-any-return]  # as above


def canary_shift_unplanned(world: Any) -> Plan:
    move = weighing(world).move(MoveKind.FAILOVER, failing=(Domain("aws/eu-central-1"),))
    return world.plan(move, book_=book("canary-shift", {"hold": "10s"}))  # type: ignore[no-any-return]  # as above


def canary_shift_to_two(world: Any) -> Plan:
    """What eu carried is shared by two: each stage looks at both."""
    weighing(world).three()
    world.routing = Routing(
        Answer("addresses", ("127.0.1.10",)), 30, Fence(7, "run-7", "steer", ((AP, 0), (EU, 100), (US, 0)))
    )
    world.service = replace(world.service, steering=replace(world.steering, provider="local", shares=Shares.WEIGHTED))
    move = world.move(MoveKind.SWITCHOVER, after=((AP, 40), (EU, 0), (US, 60)))
    return world.plan(move, book_=book("canary-shift", {"stages": "5,50"}))  # type: ignore[no-any-return]  # as above


def failback_by_stages(world: Any) -> Plan:
    move = weighing(world).move(MoveKind.FAILBACK)
    return world.plan(move)  # type: ignore[no-any-return]  # as above


def failback_among_others(world: Any) -> Plan:
    return world.plan(world.move(MoveKind.FAILBACK), crowded=True)  # type: ignore[no-any-return]  # as above


def drain_endpoint(world: Any) -> Plan:
    return world.plan(world.move(MoveKind.SWITCHOVER), book_=book("drain-endpoint"))  # type: ignore[no-any-return]  # as above


def restore_last_good(world: Any) -> Plan:
    return world.plan(world.move(MoveKind.SWITCHOVER), book_=book("restore-last-good"))  # type: ignore[no-any-return]  # as above


def promote_standby(world: Any) -> Plan:
    move = Move(world.service.id, MoveKind.PREPARATION, (), US, ((EU, 100), (US, 0)))
    return world.plan(move, book_=book("promote-standby"))  # type: ignore[no-any-return]  # as above


def scale_ahead(world: Any) -> Plan:
    move = Move(world.service.id, MoveKind.PREPARATION, (), US, ((EU, 100), (US, 0)))
    return world.plan(move, book_=book("scale-ahead", {"replicas": "12"}))  # type: ignore[no-any-return]  # as above


EVERYTHING = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: everything}
steps:
  - {id: rules, type: check, rules: [target-down, residency]}
  - id: ready
    type: parallel
    branches:
      - - {id: promote, type: promote, replicas: 4}
        - {id: verify, type: verify, vantages: 2}
      - - {id: approve, type: approve, role: oncall, people: 2, escalate: [leads], timeout: 5m, when: planned}
      - - id: ticket
          type: call
          hook: {url: "https://hooks.example.com/open", status: [204]}
          back: {url: "https://hooks.example.com/close", method: DELETE}
  - {id: all, type: check, on_failure: ask}
  - {id: tell, type: notify, text: "traffic moves\\n  now"}
  - {id: steer, type: steer}
  - {id: converge, type: converge}
  - {id: late, type: wait, for: 1m}
  - {id: somebody, type: approve, on_timeout: proceed}
  - {id: fence, type: fence}
"""


def everything(world: Any) -> Plan:
    move = weighing(world).move(MoveKind.SWITCHOVER)
    trigger = Trigger("erin", "a new kind of GPU")
    return world.plan(move, book_=parse(EVERYTHING, "everything.yaml"), trigger=trigger)  # type: ignore[no-any-return]  # as above


CASES: dict[str, Callable[[Any], Plan]] = {
    make.__name__.replace("_", "-"): make
    for make in (
        failover,
        failover_by_cname,
        failover_overridden,
        failover_spread,
        switchover,
        switchover_of_two,
        switchover_shared,
        failback,
        failback_by_stages,
        failback_among_others,
        first_write,
        canary_shift,
        canary_shift_to_two,
        canary_shift_unplanned,
        drain_endpoint,
        restore_last_good,
        promote_standby,
        scale_ahead,
        everything,
    )
}


def compare(name: str, said: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if not path.exists():
        path.write_text(said, encoding="utf-8")
        pytest.fail(f"{path.name} was not there and is written now: read it, and run again")
    assert said == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_plan_reads_as_it_was_reviewed(name: str, world: Any) -> None:
    """The text of a plan is the one that people have read and agreed to."""
    compare(name, text(CASES[name](world)))


def test_a_plan_with_demote_reads_as_it_was_reviewed(world: Any, with_demote: Runbook) -> None:
    """Giving capacity back is in a plan only where the book switches it on, and says after which bake."""
    compare("switchover-with-demote", text(world.plan(world.move(MoveKind.SWITCHOVER), book_=with_demote)))


@pytest.mark.parametrize("name", ["failover", "failover-by-cname", "first-write"])
def test_an_nsupdate_script_reads_as_it_was_reviewed(name: str, world: Any) -> None:
    """The change to make by hand is the one that people have read and agreed to."""
    compare(f"{name}.nsupdate", as_nsupdate(CASES[name](world)))


def test_the_same_input_gives_the_same_text(world: Any) -> None:
    """Planning twice gives one plan and one text."""
    again = replace(switchover(world))
    assert again == switchover(world)
    assert text(again) == text(switchover(world))
