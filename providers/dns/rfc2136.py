"""Steering by dynamic update (RFC 2136), signed with TSIG (RFC 8945), against any standard name server.

A write is one message whose prerequisites are the fence and the answer as read; it replaces both or nothing. What
happened to a write that was refused or never answered is read back at the primary and judged by
``core.steering.landing``.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import dns.rrset
import dns.update
import structlog

from orchestrator.core.errors import BadFence
from orchestrator.core.steering import Landing, Routing, SteeringChange, landing
from orchestrator.core.topology import Answer, Shares, SteeringSpec
from providers.base import (
    ChangedOutside,
    Forbidden,
    NotFound,
    Refused,
    ServerAnswer,
    Transient,
    Unauthenticated,
)
from providers.dns.exchange import QUERY_S, Away, Failed, Line, Server, connected, foreign, own, signing_key
from providers.dns.grants import least_grant
from providers.dns.messages import (
    AAAA,
    CNAME,
    KINDS,
    LIKELY,
    SIGNATURES,
    TXT,
    A,
    Names,
    answer_in,
    checked,
    fence_in,
    replacement,
    restoration,
)
from providers.fencing import ahead, expected, refusal, said

log = structlog.get_logger()

READ_S = 1.5
"""Budget of a whole read."""
WRITE_S = 1.8
"""Budget of a whole write, read-back and retries included: under the 2 s that an activity may take."""

_ROUND_S = 0.1
"""With less left than this, another attempt is not begun."""
_PAUSE_S = 0.05
"""Between two attempts of one write."""
_TORN = 5
"""Times that a fence may change while an answer is read, before the read gives up."""
_REFUSALS = 3
"""Prerequisites refused this often, with the world as expected each time, will be refused for ever."""

_PREREQUISITE_FAILED = (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN)


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands at the primary: the routing, and the fence's record byte for byte."""

    routing: Routing
    fence: dns.rrset.RRset | None


