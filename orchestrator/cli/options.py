"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.desk import Desk, connect
from orchestrator.core.errors import FailoverError


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
    desk = ctx.find_object(Desk)

    async def names() -> list[str]:
        control = await (desk.connect if desk else connect)(None, None)
        _, topology = await control.topology()
        return [service.id for service in topology.services if service.id.startswith(incomplete)]

    try:
        return asyncio.run(asyncio.wait_for(names(), 0.5))
    except (FailoverError, OSError, RuntimeError, TimeoutError, NotImplementedError):
        return []


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Service = Annotated[
    str,
    typer.Argument(metavar="SERVICE", help="A service's id.", autocompletion=complete_services, show_default=False),
]
MaybeService = Annotated[
    str | None,
    typer.Argument(metavar="[SERVICE]", help="A service's id.", autocompletion=complete_services, show_default=False),
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
