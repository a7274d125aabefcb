"""Steering by RFC 2136 at real name servers: what the common contract does not reach."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.names import EndpointId
from orchestrator.core.topology import Answer, Secret, SecretSource, SteeringSpec, TsigKey
from providers import registry
from providers.base import ChangedOutside, Forbidden, Refused, StaleGeneration, Transient, Unauthenticated
from providers.dns.exchange import Server
from providers.dns.messages import AAAA, A, answer_in, canonical, records
from providers.dns.rfc2136 import Rfc2136Steering
from real.bind import Bind
from real.knot import Knot
from real.lossy import LossyProxy
from real.nameserver import NameServer, ask
from real.powerdns import PowerDns
from real.steering import EU, NAME, US, change

HOME = Answer("addresses", ("127.0.1.10",))
AWAY = Answer("addresses", ("127.0.2.10",))
EDGE = Answer("cname", ("us.edge.example.net.",))


@pytest.fixture(params=[Bind, Knot, PowerDns], ids=["bind", "knot", "powerdns"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[NameServer]:
    async with request.param(records=("chat 5 A 127.0.1.10",)) as made:
        yield made


def spec_at(server: NameServer, *, name: str = NAME, secret: str | None = None, key: str | None = None) -> SteeringSpec:
    path = server.directory / "secret"
    path.write_text(secret if secret is not None else server.secret, encoding="utf-8")
    tsig = TsigKey(key or server.key, Secret(SecretSource.FILE, str(path)), server.algorithm)
    return SteeringSpec("rfc2136", name, server.zone, 7, server.at, (), tsig)


async def test_the_registry_gives_this_steering(server: NameServer) -> None:
    """The provider name rfc2136 in a topology leads here."""
    assert isinstance(registry.steering(spec_at(server)), Rfc2136Steering)


async def test_addresses_become_a_cname_and_addresses_again_in_one_message(server: NameServer) -> None:
    """A change of kind is one update: the name is never without an answer and never has both kinds."""
    steering = Rfc2136Steering(spec_at(server))
    cname = await steering.write(change(await steering.read(), US, EDGE))
    assert (await server.ask(NAME, "CNAME"), await server.ask(NAME, "A")) == (EDGE.values, ())
    assert cname == await steering.read()
    back = await steering.write(change(cname, EU, HOME, run="run-2"))
    assert (await server.ask(NAME, "CNAME"), await server.ask(NAME, "A")) == ((), HOME.values)
    assert (await steering.read(), back.ttl_s) == (back, 7)


async def test_a_cname_is_not_put_beside_other_records(server: NameServer) -> None:
    """Servers drop a CNAME beside other data without an error, which would empty the name: refused instead."""
    await server.edit(NAME, "MX", "10 mail.elsewhere.net.")
    steering = Rfc2136Steering(spec_at(server))
    with pytest.raises(Refused, match="also holds MX"):
        await steering.write(change(await steering.read(), US, EDGE))
    assert await server.ask(NAME, "A") == HOME.values


async def test_the_zones_own_name_cannot_be_a_cname(server: NameServer) -> None:
    """A CNAME at the top of a zone is refused before anything is sent."""
    steering = Rfc2136Steering(spec_at(server, name="example."))
    with pytest.raises(Refused, match="zone's own name"):
        await steering.write(change(await steering.read(), US, EDGE))


async def test_a_name_without_records_gets_its_first_answer(server: NameServer) -> None:
    """Steering can create the name it steers."""
    steering = Rfc2136Steering(spec_at(server, name="new.example."))
    await steering.write(change(await steering.read(), US, AWAY))
    assert await server.ask("new.example.", "A") == AWAY.values


async def test_a_fence_longer_than_one_string_survives(server: NameServer) -> None:
    """A fence of many endpoints is cut into strings of 255 bytes, read back whole and replaced."""
    weights = tuple((EndpointId(f"endpoint-with-a-long-name-{index:02}"), 1) for index in range(40))
    steering = Rfc2136Steering(spec_at(server))
    first = await steering.write(change(await steering.read(), weights, AWAY))
    assert await steering.read() == first
    assert (await steering.write(change(first, weights, HOME, run="run-2"))).generation == 2


async def test_spelling_is_no_change(server: NameServer) -> None:
    """Case of names and ways to write an IPv6 address do not count as somebody's edit."""
    await server.edit(NAME, "A")
    await server.edit(NAME, "CNAME", "EU.Edge.Example.NET.")
    steering = Rfc2136Steering(spec_at(server))
    seen = await steering.read()
    assert seen.answer == Answer("cname", ("eu.edge.example.net.",))
    long = Answer("addresses", ("2001:0DB8:0:0:0:0:0:1", "127.0.2.10"))
    written = await steering.write(change(seen, US, long))
    assert written.answer == canonical(long) == Answer("addresses", ("127.0.2.10", "2001:db8::1"))
    again = replace(change(written, EU, HOME, run="run-2"), was=long)
    assert (await steering.write(again)).answer == HOME


