"""Probes that are told to see a fault: every question is really asked, and some answers are not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from types import MappingProxyType

from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.rehearsal import Pretence
from orchestrator.core.topology import ProbeKind
from providers.base import FaultKind
from providers.probes import Asking, Done, Probes, Question
from providers.probes.exchange import NOT_ASKED

SEEN: Mapping[tuple[FaultKind, ProbeKind], OutcomeKind] = MappingProxyType(
    {
        **{(FaultKind.KILL, kind): OutcomeKind.REFUSED for kind in ProbeKind},
        (FaultKind.ERRORS, ProbeKind.HTTP): OutcomeKind.FAILED,
        (FaultKind.ERRORS, ProbeKind.CHAT): OutcomeKind.FAILED,
        (FaultKind.HOLLOW, ProbeKind.CHAT): OutcomeKind.FAILED,
        (FaultKind.SLOW, ProbeKind.CHAT): OutcomeKind.SLOW,
    }
)
"""What a probe sees of a fault, at once; what is not here, it does not notice. A blackhole takes time to see."""


def _now() -> datetime:
    return datetime.now(UTC)


class PretendingProbes(Probes):
    """Probe clients of a drill. While its pretence is in force, the endpoint it names looks as the fault would."""

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        super().__init__()
        self._clock = clock
        self._pretence: Pretence | None = None
        self._over = False
        self._struck: set[Question] = set()
        """Questions that have met the silence once: their connection would be gone."""

    def pretend(self, pretence: Pretence | None) -> None:
        """See *pretence* from now on, as far as it is in force; None: nothing.

        What was taken back once is over: the same drill cannot put it in again.
        """
        if self._pretence is not None and pretence is None:
            self._over = True
        self._pretence = None if self._over else pretence

    def begin(self, question: Question, done: Done, *, fresh: bool = False, connect_s: float | None = None) -> Asking:
        """Ask as ever; the outcome is the pretended one where that is to be seen when it comes."""
        kept = not fresh and question.idle is not None
        began = monotonic()

        def answered(outcome: Outcome) -> None:
            told = self._told(question, outcome, kept=kept, connect_s=connect_s)
            if told is None:
                done(outcome)
                return
            left_s = began + told.latency_s - monotonic()
            if left_s <= 0:
                done(told)
                return
            # A silence lasts until the probe loses patience; what is over by then was not seen.
            asyncio.get_running_loop().call_later(left_s, self._deliver, question, outcome, told, done)

        return super().begin(question, answered, fresh=fresh, connect_s=connect_s)

    def forget(self, question: Question) -> None:
        """Close what *question* keeps; it is asked no more."""
        self._struck.discard(question)
        super().forget(question)

    def _deliver(self, question: Question, outcome: Outcome, told: Outcome, done: Done) -> None:
        done(told if self._concerned(question) is not None else outcome)

    def _concerned(self, question: Question) -> Pretence | None:
        pretence = self._pretence
        here = pretence is not None and question.url == pretence.url and pretence.in_force(self._clock())
        return pretence if here else None

    def _told(self, question: Question, outcome: Outcome, *, kept: bool, connect_s: float | None) -> Outcome | None:
        """What *question* is to see instead of *outcome*; None: the truth."""
        pretence = self._concerned(question)
        if pretence is None or outcome.detail.startswith(NOT_ASKED):
            self._struck.discard(question)
            return None
        said = f"drill {pretence.drill}: told to see {pretence.fault}"
        longest_s = question.spec.timeout_s
        if pretence.fault == FaultKind.BLACKHOLE:
            # The first silence ends the connection; what comes after it finds none.
            kept = kept and question not in self._struck
            self._struck.add(question)
            if kept:
                return Outcome(OutcomeKind.TIMED_OUT, longest_s, said)
            return Outcome(OutcomeKind.UNREACHABLE, min(longest_s, connect_s or longest_s), said)
        kind = SEEN.get((FaultKind(pretence.fault), question.spec.kind))
        return None if kind is None else Outcome(kind, 0.0 if kind is OutcomeKind.REFUSED else outcome.latency_s, said)
