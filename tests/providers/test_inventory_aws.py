"""What is found in an account of AWS, against moto's server and through the real SDK, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config import findings, parse
from orchestrator.config.drafting import drafted
from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Mode
from providers.aws.inventory import _balancer, _heard, inventory
from providers.base import Forbidden, Unauthenticated
from providers.inventory import FoundService, Inventory
from real.inventory_aws import Account, watched
from real.moto import fresh, moto_url

EU, US = "eu-west-1", "us-east-1"


async def looked(*regions: str, endpoint: str = "") -> Inventory:
    return await inventory(regions, endpoint=endpoint or moto_url())


def the(found: Inventory, name: str) -> FoundService:
    """The one service with an endpoint of that name."""
    (one,) = [each for each in found.services if any(place.name == name for place in each.endpoints)]
    return one


async def test_services_behind_a_weighted_name_are_one_service() -> None:
    """Two ECS services of different names, each with a name of its own behind one weighted name, are one service."""
    made = Account()
    first, second = fresh("chat"), fresh("llm")
    eu, us = made.ecs(EU, first, count=3), made.ecs(US, second, count=1)
    zone, domain = made.zone()
    made.alias(zone, f"eu.{domain}", eu)
    made.alias(zone, f"us.{domain}", us)
    made.weighted_cname(zone, f"chat.{domain}", {f"eu.{domain}": 100, f"us.{domain}": 0})
    service = the(await looked(EU, US), first)
    assert service.name == f"chat.{domain}"
    assert service.own == (f"eu.{domain}", f"us.{domain}")
    assert [(each.region, bool(each.share)) for each in service.endpoints] == [
        (f"aws/{EU}", True),
        (f"aws/{US}", False),
    ]
    assert service.steering is not None
    assert dict(service.steering.options)["zone_id"] == zone
    workloads = [each.workload for each in service.endpoints]
    assert [(each.provider, each.replicas) for each in workloads if each] == [("ecs", 3), ("ecs", 1)]


async def test_one_name_in_two_regions_is_one_service() -> None:
    """ECS services of one name, region set aside, are one service whose name nobody has told."""
    made, name = Account(), fresh("embed")
    made.ecs(EU, f"{name}-{EU}", count=2)
    made.ecs(US, f"{name}-{US}", count=2)
    service = the(await looked(EU, US), f"{name}-{EU}")
    assert service.id == name
    assert [each.region for each in service.endpoints] == ["aws/eu-west-1", "aws/us-east-1"]
    assert service.name == ""


async def test_a_tag_makes_one_service_of_a_group_and_an_ecs_service() -> None:
    """What has one tag 'Service' is one service, whatever it is called and whatever runs it."""
    made, tag = Account(), fresh("rank")
    ecs, group = fresh("a"), fresh("b")
    made.ecs(EU, ecs, tags={"Service": tag})
    made.group(US, group, tags={"service": tag})
    service = the(await looked(EU, US), ecs)
    assert [each.name for each in service.endpoints] == [ecs, group]
    assert service.id == tag
    assert [each.workload.provider for each in service.endpoints if each.workload] == ["ecs", "asg"]


async def test_machines_of_a_cluster_are_no_service() -> None:
    """An Auto Scaling group that ECS or EKS scales itself is not found: it is capacity of something else."""
    made, name = Account(), fresh("nodes")
    made.group(EU, name, tags={"AmazonECSManaged": "true"})
    made.group(EU, f"{name}-2", tags={"eks:cluster-name": "prod"})
    found = await looked(EU)
    assert not [place for each in found.services for place in each.endpoints if place.name.startswith(name)]


async def test_services_that_share_a_load_balancer_are_told_apart_by_its_rules() -> None:
    """Behind one load balancer, the name that clients call says which service is meant."""
    made = Account()
    zone, domain = made.zone()
    chat, embed = fresh("chat"), fresh("embed")
    shared = made.balancer(EU)
    made.ecs(EU, chat, behind=shared, host=f"chat.{domain}")
    made.ecs(EU, embed, behind=shared, host=f"embed.{domain}")
    for name in ("chat", "embed"):
        made.alias(zone, f"{name}.{domain}", shared)
    found = await looked(EU)
    assert the(found, chat).name == f"chat.{domain}"
    assert the(found, embed).name == f"embed.{domain}"


async def test_what_shares_a_load_balancer_without_rules_is_not_guessed() -> None:
    """A name that leads to a load balancer of two services belongs to neither, and that is said."""
    made = Account()
    zone, domain = made.zone()
    first, second = fresh("x"), fresh("y")
    shared = made.balancer(EU)
    made.ecs(EU, first, behind=shared)
    made.ecs(EU, second, behind=shared)
    made.alias(zone, f"api.{domain}", shared)
    found = await looked(EU)
    assert the(found, first).name == ""
    assert the(found, first) != the(found, second)
    assert any(f"api.{domain} leads to what several share" in each for each in found.remarks)


async def test_rules_that_may_not_be_read_cost_only_themselves() -> None:
    """Without the right to read listener rules, load balancers are still found, and the right is named."""
    made, name = Account(), fresh("rules")
    zone, domain = made.zone()
    made.alias(zone, f"chat.{domain}", made.ecs(EU, name))
    with watched(denied="DescribeRules") as way:
        found = await looked(EU, endpoint=way.url)
    assert the(found, name).name == f"chat.{domain}"
    assert any("some:DescribeRules" in each for each in found.left_out)


def test_an_alias_is_written_as_aws_writes_it() -> None:
    """'dualstack.' is for application load balancers alone; what answers by IPv6 has both types."""
    one = {"DNSName": "LB-1.elb.amazonaws.com", "CanonicalHostedZoneId": "Z1", "Type": "application"}
    assert _balancer(one).alias == "alias:Z1/dualstack.lb-1.elb.amazonaws.com."
    assert _balancer(one | {"IpAddressType": "dualstack"}).alias == "alias46:Z1/dualstack.lb-1.elb.amazonaws.com."
    assert _balancer(one | {"Type": "network"}).alias == "alias:Z1/lb-1.elb.amazonaws.com."


def test_clients_come_in_by_tls_where_they_can() -> None:
    """The listener with TLS counts, then the usual port; TCP on 443 passes TLS on."""
    plain = {"Protocol": "HTTP", "Port": 80}
    assert _heard([plain, {"Protocol": "HTTPS", "Port": 8443}]) == ("https", 8443)
    assert _heard([plain, {"Protocol": "TCP", "Port": 443}]) == ("https", None)
    assert _heard([plain, {"Protocol": "HTTP", "Port": 8080}]) == ("http", None)


async def test_sagemaker_endpoints_are_found_with_their_variants() -> None:
    """A variant of a SageMaker endpoint is an endpoint whose address a person has to give."""
    made, name = Account(), fresh("voice")
    made.sagemaker(EU, name)
    place = the(await looked(EU), name).endpoints[0]
    assert place.workload is not None
    assert (place.workload.provider, place.workload.target) == ("sagemaker", f"{name}/main")
    assert place.hosts == ()
    assert "signed requests" in place.notes[0]


async def test_many_are_found_page_by_page() -> None:
    """More groups than one page holds, and more services than one call describes, are all found."""
    made, name = Account(), fresh("many")
    for index in range(53):
        made.group("eu-north-1", f"{name}-{index}", tags={"owner": "ai"})
    cluster = made.cluster("eu-north-1")
    for index in range(12):
        made.ecs("eu-north-1", f"{name}-ecs-{index}", cluster=cluster, plain=True)
    found = await looked("eu-north-1")
    places = [place for each in found.services for place in each.endpoints if place.name.startswith(name)]
    assert len(places) == 65


async def test_the_draft_of_it_has_no_mistakes() -> None:
    """The draft parses, watches only, and says of every service what a person has to fill in."""
    made, name = Account(), fresh("draft")
    eu, us = made.ecs(EU, name, count=2, health="/health"), made.ecs(US, name, count=1, health="/health")
    zone, domain = made.zone()
    made.weighted_alias(zone, f"chat.{domain}", ((eu, 90), (us, 10)))
    made.ecs(EU, fresh("lonely"), plain=True)
    draft = drafted(await looked(EU, US), by="failover discover aws")
    topology = parse(draft.text, "draft.yaml")
    assert {each.policy.mode for each in topology.services} == {Mode.OBSERVE}
    assert {each.severity for each in findings(topology)} <= {"warning"}
    (service,) = [each for each in topology.services if each.name == f"chat.{domain}"]
    assert service.steering is not None
    assert service.steering.provider == "route53"
    assert all(each.answer and each.answer.values[0].startswith("alias:") for each in service.endpoints)
    assert {str(each.role) for each in service.endpoints} == {"active"}
    assert {probe.path for each in service.endpoints for probe in each.probes} == {"/health"}
    assert any(".name: the host name that clients call" in each for each in draft.fill_in)


async def test_looking_writes_nothing() -> None:
    """Everything that is sent to AWS lists, describes or gets."""
    with watched() as way:
        await looked(EU, endpoint=way.url)
    assert len(way.asked) > 5
    assert all(each.startswith(("Describe", "List", "GET ")) for each in way.asked), way.asked


async def test_an_api_that_may_not_be_read_is_left_out_and_said() -> None:
    """Without a right for SageMaker the rest is found, and what is missing is named."""
    made, name = Account(), fresh("part")
    made.ecs(EU, name)
    with watched(denied="ListEndpoints") as way:
        found = await looked(EU, endpoint=way.url)
    assert the(found, name)
    (said,) = found.left_out
    assert "list SageMaker endpoints in eu-west-1" in said
    assert "allow some:ListEndpoints to their role" in said
    assert f"# Left out: {said}." in drafted(found, by="failover discover aws").text


async def test_without_any_right_it_says_so() -> None:
    """Where nothing at all may be read, the first refusal is what is said."""
    with watched(denied="*") as way, pytest.raises(Forbidden, match=r"allow some:\w+ to their role"):
        await looked(EU, endpoint=way.url)


async def test_without_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials anywhere: one sentence with the cure, and no call is made."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(Unauthenticated, match="there are no AWS credentials"):
        await inventory((EU,))


async def test_without_a_region_it_asks_for_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No region given and none configured is bad input."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="--region"):
        await inventory(())


async def test_the_region_of_the_configuration_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --region it is the configuration's region that is looked at."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-4")
    found = await looked()
    assert "in ap-southeast-4" in found.looked_for
    assert found.services == ()