async def test_the_same_generation_by_another_writer_is_stale(server: NameServer) -> None:
    """A zone put back from a backup may repeat a generation: the lineage shows that it is not ours."""
    steering = Rfc2136Steering(spec_at(server))
    routing = await steering.write(change(await steering.read(), EU, HOME, run="adopt"))
    step = replace(change(routing, US, AWAY, run="run-2"), lineage=((1, "another/adopt"),))
    with pytest.raises(StaleGeneration, match="another history"):
        await steering.write(step)
    assert await server.ask(NAME, "A") == HOME.values


async def test_an_update_that_arrives_late_is_refused_by_the_server(server: NameServer) -> None:
    """An update held up on its way, whose writer has given up, cannot undo what somebody wrote meanwhile."""
    direct = Rfc2136Steering(spec_at(server))
    routing = await direct.write(change(await direct.read(), EU, HOME, run="adopt"))
    async with LossyProxy(server.at) as proxy:
        proxy.way.clear()
        slow = Rfc2136Steering(replace(spec_at(server), primary=proxy.at))
        with pytest.raises(Transient):
            await slow.write(change(routing, US, AWAY, run="slow"))
        third = Answer("addresses", ("127.0.3.10",))
        ahead = await direct.write(change(routing, US, third, run="quick"))
        assert proxy.held > 0
        proxy.way.set()
        await asyncio.wait_for(proxy.caught_up.wait(), 45)
        assert await direct.read() == ahead
        with pytest.raises(StaleGeneration, match="run quick"):
            await slow.write(change(routing, US, AWAY, run="slow"))


async def test_a_fence_that_was_deleted_is_stale(server: NameServer) -> None:
    """A fence taken away by hand stops the next write, which says to adopt again."""
    steering = Rfc2136Steering(spec_at(server))
    routing = await steering.write(change(await steering.read(), EU, HOME, run="adopt"))
    await server.edit(f"_failover.{NAME}", "TXT")
    with pytest.raises(StaleGeneration, match="is gone"):
        await steering.write(change(routing, US, AWAY))


async def test_a_fence_that_somebody_else_wrote_is_told(server: NameServer) -> None:
    """A TXT that is no fence stops reading and writing, in a sentence that names the place."""
    steering = Rfc2136Steering(spec_at(server))
    step = change(await steering.read(), US, AWAY)
    for texts in (('"v=spf1 -all"',), ('"a"', '"b"'), ('"\\255"',)):
        await server.edit(f"_failover.{NAME}", "TXT", *texts)
        with pytest.raises(BadFence, match=f"_failover.{NAME}"):
            await steering.read()
        with pytest.raises(ChangedOutside, match=f"_failover.{NAME}"):
            await steering.write(step)
    assert await server.ask(NAME, "A") == HOME.values


async def test_an_answer_made_by_a_wildcard_is_refused_in_words(server: NameServer) -> None:
    """A wildcard's answer cannot be required to stand: the write ends instead of trying for ever."""
    await server.edit("*.wild.example.", "A", "127.0.1.10")
    steering = Rfc2136Steering(spec_at(server, name="chat.wild.example."))
    with pytest.raises(Refused, match="wildcard"):
        await steering.write(change(await steering.read(), US, AWAY))


async def test_an_update_without_a_key_is_forbidden(server: NameServer) -> None:
    """A steering without a key reads, and is told that it may not write."""
    steering = Rfc2136Steering(replace(spec_at(server), key=None))
    with pytest.raises(Forbidden, match="without a key"):
        await steering.write(change(await steering.read(), US, AWAY))


