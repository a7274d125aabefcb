"""The world's own diary, on the wall clock: what happened to it and when, for those who measure from outside."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_KEPT = 10_000


@dataclass
class Journal:
    """Numbered events, the latest ones kept."""

    _events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _count: int = 0

    def note(self, event: str, **details: Any) -> None:
        """Write *event* down with the time, UTC."""
        self._count += 1
        self._events.append({"seq": self._count, "at": datetime.now(UTC).isoformat(), "event": event, **details})

    def since(self, seq: int) -> list[dict[str, Any]]:
        """The events after number *seq*, oldest first."""
        return [event for event in self._events if event["seq"] > seq]
