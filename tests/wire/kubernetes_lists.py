"""What an API server lists of a whole cluster, page by page, to those who may: beside ``wire.kubernetes``, which acts.

Refusals have the real server's words: https://kubernetes.io/docs/reference/access-authn-authz/authorization/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from real.saboteur import Reply
from wire.http import Request, Wire
from wire.kubernetes import said, says_no

Object = dict[str, Any]
_GROUPS = {"deployments": "apps", "statefulsets": "apps", "ingresses": "networking.k8s.io", "services": "", "nodes": ""}


@dataclass
class Listed:
    """What there is, by plural."""

    objects: dict[str, list[Object]] = field(default_factory=lambda: {plural: [] for plural in _GROUPS})
    denied: set[str] = field(default_factory=set)
    """Plurals that may not be listed."""
    everywhere: bool = True
    """Whether lists of all namespaces may be read."""
    most: int = 500
    """Objects in one answer."""

    def server(
        self, name: str, *, image: str = "vllm/vllm-openai:v0.9", kind: str = "deployments", **more: Any
    ) -> Object:
        """A workload with one container of *image* and a readiness probe."""
        labels = {"app": name} | more.pop("labels", {})
        probe = {"httpGet": {"path": "/health", "port": 8000}}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": image}]}}
        pod["spec"]["containers"][0]["readinessProbe"] = probe  # type: ignore[index]
        meta = {"name": name, "namespace": more.pop("namespace", "ai"), "labels": labels}
        spec = {"replicas": more.pop("replicas", 2), "selector": {"matchLabels": {"app": name}}, "template": pod}
        self.objects[kind].append({"metadata": meta, "spec": spec})
        return self.objects[kind][-1]

    def service(self, name: str, *, ip: str = "", port: int = 8000, namespace: str = "ai") -> None:
        """A Service before the pods of *name*: of type LoadBalancer where it has an address."""
        spec = {"selector": {"app": name}, "type": "LoadBalancer" if ip else "ClusterIP", "ports": [{"port": port}]}
        status = {"loadBalancer": {"ingress": [{"ip": ip}]}} if ip else {"loadBalancer": {}}
        self.objects["services"].append(
            {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}
        )

    def ingress(self, name: str, hosts: Iterable[str], *, at: str = "", namespace: str = "ai") -> None:
        """An Ingress that leads from *hosts* to the Service *name*, by TLS."""
        backend = {"service": {"name": name, "port": {"number": 8000}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        rules = [{"host": host, "http": {"paths": [path]}} for host in hosts]
        spec = {"rules": rules, "tls": [{"hosts": list(hosts)}]}
        status = {"loadBalancer": {"ingress": [{"hostname" if at[:1].isalpha() else "ip": at}] if at else []}}
        self.objects["ingresses"].append(
            {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}
        )

    def node(self, provider: str, region: str) -> None:
        labels = {"topology.kubernetes.io/region": region}
        meta = {"name": f"node-{len(self.objects['nodes'])}", "labels": labels}
        self.objects["nodes"].append({"metadata": meta, "spec": {"providerID": provider}})

    def answer(self, method: str, target: str) -> Reply:
        parts = urlsplit(target)
        words = parts.path.strip("/").split("/")
        plural, namespace = words[-1], words[-2] if words[-3:-2] == ["namespaces"] else ""
        if method != "GET":
            return says_no(403, "Forbidden", f'{plural} is forbidden: User "looker" cannot write')
        group = "apis" if _GROUPS.get(plural) else "api"
        if plural not in _GROUPS or words[0] != group:
            return says_no(404, "NotFound", "the server could not find the requested resource")
        if plural in self.denied or not (namespace or self.everywhere):
            return self._refused(plural, namespace)
        every = [each for each in self.objects[plural] if namespace in {"", each["metadata"].get("namespace")}]
        query = parse_qs(parts.query)
        start = int(query.get("continue", ["0"])[0])
        end = start + min(self.most, int(query["limit"][0]))
        more = {"continue": str(end)} if end < len(every) else {}
        return said({"kind": "List", "apiVersion": "v1", "metadata": more, "items": every[start:end]})

    def _refused(self, plural: str, namespace: str) -> Reply:
        group = _GROUPS[plural]
        where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
        text = f'User "looker" cannot list resource "{plural}" in API group "{group}"{where}'
        return says_no(403, "Forbidden", f"{plural}{'.' * bool(group)}{group} is forbidden: {text}", kind=plural)


class Clusters:
    """Clusters behind one kubeconfig, each by its context."""

    def __init__(self, home: Path, *contexts: str) -> None:
        self.at = {context: Listed() for context in contexts}
        self._fronts = {context: _Front(listed).start() for context, listed in self.at.items()}
        self.kubeconfig = home / "kubeconfig"
        whole = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": contexts[0],
            "clusters": [{"name": name, "cluster": {"server": front.url}} for name, front in self._fronts.items()],
            "users": [{"name": "looker", "user": {"token": "not to be sent"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "looker"}} for name in contexts],
        }
        self.kubeconfig.write_text(json.dumps(whole))

    def close(self) -> None:
        for front in self._fronts.values():
            front.leave()

    @property
    def asked(self) -> list[str]:
        """Every method that was used."""
        return [request.method for front in self._fronts.values() for request in front.seen]

    def leave(self, context: str) -> None:
        """That cluster's API server is away."""
        self._fronts[context].leave()


class _Front(Wire):
    def __init__(self, listed: Listed) -> None:
        super().__init__()
        self._listed = listed

    def answer(self, request: Request) -> Reply:
        return self._listed.answer(request.method, request.path)
