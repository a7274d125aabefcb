"""What there is for Kubernetes."""

from __future__ import annotations

from providers.catalog import Entry

ENTRIES: tuple[Entry, ...] = ()
