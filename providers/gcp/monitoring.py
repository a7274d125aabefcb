"""Signals from Google Cloud Monitoring: the open alerts (incidents) of one alerting policy.

https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alerts
A policy that is snoozed opens none, and nothing here can tell; one that is disabled is told as such.

Least right: monitoring.alertPolicies.get, monitoring.alerts.list.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers.base import Inconclusive, Refused, Sign
from providers.gcp.session import Access, Json, required, rest

_BASE = "https://monitoring.googleapis.com"
_PAGE = "1000"
"""Alerts of one page: the most there may be."""
_PAGES = 10
"""So many pages of open alerts are read: a project that has more has other troubles."""


class AlertPolicy:
    """Signal: target is the policy's id, or its whole name; options project, credentials, impersonate, endpoint."""

    def __init__(self, spec: SignalSpec) -> None:
        """Raises BadInput without a project, and for a target that is no policy's."""
        (self._project,) = required(spec.options, "project", of=f"signal '{spec.id}' of google-monitoring")
        before, _, self._policy = spec.target.rpartition("/")
        if not self._policy or (before and not before.endswith("alertPolicies")):
            raise BadInput(
                f"the target of signal '{spec.id}' is no alerting policy; write its id, the number in its address"
            )
        self._access = Access.of(spec.options)
        self._line = self._access.line("Google Cloud Monitoring")
        self._called = f"alerting policy {self._policy} of {self._project}"

    async def read(self) -> Sign:
        """Active while an alert of the policy is open. Raises Inconclusive for a policy that is disabled; NotFound,
        Transient, Throttled, Unauthenticated, Forbidden, Refused."""
        policy = await self._get(f"alertPolicies/{quote(self._policy, safe='')}", "monitoring.alertPolicies.get")
        if policy.get("enabled") is False:
            raise Inconclusive(f"{self._called} is disabled and says nothing; enable it, or drop the signal")
        opened = [each for each in await self._open() if self._ours(each)]
        if not opened:
            return Sign(False, "no open alert")
        times = [time for each in opened if (time := _moment(each.get("openTime"))) is not None]
        count = "an alert" if len(opened) == 1 else f"{len(opened)} alerts"
        name = " ".join(str(policy.get("displayName") or self._policy).split())[:120]
        return Sign(True, f"{count} of {name}", min(times, default=None))

    async def _open(self) -> list[Json]:
        """Every open alert of the project: whose it is, is judged here, as a name may hold the project's number."""
        found: list[Json] = []
        token = ""
        for _ in range(_PAGES):
            query = {"filter": 'state="OPEN"', "pageSize": _PAGE, **({"pageToken": token} if token else {})}
            page = await self._get("alerts", "monitoring.alerts.list", query)
            alerts = page.get("alerts", [])
            if not isinstance(alerts, list) or not all(isinstance(each, dict) for each in alerts):
                raise Refused("what answers at the option endpoint is no Google Cloud Monitoring; mend it")
            found += alerts
            token = str(page.get("nextPageToken") or "")
            if not token:
                return found
        raise Refused(f"{self._project} has more than {len(found)} open alerts, too many to read; close old ones")

    def _ours(self, alert: Json) -> bool:
        policy = alert.get("policy")
        name = str(policy.get("name", "")) if isinstance(policy, dict) else ""
        return alert.get("state") == "OPEN" and name.rpartition("/")[2] == self._policy

    async def _get(self, path: str, permission: str, query: dict[str, str] | None = None) -> Json:
        where = f"/v3/projects/{quote(self._project, safe='')}/{path}"

        def ask() -> Json:
            return rest(_BASE, self._access).call("GET", where, permission=permission, query=query)

        return await self._line.read(f"read the {self._called}", ask)


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None
