"""Model servers found in clusters through the real client, over a socket, and the draft that is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.config import findings, parse
from orchestrator.config.drafting import drafted
from orchestrator.core.topology import Mode
from providers.base import Forbidden, NotFound, Transient
from providers.inventory import FoundEndpoint, Inventory
from providers.onprem.kubernetes.inventory import inventory
from wire.kubernetes_lists import Clusters, Listed


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    made = Clusters(tmp_path, "eu", "us")
    yield made
    made.close()


@pytest.fixture
def eu(clusters: Clusters) -> Listed:
    return clusters.at["eu"]


@pytest.fixture
def us(clusters: Clusters) -> Listed:
    return clusters.at["us"]


async def looked(clusters: Clusters, *contexts: str, namespaces: tuple[str, ...] = ()) -> Inventory:
    return await inventory(contexts or ("eu",), kubeconfig=str(clusters.kubeconfig), namespaces=namespaces)


def names(found: Inventory) -> list[str]:
    return [place.name for each in found.services for place in each.endpoints]


def only(found: Inventory) -> FoundEndpoint:
    (service,) = found.services
    (place,) = service.endpoints
    return place


@pytest.mark.parametrize(
    "image",
    [
        "vllm/vllm-openai:v0.9.1",
        "registry.example.com:5000/ai/vllm@sha256:0123",
        "ghcr.io/huggingface/text-generation-inference:3.0",
        "nvcr.io/nvidia/tritonserver:24.08-py3",
        "lmsysorg/sglang:latest",
        "team/my-vllm-gpu:1",
    ],
)
async def test_a_model_server_is_known_by_its_image(clusters: Clusters, eu: Listed, image: str) -> None:
    """Images of vLLM, TGI, Triton and SGLang are found, from any registry."""
    eu.server("llm", image=image)
    assert names(await looked(clusters)) == ["llm"]


@pytest.mark.parametrize("image", ["nginx:1", "vllm.example.com/web:1", "ai/notvllm:1", "web:tgi", "team/tgif:1"])
async def test_what_only_sounds_like_one_is_not_found(clusters: Clusters, eu: Listed, image: str) -> None:
    """A registry's host, a tag, or a longer word makes no model server."""
    eu.server("web", image=image)
    assert names(await looked(clusters)) == []


async def test_a_model_server_is_known_by_its_label(clusters: Clusters, eu: Listed) -> None:
    """A label of app.kubernetes.io that names the server is enough, for a StatefulSet as well."""
    eu.server("llm", image="team/serve:1", kind="statefulsets", labels={"app.kubernetes.io/name": "vllm"})
    place = only(await looked(clusters))
    assert place.workload is not None
    assert (place.workload.target, place.workload.replicas) == ("ai/statefulset/llm", 2)


async def test_one_name_in_two_contexts_is_one_service(clusters: Clusters, eu: Listed, us: Listed) -> None:
    """The same Deployment in two clusters is one service, named by the host that both serve."""
    for listed, region, ip in ((eu, "eu-west-1", "192.0.2.1"), (us, "us-east-1", "198.51.100.1")):
        listed.server("chat", replicas=3)
        listed.service("chat")
        listed.ingress("chat", ["chat.example.com", f"{region}.chat.example.com"], at=ip)
        listed.node(f"aws:///{region}a/i-0123", region)
    found = await looked(clusters, "eu", "us")
    (service,) = found.services
    assert service.name == "chat.example.com"
    assert service.own == ("eu-west-1.chat.example.com", "us-east-1.chat.example.com")
    assert [each.region for each in service.endpoints] == ["aws/eu-west-1", "aws/us-east-1"]
    assert [dict(each.workload.options)["context"] for each in service.endpoints if each.workload] == ["eu", "us"]
    draft = drafted(found, by="failover discover kubernetes")
    topology = parse(draft.text, "draft.yaml")
    (service_,) = topology.services
    assert service_.policy.mode is Mode.OBSERVE
    assert {each.url for each in service_.endpoints} == {f"https://{own}" for own in service.own}
    assert {each.answer.values for each in service_.endpoints if each.answer} == {("192.0.2.1",), ("198.51.100.1",)}
    assert {each.severity for each in findings(topology)} <= {"warning"}


