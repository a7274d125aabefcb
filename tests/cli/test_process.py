"""The command as people and scripts meet it: a process with exit status, pipes, a terminal and signals."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DRIVER = str(Path(__file__).parent / "driver.py")
READING = (
    ("status",),
    ("drill", "show", "chat", "d1"),
)


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_temporal_away_is_one_sentence(process: Any, words: tuple[str, ...]) -> None:
    """Every reading command ends with 5 and one sentence when nobody answers at Temporal's address."""
    ended = process(*words, "--json")
    assert ended.status == 5
    assert ended.out == ""
    assert len(ended.err.strip().splitlines()) == 1
    assert "127.0.0.1:9" in ended.err


def test_a_port_in_use_is_one_sentence(process: Any, topology_file: Path, tmp_path: Path) -> None:
    """'serve', 'up' and 'demo --keep' say that the port is in use, end with 2, and leave nothing running."""
    state = tmp_path / "state"
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        ended = process("demo", "--keep", "--port", port)
        assert (ended.status, ended.out) == (2, "")
        assert "the port is in use; choose another with --port" in ended.err
        for words in (("serve", "--port", port), ("up", str(topology_file), "--port", port, "--state", str(state))):
            ended = process(*words)
            assert ended.status == 2
            assert f"127.0.0.1:{port}: the port is in use; choose another with --port" in ended.err
    assert not list(state.glob("*.db"))


