"""Shared fate: control planes that are lost with what a failover leads away from."""

from __future__ import annotations

import pytest

from orchestrator.config import findings, parse
from orchestrator.config.fate import shared_fate
from orchestrator.core.names import Domain, EndpointId, ServiceId
from orchestrator.core.topology import Endpoint, Role, Service, SteeringSpec, Workload
from providers.catalog import Entry, Option, Part, Plane

NAMES = Entry(
    "names",
    Part.STEERING,
    "nowhere:Names",
    "Weighted names.",
    planes=(
        Plane("read, write", "aws/us-east-1", "https://vendor.example/names"),
        Plane("answers", "", "wherever they are asked"),
    ),
)
BALANCER = Entry(
    "balancer",
    Part.STEERING,
    "nowhere:Balancer",
    "Weights of a load balancer.",
    (Option("region", "its region"),),
    planes=(Plane("all", "aws/{region}", "https://vendor.example/balancer"),),
)
MACHINES = Entry(
    "machines",
    Part.WORKLOAD,
    "nowhere:Machines",
    "Machines.",
    planes=(Plane("scale", "aws/{region}", "https://vendor.example/machines"),),
)
ENTRIES = (NAMES, BALANCER, MACHINES)


def endpoint(name: str, region: str, role: Role = Role.STANDBY, workload: Workload | None = None) -> Endpoint:
    return Endpoint(EndpointId(name), f"https://{name}.example", Domain(region), role, workload=workload)


def told(*endpoints: Endpoint, steering: str = "", **options: str) -> list[str]:
    """Path, text and cure of each finding."""
    spec = SteeringSpec(steering, "chat.example.", "", 0, "", options=tuple(options.items())) if steering else None
    service = Service(ServiceId("chat"), "chat.example", endpoints, spec)
    found = list(shared_fate(service, "chat", ENTRIES))
    assert {each.severity for each in found} <= {"warning"}
    return [f"{each.path}: {each.text}; {each.cure}" for each in found]


US = endpoint("us", "aws/us-east-1/a", Role.ACTIVE)
EU = endpoint("eu", "aws/eu-west-1")
ON = endpoint("on", "onprem/fra1")


def test_a_steering_that_is_lost_with_what_it_leads_away_from() -> None:
    """The names' control plane stands where the active endpoint does: said once, with calls, domain, page and cure."""
    assert told(US, endpoint("us2", "aws/us-east-1/b", Role.ACTIVE), EU, ON, steering="names") == [
        (
            "chat.steering: moving 'chat' away from aws/us-east-1 needs read, write of names, whose control plane "
            "lives in aws/us-east-1 (https://vendor.example/names); "
            "steer by one whose control plane stands elsewhere: 'failover providers' tells where each stands"
        )
    ]


@pytest.mark.parametrize(
    ("endpoints", "steering", "options"),
    [
        ((endpoint("eu", "aws/eu-west-1", Role.ACTIVE), ON), "names", {}),
        ((US, ON), "balancer", {"region": "eu-west-1"}),
        ((endpoint("us", "gcp/us-east-1", Role.ACTIVE), ON), "names", {}),
        ((US, endpoint("us2", "aws/us-east-1/b")), "names", {}),
        ((US, EU), "balancer", {}),
        ((EU, ON), "names", {}),
        ((US, ON), "of-nobody", {}),
        ((US, ON), "", {}),
    ],
    ids=[
        "elsewhere",
        "by its option elsewhere",
        "another cloud",
        "nowhere to go",
        "nowhere to go but the same cloud",
        "nobody active",
        "unknown provider",
        "no steering",
    ],
)
def test_a_steering_that_is_there_when_it_is_needed(
    endpoints: tuple[Endpoint, ...], steering: str, options: dict[str, str]
) -> None:
    """Nothing is said where the plane survives, and where no endpoint would."""
    assert told(*endpoints, steering=steering, **options) == []


def test_a_plane_of_a_whole_cloud_is_lost_with_the_cloud() -> None:
    """A control plane of which only the cloud is known shares the cloud's fate, where something lies outside it."""
    (said,) = told(US, EU, ON, steering="balancer")
    assert said.startswith(
        "chat.steering: moving 'chat' away from aws needs balancer, whose control plane lives in aws ("
    )


def test_a_plane_in_a_zone_is_lost_with_the_region() -> None:
    """A control plane inside the active endpoint's region goes with it."""
    (said,) = told(US, EU, steering="balancer", region="us-east-1/a")
    assert "away from aws/us-east-1 needs balancer, whose control plane lives in aws/us-east-1/a (" in said


