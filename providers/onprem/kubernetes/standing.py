"""A workload as the cluster has it: replicas wanted and ready, and the autoscaler that may hold them."""

from __future__ import annotations

from dataclasses import dataclass

from kubernetes.client import (
    ApiClient,
    AppsV1Api,
    AutoscalingV1Api,
    CoreV1Api,
    V1Deployment,
    V1DeploymentSpec,
    V1HorizontalPodAutoscaler,
    V1LabelSelector,
    V1Pod,
    V1StatefulSet,
    V1StatefulSetSpec,
)

from providers.base import Refused
from providers.onprem.kubernetes.cluster import FIELD_MANAGER, Target
from providers.onprem.kubernetes.quotas import Asks, asks
from providers.onprem.kubernetes.session import WITHIN

KEEPERS = frozenset({"ScaledObject"})
"""Owners that write an autoscaler's bounds anew (https://keda.sh/docs/latest/reference/scaledobject-spec)."""


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler: it keeps a workload between two numbers, and undoes what is scaled past it."""

    name: str
    least: int
    most: int
    keeper: str = ""
    """``kind/name`` of what writes its bounds; empty: whoever scales may."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the API server says of a workload at one moment."""

    replicas: int
    """As its spec has them; an autoscaler moves them."""
    ready: int
    selector: str
    """Of its pods, as the API takes it."""
    generation: int
    observed: int
    """The generation that its controller has taken up, whose status this is."""
    failure: str = ""
    """What its controller says of a failure to create pods; a Deployment's says so, a StatefulSet's does not."""
    autoscaler: Autoscaler | None = None
    pods: int = 0
    """That are there, ready or not."""
    asks: Asks = ()
    """What one more would take of a quota."""

    @property
    def desired(self) -> int:
        """The level that was set: under an autoscaler its minimum. At none, the autoscaler rests.

        https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation
        """
        return self.autoscaler.least if self.autoscaler and self.replicas else self.replicas

    @property
    def most(self) -> int | None:
        """What an autoscaler allows."""
        return self.autoscaler.most if self.autoscaler else None


def standing(api: ApiClient, target: Target) -> Standing:
    """The standing of *target*, in two calls."""
    found = _found(api, target)
    spec, status = _spec(found), found.status
    conditions = (status.conditions or []) if status else []
    failures = (each.message or "" for each in conditions if each.type == "ReplicaFailure" and each.status == "True")
    return Standing(
        1 if spec.replicas is None else spec.replicas,
        (status.ready_replicas or 0) if status else 0,
        _text(spec.selector),
        (found.metadata.generation or 0) if found.metadata else 0,
        (status.observed_generation or 0) if status else 0,
        next(failures, ""),
        _autoscaler(api, target),
        (status.replicas or 0) if status else 0,
        asks(spec.template.spec),
    )


def selector(api: ApiClient, target: Target) -> str:
    """What selects the pods of *target*, in one call."""
    return _text(_spec(_found(api, target)).selector)


def _found(api: ApiClient, target: Target) -> V1Deployment | V1StatefulSet:
    apps = AppsV1Api(api)
    if target.kind == "Deployment":
        return apps.read_namespaced_deployment(target.name, target.namespace, _request_timeout=WITHIN)
    return apps.read_namespaced_stateful_set(target.name, target.namespace, _request_timeout=WITHIN)


def _spec(found: V1Deployment | V1StatefulSet) -> V1DeploymentSpec | V1StatefulSetSpec:
    if found.spec is None:
        raise Refused("the API server answered with a workload that has no spec")
    return found.spec


def set_replicas(api: ApiClient, target: Target, replicas: int) -> None:
    """Set the level through the scale subresource, whatever else changes the workload meanwhile."""
    body = {"spec": {"replicas": replicas}}
    apps = AppsV1Api(api)
    patch = (
        apps.patch_namespaced_deployment_scale
        if target.kind == "Deployment"
        else apps.patch_namespaced_stateful_set_scale
    )
    patch(target.name, target.namespace, body, field_manager=FIELD_MANAGER, _request_timeout=WITHIN)


def set_least(api: ApiClient, target: Target, autoscaler: Autoscaler, least: int) -> None:
    """Set the autoscaler's minimum."""
    AutoscalingV1Api(api).patch_namespaced_horizontal_pod_autoscaler(
        autoscaler.name,
        target.namespace,
        {"spec": {"minReplicas": least}},
        field_manager=FIELD_MANAGER,
        _request_timeout=WITHIN,
    )


def pods(api: ApiClient, target: Target, selector: str) -> tuple[V1Pod, ...]:
    """The workload's pods, those that are going included."""
    listed = CoreV1Api(api).list_namespaced_pod(target.namespace, label_selector=selector, _request_timeout=WITHIN)
    return tuple(listed.items)


def _autoscaler(api: ApiClient, target: Target) -> Autoscaler | None:
    # v1 has all that is needed, and every version of Kubernetes serves it.
    listed = AutoscalingV1Api(api).list_namespaced_horizontal_pod_autoscaler(target.namespace, _request_timeout=WITHIN)
    found = (_read(each, target) for each in listed.items)
    return min((each for each in found if each is not None), key=lambda each: each.name, default=None)


def _read(found: V1HorizontalPodAutoscaler, target: Target) -> Autoscaler | None:
    """*found*, where it holds *target*."""
    spec, meta = found.spec, found.metadata
    if spec is None or meta is None:
        return None
    of = spec.scale_target_ref
    if (of.kind, of.name) != (target.kind, target.name):
        return None
    keepers = (f"{each.kind} {each.name}" for each in meta.owner_references or [] if each.kind in KEEPERS)
    least = 1 if spec.min_replicas is None else spec.min_replicas
    return Autoscaler(meta.name or "", least, spec.max_replicas, next(keepers, ""))


def _text(selector: V1LabelSelector | None) -> str:
    """*selector* as the query of a list: ``app=llm,tier in (a,b)``."""
    if selector is None:
        return ""
    parts = [f"{name}={value}" for name, value in sorted((selector.match_labels or {}).items())]
    for each in selector.match_expressions or []:
        among = f"({','.join(each.values or [])})"
        match each.operator:
            case "Exists":
                parts.append(each.key)
            case "DoesNotExist":
                parts.append(f"!{each.key}")
            case _:
                parts.append(f"{each.key} {each.operator.lower()} {among}")
    return ",".join(parts)
