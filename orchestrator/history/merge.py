"""Growing: which of two states of one run, or of one drill, is further, and what both together say. Pure.

Publications are detached: they arrive twice, late, and in any order. A timeline only grows, and what is closed
stays closed, so the state that is further never depends on the order of arrival.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from orchestrator.core.record import Entry, Record, RunStatus
from workflows.wire import DrillReport


def grown(a: Record, b: Record) -> Record:
    """The record that knows what *a* and *b* know: the further one's state, with every entry of both.

    Idempotent and commutative. Where one timeline continues the other, the longer one stands as it is; a closed
    record that knows less (a run that was ended from outside) closes the timeline that knows more.
    """
    first, second = sorted((a, b), key=_record_rank, reverse=True)
    return replace(first, entries=_together(first.entries, second.entries))


def further(a: DrillReport, b: DrillReport) -> DrillReport:
    """The report that is further along: ended before running, then by phases begun and phases judged."""
    return max(a, b, key=_drill_rank)


def is_closed(record: Record) -> bool:
    """Whether a run has ended, one way or another."""
    return record.closed is not None or record.status is not RunStatus.RUNNING


def _record_rank(record: Record) -> tuple[bool, int, str]:
    return (is_closed(record), len(record.entries), _in_words(record))


def _drill_rank(report: DrillReport) -> tuple[bool, int, int, int, str]:
    known = (report.failover, report.failback, report.ttd_s, report.ttr_s)
    return (
        report.ended is not None or report.verdict != "running",
        len(report.phases),
        sum(phase.ok is not None for phase in report.phases),
        sum(value is not None for value in known),
        _in_words(report),
    )


def _in_words(state: Record | DrillReport) -> str:
    """The same text for a state and for what a database gave back of it, whose ``repr`` differs (time zones)."""
    return json.dumps(asdict(state), default=str)


def _together(a: tuple[Entry, ...], b: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """All entries of both in the order of the longer, without doubling any."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    if longer[: len(shorter)] == shorter:
        return longer
    known = set(longer)
    return longer + tuple(entry for entry in shorter if entry not in known)