async def test_an_update_sent_to_a_secondary_is_told() -> None:
    """A secondary does not take updates: the sentence says to name the zone's primary."""
    async with Bind(records=("chat 5 A 127.0.1.10",)) as primary, Bind.secondary_of(primary) as secondary:
        steering = Rfc2136Steering(replace(spec_at(primary), primary=secondary.at))
        step = change(await steering.read(), US, AWAY)
        with pytest.raises((Forbidden, Unauthenticated)):
            await steering.write(step)
        assert await primary.ask(NAME, "A") == HOME.values


async def test_a_clock_that_is_wrong_is_named(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature from an hour ago is refused with the cure: set the clocks."""
    now = time.time
    steering = Rfc2136Steering(spec_at(server))
    monkeypatch.setattr("time.time", lambda: now() - 3600)
    with pytest.raises(Unauthenticated, match="NTP"):
        await steering.read()


@pytest.mark.parametrize("secret", ["not base64!", "c2VjcmV", "===="])
async def test_a_malformed_secret_is_one_sentence_without_the_secret(server: NameServer, secret: str) -> None:
    """A secret that is no base64 is named by its place and never shown."""
    steering = Rfc2136Steering(spec_at(server, secret=secret))
    with pytest.raises(BadInput, match="is not base64") as told:
        await steering.read()
    assert secret not in str(told.value)
    assert "\n" not in str(told.value)


async def test_a_secret_that_is_not_there_is_told_at_use_and_not_before(tmp_path: Path) -> None:
    """A plan can be made on a machine that does not hold the secret."""
    key = TsigKey("k.", Secret(SecretSource.FILE, str(tmp_path / "none")))
    steering = Rfc2136Steering(SteeringSpec("rfc2136", NAME, "example.", 5, "127.0.0.1:1", (), key))
    with pytest.raises(BadInput, match="put the secret there"):
        await steering.read()


def test_mistakes_of_a_spec_are_told_when_it_is_built() -> None:
    """A name outside its zone, an address that is none and an unknown algorithm are sentences with a cure."""
    good = SteeringSpec("rfc2136", NAME, "example.", 5, "127.0.0.1:53")
    for broken, text in (
        (replace(good, zone="other."), "not inside the zone"),
        (replace(good, primary="127.0.0.1:many"), "write it as"),
        (replace(good, name="a..b"), "not a domain name"),
        (replace(good, servers=("127.0.0.1:0",)), "write it as"),
    ):
        with pytest.raises(BadInput, match=text):
            Rfc2136Steering(broken)


async def test_an_unknown_algorithm_names_the_nearest(server: NameServer) -> None:
    """hmac-sha265 is answered with hmac-sha256."""
    spec = spec_at(server)
    assert spec.key is not None
    steering = Rfc2136Steering(replace(spec, key=replace(spec.key, algorithm="hmac-sha265")))
    with pytest.raises(BadInput, match="did you mean hmac-sha2"):
        await steering.read()


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha384", "hmac-sha512", "hmac-md5"])
async def test_every_usual_key_algorithm_works(algorithm: str) -> None:
    """Keys of the algorithms that BIND makes are accepted."""
    async with Bind(records=("chat 5 A 127.0.1.10",), algorithm=algorithm) as server:
        assert (await Rfc2136Steering(spec_at(server)).read()).answer == HOME


def test_addresses_of_servers_are_read_as_people_write_them() -> None:
    """Port 53 where none is given, brackets around IPv6."""
    for text, host, port, shown in (
        ("192.0.2.1", "192.0.2.1", 53, "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1", 5353, "192.0.2.1:5353"),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353, "[2001:db8::1]:5353"),
        ("2001:db8::1", "2001:db8::1", 53, "[2001:db8::1]:53"),
        ("ns1.example.com", "ns1.example.com", 53, "ns1.example.com:53"),
    ):
        server = Server.parse(text)
        assert (server.host, server.port, str(server)) == (host, port, shown)


async def test_a_primary_given_by_host_name_is_resolved(server: NameServer) -> None:
    """A primary may be a host name of the system's resolver; one that does not resolve is a transient trouble."""
    spec = spec_at(server)
    assert (await Rfc2136Steering(replace(spec, primary=f"localhost:{server.port}")).read()).answer == HOME
    with pytest.raises(Transient, match="does not resolve"):
        await Rfc2136Steering(replace(spec, primary="ns.invalid:53")).read()


async def test_secondaries_are_asked_and_follow() -> None:
    """What every authoritative server says is seen one by one until all say the same."""
    async with Bind(records=("chat 5 A 127.0.1.10",)) as primary:
        secondary = Bind.secondary_of(primary)
        primary.stop()
        await primary.start()
        async with secondary:
            steering = Rfc2136Steering(replace(spec_at(primary), servers=(primary.at, secondary.at)))
            assert [said.answer for said in await steering.answers()] == [HOME, HOME]
            await steering.write(change(await steering.read(), US, AWAY))
            while await ask(secondary.at, NAME, "A") != AWAY.values:
                pass
            assert {(said.server, said.answer) for said in await steering.answers()} == {
                (primary.at, AWAY),
                (secondary.at, AWAY),
            }


async def test_a_server_of_another_zone_is_named_among_the_answers(server: NameServer) -> None:
    """A listed server that does not serve the zone is shown with that reason."""
    async with Bind(zone="other.") as foreign:
        steering = Rfc2136Steering(replace(spec_at(server), servers=(server.at, foreign.at)))
        here, there = await steering.answers()
        assert (here.answer, there.answer, there.error) == (HOME, None, "REFUSED")


async def test_a_change_of_unwritable_values_is_refused(server: NameServer) -> None:
    """An address that is none, and two CNAMEs, are refused before anything is sent."""
    steering = Rfc2136Steering(spec_at(server))
    routing = await steering.read()
    for answer in (Answer("addresses", ("127.0.0.1.5",)), Answer("cname", ("a.example.", "b.example."))):
        step = change(routing, US, answer)
        with pytest.raises(Refused):
            await steering.write(step)
    assert await server.ask(NAME, "A") == HOME.values


@pytest.mark.parametrize(
    ("rcode", "error", "text"),
    [
        (dns.rcode.NOERROR, Transient, "not signed"),
        (dns.rcode.NXRRSET, Unauthenticated, "NXRRSET without a signature"),
        (dns.rcode.NOTAUTH, Unauthenticated, "add TSIG key 'failover.' there"),
    ],
)
@pytest.mark.parametrize("server", [Bind], indirect=True, ids=["bind"])
async def test_an_unsigned_reply_is_not_believed(
    server: NameServer, rcode: dns.rcode.Rcode, error: type[Exception], text: str
) -> None:
    """An answer without a signature may come from anybody on the path: the write is not taken for done."""

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                query = dns.message.from_wire(await reader.readexactly(size), keyring=False, ignore_trailing=True)
                reply = dns.message.make_response(dns.message.make_query(NAME, "A"))
                reply.id, reply.flags = query.id, query.flags | dns.flags.QR | dns.flags.AA
                reply.question = query.question
                reply.set_rcode(rcode)
                wire = reply.to_wire()
                writer.write(len(wire).to_bytes(2, "big") + wire)
        writer.close()

    step = change(await Rfc2136Steering(spec_at(server)).read(), US, AWAY)
    liar = await asyncio.start_server(lie, "127.0.0.1", 0)
    try:
        at = f"127.0.0.1:{liar.sockets[0].getsockname()[1]}"
        with pytest.raises(error, match=text):
            await Rfc2136Steering(replace(spec_at(server), primary=at)).write(step)
    finally:
        liar.close()


@given(
    st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_one_set_of_addresses_has_one_spelling(addresses: list[IPv4Address | IPv6Address], random: Random) -> None:
    """However addresses are spelled, ordered and repeated, they come out the same, and split into A and AAAA whole."""
    spelled = [address.exploded.upper() for address in addresses] + [str(address) for address in addresses]
    random.shuffle(spelled)
    answer = canonical(Answer("addresses", tuple(spelled)))
    assert answer == canonical(answer) == canonical(Answer("addresses", tuple(str(a) for a in addresses)))
    split = records(answer)
    assert sorted(split[A] + split[AAAA]) == list(answer.values)
    rrsets = {kind: dns.rrset.from_text_list(NAME, 5, "IN", kind, values) for kind, values in split.items() if values}
    assert answer_in({**dict.fromkeys(split), **rrsets}) == answer
