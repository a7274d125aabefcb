"""HTTP and TCP probes against real servers that behave and misbehave."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing
from pathlib import Path
from time import perf_counter

import pytest
from prober.servers import HANGS, Behaviour, Site, answers, reset, says, site

from orchestrator.core.errors import BadInput
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import Connection, Expect, Header, ProbeKind, ProbeSpec, Secret, SecretSource
from providers.base import ProbeClient
from providers.probes import Probes
from real.ports import free_port

NAME = "chat.example.com"


def spec(**changes: object) -> ProbeSpec:
    settings: dict[str, object] = {"id": "http", "kind": ProbeKind.HTTP, "interval_s": 0.1, "timeout_s": 5.0}
    return ProbeSpec(**(settings | changes))  # type: ignore[arg-type]  # settings are ProbeSpec's own fields


async def twice(probes: Probes, asked: ProbeSpec, url: str) -> tuple[Outcome, Outcome]:
    """Ask two times over one question."""
    question = probes.prepare(asked, url, name=NAME)
    outcomes = []
    for _ in range(2):
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        probes.begin(question, answer.set_result)
        outcomes.append(await answer)
    probes.forget(question)
    return outcomes[0], outcomes[1]


def test_the_clients_fit_the_seam() -> None:
    """The probes are what the orchestrator calls a probe client."""
    assert isinstance(Probes(), ProbeClient)


async def test_a_good_answer_passes_over_one_kept_alive_connection(probes: Probes) -> None:
    """Asking three times takes one connection."""
    async with site(answers()) as server:
        for _ in range(3):
            outcome = await probes.ask(spec(), server.url, name=NAME)
            assert (outcome.kind, outcome.detail) == (OutcomeKind.PASSED, "")
            assert 0 < outcome.latency_s < 5
        assert server.connections == 1
        assert server.asked[0].line == "GET / HTTP/1.1"
        assert server.asked[0].headers["host"] == f"127.0.0.1:{server.port}"


async def test_fresh_connections_are_fresh_and_closed(probes: Probes) -> None:
    """A probe set to fresh connections takes a new one each time."""
    async with site(answers()) as server:
        for _ in range(3):
            await probes.ask(spec(connection=Connection.FRESH), server.url, name=NAME)
        assert server.connections == 3
        assert {asked.headers["connection"] for asked in server.asked} == {"close"}


@pytest.mark.parametrize(
    ("behave", "expect", "kind", "detail"),
    [
        (answers(204, b""), Expect(), OutcomeKind.PASSED, ""),
        (answers(503), Expect(), OutcomeKind.FAILED, "status 503"),
        (answers(503, headers=("Retry-After: 3",)), Expect(), OutcomeKind.THROTTLED, "status 503"),
        (answers(429), Expect(), OutcomeKind.THROTTLED, "status 429"),
        (answers(401), Expect(status=("401", "5xx")), OutcomeKind.PASSED, ""),
        (answers(body=b"all is well"), Expect(body="well"), OutcomeKind.PASSED, ""),
        (answers(body=b"all is lost"), Expect(body="well"), OutcomeKind.FAILED, "body lacks the expected text"),
        (
            answers(body=b'{"data": [{"up": true}]}'),
            Expect(json_path="data.0.up", json_equals="true"),
            OutcomeKind.PASSED,
            "",
        ),
        (answers(body=b'{"up": 1}'), Expect(json_path="up"), OutcomeKind.PASSED, ""),
        (answers(body=b'{"up": 1}'), Expect(json_path="down"), OutcomeKind.FAILED, "JSON has no down"),
        (
            answers(body=b'{"up": "no"}'),
            Expect(json_path="up", json_equals="yes"),
            OutcomeKind.FAILED,
            "JSON up is not yes",
        ),
        (answers(body=b"<html>"), Expect(json_path="up"), OutcomeKind.FAILED, "body is not JSON"),
        (says(b"what?\r\n\r\n", then="next"), Expect(), OutcomeKind.FAILED, "the answer is not HTTP"),
        (says(b"HTTP/1.1 200 OK\r\n\r\nto the end", then="close"), Expect(body="end"), OutcomeKind.PASSED, ""),
        (
            says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", then="next"),
            Expect(status=("204",)),
            OutcomeKind.PASSED,
            "",
        ),
        (
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then="close"),
            Expect(),
            OutcomeKind.REFUSED,
            "connection closed in the middle of the answer",
        ),
        (says(b"", then="close"), Expect(), OutcomeKind.REFUSED, "connection closed without an answer"),
        (says(b"", then="reset"), Expect(), OutcomeKind.REFUSED, "connection reset without an answer"),
    ],
)
async def test_answers_are_judged(
    probes: Probes, behave: object, expect: Expect, kind: OutcomeKind, detail: str
) -> None:
    """Each kind of answer has its outcome and one short phrase."""
    async with site(behave) as server:  # type: ignore[arg-type]  # parametrized behaviours
        outcome = await probes.ask(spec(expect=expect), server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (kind, detail)
        assert not outcome.completed


async def test_a_slow_answer_is_slow_and_no_answer_is_timed_out(probes: Probes) -> None:
    """Late is told from never."""
    async with site(answers(after_s=0.1)) as slow, site(HANGS) as hung:
        outcome = await probes.ask(spec(expect=Expect(latency_s=0.05)), slow.url, name=NAME)
        assert outcome.kind is OutcomeKind.SLOW
        outcome = await probes.ask(spec(timeout_s=0.2), hung.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.TIMED_OUT, "no answer in 0.2 s")
        assert 0.19 < outcome.latency_s < 1.2


async def test_the_time_covers_the_last_byte(probes: Probes) -> None:
    """A body that never ends is no complete answer."""
    async with site(says(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")) as server:
        outcome = await probes.ask(spec(timeout_s=0.2), server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.TIMED_OUT, "answer not complete in 0.2 s")


async def test_a_long_body_is_read_to_its_end_but_not_kept(probes: Probes) -> None:
    """64 KiB are kept, and the connection stays usable."""
    async with site(answers(body=b"x" * 70_000 + b"needle")) as server:
        outcome = await probes.ask(spec(expect=Expect(body="needle")), server.url, name=NAME)
        assert outcome.kind is OutcomeKind.FAILED
        outcome = await probes.ask(spec(expect=Expect(body="xxx")), server.url, name=NAME)
        assert outcome.kind is OutcomeKind.PASSED
        outcome = await probes.ask(spec(expect=Expect(body="xxx")), server.url, name=NAME)
        assert server.connections == 2


async def test_a_closed_port_refuses_and_a_full_one_is_unreachable(probes: Probes) -> None:
    """Refused is quick; a port that takes no connections is told from one that gives no answers."""
    outcome = await probes.ask(spec(), f"http://127.0.0.1:{free_port()}", name=NAME)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, "connection refused")
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        outcome = await probes.ask(spec(timeout_s=0.3), f"http://127.0.0.1:{listening.getsockname()[1]}", name=NAME)
        for filler in fillers:
            filler.close()
    assert (outcome.kind, outcome.detail) == (OutcomeKind.UNREACHABLE, "no connection in 0.3 s")


def silent_when_reused(fresh: Behaviour) -> Behaviour:
    """The first connection answers once and is then silent; new ones do as *fresh* says."""

    async def behave(server: Site, reader, writer, asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        how = fresh if asked.connection > 1 else HANGS if len(server.asked) > 1 else answers()
        await how(server, reader, writer, asked)

    return behave


async def test_a_silent_kept_alive_connection_is_checked_by_a_new_one_within_the_time(probes: Probes) -> None:
    """A dead connection is no failure of the endpoint; a silent endpoint is known as such when the time is over."""
    async with site(silent_when_reused(answers())) as server:
        first, second = await twice(probes, spec(timeout_s=1.6), server.url)
        assert [first.kind, second.kind] == [OutcomeKind.PASSED, OutcomeKind.PASSED]
        assert second.latency_s < 0.8
        assert server.connections == 2
    async with site(silent_when_reused(HANGS)) as server:
        began = perf_counter()
        _, second = await twice(probes, spec(timeout_s=1.6), server.url)
        assert (second.kind, second.detail) == (OutcomeKind.TIMED_OUT, "no answer in 1.6 s")
        assert 1.59 < perf_counter() - began < 2.3
    async with site(silent_when_reused(HANGS)) as server:
        question = probes.prepare(spec(timeout_s=1.6), server.url, name=NAME)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        probes.begin(question, answer.set_result)
        await answer
        assert server.server is not None
        server.server.close()  # the port refuses; the connection stays
        answer = asyncio.get_running_loop().create_future()
        probes.begin(question, answer.set_result)
        outcome = await answer
        assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, "connection refused")
        probes.forget(question)


async def test_a_kept_alive_answer_that_is_late_but_in_time_counts(probes: Probes) -> None:
    """The new connection's silence does not hide what the kept-alive one says in time."""
    turns = iter([answers(), answers(after_s=1.2), HANGS])

    async def behave(server: Site, reader, writer, asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        await next(turns)(server, reader, writer, asked)

    async with site(behave) as server:
        _, second = await twice(probes, spec(timeout_s=2.0), server.url)
        assert second.kind is OutcomeKind.PASSED
        # uvloop's timers move in whole milliseconds.
        assert second.latency_s > 1.195


async def test_a_request_lost_in_a_closing_connection_is_asked_again(probes: Probes) -> None:
    """A server that closes a kept-alive connection instead of answering costs nothing but a new connection."""

    async def behave(server: Site, reader, writer, asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        if asked.connection == 1 and len(server.asked) == 2:
            reset(writer)
        else:
            await answers()(server, reader, writer, asked)

    async with site(behave) as server:
        first, second = await twice(probes, spec(), server.url)
        assert [first.kind, second.kind] == [OutcomeKind.PASSED, OutcomeKind.PASSED]
        assert server.connections == 2
        assert len(server.asked) == 3


async def test_a_killed_server_is_noticed_through_the_idle_connection(probes: Probes) -> None:
    """Nobody has to ask: the lost connection tells, and the next question is refused."""
    async with site(answers()) as server:
        question = probes.prepare(spec(), server.url, name=NAME)
        lost = asyncio.Event()
        question.on_lost = lost.set
        done = asyncio.Event()
        probes.begin(question, lambda _outcome: done.set())
        await done.wait()
        assert not lost.is_set()
        server.kill()
        await asyncio.wait_for(lost.wait(), 45)
        outcome = await probes.ask(spec(), server.url, name=NAME)
        assert outcome.kind is OutcomeKind.REFUSED


async def test_names_and_headers_go_out_as_the_probe_says(
    probes: Probes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking as the service's name keeps the endpoint's address; secrets are read when they are used."""
    secret = tmp_path / "key"
    secret.write_text("first\n")
    monkeypatch.setenv("PROBE_KEY", "s3cret")
    headers = (
        Header("Authorization", Secret(SecretSource.ENV, "PROBE_KEY")),
        Header("X-Key", Secret(SecretSource.FILE, str(secret))),
        Header("User-Agent", "mine"),
    )
    asked = spec(as_name=True, path="/up?x=1", headers=headers)
    async with site(answers()) as server:
        await probes.ask(asked, server.url, name=NAME)
        secret.write_text("second\n")
        await probes.ask(asked, server.url, name=NAME)
        await probes.ask(spec(host="other.example"), server.url, name=NAME)
        first, second, third = server.asked
        assert first.headers["host"] == f"{NAME}:{server.port}"
        assert first.headers["authorization"] == "s3cret"
        assert (first.headers["x-key"], second.headers["x-key"]) == ("first", "second")
        assert first.headers["user-agent"] == "mine"
        assert first.line == "GET /up?x=1 HTTP/1.1"
        assert third.headers["host"] == "other.example"


async def test_a_missing_secret_is_our_fault_and_never_calls_an_endpoint_down(probes: Probes) -> None:
    """The outcome is soft and says which variable is missing."""
    asked = spec(headers=(Header("Authorization", Secret(SecretSource.ENV, "NO_SUCH_PROBE_KEY")),))
    async with site(answers()) as server:
        outcome = await probes.ask(asked, server.url, name=NAME)
    assert outcome.kind is OutcomeKind.MISMATCH
    assert "NO_SUCH_PROBE_KEY" in outcome.detail


async def test_a_secret_cannot_smuggle_a_second_header(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break in a secret is refused and not shown."""
    monkeypatch.setenv("PROBE_KEY", "a\r\nX-Evil: b")
    asked = spec(headers=(Header("Authorization", Secret(SecretSource.ENV, "PROBE_KEY")),))
    async with site(answers()) as server:
        outcome = await probes.ask(asked, server.url, name=NAME)
    assert outcome.kind is OutcomeKind.MISMATCH
    assert "Evil" not in outcome.detail
    assert not server.asked


async def test_a_name_that_does_not_resolve_is_unreachable(probes: Probes) -> None:
    """The phrase names the host."""
    outcome = await probes.ask(spec(timeout_s=5.0), "http://no-such-host.invalid:81", name=NAME)
    assert outcome.kind is OutcomeKind.UNREACHABLE
    assert "no-such-host.invalid" in outcome.detail or outcome.detail.startswith("name lookup")


async def test_every_address_of_a_name_is_tried(probes: Probes) -> None:
    """localhost may mean ::1 first; a server on 127.0.0.1 alone is found all the same."""
    async with site(answers()) as server:
        outcome = await probes.ask(spec(), f"http://localhost:{server.port}", name=NAME)
        assert outcome.kind is OutcomeKind.PASSED


async def test_head_is_asked_without_a_body(probes: Probes) -> None:
    """A HEAD answer ends with its headers."""
    async with site(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", then="next")) as server:
        outcome = await probes.ask(spec(method="head"), server.url, name=NAME)
        assert outcome.kind is OutcomeKind.PASSED
        assert server.asked[0].line == "HEAD / HTTP/1.1"


@pytest.mark.parametrize("url", ["ftp://x:1", "http://", "http://x:99999", "x"])
async def test_a_url_that_cannot_be_asked_is_bad_input(probes: Probes, url: str) -> None:
    """It is told when the question is made, not probed."""
    with pytest.raises(BadInput):
        await probes.ask(spec(), url, name=NAME)


async def test_a_tcp_probe_needs_a_connection_and_no_more(probes: Probes) -> None:
    """A silent port passes, a closed one is refused."""
    async with site(HANGS) as server:
        url = server.url.replace("http", "tcp")
        outcome = await probes.ask(spec(kind=ProbeKind.TCP), url, name=NAME)
        assert outcome.kind is OutcomeKind.PASSED
        assert not server.asked
    outcome = await probes.ask(spec(kind=ProbeKind.TCP), url, name=NAME)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, "connection refused")


def sockets() -> int:
    """How many this process has open."""
    links = (os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path))
    return sum(link.startswith("socket:") for link in links)


async def test_nothing_is_left_open(probes: Probes) -> None:
    """After a hundred askings that end in every way, no socket is left."""
    open_before = sockets()
    mine = Probes()
    async with site(HANGS) as hung, site(answers()) as good, site(says(b"", then="reset")) as rude:
        urls = [hung.url, good.url, rude.url, f"http://127.0.0.1:{free_port()}"] * 25
        await asyncio.gather(*(mine.ask(spec(timeout_s=0.2), url, name=NAME) for url in urls))
        await mine.close()
    for _ in range(1000):
        if sockets() <= open_before:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("sockets leaked")
