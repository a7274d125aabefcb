"""Steering by Azure DNS over a socket, after the stories of ``test_steering_contract``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Fence, Routing, SteeringChange, next_lineage
from orchestrator.core.topology import Answer, SteeringSpec, Weights
from providers.azure.dns import AzureDnsSteering
from providers.base import (
    ChangedOutside,
    Forbidden,
    NotFound,
    ProviderError,
    Refused,
    StaleGeneration,
    Throttled,
    Transient,
    Unauthenticated,
)
from real.azure_places import NETWORK
from real.place import Trouble
from wire.arm import Arm, Kept
from wire.arm_services import DNS_FIELDS, PRIVATE_FIELDS, Dns

EU: Weights = ((EndpointId("eu"), 100), (EndpointId("us"), 0))
US: Weights = ((EndpointId("eu"), 0), (EndpointId("us"), 100))
HOME = Answer("addresses", ("192.0.2.1", "2001:db8::1"))
AWAY = Answer("addresses", ("198.51.100.1", "198.51.100.2"))
OTHER = {"owner": "ai-platform"}


@dataclass
class World:
    """A zone at the server, with a name in it."""

    kind: str
    home: Answer
    away: Answer
    service: Dns = field(default_factory=Dns)

    def __post_init__(self) -> None:
        self.arm = Arm(self.service).start()
        self.zone = f"{NETWORK}/{self.kind}/example.com"
        servers = {"nameServers": ["ns1-01.azure-dns.com."]} if self.kind == "dnsZones" else {}
        self.arm.keep(self.zone, {"location": "global", "properties": servers})
        for kind, values in sorted(_by_kind(self.home).items()):
            self.edit(kind, *values)
        options = (("endpoint", self.arm.url), ("zone_id", self.zone))
        self.spec = SteeringSpec("azure-dns", "chat.example.com.", "example.com.", 30, "", options=options)

    def steering(self, **changes: object) -> AzureDnsSteering:
        return AzureDnsSteering(replace(self.spec, **changes))  # type: ignore[arg-type]  # a test names fields freely

    def edit(self, kind: str, *values: str) -> None:
        """Replace the record set as a person would: fence and other metadata stay."""
        record_id = f"{self.zone}/{kind}/chat"
        stands = self.arm.state.resources.get(record_id.lower())
        field_name = (DNS_FIELDS if self.kind == "dnsZones" else PRIVATE_FIELDS)[kind]
        part = {"A": "ipv4Address", "AAAA": "ipv6Address", "CNAME": "cname"}[kind]
        records = [{part: value} for value in values]
        ttl = "TTL" if self.kind == "dnsZones" else "ttl"
        metadata = stands.properties["metadata"] if stands else OTHER
        found = {ttl: 300, "metadata": metadata, field_name: records[0] if kind == "CNAME" else records}
        self.arm.keep(record_id, {"properties": found})

    def record_set(self, kind: str) -> Kept:
        return self.arm.state.resources[f"{self.zone}/{kind}/chat".lower()]

    @property
    def now(self) -> tuple[str, ...]:
        """What a resolver is told."""
        return self.service.answer(self.arm, self.zone, "chat")


def _by_kind(answer: Answer) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for value in answer.values:
        kind = "CNAME" if answer.kind == "cname" else "AAAA" if ":" in value else "A"
        found.setdefault(kind, []).append(value)
    return found


WORLDS = {
    "addresses": lambda: World("dnsZones", HOME, AWAY),
    "cname": lambda: World("dnsZones", Answer("cname", ("eu.example.net.",)), Answer("cname", ("us.example.net.",))),
    "only-v6": lambda: World("dnsZones", AWAY, Answer("addresses", ("2001:db8::2",))),
    "private": lambda: World("privateDnsZones", HOME, AWAY),
}


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = WORLDS[request.param]()
    yield made
    assert made.service.silences == []
    made.arm.close()


@pytest.fixture
def simple() -> Iterator[World]:
    """One world is enough."""
    made = WORLDS["addresses"]()
    yield made
    made.arm.close()


def change(routing: Routing, weights: Weights, answer: Answer, *, run: str = "run-1") -> SteeringChange:
    lineage = next_lineage(routing.fence)
    return SteeringChange(routing.generation, routing.answer, weights, answer, run, "steer", lineage)


async def adopted(world: World) -> AzureDnsSteering:
    steering = world.steering()
    await steering.write(change(await steering.read(), EU, world.home, run="adopt"))
    return steering


async def test_adopting_puts_the_fence_up_and_leaves_the_answer_as_it_was(world: World) -> None:
    """Adopting a live name changes nothing that a resolver sees, and what others keep as metadata stays."""
    steering = world.steering()
    before = await steering.read()
    assert (before.answer, before.fence, before.ttl_s) == (world.home, None, 300)
    after = await steering.write(change(before, EU, world.home, run="adopt"))
    assert world.now == world.home.values
    assert after.fence == Fence(1, "adopt", "steer", EU)
    assert await steering.read() == after
    home = world.record_set("CNAME" if world.home.kind == "cname" else "A")
    assert home.properties["metadata"]["owner"] == "ai-platform"


async def test_a_write_replaces_answer_and_fence_together(world: World) -> None:
    """After a write the name answers the target, and the fence says who did it and when before."""
    steering = await adopted(world)
    written = await steering.write(change(await steering.read(), US, world.away))
    assert world.now == world.away.values
    assert written.fence == Fence(2, "run-1", "steer", US, ((1, "adopt/steer"),))
    assert await steering.read() == written


async def test_one_record_set_is_written_by_one_put() -> None:
    """Where the answer is one record set, fence and answer change by one PUT under its ETag."""
    world = World("dnsZones", AWAY, Answer("addresses", ("192.0.2.1",)))
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away)
    done = world.arm.effects
    await steering.write(step)
    assert world.arm.effects == done + 1
    put = [each for each in world.arm.seen if each.method == "PUT"][-1]
    assert "If-Match" in put.headers
    world.arm.close()


async def test_a_stale_writer_is_refused_and_told_who_is_ahead(world: World) -> None:
    """A plan made before somebody else's write is refused, and the refusal names that writer."""
    steering = await adopted(world)
    old = await steering.read()
    await steering.write(change(old, US, world.away, run="first"))
    with pytest.raises(StaleGeneration, match=r"run first, step steer wrote generation 2") as refused:
        await world.steering().write(change(old, EU, world.home, run="second"))
    assert "expected generation 1" in str(refused.value)
    assert world.now == world.away.values


