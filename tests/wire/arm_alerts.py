"""Azure Monitor behind ``arm``: alert rules of two kinds, and the alerts of a subscription.

Names and values as in the specification of Microsoft.AlertsManagement, api-version 2019-03-01; what it does not know is
answered 400.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from real.saboteur import Reply
from wire.arm import GROUP, SUBSCRIPTION, Arm, Body, Service, Target, bad, reply
from wire.http import Request

ALERTS = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts"
RULE = f"{GROUP}/providers/Microsoft.Insights/metricAlerts/xid"
LOG_RULE = f"{GROUP}/providers/Microsoft.Insights/scheduledQueryRules/lost-nodes"
_KNOWN = {
    "timeRange": {"1h", "1d", "7d", "30d"},
    "monitorCondition": {"Fired", "Resolved"},
    "alertState": {"New", "Acknowledged", "Closed"},
}


class AlertRules(Service):
    """Metric alert rules and log search alert rules."""

    versions: ClassVar = {
        "microsoft.insights/metricalerts": "2018-03-01",
        "microsoft.insights/scheduledqueryrules": "2021-08-01",
    }

    def get(self, arm: Arm, at: Target) -> Body:
        return arm.kept(at).body


class Monitor(Arm):
    """The server, with one rule of each kind."""

    def __init__(self) -> None:
        super().__init__(AlertRules())
        self.alerts: list[tuple[int, dict[str, Any]]] = []
        """How many days ago each has begun, and its essentials."""
        self.page = 250
        for rule in (RULE, LOG_RULE):
            self.keep(rule, {"location": "global", "properties": {"enabled": True, "autoMitigate": True}})

    def fires(self, rule: str, at: str, *, days: int = 0, **essentials: str) -> None:
        """An alert of *rule*, whose id Azure writes in small letters."""
        whole = {"severity": "Sev1", "alertState": "New", "monitorCondition": "Fired", "startDateTime": at}
        self.alerts.append((days, {**whole, "alertRule": rule.lower(), **essentials}))

    def answer(self, request: Request) -> Reply:
        url = urlsplit(request.path)
        if url.path.lower() != ALERTS.lower():
            return super().answer(request)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if query.pop("api-version", "") != "2019-03-01":
            return bad("No registered provider for this version.").reply
        count, start = int(query.pop("pageCount", "25")), int(query.pop("ctoken", "0"))
        wrong = [f"{name}={value}" for name, value in query.items() if value not in _KNOWN.get(name, ())]
        if wrong or not 1 <= count <= 250:
            return bad(f"The filter is not valid: {wrong or count}").reply
        within = {"1h": 0, "1d": 1, "7d": 7, "30d": 30}[query.pop("timeRange", "1d")]
        found = [
            essentials
            for days, essentials in self.alerts
            if days <= within and all(essentials[name] == value for name, value in query.items())
        ]
        size = min(count, self.page)
        body: Body = {"value": [{"properties": {"essentials": each}} for each in found[start : start + size]]}
        if start + size < len(found):
            # With a port, as ARM writes it.
            at = "https://management.azure.com:443"
            body["nextLink"] = f"{at}{request.path.partition('&ctoken')[0]}&ctoken={start + size}"
        return reply(200, body)
