"""What is special to Cloud DNS: one change for fence and answer, exact deletions, policies, families of addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import BadFence
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import SteeringChange, encode, next_lineage, shares_in, shares_of
from orchestrator.core.topology import Answer
from providers.base import ChangedOutside, Refused, StaleGeneration, Transient
from providers.gcp.cloud_dns import CloudDnsSteering
from providers.gcp.dns_records import replaced, stand
from real.gcp_places import NAME, DnsPlace
from real.place import EU, US, Trouble, change, weights
from wire.google_rest import Json

FENCE = f"_failover.{NAME}"
EU_IP, US_IP = "192.0.2.10", "198.51.100.10"


@pytest.fixture
async def place() -> AsyncIterator[DnsPlace]:
    made = DnsPlace()
    try:
        await made.open()
        yield made
    finally:
        await asyncio.to_thread(made.close)


def record(kind: str, *values: str, ttl: int = 30, name: str = NAME) -> Json:
    return {"name": name, "type": kind, "ttl": ttl, "rrdatas": list(values)}


def weighted(kind: str, **by_value: float) -> Json:
    items = [{"weight": weight, "rrdatas": [value]} for value, weight in by_value.items()]
    return {"name": NAME, "type": kind, "ttl": 30, "routingPolicy": {"wrr": {"items": items}}}


def between(place: DnsPlace, act: Callable[[], None], *, times: int = 1) -> None:
    """Have *act* done after a writer has read and before its change arrives."""
    left = [act] * times

    def meet(method: str, _: str) -> None:
        if method == "POST" and left:
            left.pop()()

    place.dns.meets = meet


async def step(place: DnsPlace, eu: int, us: int, run: str = "run-1") -> SteeringChange:
    return change(place, await place.steering().read(), eu, us, run=run)


async def adopted(place: DnsPlace) -> None:
    await place.steering().write(await step(place, 100, 0, "adopt"))


async def test_adopting_touches_the_fence_alone(place: DnsPlace) -> None:
    """A plain record stays to the letter, its time to live included; the change adds one TXT and deletes nothing."""
    place.zone.put(record("A", EU_IP, ttl=300))
    before = place.zone.records[NAME, "A"]
    await adopted(place)
    assert place.zone.records[NAME, "A"] == before
    assert [each["type"] for each in place.dns.bodies[-1]["additions"]] == ["TXT"]
    assert place.dns.bodies[-1]["deletions"] == []
    assert (await place.steering().read()).ttl_s == 300


async def test_a_move_is_one_change_of_two_looks_and_one_write(place: DnsPlace) -> None:
    """Fence and answer go and come together, exactly as they were read, in three requests."""
    await adopted(place)
    move = await step(place, 95, 5)
    place.dns.seen.clear()
    await place.steering().write(move)
    assert sorted(method for method, _ in place.dns.seen) == ["GET", "GET", "POST"]
    body = place.dns.bodies[-1]
    assert [(each["name"], each["type"]) for each in body["deletions"]] == [(FENCE, "TXT"), (NAME, "A")]
    assert body["deletions"][1] == record("A", EU_IP)
    assert body["additions"][1] == {
        "name": NAME,
        "type": "A",
        "ttl": 30,
        "routingPolicy": {"wrr": {"items": [{"weight": 95, "rrdatas": [EU_IP]}, {"weight": 5, "rrdatas": [US_IP]}]}},
    }


async def test_a_read_is_never_half_of_one_write_and_half_of_another(place: DnsPlace) -> None:
    """A write that lands between the look at the fence and the look at the answer makes the read look again."""
    await adopted(place)
    move = await step(place, 0, 100)
    texts = [f'"{encode(replace(move, expects=each).fence)}"' for each in range(1, 99)]
    looks: list[str] = []

    def meet(_: str, path: str) -> None:
        looks.append(path)
        if len(looks) == 2:
            place.zone.put(record("TXT", texts[0], name=FENCE), weighted("A", **{EU_IP: 0, US_IP: 100}))

    place.dns.meets = meet
    now = await place.steering().read()
    assert (now.generation, now.answer) == (2, Answer("shares", (f"{US_IP}=100",)))
    assert len(looks) == 5
    place.dns.meets = lambda *_: place.zone.put(record("TXT", texts.pop(), name=FENCE))
    with pytest.raises(Transient, match="keeps changing while it is read"):
        await place.steering().read()


async def test_who_gets_nothing_keeps_an_item_of_weight_0(place: DnsPlace) -> None:
    """The console shows where traffic could go, and nobody is led there."""
    await adopted(place)
    await place.steering().write(await step(place, 0, 100))
    items = place.zone.records[NAME, "A"]["routingPolicy"]["wrr"]["items"]
    assert [(item["rrdatas"], item["weight"]) for item in items] == [([EU_IP], 0), ([US_IP], 100)]


async def test_an_edit_of_the_answer_just_before_the_write_stops_it(place: DnsPlace) -> None:
    """Even between the look and the write, a person's edit is not overwritten: the deletion no longer fits."""
    await adopted(place)
    move = await step(place, 0, 100)
    edit = weighted("A", **{EU_IP: 50, US_IP: 50})
    between(place, lambda: place.zone.put(edit))
    with pytest.raises(ChangedOutside, match=f"{EU_IP}=50, {US_IP}=50"):
        await place.steering().write(move)
    assert await place.now() == {EU_IP: 50, US_IP: 50}


