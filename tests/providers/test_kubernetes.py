"""What is special to Kubernetes: autoscalers, shortages, and what its API says in refusing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers.base import Capacity, Forbidden, NoCapacity, Refused, Throttled, Transient, Unauthenticated
from providers.onprem.kubernetes.drain import KubernetesDrain
from providers.onprem.kubernetes.workload import KubernetesWorkload
from real.kubernetes_places import KubernetesPlace
from real.place import Trouble
from real.saboteur import Mischief
from real.stage import until
from wire.kubernetes import now, says_no

KEY = "run-1/promote"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Controllers that take nothing up are not waited for so long."""
    monkeypatch.setattr("providers.onprem.kubernetes.workload.TAKEN_UP_S", 0.3)
    monkeypatch.setattr("providers.onprem.kubernetes.workload.LOOK_S", 0.05)


async def opened(place: KubernetesPlace) -> AsyncIterator[KubernetesPlace]:
    try:
        await place.open()
        yield place
    finally:
        await asyncio.to_thread(place.close)


@pytest.fixture
async def place() -> AsyncIterator[KubernetesPlace]:
    async for each in opened(KubernetesPlace("deployment")):
        yield each


@pytest.fixture
async def ordered() -> AsyncIterator[KubernetesPlace]:
    async for each in opened(KubernetesPlace("statefulset")):
        yield each


@pytest.fixture
async def autoscaled() -> AsyncIterator[KubernetesPlace]:
    async for each in opened(KubernetesPlace("deployment", autoscaled=True)):
        yield each


def refuse(place: KubernetesPlace, code: int, reason: str, message: str) -> None:
    """The next write is answered so."""
    reply = says_no(code, reason, message)
    place.front.mischief.append(Mischief(lambda method, *_: method != "GET", 1, reply))


def spec(place: KubernetesPlace, plural: str = "deployments") -> Any:
    return place.get(plural)["spec"]


# Autoscalers


async def test_replicas_under_an_autoscaler_stay_as_they_are_set(autoscaled: KubernetesPlace) -> None:
    """A hand that scales past the autoscaler is undone; the provider moves its minimum, and that holds."""
    autoscaled.cluster.frozen.clear()
    autoscaled.cluster.patch("deployments", autoscaled.namespace, "llm", {"spec": {"replicas": 1}})
    await until(lambda: asyncio.to_thread(spec, autoscaled), lambda each: each["replicas"] == 2)
    assert (await autoscaled.workload().scale(4, key=KEY)).limit == 4
    await until(lambda: autoscaled.workload().read(), lambda each: each == Capacity(4, 4, 4))
    assert spec(autoscaled, "horizontalpodautoscalers")["minReplicas"] == 4


async def test_replicas_come_before_the_autoscaler_looks_again(autoscaled: KubernetesPlace) -> None:
    """It looks every 15 seconds; a promotion does not wait for that."""
    autoscaled.cluster.frozen.add("horizontalpodautoscalers")
    await autoscaled.workload().scale(3, key=KEY)
    assert spec(autoscaled)["replicas"] == 3


async def test_what_load_has_added_is_left_to_the_autoscaler(autoscaled: KubernetesPlace) -> None:
    """A level below what it has now moves its minimum only."""
    autoscaled.cluster.patch("deployments", autoscaled.namespace, "llm", {"spec": {"replicas": 4}})
    await autoscaled.workload().scale(3, key=KEY)
    assert spec(autoscaled)["replicas"] == 4
    assert (await autoscaled.workload().read()).desired == 3


async def test_none_is_none_under_an_autoscaler_and_some_again_afterwards(autoscaled: KubernetesPlace) -> None:
    """At no replica the autoscaler rests, and its minimum is kept; from none it is brought up by hand."""
    await autoscaled.workload().scale(0, key=KEY)
    await until(lambda: autoscaled.workload().read(), lambda each: (each.desired, each.ready) == (0, 0))
    assert spec(autoscaled, "horizontalpodautoscalers")["minReplicas"] == 2
    await autoscaled.workload().scale(2, key=KEY)
    await until(lambda: autoscaled.workload().read(), lambda each: (each.desired, each.ready) == (2, 2))


