"""States as the page shows them: each has a word and a shape, so that colour is never the only carrier."""

from __future__ import annotations

from enum import StrEnum

from orchestrator.core.quorum import Verdict
from orchestrator.core.record import RunStatus


class State(StrEnum):
    """How a thing looks. The value names its shape and its colour in the style sheet."""

    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
    BLIND = "blind"
    QUIET = "quiet"
    """Neither good nor bad: skipped, not reached, waiting its turn."""


VERDICT = {
    Verdict.HEALTHY: State.GOOD,
    Verdict.DEGRADED: State.WARN,
    Verdict.DOWN: State.BAD,
    Verdict.UNKNOWN: State.BLIND,
}
RUN = {
    RunStatus.RUNNING: State.BUSY,
    RunStatus.COMPLETED: State.GOOD,
    RunStatus.UNDONE: State.WARN,
    RunStatus.HALTED: State.BAD,
    RunStatus.STALE: State.WARN,
    RunStatus.ABORTED: State.WARN,
    RunStatus.OBSERVED: State.QUIET,
}
RUN_MEANING = {
    RunStatus.RUNNING: "under way",
    RunStatus.COMPLETED: "done as planned",
    RunStatus.UNDONE: "failed, and everything was put back",
    RunStatus.HALTED: "failed, and left as it stands for a person",
    RunStatus.STALE: "refused by the fence: somebody else is ahead",
    RunStatus.ABORTED: "ended by a person",
    RunStatus.OBSERVED: "nothing was written: what would have been done",
}
DRILL = {
    "running": State.BUSY,
    "passed": State.GOOD,
    "partial": State.WARN,
    "failed": State.BAD,
    "inconclusive": State.WARN,
    "skipped": State.QUIET,
}
"""By a drill report's verdict; any other word is BLIND."""
