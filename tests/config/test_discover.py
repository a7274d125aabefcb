"""Discovery against a real name server and a TLS server with a certificate of its own, and the draft made of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.config import draft, findings, parse
from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Answer, Mode, Role, Secret, SecretSource
from providers.base import Transient
from providers.dns.discover import Certificate, Discovered, FoundEndpoint, discover
from real.bind import Bind
from real.ports import free_port

Serve = Callable[..., AbstractAsyncContextManager[int]]

RECORDS = (
    "chat 20 A 127.0.0.1",
    "us A 127.0.0.1",
    "eu A 127.0.0.9",
    "eu AAAA ::1",
    "alias 30 CNAME us",
    "slow 7200 A 127.0.0.1",
    '_failover.slow TXT "v=1 gen=7 run=r step=s w=us:100"',
    "deep.sub A 127.0.0.1",
)


@pytest.fixture
async def bind() -> AsyncIterator[Bind]:
    async with Bind(records=RECORDS) as server:
        yield server


@pytest.fixture
def at(bind: Bind) -> tuple[str, int]:
    host, _, port = bind.at.rpartition(":")
    return host, int(port)


@pytest.fixture
def tls(tmp_path: Path) -> Serve:
    """A TLS server whose self-made certificate is for *names* and lives for *days* more."""

    @asynccontextmanager
    async def serve(*names: str, days: float = 90) -> AsyncIterator[int]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "made for a test")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = tmp_path / "server.pem"
        pem.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            await server.wait_closed()

    return serve


async def test_what_stands_in_dns_is_read(bind: Bind, at: tuple[str, int]) -> None:
    """Zone, primary, name servers, TTL, addresses and the absent fence of a name are found."""
    found = await discover("Chat.Example.", ("http://us.example:8000", "http://eu.example"), resolver=at, port=at[1])
    assert found == Discovered(
        name="chat.example",
        answer=Answer("addresses", ("127.0.0.1",)),
        ttl_s=20,
        endpoints=(
            FoundEndpoint("http://us.example:8000", ("127.0.0.1",), None),
            FoundEndpoint("http://eu.example", ("127.0.0.9", "::1"), None),
        ),
        zone="example",
        primary=bind.at,
        primary_name="ns.example",
        servers=(bind.at,),
    )


async def test_the_zone_is_found_above_empty_names(at: tuple[str, int]) -> None:
    """The zone of a name several labels deep is found by walking up to the SOA."""
    found = await discover("deep.sub.example", ("http://127.0.0.1",), resolver=at, port=at[1])
    assert (found.zone, found.ttl_s) == ("example", 5)


async def test_a_cname_is_read_as_one(at: tuple[str, int]) -> None:
    """A name that is an alias is told apart from one with addresses."""
    found = await discover("alias.example", ("http://us.example", "http://eu.example"), resolver=at, port=at[1])
    assert (found.answer, found.ttl_s, found.zone) == (Answer("cname", ("us.example.",)), 30, "example")
    topology = parse(draft(found), "draft")
    assert [(e.id, e.role, e.answer) for e in topology.services[0].endpoints] == [
        ("eu", Role.STANDBY, Answer("cname", ("eu.example.",))),
        ("us", Role.ACTIVE, Answer("cname", ("us.example.",))),
    ]


async def test_a_fence_that_stands_is_told(at: tuple[str, int]) -> None:
    """A name that something steers already is said to be so, and a long TTL is not taken over."""
    found = await discover("slow.example", ("http://us.example",), resolver=at, port=at[1])
    assert found.fence == "v=1 gen=7 run=r step=s w=us:100"
    text = draft(found)
    assert "something steers this name already" in text
    assert "ttl: 30s  # TODO: the record has 2h now; lower it there before the first failover" in text


async def test_a_name_that_does_not_resolve_is_one_sentence(at: tuple[str, int]) -> None:
    """A name without address is refused with what to do."""
    with pytest.raises(BadInput) as caught:
        await discover("nowhere.example", ("http://us.example",), resolver=at, port=at[1])
    assert str(caught.value) == (
        "nowhere.example does not resolve: it has no address and no CNAME; create the record, or check the name"
    )


async def test_a_resolver_that_is_away_is_one_sentence() -> None:
    """A resolver that does not answer is named."""
    port = free_port()
    with pytest.raises(Transient) as caught:
        await discover("chat.example", ("http://us.example",), resolver=("127.0.0.1", port))
    assert str(caught.value).startswith(f"the DNS resolver 127.0.0.1:{port} does not answer (")


async def test_a_primary_that_is_away_leaves_a_sentence(at: tuple[str, int]) -> None:
    """Where only a cache answers, the draft says what could not be learned."""
    port = free_port()
    found = await discover("chat.example", ("http://us.example",), resolver=at, port=port)
    assert found.ttl_s is None
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"the primary name server ns.example at 127.0.0.1:{port} did not answer: ")
    assert "ttl: 30s  # TODO: the TTL could not be read" in draft(found)


async def test_a_frozen_primary_does_not_hold_up_the_draft(bind: Bind, at: tuple[str, int]) -> None:
    """A resolver that falls silent is given up within seconds."""
    bind.freeze()
    try:
        async with asyncio.timeout(30):
            with pytest.raises(Transient, match="no answer in time"):
                await discover("chat.example", ("http://us.example",), resolver=at, port=at[1])
    finally:
        bind.thaw()


@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        ((), "no endpoint is given; name at least one with --endpoint https://us.chat.example.com"),
        (("ftp://x",), "'ftp://x' is no URL of an endpoint; write it like https://us.chat.example.com:8443"),
        (
            ("http://u:hunter2@x",),
            "'the given URL' is no URL of an endpoint; write it like https://us.chat.example.com:8443",
        ),
        (("http://a", "http://a"), "an endpoint is given twice; name each one once"),
        (
            ("http://chat.example", "http://a"),
            "'http://chat.example' is at the name that moves; give the endpoint's own name or address instead",
        ),
    ],
)
async def test_unusable_endpoints_are_one_sentence(urls: tuple[str, ...], sentence: str) -> None:
    """Endpoints that cannot be used are refused before anything is asked."""
    with pytest.raises(BadInput) as caught:
        await discover("chat.example", urls, resolver=("127.0.0.1", 1))
    assert str(caught.value) == sentence


async def test_a_certificate_is_asked_for_under_the_moving_name(at: tuple[str, int], tls: Serve) -> None:
    """An endpoint's certificate is read: its names, its expiry, and that it covers the moving name."""
    async with tls("chat.example", "us.example") as port:
        found = await discover("chat.example", (f"https://us.example:{port}",), resolver=at, port=at[1])
    certificate = found.endpoints[0].certificate
    assert certificate is not None
    assert (certificate.names, certificate.covers) == (("chat.example", "us.example"), True)
    assert timedelta(days=89) < certificate.expires - datetime.now(UTC) < timedelta(days=91)
    assert certificate.distrust == "self-signed certificate"
    assert found.endpoints[0].problems == (
        "its certificate is not trusted on this machine (self-signed certificate): give its probes a ca",
    )


