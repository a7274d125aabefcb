"""A model's capacity: replicas that load, slots, a queue, and the tokens of a completion. No sockets here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from orchestrator.local.layout import ModelSettings

_WORDS = (
    " all",
    " is",
    " well",
    " here",
    ",",
    " the",
    " model",
    " is",
    " loaded",
    " and",
    " the",
    " region",
    " answers",
    ".",
)
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class QueueFull(Exception):
    """Every slot is taken and the queue is full: 429."""


class NotServing(Exception):
    """No replica is ready: 503."""


@dataclass
class Engine:
    """Replicas of one model in one place. Every method runs on the event loop."""

    settings: ModelSettings
    desired: int = 0
    ready: int = 0
    running: int = 0
    served: int = 0
    draining: bool = False
    slow_first_s: float = 0.0
    """Added before the first token: the fault *slow-first-token*."""
    on_change: Callable[[], None] = lambda: None
    first_token_buckets: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS) + 1))
    first_token_sum: float = 0.0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nothing is in flight; read it after *leave*."""
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _loading: list[asyncio.TimerHandle] = field(default_factory=list)

    @property
    def queued(self) -> int:
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """Completions asked for and not finished, waiting ones included."""
        return self.running + len(self._waiting)

    def scale(self, replicas: int, *, load_s: float | None = None) -> None:
        """Go to *replicas*: those added load first, those removed go at once; streams in flight finish anyway."""
        wait = self.settings.load_s if load_s is None else load_s
        while self.desired > replicas:
            self.desired -= 1
            if self._loading:
                self._loading.pop().cancel()
            else:
                self.ready -= 1
        loop = asyncio.get_running_loop()
        while self.desired < replicas:
            self.desired += 1
            if wait > 0:
                self._loading.append(loop.call_later(wait, self._loaded))
            else:
                self.ready += 1
        self._admit()
        self.on_change()

    def _loaded(self) -> None:
        self._loading.pop(0)
        self.ready += 1
        self._admit()
        self.on_change()

    def _admit(self) -> None:
        while self._waiting and self.running < self.ready * self.settings.slots:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.running += 1
                waiter.set_result(None)

    async def enter(self) -> None:
        """Take a slot, waiting for one in the queue. Raises QueueFull, NotServing."""
        if self.ready == 0:
            raise NotServing
        self.idle.clear()
        if self.running < self.ready * self.settings.slots:
            self.running += 1
            return
        if len(self._waiting) >= self.settings.queue:
            raise QueueFull
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.leave()
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def leave(self) -> None:
        """Give the slot back."""
        self.running -= 1
        self._admit()
        if not self.in_flight:
            self.idle.set()

    async def tokens(self, limit: int | None) -> AsyncIterator[str]:
        """The completion's tokens at the model's pace, *limit* of them at most."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.sleep(self.settings.first_token_s + self.slow_first_s)
        self._first_token(loop.time() - started)
        due = loop.time()
        for index in range(min(limit or self.settings.tokens, 4096)):
            if index:
                due += self.settings.token_s
                await asyncio.sleep(due - loop.time())
            yield _WORDS[index % len(_WORDS)]

    def _first_token(self, seconds: float) -> None:
        self.first_token_sum += seconds
        slot = next((index for index, bound in enumerate(_BUCKETS) if seconds <= bound), len(_BUCKETS))
        self.first_token_buckets[slot] += 1

    def metrics(self) -> str:
        """Prometheus text."""
        lines = []
        for name, kind, value in (
            ("model_requests_in_flight", "gauge", self.in_flight),
            ("model_requests_queued", "gauge", self.queued),
            ("model_replicas_desired", "gauge", self.desired),
            ("model_replicas_ready", "gauge", self.ready),
            ("model_draining", "gauge", int(self.draining)),
            ("model_requests_completed_total", "counter", self.served),
        ):
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        lines.append("# TYPE model_first_token_seconds histogram")
        total = 0
        for bound, count in zip([*map(str, _BUCKETS), "+Inf"], self.first_token_buckets, strict=True):
            total += count
            lines.append(f'model_first_token_seconds_bucket{{le="{bound}"}} {total}')
        lines += [
            f"model_first_token_seconds_sum {self.first_token_sum:.6f}",
            f"model_first_token_seconds_count {total}",
        ]
        return "\n".join(lines) + "\n"
