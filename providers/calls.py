"""Calls to the API of a cloud: each with a deadline, few tries, and a breaker for its provider and region.

The SDKs are blocking, so each *line* (one provider in one region) has threads of its own: a cloud that hangs holds up
nobody but itself, and no process that wants to end. Name a line by what fails together: provider, region, and address
where that is the user's. Idempotency is the caller's: a call that ran out of time may have had its effect, and the
caller reads before it writes again.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Generic, TypeVar

import structlog

from providers.base import ProviderError, Refused, Throttled, Transient

log = structlog.get_logger()

T = TypeVar("T")
Translate = Callable[[Exception, str], ProviderError]
"""An SDK's exception, and what was being done, as one of our errors."""

CALL_S = 5.0
"""The longest that one call to a cloud may take, seconds. SDK clients get the same as their read time-out."""
CONNECT_S = 2.0
"""The longest that connecting may take, seconds."""
SILENT_S = 2.0
"""A call that was given up after so long without an answer speaks against its line; after less it says nothing."""
THREADS = 8
"""Calls on one line at a time. The others wait their turn, and give up at their own deadlines."""
PAUSE_S = (0.1, 0.4)
"""Before the second and third try of a read, each jittered down to its half. A write is tried once: its step is what
tries again."""
BUDGET = 10.0
"""Second tries that a line may spend in a row; an answer gives a tenth back. After botocore's quota of retries."""
OPENS_AFTER = 5
"""Failures in a row, of any caller, after which a line is not asked for a while."""
OPEN_S = 5.0
"""How long that is. Afterwards one call goes first, and the others are refused until it has ended."""


class Ending(StrEnum):
    """What a call that has ended says of its line."""

    ANSWERED = "answered"
    """It works; a refusal is an answer, too."""
    THROTTLED = "throttled"
    """It works, and is asked too much. A line that is shut for that would be asked no less afterwards, only later."""
    FAILED = "failed"
    """No answer, or a failure of its own."""
    UNKNOWN = "unknown"
    """Nothing: the call was never sent, or given up at once."""


class Breaker:
    """Whether a line is worth asking."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._why = ""
        self._shut_until = 0.0
        self._scouted = False
        self._budget = BUDGET

    def admit(self, name: str) -> bool:
        """Let a call go; returns whether it goes first, to find out. Raises Transient while the line is not asked.

        Each call that was let go must be settled.
        """
        with self._lock:
            if self._failures < OPENS_AFTER:
                return False
            left_s = self._shut_until - self._clock()
            if left_s > 0 or self._scouted:
                wait = "one call is finding out" if self._scouted else f"it is asked again in {left_s:.1f} s"
                raise Transient(
                    f"{name} failed {self._failures} times in a row, and {wait}; the last time: {self._why}"
                )
            self._scouted = True
            return True

    def settle(self, ending: Ending, *, first: bool, why: str = "") -> None:
        """What became of a call that was let go. *first*: as ``admit`` said; *why*: of a failure."""
        with self._lock:
            # The word of a call that began before the line was shut ends nobody's finding out.
            self._scouted = self._scouted and not first
            match ending:
                case Ending.ANSWERED:
                    self._failures = 0
                    self._budget = min(BUDGET, self._budget + 0.1)
                case Ending.THROTTLED:
                    self._failures = 0
                case Ending.FAILED:
                    self._failures, self._why = self._failures + 1, why
                    self._shut_until = self._clock() + OPEN_S
                case Ending.UNKNOWN:
                    pass

    def again(self) -> bool:
        """Whether another try may be spent; spends it. Never on a line that is not asked."""
        with self._lock:
            if self._budget < 1 or self._failures >= OPENS_AFTER:
                return False
            self._budget -= 1
            return True


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a call raised, as a value: there are exceptions that no future bears, and time-outs that are not ours."""

    error: BaseException


