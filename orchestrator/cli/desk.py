"""The desk: what every command works with - terminal, connection, who is asking. The one seam for tests.

Commands are written as plain functions; the desk owns the event loop, so that a question to the person never
blocks it and Ctrl-C always reaches the person's side.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console, RenderableType

from orchestrator.core.errors import BadInput

if TYPE_CHECKING:
    import typer

    from orchestrator.runtime.control import ControlPlane

T = TypeVar("T")
Connect = Callable[[str | None, str | None], Awaitable["ControlPlane"]]
"""From address and namespace (None: Temporal's environment configuration) to the control plane."""


async def connect(address: str | None, namespace: str | None) -> ControlPlane:
    """The control plane behind Temporal. Raises ControlPlaneAway."""
    from orchestrator.runtime.control import ControlPlane  # noqa: PLC0415 - Temporal's client is slow to import

    return await ControlPlane.connect(address, namespace)


class _Paper(Console):
    """A console whose reader may leave (``| head``): the command goes on in silence, and its status stays true."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        hush()

    def print(self, *objects: Any, **how: Any) -> None:
        """As Rich's; a remark that standard error cannot take (its disk is full) is lost and changes no status."""
        try:
            super().print(*objects, **how)
        except OSError:
            if not self.stderr:
                raise


def hush() -> None:
    """Point standard output at nothing, so that no later write or flush fails."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _paper(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # A pipe has no width: tables keep their lines whole there.
    width = None if stream.isatty() or "COLUMNS" in os.environ else 1000
    return _Paper(stderr=stderr, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


@dataclass
class Desk:
    """Where one invocation of the command works. *connect* and *interactive* are given by tests."""

    connect: Connect = connect
    interactive: bool | None = None
    """Whether a person can be asked; None: whether stdin and stderr are a terminal."""
    address: str | None = None
    namespace: str | None = None
    debug: bool = False
    log_level: str | None = None
    """What the person asked for; None: each command's own default."""
    _out: Console | None = None
    _err: Console | None = None
    _loop: asyncio.Runner = field(default_factory=asyncio.Runner)
    _control: ControlPlane | None = None

    @property
    def out(self) -> Console:
        """Standard output: what was asked for."""
        self._out = self._out or _paper(stderr=False)
        return self._out

    @property
    def err(self) -> Console:
        """Standard error: questions, errors and remarks."""
        self._err = self._err or _paper(stderr=True)
        return self._err

    @property
    def someone(self) -> bool:
        """Whether a person can be asked."""
        return (sys.stdin.isatty() and sys.stderr.isatty()) if self.interactive is None else self.interactive

    @property
    def live(self) -> bool:
        """Whether a display may be redrawn in place."""
        return self.out.is_terminal

    @property
    def heard(self) -> bool:
        """Whether somebody still reads standard output."""
        return not self.out.quiet

    def wait(self, what: Coroutine[Any, Any, T]) -> T:
        """Run *what* to its end on the desk's event loop; Ctrl-C cancels it."""
        return self._loop.run(what)

    def control(self) -> ControlPlane:
        """The control plane, connected once. Raises ControlPlaneAway."""
        if self._control is None:
            self._control = self.wait(self.reach())
        return self._control

    async def reach(self) -> ControlPlane:
        """A new connection to the control plane. Raises ControlPlaneAway."""
        return await self.connect(self.address, self.namespace)

    def show(self, *things: RenderableType) -> None:
        """Print *things* to standard output, one below the other."""
        for thing in things:
            if self.out.is_terminal:
                self.out.print(thing)
                continue
            # A pipe has no width to fill: nobody wants a table's padding in a file or a mail.
            with self.out.capture() as caught:
                self.out.print(thing)
            self.emit("".join(f"{line.rstrip()}\n" for line in caught.get().splitlines()))

    def say(self, sentence: str, style: str = "") -> None:
        """A remark to the person, on standard error; wraps nowhere, so that it can be searched for.

        Names in it may come from anywhere: control characters never reach the terminal.
        """
        from orchestrator.cli.render.text import clean  # noqa: PLC0415 - start-up time

        lines = "\n".join(clean(line) for line in sentence.split("\n"))
        self.err.print(lines, style=style, soft_wrap=True)

    def write(self, value: object) -> None:
        """One JSON document on standard output."""
        from orchestrator.cli.render.document import document  # noqa: PLC0415 - start-up time

        self.emit(document(value))

    def emit(self, text: str) -> None:
        """*text* as it is on standard output, neither wrapped nor styled."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            hush()

    def confirm(self, question: str, *, yes: bool, undecided: str) -> bool:
        """Ask for a plain yes; *yes* answers beforehand. Raises BadInput (*undecided*) when nobody can be asked."""
        if yes:
            return True
        if not self.someone:
            raise BadInput(undecided)
        return self.ask(f"{question} [y/N]").strip().lower() in {"y", "yes"}

    def ask(self, question: str) -> str:
        """One line from the person; the question goes to standard error. Raises KeyboardInterrupt at end of input."""
        self.err.print(question, end=" ", soft_wrap=True)
        if sys.stdin.isatty():
            _await_line()
        line = sys.stdin.readline()
        if not line:
            raise KeyboardInterrupt
        return line.strip()

    def close(self) -> None:
        """Give up the event loop."""
        self._loop.close()


def _await_line() -> None:
    """Until the terminal has a line. Raises KeyboardInterrupt on Ctrl-C, also where it comes just before the reading.

    A signal that arrives between Python's last look at signals and the read itself would be heard after it only.
    """
    import select  # noqa: PLC0415 - start-up time
    import signal  # noqa: PLC0415 - the same
    import socket  # noqa: PLC0415 - the same

    woken, waking = socket.socketpair()
    with woken, waking:
        waking.setblocking(False)
        before = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        try:
            select.select([sys.stdin, woken], [], [])
        finally:
            signal.set_wakeup_fd(before)


def desk_of(ctx: typer.Context) -> Desk:
    """The desk that the root command has set up."""
    desk = ctx.find_object(Desk)
    assert isinstance(desk, Desk), "the root command sets the desk up"  # noqa: S101 - a fact about this program
    return desk


def who() -> str:
    """Who is asking, for records and fences: ``$FAILOVER_USER``, or the login name at this machine."""
    import getpass  # noqa: PLC0415 - start-up time
    import socket  # noqa: PLC0415 - the same

    named = os.environ.get("FAILOVER_USER", "").strip()
    if named:
        return named
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = f"uid{os.getuid()}"
    return f"{login}@{socket.gethostname()}"
