"""Model servers in clusters: Deployments and StatefulSets by image or label, and what leads to them. Read only.

Rights: the verb ``list`` on ``deployments`` and ``statefulsets`` (apps), ``services`` and ``nodes``, and ``ingresses``
(networking.k8s.io). What is not allowed is left out and said.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from kubernetes.client import ApiClient, CoreV1Api, CustomObjectsApi

from orchestrator.core.topology import Answer
from providers.inventory import FoundEndpoint, FoundWorkload, Inventory, bare, is_address, slug, tagged
from providers.onprem.kubernetes.cluster import KINDS, Cluster
from providers.onprem.kubernetes.session import WITHIN
from providers.sweep import Sweep

Object = dict[str, Any]
_SERVERS = ("vllm", "text-generation-inference", "tgi", "tritonserver", "triton", "sglang")
_IS_SERVER = re.compile(rf"(?<![a-z0-9])({'|'.join(_SERVERS)})(?![a-z0-9])")
_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/instance", "app")
"""Labels that say what something is; and any of app.kubernetes.io may name the server."""
_CLOUDS = {"aws": "aws", "gce": "gcp", "azure": "azure"}
"""Clouds by the beginning of a node's providerID."""
_REGION = "topology.kubernetes.io/region"
_PAGE = 500
"""Objects that one answer may hold."""
_NOWHERE = "no Ingress or LoadBalancer that leads to it was found"
_GUESSED = "its nodes do not say where they stand, so its region is called by the context"


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What leads to workloads in one cluster."""

    services: tuple[Object, ...]
    ingresses: tuple[Object, ...]
    region: str
    notes: tuple[str, ...]


async def inventory(
    contexts: tuple[str, ...] = (), *, kubeconfig: str = "", namespaces: tuple[str, ...] = ()
) -> Inventory:
    """Model servers in the clusters of *contexts*; none given: the current one. *namespaces*: those alone.

    Raises NotFound for a context that there is not, and what ``errors.translate`` says where nothing could be read.
    """
    sweep = Sweep()
    given = tuple(dict.fromkeys(contexts)) or ("",)
    clusters = [Cluster(kubeconfig, context) for context in given]
    found = await asyncio.gather(*(_cluster(sweep, each, namespaces) for each in clusters))
    where = ", ".join(each.said for each in clusters)
    looked = f"Deployments and StatefulSets whose image or label names one of {', '.join(_SERVERS)}, in {where}"
    return sweep.ended([each for part in found for each in part], (), looked)


async def _cluster(sweep: Sweep, cluster: Cluster, namespaces: tuple[str, ...]) -> list[FoundEndpoint]:
    places = namespaces or ("",)
    workloads = [
        (kind, each)
        for kind in KINDS
        for place in places
        for each in await sweep.part(_listed(cluster, "apps", f"{kind}s", place), ())
    ]
    servers = [(kind, each) for kind, each in workloads if _serves(each)]
    if not servers:
        return []
    services: list[Object] = []
    ingresses: list[Object] = []
    for place in places:
        services += await sweep.part(_listed(cluster, "", "services", place), ())
        ingresses += await sweep.part(_listed(cluster, "networking.k8s.io", "ingresses", place), ())
    nodes = await sweep.part(_listed(cluster, "", "nodes", ""), ())
    region = _region(nodes)
    notes = () if region else (_GUESSED,)
    around = _Surroundings(
        tuple(services), tuple(ingresses), region or f"onprem/{slug(cluster.context) or 'here'}", notes
    )
    return [_endpoint(cluster, kind, each, around) for kind, each in servers]


async def _listed(cluster: Cluster, group: str, plural: str, namespace: str) -> tuple[Object, ...]:
    """Every object of a kind, page by page; in all namespaces where none is named."""
    what = f"list {plural}" + (f" in the namespace '{namespace}'" if namespace else "")
    found: list[Object] = []
    more = ""
    while True:
        page = await cluster.read(what, partial(_page, group, plural, namespace, more))
        found += page.get("items") or ()
        more = str((page.get("metadata") or {}).get("continue") or "")
        if not more:
            return tuple(found)


def _page(group: str, plural: str, namespace: str, more: str, api: ApiClient) -> Object:
    query: dict[str, Any] = {"limit": _PAGE, "_request_timeout": WITHIN} | ({"_continue": more} if more else {})
    if group:
        # Without the SDK's models, which refuse a whole list for one object that a newer server words otherwise.
        custom = CustomObjectsApi(api)
        page: Any
        if namespace:
            page = custom.list_namespaced_custom_object(group, "v1", namespace, plural, **query)
        else:
            page = custom.list_cluster_custom_object(group, "v1", plural, **query)
        return dict(page)
    core = CoreV1Api(api)
    if plural == "nodes":
        listed: Any = core.list_node(**query)
    elif namespace:
        listed = core.list_namespaced_service(namespace, **query)
    else:
        listed = core.list_service_for_all_namespaces(**query)
    return dict(api.sanitize_for_serialization(listed))  # type: ignore[no-untyped-call]


# ------------------------------------------------------------------ what is a model server


def _serves(workload: Object) -> bool:
    return any(_IS_SERVER.search(word) for word in _words(workload))


def _words(workload: Object) -> Iterator[str]:
    """What says what a workload is: its images without registry and tag, its labels."""
    template = workload.get("spec", {}).get("template", {})
    for container in template.get("spec", {}).get("containers") or ():
        image = str(container.get("image", "")).partition("@")[0]
        path, _, last = image.rpartition("/")
        registry, _, rest = path.partition("/")
        yield f"{rest if '.' in registry or ':' in registry else path}/{last.partition(':')[0]}".lower()
    for labels in (workload["metadata"].get("labels") or {}, template.get("metadata", {}).get("labels") or {}):
        for name in _LABELS:
            yield str(labels.get(name, "")).lower()


def _endpoint(cluster: Cluster, kind: str, workload: Object, around: _Surroundings) -> FoundEndpoint:
    meta, spec = workload["metadata"], workload.get("spec", {})
    namespace, name = str(meta["namespace"]), str(meta["name"])
    options = {"context": cluster.context, "kubeconfig": cluster.kubeconfig}
    labels = spec.get("template", {}).get("metadata", {}).get("labels") or {}
    services = [each for each in around.services if _selects(each, namespace, labels)]
    called = {str(each["metadata"]["name"]) for each in services}
    ingresses = [each for each in around.ingresses if _leads(each, namespace, called)]
    hosts = tuple(dict.fromkeys(bare(at) for each in (*ingresses, *services) for at in _addresses(each)))
    names, secure = _names(ingresses, called)
    # A Service's own port counts where no Ingress stands before it.
    port = None if ingresses else _port(services)
    scheme = "https" if (secure if ingresses else port in {443, 8443}) else "http"
    notes = around.notes if hosts or names else (*around.notes, _NOWHERE)
    return FoundEndpoint(
        name,
        around.region,
        f"{kind} {namespace}/{name} in {cluster.said}",
        FoundWorkload(
            "kubernetes",
            f"{namespace}/{kind}/{name}",
            tuple((key, value) for key, value in options.items() if value),
            int(spec.get("replicas", 1)),
        ),
        hosts=hosts,
        names=names,
        scheme=scheme,
        port=None if port in {80, 443} else port,
        health=_health(spec),
        answer=_answer(hosts),
        tag=tagged((meta.get("labels") or {}).items()),
        scope=namespace,
        notes=notes,
    )


def _health(spec: Object) -> str:
    """The path of the first container that says when it is ready."""
    for container in spec.get("template", {}).get("spec", {}).get("containers") or ():
        path = ((container.get("readinessProbe") or {}).get("httpGet") or {}).get("path")
        if path:
            return str(path)
    return ""


# ------------------------------------------------------------------ what leads to it


def _selects(service: Object, namespace: str, labels: Mapping[str, str]) -> bool:
    selector = (service.get("spec") or {}).get("selector") or {}
    return service["metadata"]["namespace"] == namespace and bool(selector) and selector.items() <= labels.items()


def _backends(rule: Object) -> set[str]:
    paths = (rule.get("http") or {}).get("paths") or ()
    return {str(((path.get("backend") or {}).get("service") or {}).get("name", "")) for path in paths}


def _leads(ingress: Object, namespace: str, services: set[str]) -> bool:
    spec = ingress.get("spec") or {}
    default = str(((spec.get("defaultBackend") or {}).get("service") or {}).get("name", ""))
    backends = {default}.union(*(_backends(rule) for rule in spec.get("rules") or ()))
    return ingress["metadata"]["namespace"] == namespace and bool(services & backends)


def _addresses(leads: Object) -> Iterator[str]:
    """Where the load balancer of an Ingress or a Service listens."""
    for each in ((leads.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
        at = each.get("hostname") or each.get("ip")
        if at:
            yield str(at)


def _names(ingresses: list[Object], services: set[str]) -> tuple[tuple[str, ...], bool]:
    """Host names by which Ingresses lead to *services*, and whether by TLS."""
    names: list[str] = []
    secure = False
    for ingress in ingresses:
        spec = ingress.get("spec") or {}
        secure = secure or bool(spec.get("tls"))
        names += [
            bare(rule["host"])
            for rule in spec.get("rules") or ()
            if rule.get("host") and "*" not in rule["host"] and _backends(rule) & services
        ]
    return tuple(dict.fromkeys(names)), secure


def _port(services: list[Object]) -> int | None:
    for service in services:
        if service.get("spec", {}).get("type") == "LoadBalancer":
            ports = sorted(int(each["port"]) for each in service["spec"].get("ports") or ())
            return next((port for port in (443, 80) if port in ports), ports[0] if ports else None)
    return None


def _answer(hosts: tuple[str, ...]) -> Answer | None:
    addresses = tuple(sorted(host for host in hosts if is_address(host)))
    if addresses:
        return Answer("addresses", addresses)
    return Answer("cname", (f"{hosts[0]}.",)) if hosts else None


def _region(nodes: tuple[Object, ...]) -> str:
    """``cloud/region`` by what most nodes say of themselves; empty: they do not."""
    said = Counter(
        f"{_CLOUDS.get(str(node.get('spec', {}).get('providerID', '')).partition(':')[0], 'onprem')}/{slug(region)}"
        for node in nodes
        if (region := str((node["metadata"].get("labels") or {}).get(_REGION, "")))
    )
    return min(said, key=lambda each: (-said[each], each), default="")