class _Call(Generic[T]):
    """One call on its way through a thread."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._begun: float | None = None
        self.ended: Future[T | _Raised] = Future()

    def run(self) -> None:
        """Do it, unless it was given up before its turn. Raises nothing."""
        if not self.ended.set_running_or_notify_cancel():
            return
        self._begun = time.monotonic()
        try:
            self.ended.set_result(self._do())
        except BaseException as error:  # it is raised where the call is awaited
            self.ended.set_result(_Raised(error))

    @property
    def silent_s(self) -> float | None:
        """For how long it has been under way; None: it was never sent."""
        return None if self._begun is None else time.monotonic() - self._begun


class _Hands:
    """At most so many threads, made as they are needed. An interpreter that ends waits for none of them."""

    def __init__(self, most: int, name: str) -> None:
        self._free = most
        self._name = name
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, run: Callable[[], None]) -> None:
        """Have *run* done when it is its turn. Raises Transient where the machine gives no thread."""
        with self._lock:
            if not self._free:
                self._waiting.append(run)
                return
            self._free -= 1
        try:
            threading.Thread(target=self._work, args=(run,), name=self._name, daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._free += 1
            raise Transient(f"this machine has no thread left for {self._name}; it does too much at a time") from error

    def forget(self, run: Callable[[], None]) -> None:
        """*run* was given up: it waits no longer."""
        with self._lock:
            if run in self._waiting:
                self._waiting.remove(run)

    def _work(self, run: Callable[[], None] | None) -> None:
        while run is not None:
            run()
            with self._lock:
                run = self._waiting.popleft() if self._waiting else None
                self._free += run is None


class Line:
    """The way to one provider in one region."""

    def __init__(self, name: str, translate: Translate, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._translate = translate
        self._hands = _Hands(THREADS, f"call-{name}")
        self._breaker = Breaker(clock)

    async def read(self, what: str, do: Callable[[], T], *, within_s: float = CALL_S) -> T:
        """What *do* answers, tried again while it is throttled or fails and time is left.

        *what* is said in errors: "read the record sets of Z1". Raises what the line's translation makes of failures.
        """
        until = asyncio.get_running_loop().time() + within_s
        for pause_s in PAUSE_S:
            first = self._breaker.admit(self.name)
            try:
                return await self._once(what, do, until, first=first)
            except Transient:
                left_s = until - asyncio.get_running_loop().time()
                if left_s <= pause_s or not self._breaker.again():
                    raise
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, hides nothing
        return await self._once(what, do, until, first=self._breaker.admit(self.name))

    async def write(self, what: str, do: Callable[[], T], *, within_s: float = CALL_S) -> T:
        """What *do* answers, tried once: a call that ran out of time may have had its effect.

        Raises what the line's translation makes of failures.
        """
        first = self._breaker.admit(self.name)
        return await self._once(what, do, asyncio.get_running_loop().time() + within_s, first=first)

    async def _once(self, what: str, do: Callable[[], T], until: float, *, first: bool) -> T:
        call, loop = _Call(do), asyncio.get_running_loop()
        begun, ending, why = loop.time(), Ending.UNKNOWN, ""
        try:
            self._hands.take(call.run)
            async with asyncio.timeout_at(until):
                ended = await asyncio.wrap_future(call.ended)
            if isinstance(ended, _Raised):
                error = self._translated(ended.error, what)
                ending, why = _ending(error), str(error)
                # Causes travel with an error, into Temporal's histories too: an SDK's own text stays here.
                raise error from None
            ending = Ending.ANSWERED
            return ended
        except TimeoutError:
            waited_s = loop.time() - begun
            # A call that got its turn late had little time to be answered in.
            ending = _silence(call.silent_s, min(SILENT_S, waited_s / 2))
            why = self._unanswered(what, call.silent_s, waited_s)
            raise Transient(why) from None
        except asyncio.CancelledError:
            ending = _silence(call.silent_s, SILENT_S)
            why = self._unanswered(what, call.silent_s, loop.time() - begun)
            raise
        finally:
            self._hands.forget(call.run)
            self._breaker.settle(ending, first=first, why=why)

    def _unanswered(self, what: str, silent_s: float | None, waited_s: float) -> str:
        if silent_s is None:
            return f"{THREADS} calls to {self.name} were under way for {waited_s:.1f} s, so this was not sent: {what}"
        return f"{self.name} gave no answer within {silent_s:.1f} s to: {what}"

    def _translated(self, error: BaseException, what: str) -> ProviderError:
        if isinstance(error, ProviderError):
            return error
        try:
            return self._translate(error, what) if isinstance(error, Exception) else unknown(error, what)
        except Exception as untold:  # a translation that breaks must not break what it was to explain
            return unknown(untold, what)


def _ending(error: ProviderError) -> Ending:
    if isinstance(error, Throttled):
        return Ending.THROTTLED
    return Ending.FAILED if isinstance(error, Transient) else Ending.ANSWERED


def _silence(silent_s: float | None, enough_s: float) -> Ending:
    return Ending.FAILED if silent_s is not None and silent_s >= enough_s else Ending.UNKNOWN


@cache
def line(name: str, translate: Translate) -> Line:
    """The one line of that name in this process, as a connection pool is one."""
    return Line(name, translate)


def unknown(error: BaseException, what: str) -> ProviderError:
    """What no translation knows: a refusal that names the kind of error, never its text, which may hold a secret.

    The log says where it came from.
    """
    where = [f"{each.filename}:{each.lineno} {each.name}" for each in traceback.extract_tb(error.__traceback__)[-3:]]
    log.warning("call.unknown", what=what, kind=type(error).__name__, where=where)
    return Refused(f"cannot {what}: {type(error).__name__}; this is not expected, see the worker's log")