async def test_an_edit_of_the_time_to_live_just_before_the_write_changes_nothing(place: DnsPlace) -> None:
    """The answer is as it was: the change is refused for its exact deletion, looked at again, and lands."""
    await adopted(place)
    move = await step(place, 0, 100)
    between(place, lambda: place.zone.put(record("A", EU_IP, ttl=600)))
    written = await place.steering().write(move)
    assert (written.generation, await place.now()) == (2, {US_IP: 100})


async def test_a_record_deleted_just_before_the_write_is_an_edit(place: DnsPlace) -> None:
    """Cloud DNS says 404 of the deletion, which is not the zone's: the name has no answer, and people are told."""
    await adopted(place)
    move = await step(place, 0, 100)
    between(place, lambda: place.zone.take(NAME, "A"))
    with pytest.raises(ChangedOutside, match="answers nothing"):
        await place.steering().write(move)


async def test_a_rival_just_before_the_write_wins(place: DnsPlace) -> None:
    """The fence that was read no longer stands: the loser is told who was first."""
    await adopted(place)
    move = await step(place, 0, 100, "late")
    rival = replace(move, run="rival")
    text = encode(rival.fence)
    between(place, lambda: place.zone.put(record("TXT", f'"{text}"', name=FENCE)))
    with pytest.raises(StaleGeneration, match="run rival, step steer wrote generation 2"):
        await place.steering().write(move)
    assert await place.now() == {EU_IP: 100}


async def test_a_change_whose_answer_was_lost_is_known_for_ours_at_once(place: DnsPlace) -> None:
    """The fence that stands is this write's own: no other try is needed."""
    await adopted(place)
    move = await step(place, 0, 100)
    place.trouble(Trouble.LATE)
    assert (await place.steering().write(move)).fence == move.fence
    assert len(place.dns.bodies) == 2


async def test_an_adoption_sees_an_edit_that_its_change_did_not_name(place: DnsPlace) -> None:
    """Adopting names no record of the answer: an edit in that very moment stays, and is told."""
    adoption = await step(place, 100, 0, "adopt")
    between(place, lambda: place.zone.put(record("A", US_IP)))
    with pytest.raises(ChangedOutside, match="changed outside"):
        await place.steering().write(adoption)
    assert await place.now() == {US_IP: 100}


async def test_what_is_on_its_way_to_the_name_servers_is_not_told_as_there(place: DnsPlace) -> None:
    """While the change is pending, answers tell the shares of before, so that converge waits."""
    await adopted(place)
    place.zone.slow = True
    await place.steering().write(await step(place, 0, 100))
    assert [each.answer for each in await place.steering().answers()] == [Answer("shares", (f"{EU_IP}=100",))]
    place.zone.arrive()
    assert [each.answer for each in await place.steering().answers()] == [Answer("shares", (f"{US_IP}=100",))]


@pytest.mark.parametrize(
    ("weights_there", "said"),
    [
        ({EU_IP: 0.8, US_IP: 0.2}, (f"{EU_IP}=80", f"{US_IP}=20")),
        ({EU_IP: 1, US_IP: 2}, (f"{EU_IP}=33", f"{US_IP}=67")),
        ({EU_IP: 0, US_IP: 0.001}, (f"{US_IP}=100",)),
    ],
)
async def test_weights_of_any_scale_are_read_as_percents(
    place: DnsPlace, weights_there: dict[str, float], said: tuple[str, ...]
) -> None:
    """Weights are floating point numbers of any sum there."""
    place.zone.put(weighted("A", **weights_there))
    assert (await place.steering().read()).answer == Answer("shares", said)


