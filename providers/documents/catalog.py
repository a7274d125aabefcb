"""What there is for routing documents."""

from __future__ import annotations

from providers.catalog import Entry

ENTRIES: tuple[Entry, ...] = ()
