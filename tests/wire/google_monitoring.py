"""Cloud Monitoring as its REST API speaks, as far as alerting policies and their alerts go.

https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alerts/list
"""

from __future__ import annotations

from wire.google_rest import Json, Refusal, RestServer


class Monitoring(RestServer):
    """The API on a port of loopback, with one project."""

    def __init__(self, project: str = "acme", number: str = "123456") -> None:
        self.project, self.number = project, number
        self.policies: dict[str, Json] = {}
        self.alerts: list[Json] = []
        self.page = 1000
        super().__init__()

    def policy(self, name: str, display: str) -> None:
        """A policy that is enabled."""
        full = f"projects/{self.project}/alertPolicies/{name}"
        self.policies[name] = {"name": full, "displayName": display, "enabled": True}

    def opens(self, policy: str, at: str, *, state: str = "OPEN") -> None:
        """An alert of *policy*, whose name holds the project's number."""
        name = f"projects/{self.number}/alertPolicies/{policy}"
        alert = {"name": f"projects/{self.number}/alerts/0.{len(self.alerts)}", "state": state, "openTime": at}
        self.alerts.append({**alert, "policy": {"name": name, "displayName": policy}})

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Json) -> Json:
        match method, path:
            case "GET", ["v3", "projects", self.project, "alertPolicies", name]:
                if name not in self.policies:
                    raise Refusal(404, "NOT_FOUND", f"Could not find policy {name}.")
                return self.policies[name]
            case "GET", ["v3", "projects", self.project, "alerts"]:
                return self._alerts(query)
        raise Refusal(404, "NOT_FOUND", "The requested URL was not found on this server.")

    def _alerts(self, query: dict[str, str]) -> Json:
        if query.keys() - {"filter", "orderBy", "pageSize", "pageToken"}:
            raise Refusal(400, "INVALID_ARGUMENT", "Unknown name in the query.")
        if query.get("filter", 'state="OPEN"') != 'state="OPEN"':
            raise Refusal(400, "INVALID_ARGUMENT", "The filter is not understood here.")
        found = [each for each in self.alerts if "filter" not in query or each["state"] == "OPEN"]
        size = min(int(query.get("pageSize", "50")), self.page)
        start = int(query.get("pageToken", "0"))
        # As protocol buffers have it: what is empty is left out.
        part = {"alerts": found[start : start + size]} if found[start : start + size] else {}
        return part | ({"nextPageToken": str(start + size)} if start + size < len(found) else {})
