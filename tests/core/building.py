"""Builders and hypothesis strategies for the pure core: small worlds, said in one line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from orchestrator.core.decision import Request, Situation
from orchestrator.core.errors import Unsteerable
from orchestrator.core.health import EndpointState, Health
from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId, VantageId
from orchestrator.core.orders import Freeze, Limits, Orders, Pool, Span, Weekly
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.quorum import Assessment, Opinion, Report, Verdict, View
from orchestrator.core.steering import Fence, Routing, answer_for, evenly
from orchestrator.core.topology import (
    Answer,
    Endpoint,
    Mode,
    Policy,
    ProbeKind,
    ProbeSpec,
    Role,
    Service,
    SteeringSpec,
    Vantage,
)

NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
CHAT = ServiceId("chat")
EU, US, AP = EndpointId("eu"), EndpointId("us"), EndpointId("ap")
STEERING = SteeringSpec(provider="rfc2136", name="chat.example.", zone="example.", ttl_s=10, primary="127.0.0.1:53")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def probe(identity: str = "http", kind: ProbeKind = ProbeKind.HTTP, interval_s: float = 1.0) -> ProbeSpec:
    return ProbeSpec(id=identity, kind=kind, interval_s=interval_s, timeout_s=1.0)


def outcome(kind: OutcomeKind, *, completed: bool = False) -> Outcome:
    return Outcome(kind, 0.01, kind.value, completed)


def endpoint(name: str, **changes: Any) -> Endpoint:
    """Endpoint *name* in region ``cloud/<name>`` with one address and room for 100 requests."""
    number = 1 + sum(name.encode()) % 250
    made = Endpoint(
        id=EndpointId(name),
        url=f"http://192.0.2.{number}",
        region=Domain(f"cloud/{name}"),
        role=Role.ACTIVE if name == "eu" else Role.STANDBY,
        answer=Answer("addresses", (f"192.0.2.{number}",)),
        capacity=100,
    )
    return replace(made, **changes)


def service(*endpoints: Endpoint, steering: SteeringSpec | None = STEERING, **policy: Any) -> Service:
    """Service ``chat`` that needs 80 requests in flight and confirms for 10 s."""
    chosen = endpoints or (endpoint("ap"), endpoint("eu"), endpoint("us"))
    settings: dict[str, Any] = {"mode": Mode.AUTOMATIC, "capacity": 80, **policy}
    return Service(CHAT, "chat.example", chosen, steering, Policy(**settings))


def fenced(chat: Service, *carrying: EndpointId, generation: int = 7) -> Routing:
    """A record under our fence that sends traffic to *carrying*, evenly."""
    weights = evenly(chat.endpoints, carrying)
    return Routing(answer_for(chat.endpoints, weights), 10, Fence(generation, "run-1", "steer", weights))


def assessment(name: str, verdict: Verdict = Verdict.HEALTHY, **changes: Any) -> Assessment:
    down = verdict is Verdict.DOWN
    made = Assessment(
        endpoint=EndpointId(name),
        verdict=verdict,
        text=f"{verdict} from 2 of 3 vantages (v1, v2)",
        last_good=ago(31 if down else 0),
        first_bad=ago(30) if down else None,
        proven=verdict is Verdict.HEALTHY,
    )
    return replace(made, **changes)


def situation(chat: Service | None = None, carrying: tuple[EndpointId, ...] = (EU,), **changes: Any) -> Situation:
    """*eu* carries the traffic and is down for 30 s; everything else is well; nothing holds automation.

    Verdicts are given by endpoint: ``verdicts={"us": Verdict.UNKNOWN}``.
    """
    chat = chat or service()
    verdicts = {"eu": Verdict.DOWN} | changes.pop("verdicts", {})
    made = Situation(
        service=chat,
        assessments=tuple(assessment(e.id, verdicts.get(e.id, Verdict.HEALTHY)) for e in chat.endpoints),
        routing=fenced(chat, *carrying),
        mode=chat.policy.mode,
        now=NOW,
    )
    return replace(made, **changes)


def ask_for(kind: MoveKind, target: str | None = None, *overrides: str, reason: str = "a test") -> Request:
    return Request(kind, Trigger("ann", reason, overrides), EndpointId(target) if target else None)


def rules(objections: tuple[Objection, ...]) -> list[str]:
    return [objection.rule for objection in objections]


# ------------------------------------------------------------------ vantages


def vantages(*regions: str) -> tuple[Vantage, ...]:
    """Vantages ``v1``, ``v2`` ... in *regions*."""
    return tuple(Vantage(VantageId(f"v{i}"), Domain(region)) for i, region in enumerate(regions, start=1))


def state(name: str, health: Health, **changes: Any) -> EndpointState:
    bad = health in {Health.DOWN, Health.DEGRADED}
    made = EndpointState(EndpointId(name), health, "http: refused" if bad else "", 5.0, 4.0 if bad else None)
    return replace(made, **changes)


def view(vantage: str, *states: EndpointState, **changes: Any) -> View:
    """What *vantage*, on a host of its own and heard just now, says."""
    opinions = tuple(Opinion(s, _at(s.last_good_age_s), _at(s.first_bad_age_s)) for s in states)
    return replace(View(VantageId(vantage), f"host-{vantage}", 1, 1, 1, False, NOW, opinions), **changes)


def _at(age_s: float | None) -> datetime | None:
    return None if age_s is None else ago(age_s)


def report(vantage: str, epoch: int, seq: int, *states: EndpointState, **changes: Any) -> Report:
    made = Report(CHAT, VantageId(vantage), 0, f"host-{vantage}", epoch, seq, 1, False, states)
    return replace(made, **changes)


# ------------------------------------------------------------------ strategies

freezes = st.builds(
    Freeze,
    st.just("audit"),
    st.one_of(
        st.builds(lambda a, b: Span(ago(a), ago(b)), st.integers(-99, 99), st.integers(-99, 99)),
        st.builds(
            Weekly,
            st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True).map(lambda days: tuple(sorted(days))),
            st.integers(0, 1439),
            st.integers(0, 1440),
            st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]),
        ),
    ),
    st.booleans(),
)


@st.composite
def orders(draw: st.DrawFn) -> Orders:
    """Anything that may hold for all services."""
    return Orders(
        gate=draw(mostly(None, "", "the vendor is at work")),
        freezes=tuple(draw(st.lists(freezes, max_size=2))),
        jurisdictions=draw(
            st.sampled_from([(), ((Domain("cloud"), "eu"),), ((Domain("cloud"), "us"), (Domain("cloud/eu"), "eu"))])
        ),
        pools=draw(st.sampled_from([(), (Pool("h100", 100),)])),
        limits=draw(st.sampled_from([Limits()])),
    )


standing = st.fixed_dictionaries(
    {
        "orders": st.one_of(st.just(Orders()), orders()),
        "automatic": st.lists(st.integers(0, 30000).map(ago), max_size=4).map(lambda times: tuple(sorted(times))),
        "acknowledged": st.sampled_from([None, ago(60), ago(40000)]),
        "promised": st.sampled_from([(), (("h100", 60),)]),
        "crowd": st.sampled_from([(), (), (Objection("change-guard", "many are on the move", asks=True),)]),
    }
)
"""What a situation knows beyond the service itself."""

NAMES = ("ap", "eu", "us", "za")
ages = st.one_of(st.none(), st.floats(0, 1000, allow_nan=False))
capacities = st.one_of(st.none(), st.integers(0, 200))
answers = st.one_of(
    st.none(),
    st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]), max_size=2, unique=True).map(
        lambda values: Answer("addresses", tuple(sorted(values)))
    ),
    st.sampled_from([Answer("cname", ("a.example.",)), Answer("cname", ("b.example.",))]),
)


@st.composite
def services(draw: st.DrawFn) -> Service:
    """Any service: none to four endpoints, with and without answers, capacities and steering."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    made = tuple(
        endpoint(
            name,
            region=Domain(draw(st.sampled_from(["cloud/a", "cloud/b", "cloud", "other/a/z1"]))),
            role=draw(st.sampled_from(Role)),
            answer=draw(st.one_of(st.just(endpoint(name).answer), answers)),
            capacity=draw(capacities),
        )
        for name in names
    )
    chat = service(
        endpoint("eu"),
        least=draw(st.integers(1, 3)),
        residency=draw(st.sampled_from([(), ("eu",), ("us",)])),
        acknowledge=draw(st.booleans()),
        flap_window_s=draw(st.floats(0, 30000)),
        steering=draw(st.sampled_from([STEERING, STEERING, None])),
        mode=draw(st.sampled_from(Mode)),
        prefer=tuple(draw(st.lists(st.sampled_from([*NAMES, "gone"]), max_size=3))),
        capacity=draw(capacities),
        confirm_s=draw(st.floats(0, 100)),
        cooldown_s=draw(st.floats(0, 1000)),
    )
    return replace(chat, endpoints=made)


