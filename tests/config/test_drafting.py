"""Drafts of topologies from inventories: they parse whatever was found, and nothing breaks out of its place."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config import findings, parse
from orchestrator.config.drafting import drafted
from orchestrator.core.topology import Answer, Mode, Role
from providers.belonging import services_of
from providers.inventory import (
    FoundEndpoint,
    FoundSteering,
    FoundTarget,
    FoundWorkload,
    Inventory,
    tagged,
)
from providers.sweep import Sweep


def ecs(region: str, name: str = "chat", *, replicas: int = 2, tag: str = "", scope: str = "prod") -> FoundEndpoint:
    return FoundEndpoint(
        name,
        f"aws/{region}",
        f"ECS service {scope}/{name} in {region}",
        FoundWorkload("ecs", f"{scope}/{name}", (("region", region),), replicas),
        hosts=(f"{name}-{region}.elb.amazonaws.com",),
        answer=Answer("target", (f"alias:Z1/dualstack.{name}-{region}.elb.amazonaws.com.",)),
        tag=tag,
        scope=scope,
    )


def to(*hosts: str, name: str = "chat.example.com", weights: tuple[int, ...] = ()) -> FoundSteering:
    given_ = weights or (1,) * len(hosts)
    targets = tuple(
        FoundTarget(Answer("cname", (f"{host}.",)), (host,), weight) for host, weight in zip(hosts, given_, strict=True)
    )
    return FoundSteering(name, "route53", f"the records of {name}", (("zone_id", "Z9"),), targets, 30)


def looked(endpoints: tuple[FoundEndpoint, ...], steerings: tuple[FoundSteering, ...] = ()) -> Inventory:
    return Sweep().ended(endpoints, steerings, "anything")


def test_who_carries_traffic_is_active() -> None:
    """By the name's weights an endpoint is active or standby; a standby is to come up to the size of the active."""
    eu, us = ecs("eu-west-1", replicas=6), ecs("us-east-1", replicas=1)
    draft = drafted(looked((eu, us), (to(eu.hosts[0], us.hosts[0], weights=(0, 9)),)), by="x")
    (service,) = parse(draft.text, "draft.yaml").services
    roles = {str(each.region): each.role for each in service.endpoints}
    assert roles == {"aws/eu-west-1": Role.STANDBY, "aws/us-east-1": Role.ACTIVE}
    sizes = {
        str(each.region): (each.workload.serving, each.workload.standby) for each in service.endpoints if each.workload
    }
    assert sizes == {"aws/eu-west-1": (6, 6), "aws/us-east-1": (1, 1)}


def test_an_endpoint_that_the_name_does_not_know_gets_an_answer_beside_the_others() -> None:
    """A cname cannot stand beside an alias: a region that the name does not lead to yet gets a cname as well."""
    eu, us = ecs("eu-west-1"), ecs("us-east-1")
    (service,), _ = services_of((eu, us), (to(eu.hosts[0]),))
    assert [each.answer.kind for each in service.endpoints if each.answer] == ["cname", "cname"]


def test_a_name_above_the_others_is_what_clients_call() -> None:
    """Of one simple name for each region, the one above the others is the service's; equals are not chosen among."""
    eu, us = ecs("eu-west-1"), ecs("us-east-1")
    above = (to(eu.hosts[0]), to(us.hosts[0], name="us.chat.example.com"))
    (service,), _ = services_of((eu, us), above)
    assert (service.name, service.own) == ("chat.example.com", ("", "us.chat.example.com"))
    equal = (to(eu.hosts[0], name="eu.example.com"), to(us.hosts[0], name="us.example.com"))
    (service,), _ = services_of((eu, us), equal)
    assert (service.name, service.own) == ("", ("eu.example.com", "us.example.com"))


def test_a_circle_of_names_ends() -> None:
    """Names that lead to each other lead nowhere."""
    circle = (to("b.example.com", name="a.example.com"), to("a.example.com", name="b.example.com"))
    (service,), _ = services_of((ecs("eu-west-1"),), circle)
    assert service.steering is None


def test_names_without_their_region() -> None:
    """'chat-eu-west-1' and 'us-east-1-chat' are one service; 'chat' and 'chat2' are two."""
    one, _ = services_of((ecs("eu-west-1", "chat-eu-west-1"), ecs("us-east-1", "us-east-1-chat")), ())
    two, _ = services_of((ecs("eu-west-1", "chat"), ecs("us-east-1", "chat2")), ())
    assert [len(each.endpoints) for each in one] == [2]
    assert [len(each.endpoints) for each in two] == [1, 1]


def test_the_tag_for_it_wins() -> None:
    """'failover:service' comes before 'Service'; case and separators of a key do not count."""
    assert tagged((("Service", "a"), ("failover:service", "b"))) == "b"
    assert tagged((("FAILOVER/SERVICE", "c"),)) == "c"
    assert tagged((("owner", "d"),)) == ""


def test_everything_unknown_is_in_the_list() -> None:
    """Each 'fill in' of the file is told at the end, and the other way round."""
    bare = FoundEndpoint("x", "", "something without an address")
    draft = drafted(looked((bare,)), by="x")
    told = {each.partition(":")[0] for each in draft.fill_in}
    assert {"vantages", "services[x].name", "services[x].probes", "services[x].steering"} <= told
    assert any(each.endswith(".url") for each in told)
    assert any(each.endswith(".region") for each in told)


WORLDLY = st.text(max_size=30)
HOSTS = st.sampled_from(["", "lb.example.net", "192.0.2.1", "2001:db8::1", "x_y.example.com"])
ENDPOINTS = st.builds(
    FoundEndpoint,
    name=WORLDLY,
    region=st.sampled_from(["aws/eu-west-1", "gcp/us-central1", "", "Not A Region", "onprem/here"]),
    says=WORLDLY,
    workload=st.none()
    | st.builds(
        FoundWorkload,
        st.just("ecs"),
        st.text(min_size=1, max_size=20).filter(str.isprintable),
        st.just((("region", "eu-west-1"),)),
        st.integers(0, 50),
    ),
    hosts=st.tuples() | st.tuples(HOSTS.filter(bool)),
    names=st.tuples() | st.tuples(st.sampled_from(["chat.example.com", "*.example.com"])),
    health=st.sampled_from(["", "/", "/health", "no path"]),
    tag=st.sampled_from(["", "chat", "Größe", "日本"]),
    scope=WORLDLY,
    notes=st.tuples(WORLDLY),
)
STEERINGS = st.builds(
    to,
    HOSTS.filter(lambda each: bool(each) and each[0].isalpha()),
    name=st.sampled_from(["chat.example.com", "lb.example.net"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ENDPOINTS, min_size=1, max_size=6), st.lists(STEERINGS, max_size=3), st.lists(WORLDLY, max_size=2))
def test_whatever_is_found_the_draft_parses(
    endpoints: list[FoundEndpoint], steerings: list[FoundSteering], said: list[str]
) -> None:
    """No name, tag or note of the world makes a draft that does not parse, or one that does more than watch."""
    sweep = Sweep()
    sweep.left_out += said
    topology = parse(drafted(sweep.ended(endpoints, steerings, "x"), by="x").text, "draft.yaml")
    assert sum(len(each.endpoints) for each in topology.services) >= 1
    assert {each.policy.mode for each in topology.services} == {Mode.OBSERVE}
    findings(topology)
