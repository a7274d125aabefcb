"""What is special to Route 53: exact batches, identifiers, types, aliases, the way of a change to the name servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Routing, SteeringChange, encode, next_lineage, shares_in, shares_of
from orchestrator.core.topology import Answer, SteeringSpec
from providers.aws.route53 import Route53Steering
from providers.aws.route53_sets import changes, fence_set, replaced, weighed
from providers.aws.session import client
from providers.base import ChangedOutside, NotFound, Refused, StaleGeneration, Throttled
from real.bind import Bind
from real.moto import fresh, moto_url
from real.place import Trouble
from real.route53_places import NAME, Route53Place
from real.saboteur import Mischief
from wire.route53 import RecordSet, Zone, error, simple, weighted

EU, US = "192.0.2.1", "198.51.100.1"
AT = f"_failover.{NAME}"


@pytest.fixture
async def place() -> AsyncIterator[Route53Place]:
    made = Route53Place()
    await made.open()
    yield made
    await asyncio.to_thread(made.close)


def stand(place: Route53Place, *sets: RecordSet) -> Route53Steering:
    """The steering of a name that has these sets and no others."""
    for kind in ("A", "AAAA", "CNAME"):
        place.zone.remove(NAME, kind)
    place.zone.put(*sets)
    return Route53Steering(place.spec)


def turned(routing: Routing, shares: dict[str, int], run: str = "run-1") -> SteeringChange:
    """The change from *routing* to these percents by target."""
    given_weights = tuple(sorted((EndpointId(f"e{index}"), share) for index, share in enumerate(shares.values())))
    answer = shares_of(tuple(shares.items()))
    lineage = next_lineage(routing.fence)
    return SteeringChange(routing.generation, routing.answer, given_weights, answer, run, "steer", lineage)


async def moved(steering: Route53Steering, shares: dict[str, int], run: str = "run-1") -> Routing:
    """Read, and write these percents."""
    return await steering.write(turned(await steering.read(), shares, run))


def rows(zone: Zone) -> list[tuple[str, str, str, int]]:
    """``(type, identifier, first value, weight)`` of the name's sets."""
    found = []
    for each in zone.at(NAME):
        alias = each.get("AliasTarget")
        value = alias["DNSName"] if alias else each["ResourceRecords"][0]["Value"]
        found.append((each["Type"], each.get("SetIdentifier", ""), value, each.get("Weight", -1)))
    return found


async def test_a_write_is_one_read_and_one_batch(place: Route53Place) -> None:
    """The account's requests are few, so a write takes two of them and no more."""
    steering = stand(place, simple(NAME, "A", EU))
    change = turned(await steering.read(), {EU: 100})
    place.server.seen.clear()
    await steering.write(change)
    assert [each.method for each in place.server.seen] == ["GET", "POST"]


async def test_a_simple_set_becomes_a_weighted_one_that_says_the_same(place: Route53Place) -> None:
    """Adopting replaces the simple sets of both types in the one batch that writes the fence."""
    steering = stand(place, simple(NAME, "A", EU), simple(NAME, "AAAA", "2001:db8::1"))
    await moved(steering, {f"{EU} 2001:db8::1": 100})
    (a, a_id, a_value, a_weight), (aaaa, aaaa_id, aaaa_value, aaaa_weight) = rows(place.zone)
    assert (a, a_value, a_weight, aaaa, aaaa_value, aaaa_weight) == ("A", EU, 100, "AAAA", "2001:db8::1", 100)
    assert a_id == aaaa_id
    assert a_id.startswith("failover-")
    assert place.effects == 1


async def test_identifiers_and_health_checks_that_were_there_are_kept(place: Route53Place) -> None:
    """What Terraform named stays named so, and a target without a share stays at weight 0."""
    eu = {**weighted(NAME, "A", EU, weight=200, identifier="eu-west"), "HealthCheckId": "check-1"}
    steering = stand(place, eu, weighted(NAME, "A", US, weight=0, identifier="us-east"))
    assert (await steering.read()).answer == Answer("shares", (f"{EU}=100",))
    await moved(steering, {EU: 100})
    await moved(steering, {US: 100})
    assert rows(place.zone) == [("A", "eu-west", EU, 0), ("A", "us-east", US, 100)]
    assert place.zone.at(NAME)[0]["HealthCheckId"] == "check-1"