@st.composite
def routings(draw: st.DrawFn, chat: Service) -> Routing | None:
    """Any routing: ours and sound (mostly), edited, foreign, without fence, or not to be read."""
    names = [e.id for e in chat.endpoints] or [EndpointId("gone")]
    chosen = draw(st.lists(st.sampled_from([*names, EndpointId("gone")]), max_size=3))
    weights = tuple(sorted((e, draw(st.integers(0, 100))) for e in {*chosen}))
    fence = draw(st.one_of(st.none(), st.just(Fence(3, "run-1", "steer", weights))))
    foreign = draw(st.one_of(answers, st.sampled_from([e.answer for e in chat.endpoints] or [None])))
    sound = st.builds(lambda one: _sound(chat, one), st.sampled_from(names))
    spread = st.builds(lambda several: _sound(chat, *several), st.lists(st.sampled_from(names), min_size=1, max_size=3))
    return draw(st.one_of(sound, spread, st.just(Routing(foreign, 10, fence)), st.none()))


def _sound(chat: Service, *carrying: EndpointId) -> Routing | None:
    try:
        return fenced(chat, *carrying)
    except Unsteerable:
        return None


def situations() -> st.SearchStrategy[Situation]:
    """Any situation: half of them wild, half of them an ordinary night's outage, where acting is possible."""
    return st.one_of(outages(), wild_situations())


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """*usual*, and now and then one of *others*."""
    return st.sampled_from([usual] * 20 + list(others))


