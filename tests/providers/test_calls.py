"""Calls to a cloud: deadlines, tries, and the breaker."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import calls
from providers.base import Forbidden, ProviderError, Refused, Throttled, Transient
from providers.calls import BUDGET, OPEN_S, OPENS_AFTER, PAUSE_S, THREADS, Breaker, Ending, Line, line, unknown


class Failed(Exception):
    """A failure of the cloud, as its SDK raises it."""


class Denied(Exception):
    """A refusal, as the SDK raises it."""


def translate(error: Exception, what: str) -> ProviderError:
    if isinstance(error, Failed):
        return Transient(f"cannot {what}: it failed")
    if isinstance(error, TimeoutError):
        return Transient(f"cannot {what}: the SDK waited long enough")
    if isinstance(error, Denied):
        return Forbidden(f"cannot {what}: it is not allowed")
    return unknown(error, what)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(clock: Clock) -> Line:
    return Line("cloud/west", translate, clock)


@pytest.fixture
def hang() -> Iterator[Callable[[], str]]:
    """A call that answers when the test is over."""
    over = threading.Event()

    def forever() -> str:
        over.wait(30)
        return "late"

    yield forever
    over.set()


def failing() -> str:
    raise Failed


# ------------------------------------------------------------------ the breaker


def shut(breaker: Breaker) -> None:
    for _ in range(OPENS_AFTER):
        breaker.settle(Ending.FAILED, first=breaker.admit("cloud"), why="it failed")


def test_failures_in_a_row_shut_the_line_for_a_while(clock: Clock) -> None:
    """The fifth failure in a row shuts it; the refusal says until when and what went wrong."""
    breaker = Breaker(clock)
    shut(breaker)
    clock.now_s += 1
    with pytest.raises(Transient) as told:
        breaker.admit("cloud")
    assert str(told.value) == (
        "cloud failed 5 times in a row, and it is asked again in 4.0 s; the last time: it failed"
    )


@pytest.mark.parametrize("ending", [Ending.ANSWERED, Ending.THROTTLED])
def test_an_answer_between_failures_keeps_it_open(clock: Clock, ending: Ending) -> None:
    """Failures count in a row only: a refusal and a request for patience are answers."""
    breaker = Breaker(clock)
    for _ in range(3):
        for _ in range(OPENS_AFTER - 1):
            breaker.settle(Ending.FAILED, first=breaker.admit("cloud"))
        breaker.settle(ending, first=breaker.admit("cloud"))
    assert breaker.admit("cloud") is False


def test_one_call_goes_first_and_opens_the_line_for_all(clock: Clock) -> None:
    """When the time is over one call finds out, the others are refused until it has; then all may go."""
    breaker = Breaker(clock)
    shut(breaker)
    clock.now_s += OPEN_S
    assert breaker.admit("cloud") is True
    with pytest.raises(Transient, match="one call is finding out"):
        breaker.admit("cloud")
    breaker.settle(Ending.ANSWERED, first=True)
    assert [breaker.admit("cloud") for _ in range(3)] == [False] * 3


def test_a_first_call_that_fails_shuts_it_again(clock: Clock) -> None:
    """Its failure shuts the line for the whole time; a first call that was given up leaves the turn to the next."""
    breaker = Breaker(clock)
    shut(breaker)
    clock.now_s += OPEN_S
    breaker.settle(Ending.FAILED, first=breaker.admit("cloud"), why="it failed again")
    clock.now_s += OPEN_S - 0.5
    with pytest.raises(Transient, match=r"6 times in a row, and it is asked again in 0\.5 s; .*it failed again"):
        breaker.admit("cloud")
    clock.now_s += 0.5
    breaker.settle(Ending.UNKNOWN, first=breaker.admit("cloud"))
    assert breaker.admit("cloud") is True


def test_the_late_word_of_an_old_call_ends_nobodys_finding_out(clock: Clock) -> None:
    """Calls that hung since before the line was shut do not let a second one go first."""
    breaker = Breaker(clock)
    shut(breaker)
    clock.now_s += OPEN_S
    assert breaker.admit("cloud") is True
    breaker.settle(Ending.UNKNOWN, first=False)
    breaker.settle(Ending.FAILED, first=False)
    clock.now_s += OPEN_S
    with pytest.raises(Transient, match="one call is finding out"):
        breaker.admit("cloud")


@given(
    st.lists(
        st.one_of(
            st.just("ask"),
            st.floats(0.0, OPEN_S),
            st.tuples(st.integers(0, 9), st.sampled_from(Ending)),
        ),
        max_size=80,
    )
)
def test_a_line_is_never_shut_for_ever(acts: list[str | float | tuple[int, Ending]]) -> None:
    """Whatever calls come and end in whatever order: one at most goes first, and in the end the line is asked again."""
    clock = Clock()
    breaker = Breaker(clock)
    under_way: list[bool] = []
    for act in acts:
        if isinstance(act, float):
            clock.now_s += act
        elif isinstance(act, tuple):
            if under_way:
                breaker.settle(act[1], first=under_way.pop(act[0] % len(under_way)))
        else:
            with suppress(Transient):
                under_way.append(breaker.admit("cloud"))
        assert sum(under_way) <= 1
    for first in under_way:
        breaker.settle(Ending.UNKNOWN, first=first)
    clock.now_s += OPEN_S
    breaker.settle(Ending.ANSWERED, first=breaker.admit("cloud"))
    assert breaker.admit("cloud") is False


# ------------------------------------------------------------------ reads and writes


async def test_a_read_is_tried_again_and_a_write_is_not(cloud: Line) -> None:
    """What passes is asked again within the deadline; a write that failed is for its step to repeat."""
    asked = count()

    def third_time() -> int:
        turn = next(asked)
        if turn < len(PAUSE_S):
            raise Failed
        return turn

    assert await cloud.read("look", third_time) == len(PAUSE_S)
    wrote: list[int] = []

    def write() -> None:
        wrote.append(1)
        raise Failed

    with pytest.raises(Transient, match="cannot write: it failed"):
        await cloud.write("write", write)
    assert len(wrote) == 1


async def test_a_refusal_is_not_asked_again(cloud: Line) -> None:
    """No is an answer."""
    asked: list[int] = []

    def denied() -> None:
        asked.append(1)
        raise Denied

    with pytest.raises(Forbidden):
        await cloud.read("look", denied)
    assert len(asked) == 1


async def test_second_tries_are_counted_for_the_whole_line(cloud: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud in trouble is not asked three times as much: when the budget is spent, each read is tried once."""
    monkeypatch.setattr(calls, "PAUSE_S", (0.0, 0.0))
    asked: list[int] = []

    def throttled() -> None:
        asked.append(1)
        raise Throttled("patience")

    for _ in range(20):
        with pytest.raises(Throttled):
            await cloud.read("look", throttled)
    assert len(asked) == 20 + BUDGET


