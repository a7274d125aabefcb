"""A small topology to plan against, and the moves that are made in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from orchestrator.core.steering import Fence, Routing
from orchestrator.core.topology import (
    Answer,
    Endpoint,
    Policy,
    ProbeKind,
    ProbeSpec,
    Role,
    Secret,
    SecretSource,
    Service,
    SteeringSpec,
    TsigKey,
    Weights,
    Workload,
)
from runbooks.books import Shelf, book
from runbooks.model import Runbook
from runbooks.plan import Plan
from runbooks.planner import Ground, plan

EU, US, AP = EndpointId("eu"), EndpointId("us"), EndpointId("ap")
ADDRESSES = {EU: "127.0.1.10", US: "127.0.2.10", AP: "127.0.3.10"}
REGIONS = {EU: "aws/eu-central-1", US: "aws/us-east-1", AP: "gcp/asia-east1"}
BOOK_OF = {MoveKind.FAILOVER: "region-failover", MoveKind.SWITCHOVER: "switchover", MoveKind.FAILBACK: "failback"}


def endpoint(name: EndpointId, *, answer: Answer | None = None, workload: bool = True) -> Endpoint:
    """An endpoint that serves a model: a chat probe, an HTTP probe, and a workload where wanted."""
    return Endpoint(
        id=name,
        url=f"http://{ADDRESSES[name]}:8000",
        region=Domain(REGIONS[name]),
        role=Role.ACTIVE if name == EU else Role.STANDBY,
        answer=answer or Answer("addresses", (ADDRESSES[name],)),
        capacity=8,
        workload=Workload("local", name, serving=3, standby=1) if workload else None,
        probes=(
            ProbeSpec("http", ProbeKind.HTTP, 1.0, 0.5, path="/health"),
            ProbeSpec("chat", ProbeKind.CHAT, 60.0, 10.0, model="m", prompt="say yes", max_tokens=4),
        ),
    )


class World:
    """The topology and the routing that plans are made from; tests replace what they are about."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self.steering = SteeringSpec(
            provider="rfc2136",
            name="chat.example.",
            zone="example.",
            ttl_s=10,
            primary="127.0.0.1:5353",
            servers=("127.0.0.1:5353", "127.0.0.2:5353"),
            key=TsigKey("failover.", Secret(SecretSource.ENV, "TSIG_SECRET")),
        )
        self.service = Service(
            id=ServiceId("chat"),
            name="chat.example",
            endpoints=(endpoint(EU), endpoint(US)),
            steering=self.steering,
            policy=Policy(rto_s=90.0),
        )
        fence = Fence(41, "run-41", "steer", ((EU, 100), (US, 0)), ((40, "run-40/steer"),))
        self.routing = Routing(Answer("addresses", (ADDRESSES[EU],)), 30, fence)

    def cname(self) -> None:
        """Steer by CNAME instead of addresses."""
        names = {EU: Answer("cname", ("eu.hosts.example.",)), US: Answer("cname", ("us.hosts.example.",))}
        self.service = replace(
            self.service, endpoints=tuple(endpoint(e, answer=a, workload=False) for e, a in sorted(names.items()))
        )
        self.routing = replace(self.routing, answer=names[EU])

    def three(self) -> None:
        """A third endpoint; traffic is shared by eu and us."""
        self.service = replace(self.service, endpoints=(endpoint(AP), endpoint(EU), endpoint(US)))
        both = Answer("addresses", (ADDRESSES[EU], ADDRESSES[US]))
        self.routing = Routing(both, 30, Fence(7, "run-7", "steer", ((AP, 0), (EU, 50), (US, 50))))

    def move(
        self,
        kind: MoveKind,
        *,
        source: tuple[EndpointId, ...] = (EU,),
        target: EndpointId = US,
        after: Weights | None = None,
        failing: tuple[Domain, ...] = (),
    ) -> Move:
        full = tuple((e.id, 100 if e.id == target else 0) for e in self.service.endpoints)
        return Move(self.service.id, kind, source, target, after if after is not None else full, failing)

    def plan(
        self,
        move: Move,
        *,
        book_: Runbook | None = None,
        trigger: Trigger | None = None,
        objections: tuple[Objection, ...] = (),
        crowded: bool = False,
        run: str = "run-42",
    ) -> Plan:
        return plan(
            move,
            Ground(self.service, self.routing, 7, shelf=self.shelf, roles=self.roles, crowded=crowded),
            run=RunId(run),
            trigger=trigger or Trigger("alice", "maintenance of eu"),
            book=book_ or book(BOOK_OF[move.kind]),
            objections=objections,
        )


@pytest.fixture
def world() -> World:
    """Two endpoints with addresses and workloads; all traffic at eu under generation 41."""
    return World()


@pytest.fixture
def plan_of() -> Callable[[MoveKind], Plan]:
    """The plan of an ordinary move of that kind."""

    def make(kind: MoveKind) -> Plan:
        world = World()
        return world.plan(world.move(kind))

    return make


@pytest.fixture
def with_demote() -> Runbook:
    """The switchover book with its demote step switched on."""
    return book("switchover", {"demote": True})


@pytest.fixture(scope="session")
def worlds() -> Callable[[], World]:
    """Makes fresh worlds, for fixtures that live as long as the session."""
    return World
