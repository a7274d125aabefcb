"""Signals from Google Cloud."""

from __future__ import annotations

from providers.catalog import Entry, Option, Part, Plane

SIGNAL_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "google-monitoring",
        Part.SIGNAL,
        "providers.gcp.monitoring:AlertPolicy",
        "One alerting policy of Cloud Monitoring: active while an alert of it is open.",
        (
            Option("project", "the project's id", required=True),
            Option("credentials", "path of a service account's key or of a workload identity's configuration"),
            Option("impersonate", "e-mail address of a service account to take"),
            Option(
                "endpoint",
                "another address of the API: a private endpoint or an emulator. Plain http gets no credentials",
            ),
        ),
        planes=(Plane("all", "gcp/global", "https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alerts"),),
        target="the policy's id",
        extra="gcp",
        proven="a server of ours that speaks the REST API",
    ),
)
