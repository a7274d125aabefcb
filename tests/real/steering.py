"""Worlds that the Steering contract is run in: a server that can be edited by hand, frozen and killed.

A new provider joins the contract with one class like ``BindWorld`` and one line in ``WORLDS`` of the contract's tests.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Routing, SteeringChange, next_lineage
from orchestrator.core.topology import Answer, Secret, SecretSource, SteeringSpec, TsigKey, Weights
from providers.base import Steering
from providers.dns.rfc2136 import Rfc2136Steering
from real import bind, powerdns
from real.bind import Bind
from real.knot import Knot
from real.nameserver import NameServer, ask
from real.powerdns import PowerDns

NAME = "chat.example."
EU: Weights = ((EndpointId("eu"), 100), (EndpointId("us"), 0))
US: Weights = ((EndpointId("eu"), 0), (EndpointId("us"), 100))


class World(Protocol):
    """A name that is steered, and what can happen to it."""

    spec: SteeringSpec
    home: Answer
    """What the name answers at the beginning, without a fence: weights EU."""
    away: Answer
    """What it answers at weights US."""

    async def open(self) -> None: ...

    def close(self) -> None: ...

    def steering(self, **changes: object) -> Steering:
        """A writer of its own, with fields of the spec replaced by *changes*."""
        ...

    def key(self, *, name: str | None = None, secret: str | None = None) -> TsigKey:
        """The world's key with another name or secret."""
        ...

    async def edit(self, kind: str, *values: str) -> None:
        """Replace the RRset of *kind* at the name as a person would; no values: delete it."""
        ...

    async def now(self) -> Answer | None:
        """What a resolver is told, without going through the provider."""
        ...

    async def forbid(self) -> None:
        """Take the right to write the fence away from the key."""
        ...

    def freeze(self) -> None: ...

    def kill(self) -> None: ...


ServerT = TypeVar("ServerT", bound=NameServer)


class ServerWorld(Generic[ServerT]):
    """The name at a real name server, by a key that has the least grant and nothing more."""

    def __init__(self, kind: str = "addresses") -> None:
        if kind == "cname":
            self.home = Answer("cname", ("eu.edge.example.net.",))
            self.away = Answer("cname", ("us.edge.example.net.",))
            records: tuple[str, ...] = ("chat 5 CNAME eu.edge.example.net.",)
        else:
            self.home = Answer("addresses", ("127.0.1.10", "2001:db8::1"))
            self.away = Answer("addresses", ("127.0.2.10", "127.0.2.11"))
            records = ("chat 5 A 127.0.1.10", "chat 5 AAAA 2001:db8::1")
        self.server = self.make(records)
        self._secrets = 0
        self.spec = SteeringSpec("rfc2136", NAME, "example.", 5, self.server.at, (), self.key())

    def make(self, records: tuple[str, ...]) -> ServerT:
        """The server, with the least grant."""
        raise NotImplementedError

    def narrow(self) -> None:
        """Take the right to write the fence out of the server's configuration."""
        raise NotImplementedError

    async def open(self) -> None:
        await self.server.start()

    def close(self) -> None:
        self.server.close()

    def steering(self, **changes: object) -> Steering:
        return Rfc2136Steering(replace(self.spec, **changes))  # type: ignore[arg-type]  # a test names fields freely

    def key(self, *, name: str | None = None, secret: str | None = None) -> TsigKey:
        self._secrets += 1
        path = self.server.directory / f"secret-{self._secrets}"
        path.write_text(secret or self.server.secret, encoding="utf-8")
        return TsigKey(name or self.server.key, Secret(SecretSource.FILE, str(path)))

    async def edit(self, kind: str, *values: str) -> None:
        await self.server.edit(NAME, kind, *values)

    async def now(self) -> Answer | None:
        cname = await ask(self.server.at, NAME, "CNAME")
        if cname:
            return Answer("cname", cname)
        addresses = await ask(self.server.at, NAME, "A") + await ask(self.server.at, NAME, "AAAA")
        return Answer("addresses", tuple(sorted(addresses))) if addresses else None

    async def forbid(self) -> None:
        self.server.stop()
        self.narrow()
        await self.server.start()

    def freeze(self) -> None:
        self.server.freeze()

    def kill(self) -> None:
        self.server.kill()


class BindWorld(ServerWorld[Bind]):
    """The name at BIND."""

    def make(self, records: tuple[str, ...]) -> Bind:
        return Bind(records=records, policy=bind.least(NAME))

    def narrow(self) -> None:
        self.server.policy = (f"grant {{key}} name {NAME} A AAAA CNAME;",)


class KnotWorld(ServerWorld[Knot]):
    """The name at Knot DNS."""

    def make(self, records: tuple[str, ...]) -> Knot:
        return Knot(records=records, owners=(NAME, f"_failover.{NAME}"))

    def narrow(self) -> None:
        self.server.owners = (NAME,)


class PowerDnsWorld(ServerWorld[PowerDns]):
    """The name at PowerDNS."""

    def make(self, records: tuple[str, ...]) -> PowerDns:
        return PowerDns(records=records, policy=powerdns.least(NAME))

    def narrow(self) -> None:
        self.server.policy = powerdns.script(((NAME, ("A", "AAAA", "CNAME")),))


def change(
    routing: Routing, weights: Weights, answer: Answer, *, run: str = "run-1", step: str = "steer"
) -> SteeringChange:
    """The compare-and-set that replaces *routing* as it was read."""
    lineage = next_lineage(routing.fence)
    return SteeringChange(routing.generation, routing.answer, weights, answer, run, step, lineage)