async def test_a_set_that_nobody_named_gets_nothing(place: Route53Place) -> None:
    """A third endpoint's set, which the plan does not know, is turned to 0 and not deleted."""
    steering = stand(
        place,
        weighted(NAME, "A", EU, weight=1, identifier="eu"),
        weighted(NAME, "A", "203.0.113.7", weight=1, identifier="asia"),
    )
    await moved(steering, {US: 100})
    assert [(identifier, weight) for _, identifier, _, weight in rows(place.zone)][:2] == [("asia", 0), ("eu", 0)]
    assert (await steering.read()).answer == Answer("shares", (f"{US}=100",))


async def test_sets_of_two_endpoints_under_one_identifier_are_parted(place: Route53Place) -> None:
    """One endpoint's A and another's AAAA were given one identifier by mistake: neither loses its share."""
    steering = stand(
        place,
        weighted(NAME, "A", EU, weight=1, identifier="mixed"),
        weighted(NAME, "AAAA", "2001:db8::2", weight=1, identifier="mixed"),
    )
    wanted = {f"{EU} 2001:db8::1": 50, f"{US} 2001:db8::2": 50}
    written = await moved(steering, wanted)
    assert written.answer == shares_of(tuple(wanted.items()))
    assert await steering.read() == written


async def test_weights_that_are_all_zero_are_read_as_what_clients_get(place: Route53Place) -> None:
    """Route 53 answers all alike where all weights are 0: nobody is told that the name is empty."""
    steering = stand(
        place,
        weighted(NAME, "A", EU, weight=0, identifier="eu"),
        weighted(NAME, "A", US, weight=0, identifier="us"),
    )
    assert (await steering.read()).answer == Answer("shares", (f"{EU}=50", f"{US}=50"))


async def test_a_type_that_the_new_target_lacks_is_deleted_and_comes_back(place: Route53Place) -> None:
    """AAAA sets of weight 0 alone would be answered by the old endpoint: they go with the traffic."""
    both = f"{EU} 2001:db8::1"
    steering = stand(place, simple(NAME, "A", EU), simple(NAME, "AAAA", "2001:db8::1"))
    await moved(steering, {both: 100})
    await moved(steering, {US: 100})
    assert {(kind, value, weight) for kind, _, value, weight in rows(place.zone)} == {("A", EU, 0), ("A", US, 100)}
    assert (await steering.read()).answer == Answer("shares", (f"{US}=100",))
    await moved(steering, {both: 100})
    assert (await steering.read()).answer == Answer("shares", (f"{both}=100",))


async def test_targets_of_different_types_share_no_traffic(place: Route53Place) -> None:
    """A part of the traffic for a target without AAAA would send all IPv6 clients to the other: it is refused."""
    steering = stand(place, simple(NAME, "A", EU), simple(NAME, "AAAA", "2001:db8::1"))
    with pytest.raises(Refused, match=r"different types \(A, A\+AAAA\)"):
        await moved(steering, {f"{EU} 2001:db8::1": 50, US: 50})
    assert place.effects == 0


async def test_cnames_are_weighed_and_follow_addresses(place: Route53Place) -> None:
    """Host names share traffic, and a move from addresses to a host name is one batch, too."""
    steering = stand(place, simple(NAME, "A", EU))
    await moved(steering, {"eu.edge.example.net.": 100})
    await moved(steering, {"eu.edge.example.net.": 95, "us.edge.example.net.": 5})
    assert sorted((kind, value, weight) for kind, _, value, weight in rows(place.zone)) == [
        ("CNAME", "eu.edge.example.net.", 95),
        ("CNAME", "us.edge.example.net.", 5),
    ]


