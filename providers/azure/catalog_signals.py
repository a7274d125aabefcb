"""Signals from Azure."""

from __future__ import annotations

from providers.catalog import Entry, Option, Part, Plane

SIGNAL_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "azure-monitor",
        Part.SIGNAL,
        "providers.azure.alerts:AzureAlerts",
        "One metric or log search alert rule: active while it is fired. Scheduled Events are seen inside a VM alone.",
        (
            Option("identity", "client id of the managed or workload identity to be"),
            Option("cloud", "`public` (left out), `usgov` or `china`"),
            Option(
                "endpoint",
                "another address of Azure Resource Manager; plain http, on loopback alone, gets no credentials",
            ),
            Option("group_region", "region of the rule's resource group, so that its loss is known"),
        ),
        planes=(
            Plane(
                "all",
                "azure/{group_region}",
                "https://learn.microsoft.com/azure/azure-resource-manager/management/overview",
            ),
        ),
        target="the rule's id: `/subscriptions/.../metricAlerts/errors`",
        extra="azure",
        proven="a server of ours that keeps to ARM's published specifications",
    ),
)