async def test_a_shut_line_is_told_at_once(cloud: Line, clock: Clock) -> None:
    """While a line is shut nothing is sent and nobody waits; afterwards an answer opens it."""
    for _ in range(OPENS_AFTER):
        with pytest.raises(Transient):
            await cloud.write("write", failing)
    asked: list[int] = []
    for call in (cloud.read, cloud.write):
        with pytest.raises(Transient, match=r"cloud/west failed 5 times in a row.*: cannot write: it failed"):
            await call("look", lambda: asked.append(1))
    assert asked == []
    clock.now_s += OPEN_S
    assert await cloud.read("look", lambda: "here") == "here"
    assert await cloud.write("write", lambda: "done") == "done"


async def test_a_read_that_shuts_the_line_tells_its_own_failure(cloud: Line) -> None:
    """Not that the line is shut, which it found out itself."""
    for _ in range(OPENS_AFTER - 1):
        with pytest.raises(Transient):
            await cloud.write("write", failing)
    with pytest.raises(Transient, match=r"^cannot look: it failed$"):
        await cloud.read("look", failing)


# ------------------------------------------------------------------ deadlines


async def test_a_call_that_hangs_ends_at_its_deadline_and_holds_up_no_other_line(
    cloud: Line, hang: Callable[[], str]
) -> None:
    """A line with all its threads hanging gives up in one sentence each, and another line answers meanwhile."""
    begun = time.monotonic()
    hanging = [asyncio.create_task(cloud.write("stop it", hang, within_s=0.7)) for _ in range(THREADS)]
    assert await Line("cloud/east", translate).read("look", lambda: "here") == "here"
    assert not any(each.done() for each in hanging)
    told = await asyncio.gather(*hanging, return_exceptions=True)
    assert {type(each) for each in told} == {Transient}
    assert all(re.fullmatch(r"cloud/west gave no answer within \d\.\d s to: stop it", str(each)) for each in told)
    assert time.monotonic() - begun < 10, "the call itself takes 30 s"
    with pytest.raises(Transient, match=r"failed \d times in a row"):
        await cloud.read("look", lambda: "here")


async def test_a_line_that_is_full_says_that_nothing_was_sent(cloud: Line) -> None:
    """Who gets no turn is told so, is never sent afterwards, and does not speak against the line."""
    release = threading.Event()
    hanging = [asyncio.create_task(cloud.write("stop it", lambda: release.wait(30))) for _ in range(THREADS)]
    await asyncio.sleep(0)
    sent: list[int] = []
    for _ in range(OPENS_AFTER):
        with pytest.raises(Transient) as told:
            await cloud.write("write", lambda: sent.append(1), within_s=0.02)
    assert re.fullmatch(
        r"8 calls to cloud/west were under way for \d\.\d s, so this was not sent: write", str(told.value)
    )
    release.set()
    assert await asyncio.gather(*hanging) == [True] * THREADS
    assert await cloud.read("look", lambda: "here") == "here"
    assert sent == []