async def test_repeating_a_write_that_landed_is_success_and_does_nothing(world: World) -> None:
    """The same write sent again, by another worker, answers the same and puts nothing."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away)
    first = await steering.write(step)
    done = world.arm.effects
    assert await world.steering().write(step) == first
    assert world.arm.effects == done


async def test_a_write_that_was_overtaken_halts(world: World) -> None:
    """A retry of a write that landed and was then followed by another is told so."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away, run="overtaken")
    landed = await steering.write(step)
    await steering.write(change(landed, EU, world.home, run="newer"))
    with pytest.raises(StaleGeneration, match=r"run newer, .* generation 3 .* after this write had landed"):
        await steering.write(step)
    assert world.now == world.home.values


@pytest.mark.parametrize("after", [False, True])
async def test_a_hand_edit_is_not_overwritten(world: World, after: bool) -> None:
    """A person's edit after the plan was made, or after the write and before its repetition, is told and stands."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away)
    if after:
        await steering.write(step)
    kind, value = ("CNAME", "byhand.example.net.") if world.home.kind == "cname" else ("A", "192.0.2.99")
    world.edit(kind, value)
    edited = world.now
    with pytest.raises(ChangedOutside, match=value):
        await steering.write(step)
    assert world.now == edited


async def test_an_address_that_a_person_added_is_seen(simple: World) -> None:
    """An AAAA added by hand where there was none counts as a changed answer."""
    steering = await adopted(simple)
    written = await steering.write(change(await steering.read(), US, simple.away))
    simple.edit("AAAA", "2001:db8::99")
    with pytest.raises(ChangedOutside, match="2001:db8::99"):
        await steering.write(change(written, EU, simple.home, run="run-2"))


@pytest.mark.parametrize("put", [1, 2, 3])
async def test_a_lost_reply_is_recognised_as_our_own_write(world: World, put: int) -> None:
    """Whichever reply of a write is lost, the write, or its repetition by another worker, ends as a success."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away)
    world.arm.lose(put)
    with contextlib.suppress(Transient):
        await steering.write(step)
    written = await world.steering().write(step)
    assert (written.fence, world.now) == (step.fence, world.away.values)
    assert await steering.read() == written


