"""Signals from Datadog: one monitor, or one group of it.

The key is an access token, of a service account or a person, sent as ``Bearer``: it stands alone, has the scope
``monitors_read`` and nothing else, and may end
(https://docs.datadoghq.com/account_management/personal-access-tokens/). A pair of API key and application key is not
taken: that would be two secrets, with far wider rights.

https://docs.datadoghq.com/api/latest/monitors/get-a-monitors-details/
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers.base import Inconclusive, NotFound, Sign
from providers.signals.asking import Api, Json

_STILL = frozenset({"OK", "Warn"})
"""States that say: no alert. The others (No Data, Unknown, Skipped, Ignored) say nothing."""


class DatadogMonitor:
    """Signal: target is the monitor's id, options url and group; the secret is an access token."""

    def __init__(self, spec: SignalSpec) -> None:
        """Raises BadInput without an https URL or a secret, and for a target that is no id."""
        if not (spec.target.isascii() and spec.target.isdigit()):
            raise BadInput(f"the target of signal '{spec.id}' is no id of a monitor; write the number in its address")
        self._api = Api(spec, "Datadog", "Authorization", before="Bearer", example="https://api.datadoghq.eu")
        self._monitor = spec.target
        self._group = dict(spec.options).get("group", "")

    async def read(self) -> Sign:
        """Active in Alert, not in Warn. Raises Inconclusive without data; NotFound, and as ``Api.ask``."""
        found = await self._api.ask(
            "GET",
            f"/api/v1/monitor/{self._monitor}" + ("?group_states=all" if self._group else ""),
            missing=f"no monitor {self._monitor}; correct the target, or the url, which is another for each site",
            right="the scope monitors_read, at the site of its url",
        )
        state, since = self._of_group(found) if self._group else self._overall(found)
        if state == "Alert":
            return Sign(True, f"{str(found.get('name') or 'a monitor')[:120]} is in Alert", since)
        if state in _STILL:
            return Sign(False, state)
        where = f"group {self._group} of monitor {self._monitor}" if self._group else f"monitor {self._monitor}"
        raise Inconclusive(f"{where} at {self._api.at} says {state}; see what it watches")

    def _overall(self, found: Json) -> tuple[str, datetime | None]:
        state = found.get("overall_state")
        if not isinstance(state, str):
            raise self._api.odd()
        try:
            return state, datetime.fromisoformat(str(found.get("overall_state_modified"))).astimezone(UTC)
        except ValueError:
            return state, None

    def _of_group(self, found: Json) -> tuple[str, datetime | None]:
        state = found.get("state")
        groups: Any = state.get("groups") if isinstance(state, dict) else None
        if not isinstance(groups, dict):
            raise self._api.odd()
        group = groups.get(self._group)
        if not isinstance(group, dict):
            raise NotFound(
                f"monitor {self._monitor} at {self._api.at} has no group '{self._group}'; write it as region:us"
            )
        at = group.get("last_triggered_ts")
        since = datetime.fromtimestamp(at, UTC) if isinstance(at, int) and at > 0 else None
        return str(group.get("status", "Unknown")), since