async def test_an_alias_is_adopted_and_moved(place: Route53Place) -> None:
    """Aliases carry no time to live, and whether Route 53 looks at their health stays as it was."""
    target = {"HostedZoneId": "Z35SXDOTRQ7X7K", "DNSName": "lb-eu.example.net.", "EvaluateTargetHealth": True}
    steering = stand(place, {"Name": NAME, "Type": "A", "SetIdentifier": "eu", "Weight": 9, "AliasTarget": target})
    eu, us = "alias:Z35SXDOTRQ7X7K/lb-eu.example.net.", "alias:Z35SXDOTRQ7X7K/lb-us.example.net."
    assert (await steering.read()).answer == Answer("shares", (f"{eu}=100",))
    await moved(steering, {eu: 100})
    await moved(steering, {eu: 40, us: 60})
    by_name = {each["AliasTarget"]["DNSName"]: each for each in place.zone.at(NAME)}
    assert by_name["lb-eu.example.net."]["AliasTarget"]["EvaluateTargetHealth"] is True
    assert by_name["lb-us.example.net."]["AliasTarget"]["EvaluateTargetHealth"] is False
    assert (await steering.read()).answer == Answer("shares", (f"{eu}=40", f"{us}=60"))


async def test_a_simple_alias_keeps_what_it_says_of_health(place: Route53Place) -> None:
    """Adopting changes nothing that a client can see, not even in what Route 53 would do by itself."""
    target = {"HostedZoneId": "Z35SXDOTRQ7X7K", "DNSName": "lb-eu.example.net.", "EvaluateTargetHealth": True}
    steering = stand(place, {"Name": NAME, "Type": "A", "AliasTarget": target})
    await moved(steering, {"alias:Z35SXDOTRQ7X7K/lb-eu.example.net.": 100})
    assert [(each["Weight"], each["AliasTarget"]) for each in place.zone.at(NAME)] == [(100, target)]


async def test_an_alias_of_both_types_is_one_target(place: Route53Place) -> None:
    """``alias46`` makes an A and an AAAA set, which are read back as one."""
    eu = "alias46:Z35SXDOTRQ7X7K/lb-eu.example.net."
    steering = stand(place, simple(NAME, "A", EU))
    await moved(steering, {eu: 100})
    assert [kind for kind, _, _, _ in rows(place.zone)] == ["A", "AAAA"]
    assert (await steering.read()).answer == Answer("shares", (f"{eu}=100",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.0.2.2 192.0.2.1", "'192.0.2.1 192.0.2.2'"),
        ("EU.Edge.example.net", "'eu.edge.example.net.'"),
        ("not a target", "write '192.0.2.1"),
        ("alias:Z1/", "write '192.0.2.1"),
        ("", "'' is no target"),
    ],
)
async def test_a_target_that_would_not_be_read_back_is_refused(place: Route53Place, text: str, told: str) -> None:
    """The refusal says how the topology must write it; nothing is sent."""
    with pytest.raises(Refused, match=told):
        await moved(stand(place, simple(NAME, "A", EU)), {text: 100})
    assert place.effects == 0


async def test_sets_that_are_routed_by_something_else_are_refused(place: Route53Place) -> None:
    """Latency and the like cannot be weighed, and the refusal names what was found."""
    steering = stand(place, {**simple(NAME, "A", EU), "SetIdentifier": "eu", "Region": "eu-west-1"})
    with pytest.raises(Refused, match="routed by Region"):
        await steering.read()


async def test_a_rival_between_read_and_batch_makes_all_of_it_fail(place: Route53Place) -> None:
    """A write that lands after we have read: our batch is refused whole, and we are told who was ahead."""
    steering = stand(place, simple(NAME, "A", EU))
    routing = await moved(steering, {EU: 100}, run="adopt")
    rival, ours = turned(routing, {US: 100}, "rival"), turned(routing, {US: 100}, "ours")

    def first() -> None:
        old = (*place.zone.at(AT), *place.zone.at(NAME))
        new = (fence_set(AT, encode(rival.fence), 30), *replaced(NAME, tuple(place.zone.at(NAME)), ((US, 100),), 30))
        place.zone.sets = place.zone.after((each["Action"], each["ResourceRecordSet"]) for each in changes(old, new))

    place.server.meanwhile.append(first)
    with pytest.raises(StaleGeneration, match=r"run rival, step steer wrote generation 2"):
        await steering.write(ours)
    assert (await steering.read()).fence == rival.fence


