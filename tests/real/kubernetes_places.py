"""Kubernetes for the contracts: an API server that keeps state and, where ``KUBEBUILDER_ASSETS`` says, the real one."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.core.topology import Workload
from providers.base import DrainControl, WorkloadControl
from providers.onprem.kubernetes.drain import KubernetesDrain
from providers.onprem.kubernetes.workload import KubernetesWorkload
from real.kubernetes import ASSETS, control_plane, kubeconfig
from real.place import ScaledPlace, Trouble
from real.saboteur import Reply
from wire.kubernetes import ApiServer, Backend, Front

_COUNTER = itertools.count(1)
MOST = 4


class KubernetesPlace:
    """One namespace with one workload, at a cluster of its own."""

    cannot: frozenset[Trouble] = frozenset()
    metrics = ":8000/metrics"

    def __init__(self, kind: str, *, autoscaled: bool = False) -> None:
        self.kind = kind
        self.autoscaled = autoscaled
        self.namespace = f"chat-{os.getpid()}-{next(_COUNTER)}"
        self._home = tempfile.TemporaryDirectory()
        self.kubeconfig = Path(self._home.name) / "kubeconfig"
        options = (("context", "here"), ("kubeconfig", str(self.kubeconfig)), ("metrics", self.metrics))
        self.handle = Workload("kubernetes", f"{self.namespace}/{kind}/llm", 4, 1, options)
        self.cluster = ApiServer(page="vllm:num_requests_running 3\nvllm:num_requests_waiting 1\n")
        # Under an autoscaler its minimum is the level; that replicas are brought up at once is no second effect.
        self.front = Front(self.backend(), counted="/horizontalpodautoscalers/" if autoscaled else "")

    def backend(self) -> Backend:
        return self.cluster.answer

    async def open(self) -> None:
        self.kubeconfig.write_text(kubeconfig({"server": self.front.start().url}, {"token": "not to be sent"}))
        await asyncio.to_thread(self.fill)

    def fill(self) -> None:
        """Put the workload there, and wait until it is ready."""
        self.cluster.start()
        self.cluster.create(f"{self.kind}s", self.namespace, workload(2))
        if self.autoscaled:
            self.cluster.create("horizontalpodautoscalers", self.namespace, autoscaler(self.kind))
        until = time.monotonic() + 10
        while self.get(f"{self.kind}s")["status"].get("readyReplicas") != 2:
            assert time.monotonic() < until, "the workload did not get ready"
            time.sleep(0.005)

    def close(self) -> None:
        self.front.close()
        self.cluster.close()
        self._home.cleanup()

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        self.front.trouble(what, times=times)

    @property
    def effects(self) -> int:
        return self.front.effects

    def workload(self) -> WorkloadControl:
        return KubernetesWorkload(self.handle)

    def drain(self) -> DrainControl | None:
        return KubernetesDrain(self.handle)

    def missing(self) -> WorkloadControl:
        return KubernetesWorkload(replace(self.handle, target=f"{self.namespace}/{self.kind}/nothing"))

    def get(self, plural: str) -> Any:
        """The object of that kind, without going through the provider."""
        return self.cluster.get(plural, self.namespace, "llm")

    async def replicas(self) -> int:
        replicas: int = (await asyncio.to_thread(self.get, f"{self.kind}s"))["spec"]["replicas"]
        if self.autoscaled and replicas:
            replicas = (await asyncio.to_thread(self.get, "horizontalpodautoscalers"))["spec"]["minReplicas"]
        return replicas


class RealKubernetesPlace(KubernetesPlace):
    """The same at a real API server, through a socket that troubles can happen at."""

    metrics = "http://{pod}:1/metrics"

    def backend(self) -> Backend:
        return self._forward

    async def open(self) -> None:
        control_plane()  # here: what a thread starts ends with the thread
        await super().open()

    def fill(self) -> None:
        plane = control_plane()
        plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        body = workload(2)
        body["spec"] |= {"serviceName": "llm"} if self.kind == "statefulset" else {}
        plane.call("POST", self._path(f"{self.kind}s"), body)
        if self.autoscaled:
            plane.call("POST", self._path("horizontalpodautoscalers"), autoscaler(self.kind))
        until = time.monotonic() + 30
        while self.get(f"{self.kind}s")["status"].get("readyReplicas") != 2:
            assert time.monotonic() < until, "the workload did not get ready"
            time.sleep(0.02)

    def close(self) -> None:
        super().close()
        control_plane().call("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def get(self, plural: str) -> Any:
        return control_plane().call("GET", f"{self._path(plural)}/llm")

    def _path(self, plural: str) -> str:
        group = "autoscaling" if plural == "horizontalpodautoscalers" else "apps"
        return f"/apis/{group}/v1/namespaces/{self.namespace}/{plural}"

    def _forward(self, method: str, target: str, body: bytes, content_type: str) -> Reply:
        try:
            return Reply(200, control_plane().send(method, target, body or None, content_type), _JSON)
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read(), _JSON)


_JSON = (("content-type", "application/json"),)


def workload(replicas: int) -> dict[str, Any]:
    """A Deployment or StatefulSet called ``llm``."""
    labels = {"app": "llm"}
    containers = [{"name": "server", "image": "llm", "resources": {"requests": {"cpu": "1"}}}]
    pod = {"metadata": {"labels": labels}, "spec": {"automountServiceAccountToken": False, "containers": containers}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
    return {"metadata": {"name": "llm"}, "spec": spec}


def autoscaler(kind: str) -> dict[str, Any]:
    """A HorizontalPodAutoscaler on it, between 2 and 4."""
    named = {"deployment": "Deployment", "statefulset": "StatefulSet"}[kind]
    of = {"apiVersion": "apps/v1", "kind": named, "name": "llm"}
    return {"metadata": {"name": "llm"}, "spec": {"minReplicas": 2, "maxReplicas": MOST, "scaleTargetRef": of}}


def _places(name: str, make: Callable[..., ScaledPlace]) -> dict[str, Callable[[], ScaledPlace]]:
    return {
        f"{name}-deployment": lambda: make("deployment"),
        f"{name}-statefulset": lambda: make("statefulset"),
        f"{name}-hpa": lambda: make("deployment", autoscaled=True),
    }


SCALED = _places("kubernetes", KubernetesPlace) | (_places("kubernetes-real", RealKubernetesPlace) if ASSETS else {})
