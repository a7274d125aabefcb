"""The setting of a history: a service, its vantages, its runbooks, and which faults there are, all drawn by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import assert_never

from orchestrator.core.move import MoveKind
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.topology import (
    Answer,
    Endpoint,
    Mode,
    Policy,
    ProbeKind,
    ProbeSpec,
    Role,
    Service,
    Shares,
    SteeringSpec,
    Vantage,
    Workload,
)
from runbooks.books import LIBRARY, Shelf
from runbooks.model import (
    ApproveTask,
    BookStep,
    CallTask,
    CheckTask,
    ConvergeTask,
    DemoteTask,
    DrainTask,
    FenceTask,
    NotifyTask,
    ParallelTask,
    PromoteTask,
    Runbook,
    SteerTask,
    Task,
    VerifyTask,
    WaitTask,
    every,
    steers,
)
from runbooks.plan import Analysis, Hook, OnFailure, When

SHELF = Shelf()
CHAT = ServiceId("chat")
NAMES = tuple(EndpointId(name) for name in ("ap", "eu", "us", "za"))
FAULTS: Mapping[str, tuple[float, float]] = {
    "kill": (0.02, 0.15),
    "freeze": (0.03, 0.2),
    "silence": (0.05, 0.3),
    "transient": (0.05, 0.35),
    "refuse": (0.01, 0.08),
    "loss": (0.05, 0.5),
    "twice": (0.05, 0.4),
    "late": (0.05, 0.4),
    "vantage": (0.01, 0.06),
    "endpoint": (0.08, 0.3),
    "hand": (0.05, 0.4),
    "rival": (0.05, 0.4),
    "person": (0.15, 0.5),
    "act": (0.1, 0.6),
    "clock": (0.02, 0.2),
    "unread": (0.05, 0.4),
    "end": (0.05, 0.3),
}
"""Each fault, and how probable it is each time that it may happen: seldom, or often."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a history starts from."""

    service: Service
    vantages: tuple[Vantage, ...]
    books: tuple[Runbook, ...]
    """Of chance, beside those of the library."""
    faults: Mapping[str, float]
    horizon_s: float
    """After this long it is calm."""


def setting(rng: Random, weather: Mapping[str, float]) -> Setting:
    """A setting. Which faults there are at all differs from history to history: each then goes further.

    *weather* sets some of them for every history.
    """
    endpoints = tuple(_endpoints(rng))
    vantages = tuple(_vantages(rng, endpoints))
    faults = {name: rng.choice((0.0, 0.0, seldom, often)) for name, (seldom, often) in FAULTS.items()}
    faults["endpoint"] = max(faults["endpoint"], 0.05)
    faults.update(weather)
    policy = Policy(
        mode=rng.choice((Mode.AUTOMATIC,) * 8 + tuple(Mode)),
        prefer=tuple(rng.sample(NAMES, rng.randrange(3))),
        capacity=rng.choice((80,) * 8 + (150, None)),
        confirm_s=rng.choice((0.0, 1.0, 4.0)),
        cooldown_s=rng.choice((0.0, 5.0, 20.0)),
        rto_s=90.0,
        acknowledge=rng.random() < 0.1,
        least=rng.choice((1,) * 15 + (2,)),
    )
    provider = rng.choice(("rfc2136", "rfc2136", "local"))
    shares = Shares.WEIGHTED if provider == "local" else Shares.EQUAL
    ttl_s = rng.choice((1, 5, 10))
    steering = SteeringSpec(provider, "chat.example.", "example.", ttl_s, "127.0.0.1:53", shares=shares)
    service = Service(CHAT, "chat.example", endpoints, steering, policy)
    books = tuple(_book(rng, number, weighs=provider == "local") for number in range(2))
    return Setting(service, vantages, books, faults, rng.uniform(20.0, 45.0))


def _endpoints(rng: Random) -> Iterator[Endpoint]:
    count = rng.choice((2, 2, 3, 3, 4))
    cname = rng.random() < 0.1
    probes = (ProbeSpec("chat", ProbeKind.CHAT, 1.5, 1.0, rise=rng.choice((1, 2)), fall=rng.choice((2, 3))),)
    active = rng.choice((1, 1, 1, 2))
    for number, name in enumerate(rng.sample(NAMES, count)):
        addresses = tuple(f"192.0.2.{ord(name[0])}{each}" for each in range(rng.choice((1, 1, 2))))
        region = Domain("cloud/shared") if rng.random() < 0.1 else Domain(f"cloud-{name}/{name}")
        serving = rng.choice((2, 3))
        standby = rng.choice((0, 1, 1, serving))
        yield Endpoint(
            id=name,
            url=f"http://{name}.example",
            region=region,
            role=Role.ACTIVE if number < active else Role.STANDBY,
            answer=Answer("cname", (f"{name}.example.",)) if cname else Answer("addresses", addresses),
            capacity=rng.choice((100,) * 10 + (50, None)),
            workload=Workload("local", name, serving, standby) if rng.random() < 0.9 else None,
            probes=probes,
        )


