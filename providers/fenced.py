"""Steering by a dial that knows no compare-and-set, under a fence kept in a document that does.

HAProxy's weights, a listener's target groups, an accelerator's dials: such a control says what traffic does and takes
whatever it is told last. So the document is written first, compare-and-set, with what shall be; then the dial is set to
what the document says. Who loses the race for the document never touches the dial. Who has touched it looks at both
again, and where somebody has gone ahead meanwhile he sets the dial to *their* word: whoever touches the dial last
leaves it as the newest document says. So does a write that was overtaken and is tried again.

What remains: a writer that dies between a late touch and that look leaves the dial other than the document says, and
every reader tells it as changed outside. And an edit by hand is overwritten where nothing tells it from a writer's own
touch: while a write is on its way, or where it sets just what an unfinished write began with, or what an overtaken one
wanted, and that write is then tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from orchestrator.core.errors import BadFence
from orchestrator.core.steering import Fence, Landing, Routing, SteeringChange, landing, shares_in, shares_of
from orchestrator.core.topology import Answer, Shares, SteeringSpec
from providers.base import ChangedOutside, NotFound, ProviderError, Refused, ServerAnswer, Transient
from providers.fencing import ahead, checked, expected, page, page_in, refusal, said

Targets = tuple[tuple[str, int], ...]
"""``(target, weight)``, sorted by target; weights as the dial counts them, never negative."""
TURNS = 5
"""How often a writer turns the dial, after others who go ahead or against somebody else, before it gives up."""
FRESH_S = 1.0
"""How old a look may be, seconds, when the dial is turned on its word: a worker that was frozen looks again."""
SETTLE_S = (0.1, 0.2)
"""Before dial and document that differ are told as changed outside, they are looked at again after these pauses: a
writer may be on its way between them."""


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


async def prove(document: Document) -> None:
    """Raise Refused where the document is replaced although its tag is another: no fence holds in such a store.

    It is written as it stands, under tags that it does not have; a store that compares writes nothing. Raises as
    ``Document.read``.
    """
    sheet = await document.read()
    if sheet.text is None or sheet.tag is None:
        return
    for tag in (None, str(int(sheet.tag) - 1) if sheet.tag.isdigit() else '"another"'):
        try:
            await document.put(sheet.text, tag=tag)
        except Overtaken:
            continue
        raise Refused(
            f"{document.at} lets itself be replaced under a tag that it does not have: its server does not compare "
            "(If-Match, If-None-Match), and no fence holds there; keep it elsewhere"
        )


@runtime_checkable
class Dial(Protocol):
    """A control that spreads traffic over targets, and that anybody may turn."""

    at: str
    """The place, for people."""

    async def read(self) -> Targets:
        """Every target with its weight; what was turned to 40 reads as 40.

        Raises Transient, NotFound, Unauthenticated, Forbidden.
        """
        ...

    async def turn(self, targets: Targets) -> None:
        """Give these targets these percents, and 0 to all others. Done twice it does nothing more.

        No moment may leave all at 0: who gains is turned up before who loses is turned down; where that takes several
        calls, who was held up between them for FRESH_S looks again first, as another writer may be at it. Raises as
        ``read``, and NotFound for a target that is not there, before anything is turned.
        """
        ...


class FencedDial:
    """Steering over a Dial and the Document that holds its fence."""

    shares = Shares.WEIGHTED
    settle_s = SETTLE_S

    def __init__(
        self, spec: SteeringSpec, dial: Dial, document: Document, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.spec = spec
        self._dial = dial
        self._document = document
        self._clock = clock

    async def read(self) -> Routing:
        """The dial as it stands, under the document's fence.

        Raises Transient, NotFound, Unauthenticated, Forbidden, and BadFence for a document of somebody else.
        """
        stand = await self._stand()
        for pause_s in self.settle_s:
            if stand.meant is None or stand.agrees:
                break
            await asyncio.sleep(pause_s)
            stand = await self._stand()
        return stand.routing

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set on the document, then the dial. Idempotent by the fence's token.

        Raises StaleGeneration, ChangedOutside, Transient, Refused, and as ``read``.
        """
        wanted = checked(change, self.spec.name)
        try:
            return await self._written(wanted)
        except BadFence as error:
            raise ChangedOutside(f"{error}; somebody wrote there by hand") from error

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What the dial says. Never raises for its silence."""
        try:
            return (ServerAnswer(self._dial.at, answer_of(await self._dial.read())),)
        except ProviderError as error:
            return (ServerAnswer(self._dial.at, None, str(error)),)

    async def _written(self, change: SteeringChange) -> Routing:
        begun = self._clock()
        stand = await self._judged(change)
        if stand.wrote(change):
            return await self._carried_out(change, stand, begun)
        self._object_to_strangers(change, stand)
        try:
            await self._document.put(page(change.fence, change.answer), tag=stand.sheet.tag)
        except (Overtaken, Transient) as error:
            # Somebody wrote between our look and our write, or our own write landed and its reply was lost.
            begun = self._clock()
            stand = await self._judged(change)
            if not stand.wrote(change):
                if isinstance(error, Transient):
                    raise
                raise Transient(f"the fence at {self._document.at} was written and put back meanwhile") from error
        else:
            if change.expects == 0:
                await prove(self._document)
            stand = replace(stand, fence=change.fence, meant=change.answer)
            if stand.agrees:
                # Seen before our write: a writer before us may have turned it since, and looked too early to see us.
                stand = await self._stand()
        return await self._carried_out(change, stand, begun)

    async def _judged(self, change: SteeringChange) -> _Stand:
        """What stands, where *change* is written already, if only half, or may be. Raises its refusal otherwise."""
        for pause_s in (*self.settle_s, None):
            stand = await self._stand()
            verdict = landing(change, stand.routing)
            free = verdict is Landing.NOT_YET and expected(change, stand.fence)
            if free or verdict is Landing.OURS or stand.half_done(change):
                self._object_to_edits(change, stand)
                return stand
            if verdict is Landing.CHANGED_OUTSIDE and pause_s is not None:
                await asyncio.sleep(pause_s)
                continue
            if verdict is Landing.SUPERSEDED and stand.touched_by(change):
                # An earlier try of ours has turned the dial after those who went ahead: it is not left so.
                await self._followed(stand)
            break
        raise self._refusal(verdict, change, stand.routing)

    def _object_to_strangers(self, change: SteeringChange, stand: _Stand) -> None:
        """Raise NotFound for a target that the dial does not have, before anything is written."""
        known = {target for target, _ in stand.targets}
        strange = [target for target, _ in shares_in(change.answer) if target not in known]
        if strange:
            raise NotFound(
                f"{self._dial.at} has no target called {', '.join(strange)}; there are: {', '.join(sorted(known))}"
            )

    def _object_to_edits(self, change: SteeringChange, stand: _Stand) -> None:
        """Raise ChangedOutside for a document whose shares were edited under the fence of *change*."""
        if stand.wrote(change) and stand.meant != change.answer:
            raise ChangedOutside(
                f"{self._document.at} says {said(stand.meant)} where generation {change.fence.generation} left "
                f"{said(change.answer)}: it was changed outside; put it back, or adopt the service as it is"
            )

    async def _carried_out(self, change: SteeringChange, stand: _Stand, begun: float) -> Routing:
        """Turn the dial, last seen in *stand* at or after *begun*, as the document says, which is *change*'s own."""
        if self._clock() - begun > FRESH_S:
            stand = await self._stand()
        stand = await self._followed(stand)
        if not stand.wrote(change):
            raise self._refusal(Landing.SUPERSEDED, change, stand.routing)
        self._object_to_edits(change, stand)
        return stand.routing

    async def _followed(self, stand: _Stand) -> _Stand:
        """Turn the dial until it is as the newest document says; what stands then."""
        for turn in range(TURNS):
            if turn > 1:
                await asyncio.sleep(self.settle_s[-1])  # the dial may be slow to show what it was told
            if stand.meant is None:
                raise ChangedOutside(f"the fence at {self._document.at} was removed by hand while it was written")
            if stand.agrees:
                return stand
            await self._dial.turn(shares_in(stand.meant))
            stand = await self._stand()
        if stand.agrees:
            return stand
        raise Transient(
            f"{self._dial.at} was turned {TURNS} times and does not stay as {self._document.at} says: "
            "see who else turns it, or writes there"
        )

    async def _stand(self) -> _Stand:
        sheet = await self._document.read()
        targets = await self._dial.read()
        fence, meant = page_in(sheet.text, self._document.at) if sheet.text else (None, None)
        return _Stand(sheet, targets, fence, meant, self.spec.ttl_s)

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

    @property
    def agrees(self) -> bool:
        """Whether the dial is as the document says."""
        return answer_of(self.targets) == self.meant

    def wrote(self, change: SteeringChange) -> bool:
        """Whether the document is as *change* leaves it."""
        wanted = change.fence
        return self.fence is not None and (self.fence.generation, self.fence.token) == (wanted.generation, wanted.token)

    def half_done(self, change: SteeringChange) -> bool:
        """Whether the document is this change's, and the dial is on its way: each target as it was, or as it shall be.

        What the dial was is known in percents only: weights that stand in the same proportion are taken for it.
        """
        if not self.wrote(change) or answer_of(self.targets) == change.answer:
            return False
        before = dict(shares_in(change.was)) if change.was is not None else {}
        after = dict(shares_in(change.answer))
        unturned = tuple((target, weight) for target, weight in self.targets if weight != after.get(target, 0))
        return shares_of(unturned) == shares_of(tuple((target, before.get(target, 0)) for target, _ in unturned))

    def touched_by(self, change: SteeringChange) -> bool:
        """Whether the dial differs from the document in what *change* wanted: in nothing else, or in a share above 0,
        be there traces of others who were overtaken, too."""
        if self.meant is None or self.agrees:
            return False
        wanted, meant = dict(shares_in(change.answer)), dict(shares_in(self.meant))
        odd = {target: weight for target, weight in self.targets if weight != meant.get(target, 0)}
        ours = {target for target, weight in odd.items() if weight == wanted.get(target, 0)}
        return ours == odd.keys() or any(odd[target] for target in ours)


def answer_of(targets: Targets) -> Answer | None:
    """The shares of *targets*; None where nothing gets traffic."""
    spread = shares_of(targets)
    return spread if spread.values else None