async def test_a_plain_record_is_one_endpoint_with_all_its_addresses(place: DnsPlace) -> None:
    """It is adopted by the text that the topology makes of these addresses, whatever order they stand in."""
    place.targets = {EU: f"{EU_IP} 192.0.2.9", US: US_IP}
    place.zone.put(record("A", "192.0.2.9", EU_IP))
    assert (await place.steering().read()).answer == Answer("shares", (f"{EU_IP} 192.0.2.9=100",))
    await adopted(place)
    await place.steering().write(await step(place, 50, 50))
    items = place.zone.records[NAME, "A"]["routingPolicy"]["wrr"]["items"]
    assert [item["rrdatas"] for item in items] == [[EU_IP, "192.0.2.9"], [US_IP]]


@pytest.mark.parametrize(
    "policy",
    [
        {"geo": {"items": [{"location": "europe-west1", "rrdatas": [EU_IP]}]}},
        {"wrr": {"items": [{"weight": 1, "healthCheckedTargets": {"externalEndpoints": [EU_IP]}}]}},
    ],
)
async def test_a_policy_that_other_hands_turn_is_refused(place: DnsPlace, policy: Json) -> None:
    """What Cloud DNS turns by place or by health checks is not steered, and not overwritten."""
    place.zone.records[NAME, "A"] = {"name": NAME, "type": "A", "ttl": 30, "routingPolicy": policy}
    with pytest.raises(Refused, match="turns by itself"):
        await place.steering().read()


async def test_clients_of_another_address_family_are_not_left_behind(place: DnsPlace) -> None:
    """Targets without an IPv6 address are refused where the name has AAAA records: half the clients would stay."""
    await adopted(place)
    place.zone.put(record("AAAA", "2001:db8::1"))
    now = await place.steering().read()
    answer = shares_of(((US_IP, 100),))
    move = SteeringChange(1, now.answer, weights(0, 100), answer, "run-1", "steer", next_lineage(now.fence))
    with pytest.raises(Refused, match="also has AAAA records"):
        await place.steering().write(move)
    assert len(place.zone.changes) == 1


async def test_a_name_that_points_elsewhere_is_steered_by_weighted_cnames(place: DnsPlace) -> None:
    """Targets may be host names; the CNAME goes and comes in the same change."""
    place.targets = {EU: "eu.edge.example.net.", US: "us.edge.example.net."}
    place.zone.take(NAME, "A")
    place.zone.put(record("CNAME", "EU.edge.example.net."))
    await adopted(place)
    written = await place.steering().write(await step(place, 10, 90))
    assert written.answer == Answer("shares", ("eu.edge.example.net.=10", "us.edge.example.net.=90"))
    assert (await place.steering().read()).answer == written.answer
    assert place.zone.records[NAME, "CNAME"]["routingPolicy"]["wrr"]["items"][1]["weight"] == 90


async def test_a_name_goes_over_from_an_address_to_host_names_at_once(place: DnsPlace) -> None:
    """The A record goes and the CNAME comes in one change: no moment is without an answer."""
    await adopted(place)
    place.targets = {EU: EU_IP, US: "us.edge.example.net."}
    await place.steering().write(await step(place, 0, 100))
    assert sorted(kind for name, kind in place.zone.records if name == NAME) == ["CNAME"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("US.edge.example.net", "is written 'us.edge.example.net.'"),
        ("2001:DB8:0::1", "is written '2001:db8::1'"),
        (f"2001:db8::1 {US_IP}", f"is written '{US_IP} 2001:db8::1'"),
        (f"{US_IP} us.edge.example.net.", "neither addresses nor one host name"),
    ],
)
async def test_a_target_that_would_read_back_otherwise_is_refused(place: DnsPlace, target: str, says: str) -> None:
    """Compared as text, it would look like an edit by hand for ever after: the right spelling is told instead."""
    await adopted(place)
    place.targets = {EU: EU_IP, US: target}
    with pytest.raises(Refused, match=says):
        await place.steering().write(await step(place, 0, 100))


async def test_targets_of_different_families_are_refused(place: DnsPlace) -> None:
    """One endpoint with IPv6 and one without cannot share: clients of IPv6 would all go to the one."""
    await adopted(place)
    place.targets = {EU: EU_IP, US: f"{US_IP} 2001:db8::1"}
    with pytest.raises(Refused, match="differ in their kinds of address"):
        await place.steering().write(await step(place, 50, 50))


async def test_families_that_disagree_are_told_as_an_edit() -> None:
    """A person who turned only the AAAA records of a name with both families is told apart from our write."""
    place = DnsPlace(dual=True)
    try:
        await place.open()
        await adopted(place)
        await place.steering().write(await step(place, 90, 10))
        move = await step(place, 0, 100)
        place.zone.put(weighted("AAAA", **{"2001:db8:1::10": 100, "2001:db8:2::10": 0}))
        with pytest.raises(ChangedOutside):
            await place.steering().write(move)
    finally:
        place.close()


