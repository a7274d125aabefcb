"""What there is for AWS."""

from __future__ import annotations

from providers.aws.catalog_signals import SIGNAL_ENTRIES
from providers.aws.catalog_steering import STEERING_ENTRIES
from providers.aws.catalog_workloads import WORKLOAD_ENTRIES
from providers.catalog import Entry

ENTRIES: tuple[Entry, ...] = (*STEERING_ENTRIES, *WORKLOAD_ENTRIES, *SIGNAL_ENTRIES)
