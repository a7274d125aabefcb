"""Workflow ids and task queues."""

from __future__ import annotations

import zlib

from orchestrator.core.names import Domain, RunId, ServiceId, VantageId, rehearses

CONTROL_QUEUE = "control"
"""Workflow tasks, and local activities with them. Every worker polls it."""

TELLING_QUEUE = "telling"
"""Notifiers: on a queue of their own, so that hooks which hang take no slot from what moves traffic."""

HISTORY_QUEUE = "history"
"""The history store. Only workers that have a store poll it; without any, what is published waits for one."""

OF_DRILLS = 1 << 32
"""Above every shard of a topology."""

TOPOLOGY_ID = "topology"
GOVERNOR_ID = "governor"


def service_id(service: ServiceId) -> str:
    return f"service/{service}"


def run_workflow_id(service: ServiceId, run: RunId) -> str:
    return f"failover/{service}/{run}"


def watch_id(vantage: VantageId, shard: int) -> str:
    return f"watch/{vantage}/{shard}"


def domain_id(domain: Domain) -> str:
    return f"domain/{domain}"


def lost_id(domain: Domain) -> str:
    return f"lost/{domain}"


def drill_id(service: ServiceId, drill: str) -> str:
    return f"drill/{service}/{drill}"


def turn_id(service: ServiceId) -> str:
    return f"drilling/{service}"


def shard_of(service: ServiceId, shards: int) -> int:
    """The shard that probes *service*: by its hash, so that every shard sees all domains.

    What is there for a drill only has a shard of its own: what its probers pretend reaches no real service.
    """
    number = zlib.crc32(service.encode())
    return OF_DRILLS + number if rehearses(service) else number % max(1, shards)


def steps_queue(domain: Domain) -> str:
    """The queue of the workers that stand in *domain*; steps name it to run outside a failing domain."""
    return f"steps/{domain}"


def probe_queue(vantage: VantageId) -> str:
    return f"probe/{vantage}"


def rehearsal_queue(vantage: VantageId) -> str:
    """The queue of the probing of drills: it takes no place from what is really watched."""
    return f"rehearse/{vantage}"
