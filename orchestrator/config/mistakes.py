"""Mistakes in a file that a person wrote: every one of them at once, each with its place and its cure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.core.errors import BadInput
from orchestrator.core.names import nearest


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a file."""

    file: str
    line: int
    """Counted from 1; 0 where the file as a whole is meant (it is missing, it is no text)."""
    column: int
    """Counted from 1, in characters."""
    path: str
    """``services[chat].probes[http].interval``; empty for the whole file."""
    text: str
    """What is wrong; what to do."""

    def __str__(self) -> str:
        """``file:line:column: path: what is wrong; cure``."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.path}: {self.text}" if self.path else f"{place}: {self.text}"


class Mistakes(BadInput):
    """A file cannot be used. ``str()`` is one line per mistake, in the order of the file.

    Where there are several files, each comes when its first mistake was found.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        found = tuple(dict.fromkeys(mistakes))
        files = tuple(dict.fromkeys(each.file for each in found))
        self.mistakes: tuple[Mistake, ...] = tuple(
            sorted(found, key=lambda each: (files.index(each.file), each.line, each.column, each.path, each.text))
        )
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


MOST_NAMED = 20
"""Names that a sentence lists at most."""
MOST_COMPARED = 2000
"""Names that are compared at most: likeness costs a millisecond for fifty of them, and is asked for each slip."""


def shown(name: str) -> str:
    """A name from the file as a sentence shows it: short and on one line, whatever the file put there."""
    safe = name if name.isprintable() else ascii(name)[1:-1]
    return (safe[:60] + "..." if len(safe) > 63 else safe) or "''"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest of *known*, else `` (there are: a, b)``, else nothing."""
    names = sorted(set(known))
    close = nearest(name, names[:MOST_COMPARED]) if len(name) <= 500 else None
    if close is not None:
        return f" (did you mean '{shown(close)}'?)"
    rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f" (there are: {', '.join(shown(each) for each in names[:MOST_NAMED])}{rest})" if names else ""
