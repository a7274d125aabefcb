"""The journal of a break-glass run: one line per event, on disk before the next thing is done.

Each line is ``<sum> <json>``; the sum covers the line before it as well, so that a line that is missing or altered in
the middle is seen. What was torn at the end by a kill or a power cut is left out, and the run goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import TypeAdapter, ValidationError

from orchestrator.core.errors import BadInput
from orchestrator.core.record import Entry, RunStatus
from orchestrator.core.steering import Routing
from orchestrator.runtime.breakglass.sealed import Sealed, digest_of
from runbooks.progress import Event

SUM = 16
"""Hexadecimal digits of a line's sum."""
SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class Opened:
    """The first line: the plan, whole, so that the journal needs no other file."""

    at: datetime
    by: str
    host: str
    sealed: Sealed
    kind: Literal["opened"] = "opened"


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that happened: to the state machine, in the record, or both."""

    at: datetime
    event: Event | None = None
    step: str = ""
    detail: str = ""
    entries: tuple[Entry, ...] = ()
    replicas: int | None = None
    """What a promotion found when it first began."""
    routing: Routing | None = None
    status: RunStatus | None = None
    """How the run ended: nothing comes after it."""
    kind: Literal["noted"] = "noted"


Line = Opened | Noted


class BadJournal(BadInput):
    """A journal that cannot be gone on with. The sentence names the place and the cure."""


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Line]:
    return TypeAdapter(Line)


class Journal:
    """The journal in one file, held by this process alone. Use ``Journal.open`` or ``Journal.begin``."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._sum = ""
        self._end = 0
        self._broken = False
        self.opened: Opened | None = None
        self.lines: tuple[Noted, ...] = ()

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """The journal at *path*, with what it says so far. An empty one is made where there is none.

        What was torn at its end is cut off. Raises BadJournal where somebody else holds it, or where it says something
        that was not written by this program: then the file stays as it is.
        """
        descriptor = _locked(path)
        try:
            journal = cls(path, descriptor)
            journal._read()
            yield journal
        finally:
            with contextlib.suppress(OSError):
                if os.fstat(descriptor).st_size == 0:
                    # Nothing was begun: an empty file would only make people wonder.
                    path.unlink(missing_ok=True)
            os.close(descriptor)

    def begin(self, opened: Opened) -> None:
        """Write the first line."""
        self._append(opened)
        self.opened = opened
        _flush_folder(self.path.parent)

    def note(self, noted: Noted) -> None:
        """Write a line, and return when it is on disk. Raises BadJournal where the disk does not take it."""
        self._append(noted)
        self.lines = (*self.lines, noted)

    def belongs_to(self, sealed: Sealed) -> None:
        """Raise BadJournal where the journal is another plan's."""
        if self.opened is not None and digest_of(self.opened.sealed) != digest_of(sealed):
            plan = self.opened.sealed.plan
            raise BadJournal(
                f"{self.path} is the journal of another plan (run {plan.run}, {plan.kind} of {plan.service}); "
                "choose another folder with --journal"
            )

    def _append(self, line: Line) -> None:
        text = _adapter().dump_json(line).decode()
        total = _sum(self._sum, text)
        raw = f"{total} {text}\n".encode()
        try:
            # One write: a kill tears it nowhere, a power cut may, and then its sum is wrong.
            if self._broken or os.write(self._descriptor, raw) != len(raw):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            # Another branch of the run may still want to write: nothing may stand behind half a line.
            self._broken = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise BadJournal(
                f"{self.path} cannot be written ({error.strerror}), and nothing more is done without it; "
                "make room and run the plan again"
            ) from error
        self._sum, self._end = total, self._end + len(raw)

    def _read(self) -> None:
        """Take in what stands there, and cut off what was torn at its end."""
        raw = _bytes(self._descriptor)
        told = _told(self.path, raw)
        self.opened, self.lines, self._sum, self._end = told.opened, told.lines, told.sum, told.good
        if told.good < len(raw):
            os.ftruncate(self._descriptor, told.good)
            os.fsync(self._descriptor)
        os.lseek(self._descriptor, 0, os.SEEK_END)


def read(path: Path, *, busy: bool = False) -> tuple[Opened, tuple[Noted, ...]]:
    """What the journal at *path* says; the file stays as it is.

    Raises BadJournal where there is none, or somebody is still at work on it; *busy*: that is no hindrance.
    """
    if not path.is_file():
        raise BadJournal(f"{path}: there is no journal; name the file that break-glass run wrote")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if busy else _locked(path, os.O_RDONLY)
    try:
        told = _told(path, _bytes(descriptor))
    finally:
        os.close(descriptor)
    if told.opened is None:
        raise BadJournal(f"{path} is empty: no plan was begun under it")
    return told.opened, told.lines


@dataclass(frozen=True, slots=True)
class _Told:
    """What the bytes of a journal say."""

    opened: Opened | None
    lines: tuple[Noted, ...]
    sum: str
    good: int
    """Bytes of whole lines; what comes after them was torn."""


def _told(path: Path, raw: bytes) -> _Told:
    """Raises BadJournal for what this program did not write, or what was altered before its last line."""
    opened: Opened | None = None
    noted: list[Noted] = []
    total, good, said = "", 0, raw.split(b"\n")
    for number, text in enumerate(said, 1):
        if number == len(said) and not text:
            break
        line = _parsed(text, total) if number < len(said) else None
        if isinstance(line, Opened) and number == 1:
            opened = line
        elif isinstance(line, Noted) and number > 1:
            noted.append(line)
        elif number == 1:
            # Nothing is done before the first line is on disk: there is nothing in it that could be gone on with.
            raise BadJournal(f"{path} is no journal of break-glass run, or nothing was begun under it; move it away")
        elif number < len(said) - 1 or (number == len(said) - 1 and said[-1]):
            raise BadJournal(
                f"{path}, line {number}: it was altered or damaged, and what comes after it cannot be "
                "trusted; look at the record with dig, and make a new plan"
            )
        else:
            break
        total, good = text[:SUM].decode(), good + len(text) + 1
    return _Told(opened, tuple(noted), total, good)


def _bytes(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()


def _parsed(said: bytes, before: str) -> Line | None:
    """The line, or None where it is not as it was written."""
    try:
        text = said.decode()
        if text[SUM] != " " or text[:SUM] != _sum(before, text[SUM + 1 :]):
            return None
        return _adapter().validate_json(text[SUM + 1 :])
    except (UnicodeDecodeError, IndexError, ValidationError):
        return None


def _sum(before: str, text: str) -> str:
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()[:SUM]


def _locked(path: Path, how: int = os.O_RDWR | os.O_CREAT) -> int:
    try:
        if how & os.O_CREAT:
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, how | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadJournal(f"{path}: {error.strerror}; choose another folder with --journal") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino != path.stat().st_ino:
            raise BlockingIOError  # whoever held it has taken the empty file away meanwhile
    except BlockingIOError:
        os.close(descriptor)
        raise BadJournal(f"{path}: another process carries out this journal's plan; wait for it or end it") from None
    except OSError as error:
        os.close(descriptor)
        raise BadJournal(f"{path}: it cannot be locked ({error.strerror}); choose a local folder") from error
    return descriptor


def _flush_folder(folder: Path) -> None:
    """Make the file's name durable too."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
