"""Times, durations and shares as the page writes them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from orchestrator.core.topology import Weights


def seconds(value: float | None) -> str:
    """A measured time: ``0.21 s``, ``12.3 s``, ``2 min 05 s``; a dash when it is not known."""
    if value is None:
        return "-"
    if abs(value) < 10:
        return f"{value:.2f} s"
    if abs(value) < 120:
        return f"{value:.1f} s"
    return span(value)


def span(value: float) -> str:
    """A length of time for reading: ``0 s``, ``43 s``, ``2 min 05 s``, ``3 h 20 min``, ``14 h``, ``2 days``."""
    whole = max(0, int(value))
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes:02} min"
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


def objective(value: float) -> str:
    """An objective as people set it: ``30 s``, ``5 min``, ``1.5 s``."""
    return f"{value:g} s" if value < 120 or value % 60 else f"{value / 60:g} min"


def rfc3339(at: datetime) -> str:
    """UTC, to the millisecond: what scripts and ``<time>`` elements read."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at: datetime, *, today: datetime) -> str:
    """Wall time in UTC: ``12:03:04``, with its date when that is not the day of *today*."""
    at, today = at.astimezone(UTC), today.astimezone(UTC)
    return at.strftime("%H:%M:%S" if at.date() == today.date() else "%Y-%m-%d %H:%M")


def shares(weights: Weights) -> str:
    """``eu 100 %``, or every share above nothing: ``eu 50 %, us 50 %``."""
    return ", ".join(f"{endpoint} {weight} %" for endpoint, weight in weights if weight) or "nobody"


def listed(words: Iterable[str]) -> str:
    """``a, b and c``; ``nobody`` for none."""
    items = [str(word) for word in words]
    if not items:
        return "nobody"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
