"""How a command ends: exit statuses, and the one place that turns exceptions into a status and a sentence."""

from __future__ import annotations

import errno
from enum import IntEnum

from orchestrator.core.errors import BadInput, FailoverError, Unsteerable


class Status(IntEnum):
    """Exit statuses that scripts rely on (documented in docs/cli.md)."""

    DONE = 0
    FAILED = 1
    """The operation ran and failed."""
    USAGE = 2
    """Bad usage or bad input."""
    REFUSED = 3
    """Refused by a safety rule or by a fence."""
    NO_SUCH = 4
    """No such service, run, drill or schedule."""
    AWAY = 5
    """The control plane cannot be reached."""
    TIMED_OUT = 6
    """Timed out waiting; what was started goes on."""
    INTERRUPTED = 130


MEANING: dict[Status, str] = {
    Status.DONE: "done",
    Status.FAILED: "the operation ran and failed",
    Status.USAGE: "bad usage or bad input",
    Status.REFUSED: "refused by a safety rule or by a fence",
    Status.NO_SUCH: "no such service, run, drill or schedule",
    Status.AWAY: "the control plane cannot be reached",
    Status.TIMED_OUT: "timed out waiting; what was started goes on",
    Status.INTERRUPTED: "interrupted; a run that was started goes on",
}
"""One line per status, for help and docs."""


class Failed(FailoverError):
    """The operation ran and failed; the sentence may be empty when the output has said it."""


class Objected(FailoverError):
    """A safety rule or a fence said no; the sentence may be empty when the output has said it."""


class TimedOut(FailoverError):
    """Waiting took longer than was allowed; what was started goes on."""


class Detached(FailoverError):
    """The person stopped looking (Ctrl-C); what was started goes on."""


def _status_of(error: FailoverError) -> Status:
    """The status that the class of *error* stands for."""
    from orchestrator.runtime.connection import (  # noqa: PLC0415 - it imports Temporal's client
        ControlPlaneAway,
        NoSuch,
        RefusedByRule,
        Stale,
    )
    from providers.base import ChangedOutside, StaleGeneration  # noqa: PLC0415 - the same: only when something failed

    table: tuple[tuple[tuple[type[FailoverError], ...], Status], ...] = (
        ((ControlPlaneAway,), Status.AWAY),
        ((NoSuch,), Status.NO_SUCH),
        ((Stale, StaleGeneration, ChangedOutside, RefusedByRule, Objected), Status.REFUSED),
        ((BadInput, Unsteerable), Status.USAGE),
        ((TimedOut,), Status.TIMED_OUT),
        ((Detached,), Status.INTERRUPTED),
    )
    return next((status for kinds, status in table if isinstance(error, kinds)), Status.FAILED)


def judge(error: BaseException) -> tuple[Status, str]:
    """The exit status and the one sentence that *error* comes to."""
    if isinstance(error, KeyboardInterrupt):
        return Status.INTERRUPTED, "interrupted"
    if isinstance(error, FailoverError):
        return _status_of(error), str(error)
    if isinstance(error, OSError):
        return _judge_os(error)
    return Status.FAILED, f"internal error ({type(error).__name__}: {error}); run again with --debug to see where"


def _judge_os(error: OSError) -> tuple[Status, str]:
    """What the operating system's refusal means to a person."""
    what = error.filename if error.filename is not None else ""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return Status.USAGE, f"{what}: there is no such file or folder; check the path"
        case errno.EISDIR:
            return Status.USAGE, f"{what}: is a directory; name a file in it"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Status.USAGE, f"{what}: permission denied; mend its mode or run as its owner".removeprefix(": ")
        case errno.EADDRINUSE:
            return Status.USAGE, "the port is in use; choose another with --port"
        case errno.EADDRNOTAVAIL:
            return Status.USAGE, "that address is not one of this machine's; choose another with --host"
        case _:
            full = "there is no space left to write to; make room, and try again"
            said = full if error.errno == errno.ENOSPC else error.strerror or error
            return Status.FAILED, f"{what}: {said}".removeprefix(": ")