async def test_one_name_in_two_namespaces_is_two_services(clusters: Clusters, eu: Listed, us: Listed) -> None:
    """Where a name alone is not enough, its namespace tells services apart, over clusters too."""
    for listed in (eu, us):
        listed.server("llm", namespace="prod")
        listed.server("llm", namespace="staging")
    found = await looked(clusters, "eu", "us")
    scopes = [tuple(place.scope for place in each.endpoints) for each in found.services]
    assert sorted(scopes) == [("prod", "prod"), ("staging", "staging")]
    assert len({each.id for each in found.services}) == 2
    parse(drafted(found, by="x").text, "draft.yaml")


async def test_a_load_balancer_gives_address_and_port(clusters: Clusters, eu: Listed) -> None:
    """Without an Ingress, a Service of type LoadBalancer is where clients come in."""
    eu.server("llm")
    eu.service("llm", ip="192.0.2.7", port=8000)
    place = only(await looked(clusters))
    assert (place.hosts, place.port, place.scheme, place.health) == (("192.0.2.7",), 8000, "http", "/health")


async def test_other_services_lead_nowhere(clusters: Clusters, eu: Listed) -> None:
    """A Service or Ingress of other pods, or of another namespace, says nothing of this one."""
    eu.server("llm")
    eu.service("web", ip="192.0.2.8")
    eu.service("llm", ip="192.0.2.9", namespace="other")
    place = only(await looked(clusters))
    assert place.hosts == ()
    assert any("no Ingress or LoadBalancer" in note for note in place.notes)
    draft = drafted(await looked(clusters), by="x")
    assert ".invalid  # fill in: its own address" in draft.text
    parse(draft.text, "draft.yaml")


async def test_long_lists_are_read_to_their_end(clusters: Clusters, eu: Listed) -> None:
    """A list that comes in pages is read page by page."""
    eu.most = 3
    for index in range(10):
        eu.server(f"llm-{index}")
    assert len(names(await looked(clusters))) == 10


async def test_looking_writes_nothing(clusters: Clusters, eu: Listed) -> None:
    """Every request is a GET."""
    eu.server("llm")
    await looked(clusters)
    assert set(clusters.asked) == {"GET"}


async def test_nodes_that_may_not_be_listed_are_left_out(clusters: Clusters, eu: Listed) -> None:
    """Without the right to list nodes the region is called by the context, and both are said."""
    eu.denied = {"nodes"}
    eu.server("llm")
    found = await looked(clusters)
    assert only(found).region == "onprem/eu"
    assert any("region is called by the context" in note for note in only(found).notes)
    (said,) = found.left_out
    assert "list nodes" in said
    assert "'list' on 'nodes'" in said


async def test_a_namespace_is_enough_where_not_all_may_be_listed(clusters: Clusters, eu: Listed) -> None:
    """Who may list one namespace only finds what is there."""
    eu.everywhere = False
    eu.server("llm")
    with pytest.raises(Forbidden, match="needs the verb 'list' on 'deployments'"):
        await looked(clusters)
    assert names(await looked(clusters, namespaces=("ai",))) == ["llm"]


async def test_a_cluster_that_is_away_is_left_out(clusters: Clusters, eu: Listed) -> None:
    """What one cluster has is found while another is away; with all of them away, that is said."""
    eu.server("llm")
    clusters.leave("us")
    found = await looked(clusters, "eu", "us")
    assert names(found) == ["llm"]
    assert any("context us" in each for each in found.left_out)
    with pytest.raises(Transient):
        await looked(clusters, "us")


async def test_a_context_that_there_is_not_is_said(clusters: Clusters) -> None:
    """A misspelt context is told with those that there are."""
    with pytest.raises(NotFound, match="one of: eu, us"):
        await looked(clusters, "ue")