def test_debug_shows_where_an_error_came_from() -> None:
    """--debug adds the traceback to standard error, and the sentence still ends it."""
    command = [str(Path(sys.executable).parent / "failover"), "--debug", "--address", "127.0.0.1:9", "status"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5
    assert "Traceback" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("failover: Temporal does not answer")


def test_version_and_help_are_quick(process: Any) -> None:
    """Help comes up without Temporal's client, HTTP or database libraries or messages, well within half a second."""
    assert process("--version").out.startswith("failover ")
    code = "import sys, orchestrator.cli.app as a; a.assemble(); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"temporalio", "sqlalchemy", "httpx", "starlette", "uvicorn", "structlog", "ruamel", "dns", "httptools"}
    heavy |= {"workflows.wire", "runbooks.plan", "orchestrator.core.decision"}
    assert heavy & set(done.stdout.split()) == set()
    assert min(_processor_s(lambda: process("--help")) for _ in range(3)) < 0.5


def _processor_s(act: Callable[[], object]) -> float:
    """Processor time of the children of *act*: neighbours on the machine do not count."""
    before = os.times()
    act()
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_a_reader_that_leaves_is_no_error() -> None:
    """A pipe that closes early (| head) leaves no message, and the exit status is that of the command."""
    words = ["0", "halted", "--", "run", "chat", "--reason", "x", "--yes"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, DRIVER, *words], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(write)
    assert done.returncode == 1
    assert "Broken pipe" not in done.stderr
    assert "failed and halted" in done.stderr


@pytest.mark.parametrize("words", ["--version", "--help", "schema"])
def test_a_full_disk_under_the_output_is_one_sentence(words: str) -> None:
    """Output that cannot be written is a failure in one sentence; remarks that cannot be written change no status."""
    command = [str(Path(sys.executable).parent / "failover"), words]
    with Path("/dev/full").open("wb") as full:
        out = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        err = subprocess.run([*command, "-x"], stdout=subprocess.PIPE, stderr=full, timeout=60, check=False)
    assert out.returncode == 1
    assert out.stderr == "failover: there is no space left to write to; make room, and try again\n"
    assert err.returncode == 2


def test_logs_never_mix_with_a_document() -> None:
    """At the loudest log level standard output is still exactly one document."""
    words = ["0", "completed", "--", "--log-level", "debug", "status", "--json"]
    done = subprocess.run([sys.executable, DRIVER, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    assert done.stdout.endswith("}\n")
    assert "EpollSelector" in done.stderr


class Terminal:
    """A process with a terminal of 120 columns on all three streams."""

    def __init__(self, *words: str) -> None:
        self.text = ""
        pid, self.fd = pty.fork()
        if pid == 0:
            # A shell starts what it puts in the background with Ctrl-C ignored, and that would be inherited.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            environment = os.environ | {"COLUMNS": "120", "LINES": "40", "TERM": "xterm", "FAILOVER_USER": "ada"}
            os.execve(sys.executable, [sys.executable, DRIVER, *words], environment)  # noqa: S606 - an argument vector, as everywhere
        self.pid = pid

    def until(self, words: str, within_s: float = 20.0) -> None:
        """Read until *words* have appeared. Raises AssertionError when they do not."""
        deadline = time.monotonic() + within_s
        while words not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{words!r} did not appear in:\n{self.text}"
            try:
                self.text += os.read(self.fd, 65536).decode()
            except OSError:
                raise AssertionError(f"it ended before {words!r}:\n{self.text}") from None

    def type(self, words: str) -> None:
        os.write(self.fd, words.encode())

    def interrupt(self, words: str) -> None:
        """Press Ctrl-C until *words* appear: between a question and the read of its answer one may be lost."""
        for _ in range(10):
            self.type("\x03")
            with contextlib.suppress(AssertionError):
                return self.until(words, within_s=3.0)
        return self.until(words)

    def end(self) -> int:
        """Read the rest and return the exit status."""
        with contextlib.suppress(OSError):
            while data := os.read(self.fd, 65536):
                self.text += data.decode()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def terminal() -> Any:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(*words))
        return opened[-1]

    yield start
    for one in opened:
        with contextlib.suppress(ProcessLookupError, ChildProcessError, OSError):
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)
            os.close(one.fd)


def test_a_person_at_a_terminal_is_asked_and_sees_it_live(terminal: Any) -> None:
    """At a terminal the reason is asked for, then the yes; steps are redrawn in place, and the timeline comes last."""
    screen = terminal("0.05", "completed", "--", "run", "chat", "--to", "us")
    screen.until("Why is the traffic moved?")
    screen.type("eu loses packets\n")
    screen.until("Carry this out?")
    screen.type("y\n")
    screen.until("waiting")
    screen.until("Traffic had moved")
    assert screen.end() == 0


FOLLOWED = ("run", "chat", "--to", "us", "--reason", "x", "--yes")
ASKS = "[d]etach, [a]bort the run, or [c]ontinue looking?"
DETACHED = "detached from run run1; it goes on; look at it with 'failover show run1 --watch'"


@pytest.mark.parametrize("answer", ["d\n", "\n", None], ids=["d", "enter", "ctrl-c"])
def test_ctrl_c_leaves_the_run_alone(terminal: Any, answer: str | None) -> None:
    """Ctrl-C while a run is followed asks what is meant; who detaches ends with 130 and is told how to look again."""
    screen = terminal("30", "completed", "--", *FOLLOWED)
    screen.until("waiting for the first step")
    screen.type("\x03")
    screen.until(ASKS)
    if answer is None:
        screen.interrupt(DETACHED)
    else:
        screen.type(answer)
        screen.until(DETACHED)
    assert screen.end() == 130


def test_ctrl_c_where_nobody_can_be_asked_detaches() -> None:
    """A script that is interrupted leaves the run alone and ends with 130, without a question."""
    words = ["2", "completed", "--", *FOLLOWED]
    with subprocess.Popen(
        [sys.executable, DRIVER, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,  # noqa: PLW1509 - no threads here yet
    ) as process:
        assert process.stdout is not None
        # What the run says is heard only by who follows it; this is its first word of many.
        while "us has room" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert DETACHED in err
    assert "[d]etach" not in err


def test_ctrl_c_and_on(terminal: Any) -> None:
    """Who goes on looking sees the run again, with what it waits for, who has said yes, and what to type."""
    screen = terminal("0.01", "completed/2", "--", *FOLLOWED)
    screen.until("step yes needs 2 yes of role sre, 0 given")
    screen.until("failover approve run1 --step yes")
    screen.type("\x03")
    screen.until(ASKS)
    screen.text = ""
    screen.type("c\n")
    screen.until("step yes needs 2 yes of role sre, 0 given")
    screen.type("\x03")
    screen.until(ASKS)
    screen.type("d\n")
    assert screen.end() == 130


def test_ctrl_c_and_abort(terminal: Any) -> None:
    """Who aborts is asked why, and sees how the run ends; the exit status is that of the run."""
    screen = terminal("0.01", "completed/2", "--", *FOLLOWED)
    screen.until("0 given")
    screen.type("\x03")
    screen.until(ASKS)
    screen.type("a\n")
    screen.until("Why is it ended?")
    screen.type("eu is well again\n")
    screen.until("Run run1: aborted by ada: eu is well again.")
    screen.until("run run1 was aborted")
    assert screen.end() == 1


def test_ctrl_c_at_a_question_starts_nothing(terminal: Any) -> None:
    """Ctrl-C instead of an answer ends with 130 at once."""
    screen = terminal("0", "completed", "--", "run", "chat", "--to", "us", "--reason", "x")
    screen.until("Carry this out?")
    screen.type("\x03")
    screen.until("interrupted")
    assert screen.end() == 130


def test_watching_ends_with_ctrl_c(terminal: Any) -> None:
    """'status --watch' keeps its table and ends with 0 on Ctrl-C."""
    screen = terminal("0", "completed", "--", "status", "--watch")
    screen.until("All 2 services are well")
    screen.type("\x03")
    assert screen.end() == 0
