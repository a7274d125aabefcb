"""The world's DNS server beside BIND: the same questions, the same answers."""

from __future__ import annotations

import asyncio
import base64
import collections
import secrets
import time
from collections.abc import AsyncIterator, Callable

import dns.asyncquery
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import pytest

from orchestrator.local.dns_server import DnsServer
from orchestrator.local.dns_zone import Grant, Zone
from real.bind import Bind, ask

SECRET = base64.b64encode(secrets.token_bytes(32)).decode()
KEY = dns.tsig.Key("failover.", SECRET, "hmac-sha256")
ORIGIN = dns.name.from_text("example.")
RECORDS = (
    ("@", "SOA", "ns.example. hostmaster.example. 1 60 5 86400 1"),
    ("@", "NS", "ns.example."),
    ("ns", "A", "127.0.0.1"),
    ("chat", "A", "127.0.1.10"),
    ("_failover.chat", "TXT", '"v=1 gen=1"'),
    ("alias", "CNAME", "chat.example."),
)
Update = dns.update.UpdateMessage
Work = Callable[[Update], object]


def zone(*grants: Grant) -> Zone:
    records = {}
    for owner, kind, text in RECORDS:
        rdtype = dns.rdatatype.from_text(kind)
        rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, text)
        records[dns.name.from_text(owner, ORIGIN), rdtype] = (5, (rdata,))
    return Zone(ORIGIN, records, grants)


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    made = DnsServer(zone(), {KEY.name: KEY})
    await made.start()
    yield made
    await made.stop()


async def send(port: int, message: dns.message.Message, key: dns.tsig.Key | None = KEY) -> dns.message.Message:
    if key is not None:
        message.use_tsig(key)
    return await dns.asyncquery.tcp(message, "127.0.0.1", timeout=10, port=port)


def update(*work: Work) -> Update:
    message = Update(ORIGIN)
    for each in work:
        each(message)
    return message


def verb(name: str) -> Callable[..., Work]:
    def made(*arguments: object) -> Work:
        return lambda message: getattr(message, name)(*arguments)

    return made


present, absent, add, delete, replace = map(verb, ("present", "absent", "add", "delete", "replace"))
HERE = present("chat", "A", "127.0.1.10")
STEER = replace("chat", 5, "A", "127.0.2.10")
MARK = add("x", 5, "A", "127.0.0.9")
CASES: dict[str, tuple[Work, ...]] = {
    "the value stands": (HERE, STEER),
    "another value stands": (present("chat", "A", "127.0.9.9"), STEER),
    "a part of the set": (
        present("chat", "A", "127.0.1.10", "127.0.1.11"),
        STEER,
    ),
    "fence and answer stand": (
        present("_failover.chat", "TXT", '"v=1 gen=1"'),
        HERE,
        replace("_failover.chat", 5, "TXT", '"v=1 gen=2"'),
        STEER,
    ),
    "the fence moved": (
        present("_failover.chat", "TXT", '"v=1 gen=7"'),
        HERE,
        STEER,
    ),
    "a text in other case": (present("_failover.chat", "TXT", '"V=1 GEN=1"'), MARK),
    "the set exists": (present("chat", "A"), MARK),
    "the set does not exist": (present("chat", "AAAA"), MARK),
    "no such set, rightly": (absent("chat", "AAAA"), MARK),
    "no such set, wrongly": (absent("chat", "A"), MARK),
    "the name is in use": (present("chat"), MARK),
    "the name is not in use": (present("nobody"), MARK),
    "no such name, rightly": (absent("nobody"), MARK),
    "no such name, wrongly": (absent("chat"), MARK),
    "a prerequisite outside the zone": (present("chat.other.", "A"), MARK),
    "an addition outside the zone": (MARK, add("y.other.", 5, "A", "127.0.0.9")),
    "a text beside a cname": (add("alias", 5, "TXT", '"beside"'),),
    "a cname beside an address": (add("chat", 5, "CNAME", "ns.example."),),
    "a cname replaced by another": (add("alias", 5, "CNAME", "ns.example."),),
    "an address becomes a cname": (delete("chat", "A"), add("chat", 5, "CNAME", "ns.example.")),
    "a second address": (add("chat", 5, "A", "127.0.1.11"), add("chat", 5, "A", "127.0.1.10")),
    "one value deleted": (add("chat", 5, "A", "127.0.1.11"), delete("chat", "A", "127.0.1.10")),
    "the whole name deleted": (delete("chat"),),
    "added, deleted, added": (
        add("chat", 5, "A", "127.0.3.1"),
        delete("chat", "A"),
        add("chat", 5, "A", "127.0.4.1"),
    ),
    "the apex cannot be emptied": (delete("@"), delete("@", "NS"), delete("@", "SOA")),
    "the last name server stays": (delete("@", "NS", "ns.example."),),
    "another zone": (lambda m: setattr(m.zone[0], "name", dns.name.from_text("other.")),),
}
OBSERVED = (
    ("chat.example.", "A"), ("chat.example.", "CNAME"), ("_failover.chat.example.", "TXT"), ("x.example.", "A"),
    ("alias.example.", "CNAME"), ("alias.example.", "TXT"), ("example.", "NS"),
)  # fmt: skip


