"""What there is for load balancers of one's own."""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.catalog import Entry, Option, Part, Plane

_HAPROXY = (
    Option(
        "sockets", "where the runtime APIs listen: `unix:/run/haproxy/admin.sock, tcp:10.0.0.5:9999`", required=True
    ),
)
_HERE = (Plane("all", "", "the HAProxies, wherever you run them"),)
_FENCE = tuple(
    Option(f"fence{name}", says, required=not name)
    for name, says in (
        ("", "where the fence is kept: `file:`, `https:`, `s3:`, `gs:` or `azblob:`"),
        ("_region", "region of the fence's store"),
        ("_profile", "profile to sign in to the fence's store with"),
        ("_role", "role to take at the fence's store"),
        ("_endpoint", "another address of the fence's store"),
        ("_login", "where the fence's store finds its login: `env:NAME` or `file:/path`"),
    )
)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "haproxy",
        Part.STEERING,
        "providers.onprem.haproxy:HaproxySteering",
        "The weights of a backend's servers, in one HAProxy or several side by side.",
        (
            *_HAPROXY,
            Option("backend", "the backend whose servers are weighed", required=True),
            Option("quorum", "how many of the HAProxies must answer; 1 unless you say more"),
            *_FENCE,
        ),
        planes=(*_HERE, Plane("read, write", "", "the store that `fence` names")),
        shares=Shares.WEIGHTED,
        target="the name of the server in the backend",
        pace_s=0.2,
        attempt_s=4.0,
        watch_s=5.0,
    ),
    Entry(
        "haproxy",
        Part.WORKLOAD,
        "providers.onprem.haproxy_server:HaproxyWorkload",
        "One server of a backend, `backend/server`: let in, or kept out by maintenance.",
        _HAPROXY,
        planes=_HERE,
        pace_s=0.2,
    ),
    Entry(
        "haproxy",
        Part.DRAIN,
        "providers.onprem.haproxy_server:HaproxyDrain",
        "One server of a backend, `backend/server`: no new requests, and those in flight counted.",
        _HAPROXY,
        planes=_HERE,
        pace_s=0.2,
    ),
)
