"""Steering by weighted record sets of Route 53: one name in one hosted zone, under a fence beside it.

A write is one change batch that deletes the fence and every record set of the name exactly as they were read and
creates the new ones. Route 53 makes all of a batch or nothing, and a DELETE that does not repeat what stands fails
(https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html): so a rival's write and a
person's edit both refuse ours. A set that somebody *adds* in that very moment refuses nothing; the next look tells it.

The API is the control plane, and lives in us-east-1. Where that is what fails, ``route53-recovery`` and ``arc`` move
traffic without it. A whole account has 10 requests a second, and 50 at once
(https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/throttling-api-requests.html): a write takes two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import Fence, Landing, Routing, SteeringChange, decode, encode, landing, shares_in
from orchestrator.core.topology import Shares, SteeringSpec
from providers.aws.calling import Reply, Way
from providers.aws.route53_dns import told
from providers.aws.route53_sets import KINDS, RecordSet, changes, fence_set, plain, replaced, text_in, weighed
from providers.base import ChangedOutside, ProviderError, Refused, ServerAnswer, Throttled, Transient
from providers.dns.exchange import Server
from providers.fenced import answer_of
from providers.fencing import ahead, checked, expected, refusal

log = structlog.get_logger()

REGION = "us-east-1"
"""What the API is signed for; another partition has its own (cn-northwest-1, us-gov-west-1)."""
_PAGE = 100
"""Record sets asked for at once: those of the name, and what sorts between it and its fence."""
_TRIES = 3
"""How often a batch that was refused is made again from what is read then, and how often a torn read is repeated."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The record sets of the name and its fence as they were read."""

    sets: tuple[RecordSet, ...]
    fence_set: RecordSet | None
    at_once: bool
    """By one call, so that they stood so at one moment."""

    def same(self, other: Standing) -> bool:
        return (self.sets, self.fence_set) == (other.sets, other.fence_set)

    @property
    def old(self) -> tuple[RecordSet, ...]:
        return (*((self.fence_set,) if self.fence_set else ()), *self.sets)


