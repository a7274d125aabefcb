"""Words and times as the command writes them. Text from the world is cleaned here before a terminal sees it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.text import Text

from orchestrator.core.topology import Weights


def clean(text: str) -> str:
    """*text* without control characters: an endpoint's answer must not steer the terminal that shows it."""
    return "".join(c if c.isprintable() else " " for c in text)


def cell(text: str, style: str = "") -> Text:
    """Cleaned text with a style; never read as markup."""
    return Text(clean(text), style=style)


def seconds(value: float | None) -> str:
    """A measured time: ``31 ms``, ``0.21 s``, ``12.3 s``, ``2m05s``; a dash when it is not known."""
    if value is None:
        return "-"
    if abs(value) < 0.1:
        return f"{value * 1000:.2g} ms"
    if abs(value) < 10:
        return f"{value:.2f} s"
    if abs(value) < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{rest:02}s" if hours else f"{minutes}m{rest:02}s"


def age(then: datetime, now: datetime) -> str:
    """How long ago: ``3 s ago``; clocks that disagree never give a negative age."""
    past = max(0.0, (now - then).total_seconds())
    if past < 120:
        return f"{past:.0f} s ago"
    if past < 7200:
        return f"{past / 60:.0f} min ago"
    return f"{past / 3600:.0f} h ago" if past < 172_800 else f"{past / 86_400:.0f} days ago"


def stamp(at: datetime) -> str:
    """UTC, RFC 3339, to the second: ``2026-03-01T12:00:05Z``."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def shares(weights: Weights) -> str:
    """``eu 100 %``, or every share above nothing: ``eu 50 %, us 50 %``."""
    return ", ".join(f"{endpoint} {weight} %" for endpoint, weight in weights if weight) or "nobody"


def listed(words: Iterable[str]) -> str:
    """``a, b and c``; a dash for none."""
    items = list(words)
    if not items:
        return "-"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
