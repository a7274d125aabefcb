"""Why fewer replicas are ready than are wanted, where waiting will not help: a quota, or no node that a pod fits on.

A pod that fits nowhere is where nodes are added by themselves the usual beginning of a new node, so it is given time;
and where an autoscaler of nodes says by an event that one is coming, all the time that the step has.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from kubernetes.client import ApiClient, CoreV1Api, CoreV1Event, V1Pod
from kubernetes.client.exceptions import ApiException

from providers.base import NoCapacity, Refused
from providers.onprem.kubernetes.cluster import Target
from providers.onprem.kubernetes.errors import quota, short
from providers.onprem.kubernetes.session import WITHIN
from providers.onprem.kubernetes.standing import Standing, pods

NODE_WAIT_S = 60.0
"""How long a pod may fit nowhere. The Cluster Autoscaler looks every 10 s."""
RECENT = timedelta(seconds=60)
"""How old an event of a StatefulSet may be to concern what is wanted now: it tries several times a minute at first."""
COMING = frozenset({"TriggeredScaleUp", "Nominated"})
"""A node is on its way: the Cluster Autoscaler's word
(https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md), and Karpenter's."""
NONE_COMING = "NotTriggerScaleUp"
_NEVER = datetime.fromtimestamp(0, UTC)


def why(api: ApiClient, target: Target, now: Standing, node_wait_s: float) -> Refused | None:
    """NoCapacity or Refused for a shortage that lasts; None where there is none, or waiting may help."""
    return _created(target, now.failure or _failure(api, target)) or _placed(api, target, now, node_wait_s)


def _created(target: Target, failure: str) -> Refused | None:
    """What to say of a *failure* to create pods that is not passing: what fails on the way is tried again."""
    over = quota(failure)
    if over is not None:
        return NoCapacity(f"{target.said} gets no more pods: {over}; raise it, or choose another target")
    if "is forbidden:" in failure:
        return Refused(f"{target.said} gets no more pods: {short(failure)}")
    return None


def _placed(api: ApiClient, target: Target, now: Standing, node_wait_s: float) -> NoCapacity | None:
    """What to say of pods that fit on no node, where none is coming."""
    waiting = [(since, pod) for pod in pods(api, target, now.selector) if (since := _unschedulable_since(pod))]
    if not waiting:
        return None
    since, pod = min(waiting, key=lambda each: each[0])
    name = (pod.metadata.name if pod.metadata else None) or ""
    newest = _newest(api, target, "Pod", name, COMING | {NONE_COMING})
    waited_s = max(0.0, (datetime.now(UTC) - since).total_seconds())
    if newest is not None and newest.reason in COMING:
        return None
    if newest is None and waited_s < node_wait_s:
        return None
    many = f"{len(waiting)} pods of {target.said} fit" if len(waiting) > 1 else f"pod {name} fits"
    said = short(_message(pod)).rstrip(".")
    return NoCapacity(f"{many} on no node, for {waited_s:.0f} s by now: {said}; add nodes, or choose another target")


def _failure(api: ApiClient, target: Target) -> str:
    """What a StatefulSet's last event says of creating pods: its status says nothing."""
    if target.kind != "StatefulSet":
        return ""
    newest = _newest(api, target, target.kind, target.name)
    if newest is None or newest.reason != "FailedCreate" or _at(newest) < datetime.now(UTC) - RECENT:
        return ""
    return newest.message or ""


def _newest(
    api: ApiClient, target: Target, kind: str, name: str, reasons: frozenset[str] = frozenset()
) -> CoreV1Event | None:
    """The newest event of an object, of *reasons* where they are given; None where events may not be read."""
    found: list[CoreV1Event] = []
    with contextlib.suppress(ApiException):
        found = (
            CoreV1Api(api)
            .list_namespaced_event(
                target.namespace,
                field_selector=f"involvedObject.kind={kind},involvedObject.name={name}",
                _request_timeout=WITHIN,
            )
            .items
        )
    return max((each for each in found if not reasons or each.reason in reasons), key=_at, default=None)


def _at(event: CoreV1Event) -> datetime:
    series = event.series.last_observed_time if event.series else None
    return _aware(series or event.last_timestamp or event.event_time or _NEVER)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _unschedulable_since(pod: V1Pod) -> datetime | None:
    for each in (pod.status.conditions or []) if pod.status else []:
        if (each.type, each.status, each.reason) == ("PodScheduled", "False", "Unschedulable"):
            return _aware(each.last_transition_time or datetime.now(UTC))
    return None


def _message(pod: V1Pod) -> str:
    conditions = (pod.status.conditions or []) if pod.status else []
    return next((each.message or "" for each in conditions if each.type == "PodScheduled"), "")
