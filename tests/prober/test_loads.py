"""Reading what workloads have in flight: apart from the probes, and apart from each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.load import KEPT_S, WINDOW_S
from orchestrator.core.names import Domain, EndpointId, ServiceId
from orchestrator.core.topology import Endpoint, Role, Service, Workload
from orchestrator.prober import Loads, loads
from providers.base import Transient

Until = Callable[[Callable[[], bool]], Awaitable[None]]


@dataclass
class Server:
    """What serves one endpoint, and counts what it has in flight."""

    count: int | None = 0
    trouble: Exception | None = None
    hangs: bool = False
    asked: int = 0

    async def begin(self, *, key: str) -> None:
        raise NotImplementedError(key)

    async def end(self, *, key: str) -> None:
        raise NotImplementedError(key)

    async def in_flight(self) -> int | None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        return self.count


@dataclass
class Fleet:
    """Servers by name, who of them is failing, and the time."""

    servers: dict[str, Server] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    now: float = 1000.0

    def make(self, handle: Workload) -> Server:
        return self.servers[handle.target]

    def loads(self) -> Loads:
        return Loads(lambda _service, endpoint: endpoint not in self.failing, self.make)


def service(*names: str, identity: str = "chat") -> Service:
    """A service of endpoints whose workloads are called like them; one named ``-`` has none."""
    endpoints = tuple(
        Endpoint(
            EndpointId(name),
            f"http://{name}.example",
            Domain(f"cloud/{name}"),
            Role.ACTIVE,
            workload=None if name == "-" else Workload("fleet", name),
        )
        for name in names
    )
    return Service(ServiceId(identity), "chat.example", endpoints)


class Passing:
    """asyncio, in which nobody waits: time passes as the fleet's clock says."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def sleep(self, pause_s: float) -> None:
        self._fleet.now += pause_s
        await asyncio.sleep(0)

    async def to_thread(self, make: Callable[..., Server], *arguments: object) -> Server:
        return make(*arguments)

    def get_running_loop(self) -> Passing:
        return self

    def time(self) -> float:
        return self._fleet.now

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Servers that are asked every 10 ms, by a clock that stands unless it is moved."""
    made = Fleet()
    monkeypatch.setattr(loads, "EVERY_S", 0.01)
    monkeypatch.setattr(loads, "APART_S", 0.001)
    monkeypatch.setattr(loads, "IDLE_S", 0.01)
    monkeypatch.setattr(loads, "WITHIN_S", 0.05)
    monkeypatch.setattr(loads, "monotonic", lambda: made.now)
    return made


@pytest.fixture
async def until() -> Until:
    async def wait(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(45):
            while not true():  # noqa: ASYNC110 - what is waited for happens in the task under test
                await asyncio.sleep(0.002)

    return wait


@pytest.fixture
async def running() -> AsyncIterator[Callable[[Loads], None]]:
    tasks: list[asyncio.Task[None]] = []
    yield lambda each: tasks.append(asyncio.create_task(each.run()))
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def seen(what: Loads) -> dict[str, tuple[int, float]]:
    return {each.endpoint: (each.in_flight, each.age_s) for each in what.seen()}


def counts(what: Loads) -> dict[str, int]:
    return {endpoint: count for endpoint, (count, _) in seen(what).items()}


async def asked_again(fleet: Fleet, name: str, until: Until) -> None:
    """Until a question that began from now on has been answered."""
    server = fleet.servers[name]
    before = server.asked
    await until(lambda: server.asked >= before + 2)


async def test_the_peak_of_a_minute_is_what_counts(
    fleet: Fleet, running: Callable[[Loads], None], until: Until
) -> None:
    """A lull after a rush changes nothing for a minute; then the lull is what counts."""
    fleet.servers["eu"] = Server(40)
    what = fleet.loads()
    what.configure((service("eu", "-"),))
    running(what)
    await until(lambda: counts(what) == {"eu": 40})
    fleet.now += 20
    fleet.servers["eu"].count = 7
    await asked_again(fleet, "eu", until)
    assert seen(what) == {"eu": (40, 20.0)}
    fleet.now += WINDOW_S
    await until(lambda: seen(what) == {"eu": (7, 0.0)})


async def test_one_that_hangs_or_breaks_holds_up_no_other(
    fleet: Fleet, running: Callable[[Loads], None], until: Until
) -> None:
    """What hangs, is refused, breaks or cannot tell stays unknown; everybody else is asked as before."""
    fleet.servers = {
        "hangs": Server(hangs=True),
        "refused": Server(trouble=Transient("the provider is away")),
        "strange": Server(trouble=RuntimeError("a fault of its own")),
        "blind": Server(None),
        "well": Server(3),
    }
    what = fleet.loads()
    what.configure((service(*fleet.servers),))
    running(what)
    for _ in range(5):
        await asked_again(fleet, "well", until)
    await until(lambda: all(each.asked > 2 for each in fleet.servers.values()))
    assert counts(what) == {"well": 3}
    fleet.servers["hangs"].hangs, fleet.servers["hangs"].count = False, 5
    await until(lambda: counts(what) == {"well": 3, "hangs": 5})


async def test_a_provider_that_nobody_knows_leaves_it_unknown(
    fleet: Fleet, running: Callable[[Loads], None], until: Until
) -> None:
    """A topology may name a provider that this worker does not have: nothing is known, and nothing else suffers."""
    fleet.servers["well"] = Server(3)

    def make(handle: Workload) -> Server:
        if handle.target == "eu":
            raise BadInput("no drain provider is called 'fleet'")
        return fleet.make(handle)

    what = Loads(lambda *_: True, make)
    what.configure((service("eu", "well"),))
    running(what)
    await until(lambda: counts(what) == {"well": 3})


async def test_what_is_failing_keeps_the_load_that_it_had(
    fleet: Fleet, running: Callable[[Loads], None], until: Until
) -> None:
    """An endpoint that fails loses its clients: what it says then is not taken for its load, and what it had is kept
    for a quarter of an hour."""
    fleet.servers = {"eu": Server(40), "us": Server(1)}
    what = fleet.loads()
    what.configure((service("eu", "us"),))
    running(what)
    await until(lambda: counts(what) == {"eu": 40, "us": 1})
    fleet.failing.add("eu")
    fleet.servers["eu"].count = 0
    fleet.now += WINDOW_S * 2
    await asked_again(fleet, "us", until)
    assert counts(what) == {"eu": 40, "us": 1}
    fleet.now += KEPT_S
    await until(lambda: counts(what) == {"us": 1})
    fleet.failing.clear()
    await until(lambda: counts(what) == {"eu": 0, "us": 1})


async def test_a_new_topology_keeps_what_is_known_of_the_same(
    fleet: Fleet, running: Callable[[Loads], None], until: Until
) -> None:
    """What stays is known at once, what comes is asked at once, what goes is forgotten and asked no more."""
    fleet.servers = {"eu": Server(40), "us": Server(1), "ap": Server(9)}
    what = fleet.loads()
    what.configure((service("eu", "us"),))
    running(what)
    await until(lambda: counts(what) == {"eu": 40, "us": 1})
    what.configure((service("eu", "ap"),))
    assert counts(what) == {"eu": 40}
    await until(lambda: counts(what) == {"eu": 40, "ap": 9})
    asked = fleet.servers["us"].asked
    await asked_again(fleet, "ap", until)
    assert fleet.servers["us"].asked == asked
    what.configure(())
    assert counts(what) == {}
    what.configure((service("us"),))
    await until(lambda: counts(what) == {"us": 1})


async def test_a_workload_of_two_services_is_asked_once(
    fleet: Fleet, running: Callable[[Loads], None], until: Until
) -> None:
    """Endpoints of several services that one workload serves: one question, and each of them has the answer."""
    fleet.servers = {"eu": Server(40)}
    what = fleet.loads()
    what.configure((service("eu"), replace(service("eu"), id=ServiceId("code"))))
    running(what)
    await until(lambda: bool(counts(what)))
    assert sorted((each.service, each.in_flight) for each in what.seen()) == [("chat", 40), ("code", 40)]


async def test_what_does_not_serve_yet_is_asked_as_soon_as_it_does(
    fleet: Fleet, running: Callable[[Loads], None], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prober that has just begun knows nothing of an endpoint: it asks for its load once a probe has passed, and does
    not wait for the next turn."""
    monkeypatch.setattr(loads, "EVERY_S", 3600.0)
    monkeypatch.setattr(loads, "WITHIN_S", 45.0)
    fleet.servers = {f"e{i}": Server(i) for i in range(50)}
    fleet.failing = set(fleet.servers)
    what = fleet.loads()
    what.configure((service(*fleet.servers),))
    running(what)
    await asyncio.sleep(0.05)
    assert counts(what) == {}
    fleet.failing = {"e7"}
    await until(lambda: len(counts(what)) == 49)
    fleet.failing = set()
    await until(lambda: counts(what) == {f"e{i}": i for i in range(50)})
    assert {each.asked for each in fleet.servers.values()} == {1}


async def test_hundreds_are_asked_one_after_the_other(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many workloads there are, only so many a second are asked; the first round is as quick as that."""
    monkeypatch.setattr(loads, "EVERY_S", 10.0)
    monkeypatch.setattr(loads, "APART_S", 0.02)

    def asked() -> int:
        return sum(each.asked for each in fleet.servers.values())

    async def after(seconds: float) -> int:
        """How many questions that time brings."""
        before, until = asked(), fleet.now + seconds
        while fleet.now < until:  # noqa: ASYNC110 - each turn of the loop lets time pass
            await asyncio.sleep(0)
        return asked() - before

    monkeypatch.setattr(loads, "asyncio", Passing(fleet))
    fleet.servers = {f"e{i}": Server(i) for i in range(800)}
    what = fleet.loads()
    what.configure((service(*list(fleet.servers)[:100]),))
    running = asyncio.create_task(what.run())
    assert 95 <= await after(2) <= 130  # the first round
    assert 95 <= await after(10) <= 105
    what.configure((service(*fleet.servers),))
    assert 1000 <= await after(20) <= 2000
    assert 480 <= await after(10) <= 510
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert min(each.asked for each in fleet.servers.values()) >= 1
