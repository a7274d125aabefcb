"""Steering of things that carry their split, their fence and an etag: one update compares and sets all of it.

The etag also changes when the vendor has carried out what it accepted before. So an update that was refused for it is
judged by what stands now, and sent again where nothing else has changed.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import structlog

from orchestrator.core.errors import BadFence
from orchestrator.core.steering import Landing, Routing, SteeringChange, landing
from orchestrator.core.topology import Shares, SteeringSpec
from providers.base import ChangedOutside, Transient
from providers.fencing import ahead, checked, expected, refusal
from providers.gcp.errors import Overtaken

log = structlog.get_logger()

ROUNDS = 5
"""So often a thing is read and updated before it is said to change too fast."""

ThingT = TypeVar("ThingT")


class TaggedSteering(ABC, Generic[ThingT]):
    """The Steering of one such thing."""

    shares = Shares.WEIGHTED

    def __init__(self, spec: SteeringSpec, at: str, fence: str) -> None:
        """*at* and *fence* are where it and its fence are, for people."""
        self.spec = spec
        self.at = at
        self._fence = fence

    @abstractmethod
    async def look(self) -> ThingT:
        """The thing as it stands, with its etag. Raises Transient, NotFound, Unauthenticated, Forbidden."""

    @abstractmethod
    def routing(self, thing: ThingT) -> Routing:
        """What *thing* says. Raises BadFence."""

    @abstractmethod
    async def send(self, thing: ThingT, change: SteeringChange) -> None:
        """Update *thing* to what *change* means, where it is still of its etag. Raises Overtaken, and as ``look``."""

    async def read(self) -> Routing:
        """The split that is wanted. Raises Transient, NotFound, Unauthenticated, Forbidden, BadFence."""
        return self.routing(await self.look())

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set in one update; returns when it is accepted and reads so. Idempotent by the fence's token.

        Raises StaleGeneration, ChangedOutside, NotFound for a target that is not there, Refused, and as ``read``.
        """
        wanted = checked(change, self.spec.name)
        begun, accepted = time.perf_counter(), False
        try:
            for _ in range(ROUNDS):
                thing = await self.look()
                landed = self._judged(wanted, self.routing(thing))
                if landed is None:
                    accepted = await self._sent(thing, wanted) or accepted
                    continue
                if accepted:
                    log.info(
                        "steering.written",
                        name=self.spec.name,
                        generation=wanted.fence.generation,
                        run=wanted.run,
                        step=wanted.step,
                        seconds=round(time.perf_counter() - begun, 4),
                    )
                return landed
        except BadFence as error:
            raise ChangedOutside(f"{error}; somebody wrote there by hand") from error
        raise Transient(f"{self.at} changes faster than it can be read and updated; try again")

    async def _sent(self, thing: ThingT, change: SteeringChange) -> bool:
        """Whether the update was accepted; False where the thing was changed meanwhile, by whomever."""
        try:
            await self.send(thing, change)
        except Overtaken:
            return False
        except Transient:
            # It may have landed, or somebody else's write did.
            if self._judged(change, await self.read()) is None:
                raise
        return True

    def _judged(self, change: SteeringChange, now: Routing) -> Routing | None:
        """*now* where the change stands already, None where it may be sent. Raises what refuses it."""
        verdict = landing(change, now)
        if verdict is Landing.OURS:
            return now
        if verdict is not Landing.NOT_YET:
            raise refusal(verdict, change, now, name=self.spec.name, at=self._fence)
        if not expected(change, now.fence):
            raise ahead(now.fence, change, "of another history", name=self.spec.name, at=self._fence)
        return None
