"""Load balancers of one's own where shares are steered: real processes on loopback."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import shares_in, shares_of
from orchestrator.core.topology import Shares, SteeringSpec
from providers.base import Steering
from providers.documents.file import LOCK_S
from providers.onprem.envoy import EnvoySteering
from providers.onprem.haproxy import HaproxySteering
from real.envoy import Envoy
from real.haproxy import BACKEND, Haproxy, Relay
from real.place import EU, US, SteeredPlace, Trouble

NAME = "chat.example."


class HaproxyPlace:
    """A backend of HAProxy, its fence in a file."""

    cannot = frozenset({Trouble.THROTTLED, Trouble.EXPIRED, Trouble.FORBIDDEN})
    """A socket asks for no patience and no credentials; a forbidden one is told in test_haproxy.py."""

    def __init__(self, servers: Mapping[str, str] | None = None) -> None:
        self.targets: Mapping[EndpointId, str] = {EU: "paris", US: "ohio"}
        self.proxy = Haproxy(servers or {"paris": "127.0.0.1:9 weight 100", "ohio": "127.0.0.1:9 weight 0"})
        self.relay = Relay(self.proxy)
        self.spec = self.specified(self.relay.at)

    def specified(self, sockets: str, backend: str = BACKEND) -> SteeringSpec:
        """The steering by these sockets, under this place's fence."""
        options = (("backend", backend), ("fence", f"file:{self.fence}"), ("sockets", sockets))
        return SteeringSpec("haproxy", NAME, "", 0, "", options=options, shares=Shares.WEIGHTED)

    @property
    def fence(self) -> Path:
        return self.proxy.directory / "fence.json"

    async def open(self) -> None:
        await asyncio.to_thread(self.proxy.start)

    def close(self) -> None:
        self.relay.close()
        self.proxy.close()

    def steering(self) -> Steering:
        return HaproxySteering(self.spec)

    def missing(self) -> Steering:
        return HaproxySteering(self.specified(self.relay.at, "elsewhere"))

    async def now(self) -> dict[str, int]:
        weights = await asyncio.to_thread(self.proxy.weights)
        return dict(shares_in(shares_of(tuple(weights.items()))))

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        for name in sorted(self.proxy.servers, key=lambda each: -shares.get(each, 0)):
            await asyncio.to_thread(self.proxy.say, f"set server {BACKEND}/{name} weight {shares.get(name, 0)}")

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        match what:
            case Trouble.BROKEN:
                self.relay.unheard += times
            case Trouble.LATE:
                self.relay.unanswered += times
            case Trouble.AWAY:
                self.relay.close()
            case _:
                raise ValueError(f"{what} cannot happen to a socket")

    @property
    def effects(self) -> int:
        return self.relay.passed


class EnvoyPlace:
    """A discovery file that an Envoy follows."""

    cannot = frozenset({Trouble.THROTTLED, Trouble.EXPIRED, Trouble.FORBIDDEN, Trouble.LATE, Trouble.AWAY})
    """A file has no patience and no credentials, root may write all, and what is renamed is renamed."""

    def __init__(self, *, routes: bool = False, places: Mapping[str, str] | None = None) -> None:
        self.targets: Mapping[EndpointId, str] = {EU: "aws/paris", US: "aws/ohio"}
        self.proxy = Envoy(places or {"aws/paris": "127.0.0.1:9", "aws/ohio": "127.0.0.1:10"}, routes=routes)
        self.spec = self.specified(self.proxy.file)

    def specified(self, file: Path, **more: str) -> SteeringSpec:
        """The steering by this file."""
        options = {
            "admin": self.proxy.at,
            "file": str(file),
            "kind": "routes" if self.proxy.routes else "endpoints",
        } | more
        given = tuple(sorted(options.items()))
        return SteeringSpec("envoy", NAME, "", 0, "", options=given, shares=Shares.WEIGHTED)

    async def open(self) -> None:
        await asyncio.to_thread(self.proxy.start)

    def close(self) -> None:
        self.proxy.close()

    def steering(self) -> Steering:
        return EnvoySteering(self.spec)

    def missing(self) -> Steering:
        return EnvoySteering(self.specified(self.proxy.directory / "elsewhere.json"))

    async def now(self) -> dict[str, int]:
        await self.proxy.caught_up()
        return dict(shares_in(shares_of(tuple((await asyncio.to_thread(self.proxy.weights)).items()))))

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        taken = self.proxy.updates()
        self.proxy.move(shares)
        async with asyncio.timeout(5.0):
            while self.proxy.updates() == taken:  # noqa: ASYNC110  another process counts
                await asyncio.sleep(0.002)

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is not Trouble.BROKEN:
            raise ValueError(f"{what} cannot happen to a file")
        held = os.open(self.proxy.file.with_name(f".{self.proxy.file.name}.lock"), os.O_CREAT | os.O_RDWR, 0o666)
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(times * (LOCK_S + 0.1), os.close, (held,)).start()

    @property
    def effects(self) -> int:
        """Discovery files that have come into place: each is a file of its own."""
        return self.proxy.file.stat().st_ctime_ns


STEERED: dict[str, Callable[[], SteeredPlace]] = {
    "haproxy": HaproxyPlace,
    "envoy": EnvoyPlace,
    "envoy-routes": lambda: EnvoyPlace(routes=True),
}