class Rfc2136Steering:
    """The Steering of one name at one primary. Plain DNS does not weigh: the answer is a set, or one CNAME."""

    shares = Shares.EQUAL

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for names and addresses that are none. The key's secret is resolved at use, not here."""
        self.spec = spec
        self.names = Names.of(spec)
        self.primary = Server.parse(spec.primary)
        self.servers = tuple(Server.parse(server) for server in spec.servers) or (self.primary,)

    async def read(self) -> Routing:
        """The routing at the primary. Raises Transient, NotFound, Unauthenticated, BadFence."""
        key = signing_key(self.spec.key)
        async with connected(self.primary, key, asyncio.get_running_loop().time() + READ_S) as line:
            return (await self.standing(line)).routing

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set, within two seconds; returns the routing that now stands.

        A time-out leaves open whether the write landed: the next attempt, here or by the caller, reads the fence
        first and knows its own token. Raises StaleGeneration, ChangedOutside, Transient, Forbidden,
        Unauthenticated, NotFound, Refused.
        """
        wanted = checked(change, self.names)
        key = signing_key(self.spec.key)
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        deadline = loop.time() + WRITE_S
        refusals = 0
        while refusals < _REFUSALS:
            try:
                async with connected(self.primary, key, deadline) as line:
                    landed = await self._attempt(line, wanted)
            except Away:
                raise
            except Transient as error:
                if deadline - loop.time() < _ROUND_S:
                    raise
                log.info("steering.again", name=self.spec.name, reason=str(error))
                await asyncio.sleep(_PAUSE_S)  # a server that fails at once must not be asked in a tight loop
                continue
            if landed is not None:
                log.info(
                    "steering.written",
                    name=self.spec.name,
                    generation=wanted.fence.generation,
                    run=wanted.run,
                    step=wanted.step,
                    seconds=round(time.perf_counter() - begun, 4),
                )
                return landed
            refusals += 1
        raise Refused(
            f"name server {self.primary} refuses the prerequisites of {self.names.name} although it reads as expected; "
            "is the answer made by a wildcard or another view there, or does a CNAME meet a record of a rare type? "
            "Give the name records of its own"
        )

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What every authoritative server says now, asked all at once without a key, as a resolver would."""
        return tuple(await asyncio.gather(*(self._answer_of(server) for server in self.servers)))

    async def standing(self, line: Line) -> Standing:
        """Fence and answer as they stood at one moment: the fence is read before and after the answer."""
        before = await self._fence_record(line)
        for _ in range(_TORN):
            answer, ttl_s = await self._answer(line)
            after = await self._fence_record(line)
            if before == after:
                return Standing(Routing(answer, ttl_s, fence_in(after, self.names)), after)
            before = after
        raise Transient(f"{self.names.fence} keeps changing while it is read; another run is writing, try again")

    def message(self, change: SteeringChange, record: dns.rrset.RRset | None) -> dns.update.UpdateMessage:
        """The update that carries *change* out where *record* is the fence; servers that weigh take more in it."""
        return replacement(self.names, change, record, self.spec.ttl_s)

    async def _attempt(self, line: Line, change: SteeringChange) -> Routing | None:
        """Write once and judge; None where nothing has changed and the write may be sent again."""
        applied = False
        try:
            record = await self._fence_record(line)
            if self._expected(record, change):
                await self._object_to_neighbours(line, change)
                rcode = await line.submit(self.message(change, record))
                applied = rcode == dns.rcode.NOERROR
                if not applied and rcode not in _PREREQUISITE_FAILED:
                    raise await self._refusal(line, rcode)
            # NOERROR is no proof: servers leave out, without an error, what their policy or a CNAME's rule forbids.
            now = (await self.standing(line)).routing
        except BadFence as error:
            raise ChangedOutside(f"{error}; somebody wrote there by hand") from error
        except Transient:
            # A primary that is far or has died since has still signed its word; a change of kind needs more than that.
            if not applied or change.was is None or change.was.kind != change.answer.kind:
                raise
            log.warning("steering.unseen", name=self.spec.name, generation=change.fence.generation)
            return Routing(change.answer, self.spec.ttl_s, change.fence)
        if applied and now.answer is None:
            await self._put_back(line, change)
        if applied:
            self._object_to_gaps(change, now)
        return await self._judge(line, change, now)

    def _expected(self, record: dns.rrset.RRset | None, change: SteeringChange) -> bool:
        """Whether *record* is the fence that *change* replaces."""
        try:
            return expected(change, fence_in(record, self.names))
        except BadFence:
            return False

    async def _judge(self, line: Line, change: SteeringChange, now: Routing) -> Routing | None:
        fence, name, at = now.fence, str(self.names.name), str(self.names.fence)
        verdict = landing(change, now)
        if verdict is Landing.OURS:
            return now
        if verdict is not Landing.NOT_YET:
            raise refusal(verdict, change, now, name=name, at=at)
        if change.lineage and fence and change.lineage[0] != (fence.generation, fence.token):
            raise ahead(fence, change, "of another history", name=name, at=at)
        await self._object_to_neighbours(line, change, refused=True)
        return None

    async def _object_to_neighbours(self, line: Line, change: SteeringChange, *, refused: bool = False) -> None:
        """Refuse to put a CNAME where other data stands: servers drop it without an error, and the answer with it.

        The write's prerequisites hold every type off that has a name, this look those that have none; after they have
        *refused* the write it says which.
        """
        if change.answer.kind != "cname" or (change.was is not None and change.was.kind == "cname"):
            return
        name = self.names.name
        seen = await line.ask(name, dns.rdatatype.ANY)
        beside = {rrset.rdtype for rrset in seen.answer if rrset.name == name} - {*KINDS, *SIGNATURES}
        if refused:
            # A server may answer ANY with less than there is (RFC 8482).
            beside |= {kind for kind in LIKELY if kind not in beside and await line.rrset(name, kind)}
        if beside:
            found = ", ".join(dns.rdatatype.to_text(kind) for kind in sorted(beside))
            raise Refused(
                f"{name} also holds {found}, and a CNAME allows nothing beside it; "
                "give the endpoint addresses, or move those records"
            )

    async def _put_back(self, line: Line, change: SteeringChange) -> None:
        """Give the name its old answer again where the server dropped the new one, and say so.

        Knot DNS answers ANY with one type only, so that a CNAME can still meet a neighbour whose type has no name.
        """
        if change.was is None:
            return
        rcode = await line.submit(restoration(self.names, change, self.spec.ttl_s))
        if rcode in _PREREQUISITE_FAILED:
            return  # somebody has written meanwhile
        done = "was put back" if rcode == dns.rcode.NOERROR else f"could not be put back ({dns.rcode.to_text(rcode)})"
        raise Refused(
            f"name server {self.primary} dropped the new answer of {self.names.name}, and its old one {done}: "
            "a record of a rare type stands beside it; move that record, then adopt the service again"
        )

    def _object_to_gaps(self, change: SteeringChange, now: Routing) -> None:
        """Tell a write that the server called done and did in part, or not at all."""
        fence = now.fence
        ours = fence is not None and (fence.generation, fence.token) == (change.fence.generation, change.fence.token)
        known = {*change.answer.values, *(change.was.values if change.was else ())}
        found = set(now.answer.values) if now.answer else set()
        half = now.answer != change.answer and found <= known
        if half if ours else now.generation == change.expects:
            raise Forbidden(
                f"name server {self.primary} said NOERROR and left a part of the write out: {self.names.name} answers "
                f"{said(now.answer)}, and its fence {'is ours' if ours else 'is not written'}; let the server's policy "
                f"allow all of it, and refuse aloud what it forbids: {least_grant(self.spec)}"
            )

    async def _fence_record(self, line: Line) -> dns.rrset.RRset | None:
        """The TXT at the fence's name. Raises BadFence where a CNAME leads away from there."""
        reply = await line.ask(self.names.fence, TXT)
        if own(reply, self.names.fence, CNAME):
            raise BadFence(f"a CNAME stands at {self.names.fence}, where the fence belongs: delete it")
        return own(reply, self.names.fence, TXT)

    async def _answer(self, line: Line) -> tuple[Answer | None, int]:
        name = self.names.name
        try:
            reply = await line.ask(name, A)
        except Failed:
            # Asked for addresses, servers follow a CNAME and fail where it leads in a circle; there it must be mended.
            cname = await line.rrset(name, CNAME)
            if cname is None:
                raise
            return answer_in({CNAME: cname}), cname.ttl
        rrsets = {kind: own(reply, name, kind) for kind in (A, CNAME)}
        if rrsets[CNAME] is None:
            rrsets[AAAA] = await line.rrset(name, AAAA)
        return answer_in(rrsets), min((rrset.ttl for rrset in rrsets.values() if rrset), default=self.spec.ttl_s)

    async def _refusal(self, line: Line, rcode: dns.rcode.Rcode) -> Exception:
        """A refused update as the error that says what to do."""
        names = self.names
        if rcode == dns.rcode.REFUSED:
            return self._forbidden(rcode)
        if rcode == dns.rcode.NOTAUTH:
            # Without a TSIG error this means the zone (RFC 2136, section 2.2), yet some servers say it of the key.
            soa = await line.exchange(dns.message.make_query(names.zone, dns.rdatatype.SOA, flags=0))
            served = foreign(soa) is None and own(soa, names.zone, dns.rdatatype.SOA)
            if served and self.spec.key is None:
                return self._forbidden(rcode)
            if served:
                return Unauthenticated(
                    f"name server {self.primary} takes no update of {names.zone} with this key (NOTAUTH): "
                    "compare the key there and here, and make sure that this server is the zone's primary"
                )
        if rcode in (dns.rcode.NOTAUTH, dns.rcode.NOTZONE):
            return NotFound(
                f"name server {self.primary} does not serve the zone {names.zone} ({dns.rcode.to_text(rcode)}): "
                "mend the steering's zone, or serve the zone there"
            )
        if rcode == dns.rcode.SERVFAIL:
            return Transient(
                f"name server {self.primary} failed to apply the update of {names.name} (SERVFAIL); its log says why: "
                "a disk, more records than it allows, or the policy script of PowerDNS"
            )
        return Refused(
            f"name server {self.primary} refused the update of {names.name} ({dns.rcode.to_text(rcode)}); "
            "does it take dynamic updates (RFC 2136) for this zone?"
        )

    def _forbidden(self, rcode: dns.rcode.Rcode) -> Forbidden:
        key = f"TSIG key '{self.spec.key.name}'" if self.spec.key else "an update without a key"
        # Without this, the grant would be looked for in vain.
        odd = (
            " BIND refuses addresses at a name with an underscore, too, unless the zone says check-names ignore"
            if "_" in self.spec.name
            else ""
        )
        return Forbidden(
            f"name server {self.primary} does not let {key} change {self.names.name} ({dns.rcode.to_text(rcode)}); "
            f"allow it in the zone's update-policy, or name the primary if this is a secondary: "
            f"{least_grant(self.spec)}{odd}"
        )

    async def _answer_of(self, server: Server) -> ServerAnswer:
        try:
            async with asyncio.timeout(QUERY_S):
                address = await server.address()
                a, aaaa = await asyncio.gather(*(self._resolve(address, server.port, kind) for kind in (A, AAAA)))
            why = foreign(a) or foreign(aaaa)
            if why:
                return ServerAnswer(str(server), None, why)
            name = self.names.name
            answer = answer_in({A: own(a, name, A), CNAME: own(a, name, CNAME), AAAA: own(aaaa, name, AAAA)})
        except (dns.exception.Timeout, TimeoutError):
            return ServerAnswer(str(server), None, "no answer within 1 s")
        except Away:
            return ServerAnswer(str(server), None, "its host name does not resolve")
        except OSError as error:
            return ServerAnswer(str(server), None, (error.strerror or "cannot be reached").lower())
        except (dns.exception.DNSException, EOFError):
            return ServerAnswer(str(server), None, "does not speak DNS as expected")
        return ServerAnswer(str(server), answer, None if answer else "no record at the name")

    async def _resolve(self, address: str, port: int, kind: dns.rdatatype.RdataType) -> dns.message.Message:
        query = dns.message.make_query(self.names.name, kind, flags=0)
        reply, _ = await dns.asyncquery.udp_with_fallback(
            query, address, timeout=QUERY_S, port=port, ignore_unexpected=True, ignore_errors=True
        )
        return reply
