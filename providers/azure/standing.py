"""A name in Azure DNS as it stands, and which record set a write must put next. No IO.

The fence is metadata of the record set that answers: one PUT under an ETag replaces fence and answer together. An
answer of addresses is two record sets, A and AAAA, which never change in one call. There the fence that counts is that
of A, which may be empty: an empty record set is not served. Who has won A then puts AAAA, with the same fence in it.
Whoever finds an AAAA record set puts it, changed or not: its new ETag stops whoever is slow with an older word. So AAAA
is made, empty, before A is won and not after: a late creation then brings nothing but an empty set. What a person does
to AAAA after A was won is told, and not written over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.core.errors import BadFence
from orchestrator.core.steering import Fence, Routing, SteeringChange, decode, encode
from orchestrator.core.topology import Answer
from providers.azure.records import RecordSet
from providers.dns.messages import canonical

MARK = "failover"
"""Metadata ``failover1``, ``failover2`` ... are a fence, in pieces."""
KEPT = f"{MARK}0"
"""Metadata of an A record set whose values are still those of before: AAAA is put first, and then they go."""
PIECE = 250
"""Characters of one piece. The vendor names no limit; of tags, which are like it, it is 256."""

A, AAAA, CNAME = "A", "AAAA", "CNAME"


@dataclass(frozen=True, slots=True)
class Standing:
    """The record sets at a name, as they were read one after the other, A first."""

    a: RecordSet
    aaaa: RecordSet
    cname: RecordSet

    @property
    def home(self) -> str:
        """The type of the record set whose fence counts."""
        return CNAME if self.cname.etag is not None else A

    def of(self, kind: str) -> RecordSet:
        return {A: self.a, AAAA: self.aaaa, CNAME: self.cname}[kind]

    def put(self, kind: str, record_set: RecordSet) -> Standing:
        """The same with one record set replaced."""
        a, aaaa, cname = (record_set if kind == each else self.of(each) for each in (A, AAAA, CNAME))
        return Standing(a, aaaa, cname)

    @property
    def answer(self) -> Answer | None:
        if self.home == CNAME:
            return canonical(Answer("cname", self.cname.values)) if self.cname.values else None
        values = self.a.values + self.aaaa.values
        return canonical(Answer("addresses", values)) if values else None

    def routing(self, ttl_s: int) -> Routing:
        """What it means. *ttl_s* where there is none yet. Raises BadFence."""
        ttl = min((each.ttl_s for each in (self.a, self.aaaa, self.cname) if each.values), default=ttl_s)
        return Routing(self.answer, ttl, fence_in(self.of(self.home)))

    @property
    def torn(self) -> bool:
        """Whether A and AAAA are not of one write: one is on its way between them, or its writer has died."""
        first, second = _mark(self.a), _mark(self.aaaa)
        if first is None:
            return False
        beside = self.aaaa.etag is not None and (second is None or second.generation != first.generation)
        return beside or KEPT in dict(self.a.metadata)


def fence_in(record_set: RecordSet) -> Fence | None:
    """The fence in its metadata; None where there is none. Raises BadFence."""
    found = dict(record_set.metadata)
    pieces: list[str] = []
    while (piece := found.get(f"{MARK}{len(pieces) + 1}")) is not None:
        pieces.append(piece)
    return decode("".join(pieces)) if pieces else None


def marked(record_set: RecordSet, fence: Fence) -> tuple[tuple[str, str], ...]:
    """Its metadata with *fence* in place of the one it had; what others keep there stays."""
    text = encode(fence)
    others = [(name, value) for name, value in record_set.metadata if not name.removeprefix(MARK).isdecimal()]
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return tuple(sorted([*others, *((f"{MARK}{index}", piece) for index, piece in enumerate(pieces, 1))]))


def parts(answer: Answer) -> dict[str, tuple[str, ...]]:
    """The values of an answer by record type."""
    if answer.kind == "cname":
        return {CNAME: answer.values}
    v6 = tuple(value for value in answer.values if ":" in value)
    return {A: tuple(value for value in answer.values if value not in v6), AAAA: v6}


def claim(now: Standing, change: SteeringChange, ttl_s: int) -> tuple[str, RecordSet]:
    """The put that wins the name: the fence, and as much of the answer as can change with it."""
    wanted = parts(change.answer)
    kind = CNAME if CNAME in wanted else A
    old = now.of(kind)
    # A is not emptied before AAAA answers: the name would answer nothing.
    metadata = marked(old, change.fence)
    if not wanted[kind] and old.values:
        return kind, replace(old, ttl_s=ttl_s, metadata=(*metadata, (KEPT, "yes")))
    return kind, replace(old, values=wanted[kind], ttl_s=ttl_s, metadata=metadata)


def pending(now: Standing, change: SteeringChange, ttl_s: int) -> tuple[str, RecordSet] | None:
    """What is still to be put where the fence is *change*'s own; None: it is done."""
    wanted = parts(change.answer)
    if CNAME in wanted:
        return None
    if now.aaaa.etag is not None and (now.aaaa.values != wanted[AAAA] or _mark(now.aaaa) != change.fence):
        return AAAA, replace(now.aaaa, values=wanted[AAAA], ttl_s=ttl_s, metadata=marked(now.aaaa, change.fence))
    if now.a.values != wanted[A]:
        return A, replace(now.a, values=wanted[A], ttl_s=ttl_s, metadata=marked(now.a, change.fence))
    return None


def explained(now: Standing, change: SteeringChange) -> bool:
    """Whether each record set is as it was before *change*, or as it shall be: nobody edited it meanwhile."""
    if change.answer.kind == "cname":
        return now.answer == change.answer
    wanted = parts(change.answer)
    before = {A: (), AAAA: ()} | (parts(change.was) if change.was is not None else {})
    kept = before[A] if not wanted[A] else wanted[A]
    if now.a.values not in (wanted[A], kept):
        return False
    return now.aaaa.values == wanted[AAAA] or (now.aaaa.values == before[AAAA] and _mark(now.aaaa) != change.fence)


def _mark(record_set: RecordSet) -> Fence | None:
    try:
        return fence_in(record_set)
    except BadFence:
        return None
