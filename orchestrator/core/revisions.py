"""Revisions of the topology, and which of them served well: where ``failover topology restore`` goes back to. Pure.

A revision that passed its gates is not yet good: it is good once it has been in force for the bake time and every
service has served well, to its end or to this day. One that crashed later is not, until it has made up for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.core.crashes import Crash, Memory
from orchestrator.core.names import ServiceId

KEPT = 10
"""Revisions that are kept beside the one in force."""
KEPT_CHARACTERS = 900_000
"""Characters of their documents, all together: with the one in force they fit the 2 MB that Temporal carries on."""
KEPT_GONE = 40
"""Services that left the topology of which is kept how they had served."""
GONE_CRASHES = 4
"""The last crashes of each of them."""
AGAIN = 48
"""So many bake times outweigh a crash that nothing saved: a day where half an hour is the bake time."""
NAMED = 3
"""Services whose crashes are told by name; there may be a thousand."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One topology that was, or is, in force."""

    number: int
    digest: str
    since: datetime
    until: datetime | None = None
    """None: it is in force."""
    by: str = ""
    reason: str = ""
    document: str = ""
    """As it travels; empty: it is not at hand here, or not kept."""
    kept: bool = False
    """Whether its document can be had."""

    def stood_s(self, now: datetime) -> float:
        """How long it was in force until *now*."""
        return ((self.until or now) - self.since).total_seconds()


@dataclass(frozen=True, slots=True)
class Judged:
    """A revision, whether it is good, and why it is or not: a sentence each."""

    revision: Revision
    good: bool
    why: tuple[str, ...]


# ------------------------------------------------------------------ what is kept


def kept(past: tuple[Revision, ...], newest: Revision, *, bake_s: float) -> tuple[Revision, ...]:
    """What is kept of *past* once *newest* has been replaced too: newest first, bounded in number and in size.

    What stood for less than *bake_s* can never be good, so it goes first: ten attempts in one bad night do not drive
    out what had served for a month. The oldest goes before the newer. A document that is there twice is kept once.
    """
    every = [newest, *past]
    while len(every) > KEPT:
        every.remove(_least(every, bake_s))
    texts: set[str] = set()
    for at, each in enumerate(every):
        if each.digest in texts:
            every[at] = replace(each, document="")
        texts |= {each.digest} if every[at].document else set()
    while sum(len(each.document) for each in every) > KEPT_CHARACTERS:
        heavy = _least([each for each in every if each.document], bake_s)
        every[every.index(heavy)] = replace(heavy, document="")
    return tuple(every)


def _least(those: list[Revision], bake_s: float) -> Revision:
    """The one that is missed least: all of *those* are over."""
    return min(those, key=lambda each: (each.stood_s(each.until or each.since) >= bake_s, each.number))


def left_behind(gone: tuple[Memory, ...], more: tuple[Memory, ...]) -> tuple[Memory, ...]:
    """*gone* with the memories of *more* services that left, newest first and bounded; without those that have none."""
    known: dict[ServiceId, tuple[Crash, ...]] = {}
    for each in (*more, *gone):
        known[each.service] = (*known.get(each.service, ()), *each.crashes)
    kept_ = (
        (name, sorted(set(crashes), key=lambda each: each.seen)[-GONE_CRASHES:]) for name, crashes in known.items()
    )
    return tuple(Memory(name, tuple(crashes)) for name, crashes in kept_ if crashes)[:KEPT_GONE]


def document_of(revision: Revision, every: tuple[Revision, ...]) -> str:
    """The document of *revision*: its own, or that of another one of *every* that says the same. Empty: not kept."""
    return next((each.document for each in (revision, *every) if each.digest == revision.digest and each.document), "")


# ------------------------------------------------------------------ which are good


def judged(
    revision: Revision,
    memories: tuple[Memory, ...],
    *,
    silent: tuple[ServiceId, ...] = (),
    bake_s: float,
    now: datetime,
) -> Judged:
    """Whether *revision* is good, by what every service remembers; the *silent* ones could not be asked.

    What nobody can tell counts against it: silence is not health.
    """
    end = revision.until or now
    stood_s = revision.stood_s(now)
    against = [] if stood_s >= bake_s else [f"in force for {_told(stood_s)}, and good after {_told(bake_s)}"]
    against += _few([text for each in memories for text in _speaks(revision, each, end, bake_s)])
    against += _few([f"how {name} served is not known: it does not answer" for name in silent])
    if against:
        return Judged(revision, good=False, why=tuple(against))
    how = "it served well to its end" if revision.until is not None else "it serves well"
    return Judged(revision, good=True, why=(f"{how}, {_told(stood_s)} in force",))


def _speaks(revision: Revision, memory: Memory, end: datetime, bake_s: float) -> Iterator[str]:
    """What speaks against *revision* by the word of one service: its last crash, or that it does not know."""
    if memory.since is not None and memory.since > revision.since and (end - memory.since).total_seconds() < bake_s:
        lost = f"its workflow was lost, and made anew at {_moment(memory.since)}"
        yield f"how {memory.service} served is not known: {lost}"
    crash = max(
        (each for each in memory.crashes if _counts(revision, each, end, bake_s)),
        key=lambda each: each.began,
        default=None,
    )
    if crash is not None:
        yield f"{memory.service}: {crash.text} (at {_moment(crash.began)})"


def _counts(revision: Revision, crash: Crash, end: datetime, bake_s: float) -> bool:
    """Whether *crash* began while *revision* was in force, and it has not served well for long enough since."""
    if not revision.since <= crash.began < end:
        return False
    owed_s = bake_s if crash.saved else bake_s * AGAIN
    return (end - min(crash.seen, end)).total_seconds() < owed_s


def last_good(every: tuple[Judged, ...], digest: str) -> Revision | None:
    """The newest good revision that can be had and is not *digest*, which is in force; None: there is none."""
    good = (each.revision for each in every if each.good and each.revision.kept and each.revision.digest != digest)
    return max(good, key=lambda each: each.number, default=None)


def _few(texts: list[str]) -> list[str]:
    more = len(texts) - NAMED
    return [*texts[:NAMED], f"and {more} more like that"] if more > 0 else texts


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"


def _told(span_s: float) -> str:
    """A span in the two largest units that it has: ``3d 4h``, ``12m``."""
    span = timedelta(seconds=max(0.0, span_s))
    hours, rest = divmod(span.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [f"{n}{unit}" for n, unit in ((span.days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")) if n]
    return " ".join(parts[:2]) or "0s"
