"""What each real name server does with a write that it should not, or cannot, carry out whole."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import pytest

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.topology import Answer, Secret, SecretSource, SteeringSpec, TsigKey
from providers.base import ChangedOutside, Forbidden, Refused, Transient
from providers.dns.doctor import examine
from providers.dns.rfc2136 import Rfc2136Steering
from real import powerdns
from real.bind import Bind
from real.knot import Knot
from real.nameserver import NameServer
from real.powerdns import PowerDns
from real.steering import EU, NAME, US, PowerDnsWorld, change

HOME = Answer("addresses", ("127.0.1.10",))
AWAY = Answer("addresses", ("127.0.2.10",))
EDGE = Answer("cname", ("us.edge.example.net.",))
RECORDS = (
    "chat 5 A 127.0.1.10",
    "rare 5 A 127.0.1.10",
    'rare HINFO "a" "b"',
    "private 5 A 127.0.1.10",
    "private TYPE65300 \\# 1 00",
    "led 5 A 127.0.1.10",
    "_failover.led 5 CNAME elsewhere.example.net.",
    "*.wild 5 A 127.0.1.10",
    "xn--mnchen-3ya 5 A 127.0.1.10",
    "MiXed.Case 5 A 127.0.1.10",
    "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z 5 A 127.0.1.10",
    f"{'a' * 63} 5 A 127.0.1.10",
    "@ 5 A 127.0.1.10",
    "zero 0 A 127.0.1.10",
    "round 5 CNAME back",
    "back 5 CNAME round",
    "mail 5 A 127.0.1.10",
    "mail MX 10 mail.example.net.",
    'mail CAA 0 issue "ca.example.net"',
)


@pytest.fixture(params=[Bind, Knot, PowerDns], ids=["bind", "knot", "powerdns"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[NameServer]:
    async with request.param(records=RECORDS) as made:
        yield made


def steering_at(server: NameServer, name: str = NAME) -> Rfc2136Steering:
    path = server.directory / "secret"
    path.write_text(server.secret, encoding="utf-8")
    key = TsigKey(server.key, Secret(SecretSource.FILE, str(path)), server.algorithm)
    return Rfc2136Steering(SteeringSpec("rfc2136", name, server.zone, 7, server.at, (), key))


async def test_names_of_every_shape_move_and_come_back(server: NameServer) -> None:
    """Punycode, mixed case, 26 labels, a label of 63, the top of the zone, a literal wildcard, TTL 0, MX beside it."""
    for name in (
        "xn--mnchen-3ya.example",
        "mixed.CASE.Example.",
        "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.example",
        f"{'a' * 63}.example",
        "example",
        "*.wild.example",
        "zero.example",
        "mail.example",
    ):
        steering = steering_at(server, name)
        routing = await steering.write(change(await steering.read(), EU, HOME, run="adopt"))
        mixed = Answer("addresses", ("127.0.2.10", "127.0.2.11", "2001:db8::1"))
        routing = await steering.write(change(routing, US, mixed))
        assert await server.ask(name, "A") == ("127.0.2.10", "127.0.2.11")
        assert await server.ask(name, "AAAA") == ("2001:db8::1",)
        assert (await steering.write(change(routing, EU, HOME, run="back"))).answer == HOME
        assert await steering.read() == await steering_at(server, name.upper()).read()
    assert await server.ask("mail.example", "MX") == ("10 mail.example.net.",)


@pytest.mark.parametrize("name", ["rare.example.", "private.example."])
async def test_a_cname_never_empties_a_name_that_holds_a_rare_record(server: NameServer, name: str) -> None:
    """A server drops a CNAME beside HINFO or a type without a name, and had dropped the addresses: now they stay."""
    steering = steering_at(server, name)
    routing = await steering.write(change(await steering.read(), EU, HOME, run="adopt"))
    with pytest.raises(Refused, match=name):
        await steering.write(change(routing, US, EDGE))
    assert await server.ask(name, "A") == HOME.values


async def test_a_cname_where_the_fence_belongs_is_told_and_not_taken_for_adopted(server: NameServer) -> None:
    """A TXT beside a CNAME is dropped with NOERROR: adopting such a name was called done, and no fence stood."""
    steering = steering_at(server, "led.example.")
    with pytest.raises(BadFence, match=r"a CNAME stands at _failover\.led\.example\."):
        await steering.read()
    step = change(await steering_at(server).read(), US, AWAY)
    with pytest.raises(ChangedOutside, match=r"_failover\.led\.example\."):
        await steering.write(step)
    fence = next(finding for finding in await examine(steering.spec) if finding.check == "fence")
    assert fence.ok is False
    assert await server.ask("led.example.", "A") == HOME.values


async def test_a_name_leaves_a_circle_of_cnames(server: NameServer) -> None:
    """A CNAME that leads back to itself is an outage: the name can be read there, and moved away from it."""
    steering = steering_at(server, "round.example.")
    routing = await steering.read()
    assert routing.answer == Answer("cname", ("back.example.",))
    routing = await steering.write(change(routing, EU, routing.answer, run="adopt"))
    assert (await steering.write(change(routing, US, EDGE))).answer == EDGE
    assert await server.ask("round.example.", "CNAME") == EDGE.values


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer("cname", (NAME,)), "lead nowhere"),
        (Answer("cname", (".",)), "lead nowhere"),
        (Answer("addresses", ("fe80::1%lo",)), "one machine only"),
        (Answer("addresses", tuple(f"10.{i // 62500}.{i // 250 % 250}.{i % 250}" for i in range(6000))), "64 KiB"),
    ],
    ids=["itself", "root", "scope", "too-long"],
)
async def test_an_answer_that_no_client_could_use_is_refused_in_a_sentence(
    server: NameServer, answer: Answer, text: str
) -> None:
    """A CNAME of itself, an address of one machine and a message too long end before anything is sent."""
    steering = steering_at(server)
    routing = await steering.read()
    with pytest.raises(Refused, match=text):
        await steering.write(change(routing, US, answer))
    assert await server.ask(NAME, "A") == HOME.values


async def test_a_zone_that_the_server_signs_itself_is_steered() -> None:
    """Signatures and NSEC beside the name are no neighbours: addresses, CNAME and back under inline signing."""
    async with Bind(records=RECORDS, signed=True) as server:
        steering = steering_at(server)
        routing = await steering.write(change(await steering.read(), EU, HOME, run="adopt"))
        routing = await steering.write(change(routing, US, EDGE))
        assert (await server.ask(NAME, "CNAME"), await server.ask(NAME, "A")) == (EDGE.values, ())
        assert (await steering.write(change(routing, EU, HOME, run="back"))).answer == HOME
        assert {finding.check for finding in await examine(steering.spec) if finding.ok is False} == set()


async def test_bind_refuses_an_underscore_and_the_sentence_says_so() -> None:
    """BIND's check-names answers REFUSED as a missing grant does: both are named."""
    async with Bind(records=RECORDS) as server:
        steering = steering_at(server, "my_service.example.")
        with pytest.raises(Forbidden, match="check-names"):
            await steering.write(change(await steering.read(), US, AWAY))