async def test_an_autoscaler_that_somebody_else_writes_is_refused(autoscaled: KubernetesPlace) -> None:
    """KEDA would put back both the minimum and the replicas, so nothing is promised."""
    owner = {"ownerReferences": [{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "llm", "uid": "1"}]}
    autoscaled.cluster.patch("horizontalpodautoscalers", autoscaled.namespace, "llm", {"metadata": owner})
    for replicas in (0, 3):
        with pytest.raises(Refused, match=r"belongs to ScaledObject llm.*minReplicaCount"):
            await autoscaled.workload().scale(replicas, key=KEY)
    assert (await autoscaled.workload().scale(2, key=KEY)).desired == 2
    assert autoscaled.effects == 0


async def test_an_autoscaler_of_another_workload_is_let_be(autoscaled: KubernetesPlace) -> None:
    """It is told by kind and name of what it scales, not by its own name."""
    autoscaled.cluster.frozen.add("horizontalpodautoscalers")
    of = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "llm"}}
    autoscaled.cluster.patch("horizontalpodautoscalers", autoscaled.namespace, "llm", {"spec": of})
    assert (await autoscaled.workload().scale(9, key=KEY)).limit is None
    assert spec(autoscaled)["replicas"] == 9


# What is ready


async def test_a_status_of_an_older_generation_is_not_believed(place: KubernetesPlace) -> None:
    """Controllers that do not work leave a status from before: nobody must take its replicas for what was asked."""
    place.cluster.frozen.add("deployments")
    await place.workload().scale(4, key=KEY)
    with pytest.raises(Transient, match=r"generation 1 of deployment .*/llm, which is at 2: .*kube-controller-manager"):
        await place.workload().read()


async def test_pods_that_still_run_count_when_none_is_wanted(place: KubernetesPlace) -> None:
    """A pod that was told to go serves until it ends: a fence waits for that."""
    place.cluster.grace_s = 0.4
    await place.workload().scale(0, key=KEY)
    await until(lambda: asyncio.to_thread(place.get, "deployments"), lambda each: not each["status"]["readyReplicas"])
    assert await place.workload().read() == Capacity(0, 2)
    await until(lambda: place.workload().read(), lambda each: each.ready == 0)


# Shortages


async def refused(place: KubernetesPlace) -> str:
    """What reading says as soon as it refuses."""

    async def ask() -> str:
        try:
            await place.workload().read()
        except NoCapacity as error:
            return str(error)
        return ""

    return str(await until(ask, bool, 5))


async def test_a_quota_is_no_capacity(place: KubernetesPlace) -> None:
    """Scaling is taken, and the pods do not come: the Deployment says why, and it is told at once."""
    place.cluster.create(
        "resourcequotas", place.namespace, {"metadata": {"name": "gpus"}, "spec": {"hard": {"pods": "3"}}}
    )
    await place.workload().scale(4, key=KEY)
    assert "the quota 'gpus' does not allow it (used: pods=3; asked beside: pods=1; at most: pods=3)" in await refused(
        place
    )


async def test_what_quotas_leave_room_for_is_the_limit(place: KubernetesPlace) -> None:
    """A rehearsal says beforehand that the standby cannot be promoted; what else is in the namespace counts."""
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"pods": "4"}}}
    place.cluster.create("resourcequotas", place.namespace, quota)
    await until(lambda: place.workload().read(), lambda each: each == Capacity(2, 2, 4))
    place.cluster.create("pods", place.namespace, {"metadata": {"name": "other", "labels": {}}})
    await until(lambda: place.workload().read(), lambda each: each.limit == 3)


async def test_quotas_that_may_not_be_read_are_done_without(place: KubernetesPlace) -> None:
    """Their grant is a help, and no condition."""
    reply = says_no(403, "Forbidden", 'User "x" cannot list resource "resourcequotas" in API group ""')
    place.front.mischief.append(Mischief(lambda _, path, __: "/resourcequotas" in path, 9, reply))
    assert await place.workload().read() == Capacity(2, 2)


