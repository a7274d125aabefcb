"""Where signals come from that belong to no one cloud."""

from __future__ import annotations

from providers.catalog import Entry, Option, Part, Plane

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "prometheus",
        Part.SIGNAL,
        "providers.signals.prometheus:PrometheusSignal",
        "A query, as an alerting rule has it: active while it gives any sample that is not 0.",
        (Option("url", "the server, `https://prometheus.example.com`", required=True),),
        planes=(Plane("all", "", "the Prometheus server, wherever you run it"),),
        target="the query, in PromQL",
    ),
)
