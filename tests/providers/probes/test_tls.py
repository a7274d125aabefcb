"""Probes over TLS: trust, names and expiry of certificates."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from pathlib import Path

import pytest
from prober.servers import Authority, Site, answers, authority, site, streams, token

from orchestrator.core.probe import OutcomeKind
from orchestrator.core.topology import Expect, ProbeKind, ProbeSpec
from providers.probes import Completion, Probes, resolve
from real.ports import free_port

NAME = "chat.example.com"


def spec(**changes: object) -> ProbeSpec:
    settings: dict[str, object] = {"id": "http", "kind": ProbeKind.HTTP, "interval_s": 0.1, "timeout_s": 5.0}
    return ProbeSpec(**(settings | changes))  # type: ignore[arg-type]  # settings are ProbeSpec's own fields


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


async def test_a_trusted_certificate_for_the_name_passes(probes: Probes, ca: Authority) -> None:
    """The endpoint is asked at its own address under the service's name, over one connection."""
    async with site(answers(), context=ca.context(NAME)) as server:
        asked = spec(as_name=True, ca=ca.path)
        for _ in range(2):
            outcome = await probes.ask(asked, server.url, name=NAME + ".")
            assert (outcome.kind, outcome.detail) == (OutcomeKind.PASSED, "")
        assert server.connections == 1
        assert server.asked[0].sni == NAME
        assert server.asked[0].headers["host"] == f"{NAME}:{server.port}"


async def test_a_standby_without_the_certificate_is_found(probes: Probes, ca: Authority) -> None:
    """Its own address is covered, the moving name is not: unfit, by name."""
    async with site(answers(), context=ca.context("127.0.0.1", "other.example.com")) as server:
        own = await probes.ask(spec(ca=ca.path), server.url, name=NAME)
        assert own.kind is OutcomeKind.PASSED
        moving = await probes.ask(spec(ca=ca.path, as_name=True), server.url, name=NAME)
        assert (moving.kind, moving.detail) == (OutcomeKind.MISMATCH, f"certificate does not cover {NAME}")
        overridden = await probes.ask(spec(ca=ca.path, sni="other.example.com"), server.url, name=NAME)
        assert overridden.kind is OutcomeKind.PASSED


async def test_expired_untrusted_and_soon_expiring_certificates_are_unfit(probes: Probes, ca: Authority) -> None:
    """Each is told in words, and none is called down."""
    async with site(answers(), context=ca.context(NAME, days=-1)) as server:
        outcome = await probes.ask(spec(ca=ca.path, as_name=True), server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.MISMATCH, "certificate has expired")
    async with site(answers(), context=ca.context(NAME, days=5)) as server:
        soon = spec(ca=ca.path, as_name=True, expect=Expect(certificate_days=14))
        outcome = await probes.ask(soon, server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.MISMATCH, "certificate expires in 5 days")
        outcome = await probes.ask(spec(as_name=True), server.url, name=NAME)
        assert outcome.kind is OutcomeKind.MISMATCH
        assert outcome.detail.startswith("certificate is not trusted")


async def test_a_missing_ca_file_is_our_fault(probes: Probes, ca: Authority, tmp_path: Path) -> None:
    """The outcome is soft and names the file."""
    async with site(answers(), context=ca.context(NAME)) as server:
        outcome = await probes.ask(spec(ca=str(tmp_path / "none.pem"), as_name=True), server.url, name=NAME)
        assert outcome.kind is OutcomeKind.MISMATCH
        assert "none.pem" in outcome.detail


async def test_a_silent_handshake_is_no_answer_and_plain_http_is_a_failure(probes: Probes, ca: Authority) -> None:
    """TCP stood in both cases, so neither is called unreachable."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(5)
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        outcome = await probes.ask(spec(timeout_s=0.2, ca=ca.path), url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.TIMED_OUT, "no answer in 0.2 s")

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        outcome = await probes.ask(spec(ca=ca.path), url, name=NAME)
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.detail.startswith("TLS handshake failed")


async def test_a_chat_probe_looks_at_the_certificate_too(probes: Probes, ca: Authority) -> None:
    """A model completes under a certificate that is about to expire: unfit, and the completion is told all the same."""
    asked = spec(kind=ProbeKind.CHAT, model="small", ca=ca.path, as_name=True, expect=Expect(certificate_days=14))
    async with site(streams(token("yes", "stop")), context=ca.context(NAME, days=6)) as server:
        outcome = await probes.ask(asked, server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.MISMATCH, "certificate expires in 6 days")
        assert isinstance(outcome, Completion)
        assert outcome.completed
    async with site(streams(token("", "stop")), context=ca.context(NAME, days=6)) as server:
        outcome = await probes.ask(asked, server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.FAILED, "completion was empty")


async def test_a_slow_handshake_has_the_whole_time_though_there_are_more_addresses(
    probes: Probes, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that takes the connection is not given up for the next one while its time runs."""
    monkeypatch.setattr(resolve, "_addresses", lambda _host: ("127.0.0.1", "127.0.0.2"))
    async with site(answers(), context=ca.context(NAME)) as server:

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(2.1)
            behind, before = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(_pump(reader, before), _pump(behind, writer), return_exceptions=True)

        slow = await asyncio.start_server(relay, "127.0.0.1", 0)
        async with slow:
            url = f"https://{NAME}:{slow.sockets[0].getsockname()[1]}"
            outcome = await probes.ask(spec(ca=ca.path, timeout_s=4.0), url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.PASSED, "")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


async def test_ipv6_endpoints_are_probed_and_their_certificate_is_checked(probes: Probes, ca: Authority) -> None:
    """An address in brackets is asked, named in the Host header in brackets, and looked for in the certificate."""
    server = Site(answers(), address="::1", port=free_port(), context=ca.context("::1"))
    try:
        await server.start()
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        url = f"https://[::1]:{server.port}"
        outcome = await probes.ask(spec(ca=ca.path), url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.PASSED, "")
        assert server.asked[0].headers["host"] == f"[::1]:{server.port}"
        outcome = await probes.ask(spec(kind=ProbeKind.TCP), f"tcp://[::1]:{server.port}", name=NAME)
        assert outcome.kind is OutcomeKind.PASSED
    finally:
        await server.close()