@pytest.mark.parametrize(("name", "covers"), [("*.example", True), ("*.sub.example", False), ("example", False)])
async def test_a_star_stands_for_one_label(at: tuple[str, int], tls: Serve, name: str, covers: bool) -> None:
    """A wildcard certificate covers one label, as clients judge it."""
    async with tls(name) as port:
        found = await discover("chat.example", (f"https://127.0.0.1:{port}",), resolver=at, port=at[1])
    assert found.endpoints[0].certificate is not None
    assert found.endpoints[0].certificate.covers is covers


async def test_a_standby_without_the_certificate_is_found(at: tuple[str, int], tls: Serve) -> None:
    """A certificate for other names, and one that is about to expire, are named in the draft."""
    async with tls("us.example", days=3) as port:
        found = await discover("chat.example", (f"https://us.example:{port}",), resolver=at, port=at[1])
    problems = found.endpoints[0].problems
    assert problems[0] == (
        "its certificate is not for chat.example (it is for us.example): clients of chat.example would refuse it"
    )
    assert problems[1].startswith("its certificate expires on 20")
    text = draft(found)
    assert all(f"# TODO: {problem}.\n" in text for problem in problems)


async def test_an_endpoint_that_is_away_leaves_a_sentence(at: tuple[str, int]) -> None:
    """An endpoint that refuses, speaks no TLS or does not resolve is a TODO, not a failure."""
    port = free_port()
    urls = (f"https://us.example:{port}", f"https://127.0.0.1:{at[1]}", "https://nowhere.example")
    found = await discover("chat.example", urls, resolver=at, port=at[1])
    assert [each.certificate for each in found.endpoints] == [None, None, None]
    first, second, third = (each.problems[0] for each in found.endpoints)
    assert first.startswith(f"no certificate for chat.example at 127.0.0.1:{port}: ")
    assert second.startswith(f"no certificate for chat.example at 127.0.0.1:{at[1]}: ")
    assert third == "nowhere.example does not resolve"
    _good(draft(found))


