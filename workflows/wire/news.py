"""News for people and for the history store. Detached: nothing waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record
from orchestrator.core.topology import Notify
from workflows.wire.drill import DrillReport


@dataclass(frozen=True, slots=True)
class Telling:
    """Something people should know. Detached: nothing waits for it."""

    notify: tuple[Notify, ...]
    service: ServiceId
    event: str
    """Stable name: ``run.started``, ``run.closed``, ``everything-down``, ``vantage-silent`` ..."""
    text: str
    at: datetime
    run: RunId | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """What the history store is given: a record, or a drill's report. Detached."""

    record: Record | None = None
    drill: DrillReport | None = None


@dataclass(frozen=True, slots=True)
class Herald:
    """Start of a herald: one piece of news."""

    telling: Telling | None = None
    publication: Publication | None = None
