"""Names: a resolver that hangs or is away is no endpoint that is down."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from prober.servers import answers, site

from orchestrator.core.probe import OutcomeKind
from orchestrator.core.topology import ProbeKind, ProbeSpec
from providers.probes import Probes, Resolver, resolve

NAME = "chat.example.com"
ASKED = ProbeSpec(id="http", kind=ProbeKind.HTTP, interval_s=0.1, timeout_s=3.0)
AWAY = socket.gaierror(socket.EAI_AGAIN, "try again")
GONE = socket.gaierror(socket.EAI_NONAME, "no such name")


class System:
    """The system's resolver: names it knows, names that hang, and names it fails on."""

    def __init__(self) -> None:
        self.addresses = ("127.0.0.1",)
        self.hangs: Callable[[str], bool] = lambda _host: False
        self.error: socket.gaierror | None = None
        self.let_go = threading.Event()

    def __call__(self, host: str) -> tuple[str, ...]:
        if self.hangs(host):
            self.let_go.wait(30)
            raise AWAY
        if self.error is not None:
            raise self.error
        return self.addresses


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """Stands in for getaddrinfo, which asks whatever this machine is set up to ask."""
    made = System()
    monkeypatch.setattr(resolve, "_addresses", made)
    yield made
    made.let_go.set()


async def test_a_dead_zone_does_not_stall_other_names(probes: Probes, system: System) -> None:
    """Forty look-ups that hang leave the forty-first its turn."""
    system.hangs = lambda host: host.endswith(".dead")
    async with site(answers()) as server:
        hung = [asyncio.create_task(probes.ask(ASKED, f"http://h{n}.dead:81", name=NAME)) for n in range(40)]
        await asyncio.sleep(0)
        well = await probes.ask(ASKED, f"http://eu.alive:{server.port}", name=NAME)
        assert (well.kind, well.detail) == (OutcomeKind.PASSED, "")
        for outcome in await asyncio.gather(*hung):
            assert (outcome.kind, outcome.detail) == (OutcomeKind.UNREACHABLE, "name lookup not finished in 3 s")


async def test_the_last_answer_serves_while_the_resolver_is_away(system: System) -> None:
    """Hanging or failing for the moment, it takes nobody down; when it is back its word counts at once."""
    now = 0.0
    names = Resolver(ttl_s=30, clock=lambda: now)
    assert await names.look_up("eu") == ("127.0.0.1",)
    now = 31.0
    system.error = AWAY
    assert await names.look_up("eu") == ("127.0.0.1",)
    assert names.only("eu") is None
    system.hangs = lambda _host: True
    assert await asyncio.wait_for(names.look_up("eu"), 5) == ("127.0.0.1",)
    system.hangs, system.error, system.addresses = lambda _host: False, None, ("127.0.0.2",)
    system.let_go.set()
    async with asyncio.timeout(5):
        while await names.look_up("eu") != ("127.0.0.2",):  # noqa: ASYNC110  polled: the resolver announces nothing
            await asyncio.sleep(0.01)
    names.close()


async def test_a_name_that_is_gone_is_gone(system: System) -> None:
    """An answer that there is no such name ends the old one; so does an hour without any answer."""
    now = 0.0
    names = Resolver(ttl_s=30, clock=lambda: now)
    await names.look_up("eu")
    now, system.error = 31.0, GONE
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await names.look_up("eu")
    system.error = None
    await names.look_up("eu")
    now, system.error = now + resolve.STALE_S + 31, AWAY
    with pytest.raises(socket.gaierror):
        await names.look_up("eu")
    names.close()