@pytest.fixture(scope="module")
def bind_records() -> tuple[str, ...]:
    return tuple(f"{owner} {kind} {text}" for owner, kind, text in RECORDS[3:])


async def test_updates_are_answered_and_applied_as_by_bind(bind_records: tuple[str, ...]) -> None:
    """For every prerequisite and update, code and records afterwards are those that BIND gives."""
    differences = {}
    async with Bind(records=bind_records, secret=SECRET) as bind:
        for name, work in CASES.items():
            ours = DnsServer(zone(), {KEY.name: KEY})
            await ours.start()
            said = []
            for port in (ours.port, bind.port):
                reply = await send(port, update(*work))
                after = [await ask(f"127.0.0.1:{port}", owner, kind) for owner, kind in OBSERVED]
                said.append((dns.rcode.to_text(reply.rcode()), after))
            if said[0] != said[1]:
                differences[name] = said
            await ours.stop()
            await _restore(bind)
    assert differences == {}


async def _restore(bind: Bind) -> None:
    put_back = update(delete("x"), delete("chat"), delete("alias"))
    for owner, kind, text in RECORDS[3:]:
        put_back.replace(owner, 5, kind, text)
    await send(bind.port, put_back)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (dns.tsig.Key("stranger.", SECRET, "hmac-sha256"), dns.tsig.PeerBadKey),
        (dns.tsig.Key("failover.", base64.b64encode(b"other").decode(), "hmac-sha256"), dns.tsig.PeerBadSignature),
        (dns.tsig.Key("failover.", SECRET, "hmac-sha512"), dns.tsig.PeerBadKey),
    ],
    ids=["unknown key", "wrong secret", "other algorithm"],
)
async def test_a_bad_signature_is_answered_with_its_reason(
    server: DnsServer, bind_records: tuple[str, ...], key: dns.tsig.Key, error: type[Exception]
) -> None:
    """An unknown key is BADKEY and a wrong secret BADSIG, here as at BIND, and nothing is changed."""
    message = update(STEER)
    with pytest.raises(error):
        await send(server.port, message, key)
    async with Bind(records=bind_records, secret=SECRET) as bind:
        with pytest.raises(error):
            await send(bind.port, update(STEER), key)
    assert await ask(f"127.0.0.1:{server.port}", "chat.example.", "A") == ("127.0.1.10",)


