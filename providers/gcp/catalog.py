"""What there is for Google Cloud."""

from __future__ import annotations

from providers.catalog import Entry

ENTRIES: tuple[Entry, ...] = ()
