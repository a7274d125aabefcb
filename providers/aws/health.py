"""Signals from AWS Health: issues that AWS itself has opened for its services in a region.

The API is part of a support plan (Business and above), and lives in one region for all: us-east-1, while us-east-2
stands by; the SDK asks ``global.health.amazonaws.com``, which leads to the active one
(https://docs.aws.amazon.com/health/latest/ug/health-api.html). So no word of it is least worth when us-east-1 fails.

It may: ``health:DescribeEvents``.
"""

from __future__ import annotations

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers.aws.calling import Way
from providers.base import Forbidden, ProviderError, Sign

HOME = "us-east-1"
"""Where its control plane lives."""
MOST = 10
"""So many services one question may name."""
_NAMED = 3
"""So many issues are called by name."""


class HealthEvents:
    """Signal: target is the code of a service, or of several (``EC2, SAGEMAKER``); options region (theirs; ``global``
    for what has none), profile, role, endpoint."""

    def __init__(self, spec: SignalSpec) -> None:
        """Raises BadInput without a region, and for a target that names no service, or too many."""
        options = dict(spec.options)
        self._region = Way.of("health", options, f"signal '{spec.id}'").region
        self._way = Way.of("health", {**options, "region": HOME}, f"signal '{spec.id}'")
        self._services = [name.strip().upper() for name in spec.target.split(",") if name.strip()]
        if not 1 <= len(self._services) <= MOST:
            raise BadInput(f"the target of signal '{spec.id}' names no service, or more than {MOST}; write EC2")

    async def read(self) -> Sign:
        """Active while an issue is open. Raises Forbidden without a support plan; Transient, Throttled,
        Unauthenticated."""
        reply = await self._way.read_all(
            f"read the issues of {', '.join(self._services)} in {self._region} at AWS Health",
            "describe_events",
            told=_own,
            filter={
                "services": self._services,
                "regions": [self._region],
                "eventTypeCategories": ["issue"],
                "eventStatusCodes": ["open"],
            },
        )
        events = sorted(reply.get("events", ()), key=lambda event: str(event.get("startTime", "")))
        if not events:
            return Sign(False, "no open issue")
        names = [str(event.get("eventTypeCode", "an issue")) for event in events]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return Sign(True, f"AWS says: {', '.join(names[:_NAMED])}{more}", events[0].get("startTime"))


def _own(code: str, _says: str) -> ProviderError | None:
    if code == "SubscriptionRequiredException":
        return Forbidden(
            "this AWS account has no support plan with AWS Health's API (Business and above); take one, or drop the "
            "signal"
        )
    return None
