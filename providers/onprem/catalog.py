"""What there is for load balancers of one's own."""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.catalog import Entry, Option, Part, Plane
from providers.documents.catalog import FENCE, FENCE_PLANE

_HAPROXY = (
    Option(
        "sockets", "where the runtime APIs listen: `unix:/run/haproxy/admin.sock, tcp:10.0.0.5:9999`", required=True
    ),
)
_HERE = (Plane("all", "", "the HAProxies, wherever you run them"),)
_ADMIN = Option("admin", "the Envoys' admin interfaces, `http://127.0.0.1:9901, ...`", required=True)
_THERE = (Plane("all", "", "the Envoys and the host of the discovery file, wherever you run them"),)
_HAPROXY_26, _ENVOY_140 = "HAProxy 2.6", "Envoy 1.40"

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
            *FENCE,
        ),
        planes=(*_HERE, FENCE_PLANE),
        shares=Shares.WEIGHTED,
        target="the name of the server in the backend",
        pace_s=0.2,
        watch_s=5.0,
        proven=_HAPROXY_26,
    ),
    Entry(
        "haproxy",
        Part.WORKLOAD,
        "providers.onprem.haproxy_server:HaproxyWorkload",
        "One server of a backend, `backend/server`: let in, or kept out by maintenance.",
        _HAPROXY,
        planes=_HERE,
        pace_s=0.2,
        proven=_HAPROXY_26,
    ),
    Entry(
        "haproxy",
        Part.DRAIN,
        "providers.onprem.haproxy_server:HaproxyDrain",
        "One server of a backend, `backend/server`: no new requests, and those in flight counted.",
        _HAPROXY,
        planes=_HERE,
        pace_s=0.2,
        proven=_HAPROXY_26,
    ),
    Entry(
        "envoy",
        Part.STEERING,
        "providers.onprem.envoy:EnvoySteering",
        "Weights in a discovery file that Envoys follow: localities of a cluster, or weighted clusters of routes.",
        (
            Option(
                "file", "the discovery file, in JSON, on the worker's host: `/var/lib/envoy/chat.json`", required=True
            ),
            Option("kind", "`endpoints` (localities of a cluster; the default) or `routes` (weighted clusters)"),
            Option(
                "route", "with `routes`: the name of the routes that are steered; all that weigh clusters if left out"
            ),
            Option("admin", "the Envoys' admin interfaces, `http://127.0.0.1:9901, ...`: what each of them follows"),
        ),
        planes=(Plane("all", "", "the host of the discovery file, wherever you run it"),),
        shares=Shares.WEIGHTED,
        target="the name of the locality, or of the cluster with `kind: routes`",
        pace_s=0.2,
        attempt_s=5.0,
        watch_s=5.0,
        proven=_ENVOY_140,
    ),
    Entry(
        "envoy",
        Part.WORKLOAD,
        "providers.onprem.envoy_locality:EnvoyWorkload",
        "One locality of a cluster, `cluster/locality`: let in, or kept out by the discovery file.",
        (_ADMIN, Option("file", "the discovery file with the cluster's endpoints", required=True)),
        planes=_THERE,
        pace_s=0.2,
        proven=_ENVOY_140,
    ),
    Entry(
        "envoy",
        Part.DRAIN,
        "providers.onprem.envoy_locality:EnvoyDrain",
        "What a locality, `cluster/locality`, or a cluster has in flight; it drains by the discovery file.",
        (_ADMIN, Option("file", "the discovery file, to mark endpoints that still have a weight as draining")),
        planes=_THERE,
        pace_s=0.2,
        proven=_ENVOY_140,
    ),
)
