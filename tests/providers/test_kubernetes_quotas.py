"""What the quotas of a namespace leave room for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration, V1PodSpec

from providers.onprem.kubernetes.cluster import Target
from providers.onprem.kubernetes.quotas import asks, most
from wire.kubernetes import ApiServer, Front

GPU = "nvidia.com/gpu"


def pod(*containers: Any, first: Any = None) -> V1PodSpec:
    """The spec of a pod whose containers have these resources."""
    listed = [{"name": f"c{n}", "resources": each} for n, each in enumerate(containers)]
    found = V1PodSpec.from_dict(
        {"containers": listed} | ({"initContainers": [{"name": "i", "resources": first}]} if first else {})
    )
    assert found is not None
    return found


def test_a_pod_asks_for_what_its_containers_request() -> None:
    """Summed; a limit without a request is one; plain names mean requests."""
    found = dict(
        asks(pod({"requests": {"cpu": "500m"}, "limits": {GPU: "2"}}, {"requests": {"cpu": "1", "memory": "1Gi"}}))
    )
    assert found["requests.cpu"] == found["cpu"] == Decimal("1.5")
    assert found[f"requests.{GPU}"] == found[f"limits.{GPU}"] == 2
    assert found["memory"] == 2**30
    assert found["pods"] == 1


def test_a_container_that_comes_first_asks_for_no_more_than_it_needs() -> None:
    """It has ended when the others begin."""
    assert dict(asks(pod({"requests": {"cpu": "1"}}, first={"requests": {"cpu": "4"}})))["cpu"] == 4
    assert dict(asks(pod({"requests": {"cpu": "1"}}, first={"requests": {"cpu": "100m"}})))["cpu"] == 1


@pytest.mark.parametrize(
    ("hard", "used", "spec", "limit"),
    [
        ({f"requests.{GPU}": "8"}, {f"requests.{GPU}": "4"}, {}, 4),
        ({f"requests.{GPU}": "9", "cpu": "100"}, {f"requests.{GPU}": "4", "cpu": "99500m"}, {}, 2),
        ({f"requests.{GPU}": "2"}, {f"requests.{GPU}": "4"}, {}, 2),
        ({"services": "1"}, {"services": "1"}, {}, None),
        ({"pods": "1"}, {"pods": "1"}, {"scopes": ["BestEffort"]}, None),
    ],
)
def test_the_narrowest_quota_is_the_limit(hard: Any, used: Any, spec: Any, limit: int | None) -> None:
    """Two pods of two GPUs are there; a quota of something else, or of some pods only, says nothing."""
    cluster = ApiServer(frozen={"resourcequotas"})
    made = {"metadata": {"name": "q"}, "spec": {"hard": hard} | spec, "status": {"hard": hard, "used": used}}
    cluster.create("resourcequotas", "chat", made)
    front = Front(cluster.answer).start()
    try:
        api = ApiClient(Configuration(host=front.url))
        wanted = asks(pod({"limits": {GPU: "2"}, "requests": {"cpu": "1"}}))
        assert most(api, Target("chat", "Deployment", "llm"), 2, wanted) == limit
    finally:
        front.close()
