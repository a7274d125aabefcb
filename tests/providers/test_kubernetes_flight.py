"""Requests in flight in the pods of Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from providers.base import Forbidden
from providers.onprem.kubernetes.drain import KubernetesDrain
from real.kubernetes_places import KubernetesPlace
from real.saboteur import Mischief, Reply
from real.stage import until
from wire.kubernetes import says_no

KEY = "run-1/promote"


@pytest.fixture
async def place() -> AsyncIterator[KubernetesPlace]:
    made = KubernetesPlace("deployment")
    try:
        await made.open()
        yield made
    finally:
        await asyncio.to_thread(made.close)


async def test_requests_in_flight_are_summed_over_pods(place: KubernetesPlace) -> None:
    """Two pods of three running and one waiting each, through the API server."""
    assert await KubernetesDrain(place.handle).in_flight() == 8


async def test_a_pod_that_cannot_tell_is_no_pod_without_requests(place: KubernetesPlace) -> None:
    """What others have is told; nothing and unknown are unknown."""
    first = next(key[2] for key in place.cluster.objects if key[0] == "pods")
    place.cluster.silent.add(first)
    assert await KubernetesDrain(place.handle).in_flight() == 4
    place.cluster.page = "vllm:num_requests_running 0\n"
    assert await KubernetesDrain(place.handle).in_flight() is None
    place.cluster.silent.clear()
    assert await KubernetesDrain(place.handle).in_flight() == 0


async def test_pods_that_are_going_are_counted(place: KubernetesPlace) -> None:
    """Their last requests are still in flight."""
    place.cluster.grace_s = 5
    await place.workload().scale(1, key=KEY)
    await until(lambda: asyncio.to_thread(place.get, "deployments"), lambda each: each["status"]["readyReplicas"] == 1)
    assert await KubernetesDrain(place.handle).in_flight() == 8


async def test_pods_that_do_not_answer_leave_the_cluster_in_use(place: KubernetesPlace) -> None:
    """However often they are asked in vain, the API server is asked on."""
    place.cluster.silent |= {key[2] for key in place.cluster.objects if key[0] == "pods"}
    for _ in range(6):
        assert await KubernetesDrain(place.handle).in_flight() is None
    assert (await place.workload().scale(3, key=KEY)).desired == 3


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_page_that_a_pod_does_not_give_is_unknown(place: KubernetesPlace, status: int) -> None:
    """A wrong path is no pod without requests, and a pod that wants a key is not the API server that wants one."""
    place.front.mischief.append(Mischief(lambda _, path, __: "/proxy/" in path, 9, Reply(status, b"no")))
    assert await KubernetesDrain(place.handle).in_flight() is None
    await place.workload().read()


async def test_pods_are_asked_themselves_where_they_can_be_reached(place: KubernetesPlace) -> None:
    """`{pod}` is the pod's address; an address without it is asked as it is; none means that nobody can tell."""
    port = place.front.url.rpartition(":")[2]
    path = f"api/v1/namespaces/{place.namespace}/pods"
    pod = next(key[2] for key in place.cluster.objects if key[0] == "pods")

    def metrics(url: str) -> KubernetesDrain:
        options = tuple(each for each in place.handle.options if each[0] != "metrics")
        return KubernetesDrain(replace(place.handle, options=(*options, ("metrics", url)) if url else options))

    assert await metrics(f"http://{{pod}}:{port}/{path}/{pod}/proxy/metrics").in_flight() == 8
    assert await metrics(f"{place.front.url}/{path}/{pod}/proxy/metrics").in_flight() == 4
    assert await metrics("").in_flight() is None


async def test_a_grant_that_is_missing_is_told(place: KubernetesPlace) -> None:
    """Who may not ask pods is told so, not that nothing is known."""
    reply = says_no(403, "Forbidden", 'pods is forbidden: User "x" cannot get resource "pods/proxy" in API group ""')
    place.front.mischief.append(Mischief(lambda _, path, __: "/proxy/" in path, 9, reply))
    with pytest.raises(Forbidden, match="'get' on 'pods/proxy'"):
        await KubernetesDrain(place.handle).in_flight()