@st.composite
def outages(draw: st.DrawFn) -> Situation:
    """A sound service under our fence with something down; now and then one thing more is wrong."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
    cname = draw(mostly(False, True))
    endpoints = tuple(
        endpoint(
            name,
            role=draw(st.sampled_from(Role)),
            capacity=draw(mostly(100, 50, 20, None)),
            region=Domain(draw(mostly(f"cloud/{name}", "cloud/shared"))),
            pool=draw(mostly(None, "h100")),
            **({"answer": Answer("cname", (f"{name}.example.",))} if cname else {}),
        )
        for name in names
    )
    chat = service(
        *endpoints,
        mode=draw(st.sampled_from([Mode.AUTOMATIC, *Mode])),
        prefer=tuple(EndpointId(name) for name in draw(st.lists(st.sampled_from(names), max_size=2))),
        capacity=draw(mostly(80, 150, None)),
        confirm_s=draw(mostly(10.0, 100.0, 0.0)),
        least=draw(mostly(1, 2, 3)),
        residency=draw(mostly((), ("eu",))),
        acknowledge=draw(mostly(False, True)),
        freezes=tuple(draw(mostly((), (Freeze("audit", Weekly((2,), 600, 900)),)))),
    )
    carrying = tuple(EndpointId(name) for name in names[: 1 if cname else draw(st.integers(1, 2))])
    verdicts = st.sampled_from([Verdict.HEALTHY] * 3 + list(Verdict))
    seen = {name: draw(verdicts) for name in names} | {names[0]: draw(mostly(Verdict.DOWN, *Verdict))}
    return Situation(
        service=chat,
        assessments=tuple(
            assessment(name, verdict, **draw(mostly({}, {"proven": False}, {"first_bad": None}, {"first_bad": ago(3)})))
            for name, verdict in seen.items()
        ),
        routing=draw(mostly(fenced(chat, *carrying), fenced(chat, *carrying[::-1], generation=1), None)),
        mode=chat.policy.mode,
        now=NOW,
        paused=draw(mostly(None, "ann: maintenance")),
        run=draw(mostly(None, RunId("run-2"))),
        last_closed=draw(mostly(None, ago(10), ago(1000))),
        held=draw(mostly((), (Objection("recreated", "the service workflow was lost"),))),
        **draw(mostly(st.just({}), standing).flatmap(lambda chosen: chosen)),
    )


@st.composite
def wild_situations(draw: st.DrawFn) -> Situation:
    """Any situation whatever, sound or absurd."""
    chat = draw(services())
    seen = tuple(
        assessment(
            e.id,
            draw(st.sampled_from(Verdict)),
            first_bad=_at(draw(ages)),
            last_good=_at(draw(ages)),
            proven=draw(st.booleans()),
        )
        for e in chat.endpoints
        if draw(st.integers(0, 9))
    )
    held = (Objection("recreated", "the service workflow was lost"),)
    return Situation(
        service=chat,
        assessments=seen,
        routing=draw(routings(chat)),
        mode=chat.policy.mode,
        now=NOW,
        paused=draw(st.sampled_from([None, None, "", "ann: maintenance"])),
        run=draw(st.sampled_from([None, None, RunId("run-2")])),
        last_closed=_at(draw(ages)),
        held=draw(st.sampled_from([(), (), held])),
        **draw(standing),
    )


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Any request of a person, sensible or not."""
    overrides = draw(
        st.lists(st.sampled_from(["target-down", "target-degraded", "capacity-short", "nonsense"]), max_size=3)
    )
    target = draw(st.sampled_from([None, *NAMES, "gone"]))
    made = ask_for(draw(st.sampled_from(MoveKind)), target, *overrides, reason=draw(st.sampled_from(["", "a test"])))
    names = st.sampled_from([EndpointId(name) for name in (*NAMES, "gone")])
    leaving = draw(st.one_of(st.just([]), st.lists(names, max_size=2, unique=True)))
    one, other = draw(names), draw(names)
    spreads = st.sampled_from([((one, 100),), ((one, 50), (other, 50)), ((one, 70), (other, 40)), (), ((one, -1),)])
    return replace(made, leaving=tuple(leaving), after=draw(st.one_of(st.none(), st.none(), spreads)))


@st.composite
def moves(draw: st.DrawFn, where: Situation) -> Move:
    """Any move in *where*, from among the service's endpoints."""
    names = [e.id for e in where.service.endpoints] or [EndpointId("gone")]
    target = draw(st.sampled_from(names))
    others = draw(st.lists(st.sampled_from(names), max_size=2))
    after = evenly(where.service.endpoints, (target, *others))
    source = tuple(e for e in where.carrying if e not in (target, *others))
    kind = MoveKind.FAILOVER if any(e in where.dead for e in source) else MoveKind.SWITCHOVER
    return Move(CHAT, kind, source, target, after, (Domain("cloud/a"),) if kind is MoveKind.FAILOVER else ())
