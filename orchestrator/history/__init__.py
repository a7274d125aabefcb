"""The history: an append-only store of what runs and drills became, and the projections that pages read.

It is off the failover path: it may be away, and no failover is later for it.
"""

from orchestrator.history.store import Event, HistoryAway, Store, Tally

__all__ = ["Event", "HistoryAway", "Store", "Tally"]
