"""Steering by a dial that knows no compare-and-set, under a fence kept in a document that does.

HAProxy's weights, a listener's target groups, an accelerator's dials: such a control says what traffic does and takes
whatever it is told last. So the document is written first, compare-and-set, with what shall be; then the dial is set to
what the document says. Who loses the race for the document never touches the dial. Who was slow looks at the document
again after he has set the dial, and where somebody has gone ahead meanwhile he sets it to *their* word: whoever touches
the dial last leaves it as the newest document says. What remains is a writer that dies between a late touch and that
look: then the dial differs from the document, which every reader tells as changed outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from orchestrator.core.errors import BadFence
from orchestrator.core.steering import Fence, Landing, Routing, SteeringChange, landing, shares_in, shares_of
from orchestrator.core.topology import Answer, Shares, SteeringSpec
from providers.base import ChangedOutside, ProviderError, Refused, ServerAnswer, Transient
from providers.fencing import ahead, checked, expected, page, page_in, refusal

Targets = tuple[tuple[str, int], ...]
"""``(target, weight)``, sorted by target; weights as the dial counts them, never negative."""
TURNS = 5
"""How often a writer follows others who go ahead of it before it says that the place is too busy."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A small document as it was read."""

    text: str | None
    """None: it does not exist."""
    tag: str | None
    """What a compare-and-set names: an ETag, a generation. None where there is no document."""


class Overtaken(Exception):
    """The document was no longer as the tag says."""


@runtime_checkable
class Document(Protocol):
    """One small text at a place that can compare and set."""

    at: str
    """The place, for people; without secrets."""

    async def read(self) -> Sheet:
        """What stands now, never from a cache. Raises Transient, Unauthenticated, Forbidden, NotFound (the place)."""
        ...

    async def put(self, text: str, *, tag: str | None) -> None:
        """Replace what stood at *tag* (None: nothing stood). Raises Overtaken, and as ``read``; a time-out may have
        had its effect."""
        ...


@runtime_checkable
class Dial(Protocol):
    """A control that spreads traffic over targets, and that anybody may turn."""

    at: str
    """The place, for people."""

    async def read(self) -> Targets:
        """Every target with its weight. Raises Transient, NotFound, Unauthenticated, Forbidden."""
        ...

    async def turn(self, targets: Targets) -> None:
        """Give these targets these percents, and 0 to all others. Done twice it does nothing more.

        No moment may leave all at 0: who gains is turned up before who loses is turned down. Raises as ``read``, and
        NotFound for a target that is not there, before anything is turned.
        """
        ...


class FencedDial:
    """Steering over a Dial and the Document that holds its fence."""

    shares = Shares.WEIGHTED

    def __init__(self, spec: SteeringSpec, dial: Dial, document: Document) -> None:
        self.spec = spec
        self._dial = dial
        self._document = document

    async def read(self) -> Routing:
        """The dial as it stands, under the document's fence.

        Raises Transient, NotFound, Unauthenticated, Forbidden, and BadFence for a document of somebody else.
        """
        return (await self._stand()).routing

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set on the document, then the dial. Idempotent by the fence's token.

        Raises StaleGeneration, ChangedOutside, Transient, Refused, and as ``read``.
        """
        wanted = checked(change, self.spec.name)
        try:
            stand = await self._stand()
            if stand.half_done(wanted):
                return await self._turned(wanted)
            verdict = landing(wanted, stand.routing)
            if verdict is Landing.OURS:
                return stand.routing
            if verdict is not Landing.NOT_YET or not expected(wanted, stand.fence):
                raise self._refusal(verdict, wanted, stand.routing)
            return await self._put(wanted, stand)
        except BadFence as error:
            raise ChangedOutside(f"{error}; somebody wrote there by hand") from error

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What the dial says. Never raises for its silence."""
        try:
            return (ServerAnswer(self._dial.at, answer_of(await self._dial.read())),)
        except ProviderError as error:
            return (ServerAnswer(self._dial.at, None, str(error)),)

    async def _stand(self) -> _Stand:
        # The document first: a dial that is turned meanwhile shows a newer word, never one that was overtaken.
        sheet = await self._document.read()
        targets = await self._dial.read()
        fence, meant = page_in(sheet.text, self._document.at) if sheet.text else (None, None)
        return _Stand(sheet, targets, fence, meant, self.spec.ttl_s)

    async def _put(self, change: SteeringChange, stand: _Stand) -> Routing:
        try:
            await self._document.put(page(change.fence, change.answer), tag=stand.sheet.tag)
        except (Overtaken, Transient) as error:
            # Somebody wrote between our read and our write, or our own write landed and its reply was lost.
            now = await self._stand()
            if now.fence != change.fence:
                verdict = landing(change, now.routing)
                if verdict is Landing.NOT_YET:
                    why = str(error) or "somebody else wrote, and it is gone again"
                    raise Transient(f"the fence at {self._document.at} was not written: {why}") from error
                raise self._refusal(verdict, change, now.routing) from error
        return await self._turned(change)

    async def _turned(self, change: SteeringChange) -> Routing:
        """Set the dial to what the newest document says, which is ours unless somebody has gone ahead."""
        fence, meant = change.fence, change.answer
        for _ in range(TURNS):
            await self._dial.turn(shares_in(meant))
            sheet = await self._document.read()
            if not sheet.text:
                raise ChangedOutside(f"the fence at {self._document.at} was removed by hand while it was written")
            newest, says = page_in(sheet.text, self._document.at)
            if newest == fence:
                break
            fence, meant = newest, says
        else:
            raise Transient(f"{self._document.at} keeps changing while it is carried out: others write there, too")
        if fence != change.fence:
            raise self._refusal(Landing.SUPERSEDED, change, Routing(meant, self.spec.ttl_s, fence))
        return Routing(change.answer, self.spec.ttl_s, change.fence)

    def _refusal(self, verdict: Landing, change: SteeringChange, now: Routing) -> Refused:
        if verdict is Landing.NOT_YET:
            return ahead(now.fence, change, "of another history", name=self.spec.name, at=self._document.at)
        return refusal(verdict, change, now, name=self.spec.name, at=self._document.at)


@dataclass(frozen=True, slots=True)
class _Stand:
    """Document and dial, as they were read one after the other."""

    sheet: Sheet
    targets: Targets
    fence: Fence | None
    meant: Answer | None
    """What the document says that the dial does."""
    ttl_s: int

    @property
    def routing(self) -> Routing:
        return Routing(answer_of(self.targets), self.ttl_s, self.fence)

    def half_done(self, change: SteeringChange) -> bool:
        """Whether the document is this change's, and the dial is on its way: each target as it was, or as it shall be.

        A person who sets one target back by hand in that very moment is not told from a dial not yet turned.
        """
        if self.fence != change.fence or answer_of(self.targets) == change.answer:
            return False
        before = dict(shares_in(change.was)) if change.was is not None else {}
        after = dict(shares_in(change.answer))
        return all(
            weight == after.get(target, 0) or (weight > 0) == (before.get(target, 0) > 0)
            for target, weight in self.targets
        )


def answer_of(targets: Targets) -> Answer | None:
    """The shares of *targets*; None where nothing gets traffic."""
    spread = shares_of(targets)
    return spread if spread.values else None
