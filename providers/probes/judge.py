"""Judging a complete HTTP answer against what a probe expects. Pure; no text of the answer reaches a detail."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace

from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import Expect

KEPT_BYTES = 64 * 1024
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Received:
    """A complete answer. *body* is its first 64 KiB, and only when somebody wants it."""

    status: int
    retry_after: bool
    body: bytes
    cut: bool
    """The body went on beyond what was kept."""
    latency_s: float
    certificate_left_s: float | None
    compressed: bool = False
    """The body came as gzip or deflate, though it was asked for as it is."""

    def unpacked(self) -> Received:
        """With the body as it was meant: its first 64 KiB, and empty where it cannot be unpacked."""
        if not self.compressed:
            return self
        unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, whichever its first bytes say
        try:
            body = unpacking.decompress(self.body, KEPT_BYTES)
        except zlib.error:
            body = b""
        return replace(self, body=body, cut=self.cut or bool(unpacking.unconsumed_tail), compressed=False)


def judge(received: Received, expect: Expect, good_statuses: frozenset[int]) -> Outcome:
    """The outcome of an HTTP probe: wrong beats unfit beats slow."""
    received = received.unpacked()
    kind, detail = _wrong(received, expect, good_statuses) or unfit(received, expect) or _late(received, expect)
    return Outcome(kind, received.latency_s, detail)


def judge_status(received: Received, good_statuses: frozenset[int]) -> tuple[OutcomeKind, str] | None:
    """What is wrong with the status, or None. 429, and 503 with Retry-After, are overload (RFC 6585, RFC 9110)."""
    status = received.status
    if status in good_statuses:
        return None
    if status == 429 or (status == 503 and received.retry_after):
        return OutcomeKind.THROTTLED, f"status {status}"
    return OutcomeKind.FAILED, f"status {status}"


def _wrong(received: Received, expect: Expect, good_statuses: frozenset[int]) -> tuple[OutcomeKind, str] | None:
    wrong = judge_status(received, good_statuses)
    if wrong is not None:
        return wrong
    if expect.body is not None and expect.body not in received.body.decode("utf-8", "replace"):
        return OutcomeKind.FAILED, "body lacks the expected text"
    if expect.json_path is not None:
        return _wrong_json(received, expect.json_path, expect.json_equals)
    return None


def unfit(received: Received, expect: Expect) -> tuple[OutcomeKind, str] | None:
    """What is wrong with the certificate under which the answer came, or None."""
    left = received.certificate_left_s
    if left is not None and left <= 0:
        return OutcomeKind.MISMATCH, "certificate has expired"
    if left is not None and expect.certificate_days is not None and left < expect.certificate_days * 86400:
        return OutcomeKind.MISMATCH, f"certificate expires in {left / 86400:.0f} days"
    return None


def _late(received: Received, expect: Expect) -> tuple[OutcomeKind, str]:
    if expect.latency_s is not None and received.latency_s > expect.latency_s:
        return OutcomeKind.SLOW, f"answered in {received.latency_s:.2f} s"
    return OutcomeKind.PASSED, ""


def _wrong_json(received: Received, path: str, equals: str | None) -> tuple[OutcomeKind, str] | None:
    if received.cut:
        return OutcomeKind.FAILED, f"body is longer than {KEPT_BYTES // 1024} KiB and was not read as JSON"
    try:
        value = json.loads(received.body)
    except (ValueError, RecursionError):
        return OutcomeKind.FAILED, "body is not JSON"
    for part in path.split("."):
        value = _step(value, part)
        if value is _MISSING:
            return OutcomeKind.FAILED, f"JSON has no {path}"
    if equals is not None and equals != (value if isinstance(value, str) else json.dumps(value)):
        return OutcomeKind.FAILED, f"JSON {path} is not {equals}"
    return None


def _step(value: object, part: str) -> object:
    if isinstance(value, dict):
        return value.get(part, _MISSING)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return _MISSING