async def test_signatures_cut_short_by_the_server_are_taken_and_the_algorithm_is_explained() -> None:
    """A key of hmac-sha256-128 at BIND is hmac-sha256 here."""
    async with Bind(records=RECORDS, algorithm="hmac-sha256-128") as server:
        spec = steering_at(server).spec
        assert spec.key is not None
        with pytest.raises(BadInput, match=r"did you mean hmac-sha256\?"):
            await Rfc2136Steering(spec).read()
        whole = Rfc2136Steering(replace(spec, key=replace(spec.key, algorithm="hmac-sha256")))
        assert (await whole.write(change(await whole.read(), EU, HOME))).answer == HOME


async def test_an_answer_cut_short_over_tcp_is_not_taken_for_an_empty_one() -> None:
    """A reply with the truncation bit says nothing of what stands at the name."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                reply = dns.message.make_response(dns.message.from_wire(await reader.readexactly(size)))
                reply.flags |= dns.flags.AA | dns.flags.TC
                wire = reply.to_wire()
                writer.write(len(wire).to_bytes(2, "big") + wire)
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    try:
        at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Transient, match=f"{at} cut its answer"):
            await Rfc2136Steering(SteeringSpec("rfc2136", NAME, "example.", 7, at)).read()
    finally:
        server.close()


async def test_a_primary_that_dies_after_its_word_does_not_undo_it() -> None:
    """A signed NOERROR whose reading back fails is success: the run goes on, and does not wait for a dead primary."""
    async with Bind(records=RECORDS) as server:
        direct = steering_at(server)
        routing = await direct.write(change(await direct.read(), EU, HOME, run="adopt"))
        host, _, port = server.at.rpartition(":")
        listening: list[asyncio.Server] = []

        async def until_the_update(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            onward, there = await asyncio.open_connection(host, int(port))
            update = False
            while not update:
                for source, target in ((reader, there), (onward, writer)):
                    size = await source.readexactly(2)
                    message = await source.readexactly(int.from_bytes(size, "big"))
                    update = (message[2] >> 3) & 0xF == dns.opcode.UPDATE
                    target.write(size + message)
            listening[0].close()
            writer.close()
            there.close()

        listening.append(await asyncio.start_server(until_the_update, "127.0.0.1", 0))
        at = f"127.0.0.1:{listening[0].sockets[0].getsockname()[1]}"
        written = await Rfc2136Steering(replace(direct.spec, primary=at)).write(change(routing, US, AWAY))
        assert written == await direct.read()


# ------------------------------------------------------------------ PowerDNS, which breaks two promises


def test_the_policy_script_of_the_documentation_is_the_one_that_is_tested() -> None:
    """What people copy is, but for the names, what these tests run at a real PowerDNS."""
    text = (Path(__file__).parents[2] / "docs" / "steering-dns.md").read_text(encoding="utf-8")
    shown = text.partition("```lua\n")[2].partition("```")[0]
    assert shown.replace("chat.example.com.", NAME).replace("failover-chat.", "failover.") == powerdns.least(NAME)


async def test_powerdns_calls_a_forbidden_write_a_failure_and_does_none_of_it() -> None:
    """By the policy script of our documentation nothing is half written; PowerDNS has no other word than SERVFAIL."""
    world = PowerDnsWorld()
    try:
        await world.open()
        await world.forbid()
        steering = world.steering()
        with pytest.raises(Transient, match=r"SERVFAIL.*policy script of PowerDNS"):
            await steering.write(change(await steering.read(), US, world.away))
        assert await world.now() == world.home
        found = {finding.check: finding.ok for finding in await examine(world.spec)}
        assert (found["grant"], found["test-write"]) == (True, False)
    finally:
        world.close()


@pytest.mark.parametrize("missing", ["fence", "answer"])
async def test_powerdns_with_a_script_that_returns_false_breaks_a_write_in_two_and_is_caught(missing: str) -> None:
    """Such a script makes PowerDNS leave records out and say NOERROR: the write says so instead of calling it done."""
    rights = ((NAME, ("A", "AAAA", "CNAME")),) if missing == "fence" else ((f"_failover.{NAME}", ("TXT",)),)
    async with PowerDns(records=("chat 5 A 127.0.1.10",)) as server:
        steering = steering_at(server)
        routing = await steering.write(change(await steering.read(), EU, HOME, run="adopt"))
        server.stop()
        server.policy = powerdns.script(rights, deny="return false")
        await server.start()
        step = change(routing, US, AWAY)
        with pytest.raises(Forbidden, match="said NOERROR and left a part of the write out"):
            await steering.write(step)
        with pytest.raises(ChangedOutside):
            await steering.write(step)
        assert await server.ask(NAME, "A") == (AWAY if missing == "fence" else HOME).values


async def test_adopting_at_powerdns_finds_such_a_script_before_any_traffic_moves() -> None:
    """The first write changes no answer, so that a fence which is silently left out costs nothing."""
    policy = powerdns.script(((NAME, ("A", "AAAA", "CNAME")),), deny="return false")
    async with PowerDns(records=("chat 5 A 127.0.1.10",), policy=policy) as server:
        steering = steering_at(server)
        with pytest.raises(Forbidden, match="its fence is not written"):
            await steering.write(change(await steering.read(), EU, HOME, run="adopt"))
        assert await server.ask(NAME, "A") == HOME.values