def _vantages(rng: Random, endpoints: tuple[Endpoint, ...]) -> Iterator[Vantage]:
    regions = [*(endpoint.region for endpoint in endpoints), Domain("edge/one"), Domain("edge/two")]
    for number in range(rng.choice((2, 3, 3, 4, 5))):
        yield Vantage(VantageId(f"v{number}"), rng.choice(regions))


# ------------------------------------------------------------------ books


def books_for(kind: MoveKind, own: tuple[Runbook, ...]) -> tuple[Runbook, ...]:
    """The books that a move of that kind may be made by; the usual one more often than others."""
    match kind:
        case MoveKind.PREPARATION:
            return _READY_TO_PREPARE
        case MoveKind.FAILOVER:
            usual = SHELF.book("region-failover")
            return (usual, usual, *_READY_UNPLANNED, *own)
        case MoveKind.SWITCHOVER | MoveKind.FAILBACK:
            usual = SHELF.book(str(kind))
            return (usual, usual, *_READY_PLANNED, *own)
        case _:
            assert_never(kind)


def _ready() -> tuple[Runbook, ...]:
    """The books of the library that need no values."""
    named = sorted(name for name, each in LIBRARY.items() if all(p.default is not None for p in each.parameters))
    return tuple(SHELF.book(name) for name in named)


def _steers(book: Runbook, *, planned: bool) -> int:
    return sum(isinstance(s.task, SteerTask) and s.when.holds(planned=planned) for s in every(book.steps))


_READY_PLANNED = tuple(book for book in _ready() if _steers(book, planned=True) == 1)
_READY_UNPLANNED = tuple(book for book in _ready() if _steers(book, planned=False) == 1)
_READY_TO_PREPARE = tuple(book for book in _ready() if not steers(book.steps))
_HOOK = Hook("http://hook.example")


def _step(rng: Random, name: str, task: Task, *failures: OnFailure, when: When = When.ALWAYS) -> BookStep:
    return BookStep(name, task, 10.0, rng.choice((1, 2, 3)), rng.choice(failures or ("rollback",)), when)


def _book(rng: Random, number: int, *, weighs: bool) -> Runbook:
    """A book of chance, of the kinds that the language allows: side by side, by stages, with people and hooks."""
    steps = [*_preparing(rng), _steering(rng, weighs=weighs), *_following(rng)]
    return Runbook(f"chance-{number}", "made by chance", tuple(steps))


def _preparing(rng: Random) -> Iterator[BookStep]:
    if rng.random() < 0.2:
        yield _step(rng, "check", CheckTask(), "rollback", "halt", "ask")
    if rng.random() < 0.3:
        silence = rng.choice(("abort", "proceed"))
        task = ApproveTask(people=rng.choice((1, 2)), on_timeout="abort" if silence == "abort" else "proceed")
        yield _step(rng, "approve", task, "rollback", "ask")
    promote = _step(rng, "promote", PromoteTask(), "rollback", "halt", "ask")
    if rng.random() < 0.4:
        hook = _step(rng, "hook", CallTask(_HOOK, _HOOK if rng.random() < 0.5 else None), "rollback", "continue", "ask")
        beside = (hook, _step(rng, "breath", WaitTask(1.0), "continue")) if rng.random() < 0.5 else (hook,)
        yield BookStep("both", ParallelTask(((promote,), beside)), 10.0, 1, "rollback")
    else:
        yield promote
    yield _step(rng, "verify", VerifyTask(rng.choice((1, 2)), rng.choice((1, 1, 2))), "rollback", "halt", "ask")


def _steering(rng: Random, *, weighs: bool) -> BookStep:
    stages = rng.choice(((5, 50), (25,), (10, 40, 70))) if weighs and rng.random() < 0.6 else ()
    analysis = Analysis() if rng.random() < 0.7 else None
    return _step(rng, "steer", SteerTask(stages, 1.0, analysis), "rollback", "halt", "ask")


def _following(rng: Random) -> Iterator[BookStep]:
    yield _step(rng, "converge", ConvergeTask(), "rollback", "halt", "continue", "ask")
    drain = _step(
        rng, "drain", DrainTask(), "rollback", "continue", "ask", when=rng.choice((When.ALWAYS, When.PLANNED))
    )
    if rng.random() < 0.4:
        tell = _step(rng, "tell", NotifyTask("moved"), "continue")
        yield BookStep("aside", ParallelTask(((drain,), (tell,))), 10.0, 1, "rollback")
    else:
        yield drain
    if rng.random() < 0.3:
        yield _step(rng, "fence", FenceTask(), "halt", "continue", "ask", when=rng.choice(tuple(When)))
    elif rng.random() < 0.4:
        demote = _step(rng, "demote", DemoteTask(bake_s=1.0), "halt", "continue", "ask")
        yield replace(demote, when=rng.choice((When.ALWAYS, When.PLANNED)))