class Route53Steering:
    """The Steering of one name. Clients keep an answer for the time to live of the record sets.

    It may: ``route53:ListResourceRecordSets`` and ``route53:ChangeResourceRecordSets`` on the hosted zone, and
    ``route53:GetChange``. The condition key ``route53:ChangeResourceRecordSetsNormalizedRecordNames`` narrows the write
    to the name and its fence. A set that has a health check keeps it: what Route 53 then does by itself is not told.
    """

    shares = Shares.WEIGHTED

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput where the hosted zone is not named, and for servers that are none."""
        options = dict(spec.options)
        self.zone = options.get("zone_id", "").rpartition("/")[2]
        if not self.zone:
            raise BadInput(f"the Route 53 steering of {spec.name} needs options.zone_id: the hosted zone's id, 'Z...'")
        self.spec = spec
        self.name = plain(spec.name)
        self.at = f"_failover.{self.name}"
        self._servers = tuple(Server.parse(server) for server in spec.servers)
        self._way = Way.of("route53", options, f"the steering of {spec.name}", region=REGION)

    async def read(self) -> Routing:
        """The shares by the record sets and the fence beside them, those on their way to the name servers included.

        Raises Transient, NotFound, Unauthenticated, Forbidden, BadFence, and Refused for sets that are not weighed.
        """
        return self._routing(await self._stand())

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set by one change batch; idempotent by the fence's token.

        Raises StaleGeneration, ChangedOutside, Transient, Refused, and as ``read``.
        """
        wanted = checked(change, self.name)
        try:
            stand = await self._stand()
            for _ in range(_TRIES):
                done = self._judged(wanted, self._routing(stand))
                if done is not None:
                    return done
                refused = await self._put(wanted, stand)
                if not refused:
                    return Routing(wanted.answer, self.spec.ttl_s, wanted.fence)
                before, stand = stand, await self._stand()
                if stand.same(before):
                    raise Refused(f"Route 53 refuses the change of {self.name}: {refused}; mend what it names")
            self._judged(wanted, self._routing(stand))
        except BadFence as error:
            raise ChangedOutside(f"{error}; somebody wrote there by hand") from error
        raise Transient(f"{self.name} keeps changing at Route 53 while it is written: others write there, too")

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What the name servers say that the topology names under ``servers``; without those, what the API says.

        The API gives the new sets as soon as it has taken them; the name servers follow, mostly within a minute. A
        change that this process has sent is told as on its way until Route 53 calls it INSYNC.
        """
        if self._servers:
            return await told(self._servers, self.name, self.record_sets)
        try:
            if await self._on_its_way():
                return (ServerAnswer("Route 53", None, "the change is on its way to the name servers (PENDING)"),)
            return (ServerAnswer("Route 53", (await self.read()).answer),)
        except (ProviderError, BadFence) as error:
            return (ServerAnswer("Route 53", None, str(error)),)

    def _judged(self, change: SteeringChange, now: Routing) -> Routing | None:
        """*now* where the change stands already; None where it may be written. Raises why it may not."""
        verdict = landing(change, now)
        if verdict is Landing.OURS:
            return now
        if verdict is not Landing.NOT_YET:
            raise refusal(verdict, change, now, name=self.name, at=self.at)
        if not expected(change, now.fence):
            raise ahead(now.fence, change, "of another history", name=self.name, at=self.at)
        return None

    async def _put(self, change: SteeringChange, stand: Standing) -> str:
        """Send the batch. Route 53's own words where it was refused as invalid; empty where it landed."""
        new = replaced(self.name, stand.sets, shares_in(change.answer), self.spec.ttl_s)
        fence = fence_set(self.at, encode(change.fence), self.spec.ttl_s)
        batch = {
            "Comment": f"failover {change.fence.token}, generation {change.fence.generation}"[:256],
            "Changes": changes(stand.old, (fence, *new)),
        }
        try:
            reply = await self._way.write(
                f"write {self.name}",
                "change_resource_record_sets",
                told=invalid,
                HostedZoneId=self.zone,
                ChangeBatch=batch,
            )
        except Invalid as refused:
            return str(refused)
        except Throttled:
            raise
        except Transient:
            # It may have landed, and its answer was lost.
            if self._routing(await self._stand()).fence != change.fence:
                raise
            return ""
        sent = self._latest.change = str(reply["ChangeInfo"]["Id"])
        log.info("steering.written", name=self.spec.name, generation=change.fence.generation, change=sent)
        return ""

    async def _stand(self) -> Standing:
        stand = await self._look()
        for _ in range(_TRIES):
            if stand.at_once:
                return stand
            before, stand = stand, await self._look()
            if stand.same(before):
                return stand
        raise Transient(f"{self.name} keeps changing at Route 53 while it is read; another run is writing, try again")

    def _routing(self, stand: Standing) -> Routing:
        ttls = [int(each["TTL"]) for each in stand.sets if "TTL" in each]
        return Routing(answer_of(weighed(stand.sets)), min(ttls, default=self.spec.ttl_s), self._fence(stand))

    def _fence(self, stand: Standing) -> Fence | None:
        if stand.fence_set is None:
            return None
        text = text_in(stand.fence_set)
        if not text:
            raise BadFence(f"{self.at} does not hold the one TXT value of a fence; delete what is foreign there")
        try:
            return decode(text)
        except BadFence as error:
            raise BadFence(f"at {self.at}: {error}") from error

    async def record_sets(self) -> tuple[RecordSet, ...]:
        """Those of the name that hold addresses or a host name. Raises as ``read``."""
        return (await self._stand()).sets

    async def _on_its_way(self) -> bool:
        sent = self._latest.change
        if not sent:
            return False
        found = await self._way.read(f"ask how far change {sent} is", "get_change", Id=sent)
        if found["ChangeInfo"]["Status"] == "PENDING":
            return True
        if self._latest.change == sent:
            self._latest.change = ""
        return False

    async def _look(self) -> Standing:
        """The sets of the name, and its fence, which sorts right after it but for names below it."""
        page, pages = await self._page(StartRecordName=self.name), 1
        found: list[RecordSet] = list(page["ResourceRecordSets"])
        while page["IsTruncated"] and plain(page["NextRecordName"]) == self.name:
            start = {"StartRecordName": self.name, "StartRecordType": page["NextRecordType"]}
            if "NextRecordIdentifier" in page:
                start["StartRecordIdentifier"] = page["NextRecordIdentifier"]
            page, pages = await self._page(**start), pages + 1
            found += page["ResourceRecordSets"]
        if page["IsTruncated"] and not any(self._is_fence(each) for each in found):
            page, pages = await self._page(StartRecordName=self.at, StartRecordType="TXT", MaxItems="1"), pages + 1
            found += page["ResourceRecordSets"]
        sets = tuple(each for each in found if plain(each["Name"]) == self.name and each["Type"] in KINDS)
        return Standing(sets, next((each for each in found if self._is_fence(each)), None), pages == 1)

    async def _page(self, **start: str) -> Reply:
        what = f"read {self.name} in zone {self.zone}"
        asked: dict[str, Any] = {"MaxItems": str(_PAGE), **start}
        return await self._way.read(what, "list_resource_record_sets", HostedZoneId=self.zone, **asked)

    def _is_fence(self, each: RecordSet) -> bool:
        return each["Type"] == "TXT" and plain(each["Name"]) == self.at

    @property
    def _latest(self) -> Latest:
        return latest(self._way.endpoint, self.zone, self.name)


class Invalid(Refused):
    """The batch was refused as a whole: something in it is not as it was read, or never allowed. Route 53's words."""


def invalid(code: str, says: str) -> ProviderError | None:
    """What a refused batch is told as."""
    return Invalid(says) if code == "InvalidChangeBatch" else None


@dataclass(slots=True)
class Latest:
    """The change that this process has sent last for one name; empty when it is everywhere."""

    change: str = ""


@cache
def latest(endpoint: str, zone: str, name: str) -> Latest:
    """The one of that name in this process. Another worker does not know it, and believes the API."""
    return Latest()
