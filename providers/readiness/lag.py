"""Replication lag, in seconds."""

from __future__ import annotations

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import ReadinessSpec, SignalSpec
from providers.base import NotReady, Severity
from providers.signals.prometheus import PrometheusSignal


class ReplicationLag:
    """Not ready while any series of the query is above the bound, or none is there: silence is no sign of health."""

    def __init__(self, spec: ReadinessSpec) -> None:
        """Raises BadInput for options that are missing or no number."""
        options = dict(spec.options)
        try:
            self._most_s = float(options["most"])
        except (KeyError, ValueError):
            raise BadInput(
                f"readiness '{spec.id}' does not say how far behind is too far; write options: {{most: 30}}"
            ) from None
        handle = SignalSpec(
            spec.id, "prometheus", spec.target, options=(("url", options.get("url", "")),), secret=spec.secret
        )
        self._query = PrometheusSignal(handle)

    async def examine(self) -> tuple[NotReady, ...]:
        """Ask once. Raises what a query of Prometheus does."""
        samples = await self._query.samples()
        if not samples:
            return (
                NotReady(
                    Severity.ERROR,
                    "nobody says how far the replica is behind",
                    "see whether it is exported, and correct the query",
                ),
            )
        behind_s = max(samples)
        if behind_s <= self._most_s:
            return ()
        reason = f"the replica is {behind_s:g} s behind, above {self._most_s:g} s"
        return (NotReady(Severity.ERROR, reason, "wait until it has caught up, or choose another target"),)
