"""Chat probes: a model passes on what it completes, not on its health page."""

from __future__ import annotations

import json

import pytest
from prober.servers import Behaviour, answers, says, site, streams, token

from orchestrator.core.probe import OutcomeKind
from orchestrator.core.topology import Expect, ProbeKind, ProbeSpec
from providers.probes import Completion, Probes

NAME = "chat.example.com"
OVERLOADED = {"error": {"message": "Incorrect key sk-123", "type": "rate_limit_error", "code": 429}}


def spec(**changes: object) -> ProbeSpec:
    settings: dict[str, object] = {
        "id": "chat",
        "kind": ProbeKind.CHAT,
        "interval_s": 60,
        "timeout_s": 5.0,
        "model": "small",
        "prompt": "Say yes.",
        "max_tokens": 5,
    }
    return ProbeSpec(**(settings | changes))  # type: ignore[arg-type]  # settings are ProbeSpec's own fields


async def test_a_completion_that_completes_is_proof(probes: Probes) -> None:
    """It is asked as the probe says, and the first token's time is measured."""
    stream = streams(token(""), token("ye"), token("s"), token("", "stop"), pause_s=0.005, newline="\r\n")
    async with site(stream) as server:
        outcome = await probes.ask(spec(expect=Expect(body="yes")), server.url, name=NAME)
        assert isinstance(outcome, Completion)
        assert (outcome.kind, outcome.completed) == (OutcomeKind.PASSED, True)
        assert outcome.first_token_s is not None
        assert 0 < outcome.first_token_s < outcome.latency_s
        asked = server.asked[0]
        assert asked.line == "POST /v1/chat/completions HTTP/1.1"
        assert json.loads(asked.body) == {
            "model": "small",
            "messages": [{"role": "user", "content": "Say yes."}],
            "max_tokens": 5,
            "stream": True,
        }


async def test_a_base_url_that_ends_in_v1_is_not_doubled(probes: Probes) -> None:
    """https://host/v1 is how many people write an OpenAI-compatible endpoint."""
    async with site(streams(token("yes", "stop"))) as server:
        await probes.ask(spec(), server.url + "/v1", name=NAME)
        assert server.asked[0].line.split()[1] == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("behave", "kind", "detail"),
    [
        (streams(token("yes", "stop"), then="end"), OutcomeKind.PASSED, ""),
        (streams(token("yes"), then="done"), OutcomeKind.PASSED, ""),
        (streams({"choices": []}, token("yes", "stop"), {"choices": [], "usage": {}}), OutcomeKind.PASSED, ""),
        (
            answers(
                body=json.dumps({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}).encode(),
                headers=("Content-Type: application/json",),
            ),
            OutcomeKind.PASSED,
            "",
        ),
        (streams(token("", "stop")), OutcomeKind.FAILED, "completion was empty"),
        (streams(), OutcomeKind.FAILED, "completion was empty"),
        (answers(body=b""), OutcomeKind.FAILED, "completion was empty"),
        (streams(token("no", "stop")), OutcomeKind.FAILED, "completion lacks the expected text"),
        (streams(token("yes"), then="end"), OutcomeKind.FAILED, "completion did not finish"),
        (streams(token("yes"), then="hang"), OutcomeKind.TIMED_OUT, "answer not complete in 2 s"),
        (
            streams(token("yes"), {"error": {"message": "sk-123", "type": "server_error"}}),
            OutcomeKind.FAILED,
            "error in the stream: server_error",
        ),
        (streams(OVERLOADED), OutcomeKind.THROTTLED, "error in the stream: rate_limit_error"),
        (
            streams(token("yes"), {"object": "error", "message": "engine is dead", "code": 500}),
            OutcomeKind.FAILED,
            "error in the stream",
        ),
        (
            streams(token("yes"), {"type": "error", "message": "engine is dead"}),
            OutcomeKind.FAILED,
            "error in the stream: error",
        ),
        (streams(token("yes", "stop"), newline="\r"), OutcomeKind.PASSED, ""),
        (streams("nonsense"), OutcomeKind.FAILED, "the stream holds something that is no completion"),
        (answers(429), OutcomeKind.THROTTLED, "status 429"),
        (answers(500), OutcomeKind.FAILED, "status 500"),
        (
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n", then="close"),
            OutcomeKind.REFUSED,
            "connection closed in the middle of the answer",
        ),
    ],
)
async def test_completions_are_judged_on_their_content(
    probes: Probes, behave: Behaviour, kind: OutcomeKind, detail: str
) -> None:
    """Anything but a finished completion that says what it should is no proof."""
    async with site(behave) as server:
        outcome = await probes.ask(spec(timeout_s=2.0, expect=Expect(body="yes")), server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (kind, detail)
        assert outcome.completed is (kind is OutcomeKind.PASSED)


async def test_a_late_completion_is_slow_and_still_proof(probes: Probes) -> None:
    """A slow first token is told in seconds."""
    async with site(streams(token("yes", "stop"), pause_s=0.05)) as server:
        outcome = await probes.ask(spec(expect=Expect(latency_s=0.05)), server.url, name=NAME)
        assert (outcome.kind, outcome.completed) == (OutcomeKind.SLOW, True)
        assert outcome.detail.startswith("first token after 0.")


async def test_a_model_that_only_thinks_within_its_tokens_has_produced_something(probes: Probes) -> None:
    """Reasoning models may spend all tokens on reasoning; that is an inference."""
    thought = {"choices": [{"delta": {"reasoning_content": "hm"}, "finish_reason": "length"}]}
    async with site(streams(thought)) as server:
        outcome = await probes.ask(spec(), server.url, name=NAME)
        assert outcome.kind is OutcomeKind.PASSED


@pytest.mark.parametrize("field", ["tool_calls", "function_call", "refusal"])
async def test_an_inference_without_content_is_an_inference(probes: Probes, field: str) -> None:
    """A model that calls a tool or refuses has run; it has not said what a probe may expect it to."""
    produce = {"choices": [{"delta": {"content": None, field: "something"}, "finish_reason": "stop"}]}
    async with site(streams(produce)) as server:
        outcome = await probes.ask(spec(), server.url, name=NAME)
        assert (outcome.kind, outcome.completed) == (OutcomeKind.PASSED, True)
        outcome = await probes.ask(spec(expect=Expect(body="yes")), server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.FAILED, "completion lacks the expected text")


async def test_characters_may_be_cut_between_chunks(probes: Probes) -> None:
    """A letter of three bytes that comes in two pieces is one letter."""
    words = "\u6f22\u5b57 \u00e9\u00e9 \U0001f642" * 9

    async def behave(_site, _reader, writer, _asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        data = b"\xef\xbb\xbfdata: " + json.dumps(token(words, "stop"), ensure_ascii=False).encode() + b"\n\n"
        for byte in data:
            writer.write(bytes((byte,)))
            await writer.drain()
        writer.close()

    async with site(behave) as server:
        outcome = await probes.ask(spec(expect=Expect(body=words)), server.url, name=NAME)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.PASSED, "")