@pytest.mark.parametrize("trouble", [Trouble.THROTTLED, Trouble.BROKEN])
async def test_a_write_that_met_trouble_changes_nothing_and_lands_when_repeated(world: World, trouble: Trouble) -> None:
    """Throttled or failed, the step is told to try again; tried again, it lands once."""
    steering = await adopted(world)
    step = change(await steering.read(), US, world.away)
    world.arm.trouble(trouble)
    with pytest.raises(Throttled if trouble is Trouble.THROTTLED else Transient):
        await steering.write(step)
    assert world.now == world.home.values
    assert (await steering.write(step)).generation == 2


@pytest.mark.parametrize(
    ("trouble", "error", "text"),
    [
        (Trouble.EXPIRED, Unauthenticated, "az login"),
        (Trouble.FORBIDDEN, Forbidden, r"lacks the action Microsoft.Network/thing/write on /subscriptions/"),
        (Trouble.AWAY, Transient, "cannot be reached"),
    ],
)
async def test_what_will_not_be_served_says_why(
    simple: World, trouble: Trouble, error: type[ProviderError], text: str
) -> None:
    """Expired credentials, a missing permission, nobody there: the right error in one line, nothing half done."""
    steering = await adopted(simple)
    step = change(await steering.read(), US, simple.away)
    simple.arm.trouble(trouble, times=50)
    with pytest.raises(error, match=text) as told:
        await steering.write(step)
    with pytest.raises(error, match=text):
        await steering.read()
    assert "\n" not in str(told.value)
    assert simple.now == simple.home.values


