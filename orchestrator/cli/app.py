"""The ``failover`` command, assembled: global options, panels of commands, and the border where exceptions end."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from orchestrator import __version__
from orchestrator.cli.commands import (
    acts,
    beginning,
    breakglass,
    discover,
    doctor,
    drills,
    evacuations,
    history,
    probing,
    processes,
    providers,
    revisions,
    runbooks,
    runs,
    services,
    topology,
)
from orchestrator.cli.desk import Desk, hush
from orchestrator.cli.errors import MEANING, Status, judge
from orchestrator.cli.options import Level


class Front(TyperGroup):
    """The root command: every exception of every command becomes one sentence and one exit status here."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """As Typer's, but usage errors are one sentence too, and an interruption ends with 130."""
        try:
            status = super().main(*args, **(extra | {"standalone_mode": False}))
        except TyperException as error:
            status = _usage(error)
        except (typer.Abort, KeyboardInterrupt):
            status = Status.INTERRUPTED
        except SystemExit as end:
            if not isinstance(end.__context__, BrokenPipeError):
                raise
            hush()  # the reader of the help has seen enough
            status = Status.DONE
        except OSError as error:  # help and version are written before any command runs
            status, sentence = judge(error)
            Desk().say(f"failover: {sentence}")
            hush()
        if standalone_mode:
            raise SystemExit(int(status or 0))
        return status

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; raises typer.Exit with the status that its exception stands for."""
        try:
            return super().invoke(ctx)
        except (TyperException, typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            desk = ctx.find_object(Desk) or Desk()
            if desk.debug:
                desk.err.print("".join(traceback.format_exception(error)), soft_wrap=True)
            status, sentence = judge(error)
            if sentence:
                desk.say(f"failover: {sentence}")
            raise typer.Exit(int(status)) from None


def _usage(error: TyperException) -> Status:
    """Say what was wrong with the words on the command line."""
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "failover"
    # Typer lists choices one to a line; help, the one text of many lines, is not said here.
    sentence = " ".join(error.format_message().split()).rstrip(".").replace("?.", "?").replace("Value error, ", "")
    if type(error).__name__ == "NoArgsIsHelpError":
        Desk().say(error.format_message())
    else:
        end = "" if sentence.endswith("?") else "."
        Desk().say(f"{path}: {sentence}{end} Try '{path} --help'.")
    return Status(error.exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        Desk().emit(f"failover {__version__}\n")
        raise typer.Exit


def root(
    ctx: typer.Context,
    *,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="Temporal's address.", show_default="$TEMPORAL_ADDRESS"),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Temporal's namespace.", show_default="$TEMPORAL_NAMESPACE")
    ] = None,
    log_level: Annotated[
        Level | None,
        typer.Option("--log-level", help="What is logged to stderr.", show_default="warning; info in workers"),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Keep AI model endpoints reachable when a region, a cloud or a model server fails."""
    from orchestrator.runtime.logging import set_up  # noqa: PLC0415 - structlog is slow to import, and help needs none

    set_up(log_level or Level.WARNING)
    desk = ctx.obj if isinstance(ctx.obj, Desk) else Desk()
    desk.address, desk.namespace, desk.debug, desk.log_level = address, namespace, debug, log_level
    ctx.obj = desk
    ctx.call_on_close(desk.close)


START, STEER, ACT, LOOK, REHEARSE, RUN_IT = (
    "Describe what exists",
    "Steer",
    "Act on a run under way",
    "Look",
    "Rehearse",
    "Run the control plane",
)

COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    (START, beginning.init),
    (START, topology.validate),
    (START, topology.schema),
    (START, topology.apply),
    (START, services.adopt),
    (START, probing.probe),
    (LOOK, services.status),
    (LOOK, runs.explain),
    (LOOK, history.history),
    (LOOK, history.show),
    (LOOK, doctor.doctor),
    (LOOK, providers.providers),
    (LOOK, breakglass.card),
    (STEER, runs.plan),
    (STEER, runs.run),
    (STEER, runs.failback),
    (STEER, evacuations.evacuate),
    (STEER, evacuations.evacuation),
    (STEER, evacuations.stop_evacuation),
    (STEER, breakglass.export_plan),
    (STEER, services.mode),
    (STEER, services.pause),
    (STEER, services.resume),
    (STEER, services.ack),
    (ACT, acts.approve),
    (ACT, acts.deny),
    (ACT, acts.abort),
    (ACT, acts.hold),
    (ACT, acts.release),
    (ACT, acts.skip),
    (ACT, acts.retry),
    (ACT, acts.switch),
    (ACT, acts.extend),
    (RUN_IT, processes.demo),
    (RUN_IT, processes.up),
    (RUN_IT, processes.worker),
    (RUN_IT, processes.serve),
)
"""Every command of the first level with its panel."""

GROUPS = (
    (drills.app, REHEARSE),
    (runbooks.app, REHEARSE),
    (breakglass.app, STEER),
    (revisions.app, START),
    (discover.app, START),
)
"""The groups of commands, each with its panel."""

_EPILOG = "Exit statuses: " + "; ".join(f"{int(status)} {meaning}" for status, meaning in MEANING.items()) + "."


def assemble() -> typer.Typer:
    """The whole command."""
    app = typer.Typer(
        name="failover",
        cls=Front,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=_EPILOG,
    )
    app.callback()(root)
    for panel, command in COMMANDS:
        app.command(rich_help_panel=panel, help=_flowing(command))(command)
    for group, panel in GROUPS:
        for each in group.registered_commands:
            each.help = _flowing(each.callback)
        app.add_typer(group, rich_help_panel=panel)
    return app


def _flowing(command: Callable[..., None] | None) -> str:
    """The help of *command* with each paragraph on one line: Rich would keep the line ends of the source."""
    paragraphs = inspect.cleandoc((command and command.__doc__) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def main() -> None:
    """Run the command with this process's arguments; ends the process."""
    try:
        assemble()()
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else int(end.code is not None))


def _leave(status: int) -> None:
    """End the process at once, output flushed.

    Threads of Temporal's native client may still be at work; an interpreter that shuts down under them dies of
    SIGSEGV or SIGABRT (seen after a refused connection), and the exit status with it.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if "temporalio" in sys.modules:
        os._exit(status)
    sys.exit(status)
