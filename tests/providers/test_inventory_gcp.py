"""What is found in a project of Google Cloud, over HTTP to a server that lists, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.config import findings, parse
from orchestrator.config.drafting import drafted
from providers.base import Forbidden
from providers.gcp.inventory import inventory
from providers.inventory import Inventory
from wire.google_lists import Project
from wire.google_rest import Json

EU, US = "europe-west1", "us-central1"


@pytest.fixture
def project() -> Iterator[Project]:
    made = Project("ai", EU, US, "asia-east1")
    yield made
    made.leave()


async def looked(project: Project, *regions: str) -> Inventory:
    return await inventory("ai", regions, endpoint=project.url)


def weighted(name: str, *items: tuple[str, float], kind: str = "A") -> Json:
    wrr = {"items": [{"weight": weight, "rrdatas": [value]} for value, weight in items]}
    return {"name": name, "type": kind, "ttl": 30, "routingPolicy": {"wrr": wrr}}


async def test_one_name_in_several_regions_is_one_service(project: Project) -> None:
    """A Cloud Run service of one name in two regions is one service, each at its own address."""
    hosts = [project.run(region, "chat", least=2) for region in (EU, US)]
    project.run("asia-east1", "other")
    found = await looked(project)
    chat, other = found.services
    assert [each.region for each in chat.endpoints] == [f"gcp/{EU}", f"gcp/{US}"]
    assert list(chat.own) == hosts
    assert other.id == "other"
    topology = parse(drafted(found, by="failover discover gcp").text, "draft.yaml")
    assert {each.severity for each in findings(topology)} <= {"warning"}
    assert {each.url for each in topology.services[0].endpoints} == {f"https://{host}" for host in hosts}


async def test_only_regions_that_were_asked_for(project: Project) -> None:
    """With a region given, no other is looked at."""
    project.run(EU, "chat")
    project.run(US, "chat")
    (service,) = (await looked(project, US)).services
    assert [each.region for each in service.endpoints] == [f"gcp/{US}"]
    assert not [path for _, path in project.seen if EU in path or path.endswith("/locations")]


async def test_lists_are_read_to_their_end(project: Project) -> None:
    """Regions, services and record sets that come in pages are all read."""
    for index in range(5):
        project.run("asia-east1", f"s{index}")
    project.zones["example"] = [
        *({"name": f"n{index}.example.com.", "type": "A", "ttl": 60, "rrdatas": ["192.0.2.1"]} for index in range(5)),
        weighted("chat.example.com.", ("192.0.2.1", 1.0), ("198.51.100.1", 0.0)),
    ]
    found = await looked(project)
    assert {each.id for each in found.services} == {"chat", *(f"s{index}" for index in range(5))}


async def test_a_weighted_name_is_a_service_of_its_own(project: Project) -> None:
    """A weighted name behind which nothing was found is a draft with its answers as endpoints."""
    project.zones["example"] = [weighted("chat.example.com.", ("192.0.2.1", 0.9), ("198.51.100.1", 0.1))]
    draft = drafted(await looked(project), by="failover discover gcp")
    topology = parse(draft.text, "draft.yaml")
    (service,) = topology.services
    assert service.name == "chat.example.com"
    assert service.steering is not None
    assert dict(service.steering.options)["managed_zone"] == "example"
    assert sorted(each.answer.values for each in service.endpoints if each.answer) == [
        ("192.0.2.1",),
        ("198.51.100.1",),
    ]
    assert any(".region: cloud/region where it stands" in each for each in draft.fill_in)


async def test_a_weighted_name_joins_what_it_leads_to(project: Project) -> None:
    """Services of different names behind one weighted cname are one service, steered by Cloud DNS."""
    eu, us = project.run(EU, "chat-blue"), project.run(US, "llm")
    name = weighted("chat.example.com.", (f"{eu}.", 1.0), (f"{us}.", 0.0), kind="CNAME")
    project.zones["example"] = [name]
    found = await looked(project)
    (service,) = found.services
    assert service.name == "chat.example.com"
    assert [bool(each.share) for each in service.endpoints] == [True, False]
    parse(drafted(found, by="failover discover gcp").text, "draft.yaml")


async def test_what_may_not_be_read_is_left_out(project: Project) -> None:
    """Without the right to read record sets the services are found, and the permission is named."""
    project.run(EU, "chat")
    project.zones["example"] = []
    project.denied = {"rrsets"}
    found = await looked(project)
    assert [each.id for each in found.services] == ["chat"]
    (said,) = found.left_out
    assert "dns.resourceRecordSets.list" in said
    project.denied |= {"services", "locations", "managedZones"}
    with pytest.raises(Forbidden, match=r"run\.locations\.list"):
        await looked(project)


async def test_looking_writes_nothing(project: Project) -> None:
    """Every request is a GET, and none carries credentials over plain http."""
    project.run(EU, "chat")
    await looked(project)
    assert {method for method, _ in project.seen} == {"GET"}
    assert set(project.authorizations) == {None}
