"""The doctor's look at a steering at AWS: what is wrong is a finding with its cure, and nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator.core.topology import SteeringSpec
from providers.aws.doctor import examine
from providers.dns.doctor import Finding
from real.place import Trouble, change
from real.route53_places import NAME, REPLIES, ArcPlace, Route53Place, SwitchPlace
from real.saboteur import Mischief
from wire.route53 import RecordSet, Route53, simple

WATCHING = {
    "Type": "HTTPS",
    "FullyQualifiedDomainName": "standby.s3.us-west-2.amazonaws.com",
    "ResourcePath": "/primary-off",
    "RequestInterval": "10",
    "FailureThreshold": "3",
    "Inverted": "true",
}


@pytest.fixture
async def place() -> AsyncIterator[Route53Place]:
    made = Route53Place()
    await made.open()
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
async def switch() -> AsyncIterator[SwitchPlace]:
    made = SwitchPlace()
    await made.open()
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
async def zones() -> AsyncIterator[Route53]:
    made = Route53().start()
    yield made
    await asyncio.to_thread(made.close)


async def look(spec: SteeringSpec) -> dict[str, Finding]:
    return {finding.check: finding for finding in await examine(spec)}


def pair(health_check: str = "check-1") -> tuple[RecordSet, RecordSet]:
    """The failover records of the name."""
    primary = {**simple(NAME, "A", "192.0.2.1"), "SetIdentifier": "eu", "Failover": "PRIMARY"}
    secondary = {**simple(NAME, "A", "198.51.100.1"), "SetIdentifier": "us", "Failover": "SECONDARY"}
    return {**primary, "HealthCheckId": health_check} if health_check else primary, secondary


def watched(switch: SwitchPlace, zones: Route53, *sets: RecordSet) -> SteeringSpec:
    """The switch's spec with the hosted zone that has these sets."""
    given = dict(switch.spec.options) | {"zone_id": zones.zone("example.", *sets).id, "zone_endpoint": zones.url}
    return replace(switch.spec, options=tuple(sorted(given.items())))


async def test_a_name_in_a_zone_has_no_fault_and_is_left_as_it_was(place: Route53Place) -> None:
    """Zone, routing and the right to write both kinds of sets: all found, nothing changed."""
    before = dict(place.zone.sets)
    found = await look(place.spec)
    assert {check for check, finding in found.items() if finding.ok is False} == set()
    assert (found["zone"].ok, found["grant"].ok, found["test-write"].ok) == (True, True, True)
    assert "adopt" in found["fence"].cure
    assert "ns-1.awsdns-01.com" in found["servers"].cure
    assert (place.zone.sets, place.effects) == (before, 0)
    await place.steering().write(change(place, await place.steering().read(), 100, 0, run="adopt"))
    assert (await look(place.spec))["fence"].ok is True


async def test_a_missing_right_to_write_is_found_without_writing(place: Route53Place) -> None:
    """The trial is refused by name of the permission, as the write itself would be."""
    place.server.mischief.append(Mischief(lambda method, *_: method == "POST", 9, REPLIES[Trouble.FORBIDDEN]))
    found = await look(place.spec)
    assert (found["grant"].ok, found["test-write"].ok) == (False, False)
    assert "route53:ChangeResourceRecordSets" in found["grant"].text


async def test_health_checks_beside_the_weights_are_told(place: Route53Place) -> None:
    """Route 53 moves traffic by them, whatever the weights say."""
    place.zone.put({**place.zone.at(NAME)[0], "HealthCheckId": "check-7"})
    assert "check-7" in (await look(place.spec))["health-checks"].text


async def test_a_zone_of_another_name_and_one_that_is_not_there(place: Route53Place) -> None:
    """Both are told with what to mend."""
    elsewhere = place.server.zone("elsewhere.")
    found = await look(place.at(elsewhere.id))
    assert (found["zone"].ok, "not in it" in found["zone"].text) == (False, True)
    assert "ZNOWHERE" in (await look(place.at("ZNOWHERE")))["api"].text


async def test_a_steering_that_cannot_be_made_says_why() -> None:
    """A missing option is the first finding, and the only one."""
    (only,) = await examine(SteeringSpec("route53", NAME, "", 30, ""))
    assert (only.check, only.ok) == ("spec", False)


async def test_an_endpoint_of_the_cluster_that_is_away_is_named() -> None:
    """One of five is away: the steering works, and the doctor says which one does not."""
    arc = ArcPlace()
    await arc.open()
    try:
        arc.cluster.endpoints[2].leave()
        found = await look(arc.spec)
        assert {check for check, finding in found.items() if finding.ok is False} == {"endpoint eu-west-1"}
        assert found["endpoint us-east-1"].ok
        few = dict(arc.spec.options) | {"endpoints": " ".join(arc.cluster.option.split()[:2])}
        assert (await look(replace(arc.spec, options=tuple(few.items()))))["endpoints"].ok is None
    finally:
        await asyncio.to_thread(arc.close)


async def test_a_switch_that_its_health_check_watches_is_well(switch: SwitchPlace, zones: Route53) -> None:
    """Failover records, an inverted check of the object: and how long clients take to move."""
    zones.health_checks["check-1"] = WATCHING
    found = await look(watched(switch, zones, *pair()))
    assert (found["records"].ok, found["health-check"].ok) == (True, True)
    assert "about 30 s after the switch" in found["health-check"].text
    assert switch.objects == {}
    assert (await look(switch.spec))["records"].ok is None


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"Inverted": "false"}, "not inverted"),
        ({"ResourcePath": "/primary-of"}, "which is not s3://standby/primary-off"),
        ({"FullyQualifiedDomainName": "other.s3.amazonaws.com"}, "which is not s3://standby/primary-off"),
        ({"Type": "TCP"}, "must fetch by HTTPS"),
        ({"Disabled": "true"}, "it is disabled"),
    ],
)
async def test_a_health_check_that_would_move_nobody_is_found(
    switch: SwitchPlace, zones: Route53, config: dict[str, str], told: str
) -> None:
    """Each of these is found on a quiet day, not in the night when the switch is thrown."""
    zones.health_checks["check-1"] = WATCHING | config
    finding = (await look(watched(switch, zones, *pair())))["health-check"]
    assert (finding.ok, told in finding.text) == (False, True), finding


async def test_records_without_a_health_check_or_without_a_pair_are_found(switch: SwitchPlace, zones: Route53) -> None:
    """The PRIMARY must have a check that exists, and there must be a SECONDARY."""
    assert "has no health check" in (await look(watched(switch, zones, *pair(""))))["health-check"].text
    assert "NoSuchHealthCheck" in (await look(watched(switch, zones, *pair("gone"))))["health-check"].text
    assert (await look(watched(switch, zones, pair()[1])))["records"].ok is False


async def test_a_path_style_address_is_the_switch_s_too(switch: SwitchPlace, zones: Route53) -> None:
    """S3 gives an object two addresses."""
    by_path = {"FullyQualifiedDomainName": "s3.us-west-2.amazonaws.com", "ResourcePath": "/standby/primary-off"}
    zones.health_checks["check-1"] = WATCHING | by_path
    assert (await look(watched(switch, zones, *pair())))["health-check"].ok is True
