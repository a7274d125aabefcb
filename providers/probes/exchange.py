"""One exchange with an endpoint: the asking that turns what a connection carries into an outcome.

Callbacks throughout and no task where no name or handshake is waited for: ten thousand probes a second fit one core.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from time import perf_counter, time

from orchestrator.core.errors import BadInput
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import ProbeKind
from providers.probes.chat import Transcript, judge_chat
from providers.probes.deadlines import Deadlines
from providers.probes.judge import KEPT_BYTES, Received, judge
from providers.probes.link import FIRST_FINAL, LONGEST_ANSWER, Link, Question

Done = Callable[[Outcome], None]


_RETRY_AFTER = re.compile(rb"\r\nretry-after:", re.IGNORECASE)
_CODING = re.compile(rb"\r\ncontent-encoding:[ \t]*(?:x-)?(gzip|deflate)\b", re.IGNORECASE)
_JSON = re.compile(rb"\r\ncontent-type:[ \t]*application/json", re.IGNORECASE)
_ENDS = re.compile(rb"\r\n(?:content-length:|transfer-encoding:[^\r]*chunked)", re.IGNORECASE)
_INTERIM = re.compile(rb"HTTP/1\.\d 1\d\d")
_STATUS = re.compile(rb"HTTP/1\.\d (\d\d\d)")


def final_head(received: bytes) -> bytes:
    """Status line and header fields of the final answer in *received*, its last line break included."""
    head, _, rest = received.partition(b"\r\n\r\n")
    while _INTERIM.match(head) and rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
    return head + b"\r\n"


def has_final_head(received: bytes) -> bool:
    """Whether the header fields of the final answer are complete in *received*."""
    head, end, rest = received.partition(b"\r\n\r\n")
    while end and _INTERIM.match(head):
        head, end, rest = rest.partition(b"\r\n\r\n")
    return bool(end)


def status_without_end(received: bytes) -> int | None:
    """The status of an answer whose body ends with the connection (RFC 9112 section 6.3), or None: it said its end."""
    if b"\r\n\r\n" not in received:
        return None
    head = final_head(received)
    status = _STATUS.match(head)
    return int(status[1]) if status is not None and not _ENDS.search(head) else None


NOT_ASKED = "not asked: "
"""How the detail of an outcome begins that says nothing of the endpoint: the question could not be put."""


class Asking:
    """One exchange under way: from its start, within its time, to exactly one outcome.

    On a kept-alive connection that is silent at half the time, *backup* asks the same on a new one: the connection
    may be the dead part. Whichever speaks first is the answer, and the time does not grow.
    """

    # Defaults on the class: most exchanges change few of them, and ten thousand a second are made.
    link: Link | None = None
    task: asyncio.Task[None] | None = None
    retry: Callable[[Asking], None] | None = None
    ask_again: Callable[[Question, Done], Asking] | None = None
    backup: Asking | None = None
    phase = "no connection"
    over = False
    unasked = False
    reused = False
    status = 0
    received = 0
    """Bytes of the answer so far."""
    head = b""
    """What came up to the end of the header fields, and perhaps beyond; cut at 64 KiB."""
    _timer: asyncio.TimerHandle | None = None
    _size = 0
    _said: Transcript | None = None
    _chunks: list[bytes] | None = None

    def __init__(
        self, question: Question, done: Done, deadlines: Deadlines, *, fresh: bool, connect_s: float | None = None
    ) -> None:
        timeout_s = question.spec.timeout_s
        self.question = question
        self.done = done
        self.headless = question.headless
        self._fresh = fresh
        self._connect_s = timeout_s if connect_s is None or connect_s > timeout_s else connect_s
        self.started = perf_counter()
        self._waits_half = question.keeps and not fresh and question.idle is not None
        deadlines.add(self, timeout_s / 2 if self._waits_half else self._connect_s, self.started)

    # Its way

    @property
    def heard(self) -> bool:
        """Some of the answer has come."""
        return self.received > 0

    @property
    def keeps(self) -> bool:
        """Its connection is to idle afterwards."""
        return self.question.keeps and not self._fresh

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
        self.connected(link)

    def reached(self) -> None:
        """TCP stands: what does not come now is an answer, not a connection."""
        self.phase = "no answer"

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
            link.send(self.question.request(keep=self.keeps))
        except BadInput as error:
            self.unaskable(error)

    # What comes in

    def take(self, body: bytes) -> None:
        if self.question.spec.kind is ProbeKind.CHAT:
            if self._said is None:
                self._said = Transcript(perf_counter, streamed=not _JSON.search(final_head(self.head)))
            self._said.feed(body)
            if self._said.done or self._said.error is not None:
                self.complete(reusable=False)
        elif self.question.wants_body:
            if self._size < KEPT_BYTES:
                self._chunks = self._chunks or []
                self._chunks.append(body)
            self._size += len(body)

    def complete(self, *, reusable: bool) -> None:
        """The answer is complete."""
        if not self.over:
            self._end_judged(self.status, reusable=reusable and self.keeps)

    # What goes wrong

    def garbled(self) -> None:
        """The answer is not HTTP. On a connection that was kept it may be the rest of an older one: asked anew."""
        if self.over or not self._retried():
            self.fail(OutcomeKind.FAILED, "the answer is not HTTP")

    def endless(self) -> None:
        """The answer is long: give it up where its header fields, or all of it, are longer than anybody's."""
        if self.over:
            return
        if self.status < FIRST_FINAL and not has_final_head(self.head):
            self.fail(OutcomeKind.FAILED, "header fields do not end")
        elif self.received > LONGEST_ANSWER:
            self.fail(OutcomeKind.FAILED, "answer does not end")

    def _retried(self) -> bool:
        """Whether the question goes out again over a new connection: the kept one was no good, the endpoint may be."""
        if not self.reused or self.retry is None:
            return False
        link, self.link = self.link, None
        if link is not None:
            link.drop()
        self.reused = False
        self.received = self.status = self._size = 0
        self.head = b""
        self._chunks = None
        if self.backup is None:
            self.phase = "no connection"
            self.retry(self)
        return True

    def unaskable(self, error: BadInput) -> None:
        """The question could not be put, by no fault of the endpoint: never a reason to call it down."""
        self.unasked = True
        self.fail(OutcomeKind.MISMATCH, f"{NOT_ASKED}{error}")

    def lost(self, exc: Exception | None) -> None:
        """The connection went away while the answer was awaited."""
        status = status_without_end(self.head) if exc is None else None
        if status is not None:
            self.status = status
            self.complete(reusable=False)
        elif self.heard or not self._retried():
            # Not heard: it was closed while idle and we wrote into that, which is no news about the endpoint yet.
            how = "closed" if exc is None else "reset"
            where = "in the middle of the answer" if self.heard else "without an answer"
            self.fail(OutcomeKind.REFUSED, f"connection {how} {where}")

    def fail(self, kind: OutcomeKind, detail: str) -> None:
        """End without a complete answer."""
        if not self.over:
            self._end(Outcome(kind, perf_counter() - self.started, detail))

    def cancel(self) -> None:
        """End without an outcome."""
        if not self.over:
            self.done = _nobody
            self.fail(OutcomeKind.FAILED, "cancelled")

    def out_of_time(self) -> None:
        """The first deadline: half the time on a kept-alive connection, else the time to connect."""
        left_s = self.question.spec.timeout_s - (perf_counter() - self.started)
        if left_s > 0 and self._timer is None and (self._waits_half or self.phase == "no answer"):
            self._timer = asyncio.get_running_loop().call_later(left_s, self._too_late)
            if self.reused and not self.heard and self.ask_again is not None:
                self.backup = self.ask_again(self.question, self._end_by_backup)
        elif self._timer is None:
            self._too_late()

    def _end_by_backup(self, outcome: Outcome) -> None:
        if self.backup is not None and self.backup.unasked:
            self.backup = None  # this worker could not ask a second time: that says nothing
        elif not self.over:
            self._end(outcome)

    def _too_late(self) -> None:
        limit = self.question.spec.timeout_s
        last = self.backup or self
        if last.phase != "no answer":
            waited = min(last._connect_s, perf_counter() - last.started)
            self.fail(OutcomeKind.UNREACHABLE, f"{last.phase} in {waited:.2g} s")
        elif self.heard or last.heard:
            self.fail(OutcomeKind.TIMED_OUT, f"answer not complete in {limit:g} s")
        else:
            self.fail(OutcomeKind.TIMED_OUT, f"no answer in {limit:g} s")

    def _end_judged(self, status: int, *, reusable: bool) -> None:
        question, link, spec = self.question, self.link, self.question.spec
        if reusable and link is not None and question.idle is None and not question.closed:
            link.asking = None
            question.idle = link
            self.link = None
        if question.plain and status in question.good_statuses:
            self._end(Outcome(OutcomeKind.PASSED, perf_counter() - self.started))
            return
        expires = link.expires if link is not None else None
        received = Received(
            status=status,
            retry_after=bool(_RETRY_AFTER.search(final_head(self.head))),
            body=b"".join(self._chunks)[:KEPT_BYTES] if self._chunks else b"",
            compressed=bool(self._chunks and _CODING.search(final_head(self.head))),
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
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        link, self.link = self.link, None
        if link is not None:
            link.drop()
        if self.backup is not None:
            self.backup.cancel()
        task = self.task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self.done(outcome)


def _nobody(_outcome: Outcome) -> None:
    """Nobody waits for it any more."""