async def test_more_calls_than_threads_take_turns(cloud: Line) -> None:
    """A burst is served, never more at a time than there are threads."""
    lock, under_way, most = threading.Lock(), 0, 0

    def work() -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.005)
        with lock:
            under_way -= 1
        return 1

    assert sum(await asyncio.gather(*(cloud.write("work", work) for _ in range(60)))) == 60
    assert 1 < most <= THREADS


async def test_a_call_that_got_its_turn_late_does_not_speak_against_the_line(cloud: Line) -> None:
    """A line that is merely busy is not shut."""
    release = threading.Event()
    busy = [asyncio.create_task(cloud.write("work", lambda: release.wait(30))) for _ in range(THREADS)]
    late = [asyncio.create_task(cloud.write("work", lambda: time.sleep(0.3), within_s=0.25)) for _ in range(THREADS)]
    await asyncio.sleep(0.15)
    release.set()
    assert all(isinstance(each, Transient) for each in await asyncio.gather(*late, return_exceptions=True))
    await asyncio.gather(*busy)
    assert await cloud.read("look", lambda: "here") == "here"


@pytest.mark.parametrize(("silent_s", "shut"), [(60.0, False), (0.01, True)])
async def test_callers_who_give_up_tell_of_the_line_what_they_saw(
    cloud: Line, hang: Callable[[], str], monkeypatch: pytest.MonkeyPatch, silent_s: float, shut: bool
) -> None:
    """A call that was cancelled at once says nothing; one that had no answer for long says that there was none."""
    monkeypatch.setattr(calls, "SILENT_S", silent_s)
    begun = threading.Semaphore(0)

    def told() -> str:
        begun.release()
        return hang()

    waiting = [asyncio.create_task(cloud.write("stop it", told, within_s=30)) for _ in range(OPENS_AFTER)]
    for _ in waiting:
        await asyncio.to_thread(begun.acquire)
    await asyncio.sleep(0.02)
    for each in waiting:
        each.cancel()
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*waiting, return_exceptions=True)
    )
    if shut:
        with pytest.raises(Transient, match=r"gave no answer within \d\.\d s to: stop it"):
            await cloud.read("look", lambda: "here")
    else:
        assert await cloud.read("look", lambda: "here") == "here"


def test_a_call_that_hangs_keeps_no_process_from_ending() -> None:
    """Break-glass ends when it is done, whatever a cloud still owes it."""
    code = (
        "import asyncio, time\n"
        "from providers.base import Transient\n"
        "from providers.calls import Line, unknown\n"
        "async def main():\n"
        "    try:\n"
        "        await Line('cloud', unknown).write('stop it', lambda: time.sleep(60), within_s=0.05)\n"
        "    except Transient as error:\n"
        "        print(error)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert re.fullmatch(r"cloud gave no answer within \d\.\d s to: stop it\n", done.stdout)


# ------------------------------------------------------------------ what is told


async def test_the_sdks_own_time_out_is_the_sdks_to_explain(cloud: Line) -> None:
    """A connect time-out after a moment is not told as a deadline that was not over."""

    def times_out() -> None:
        raise TimeoutError

    with pytest.raises(Transient, match="the SDK waited long enough"):
        await cloud.write("write", times_out)


@pytest.mark.parametrize("error", [ValueError("hunter2"), StopIteration("hunter2"), SystemExit("hunter2")])
async def test_what_nobody_foresaw_is_a_refusal_without_the_sdks_text(cloud: Line, error: BaseException) -> None:
    """Any exception ends the call as a refusal in one line, and no cause travels on with a secret in it."""

    def surprise() -> None:
        raise error

    with pytest.raises(Refused) as told:
        await cloud.write("write", surprise, within_s=2)
    kind = type(error).__name__
    assert str(told.value) == f"cannot write: {kind}; this is not expected, see the worker's log"
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__


async def test_a_translation_that_breaks_neither_hides_nor_shuts_anything(clock: Clock) -> None:
    """A fault of ours is told as one, and the line is asked on."""

    def broken(error: Exception, what: str) -> ProviderError:
        raise KeyError(what)

    cloud = Line("cloud/west", broken, clock)
    for _ in range(OPENS_AFTER + 1):
        with pytest.raises(Refused, match="cannot look: KeyError"):
            await cloud.read("look", failing)


def test_a_process_has_one_line_of_a_name() -> None:
    """All who ask one provider in one region share its breaker."""
    assert line("cloud/one", translate) is line("cloud/one", translate)
    assert line("cloud/one", translate) is not line("cloud/other", translate)
