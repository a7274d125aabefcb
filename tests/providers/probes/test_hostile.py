"""Answers that nobody should send: floods, leftovers, codings that were not asked for."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from time import perf_counter

import pytest
from prober.servers import Behaviour, Site, answers, says, site

from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import Expect, ProbeKind, ProbeSpec
from providers.probes import Probes
from providers.probes.link import LONGEST_HEAD

NAME = "chat.example.com"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
JSON = Expect(json_path="up", json_equals="1")


def spec(**changes: object) -> ProbeSpec:
    settings: dict[str, object] = {"id": "http", "kind": ProbeKind.HTTP, "interval_s": 0.1, "timeout_s": 5.0}
    return ProbeSpec(**(settings | changes))  # type: ignore[arg-type]  # settings are ProbeSpec's own fields


async def often(probes: Probes, asked: ProbeSpec, url: str, times: int) -> list[tuple[OutcomeKind, str]]:
    """Ask *times* over one question, each when the one before is answered."""
    question = probes.prepare(asked, url, name=NAME)
    outcomes: list[Outcome] = []
    for _ in range(times):
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        probes.begin(question, answer.set_result)
        outcomes.append(await answer)
    probes.forget(question)
    return [(outcome.kind, outcome.detail) for outcome in outcomes]


def floods(head: bytes, unit: bytes) -> Behaviour:
    """Write *head*, and then *unit* for as long as somebody reads."""

    async def behave(_site: Site, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _asked: object) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(unit)
            await writer.drain()

    return behave


@pytest.mark.parametrize("expect", [Expect(), JSON], ids=["status", "json"])
@pytest.mark.parametrize(
    ("behave", "detail"),
    [
        (floods(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 4096 + b"\r\n"), "header fields do not end"),
        (floods(b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 4096), "header fields do not end"),
        (floods(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 200), "header fields do not end"),
        (floods(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"a" * 65536), "answer does not end"),
        (floods(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 65536), "answer does not end"),
    ],
    ids=["fields", "field", "interim", "body", "close"],
)
async def test_an_answer_that_never_ends_is_given_up(
    probes: Probes, behave: Behaviour, detail: str, expect: Expect
) -> None:
    """It is not read for the whole time, since other probes wait meanwhile."""
    async with site(behave) as server:
        outcome = await probes.ask(spec(expect=expect), server.url, name=NAME)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.FAILED, detail)
    assert outcome.latency_s < 4.5


async def test_a_long_body_is_not_kept_where_nobody_wants_it(probes: Probes) -> None:
    """What a plain probe remembers of an answer has a bound; reading on costs no more the longer it gets."""
    async with site(answers(body=b"x" * 20_000_000)) as server:
        question = probes.prepare(spec(), server.url, name=NAME)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        asking = probes.begin(question, answer.set_result)
        outcome = await answer
        probes.forget(question)
    assert outcome.kind is OutcomeKind.PASSED
    assert len(asking.head) <= 2 * LONGEST_HEAD + 262_144  # uvloop hands over a quarter of a megabyte at once


@pytest.mark.parametrize("rest", [b"EXTRA", b"HTTP/1.1 200 OK\r\nContent-Le", OK])
async def test_bytes_behind_an_answer_do_not_spoil_the_next_one(probes: Probes, rest: bytes) -> None:
    """A server that counts its body wrong is asked again over a new connection, and passes each time."""
    async with site(says(OK + rest, then="next")) as server:
        assert await often(probes, spec(), server.url, 4) == [(OutcomeKind.PASSED, "")] * 4


async def test_garbage_over_a_new_connection_is_garbage(probes: Probes) -> None:
    """A kept-alive endpoint that stops speaking HTTP is asked once more, and has failed then."""
    behaviours = [answers(), says(b"what?\r\n\r\n", then="next"), says(b"what?\r\n\r\n", then="next")]

    async def behave(server: Site, reader, writer, asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        await behaviours[min(len(server.asked), len(behaviours)) - 1](server, reader, writer, asked)

    async with site(behave) as server:
        first, second = await often(probes, spec(), server.url, 2)
        assert first == (OutcomeKind.PASSED, "")
        assert second == (OutcomeKind.FAILED, "the answer is not HTTP")
        assert server.connections == 2


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b'{"up": 1}', mtime=0)),
        ("deflate", zlib.compress(b'{"up": 1}')),
        ("x-gzip", gzip.compress(b'{"up": 1}', mtime=0)),
    ],
)
async def test_a_packed_body_is_unpacked_though_it_was_asked_for_as_it_is(
    probes: Probes, coding: str, packed: bytes
) -> None:
    """Files that are stored compressed come compressed, whatever one asks for."""
    async with site(answers(body=packed, headers=(f"Content-Encoding: {coding}",))) as server:
        assert await often(probes, spec(expect=JSON), server.url, 2) == [(OutcomeKind.PASSED, "")] * 2
        assert server.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("packed", [b"not packed", gzip.compress(b"0" * 50_000_000, 9)], ids=["broken", "bomb"])
async def test_a_body_that_cannot_be_unpacked_fails_soon(probes: Probes, packed: bytes) -> None:
    """64 KiB of it are looked at, however much it would become."""
    async with site(answers(body=packed, headers=("Content-Encoding: gzip",))) as server:
        began = perf_counter()
        ((kind, _),) = await often(probes, spec(expect=JSON), server.url, 1)
        assert kind is OutcomeKind.FAILED
        assert perf_counter() - began < 4.5
