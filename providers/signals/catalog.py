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
        proven="a server of ours that has the query API",
    ),
    Entry(
        "datadog",
        Part.SIGNAL,
        "providers.signals.datadog:DatadogMonitor",
        "One Datadog monitor, or one group of it: active in Alert; no data say nothing. The secret is an access token.",
        (
            Option("url", "the API of your site: `https://api.datadoghq.eu`", required=True),
            Option("group", "the one group that counts, as the monitor calls it: `region:us`"),
        ),
        planes=(Plane("all", "", "Datadog, at the site of the option url"),),
        target="the monitor's id, the number in its address",
        proven="a server of ours that answers as its API is documented",
    ),
    Entry(
        "newrelic",
        Part.SIGNAL,
        "providers.signals.newrelic:NewRelicQuery",
        "A query of New Relic: active while its first number is above 0. The secret is a user key.",
        (
            Option("url", "`https://api.newrelic.com` or `https://api.eu.newrelic.com`", required=True),
            Option("account", "the account's number", required=True),
        ),
        planes=(Plane("all", "", "New Relic, in the data center of the option url"),),
        target="the query, in NRQL",
        proven="a server of ours that answers as its API is documented",
    ),
)