async def test_an_edit_of_the_weights_between_read_and_batch_is_not_overwritten(place: Route53Place) -> None:
    """The exact delete sees what the fence does not: a weight that was turned in the console."""
    steering = stand(place, simple(NAME, "A", EU))
    routing = await moved(steering, {EU: 60, US: 40})

    def console() -> None:
        for each in place.zone.at(NAME):
            place.zone.put({**each, "Weight": 100 if each["ResourceRecords"][0]["Value"] == US else 0})

    place.server.meanwhile.append(console)
    with pytest.raises(ChangedOutside, match="changed outside"):
        await steering.write(turned(routing, {EU: 100}))
    assert (await steering.read()).answer == Answer("shares", (f"{US}=100",))


async def test_an_edit_that_moves_nobody_does_not_stop_a_write(place: Route53Place) -> None:
    """Somebody changes a time to live while we write: the batch fails, is made anew, and lands."""
    steering = stand(place, simple(NAME, "A", EU))
    routing = await moved(steering, {EU: 100})

    def console() -> None:
        place.zone.put(*({**each, "TTL": 300, "HealthCheckId": "new"} for each in place.zone.at(NAME)))

    place.server.meanwhile.append(console)
    await steering.write(turned(routing, {US: 100}))
    kept = next(each for each in place.zone.at(NAME) if each["ResourceRecords"][0]["Value"] == EU)
    assert (kept["HealthCheckId"], kept["TTL"], kept["Weight"]) == ("new", 30, 0)


async def test_what_route_53_never_allows_is_refused_in_its_own_words(place: Route53Place) -> None:
    """A CNAME beside a mail exchanger is refused once, with the sentence that names the conflict."""
    steering = stand(place, simple(NAME, "A", EU), simple(NAME, "MX", "10 mail.example."))
    with pytest.raises(Refused, match=r"CNAME .* conflicting RRSet"):
        await moved(steering, {"eu.edge.example.net.": 100})
    assert (await steering.read()).answer == Answer("shares", (f"{EU}=100",))
    assert [each.method for each in place.server.seen].count("POST") == 1


async def test_a_long_fence_is_cut_into_strings_and_read_whole(place: Route53Place) -> None:
    """A TXT string holds 255 characters; a fence with four long runs has more."""
    steering = stand(place, simple(NAME, "A", EU))
    for turn in range(5):
        last = await moved(steering, {EU: 100}, run=f"run-{turn}-" + "x" * 90)
    value = place.zone.at(AT)[0]["ResourceRecords"][0]["Value"]
    assert value.count('"') > 2
    assert await steering.read() == last


async def test_a_text_that_is_no_fence_is_told_and_not_overwritten(place: Route53Place) -> None:
    """Somebody else's TXT at the fence's name is theirs."""
    steering = stand(place, simple(NAME, "A", EU))
    routing = await steering.read()
    for values in (('"heritage=external-dns"',), ('"v=1 gen=1"', '"v=1 gen=2"')):
        place.zone.put(simple(AT, "TXT", *values))
        with pytest.raises(BadFence, match=AT):
            await steering.read()
        with pytest.raises(ChangedOutside, match="by hand"):
            await steering.write(turned(routing, {US: 100}))
    assert place.effects == 0


async def test_the_fence_is_found_behind_many_names_below(place: Route53Place) -> None:
    """Names below ours sort between it and its fence, and more of them than one page holds."""
    steering = stand(place, simple(NAME, "A", EU))
    for number in range(130):
        place.zone.put(simple(f"{number:03d}.{NAME}", "A", "203.0.113.1"))
    assert (await steering.read()).fence is None
    written = await moved(steering, {EU: 100})
    assert await steering.read() == written
    await moved(steering, {US: 100})
    assert (await steering.read()).generation == 2


