"""An API server of Kubernetes that keeps state, with the controllers that the contracts need, over a socket.

It speaks as the real one does (1.20 and later; paths, Statuses and their words were compared with its answers): apps/v1
with /scale, autoscaling/v1, and of core/v1 pods with /proxy, events and resource quotas. A write that names a
resourceVersion must name the current one. What deployments and autoscalers do follows in a thread of its own.
"""

from __future__ import annotations

import copy
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from real.place import Trouble
from real.saboteur import Mischief, Reply
from wire.http import Request, Wire

Object = dict[str, Any]
KINDS = {
    "deployments": ("Deployment", "apps"),
    "statefulsets": ("StatefulSet", "apps"),
    "horizontalpodautoscalers": ("HorizontalPodAutoscaler", "autoscaling"),
    "pods": ("Pod", ""),
    "events": ("Event", ""),
    "resourcequotas": ("ResourceQuota", ""),
}
PATCHES = frozenset({"application/merge-patch+json", "application/strategic-merge-patch+json"})
"""What a patch may be; for all that is patched here the two mean the same."""
TICK_S = 0.02


class Problem(Exception):
    """A Status that says no."""

    def __init__(self, code: int, reason: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.answer = says_no(code, reason, message, **details)


def says_no(code: int, reason: str, message: str, **details: object) -> Reply:
    """The Status of a failure, as the real server words it."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return said(status | {"reason": reason, "details": details, "code": code}, code)


def said(document: Object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode(), (("content-type", "application/json"),))


@dataclass
class ApiServer:
    """The state of one cluster."""

    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    """By plural, namespace and name."""
    nodes: int = 100
    """Pods that fit on the nodes."""
    grace_s: float = 0.0
    """How long a pod that is told to go still runs."""
    frozen: set[str] = field(default_factory=set)
    """Plurals whose controllers do nothing."""
    page: str = ""
    """What a pod answers through the proxy."""
    silent: set[str] = field(default_factory=set)
    """Pods that answer nothing."""
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _closed: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Self:
        """Let the controllers work."""
        threading.Thread(target=self._control, daemon=True).start()
        return self

    def close(self) -> None:
        self._closed.set()

    def answer(self, method: str, target: str, body: bytes, content_type: str) -> Reply:
        """What the API says to one request."""
        parts = urlsplit(target)
        words = [unquote(word) for word in parts.path.strip("/").split("/")]
        words = words[2:] if words[0] == "api" else words[3:]
        try:
            if len(words) < 3 or words[0] != "namespaces" or words[2] not in KINDS:
                raise Problem(404, "NotFound", "the server could not find the requested resource")
            _, namespace, plural, *rest = words
            document = json.loads(body) if body else {}
            if method == "PATCH" and content_type not in PATCHES:
                raise Problem(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
            with self._lock:
                return self._served(method, (plural, namespace), rest, document, parse_qs(parts.query))
        except Problem as problem:
            return problem.answer

    def _served(  # noqa: PLR0911 - one for each thing that can be asked
        self, method: str, where: tuple[str, str], rest: list[str], document: Object, query: dict[str, list[str]]
    ) -> Reply:
        match method, rest:
            case "GET", []:
                return said({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": self._listed(where, query)})
            case "POST", []:
                return said(self.create(where[0], where[1], document), 201)
            case "GET", [pod, "proxy", *_]:
                return self._page(where[1], pod.partition(":")[0])
            case "GET", [name]:
                return said(self._found(*where, name))
            case "GET", [name, "scale"]:
                return said(_scale(self._found(*where, name, "/scale")))
            case "PUT" | "PATCH", [name, "scale"]:
                found = self._found(*where, name, "/scale")
                wanted = document if method == "PUT" else _merged(_scale(found), document)
                if wanted["spec"]["replicas"] < 0:
                    why = f"Invalid value: {wanted['spec']['replicas']}: must be greater than or equal to 0"
                    raise Problem(422, "Invalid", f'Scale.autoscaling "{name}" is invalid: spec.replicas: {why}')
                change = {"metadata": wanted["metadata"], "spec": {"replicas": wanted["spec"]["replicas"]}}
                return said(_scale(self._written(where, name, _merged(found, change))))
            case "PUT" | "PATCH", [name]:
                found = self._found(*where, name)
                return said(self._written(where, name, document if method == "PUT" else _merged(found, document)))
            case "DELETE", [name]:
                self._found(*where, name)
                return said(self.objects.pop((*where, name)))
        raise Problem(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def create(self, plural: str, namespace: str, document: Object) -> Object:
        """Put an object there."""
        kind, group = KINDS[plural]
        made = copy.deepcopy(document)
        version = {"apiVersion": f"{group}/v1".lstrip("/"), "kind": kind}
        meta = {"namespace": namespace, "generation": 1, "resourceVersion": str(next(self._versions))}
        status = {"currentReplicas": 0, "desiredReplicas": 0} if group == "autoscaling" else {}
        made |= version | {"metadata": made["metadata"] | meta, "status": made.get("status", status)}
        with self._lock:
            self.objects[plural, namespace, made["metadata"]["name"]] = made
        return made

    def get(self, plural: str, namespace: str, name: str) -> Object:
        """A copy of an object."""
        with self._lock:
            return copy.deepcopy(self.objects[plural, namespace, name])

    def patch(self, plural: str, namespace: str, name: str, change: Object) -> None:
        """Change an object, as somebody else does."""
        with self._lock:
            self._written((plural, namespace), name, _merged(self.objects[plural, namespace, name], change))

    def _found(self, plural: str, namespace: str, name: str, sub: str = "") -> Object:
        found = self.objects.get((plural, namespace, name))
        if found is None:
            group = KINDS[plural][1]
            of = f"{plural}{sub}" + (f".{group}" if group else "")
            raise Problem(404, "NotFound", f'{of} "{name}" not found', name=name, kind=plural)
        return found

    def _written(self, where: tuple[str, str], name: str, wanted: Object) -> Object:
        plural, group = where[0], KINDS[where[0]][1]
        before = self.objects[(*where, name)]
        if wanted["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
            raise Problem(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {plural}.{group} "{name}": the object has been modified; please '
                "apply your changes to the latest version and try again",
                name=name,
                kind=plural,
            )
        spec = wanted.get("spec", {})
        if plural == "horizontalpodautoscalers" and not 1 <= spec.get("minReplicas", 1) <= spec["maxReplicas"]:
            why = f"Invalid value: {spec['maxReplicas']}: must be greater than or equal to `minReplicas`"
            raise Problem(
                422, "Invalid", f'HorizontalPodAutoscaler.autoscaling "{name}" is invalid: spec.maxReplicas: {why}'
            )
        if wanted == before:
            return before
        made = copy.deepcopy(wanted)
        made["metadata"]["resourceVersion"] = str(next(self._versions))
        made["metadata"]["generation"] = before["metadata"]["generation"] + (spec != before.get("spec", {}))
        self.objects[(*where, name)] = made
        return made

    def _listed(self, where: tuple[str, str], query: dict[str, list[str]]) -> list[Object]:
        labels = _terms(query.get("labelSelector", [""])[0])
        fields = _terms(query.get("fieldSelector", [""])[0])
        return [
            each
            for key, each in sorted(self.objects.items())
            if key[:2] == where
            and labels.items() <= each["metadata"].get("labels", {}).items()
            and all(_at(each, path) == value for path, value in fields.items())
        ]

    def _page(self, namespace: str, pod: str) -> Reply:
        self._found("pods", namespace, pod)
        if pod in self.silent:
            raise Problem(503, "ServiceUnavailable", "error trying to reach service: dial tcp: connect: refused")
        return Reply(200, self.page.encode(), (("content-type", "text/plain; version=0.0.4"),))

    def _control(self) -> None:
        while not self._closed.wait(TICK_S):
            with self._lock:
                for plural, namespace, name in sorted(self.objects):
                    if plural not in self.frozen:
                        if plural == "horizontalpodautoscalers":
                            self._autoscale(namespace, self.objects[plural, namespace, name])
                        elif plural == "resourcequotas":
                            self._count(namespace, self.objects[plural, namespace, name])
                        elif plural in {"deployments", "statefulsets"}:
                            self._roll(plural, namespace, name)

    def _autoscale(self, namespace: str, autoscaler: Object) -> None:
        """Bring what it holds within its bounds, unless that is at none."""
        spec = autoscaler["spec"]
        of = spec["scaleTargetRef"]
        plural = next(plural for plural, (kind, _) in KINDS.items() if kind == of["kind"])
        replicas = self.objects[plural, namespace, of["name"]]["spec"]["replicas"]
        bounded = max(spec.get("minReplicas", 1), min(replicas, spec["maxReplicas"]))
        if replicas and bounded != replicas:
            self.patch(plural, namespace, of["name"], {"spec": {"replicas": bounded}})

    def _count(self, namespace: str, quota: Object) -> None:
        used = {"pods": str(len(self._pods(namespace)))}
        quota["status"] = {"hard": quota["spec"]["hard"], "used": used}

    def _roll(self, plural: str, namespace: str, name: str) -> None:
        """Create pods that are missing, end those that are too many, and say so."""
        workload = self.objects[plural, namespace, name]
        labels = workload["spec"]["selector"]["matchLabels"]
        wanted, failure = workload["spec"]["replicas"], ""
        mine = [pod for pod in self._pods(namespace) if labels.items() <= pod["metadata"]["labels"].items()]
        going = [pod for pod in mine if "deletionTimestamp" in pod["metadata"]]
        staying = [pod for pod in mine if pod not in going]
        for pod in going:
            if time.time() >= pod["gone"]:
                del self.objects["pods", namespace, pod["metadata"]["name"]]
        for pod in staying[wanted:]:
            pod["metadata"]["deletionTimestamp"] = now()
            pod["gone"] = time.time() + self.grace_s
        for index in range(len(staying), wanted):
            failure = self._over_quota(namespace, f"{name}-{index}")
            if failure:
                break
            pod = {"metadata": {"name": f"{name}-{next(self._versions)}", "labels": labels}, "spec": {"containers": []}}
            self.create("pods", namespace, pod)
        for pod in staying[:wanted]:
            self._place(pod)
        self._report(workload, staying[:wanted], failure)

    def _pods(self, namespace: str) -> list[Object]:
        return [each for key, each in sorted(self.objects.items()) if key[:2] == ("pods", namespace)]

    def _place(self, pod: Object) -> None:
        if pod["status"].get("phase") == "Running":
            return
        running = [each for key, each in self.objects.items() if key[0] == "pods" and each["status"].get("phase")]
        if sum(1 for each in running if each["status"]["phase"] == "Running") < self.nodes:
            yes = [{"type": each, "status": "True"} for each in ("PodScheduled", "Ready")]
            pod["status"] = {"phase": "Running", "podIP": "127.0.0.1", "conditions": yes}
        elif not pod["status"]:
            message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            no = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
            pod["status"] = {"phase": "Pending", "conditions": [no | {"lastTransitionTime": now()}]}

    def _over_quota(self, namespace: str, pod: str) -> str:
        used = len(self._pods(namespace))
        for key, each in self.objects.items():
            most = int(each["spec"]["hard"]["pods"]) if key[:2] == ("resourcequotas", namespace) else used + 1
            if used >= most:
                over = f"exceeded quota: {key[2]}, requested: pods=1, used: pods={used}, limited: pods={most}"
                return f'pods "{pod}" is forbidden: {over}'
        return ""

    def _report(self, workload: Object, pods: list[Object], failure: str) -> None:
        meta = workload["metadata"]
        ready = sum(1 for pod in pods if pod["status"].get("phase") == "Running")
        status: Object = {"observedGeneration": meta["generation"], "replicas": len(pods), "readyReplicas": ready}
        if failure and workload["kind"] == "Deployment":
            why = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": failure}
            status["conditions"] = [why]
        elif failure:
            # Its controller goes no further than the pod it cannot create: the status stays as it was.
            status = workload["status"]
            message = f"create Pod in StatefulSet {meta['name']} failed error: {failure}"
            self.event(meta["namespace"], "StatefulSet", meta["name"], "FailedCreate", message)
        workload["status"] = status

    def event(self, namespace: str, kind: str, name: str, reason: str, message: str) -> None:
        """Tell of an object, now."""
        of = {"kind": kind, "namespace": namespace, "name": name}
        told = {"involvedObject": of, "reason": reason, "message": message, "lastTimestamp": now()}
        self.create("events", namespace, {"metadata": {"name": f"{name}.{reason.lower()}"}} | told)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _scale(workload: Object) -> Object:
    meta = {name: workload["metadata"][name] for name in ("name", "namespace", "resourceVersion")}
    replicas = {"replicas": workload["spec"]["replicas"]}
    status = {"replicas": workload["status"].get("replicas", 0)}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": replicas, "status": status}


def _merged(document: Object, change: Object) -> Object:
    """RFC 7396."""
    merged = dict(document)
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name) or {}, value) if isinstance(value, dict) else value
    return merged


def _terms(selector: str) -> dict[str, str]:
    """Of equality only, which is all that is selected by here."""
    return dict(term.split("=", 1) for term in selector.split(",") if term)


def _at(document: Object, path: str) -> Any:
    for word in path.split("."):
        document = document.get(word, {})
    return document


Backend = Callable[[str, str, bytes, str], Reply]
"""Answers by method, target, body and content type."""
_MAY_NOT = (
    'deployments.apps "llm" is forbidden: User "failover" cannot patch resource "deployments/scale" in API group '
    '"apps" in the namespace "chat"'
)
_STATUSES = {
    Trouble.THROTTLED: (429, "TooManyRequests", "Too many requests, please try again later."),
    Trouble.BROKEN: (500, "InternalError", "etcdserver: request timed out"),
    Trouble.EXPIRED: (401, "Unauthorized", "Unauthorized"),
    Trouble.FORBIDDEN: (403, "Forbidden", _MAY_NOT),
}


class Front(Wire):
    """The socket before a cluster: what goes wrong on the way, who may, and how many writes changed a spec."""

    def __init__(self, backend: Backend, *, counted: str = "", context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.tokens: set[str] = set()
        """Whose bearers may; empty: everybody."""
        self._backend = backend
        self._counted = counted
        self._tls = context is not None
        handler = self._server.RequestHandlerClass
        setattr(handler, "do_PATCH", getattr(handler, "do_GET"))  # noqa: B009, B010 - made by its base, which has none
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:") if self._tls else super().url

    def answer(self, request: Request) -> Reply:
        headers = {name.lower(): value for name, value in request.headers.items()}
        who = headers.get("authorization", "").partition(" ")
        if self.tokens and (who[0].lower() != "bearer" or who[2] not in self.tokens):
            return says_no(*_STATUSES[Trouble.EXPIRED])
        kind = headers.get("content-type", "")
        if request.method == "GET":
            return self._backend(request.method, request.path, request.body, kind)
        path = request.path.partition("?")[0]
        before = self._spec(path)
        reply = self._backend(request.method, request.path, request.body, kind)
        if self._counted in path and self._spec(path) != before:
            self.effects += 1
        return reply

    def _spec(self, path: str) -> object:
        return json.loads(self._backend("GET", path, b"", "").body).get("spec")

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.leave()
            return
        status = _STATUSES.get(what)
        reply = says_no(*status) if status is not None else None
        if reply is not None and what is Trouble.THROTTLED:
            reply = Reply(reply.status, reply.body, (*reply.headers, ("retry-after", "1")))
        always = what in {Trouble.EXPIRED, Trouble.FORBIDDEN}
        self.mischief.append(Mischief(lambda method, *_: always or method != "GET", times, reply))
