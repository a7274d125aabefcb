"""What the local world has. Nothing of it stands anywhere but on this machine."""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.catalog import Entry, Option, Part, Plane

_PLANE = Plane("all", "", "the world's own process on this machine")
_WORLD = (Option("world", "the world's control API, `http://127.0.0.1:PORT`", required=True),)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "local",
        Part.STEERING,
        "providers.local.steering:LocalSteering",
        "The local world's name server: RFC 2136, and weights that it draws answers by.",
        free_options=True,
        planes=(_PLANE,),
        shares=Shares.WEIGHTED,
        needs=("zone", "ttl", "primary", "key"),
        takes=("servers",),
        pace_s=0.05,
        attempt_s=2.0,
        watch_s=15.0,
        proven="the local world itself",
    ),
    Entry(
        "local",
        Part.WORKLOAD,
        "providers.local.workload:LocalWorkload",
        "Replicas of a model server in the local world.",
        _WORLD,
        planes=(_PLANE,),
        pace_s=0.05,
        proven="the local world itself",
    ),
    Entry(
        "local",
        Part.DRAIN,
        "providers.local.workload:LocalDrain",
        "A model server that sends its clients away after their next answer.",
        _WORLD,
        planes=(_PLANE,),
        pace_s=0.05,
        proven="the local world itself",
    ),
    Entry(
        "local",
        Part.FAULT,
        "providers.local.faults:LocalFaults",
        "Black holes, kills, errors and slowness, which come out by themselves.",
        _WORLD,
        planes=(_PLANE,),
        pace_s=0.05,
        proven="the local world itself",
    ),
)