@pytest.mark.parametrize(
    "options", [{"fence_region": "us-east-1"}, {"region": "us-east-1"}, {"fence_region": "us-east-1", "region": "x"}]
)
def test_a_fence_that_is_lost_with_what_it_guards(options: dict[str, str]) -> None:
    """A fence in a bucket beside the active endpoint cannot be moved when it has to be."""
    assert told(US, ON, steering="of-nobody", fence="s3://fences/chat", **options) == [
        (
            "chat.steering.options.fence: moving 'chat' away from aws/us-east-1 needs the fence at s3://fences/chat, "
            "which lives in aws/us-east-1; keep it where no active endpoint stands"
        )
    ]


def test_a_fence_of_which_only_the_cloud_is_known() -> None:
    """It counts as lost with the cloud, until its region is said."""
    active = endpoint("we", "azure/westeurope", Role.ACTIVE)
    for fence in ("azblob://fences/chat/chat.json", "/subscriptions/1/resourceGroups/g/dnsZones/z/TXT/f"):
        assert told(active, ON, steering="of-nobody", fence=fence, region="westeurope") == [
            (
                f"chat.steering.options.fence: moving 'chat' away from azure needs the fence at {fence}, which lives "
                "in azure; keep it where no active endpoint stands, or say by fence_region where it does"
            )
        ]
        assert told(active, ON, steering="of-nobody", fence=fence, fence_region="northeurope") == []


@pytest.mark.parametrize(
    "options",
    [
        {"fence": "s3://fences/chat", "fence_region": "eu-west-1", "region": "us-east-1"},
        {"fence": "gs://fences/chat"},
        {"fence": "file:/var/lib/failover/chat.json"},
        {"fence": "https://fences.example/chat"},
    ],
    ids=["elsewhere", "another cloud", "a host", "a server"],
)
def test_a_fence_that_is_kept_elsewhere(options: dict[str, str]) -> None:
    """Nothing is said where it survives, or where nobody can say."""
    assert told(US, ON, steering="of-nobody", **options) == []


def scaled(name: str, region: str, controlled: str) -> Endpoint:
    return endpoint(name, region, workload=Workload("machines", name, options=(("region", controlled),)))


def test_a_standby_whose_capacity_is_controlled_from_what_is_lost() -> None:
    """Standbys that are promoted by a plane in the active region are named in one finding."""
    standbys = (scaled("ap", "aws/ap-south-1", "us-east-1"), scaled("eu", "aws/eu-west-1", "us-east-1"))
    assert told(US, *standbys) == [
        (
            "chat.endpoints[ap].workload: promoting 'ap', 'eu' after the loss of aws/us-east-1 needs scale of "
            "machines, whose control plane lives in aws/us-east-1 (https://vendor.example/machines); "
            "control its capacity by what has its control plane elsewhere, or accept it"
        )
    ]


@pytest.mark.parametrize(
    "standby",
    [
        scaled("eu", "aws/eu-west-1", "eu-west-1"),
        scaled("us2", "aws/us-east-1/b", "us-east-1"),
        endpoint("eu", "aws/eu-west-1", workload=Workload("of-nobody", "eu")),
    ],
    ids=["by its own region", "lost with the active one", "unknown provider"],
)
def test_a_standby_that_can_be_promoted_or_is_lost_anyway(standby: Endpoint) -> None:
    """Nothing is said of capacity that is controlled elsewhere, and of a standby that is lost, too."""
    assert told(US, standby) == []


def test_an_endpoint_that_serves_already_needs_no_promotion() -> None:
    """Of several active endpoints none is scaled before it takes traffic."""
    controlled = Workload("machines", "eu", options=(("region", "us-east-1"),))
    assert told(US, endpoint("eu", "aws/eu-west-1", Role.ACTIVE, controlled)) == []


def test_shared_fate_is_among_the_findings(base: str) -> None:
    """A topology whose steering shares the fate of its active endpoint is told so with everything else."""
    plane = Plane("all", "aws/us-east-1", "https://vendor.example/names")
    known = (Entry("rfc2136", Part.STEERING, "nowhere:Names", "Names.", planes=(plane,)),)
    said = [each for each in findings(parse(base, "x"), providers=known) if "control plane" in each.text]
    assert [(each.severity, each.path) for each in said] == [("warning", "services[chat].steering")]