async def test_a_failure_that_is_over_is_not_believed(place: KubernetesPlace) -> None:
    """A condition of before stands until the controllers have looked again."""
    place.cluster.frozen.add("deployments")
    over = 'pods "x" is forbidden: exceeded quota: gpus, requested: pods=1, used: pods=1, limited: pods=1'
    failure = {"type": "ReplicaFailure", "status": "True", "message": over}
    status = {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1}
    place.cluster.patch("deployments", place.namespace, "llm", {"status": status | {"conditions": [failure]}})
    reading = asyncio.create_task(place.workload().read())
    await until(lambda: asyncio.sleep(0, len(place.front.seen)), lambda asked: asked > 4)
    place.cluster.frozen.clear()
    assert (await reading).ready == 2


async def test_a_quota_is_no_capacity_for_a_statefulset_either(ordered: KubernetesPlace) -> None:
    """Its status does not move and says nothing: its event does."""
    ordered.cluster.create(
        "resourcequotas", ordered.namespace, {"metadata": {"name": "gpus"}, "spec": {"hard": {"pods": "2"}}}
    )
    await ordered.workload().scale(4, key=KEY)
    assert "statefulset" in await refused(ordered)


async def test_an_old_event_concerns_nobody(ordered: KubernetesPlace) -> None:
    """What did not fit an hour ago may fit now."""
    message = 'pods "llm-2" is forbidden: exceeded quota: gpus, requested: pods=1, used: pods=2, limited: pods=2'
    ordered.cluster.event(ordered.namespace, "StatefulSet", "llm", "FailedCreate", message)
    old = {"lastTimestamp": "2026-01-01T00:00:00Z"}
    ordered.cluster.patch("events", ordered.namespace, "llm.failedcreate", old)
    ordered.cluster.nodes = 2
    await ordered.workload().scale(4, key=KEY)
    assert await until(lambda: ordered.workload().read(), lambda each: each.desired == 4)


async def test_pods_that_are_not_admitted_are_refused(place: KubernetesPlace) -> None:
    """A policy that forbids the pods is no matter of room, and does not pass by waiting."""
    place.cluster.frozen.add("deployments")
    why = 'pods "llm-1" is forbidden: violates PodSecurity "restricted:latest"'
    failure = {"type": "ReplicaFailure", "status": "True", "message": why}
    status = {"observedGeneration": 1, "replicas": 2, "readyReplicas": 1, "conditions": [failure]}
    place.cluster.patch("deployments", place.namespace, "llm", {"status": status})
    with pytest.raises(Refused, match=r"gets no more pods: .*PodSecurity"):
        await place.workload().read()


async def waiting(place: KubernetesPlace) -> str:
    """Scale to more than the nodes hold; returns a pod that fits nowhere."""
    place.cluster.nodes = 3
    await place.workload().scale(4, key=KEY)

    def pending() -> str:
        listed = [each for key, each in list(place.cluster.objects.items()) if key[0] == "pods"]
        names = (each["metadata"]["name"] for each in listed if each["status"].get("phase") == "Pending")
        return next(names, "")

    return str(await until(lambda: asyncio.to_thread(pending), bool, 5))


def at_once(place: KubernetesPlace) -> KubernetesWorkload:
    return KubernetesWorkload(replace(place.handle, options=(*place.handle.options, ("node_wait", "0"))))


async def test_a_pod_that_fits_nowhere_is_no_capacity_after_a_while(place: KubernetesPlace) -> None:
    """A node may come for it at first; where none can be added, `node_wait: 0` says so."""
    pod = await waiting(place)
    assert (await place.workload().read()).desired == 4
    with pytest.raises(NoCapacity, match=rf"pod {pod} fits on no node.*Insufficient nvidia.com/gpu; add nodes"):
        await at_once(place).read()


