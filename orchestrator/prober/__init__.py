"""The prober: one engine per vantage and shard, and the outbox for its reports. Free of Temporal."""

from orchestrator.prober.engine import Engine, Pace
from orchestrator.prober.falling import Falling
from orchestrator.prober.loads import Loads
from orchestrator.prober.outbox import Bundling, Outbox
from orchestrator.prober.pretending import PretendingProbes
from orchestrator.prober.schedule import Lateness
from orchestrator.prober.signals import Signals

__all__ = ["Bundling", "Engine", "Falling", "Lateness", "Loads", "Outbox", "Pace", "PretendingProbes", "Signals"]
