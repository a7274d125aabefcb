"""Steering by Azure DNS, public or private: record sets under their ETags, the fence in their metadata (``standing``).

Azure DNS does not weigh: the answer is a set of addresses, or one CNAME.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace

import structlog

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import Landing, Routing, SteeringChange, landing
from orchestrator.core.topology import Shares, SteeringSpec
from providers.azure.records import PRIVATE, RecordSet, Zone
from providers.azure.session import Reach
from providers.azure.standing import AAAA, CNAME, A, Standing, claim, explained, parts, pending
from providers.base import ChangedOutside, ProviderError, Refused, ServerAnswer, Transient
from providers.dns.messages import Names, checked
from providers.dns.rfc2136 import Rfc2136Steering
from providers.fencing import ahead, expected, refusal

log = structlog.get_logger()

PUTS = 8
"""How many puts one write may need: four where nobody comes between, and as many again."""
SETTLE_S = (0.1, 0.2)
"""Before record sets that do not fit together are told as they are, they are looked at again after these pauses: a
writer may be on its way between them."""


@dataclass(frozen=True, slots=True)
class _Lost:
    """A put whose reply did not come."""

    kind: str
    error: Transient | None


_NONE = _Lost("", None)


class AzureDnsSteering:
    """The Steering of one name of one zone."""

    shares = Shares.EQUAL
    settle_s: tuple[float, ...] = SETTLE_S

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a zone's id that is none or another zone's, and for names that are none."""
        options = dict(spec.options)
        self.spec = spec
        self.names = Names.of(spec)
        self._zone = Zone(options.get("zone_id", ""), Reach.of(options), option="option zone_id")
        if self._zone.name.lower() != self.names.zone.to_text(omit_final_dot=True):
            raise BadInput(f"option zone_id names the zone {self._zone.name}, and the steering's zone is {spec.zone}")
        self._name = self.names.name.relativize(self.names.zone).to_text()
        self.at = f"the metadata of {self.names.name.to_text(omit_final_dot=True)} in Azure DNS"

    async def read(self) -> Routing:
        """The routing as ARM has it. Raises Transient, NotFound, Unauthenticated, Forbidden, BadFence."""
        now = await self._stand()
        for pause_s in self.settle_s:
            if not now.torn:
                break
            await asyncio.sleep(pause_s)
            now = await self._stand()
        return now.routing(self.spec.ttl_s)

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set; returns the routing that now stands.

        Raises StaleGeneration, ChangedOutside, Transient, Refused, and as ``read``.
        """
        wanted = checked(change, self.names)
        try:
            for pause_s in self.settle_s:
                with contextlib.suppress(ChangedOutside):
                    return await self._carry_out(wanted)
                await asyncio.sleep(pause_s)
            return await self._carry_out(wanted)
        except BadFence as error:
            raise ChangedOutside(f"at {self.at}: {error}; somebody wrote there by hand") from error

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What every authoritative server says, asked by DNS; of a private zone, which has none, what ARM has."""
        try:
            if self._zone.kind == PRIVATE:
                answer = (await self.read()).answer
                return (ServerAnswer(self._zone.name, answer, None if answer else "no record at the name"),)
            servers = self.spec.servers or await self._zone.servers()
        except (ProviderError, BadFence) as error:
            return (ServerAnswer(self._zone.name, None, str(error)),)
        if not servers:
            return (ServerAnswer(self._zone.name, None, "the zone has no name servers"),)
        asked = replace(self.spec, primary=servers[0], servers=servers, key=None)
        return await Rfc2136Steering(asked).answers()

    async def _stand(self) -> Standing:
        # A first: whoever has won it has made AAAA before, so that it is not missed.
        a = await self._zone.get(A, self._name)
        aaaa, cname = await asyncio.gather(self._zone.get(AAAA, self._name), self._zone.get(CNAME, self._name))
        return Standing(a, aaaa, cname)

    async def _carry_out(self, change: SteeringChange) -> Routing:
        now, lost = await self._stand(), _NONE
        for _ in range(PUTS):
            put = self._next(now, change, lost)
            if put is None:
                log.info("steering.written", name=self.spec.name, generation=change.fence.generation, run=change.run)
                return Routing(change.answer, self.spec.ttl_s, change.fence)
            kind, wanted = put
            try:
                kept, lost = await self._zone.put(kind, self._name, wanted), _NONE
            except Transient as error:
                # It may have landed: what stands now says so.
                kept, lost = None, _Lost(kind, error)
            if kept is None:
                now = await self._stand()
                continue
            if not set(kept.metadata).issuperset(wanted.metadata):
                raise Refused(
                    f"Azure DNS left a part of the fence out of {self.at}; take away what other metadata the {kind} "
                    "records have, as it takes a few pairs only, then adopt the service again"
                )
            now = now.put(kind, kept)
        raise Transient(f"{self.spec.name} keeps changing while it is written; others write there, too")

    def _next(self, now: Standing, change: SteeringChange, lost: _Lost) -> tuple[str, RecordSet] | None:
        """The next put; None where nothing is left. Raises what is against it, and *lost* where it did not land."""
        routing = now.routing(self.spec.ttl_s)
        if routing.fence == change.fence and explained(now, change):
            put = pending(now, change, self.spec.ttl_s)
            if put is not None and lost.error is not None and put[0] == lost.kind:
                raise lost.error
            return put
        verdict = landing(change, routing)
        if verdict is Landing.OURS:
            return None
        if verdict is not Landing.NOT_YET:
            raise refusal(verdict, change, routing, name=self.spec.name, at=self.at)
        if not expected(change, routing.fence):
            raise ahead(routing.fence, change, "of another history", name=self.spec.name, at=self.at)
        if lost.error is not None:
            raise lost.error
        self._object(now, change)
        if parts(change.answer).get(AAAA) and now.aaaa.etag is None:
            return AAAA, RecordSet(ttl_s=self.spec.ttl_s)
        return claim(now, change, self.spec.ttl_s)

    def _object(self, now: Standing, change: SteeringChange) -> None:
        """Refuse what Azure DNS cannot change without a gap, or would change behind somebody's back."""
        answer = now.answer
        if answer is not None and answer.kind != change.answer.kind:
            raise Refused(
                f"{self.spec.name} cannot turn from {_called(answer.kind)} to {_called(change.answer.kind)} in Azure "
                "DNS without answering nothing in between; give all endpoints the same kind of answer"
            )
        for kind in parts(change.answer):
            if now.of(kind).alias:
                raise Refused(
                    f"the {kind} records of {self.spec.name} are an alias of {now.of(kind).alias}; "
                    "give the name records of its own"
                )


def _called(kind: str) -> str:
    return "a CNAME" if kind == "cname" else "addresses"
