"""Requests in flight in the pods of a Deployment or a StatefulSet."""

from __future__ import annotations

import asyncio

from kubernetes.client import ApiClient, CoreV1Api, V1Pod
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers.base import Transient
from providers.calls import CONNECT_S
from providers.inflight import counted, running
from providers.onprem.kubernetes.cluster import cluster, target
from providers.onprem.kubernetes.errors import of_api
from providers.onprem.kubernetes.standing import pods, selector

POD = "{pod}"
PAGE_S = 2.0
"""How long the API server may take to fetch a page of a pod."""


class KubernetesDrain:
    """DrainControl that counts, and turns nobody away.

    To take pods off their Service would turn away whoever still comes, and nothing puts them back after a move that
    went well: the endpoint would be down when traffic is to come home. New work stays away as it is steered away.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a target that is no workload, and a `metrics` that is no address."""
        self._target = target(handle)
        self._cluster = cluster(handle)
        self._metrics = dict(handle.options).get("metrics", "")
        if self._metrics and not self._metrics.startswith((":", "http://", "https://")):
            raise BadInput(
                f"metrics of {self._target.said} is '{self._metrics}'; write http://{{pod}}:8000/metrics, or "
                ":8000/metrics to ask through the API server"
            )

    async def begin(self, *, key: str) -> None:
        """Nothing: the steering keeps new work away."""

    async def in_flight(self) -> int | None:
        """The sum over all pods that run, those that are going included; None where a pod that may have some cannot
        tell, and no other has any. Raises what ``errors.translate`` says of listing pods."""
        if not self._metrics:
            return None
        if not self._metrics.startswith(":") and POD not in self._metrics:
            return await running(self._metrics)
        listed = await self._cluster.read(f"list the pods of {self._target.said}", self._pods)
        counts = await asyncio.gather(*(self._count(each) for each in listed if _runs(each)))
        told = sum(each for each in counts if each is not None)
        return told if told or None not in counts else None

    async def end(self, *, key: str) -> None:
        """Nothing: nothing was taken away."""

    def _pods(self, api: ApiClient) -> tuple[V1Pod, ...]:
        return pods(api, self._target, selector(api, self._target))

    async def _count(self, pod: V1Pod) -> int | None:
        if not self._metrics.startswith(":"):
            address = (pod.status.pod_ip if pod.status else None) or ""
            return await running(self._metrics.replace(POD, f"[{address}]" if ":" in address else address))
        name = (pod.metadata.name if pod.metadata else None) or ""
        what = f"read the metrics of pod {name}"
        try:
            return await self._cluster.ask_pod(what, lambda api: self._page(api, name))
        except Transient:
            return None

    def _page(self, api: ApiClient, name: str) -> int | None:
        port, _, path = self._metrics[1:].partition("/")
        try:
            page = CoreV1Api(api).connect_get_namespaced_pod_proxy_with_path(
                f"{name}:{port}", self._target.namespace, path, _request_timeout=(CONNECT_S, PAGE_S)
            )
        except HTTPError:
            return None
        except ApiException as error:
            # What a pod itself answers, or fails to, says nothing of the API server, which others need.
            if not of_api(error) or (error.status or 0) >= 500:
                return None
            if error.status == 404:
                return 0  # the pod has gone, and what was in flight with it
            raise
        return counted(page)


def _runs(pod: V1Pod) -> bool:
    return pod.status is not None and pod.status.phase == "Running"
