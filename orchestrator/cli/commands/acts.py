"""What people do to a run under way: approve, deny, abort, hold, release, skip, retry, switch, extend."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import reason_of
from orchestrator.cli.desk import desk_of, who
from orchestrator.cli.options import Reason, complete_asking, complete_runs, duration
from orchestrator.core.names import RunId

if TYPE_CHECKING:
    from workflows.wire import RunAct

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, as 'failover status' shows it.",
        autocompletion=complete_runs,
        show_default=False,
    ),
]
RunOrQuestion = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The id of a run, or of a question (q-...), as 'failover status' shows it.",
        autocompletion=complete_asking,
        show_default=False,
    ),
]
ByWhom = Annotated[
    str | None,
    typer.Option(
        "--by-whom", metavar="PERSON", help="Who does it; it is kept in the record.", show_default="$FAILOVER_USER"
    ),
]
Step = Annotated[
    str | None,
    typer.Option("--step", metavar="STEP", help="The step that is meant.", show_default="the only one that can be"),
]


def approve(
    ctx: typer.Context, run: RunOrQuestion, *, step: Step = None, reason: Reason = None, by: ByWhom = None
) -> None:
    """Say yes to a run that waits for an approval, or to a service that asks before it moves traffic.

    The run names the role that it asks; with two people to ask, the second yes lets it go on. A yes to a service starts
    the very move that it asked about; what it told of is set aside by your name.

    Example: [cyan]failover approve chat-20260301-120000-1a2b --reason "load is low enough"[/]
    """
    _do(ctx, run, "Why may it go on?", replace(_act("approve", by, reason), step=step))


def deny(
    ctx: typer.Context, run: RunOrQuestion, *, step: Step = None, reason: Reason = None, by: ByWhom = None
) -> None:
    """Say no to a run that waits for an approval: it ends, and puts back what it has done.

    A service that hears no leaves traffic where it is, and does not ask again before the world has changed.

    Example: [cyan]failover deny chat-20260301-120000-1a2b --reason "the launch is at noon"[/]
    """
    _do(ctx, run, "Why not?", replace(_act("deny", by, reason), step=step))


def abort(ctx: typer.Context, run: Run, *, reason: Reason = None, by: ByWhom = None) -> None:
    """End a run: what can be put back is put back.

    Behind an unplanned move of traffic there is no way back: then the run halts, and says how the world stands.

    Example: [cyan]failover abort chat-20260301-120000-1a2b --reason "eu is well again"[/]
    """
    _do(ctx, run, "Why is it ended?", _act("abort", by, reason))


def hold(ctx: typer.Context, run: Run, *, reason: Reason = None, by: ByWhom = None) -> None:
    """Hold a run: what is under way ends, and no further step begins until it is released.

    'failover pause' is another thing: it stops automation of a whole service.

    Example: [cyan]failover hold chat-20260301-120000-1a2b --reason "looking at the dashboards"[/]
    """
    _do(ctx, run, "Why is it held?", _act("pause", by, reason))


def release(ctx: typer.Context, run: Run, *, reason: Reason = None, by: ByWhom = None) -> None:
    """Let a run that was held go on.

    Example: [cyan]failover release chat-20260301-120000-1a2b --reason "all is well"[/]
    """
    _do(ctx, run, "Why may it go on?", _act("resume", by, reason))


def skip(ctx: typer.Context, run: Run, *, step: Step = None, reason: Reason = None, by: ByWhom = None) -> None:
    """Let a step of a run pass: what has not begun is left out, what has failed stands as it is.

    The step that moves the traffic cannot be skipped.

    Example: [cyan]failover skip chat-20260301-120000-1a2b --step drain --reason "nobody is left there"[/]
    """
    _do(ctx, run, "Why may it be left out?", replace(_act("skip", by, reason), step=step))


def retry(ctx: typer.Context, run: Run, *, step: Step = None, reason: Reason = None, by: ByWhom = None) -> None:
    """Try a step of a run again: one that asks what to do, or one under way that hangs.

    Example: [cyan]failover retry chat-20260301-120000-1a2b --step verify --reason "us has its model now"[/]
    """
    _do(ctx, run, "Why again?", replace(_act("retry", by, reason), step=step))


def switch(
    ctx: typer.Context,
    run: Run,
    *,
    planned: Annotated[
        bool, typer.Option("--planned/--unplanned", help="What the move is from now on.", show_default=False)
    ],
    reason: Reason = None,
    by: ByWhom = None,
) -> None:
    """Switch a run between planned and unplanned: it takes the steps of the other kind from where it stands.

    An unplanned move does not wait for a source that is dead, and does not go back to it.

    Example: [cyan]failover switch chat-20260301-120000-1a2b --unplanned --reason "eu died while it drained"[/]
    """
    _do(ctx, run, "Why?", replace(_act("switch", by, reason), planned=planned))


def extend(
    ctx: typer.Context,
    run: Run,
    *,
    more: Annotated[float, typer.Option("--by", metavar="DURATION", parser=duration, help="How much more.")],
    step: Step = None,
    reason: Reason = None,
    by: ByWhom = None,
) -> None:
    """Give a step of a run that is under way more time; an approval that waits is given more, too.

    Example: [cyan]failover extend chat-20260301-120000-1a2b --step drain --by 5m --reason "long completions"[/]
    """
    _do(ctx, run, "Why does it need more?", replace(_act("extend", by, reason), step=step, seconds=more))


def _do(ctx: typer.Context, run: str, question: str, act: RunAct) -> None:
    """Say *act* to the run, and to the person what came of it. Raises what the run refuses."""
    desk = desk_of(ctx)
    reason = reason_of(desk, act.reason or None, question)
    said = replace(act, id=uuid.uuid4().hex, by=act.by.strip() or who(), reason=reason)
    answer = desk.wait(desk.control().act(RunId(run), said))
    from workflows.wire.service import OF_QUESTIONS  # noqa: PLC0415 - start-up time

    what = "Question" if run.startswith(OF_QUESTIONS) else "Run"
    desk.say(f"{what} {run}: {answer.text}.")


def _act(kind: str, by: str | None, reason: str | None) -> RunAct:
    """What is said to the run, as far as the words of the command tell."""
    from workflows.wire import ActKind, RunAct  # noqa: PLC0415 - start-up time

    return RunAct("", ActKind(kind), by or "", reason or "")
