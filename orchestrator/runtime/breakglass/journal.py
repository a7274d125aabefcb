"""The journal of a break-glass run: one line per event, on disk before the next thing is done.

Each line is ``<sum> <json>``; the sum covers the line before it as well, so that a line that is missing or altered in
the middle is seen. What was torn at the end by a kill or a power cut is left out, and the run goes on from there.
"""

from __future__ import annotations

import contextlib
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
        self.opened: Opened | None = None
        self.lines: tuple[Noted, ...] = ()

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """The journal at *path*, with what it says so far. An empty one is made where there is none.

        Raises BadJournal where somebody else holds it, or where it says something that was not written by this
        program.
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
            if os.write(self._descriptor, raw) != len(raw):
                raise OSError(0, "only a part of it was taken")
            os.fsync(self._descriptor)
        except OSError as error:
            raise BadJournal(
                f"{self.path} cannot be written ({error.strerror}), and nothing more is done without it; "
                "make room and run the plan again"
            ) from error
        self._sum = total

    def _read(self) -> None:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            raw = file.read()
        good, lines = 0, raw.splitlines(keepends=True)
        for number, said in enumerate(lines, 1):
            line = _parsed(said, self._sum)
            if line is None:
                if number < len(lines):
                    raise BadJournal(
                        f"{self.path}, line {number}: it was altered or damaged, and what comes after it cannot be "
                        "trusted; look at the record with dig, and make a new plan"
                    )
                break
            self._take(line, number)
            self._sum = said[:SUM].decode()
            good += len(said)
        if good < len(raw):
            os.ftruncate(self._descriptor, good)
            os.fsync(self._descriptor)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def _take(self, line: Line, number: int) -> None:
        if isinstance(line, Opened) is not (number == 1):
            raise BadJournal(f"{self.path}, line {number}: it is out of place; this is no journal of break-glass run")
        if isinstance(line, Opened):
            self.opened = line
        else:
            self.lines = (*self.lines, line)


def read(path: Path) -> tuple[Opened, tuple[Noted, ...]]:
    """What the journal at *path* says. Raises BadJournal where there is none, or somebody is still at work on it."""
    if not path.is_file():
        raise BadJournal(f"{path}: there is no journal; name the file that break-glass run wrote")
    with Journal.open(path) as journal:
        if journal.opened is None:
            raise BadJournal(f"{path} is empty: no plan was begun under it")
        return journal.opened, journal.lines


def _parsed(said: bytes, before: str) -> Line | None:
    """The line, or None where it is not whole or not as it was written."""
    try:
        text = said.decode()
        if not text.endswith("\n") or text[SUM] != " " or text[:SUM] != _sum(before, text[SUM + 1 : -1]):
            return None
        return _adapter().validate_json(text[SUM + 1 : -1])
    except (UnicodeDecodeError, IndexError, ValidationError):
        return None


def _sum(before: str, text: str) -> str:
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()[:SUM]


def _locked(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
