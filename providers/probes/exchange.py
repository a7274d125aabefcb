"""One exchange with an endpoint: the connection that carries it, and the asking that turns it into an outcome.

Callbacks throughout and no task on a kept-alive connection: ten thousand probes a second have to fit one core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter, time
from typing import cast

import httptools

from orchestrator.core.errors import BadInput
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import ProbeKind, ProbeSpec
from providers.probes.chat import Transcript, judge_chat
from providers.probes.deadlines import Deadlines
from providers.probes.judge import KEPT_BYTES, Received, judge
from providers.probes.question import Wording
from providers.probes.tls import expiry

Done = Callable[[Outcome, bool], None]
"""Takes the outcome, and whether it may be the connection's fault alone: a kept-alive one gave no answer at all."""

LONGEST_LIFE_S = 90.0
"""A kept-alive connection is replaced after a third of this to all of it: new addresses and certificates show."""

FIRST_FINAL = 200
"""Answers with a status below this are interim (RFC 9110 section 15.2): another one follows."""


class Question(Wording):
    """One probe of one endpoint. Made by ``Probes.prepare``; it keeps at most one idle connection.

    *on_lost* is called when the peer closes or resets the idle connection: news that cost nothing to learn.
    """

    __slots__ = ("closed", "idle", "on_lost")

    def __init__(self, spec: ProbeSpec, url: str, name: str) -> None:
        super().__init__(spec, url, name)
        self.idle: Link | None = None
        self.on_lost: Callable[[], None] | None = None
        self.closed = False

    def forget_connection(self) -> None:
        """Close the idle connection; nobody is told."""
        link, self.idle = self.idle, None
        if link is not None:
            link.drop()


class Link(asyncio.Protocol):
    """One TCP or TLS connection; it carries one asking at a time and may idle between two."""

    __slots__ = ("_parser", "asking", "expires", "question", "retire_at", "transport")

    def __init__(self, asking: Asking) -> None:
        self.asking: Asking | None = asking
        self.question = asking.question
        self.transport: asyncio.Transport | None = None
        self.expires: float | None = None
        self.retire_at = 0.0
        self._parser: httptools.HttpResponseParser | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        asking = self.asking
        if asking is None or asking.over:
            self.drop()
            return
        if self.question.target.tls:
            self.expires = expiry(transport.get_extra_info("ssl_object"))
        spread = (hash((self.question.url, self.question.spec.id)) & 1023) / 1024
        self.retire_at = perf_counter() + LONGEST_LIFE_S * (1 + 2 * spread) / 3
        asking.connected(self)

    def send(self, data: bytes) -> None:
        """Send a request. The parser lives as long as the connection."""
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        if self.transport is not None:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        asking = self.asking
        if asking is None or self._parser is None:
            self._lost_idle()  # words nobody asked for: a server that says 408 or goodbye
            self.drop()
            return
        asking.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            asking.complete(reusable=False)
        except httptools.HttpParserError:
            asking.garbled()

    def connection_lost(self, exc: Exception | None) -> None:
        asking, self.asking, self.transport, self._parser = self.asking, None, None, None
        if asking is None:
            self._lost_idle()
        elif not asking.over:
            asking.lost(exc)

    def drop(self) -> None:
        """Close at once; what is under way is not told."""
        self.asking = None
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()

    def _lost_idle(self) -> None:
        question = self.question
        if question.idle is self:
            question.idle = None
            if question.on_lost is not None:
                question.on_lost()

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.asking is not None:
            self.asking.header(name, value)

    def on_headers_complete(self) -> None:
        if self.asking is not None and self._parser is not None:
            self.asking.status = self._parser.get_status_code()
            if self.asking.headless and self.asking.status >= FIRST_FINAL:
                self.asking.complete(reusable=False)

    def on_body(self, body: bytes) -> None:
        if self.asking is not None:
            self.asking.take(body)

    def on_message_complete(self) -> None:
        asking, parser = self.asking, self._parser
        if asking is None or parser is None:
            return
        if parser.get_status_code() < FIRST_FINAL and not parser.should_upgrade():
            return
        asking.complete(reusable=parser.should_keep_alive())