async def test_a_wrong_clock_is_told_with_a_signature(server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message signed an hour ago is BADTIME, and that reply is signed."""
    message = update(STEER)
    message.use_tsig(KEY)
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - 3600)
        wire = message.to_wire()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(len(wire).to_bytes(2, "big") + wire)
    reply = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    writer.close()
    parsed = dns.message.from_wire(reply, keyring=False)
    assert parsed.rcode() == dns.rcode.NOTAUTH
    assert parsed.tsig is not None
    assert parsed.tsig[0].error == dns.rcode.BADTIME
    assert abs(int.from_bytes(parsed.tsig[0].other, "big") - real()) < 5
    with pytest.raises(dns.tsig.PeerBadTime):
        dns.message.from_wire(reply, keyring=KEY, request_mac=message.mac)
    told = parsed.tsig[0]
    digest = dns.tsig._digest(_without_tsig(reply, parsed), KEY, told, None, message.mac)
    digest.verify(told.mac)


def _without_tsig(wire: bytes, parsed: dns.message.Message) -> bytes:
    start = wire.rindex(b"\x00\xfa\x00\xff") - len(parsed.tsig.name.to_wire())
    return wire[:10] + (0).to_bytes(2, "big") + wire[12:start]


async def test_a_key_changes_only_what_it_was_granted(server: DnsServer) -> None:
    """A key with a grant for one name cannot touch another, and an update without a key is refused."""
    server.zone = zone(Grant(dns.name.from_text("chat.example."), frozenset({dns.rdatatype.A})))
    granted = await send(server.port, update(STEER))
    other = await send(server.port, update(add("x", 5, "A", "127.0.2.10")))
    unsigned = await send(server.port, update(add("chat", 5, "A", "127.0.9.9")), None)
    codes = [reply.rcode() for reply in (granted, other, unsigned)]
    assert codes == [dns.rcode.NOERROR, dns.rcode.REFUSED, dns.rcode.REFUSED]


async def test_nsupdate_and_dig_work_with_it(server: DnsServer) -> None:
    """BIND's own nsupdate makes a guarded change, is refused a stale one, and dig sees the new answer."""
    at = f"127.0.0.1 {server.port}"
    script = (
        f"server {at}\nzone example.\nkey hmac-sha256:failover. {SECRET}\n"
        "prereq yxrrset chat.example. A 127.0.1.10\nupdate delete chat.example. A\n"
        "update add chat.example. 5 A 127.0.2.10\nsend\n"
    )
    for expected, word in ((0, b""), (2, b"NXRRSET")):
        process = await asyncio.create_subprocess_exec("nsupdate", stdin=-1, stdout=-1, stderr=-1)
        _, errors = await process.communicate(script.encode())
        assert process.returncode == expected
        assert word in errors
    for flags in ((), ("+tcp",)):
        dig = await asyncio.create_subprocess_exec(
            *("dig", "@127.0.0.1", "-p", str(server.port), "+short", *flags, "alias.example.", "A"), stdout=-1
        )
        assert (await dig.communicate())[0].split() == [b"chat.example.", b"127.0.2.10"]


async def test_weighted_answers_give_each_address_its_share(server: DnsServer) -> None:
    """With weights beside the name each resolver gets one address, drawn by weight; a key sees the whole set."""
    reply = await send(
        server.port,
        update(
            replace("chat", 5, "A", "127.0.1.10"),
            add("chat", 5, "A", "127.0.2.10"),
            replace("_weights.chat", 5, "TXT", '"127.0.1.10=25 127.0.2.10=75"'),
        ),
    )
    assert reply.rcode() == dns.rcode.NOERROR
    drawn = collections.Counter([await ask(f"127.0.0.1:{server.port}", "chat.example.", "A") for _ in range(400)])
    assert set(drawn) == {("127.0.1.10",), ("127.0.2.10",)}
    assert 50 < drawn["127.0.1.10",] < 155
    whole = await send(server.port, dns.message.make_query("chat.example.", "A"))
    assert sorted(item.to_text() for item in whole.answer[0]) == ["127.0.1.10", "127.0.2.10"]


async def test_every_change_moves_the_serial(server: DnsServer) -> None:
    """The zone's serial grows with a change, stays with an update that changes nothing, and names know of absence."""
    first = server.zone.serial
    await send(server.port, update(STEER))
    second = server.zone.serial
    await send(server.port, update(STEER))
    missing = await send(server.port, dns.message.make_query("nobody.example.", "A"), None)
    empty = await send(server.port, dns.message.make_query("chat.example.", "AAAA"), None)
    foreign = await send(server.port, dns.message.make_query("chat.other.", "A"), None)
    assert (second, server.zone.serial) == (first + 1, first + 1)
    assert (missing.rcode(), missing.authority[0].rdtype) == (dns.rcode.NXDOMAIN, dns.rdatatype.SOA)
    assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])
    assert foreign.rcode() == dns.rcode.REFUSED


async def test_noise_is_answered_or_passed_over_and_never_fatal(server: DnsServer) -> None:
    """Truncated headers, replies and broken messages do not end the server."""
    for noise in (b"", b"\x00", b"\x12\x34\x80" + bytes(9), b"\x12\x34" + bytes(10), b"\xff" * 40):
        server.respond(noise, stream=False)
    broken = server.respond(b"\x12\x34\x00\x00\x00\x05" + bytes(6) + b"\xc0", stream=False)
    assert broken is not None
    assert broken[3] & 0x0F == dns.rcode.FORMERR
    assert await ask(f"127.0.0.1:{server.port}", "chat.example.", "A") == ("127.0.1.10",)
