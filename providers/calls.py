"""Calls to the API of a cloud: each with a deadline, few tries, and a breaker for its provider and region.

The SDKs are blocking, so each *line* (one provider in one region) has threads of its own: a cloud that hangs holds up
nobody but itself. Idempotency is the caller's: a call that ran out of time may have had its effect, and the caller
reads before it writes again.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from providers.base import ProviderError, Refused, Throttled, Transient

T = TypeVar("T")
Translate = Callable[[Exception, str], ProviderError]
"""An SDK's exception, and what was being done, as one of our errors."""

CALL_S = 5.0
"""The longest that one call to a cloud may take, seconds. SDK clients get the same as their read time-out."""
CONNECT_S = 2.0
"""The longest that connecting may take, seconds."""
THREADS = 8
"""Calls on one line at a time. Where all hang, the next gives up at its own deadline."""
TRIES = 3
"""How often a read is tried within its deadline. A write is tried once: its step is what tries again."""
PAUSE_S = (0.1, 0.4)
"""Before the second and third try, each jittered down to its half."""
BUDGET = 10.0
"""Second tries that a line may spend in a row, as in botocore's standard retry mode; a success gives a tenth back."""
OPENS_AFTER = 5
"""Failures in a row, of any caller, after which a line is not asked for a while."""
OPEN_S = 5.0
"""How long that is. Afterwards one call goes first; the others wait for what becomes of it."""


class Breaker:
    """Whether a line is worth asking. It counts failures of the line (no answer, 5xx), never a refusal."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._shut_until = 0.0
        self._trying = False
        self._budget = BUDGET

    def admit(self, name: str) -> None:
        """Raises Transient while the line is not asked."""
        with self._lock:
            if self._failures < OPENS_AFTER:
                return
            left_s = self._shut_until - self._clock()
            if left_s > 0 or self._trying:
                wait = f"it is asked again in {left_s:.1f} s" if left_s > 0 else "one call is finding out"
                raise Transient(f"{name} failed {self._failures} times in a row; {wait}")
            self._trying = True

    def passed(self) -> None:
        """The line answered, be it with a refusal."""
        with self._lock:
            self._failures, self._trying = 0, False
            self._budget = min(BUDGET, self._budget + 0.1)

    def failed(self) -> None:
        """The line gave no answer, or could not."""
        with self._lock:
            self._failures += 1
            self._trying = False
            self._shut_until = self._clock() + OPEN_S

    def let_go(self) -> None:
        """Nothing was learnt: the call was given up by its caller."""
        with self._lock:
            self._trying = False

    def again(self) -> bool:
        """Whether another try may be spent."""
        with self._lock:
            if self._budget < 1:
                return False
            self._budget -= 1
            return True


class Line:
    """The way to one provider in one region."""

    def __init__(self, name: str, translate: Translate) -> None:
        self.name = name
        self._translate = translate
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"call-{name}")
        self._breaker = Breaker()

    async def read(self, what: str, do: Callable[[], T], *, within_s: float = CALL_S) -> T:
        """What *do* answers, tried again while it is throttled or fails and time is left.

        *what* is said in errors: "read the record sets of Z1". Raises what the line's translation makes of failures.
        """
        until = asyncio.get_running_loop().time() + within_s
        for pause_s in PAUSE_S[: TRIES - 1]:
            try:
                return await self._once(what, do, until)
            except Transient:
                left_s = until - asyncio.get_running_loop().time()
                if left_s <= pause_s or not self._breaker.again():
                    raise
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, hides nothing
        return await self._once(what, do, until)

    async def write(self, what: str, do: Callable[[], T], *, within_s: float = CALL_S) -> T:
        """What *do* answers, tried once: a call that ran out of time may have had its effect."""
        return await self._once(what, do, asyncio.get_running_loop().time() + within_s)

    async def _once(self, what: str, do: Callable[[], T], until: float) -> T:
        self._breaker.admit(self.name)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout_at(until):
                answer = await loop.run_in_executor(self._threads, do)
        except TimeoutError:
            self._breaker.failed()
            raise Transient(f"{self.name} gave no answer within {until - begun:.1f} s to: {what}") from None
        except asyncio.CancelledError:
            self._breaker.let_go()
            raise
        except ProviderError as error:
            self._count(error)
            raise
        except Exception as error:
            translated = self._translate(error, what)
            self._count(translated)
            raise translated from error
        self._breaker.passed()
        return answer

    def _count(self, error: ProviderError) -> None:
        # Throttling is an answer: a line that is shut for it would be asked no less by the others, only later.
        if isinstance(error, Transient) and not isinstance(error, Throttled):
            self._breaker.failed()
        else:
            self._breaker.passed()


@cache
def line(name: str, translate: Translate) -> Line:
    """The one line of that name in this process, as a connection pool is one."""
    return Line(name, translate)


def unknown(error: Exception, what: str) -> ProviderError:
    """What no translation knows: a refusal that names the kind of error, never its text, which may hold a secret."""
    return Refused(f"cannot {what}: {type(error).__name__}; this is not expected, see the worker's log")
