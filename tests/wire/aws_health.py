"""AWS Health as its API speaks: events that are asked for by service, region, category and status.

What is asked and answered is held against the SDK's own model of the service.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from wire.aws_json import AwsJson, Fault

BEGUN = datetime(2026, 3, 1, 2, 10, tzinfo=UTC)
_FIELDS = {
    "services": "service",
    "regions": "region",
    "eventTypeCategories": "eventTypeCategory",
    "eventStatusCodes": "statusCode",
}


class Health(AwsJson):
    """The server. Without a *plan* it refuses, as AWS does."""

    def __init__(self) -> None:
        super().__init__("health", {"DescribeEvents": self.describe})
        self.events: list[dict[str, Any]] = []
        self.page = 10
        """Events of one page."""
        self.plan = True

    def happens(
        self, service: str, region: str, *, category: str = "issue", status: str = "open", after: int = 0
    ) -> None:
        """An event that begins *after* minutes."""
        code = f"AWS_{service}_OPERATIONAL_ISSUE"
        self.events.append(
            {
                "arn": f"arn:aws:health:{region}::event/{service}/{code}/{len(self.events)}",
                "service": service,
                "eventTypeCode": code,
                "eventTypeCategory": category,
                "region": region,
                "startTime": BEGUN + timedelta(minutes=after),
                "statusCode": status,
            }
        )

    def describe(self, asked: dict[str, Any]) -> dict[str, Any]:
        if not self.plan:
            raise Fault("SubscriptionRequiredException", "You must have a support plan.")
        wanted = asked.get("filter", {})
        found = [
            event
            for event in self.events
            if all(event[_FIELDS[name]] in values for name, values in wanted.items() if name in _FIELDS)
        ]
        start = int(asked.get("nextToken", "0000"))
        more = {"nextToken": f"{start + self.page:04}"} if start + self.page < len(found) else {}
        return {"events": found[start : start + self.page], **more}
