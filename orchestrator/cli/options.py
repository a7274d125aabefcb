"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.desk import Desk, connect
from orchestrator.core.errors import FailoverError

if TYPE_CHECKING:
    from orchestrator.runtime.control import ControlPlane


class Level(StrEnum):
    """What is logged at least."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def duration(text: str | float) -> float:
    """Seconds from ``90s``, ``1m30s``, ``250ms`` or ``2h``. Raises ValueError for anything else, and for 0.

    A number is a default of ours, in seconds already.
    """
    if isinstance(text, int | float):
        return float(text)
    from orchestrator.config.fields import seconds  # noqa: PLC0415 - start-up time

    try:
        span_s = seconds(text.strip())
    except ValueError as error:
        raise ValueError(f"'{text}' is no duration; write one such as 30s, 1m30s or 500ms") from error
    if span_s <= 0:
        raise ValueError(f"'{text}' is no time at all; write a duration such as 30s, 1m30s or 500ms")
    return span_s


def complete_services(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of services, when the control plane answers within half a second; else nothing."""

    async def names(control: ControlPlane) -> list[str]:
        _, topology = await control.topology()
        return [service.id for service in topology.services]

    return _complete(ctx, incomplete, names)


def complete_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs under way, when the control plane answers within half a second; else nothing."""

    async def names(control: ControlPlane) -> list[str]:
        return [status.run for status in await control.statuses() if status.run]

    return _complete(ctx, incomplete, names)


def complete_asking(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs under way and questions that wait for an answer, when the control plane answers within half a second."""

    async def names(control: ControlPlane) -> list[str]:
        found = await control.statuses()
        return [*(each.question.id for each in found if each.question), *(each.run for each in found if each.run)]

    return _complete(ctx, incomplete, names)


def _complete(ctx: typer.Context, incomplete: str, names: Callable[[ControlPlane], Awaitable[list[str]]]) -> list[str]:
    desk = ctx.find_object(Desk)

    async def known() -> list[str]:
        return await names(await (desk.connect if desk else connect)(None, None))

    try:
        found = asyncio.run(asyncio.wait_for(known(), 0.5))
    except (FailoverError, OSError, RuntimeError, TimeoutError, NotImplementedError):
        return []
    return [name for name in found if name.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Service = Annotated[
    str,
    typer.Argument(metavar="SERVICE", help="A service's id.", autocompletion=complete_services, show_default=False),
]
MaybeService = Annotated[
    str | None,
    typer.Argument(metavar="SERVICE", help="A service's id.", autocompletion=complete_services, show_default=False),
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The topology file.")]
FileOption = Annotated[Path, typer.Option("--file", "-f", help="The topology file.")]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="ENDPOINT", help="The endpoint that takes the traffic.", show_default="the best one"),
]
Reason = Annotated[
    str | None,
    typer.Option("--reason", "-r", metavar="TEXT", help="Why; it is kept in the record.", show_default="asked for"),
]
Override = Annotated[
    list[str] | None,
    typer.Option("--override", metavar="RULE", help="Set one safety rule aside, by its name; repeat for more."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run to its end, or start it and return.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="DURATION", parser=duration, help="How long to wait.", show_default="10m")
]
TEN_MINUTES = 600.0
History = Annotated[
    str | None,
    typer.Option(
        "--history",
        metavar="STORE",
        envvar="FAILOVER_HISTORY",
        help="The history store: a file, or a database URL.",
        show_default=False,
    ),
]