async def test_more_weighted_sets_than_a_page_holds_are_all_read(place: Route53Place) -> None:
    """A hundred sets of each type at one name: the most that Route 53 allows."""
    pairs = [(f"10.0.{n}.1", f"2001:db8::{n:x}") for n in range(100)]
    sets = [weighted(NAME, "A", a, weight=1, identifier=f"e{n:02d}") for n, (a, _) in enumerate(pairs)]
    sets += [weighted(NAME, "AAAA", aaaa, weight=1, identifier=f"e{n:02d}") for n, (_, aaaa) in enumerate(pairs)]
    steering = stand(place, *sets)
    answer = (await steering.read()).answer
    assert answer is not None
    assert len(answer.values) == 100
    written = await moved(steering, {"10.0.7.1 2001:db8::7": 100})
    assert await steering.read() == written


async def test_a_wildcard_is_known_by_its_octal_name(place: Route53Place) -> None:
    """Route 53 gives ``*`` back as ``\\052``."""
    place.zone.put(simple("*.example.", "A", EU))
    steering = Route53Steering(replace(place.spec, name="*.example."))
    await moved(steering, {EU: 100})
    assert (await steering.read()).answer == Answer("shares", (f"{EU}=100",))


async def test_answers_wait_for_the_name_servers(place: Route53Place) -> None:
    """A change on its way is told as such, by any steering of this process, until Route 53 says INSYNC."""
    steering = stand(place, simple(NAME, "A", EU))
    place.server.lag = True
    await moved(steering, {EU: 100})
    (pending,) = await Route53Steering(place.spec).answers()
    assert (pending.answer, pending.error) == (None, "the change is on its way to the name servers (PENDING)")
    place.server.sync()
    (there,) = await Route53Steering(place.spec).answers()
    assert (there.answer, there.error) == (Answer("shares", (f"{EU}=100",)), None)


async def test_the_zone_s_own_name_servers_are_asked_where_they_are_named(place: Route53Place) -> None:
    """One server behind, one away: each says so, and a drawn target with a share stands for the shares."""
    steering = stand(place, simple(NAME, "A", EU))
    async with Bind(records=(f"chat 5 A {EU}",)) as old, Bind(records=(f"chat 5 A {US}",)) as new:
        spec = replace(place.spec, servers=(old.at, new.at, "127.0.0.1:9"))
        await moved(steering, {US: 100})
        said = await Route53Steering(spec).answers()
        assert [each.answer for each in said] == [
            Answer("shares", (f"{EU}=100",)),
            Answer("shares", (f"{US}=100",)),
            None,
        ]
        assert said[2].error
        there = Route53Steering(replace(spec, servers=(old.at, new.at)))
        await moved(steering, {EU: 30, US: 70})
        both = Answer("shares", (f"{EU}=30", f"{US}=70"))
        assert [each.answer for each in await there.answers()] == [both, both]
        # Without the control plane the name servers still answer.
        place.server.leave()
        assert (await there.answers())[1].answer == Answer("shares", (f"{US}=100",))


async def test_throttling_is_not_asked_after(place: Route53Place) -> None:
    """Route 53 asks for patience, or is still at the zone's last change: nothing has happened, no request is spent."""
    steering = stand(place, simple(NAME, "A", EU))
    change = turned(await steering.read(), {EU: 100})
    for code in ("Throttling", "PriorRequestNotComplete"):
        place.server.seen.clear()
        place.server.mischief.append(
            Mischief(lambda method, *_: method == "POST", 1, error(400, code, "The request was rejected."))
        )
        with pytest.raises(Throttled, match=code):
            await steering.write(change)
        assert [each.method for each in place.server.seen] == ["GET", "POST"]


