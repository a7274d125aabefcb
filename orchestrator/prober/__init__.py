"""The prober: one engine per vantage and shard, and the outbox for its reports. Free of Temporal."""

from orchestrator.prober.engine import Engine, Pace
from orchestrator.prober.outbox import Outbox
from orchestrator.prober.schedule import Lateness

__all__ = ["Engine", "Lateness", "Outbox", "Pace"]
