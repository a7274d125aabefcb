"""What there is for Azure."""

from __future__ import annotations

from providers.catalog import Entry

ENTRIES: tuple[Entry, ...] = ()
