"""Signals from Azure Monitor: the fired alerts of one metric or log search alert rule.

https://learn.microsoft.com/rest/api/monitor/alertsmanagement/alerts/get-all
Only rules whose alerts end by themselves are taken: those of the activity log (and with it of Service Health) have no
state, and would stand fired for the 30 days that Azure keeps them
(https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-overview). Azure keeps a fired alert 30 days: one that
lasts longer is forgotten. An alert that a person has closed counts no more.

Scheduled Events, which announce that a virtual machine is taken away, can be read on that machine alone
(https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events): have it count them for Prometheus.

Least right: the role Monitoring Reader on the subscription.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers.azure.session import Reach, arm, name_of, resource
from providers.base import Inconclusive, Refused, Sign

_VERSION = "2019-03-01"
_RULES = {
    "Microsoft.Insights/metricAlerts": "2018-03-01",
    "Microsoft.Insights/scheduledQueryRules": "2021-08-01",
}
"""The kinds of rules whose alerts have a state, and the api-version that reads them."""
_FIRED = "monitorCondition=Fired&timeRange=30d&pageCount=250"
"""Left out, Azure tells of one day, 25 alerts a page."""


class AzureAlerts:
    """Signal: target is the alert rule's id, options identity, cloud, endpoint, group_region."""

    def __init__(self, spec: SignalSpec) -> None:
        """Raises BadInput for a target that is no such rule's id."""
        kind = next((kind for kind in _RULES if f"/{kind}/".lower() in spec.target.lower()), None)
        if kind is None:
            raise BadInput(
                f"the target of signal '{spec.id}' is no id of a metric or log search alert rule; write "
                f"/subscriptions/ID/resourceGroups/GROUP/providers/{next(iter(_RULES))}/NAME"
            )
        self._rule = resource(spec.target, kind, option=f"the target of signal '{spec.id}'")
        self._version = _RULES[kind]
        self._arm = arm("Azure Monitor", Reach.of(dict(spec.options)))
        self._called = f"alert rule {name_of(self._rule)}"

    async def read(self) -> Sign:
        """Active while an alert of the rule is fired, and nobody has closed it.

        Raises Inconclusive for a rule that is disabled, Refused for one whose alerts do not end; NotFound, Transient,
        Throttled, Unauthenticated, Forbidden.
        """
        what = f"read the {self._called}"
        rule = (await self._arm.get(self._rule, self._version, what=what)).properties
        if rule.get("enabled") is False:
            raise Inconclusive(f"the {self._called} is disabled and says nothing; enable it, or drop the signal")
        if rule.get("autoMitigate") is False:
            raise Refused(f"the alerts of {self._called} do not end by themselves; set its autoMitigate")
        subscription = self._rule.split("/")[2]
        path = f"/subscriptions/{subscription}/providers/Microsoft.AlertsManagement/alerts?{_FIRED}"
        found = [_essentials(each) for each in await self._arm.every(path, _VERSION, what=f"{what}'s alerts")]
        fired = [each for each in found if self._counts(each)]
        if not fired:
            return Sign(False, "no fired alert")
        times = [time for each in fired if (time := _moment(each.get("startDateTime"))) is not None]
        severity = min(str(each.get("severity") or "Sev4")[:8] for each in fired)
        count = "an alert" if len(fired) == 1 else f"{len(fired)} alerts"
        return Sign(True, f"{count} of {name_of(self._rule)} fired ({severity})", min(times, default=None))

    def _counts(self, alert: dict[str, Any]) -> bool:
        # Ids of ARM know no case, and Azure writes this one now so, now so.
        return (
            str(alert.get("alertRule", "")).rstrip("/").lower() == self._rule.lower()
            and alert.get("monitorCondition") == "Fired"
            and alert.get("alertState") != "Closed"
        )


def _essentials(alert: dict[str, Any]) -> dict[str, Any]:
    properties = alert.get("properties")
    found = properties.get("essentials") if isinstance(properties, dict) else None
    return found if isinstance(found, dict) else {}


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None
