"""Signals from CloudWatch: one alarm, of a metric or composite, as CloudWatch judges it.

It may: ``cloudwatch:DescribeAlarms``, on all alarms where the alarm is a composite one.
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html)
"""

from __future__ import annotations

from orchestrator.core.topology import SignalSpec
from providers.aws.calling import Reply, Way
from providers.base import Inconclusive, NotFound, Sign

QUOTED = 160
"""Characters of CloudWatch's own reason that a sentence repeats."""
_KINDS = ("MetricAlarms", "CompositeAlarms")
_UNJUDGED = frozenset({"EVALUATION_ERROR", "EVALUATION_FAILURE"})
"""CloudWatch could not evaluate it, and the state is an old one."""


class CloudWatchAlarm:
    """Signal: target is the alarm's name, options region, profile, role, endpoint."""

    def __init__(self, spec: SignalSpec) -> None:
        """Raises BadInput without a region."""
        self._name = spec.target
        self._way = Way.of("cloudwatch", dict(spec.options), f"signal '{spec.id}'")
        self._called = f"CloudWatch alarm {spec.target} in {self._way.region}"

    async def read(self) -> Sign:
        """Active in ALARM. Raises Inconclusive where CloudWatch has too few data, or cannot evaluate it; NotFound,
        Transient, Throttled, Unauthenticated, Forbidden."""
        reply = await self._way.read(
            f"read {self._called}",
            "describe_alarms",
            AlarmNames=[self._name],
            # Left out, CloudWatch tells of metric alarms alone.
            AlarmTypes=["MetricAlarm", "CompositeAlarm"],
        )
        found = [alarm for kind in _KINDS for alarm in reply.get(kind, ())]
        if not found:
            raise NotFound(f"there is no {self._called}; mend the target, or the option region")
        return self._judged(found[0])

    def _judged(self, alarm: Reply) -> Sign:
        state, unjudged = alarm["StateValue"], alarm.get("EvaluationState", "")
        if state == "ALARM":
            # The state may be updated, and stay what it is.
            since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
            return Sign(True, _short(alarm.get("StateReason", "")) or "in ALARM", since)
        if state == "INSUFFICIENT_DATA":
            raise Inconclusive(
                f"{self._called} has too few data; where none is good news, let it treat missing data as notBreaching"
            )
        if unjudged in _UNJUDGED:
            raise Inconclusive(f"CloudWatch cannot evaluate {self._called} ({unjudged}); see its configuration there")
        return Sign(False, state)


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= QUOTED else line[: QUOTED - 1] + "…"
