"""What can be examined before traffic comes, wherever it stands."""

from __future__ import annotations

from providers.catalog import Entry, Option, Part, Plane

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "replication-lag",
        Part.READINESS,
        "providers.readiness.lag:ReplicationLag",
        "How far a replica that the service reads is behind, by a query of Prometheus that gives seconds.",
        (
            Option("url", "the Prometheus server, `https://prometheus.example.com`", required=True),
            Option("most", "seconds that it may be behind, `30`", required=True),
        ),
        planes=(Plane("all", "", "the Prometheus server, wherever you run it"),),
        target="the query, in PromQL, that gives seconds",
        proven="a server of ours that has the query API",
    ),
    Entry(
        "artifacts",
        Part.READINESS,
        "providers.readiness.artifacts:Artifacts",
        "Whether a model artifact is there and the same as elsewhere, by what two stores say of it over HTTP.",
        (Option("same_as", "the address of the artifact that serves now", required=True),),
        planes=(Plane("all", "", "the two stores that are asked"),),
        target="the address of the artifact at the endpoint",
        proven="a server of ours that has what stores say of objects",
    ),
)