class Asking:
    """One exchange under way: from its start, within its time, to exactly one outcome."""

    __slots__ = (
        "_bucket",
        "_chunks",
        "_connect_s",
        "_deadlines",
        "_ends",
        "_fresh",
        "_said",
        "_size",
        "_streamed",
        "done",
        "headless",
        "heard",
        "link",
        "over",
        "phase",
        "question",
        "retry",
        "retry_after",
        "reused",
        "started",
        "status",
        "task",
    )

    def __init__(
        self, question: Question, done: Done, deadlines: Deadlines, *, fresh: bool, connect_s: float | None
    ) -> None:
        spec = question.spec
        self.question = question
        self.done = done
        self.started = perf_counter()
        self.headless = spec.method.upper() == "HEAD" and spec.kind is ProbeKind.HTTP
        self.link: Link | None = None
        self.task: asyncio.Task[None] | None = None
        self.retry: Callable[[Asking], None] | None = None
        self.phase = "no connection"
        self.heard = self.over = self.reused = self.retry_after = False
        self.status = 0
        self._fresh = fresh
        self._connect_s = min(connect_s, spec.timeout_s) if connect_s is not None else spec.timeout_s
        self._chunks: list[bytes] = []
        self._size = 0
        self._ends = False
        self._streamed = True
        self._said: Transcript | None = None
        self._deadlines = deadlines
        self._bucket = deadlines.add(self.started + self._connect_s, self)

    # Its way

    @property
    def connect_left_s(self) -> float:
        """What is left of the time to connect."""
        return max(0.001, self._connect_s - (perf_counter() - self.started))

    @property
    def left_s(self) -> float:
        """What is left of the whole time."""
        return max(0.001, self.question.spec.timeout_s - (perf_counter() - self.started))

    def reuse(self, link: Link) -> None:
        """Ask over *link*, kept alive. *link* must be idle."""
        self.reused = True
        link.asking = self
        self.reached()
        self.connected(link)

    def reached(self) -> None:
        """TCP stands: what does not come now is an answer, not a connection."""
        if self.phase != "no answer":
            self.phase = "no answer"
            if self._connect_s < self.question.spec.timeout_s:
                self._wait_until_timeout()

    def connected(self, link: Link) -> None:
        """*link* is ready to carry the request."""
        # The task that connected may not have run on yet: to cancel it later would close a good connection.
        self.task = None
        self.reached()
        self.link = link
        if self.question.spec.kind is ProbeKind.TCP:
            self._end_judged(200, reusable=False)
            return
        try:
            link.send(self.question.request(keep=self.question.keeps and not self._fresh))
        except BadInput as error:
            self.unaskable(error)

    # What comes in

    def header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        if size == 11 and name.lower() == b"retry-after":
            self.retry_after = True
        elif (size == 14 and name.lower() == b"content-length") or (
            size == 17 and name.lower() == b"transfer-encoding" and b"chunked" in value.lower()
        ):
            self._ends = True
        elif size == 12 and name.lower() == b"content-type":
            self._streamed = not value.lower().startswith(b"application/json")

    def take(self, body: bytes) -> None:
        if self.question.spec.kind is ProbeKind.CHAT:
            if self._said is None:
                self._said = Transcript(perf_counter, streamed=self._streamed)
            self._said.feed(body)
            if self._said.done or self._said.error is not None:
                self.complete(reusable=False)
        elif self.question.wants_body:
            if self._size < KEPT_BYTES:
                self._chunks.append(body)
            self._size += len(body)

    def complete(self, *, reusable: bool) -> None:
        """The answer is complete."""
        if not self.over:
            self._end_judged(self.status, reusable=reusable and self.question.keeps and not self._fresh)

    # What goes wrong

    def garbled(self) -> None:
        self.fail(OutcomeKind.FAILED, "the answer is not HTTP")

    def unaskable(self, error: BadInput) -> None:
        """The question could not be put, by no fault of the endpoint: never a reason to call it down."""
        self.fail(OutcomeKind.MISMATCH, f"not asked: {error}")

    def lost(self, exc: Exception | None) -> None:
        """The connection went away while the answer was awaited."""
        if self.heard and self.status >= FIRST_FINAL and not self._ends and exc is None:
            self.complete(reusable=False)  # the end of the connection ends the body (RFC 9112 section 6.3)
        elif self.reused and not self.heard and self.retry is not None:
            # It was closed while idle and we wrote into that: no news about the endpoint yet.
            self.reused = False
            self.link = None
            self.phase = "no connection"
            self._wait_until_timeout()
            self._connect_s = self.question.spec.timeout_s
            self.retry(self)
        else:
            how = "closed" if exc is None else "reset"
            where = "in the middle of the answer" if self.heard else "without an answer"
            self.fail(OutcomeKind.REFUSED, f"connection {how} {where}")

    def fail(self, kind: OutcomeKind, detail: str) -> None:
        """End without a complete answer."""
        if not self.over:
            self._end(Outcome(kind, perf_counter() - self.started, detail), stale=False)

    def cancel(self) -> None:
        """End without an outcome."""
        if not self.over:
            self.done = _nobody
            self.fail(OutcomeKind.FAILED, "cancelled")

    def _wait_until_timeout(self) -> None:
        self._bucket.discard(self)
        self._bucket = self._deadlines.add(self.started + self.question.spec.timeout_s, self)

    def out_of_time(self) -> None:
        """The deadline has come."""
        limit = self.question.spec.timeout_s
        if self.phase != "no answer":
            self._end(
                Outcome(
                    OutcomeKind.UNREACHABLE, perf_counter() - self.started, f"{self.phase} in {self._connect_s:g} s"
                ),
                stale=False,
            )
            return
        detail = f"answer not complete in {limit:g} s" if self.heard else f"no answer in {limit:g} s"
        outcome = Outcome(OutcomeKind.TIMED_OUT, perf_counter() - self.started, detail)
        self._end(outcome, stale=self.reused and not self.heard)

    def _end_judged(self, status: int, *, reusable: bool) -> None:
        question, link, spec = self.question, self.link, self.question.spec
        if reusable and link is not None and question.idle is None and not question.closed:
            link.asking = None
            question.idle = link
            self.link = None
        if question.plain and status in question.good_statuses:
            self._end(Outcome(OutcomeKind.PASSED, perf_counter() - self.started), stale=False)
            return
        expires = link.expires if link is not None else None
        received = Received(
            status=status,
            retry_after=self.retry_after,
            body=b"".join(self._chunks)[:KEPT_BYTES] if self._chunks else b"",
            cut=self._size > KEPT_BYTES,
            latency_s=perf_counter() - self.started,
            certificate_left_s=expires - time() if expires is not None else None,
        )
        outcome: Outcome
        if spec.kind is ProbeKind.CHAT:
            if self._said is not None:
                self._said.end()
            outcome = judge_chat(received, self._said, spec.expect, question.good_statuses, started=self.started)
        elif spec.kind is ProbeKind.TCP:
            slow = spec.expect.latency_s is not None and received.latency_s > spec.expect.latency_s
            detail = f"connected in {received.latency_s:.2f} s" if slow else ""
            outcome = Outcome(OutcomeKind.SLOW if slow else OutcomeKind.PASSED, received.latency_s, detail)
        else:
            outcome = judge(received, spec.expect, question.good_statuses)
        self._end(outcome, stale=False)

    def _end(self, outcome: Outcome, *, stale: bool) -> None:
        self.over = True
        self._bucket.discard(self)
        link, self.link = self.link, None
        if link is not None:
            link.drop()
        task, self.task = self.task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self.done(outcome, stale)


def _nobody(_outcome: Outcome, _stale: bool) -> None:
    """Nobody waits for it any more."""
