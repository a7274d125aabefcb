"""Steering by a routing document that clients read themselves: shares and fence in one text, replaced in one act.

``{"failover": "v=1 gen=42 ...", "shares": {"paris": 95, "ohio": 5}}``. A document that nobody has adopted has no
``failover``. Whatever else stands in it (where a target is reached, which model it has) is its owner's and left alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import Landing, Routing, SteeringChange, decode, encode, landing, shares_in
from orchestrator.core.topology import Answer, Shares, SteeringSpec
from providers.base import ChangedOutside, NotFound, ProviderError, ServerAnswer, Transient
from providers.documents.places import LIKE, SCHEMES, document, scheme_of
from providers.fenced import Document, Overtaken, Sheet, prove
from providers.fencing import ahead, checked, expected, refusal, weighed

FENCE, SHARES = "failover", "shares"
"""What of a routing document is ours."""
KINDS = {
    "document-file": {"file"},
    "document-http": {"http", "https"},
    "document-s3": {"s3"},
    "document-gcs": {"gs"},
    "document-blob": {"azblob"},
}
"""The provider of each place, so that its options and where it lives are known without opening it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A routing document as it was read."""

    sheet: Sheet
    whole: dict[str, Any]
    """Everything in it, ours or not."""
    routing: Routing

    def replaced(self, change: SteeringChange) -> str:
        """The text after *change*."""
        shares = dict(shares_in(change.answer))
        whole = {**self.whole, FENCE: encode(change.fence), SHARES: shares}
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


class DocumentSteering:
    """Compare-and-set on the whole document: fence and shares can never be of two writers."""

    shares = Shares.WEIGHTED

    def __init__(self, spec: SteeringSpec, place: Document | None = None) -> None:
        """Raises BadInput for a place that is none, or another one's than the provider names."""
        self.spec = spec
        where = dict(spec.options).get("document", "")
        kinds = KINDS.get(spec.provider, set(SCHEMES))
        if place is None and scheme_of(where) not in kinds:
            raise BadInput(
                f"options.document of {spec.name} says '{where[:60]}', which {spec.provider} does not steer; "
                f"write {LIKE}, each with its own provider"
            )
        self._document = place or document(spec)

    async def read(self) -> Routing:
        """Raises NotFound where there is no document, BadFence for another text, and as the place's ``read``."""
        return (await self._page()).routing

    async def write(self, change: SteeringChange) -> Routing:
        """Raises StaleGeneration, ChangedOutside, Transient, Refused, and as ``read``. Idempotent by the token."""
        wanted = checked(change, self.spec.name)
        try:
            return await self._written(wanted)
        except BadFence as error:
            raise ChangedOutside(f"{error}; somebody wrote there by hand") from error

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What the document says. Never raises for its silence."""
        try:
            routing = await self.read()
        except (ProviderError, BadFence) as error:
            return (ServerAnswer(self._document.at, None, str(error)),)
        return (ServerAnswer(self._document.at, routing.answer, None if routing.answer else "it names nobody"),)

    async def _written(self, change: SteeringChange) -> Routing:
        page = await self._page()
        if self._stands(change, page.routing):
            return page.routing
        if change.expects == 0:
            await prove(self._document)
        try:
            await self._document.put(page.replaced(change), tag=page.sheet.tag)
        except (Overtaken, Transient) as error:
            # Somebody wrote between our look and our write, or our own write landed and its reply was lost.
            now = (await self._page()).routing
            if self._stands(change, now):
                return now
            if isinstance(error, Transient):
                raise
            raise Transient(f"{self._document.at} was written and put back meanwhile") from error
        return Routing(change.answer, self.spec.ttl_s, change.fence)

    def _stands(self, change: SteeringChange, now: Routing) -> bool:
        """Whether *change* is written already; False: it may be. Raises its refusal otherwise."""
        name, at = self.spec.name, self._document.at
        verdict = landing(change, now)
        if verdict is Landing.OURS:
            return True
        if verdict is not Landing.NOT_YET:
            raise refusal(verdict, change, now, name=name, at=at)
        if not expected(change, now.fence):
            raise ahead(now.fence, change, "of another history", name=name, at=at)
        return False

    async def _page(self) -> Page:
        sheet = await self._document.read()
        if sheet.text is None:
            raise NotFound(
                f"there is no routing document at {self._document.at}: publish one that says how traffic is spread "
                'now, {"shares": {"TARGET": 100}}, then adopt it'
            )
        whole, answer = _opened(sheet.text, self._document.at)
        fence = decode(str(whole[FENCE])) if FENCE in whole else None
        return Page(sheet, whole, Routing(answer if answer.values else None, self.spec.ttl_s, fence))


def _opened(text: str, at: str) -> tuple[dict[str, Any], Answer]:
    try:
        whole = json.loads(text)
        return dict(whole), weighed(whole[SHARES])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        shown = " ".join(text.split())[:80]
        raise BadFence(f"{at} holds '{shown}', which is no routing document: see who else writes there") from error