async def test_two_writers_race_and_exactly_one_wins_each_generation(world: World) -> None:
    """Races for one generation after another: one winner each, the loser says so, the name never falls silent."""
    steering = await adopted(world)
    routing = await steering.read()
    for turn in range(8):
        weights, answer = (US, world.away) if turn % 2 == 0 else (EU, world.home)
        steps = [change(routing, weights, answer, run=f"{who}-{turn}") for who in ("a", "b")]
        outcomes = await asyncio.gather(*(world.steering().write(step) for step in steps), return_exceptions=True)
        won = [step for step, outcome in zip(steps, outcomes, strict=True) if isinstance(outcome, Routing)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert len(won) == 1, outcomes
        assert isinstance(lost[0], StaleGeneration)
        assert f"run {won[0].run}," in str(lost[0])
        routing = await steering.read()
        assert (routing.fence, routing.answer) == (won[0].fence, answer)
    assert routing.generation == 9


async def test_an_answer_is_never_emptied(world: World) -> None:
    """A write of no values, or of weights that are all 0, is refused before anything is sent."""
    steering = await adopted(world)
    routing = await steering.read()
    nobody = tuple((endpoint, 0) for endpoint, _ in EU)
    for weights, answer in ((US, Answer(world.home.kind, ())), (nobody, world.away)):
        with pytest.raises(Refused, match="without an answer"):
            await steering.write(change(routing, weights, answer))
    assert world.now == world.home.values


async def test_a_change_of_kind_is_refused_as_it_would_leave_a_gap(simple: World) -> None:
    """Azure DNS has a CNAME beside nothing, and changes no two record sets at once: the sentence says what to do."""
    steering = await adopted(simple)
    step = change(await steering.read(), US, Answer("cname", ("us.example.net.",)))
    with pytest.raises(Refused, match="from addresses to a CNAME in Azure DNS without answering nothing"):
        await steering.write(step)
    assert simple.now == simple.home.values


async def test_an_alias_is_refused_by_its_name(simple: World) -> None:
    """A record set that follows a resource is not overwritten: somebody else decides what it says."""
    follows = f"{NETWORK}/publicIPAddresses/front"
    simple.record_set("A").properties["targetResource"] = {"id": follows}
    steering = simple.steering()
    with pytest.raises(Refused, match=f"alias of {follows}"):
        await steering.write(change(await steering.read(), US, simple.away))


async def test_a_name_that_does_not_exist_is_made_under_a_fence(simple: World) -> None:
    """A name without records reads as nothing, and the first write makes it, only where nobody else did."""
    steering = simple.steering(name="new.example.com.")
    routing = await steering.read()
    assert (routing.answer, routing.fence, routing.generation) == (None, None, 0)
    steps = [change(routing, EU, simple.home, run=run) for run in ("a", "b")]
    outcomes = await asyncio.gather(*(steering.write(step) for step in steps), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Routing", "StaleGeneration"]
    assert simple.service.answer(simple.arm, simple.zone, "new") == simple.home.values


async def test_a_fence_that_somebody_else_wrote_is_told(simple: World) -> None:
    """Metadata of our name that is no fence stops reading and writing."""
    steering = await adopted(simple)
    step = change(await steering.read(), US, simple.away)
    simple.record_set("A").properties["metadata"]["failover1"] = "hello"
    with pytest.raises(BadFence, match="hello"):
        await steering.read()
    with pytest.raises(ChangedOutside, match="by hand"):
        await steering.write(step)


async def test_a_fence_that_azure_did_not_keep_is_told_when_it_is_adopted(simple: World) -> None:
    """Metadata is left out without an error: the write that meets it says so, and the answer is as it was."""
    simple.service.keeps = 1
    steering = simple.steering()
    with pytest.raises(Refused, match="left a part of the fence out"):
        await steering.write(change(await steering.read(), EU, simple.home, run="adopt"))
    assert simple.now == simple.home.values


async def test_a_fence_that_was_deleted_is_stale(simple: World) -> None:
    """Metadata taken away by hand stops the next write, which says to adopt again."""
    steering = await adopted(simple)
    step = change(await steering.read(), US, simple.away)
    simple.record_set("A").properties["metadata"] = {}
    with pytest.raises(StaleGeneration, match="is gone"):
        await steering.write(step)


async def test_mistakes_of_a_zone_are_told(simple: World) -> None:
    """A zone that is not there is not found; an id of something else, or of another zone, is told at once."""
    options = dict(simple.spec.options)
    missing = tuple(sorted({**options, "zone_id": f"{NETWORK}/dnsZones/example.org"}.items()))
    steering = simple.steering(options=missing, name="chat.example.org.", zone="example.org.")
    with pytest.raises(NotFound, match=r"example.org"):
        await steering.read()
    with pytest.raises(NotFound):
        await steering.write(change(Routing(None, 30), EU, simple.home))
    with pytest.raises(BadInput, match=r"names the zone example.org, and the steering's zone is example.com"):
        simple.steering(options=missing)
    with pytest.raises(BadInput, match=r"no id of Microsoft.Network/dnsZones; write /subscriptions/"):
        simple.steering(options=(("zone_id", "example.com"),))


class NameServer(asyncio.DatagramProtocol):
    """An authoritative server of *world*, over UDP."""

    def __init__(self, world: World) -> None:
        self.world = world

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        asked = query.question[0]
        kinds = {"A": ".", "AAAA": ":"}
        values = [value for value in self.world.now if kinds[dns.rdatatype.to_text(asked.rdtype)] in value]
        if values:
            reply.answer = [dns.rrset.from_text_list(asked.name, 30, "IN", asked.rdtype, values)]
        self.transport.sendto(reply.to_wire(), addr)


@contextlib.asynccontextmanager
async def serving(world: World) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: NameServer(world), local_addr=("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


async def test_the_name_servers_are_asked_by_dns_even_while_arm_is_away(simple: World) -> None:
    """What clients are told comes from the servers themselves; silence of one is a finding."""
    async with serving(simple) as server:
        steering = simple.steering(servers=(server, "127.0.0.1:9"))
        await steering.write(change(await steering.read(), EU, simple.home))
        simple.arm.leave()
        here, there = await steering.answers()
    assert (here.server, here.answer, here.error) == (server, simple.home, None)
    assert (there.answer, bool(there.error)) == (None, True)


async def test_without_servers_the_zone_says_who_they_are(simple: World) -> None:
    """The zone's own name servers are asked; where they cannot be learned, that is told and nothing raised."""
    async with serving(simple) as server:
        simple.arm.state.resources[simple.zone.lower()].properties["nameServers"] = [server]
        assert [each.answer for each in await simple.steering().answers()] == [simple.home]
    simple.arm.leave()
    (silent,) = await simple.steering().answers()
    assert (silent.answer, "cannot be reached" in str(silent.error)) == (None, True)


async def test_a_private_zone_says_what_arm_has() -> None:
    """No server of a private zone answers everybody, so ARM's word is shown."""
    world = WORLDS["private"]()
    assert [each.answer for each in await world.steering().answers()] == [world.home]
    world.arm.close()
