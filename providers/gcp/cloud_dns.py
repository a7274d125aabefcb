"""Steering by weighted answers of Cloud DNS, with the fence in a TXT record at ``_failover.<name>``.

A write is one change: it deletes what was read, exactly, and adds what shall be. Cloud DNS makes all of a change or
nothing of it, and refuses one whose deletions are not what stands (412 conditionNotMet; 404 and 409 where a record has
gone or come meanwhile). So the fence and the answer are compared and set together.

The plain client of the SDK (google-cloud-dns 0.37) knows no routing policies: it can neither write a record set that
has one nor read it (https://github.com/googleapis/google-cloud-python/issues/15428). The REST API under it is used, by
the SDK's own session (https://cloud.google.com/dns/docs/reference/rest/v1/changes/create).

Least right: a role with dns.changes.create, dns.changes.list, dns.resourceRecordSets.list, .create, .update and
.delete, granted on this one managed zone.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import quote

import structlog

from orchestrator.core.errors import BadFence
from orchestrator.core.steering import Landing, Routing, SteeringChange, landing
from orchestrator.core.topology import Shares, SteeringSpec
from providers.base import ChangedOutside, NotFound, ProviderError, ServerAnswer, Transient
from providers.fencing import ahead, checked, expected, refusal
from providers.gcp.dns_records import Json, Stand, change, fence_in, stand
from providers.gcp.errors import Overtaken
from providers.gcp.session import Access, Rest, required, rest

log = structlog.get_logger()

API = "https://dns.googleapis.com"
_ROUNDS = 3
"""Changes refused this often, with the world as expected each time, will be refused for ever."""
_TORN = 5
"""Times that a fence may change while an answer is read, before the read gives up."""
_RECENT = 10
"""Changes of a zone that are looked through for one that is still on its way to the name servers."""


class CloudDnsSteering:
    """The Steering of one name in one managed zone."""

    shares = Shares.WEIGHTED

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a specification without its options. Credentials are looked for at use, not here."""
        self.spec = spec
        project, zone = required(spec.options, "project", "managed_zone", of="steering by cloud-dns")
        self._access = Access.of(spec.options)
        self._line = self._access.line("Cloud DNS")
        self._zone = f"/dns/v1/projects/{quote(project, safe='')}/managedZones/{quote(zone, safe='')}"
        self._in = f"in the managed zone {zone}"
        self._at = f"{spec.name} {self._in}"
        self._fence = f"_failover.{spec.name}"

    async def read(self) -> Routing:
        """The routing in the zone. Raises Transient, NotFound, Unauthenticated, Forbidden, BadFence, and Refused for a
        routing policy that other hands turn."""
        before = await self._rrsets(self._fence)
        for _ in range(_TORN):
            records = await self._rrsets(self.spec.name)
            after = await self._rrsets(self._fence)
            if before == after:
                return self._routing(stand(records, after))
            before = after
        raise Transient(f"{self._fence} keeps changing while it is read; another run is writing, try again")

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set in one change. Idempotent by the fence's token.

        Raises StaleGeneration, ChangedOutside, Refused, and as ``read``.
        """
        wanted = checked(change, self.spec.name)
        begun = time.perf_counter()
        try:
            for _ in range(_ROUNDS):
                sent, landed = await self._attempt(wanted)
                if landed is None:
                    continue
                if sent:
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
        raise Transient(f"Cloud DNS refuses each change of {self._at}, which reads as expected; do others write there?")

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What Google's name servers say: the answer before the newest change while that is on its way to them.

        They answer by chance and from everywhere, so the zone is asked, not they. Never raises for its silence.
        """
        at = f"Cloud DNS: {self._at}"
        try:
            records, changes = await asyncio.gather(self._rrsets(self.spec.name), self._changes())
            for each in changes:
                if any(record.get("name") == self.spec.name for record in each.get("additions") or ()):
                    if each.get("status") == "pending":
                        records = [one for one in each.get("deletions") or () if one.get("name") == self.spec.name]
                    break
            return (ServerAnswer(at, stand(records, ()).answer),)
        except ProviderError as error:
            return (ServerAnswer(at, None, str(error)),)

    async def _attempt(self, change: SteeringChange) -> tuple[bool, Routing | None]:
        """Write once and judge: whether it was sent, and what stands; None where it may be sent again."""
        now = await self._glance()
        if not self._replaceable(change, now):
            return False, self._judged(change, await self.read())
        try:
            await self._submit(change, now)
        except (Overtaken, Transient) as error:
            # Somebody wrote between our read and our write, or our own write landed and its answer was lost.
            routing = await self.read()
            if isinstance(error, Transient) and landing(change, routing) is Landing.NOT_YET:
                raise
            return True, self._judged(change, routing)
        if now.answer != change.answer:
            return True, Routing(change.answer, self.spec.ttl_s, change.fence)
        # The answer stood already, and its records were not named in the change: were they edited meanwhile?
        return True, self._judged(change, await self.read())

    def _judged(self, change: SteeringChange, now: Routing) -> Routing | None:
        verdict = landing(change, now)
        if verdict is Landing.OURS:
            return now
        if verdict is not Landing.NOT_YET:
            raise refusal(verdict, change, now, name=self.spec.name, at=self._fence)
        if not expected(change, now.fence):
            raise ahead(now.fence, change, "of another history", name=self.spec.name, at=self._fence)
        return None

    def _replaceable(self, change: SteeringChange, now: Stand) -> bool:
        """Whether *now* is what *change* replaces. What was read piece by piece refuses nothing: see ``_judged``."""
        fence = fence_in(now.fence, self._fence)
        return now.answer == change.was and expected(change, fence)

    async def _submit(self, step: SteeringChange, now: Stand) -> None:
        body = change(step, now, name=self.spec.name, fence=self._fence, ttl_s=self.spec.ttl_s)
        try:
            await self._line.write(
                f"change {self._at}",
                lambda: self._rest().call("POST", f"{self._zone}/changes", permission="dns.changes.create", body=body),
            )
        except NotFound as error:
            # Of the zone it would have been told when it was read: a record to be deleted is gone.
            raise Overtaken(str(error)) from None

    async def _glance(self) -> Stand:
        """Fence and answer, read side by side: good enough for a write, which compares both."""
        at_name, at_fence = await asyncio.gather(self._rrsets(self.spec.name), self._rrsets(self._fence))
        return stand(at_name, at_fence)

    def _routing(self, now: Stand) -> Routing:
        ttl_s = now.ttl_s
        return Routing(now.answer, self.spec.ttl_s if ttl_s is None else ttl_s, fence_in(now.fence, self._fence))

    async def _rrsets(self, name: str) -> list[Json]:
        """Every record set at *name*."""
        found = await self._line.read(
            f"read {name} {self._in}",
            lambda: self._rest().call(
                "GET", f"{self._zone}/rrsets", permission="dns.resourceRecordSets.list", query={"name": name}
            ),
        )
        records: list[Json] = found.get("rrsets") or []
        return records

    async def _changes(self) -> list[Json]:
        """The newest changes of the zone, newest first."""
        newest = {"maxResults": str(_RECENT), "sortBy": "changeSequence", "sortOrder": "descending"}
        found = await self._line.read(
            f"read the changes {self._in}",
            lambda: self._rest().call("GET", f"{self._zone}/changes", permission="dns.changes.list", query=newest),
        )
        changes: list[Json] = found.get("changes") or []
        return changes

    def _rest(self) -> Rest:
        return rest(API, self._access)