FORMS = (
    ("192.0.2.{}",),
    ("2001:db8::{}",),
    ("192.0.2.{}", "2001:db8::{}"),
    ("203.0.113.{}", "2001:db8::{}"),
    ("198.51.100.{}", "192.0.2.{}"),
    ("c{}.example.net.",),
)
"""Of the fourth, the IPv6 address comes first when sorted as text."""
SPREADS = st.dictionaries(st.integers(1, 9), st.integers(1, 100), min_size=1, max_size=6)


def shares(form: tuple[str, ...], spread: dict[int, int]) -> Answer:
    """As the topology writes targets: addresses sorted as text."""
    return shares_of(
        tuple((" ".join(sorted(each.format(number) for each in form)), weight) for number, weight in spread.items())
    )


@settings(max_examples=60, deadline=None)
@given(form=st.sampled_from(FORMS), before=SPREADS, after=SPREADS)
def test_whatever_is_written_reads_back_and_leaves_no_record_empty(
    form: tuple[str, ...], before: dict[int, int], after: dict[int, int]
) -> None:
    """For all targets of one form: the records of a spread say that spread, over whatever stood there before."""
    first = replaced(shares(form, before), {}, name=NAME, ttl_s=30)
    second = replaced(shares(form, after), {each["type"]: each for each in first}, name=NAME, ttl_s=30)
    assert stand(second, ()).answer == shares(form, after)
    for each in second:
        items = each["routingPolicy"]["wrr"]["items"]
        assert sum(item["weight"] for item in items) == 100
        assert all(item["rrdatas"] for item in items)
    known = {target for spread in (before, after) for target, _ in shares_in(shares(form, spread))}
    assert len(second[0]["routingPolicy"]["wrr"]["items"]) == len(known)


async def test_a_long_fence_is_kept_in_several_strings(place: DnsPlace) -> None:
    """A string of a TXT record holds 255 characters; a fence with its lineage may be longer."""
    await adopted(place)
    long = "r" * 90
    for turn in range(6):
        await place.steering().write(await step(place, *((0, 100) if turn % 2 else (100, 0)), run=f"{long}-{turn}"))
    text = place.zone.records[FENCE, "TXT"]["rrdatas"][0]
    assert '" "' in text
    fence = (await place.steering().read()).fence
    assert fence is not None
    assert (fence.generation, fence.run, len(fence.lineage)) == (7, f"{long}-5", 4)


async def test_a_text_of_somebody_else_at_the_fence_is_not_overwritten(place: DnsPlace) -> None:
    """What no write of ours left is told, and the write stops."""
    move = await step(place, 100, 0)
    place.zone.put(record("TXT", '"heritage=external-dns"', name=FENCE))
    with pytest.raises(BadFence, match="which this program did not write"):
        await place.steering().read()
    with pytest.raises(ChangedOutside, match="wrote there by hand"):
        await place.steering().write(move)
    place.zone.put(record("TXT", '"one"', '"two"', name=FENCE))
    with pytest.raises(BadFence, match="holds 2 TXT records"):
        await place.steering().read()


async def test_a_fence_of_another_history_is_refused(place: DnsPlace) -> None:
    """The same generation by another writer, after the zone was made anew, is not ours to replace."""
    await adopted(place)
    move = await step(place, 0, 100)
    other = replace(move, expects=0, run="other", weights=((EndpointId("eu"), 100),), lineage=())
    place.zone.put(record("TXT", f'"{encode(other.fence)}"', name=FENCE))
    with pytest.raises(StaleGeneration, match="of another history"):
        await place.steering().write(move)


async def test_a_change_that_is_always_refused_gives_up(place: DnsPlace) -> None:
    """Somebody who edits the time to live all the while is told of, not fought with."""
    await adopted(place)
    move = await step(place, 0, 100)
    ttls = iter(range(31, 99))
    between(place, lambda: place.zone.put(record("A", EU_IP, ttl=next(ttls))), times=50)
    with pytest.raises(Transient, match="do others write there"):
        await place.steering().write(move)
    assert len(place.dns.bodies) <= 4


async def test_a_missing_zone_is_named(place: DnsPlace) -> None:
    """The error says which zone, in one line."""
    missing = place.missing()
    assert isinstance(missing, CloudDnsSteering)
    said = await missing.answers()
    assert "managed zone elsewhere" in str(said[0].error)
