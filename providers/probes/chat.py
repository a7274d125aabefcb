"""A streamed chat completion: read as server-sent events, judged on what the model produced."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import Expect
from providers.probes.judge import KEPT_BYTES, Received, judge_status, unfit

LONGEST_LINE = 1024 * 1024
_OTHER_PRODUCE = ("reasoning_content", "reasoning", "tool_calls", "function_call", "refusal")
"""What a model may produce instead of content. It took an inference, but it is not the text that a probe expects."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"
_CODE = re.compile(r"[a-z_]{1,40}")
_OVERLOAD = re.compile(r"rate_limit|overloaded|too_many_requests|throttl")


@dataclass(frozen=True, slots=True)
class Completion(Outcome):
    """The outcome of a chat probe."""

    first_token_s: float | None = None


class Transcript:
    """What a model has said so far. Feed it the body as it comes; *clock* gives seconds.

    Reads ``data:`` lines (WHATWG server-sent events; one JSON document each, as OpenAI's API sends them), or, when the
    server ignored ``stream``, one JSON document. Reasoning, a tool call or a refusal is produced, but is no content.
    """

    def __init__(self, clock: Callable[[], float], *, streamed: bool) -> None:
        self._clock = clock
        self._streamed = streamed
        self._rest = b""
        self._size = 0
        self.content = ""
        self.first_token_at: float | None = None
        self.finish_reason: str | None = None
        self.done = False
        self.error: str | None = None
        self.overloaded = False

    @property
    def produced(self) -> bool:
        return self.first_token_at is not None

    def feed(self, data: bytes) -> None:
        """Take in the next bytes of the body."""
        if self.done or self.error is not None:
            return
        if not self._streamed:
            self._rest = (self._rest + data)[:LONGEST_LINE]
            return
        # A CR LF that two pieces share counts as two ends: the empty line between them says nothing here.
        *lines, self._rest = _LINE_END.split(self._rest + data)
        if len(self._rest) > LONGEST_LINE:
            self.error = "a line of the stream is too long"
            return
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """The body is complete."""
        rest, self._rest = self._rest, b""
        if self._streamed:
            self._line(rest)
        elif rest:
            self._document(rest)

    def _line(self, line: bytes) -> None:
        line = line.removeprefix(_MARK)
        if self.done or self.error is not None or not line.startswith(b"data:"):
            return
        data = line[len(b"data:") :].strip()
        if data == b"[DONE]":
            self.done = True
        elif data:
            self._document(data)

    def _document(self, data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            self.error = "the stream holds something that is not JSON"
            return
        if not isinstance(document, dict):
            self.error = "the stream holds something that is no completion"
            return
        if document.get("error"):
            self._fail(document["error"])
            return
        if "error" in (document.get("object"), document.get("type")):  # vLLM puts the fields of the error themselves
            self._fail(document)
            return
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._choice(choice)

    def _choice(self, choice: dict[str, object]) -> None:
        said = choice.get("delta") or choice.get("message") or {}
        if isinstance(said, dict):
            text = said.get("content")
            other = any(said.get(field) for field in _OTHER_PRODUCE)
            if (text or other) and self.first_token_at is None:
                self.first_token_at = self._clock()
            if isinstance(text, str) and self._size < KEPT_BYTES:
                self.content += text
                self._size += len(text)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.finish_reason = reason

    def _fail(self, error: object) -> None:
        fields = error if isinstance(error, dict) else {}
        # The message is the server's own text and may repeat a key: only a code of plain letters is passed on.
        codes = [code for code in (fields.get("type"), fields.get("code")) if isinstance(code, str)]
        shown = next((code for code in codes if _CODE.fullmatch(code)), None)
        self.error = f"error in the stream: {shown}" if shown else "error in the stream"
        self.overloaded = str(fields.get("code")) == "429" or any(_OVERLOAD.search(code) for code in codes)


def judge_chat(
    received: Received, said: Transcript | None, expect: Expect, good_statuses: frozenset[int], *, started: float
) -> Completion:
    """The outcome of a chat probe: it passes only when the model finished and said something that fits."""
    wrong = judge_status(received, good_statuses)
    if wrong is not None or said is None:
        kind, detail = wrong or (OutcomeKind.FAILED, "completion was empty")
        return Completion(kind, received.latency_s, detail)
    first = said.first_token_at - started if said.first_token_at is not None else None
    bad = _wrong(said, expect)
    kind, detail = bad or unfit(received, expect) or _late(received.latency_s, first, expect)
    return Completion(kind, received.latency_s, detail, completed=bad is None, first_token_s=first)


def _wrong(said: Transcript, expect: Expect) -> tuple[OutcomeKind, str] | None:
    if said.error is not None:
        return (OutcomeKind.THROTTLED if said.overloaded else OutcomeKind.FAILED), said.error
    if not said.produced:
        return OutcomeKind.FAILED, "completion was empty"
    if said.finish_reason is None and not said.done:
        return OutcomeKind.FAILED, "completion did not finish"
    if expect.body is not None and expect.body not in said.content:
        return OutcomeKind.FAILED, "completion lacks the expected text"
    return None


def _late(latency_s: float, first: float | None, expect: Expect) -> tuple[OutcomeKind, str]:
    if expect.latency_s is not None and latency_s > expect.latency_s:
        return OutcomeKind.SLOW, f"first token after {first or 0:.2f} s, completed in {latency_s:.2f} s"
    return OutcomeKind.PASSED, ""
