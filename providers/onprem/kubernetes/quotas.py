"""How many replicas the quotas of a namespace leave room for (https://kubernetes.io/docs/concepts/policy/resource-quotas/).

An estimate for people and rehearsals: what is not said in the pod's template, and quotas of some pods only, are left
out, and other workloads may take the room meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from kubernetes.client import ApiClient, CoreV1Api, V1Container, V1PodSpec, V1ResourceQuota
from kubernetes.client.exceptions import ApiException
from kubernetes.utils.quantity import parse_quantity

from providers.onprem.kubernetes.cluster import Target
from providers.onprem.kubernetes.session import WITHIN

Asks = tuple[tuple[str, Decimal], ...]
"""What one pod takes of each thing that a quota may limit: ``requests.nvidia.com/gpu``."""
_PLAIN = ("cpu", "memory", "ephemeral-storage")
"""A quota of these by their plain names limits requests."""


def asks(pod: V1PodSpec | None) -> Asks:
    """What one pod of this spec takes."""
    found = {"pods": Decimal(1), "count/pods": Decimal(1)}
    if pod is not None:
        for container in pod.containers:
            for name, value in _of(container):
                found[name] = found.get(name, Decimal(0)) + value
        for first in pod.init_containers or []:  # one after another, before the others
            for name, value in _of(first):
                found[name] = max(found.get(name, Decimal(0)), value)
    found |= {name: found[f"requests.{name}"] for name in _PLAIN if f"requests.{name}" in found}
    return tuple(sorted(found.items()))


def most(api: ApiClient, target: Target, pods: int, wanted: Asks) -> int | None:
    """The most replicas that the quotas leave room for, *pods* of them being there; None: none limits them, or they
    may not be read."""
    try:
        listed = CoreV1Api(api).list_namespaced_resource_quota(target.namespace, _request_timeout=WITHIN).items
    except ApiException as error:
        if error.status == 403:
            return None
        raise
    rooms = [room for quota in listed for room in _rooms(quota, dict(wanted))]
    return pods + max(0, min(rooms)) if rooms else None


def _rooms(quota: V1ResourceQuota, wanted: dict[str, Decimal]) -> Iterable[int]:
    spec, status = quota.spec, quota.status
    if spec is None or status is None or spec.scopes or spec.scope_selector:
        return
    for name, hard in (status.hard or {}).items():
        if wanted.get(name):
            left = _number(hard) - _number((status.used or {}).get(name, "0"))
            yield int(left // wanted[name])


def _of(container: V1Container) -> Iterable[tuple[str, Decimal]]:
    given = container.resources
    limits = (given.limits or {}) if given else {}
    # What is limited and not requested is requested as it is limited.
    requests = limits | ((given.requests or {}) if given else {})
    for kind, values in (("requests", requests), ("limits", limits)):
        for name, value in values.items():
            yield f"{kind}.{name}", _number(value)


def _number(quantity: str) -> Decimal:
    return Decimal(parse_quantity(quantity))  # type: ignore[no-untyped-call]
