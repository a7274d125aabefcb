"""A document in a file: compared and set under a lock, replaced by renaming. For one host only."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from orchestrator.core.errors import BadInput
from providers.base import Forbidden, NotFound, ProviderError, Refused, Transient
from providers.documents.settings import Settings
from providers.fenced import Overtaken, Sheet

T = TypeVar("T")
LOCK_S = 2.0
"""How long a writer waits for another one's lock."""
LARGEST = 65_536
"""Bytes of a document that are read; a routing document has hundreds."""


class FileDocument:
    """Reads need no lock, as a rename shows the old text or the new one. The lock is the file ``.<name>.lock`` beside
    it, which people's editors do not know: an edit by hand in the very moment of a write may be lost."""

    def __init__(self, place: str, settings: Settings, where: str) -> None:
        """Raises BadInput for a path that is not absolute, or of another host."""
        parts = urlsplit(place)
        self.path = Path(unquote(parts.path))
        self.at = f"file {self.path}"
        if parts.netloc not in {"", "localhost"} or not self.path.is_absolute() or not self.path.name:
            raise BadInput(f"{where} must name a file of this host by its whole path: file:/var/lib/failover/chat.json")

    async def read(self) -> Sheet:
        """Raises Transient, Forbidden, NotFound (the folder)."""
        return await asyncio.to_thread(self._told, "read", self._look)

    async def put(self, text: str, *, tag: str | None) -> None:
        """Raises Overtaken, and as ``read``."""
        if not await asyncio.to_thread(self._told, "write", lambda: self._replace(text, tag)):
            raise Overtaken

    def _told(self, what: str, do: Callable[[], T]) -> T:
        try:
            return do()
        except OSError as error:
            raise self._error(what, error) from error

    def _look(self) -> Sheet:
        try:
            with self.path.open("rb") as file:
                found = file.read(LARGEST + 1)
        except FileNotFoundError:
            if not self.path.parent.is_dir():
                raise
            return Sheet(None, None)
        if len(found) > LARGEST:
            raise Refused(f"{self.at} has more than {LARGEST} bytes, which no routing document has; name another file")
        try:
            return Sheet(found.decode(), hashlib.sha256(found).hexdigest())
        except UnicodeDecodeError:
            raise Refused(f"{self.at} is no text; name another file") from None

    def _replace(self, text: str, tag: str | None) -> bool:
        # A link stays a link: the file that it leads to is replaced.
        path = self.path.resolve()
        with self._locked(path):
            if self._look().tag != tag:
                return False
            mode = 0o644
            with suppress(FileNotFoundError):
                mode = stat.S_IMODE(path.stat().st_mode)
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False
            ) as new:
                try:
                    new.write(text)
                    new.flush()
                    os.fchmod(new.fileno(), mode)
                    os.fsync(new.fileno())
                    Path(new.name).replace(path)
                except BaseException:
                    Path(new.name).unlink(missing_ok=True)
                    raise
            _settle(path.parent)
            return True

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            until = time.monotonic() + LOCK_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        raise Transient(
                            f"{self.at} was locked for {LOCK_S:g} s by another writer; see who holds the lock beside it"
                        ) from None
                    time.sleep(0.005)
            yield
        finally:
            os.close(lock)  # and with it the lock

    def _error(self, what: str, error: OSError) -> ProviderError:
        match error.errno:
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return Forbidden(
                    f"this worker's user may not {what} {self.at}; let it write to the folder, where it renames"
                )
            case errno.ENOENT | errno.ENOTDIR:
                return NotFound(f"there is no folder {self.path.parent} on this host; make it, or mend the path")
            case errno.EISDIR:
                return NotFound(f"{self.at} is a folder; name a file in it")
            case _:
                reason = (error.strerror or type(error).__name__).lower()
                return Transient(f"cannot {what} {self.at}: {reason}")


def _settle(folder: Path) -> None:
    """Let a rename in *folder* outlive the host's fall."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