async def test_a_lost_answer_is_looked_up_at_once(place: Route53Place) -> None:
    """The batch landed and its answer did not come: one more read tells, and the step is not tried again."""
    steering = stand(place, simple(NAME, "A", EU))
    change = turned(await steering.read(), {EU: 100})
    place.trouble(Trouble.LATE)
    place.server.seen.clear()
    assert (await steering.write(change)).fence == change.fence
    assert [each.method for each in place.server.seen] == ["GET", "POST", "GET"]


async def test_a_hosted_zone_must_be_named_and_be_there(place: Route53Place) -> None:
    """Without an id nothing is made; with a wrong one the error names the zone."""
    with pytest.raises(BadInput, match=r"options\.zone_id"):
        Route53Steering(SteeringSpec("route53", NAME, "", 30, ""))
    with pytest.raises(NotFound, match=r"zone ZNOWHERE.*NoSuchHostedZone"):
        await place.missing().read()


async def test_moto_sees_the_same_adopt_move_and_back() -> None:
    """A second opinion: another's server, to which the same three writes leave the same answers.

    moto refuses a set that was ever created before, so that each write here has another time to live.
    """
    sdk = client("route53", region="us-east-1", endpoint=moto_url())
    zone = f"{fresh('zone')}.example."
    made = await asyncio.to_thread(lambda: sdk.create_hosted_zone(Name=zone, CallerReference=zone))
    id_ = made["HostedZone"]["Id"]
    name = f"chat.{zone}"
    first = {"Action": "CREATE", "ResourceRecordSet": simple(name, "A", EU)}
    sdk.change_resource_record_sets(HostedZoneId=id_, ChangeBatch={"Changes": [first]})
    options = (("endpoint", moto_url()), ("zone_id", id_))
    for ttl_s, shares in enumerate(({EU: 100}, {US: 100}, {EU: 100}), start=30):
        steering = Route53Steering(SteeringSpec("route53", name, "", ttl_s, "", options=options))
        written = await moved(steering, shares)
        assert await steering.read() == written
    listed = sdk.list_resource_record_sets(HostedZoneId=id_)["ResourceRecordSets"]
    assert {(each["ResourceRecords"][0]["Value"], each["Weight"]) for each in listed if each["Name"] == name} == {
        (EU, 100),
        (US, 0),
    }
    assert (await steering.read()).generation == 3
    assert (await steering.answers())[0].answer == Answer("shares", (f"{EU}=100",))


SINGLE = tuple(f"192.0.2.{n}" for n in range(1, 5))
DUAL = ("192.0.2.10 192.0.2.9 2001:db8::1", "2001:db8::2 203.0.113.7", "192.0.2.11 2001:db8::3")
HOSTS = ("eu.edge.example.net.", "us.edge.example.net.")
ALIASES = ("alias:Z1/lb-eu.example.net.", "alias:Z1/lb-us.example.net.")
BOTH = ("alias46:Z1/lb-eu.example.net.", "alias46:Z1/lb-us.example.net.")
SPREADS = st.sampled_from((SINGLE, DUAL, HOSTS, ALIASES, BOTH)).flatmap(
    lambda pool: st.dictionaries(st.sampled_from(pool), st.integers(1, 100), min_size=1, max_size=4)
)


@given(
    st.lists(st.tuples(st.sampled_from(SINGLE), st.integers(0, 255)), unique_by=lambda pair: pair[0], max_size=4),
    st.lists(SPREADS, min_size=1, max_size=4),
)
def test_any_shares_can_be_written_over_any_sets_and_read_back(
    before: list[tuple[str, int]], wishes: list[dict[str, int]]
) -> None:
    """Whatever stood there: each batch is one that Route 53 takes, and what it leaves is what was asked."""
    zone = Zone("Z1", "example.")
    zone.put(*(weighted(NAME, "A", each, weight=weight, identifier=f"id-{each}") for each, weight in before))
    for wished in wishes:
        answer = shares_of(tuple(wished.items()))
        old = tuple(zone.at(NAME))
        batch = changes(old, replaced(NAME, old, shares_in(answer), 30))
        zone.sets = zone.after((each["Action"], each["ResourceRecordSet"]) for each in batch)
        assert shares_of(weighed(zone.at(NAME))) == answer