async def test_an_autoscaler_of_nodes_is_believed(place: KubernetesPlace) -> None:
    """A node that is coming is waited for as long as the step may; one that is not coming is not waited for at all."""
    pod = await waiting(place)
    place.cluster.event(place.namespace, "Pod", pod, "TriggeredScaleUp", "pod triggered scale-up: [{gpu 3->4}]")
    assert (await at_once(place).read()).ready == 3
    await asyncio.to_thread(_next_second)
    place.cluster.event(place.namespace, "Pod", pod, "NotTriggerScaleUp", "1 max node group size reached")
    with pytest.raises(NoCapacity):
        await place.workload().read()


def _next_second() -> None:
    """Events are dated in whole seconds."""
    second = now()
    while now() == second:
        time.sleep(0.01)


async def test_a_shortage_beyond_what_is_needed_to_serve_is_nobodys(place: KubernetesPlace) -> None:
    """Three of four are ready and the endpoint serves with three."""
    await waiting(place)
    options = (*place.handle.options, ("node_wait", "0"))
    serving = KubernetesWorkload(replace(place.handle, serving=3, options=options))
    assert await serving.read() == Capacity(4, 3)


async def test_events_that_may_not_be_read_are_done_without(place: KubernetesPlace) -> None:
    """Their grant is a help, and no condition."""
    await waiting(place)
    reply = says_no(403, "Forbidden", 'User "x" cannot list resource "events" in API group ""')
    place.front.mischief.append(Mischief(lambda _, path, __: "/events" in path, 9, reply))
    with pytest.raises(NoCapacity):
        await at_once(place).read()


# Refusals


@pytest.mark.parametrize(
    ("code", "message", "error", "said"),
    [
        (409, "the object has been modified", Transient, "at the same moment"),
        (403, 'pods "x" is forbidden: exceeded quota: q, requested: a=1, used: a=2, limited: a=2', NoCapacity, "'q'"),
        (403, 'admission webhook "w.example" denied the request: no GPUs on Sundays', Refused, "Sundays"),
        (403, 'x is forbidden: User "system:anonymous" cannot get resource "d"', Unauthenticated, "no credentials"),
        (403, 'x is forbidden: User "ann" cannot patch resource "d" in API group "g"', Forbidden, "the verb 'patch'"),
        (422, 'Scale "llm" is invalid: ' + "x" * 900, Refused, r"is invalid: x+\.\.\."),
        (503, "the server is currently unable to handle the request", Transient, "503"),
    ],
)
async def test_each_refusal_says_what_to_do(
    place: KubernetesPlace, code: int, message: str, error: type[Exception], said: str
) -> None:
    """A Status becomes the error that the caller acts on, in one line that is not too long."""
    refuse(place, code, "Reason", message)
    with pytest.raises(error, match=said) as told:
        await place.workload().scale(3, key=KEY)
    assert type(told.value) is error
    assert len(str(told.value)) < 500


async def test_the_client_neither_retries_nor_sleeps(place: KubernetesPlace) -> None:
    """A Retry-After is not slept through inside of the SDK: who calls decides when to try again."""
    place.trouble(Trouble.THROTTLED, times=9)
    began = time.monotonic()
    with pytest.raises(Throttled):
        await place.workload().scale(3, key=KEY)
    assert time.monotonic() - began < 0.9
    assert [each.method for each in place.front.seen].count("PATCH") == 1


@pytest.mark.parametrize("target", ["llm", "chat/llm", "chat/daemonset/llm", "chat/deployment/", "Chat/deployment/llm"])
def test_a_target_that_is_none_is_told(target: str) -> None:
    """What a topology may write is said."""
    with pytest.raises(BadInput, match="namespace/deployment/name"):
        KubernetesWorkload(Workload("kubernetes", target))


def test_options_that_say_nothing_are_told() -> None:
    """Before anything is asked."""
    with pytest.raises(BadInput, match="node_wait of deployment chat/llm is 'soon'"):
        KubernetesWorkload(Workload("kubernetes", "chat/deployment/llm", options=(("node_wait", "soon"),)))
    with pytest.raises(BadInput, match=r"metrics of deployment chat/llm is '8000'; write http://\{pod\}"):
        KubernetesDrain(Workload("kubernetes", "chat/deployment/llm", options=(("metrics", "8000"),)))
