"""Looking at services and setting what may be done by itself: status, pause, resume, mode, adopt."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import now, of_service, reason_of
from orchestrator.cli.desk import Desk, desk_of, who
from orchestrator.cli.following import states
from orchestrator.cli.options import Json, MaybeService, Reason, Service, Yes
from orchestrator.core.errors import BadInput
from orchestrator.core.names import RunId
from orchestrator.core.topology import Mode

if TYPE_CHECKING:
    from workflows.wire import RunState, ServiceStatus

Statuses = tuple["ServiceStatus", ...]


def status(
    ctx: typer.Context,
    service: MaybeService = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the table up to date until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show services and endpoints: verdict, share of traffic, what is wrong first, and how old the knowledge is.

    The exit status is 0 whatever the health: 5 alone says that the control plane is away.

    In JSON, [bold]asks[/] lists what waits for a person's answer, of services and of runs under way, each with the
    commands that answer it.

    Example: [cyan]failover status --watch[/]
    """
    desk = desk_of(ctx)
    if watch and as_json:
        raise BadInput("--watch is for people and --json is one document; use one of them")
    found = _statuses(desk, service)
    if as_json:
        from orchestrator.runtime.standing import asked_of_people  # noqa: PLC0415 - it imports workflows

        known = _states(desk, found)
        waiting = {run: state for run, state in known.items() if state.waiting or state.paused}
        asks = [each for one in found for each in asked_of_people(one, known.get(one.run) if one.run else None)]
        desk.write({"as_of": now(), "services": found, "waiting": waiting, "asks": asks})
    elif watch:
        _watch(desk, service, found)
    elif not found:
        desk.say("No service is watched yet; put a topology in force with 'failover apply failover.yaml'.")
    else:
        from orchestrator.cli.render.status import table  # noqa: PLC0415 - start-up time

        desk.show(table(found, now(), _states(desk, found)))


def _states(desk: Desk, found: Statuses) -> dict[RunId, RunState]:
    """What the runs under way wait for."""
    runs = tuple((status.run, status.service) for status in found if status.run)
    return states(desk, runs) if runs else {}


def _statuses(desk: Desk, service: str | None) -> Statuses:
    if service is not None:
        return (of_service(desk, service, lambda control, name: control.status(name)),)
    return desk.wait(desk.control().statuses())


def _watch(desk: Desk, service: str | None, found: Statuses) -> None:
    """Redraw every second; while the control plane is away the last table stays, with its age. Ends with Ctrl-C."""
    from rich.console import Group, RenderableType  # noqa: PLC0415 - start-up time
    from rich.live import Live  # noqa: PLC0415 - the same

    from orchestrator.cli.render.status import table  # noqa: PLC0415 - the same
    from orchestrator.cli.render.text import age, cell  # noqa: PLC0415 - the same
    from orchestrator.runtime.connection import ControlPlaneAway  # noqa: PLC0415 - it imports Temporal's client

    def view(shown: Statuses, at: datetime, away: str) -> RenderableType:
        loud = cell(f"The control plane is away ({away}); this is what was seen {age(at, now())}.", "bold reverse red")
        return Group(loud, table(shown, at, waiting)) if away else table(shown, at, waiting)

    def pause() -> None:
        desk.wait(asyncio.sleep(1.0))

    at, away, waiting = now(), "", _states(desk, found)
    try:
        with Live(view(found, at, away), console=desk.out, auto_refresh=False, transient=False) as display:
            while desk.heard:
                display.update(view(found, at, away), refresh=desk.live)
                if not desk.live:
                    desk.show(view(found, at, away))
                pause()
                try:
                    found, at, away = _statuses(desk, service), now(), ""
                    waiting = _states(desk, found)
                except ControlPlaneAway as error:
                    away = str(error)
    except KeyboardInterrupt:
        return


def pause(ctx: typer.Context, service: Service, reason: Reason = None) -> None:
    """Stop automation for one service; it is still watched, and people can still start runs.

    Example: [cyan]failover pause chat --reason "maintenance in eu"[/]
    """
    from workflows.wire import Pause  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    word = Pause(who(), reason_of(desk, reason, "Why is it paused?"))
    of_service(desk, service, lambda control, name: control.pause(name, word))
    desk.say(f"'{service}' is paused; resume it with 'failover resume {service}'.")


def resume(ctx: typer.Context, service: Service, reason: Reason = None) -> None:
    """Let automation go on; this also releases a service that is held.

    Example: [cyan]failover resume chat --reason "maintenance is over"[/]
    """
    from workflows.wire import Pause  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    word = Pause(who(), reason_of(desk, reason, "Why may it go on?"))
    of_service(desk, service, lambda control, name: control.resume(name, word))
    desk.say(f"Automation of '{service}' goes on.")


def ack(ctx: typer.Context, service: Service, reason: Reason = None) -> None:
    """Say that you have seen what automation did for a service, so that it may act again.

    Only services whose policy wants it ('acknowledge: true') wait for this. A run that halted is no longer shown as
    one that needs somebody.

    Example: [cyan]failover ack chat --reason "the ticket is 4711"[/]
    """
    from workflows.wire import Acknowledge  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    word = Acknowledge(who(), reason_of(desk, reason, "What did you find?"))
    of_service(desk, service, lambda control, name: control.acknowledge(name, word))
    desk.say(f"Noted: {word.by} has seen what automation did for '{service}'.")


def mode(
    ctx: typer.Context,
    service: Service,
    *,
    to: Annotated[Mode, typer.Argument(metavar="MODE", help="observe, approval, automatic or manual.")],
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Set what the orchestrator may do by itself for one service.

    [bold]observe[/] decides and writes nothing, [bold]approval[/] asks a person, [bold]automatic[/] acts,
    [bold]manual[/] only watches.

    Example: [cyan]failover mode chat automatic --reason "drilled twice"[/]
    """
    from workflows.wire import SetMode  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    word = SetMode(to, who(), reason_of(desk, reason, "Why this mode?"))
    question = f"From now on '{service}' is failed over without asking anybody. Go on?"
    undecided = "nobody can be asked here; add --yes to switch automation on"
    if to is Mode.AUTOMATIC and not desk.confirm(question, yes=yes, undecided=undecided):
        desk.say("Nothing was changed.")
        raise typer.Exit(130)
    of_service(desk, service, lambda control, name: control.set_mode(name, word))
    desk.say(f"The mode of '{service}' is {to} now.")


def adopt(ctx: typer.Context, service: Service, as_json: Json = False) -> None:
    """Take a service's live record under the fence; the answer that clients get stays as it is.

    Example: [cyan]failover adopt chat[/]
    """
    desk = desk_of(ctx)
    routing = of_service(desk, service, lambda control, name: control.adopt(name, by=who()))
    if as_json:
        desk.write(routing)
        return
    answer = ", ".join(routing.answer.values) if routing.answer else "none"
    desk.say(f"'{service}' is under the fence: generation {routing.generation}; the answer is still {answer}.")
