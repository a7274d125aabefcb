"""Steering by standard name servers."""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.catalog import Entry, Part, Plane

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "rfc2136",
        Part.STEERING,
        "providers.dns.rfc2136:Rfc2136Steering",
        "Any name server that takes dynamic updates: BIND, Knot DNS, PowerDNS.",
        planes=(Plane("all", "", "the primary name server, wherever you run it"),),
        shares=Shares.EQUAL,
        needs=("zone", "ttl", "primary"),
        takes=("servers", "key"),
        doctor="providers.dns.doctor:examine",
        pace_s=0.05,
        attempt_s=2.0,
        watch_s=15.0,
        proven="BIND 9.18, Knot DNS 3.2, PowerDNS 4.7",
    ),
)