def _good(text: str) -> None:
    """The draft parses, watches only, and has no finding that would stop it."""
    topology = parse(text, "draft")
    assert [each for each in findings(topology) if each.severity == "error"] == []
    assert topology.services[0].policy.mode is Mode.OBSERVE


async def test_a_draft_is_good_and_says_what_to_do(at: tuple[str, int]) -> None:
    """The file that init writes is valid as it stands, and its key is named by its place."""
    found = await discover("chat.example", ("http://us.example", "http://eu.example"), resolver=at, port=at[1])
    text = draft(found)
    _good(text)
    topology = parse(text, "draft")
    service = topology.services[0]
    assert (service.id, service.name) == ("chat", "chat.example")
    assert [(each.id, each.role) for each in service.endpoints] == [("eu", Role.STANDBY), ("us", Role.ACTIVE)]
    assert service.steering is not None
    assert (service.steering.zone, service.steering.ttl_s) == ("example.", 20)
    assert service.steering.key is not None
    assert service.steering.key.secret == Secret(SecretSource.ENV, "FAILOVER_TSIG")
    assert text.count("# TODO") >= 5


def _variants() -> list[Discovered]:
    plain = Discovered("chat.example", Answer("addresses", ("192.0.2.1",)), 20, ())
    certificate = Certificate(("a", "evil\nname: x"), datetime(2030, 1, 1, tzinfo=UTC), True, None)
    at_us = FoundEndpoint("https://us.example", ("192.0.2.1",), None)
    cases = [
        replace(plain, endpoints=(at_us,)),
        replace(plain, endpoints=(at_us, replace(at_us, url="https://us.example:8443"))),
        replace(plain, endpoints=(FoundEndpoint("https://192.0.2.7", ("192.0.2.7",), certificate),)),
        replace(plain, endpoints=(FoundEndpoint("https://[2001:db8::1]:8443", ("2001:db8::1",), None),)),
        replace(plain, endpoints=(FoundEndpoint("https://here.example", (), None, ("a\nb: c",)),)),
        replace(plain, endpoints=tuple(replace(at_us, url=f"http://us.{n}.example") for n in range(3))),
        replace(plain, endpoints=(FoundEndpoint("https://chat.example", ("192.0.2.1",), None),)),
    ]
    alias = Answer("cname", ("us.example.",))
    cases += [replace(case, answer=alias) for case in cases]
    zoned = {"zone": "example", "primary": "192.0.2.53:53", "servers": ("192.0.2.53:53",)}
    cases += [replace(case, **zoned) for case in cases]  # type: ignore[arg-type]  # the fields have these types
    cases += [replace(case, ttl_s=ttl_s) for case in cases for ttl_s in (None, 0, 86400)]
    return cases


def test_every_draft_is_good() -> None:
    """Whatever was or was not found, the draft is a valid file."""
    for found in _variants():
        _good(draft(found))


def test_words_from_the_world_cannot_write_the_file() -> None:
    """A certificate or a fence with line breaks stays within its comment."""
    evil = "x\nservices: []\n"
    endpoint = FoundEndpoint("https://us.example", ("192.0.2.1",), None, (evil,))
    found = Discovered(
        "chat.example", Answer("addresses", ("192.0.2.1",)), 20, (endpoint,), fence=evil, problems=(evil,)
    )
    assert "\nservices: []" not in draft(found)
    _good(draft(found))


@pytest.mark.parametrize("name", ["*.chat.example", ".", "", "chat.example extra", "-chat.example"])
async def test_a_name_that_the_topology_would_not_take_is_told_before_it_is_looked_up(
    name: str, at: tuple[str, int]
) -> None:
    """A wildcard has an answer, and the file made of it would not pass validation."""
    with pytest.raises(BadInput, match="is no host name"):
        await discover(name, ("http://127.0.0.1",), resolver=at, port=at[1])


async def test_a_cname_at_the_place_of_the_fence_is_shown() -> None:
    """What stands where the fence belongs is told in the file, whatever its type."""
    async with Bind(records=("chat 5 A 127.0.0.1", "_failover.chat 5 CNAME chat")) as server:
        host, _, port = server.at.rpartition(":")
        found = await discover("chat.example", ("http://127.0.0.1",), resolver=(host, int(port)), port=int(port))
    assert found.fence == "CNAME chat.example."
    assert "_failover.chat.example says 'CNAME chat.example.'" in draft(found)
