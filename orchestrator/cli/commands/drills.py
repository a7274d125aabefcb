"""Fire drills: run, show, schedule, list, pause, resume, unschedule."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import now, of_service, reason_of, unknown
from orchestrator.cli.desk import Desk, desk_of, who
from orchestrator.cli.errors import Detached, Failed, Objected, TimedOut
from orchestrator.cli.groups import grouped
from orchestrator.cli.options import TEN_MINUTES, Json, Override, Reason, Service, duration
from orchestrator.cli.wish import rules
from orchestrator.core.errors import BadInput
from orchestrator.core.names import EndpointId, ServiceId, nearest
from orchestrator.core.waiting import at
from providers.base import FaultKind

if TYPE_CHECKING:
    from workflows.wire import DrillReport

app = typer.Typer(
    name="drill",
    help="Rehearse a failover: a fault goes in, everything must happen by itself, the fault comes out.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Target = Annotated[
    str | None,
    typer.Option(
        "--target", metavar="ENDPOINT", help="Where the fault goes in.", show_default="the one with the traffic"
    ),
]
MaxAge = Annotated[
    float,
    typer.Option(
        "--max",
        metavar="DURATION",
        parser=duration,
        help="The fault comes out at this age at the latest.",
        show_default="2m",
    ),
]


class Level(StrEnum):
    """How much of a drill is real."""

    FAULT = "fault"
    SYNTHETIC = "synthetic"
    DRY = "dry"


At = Annotated[
    Level,
    typer.Option(
        "--level",
        help="fault: it goes in. synthetic: probers are told to see it, and a canary record moves. "
        "dry: everything is asked, nothing is done.",
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
TWO_MINUTES = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The options of what is put in, and for how long."""

    target: Target = None
    maximum: MaxAge = TWO_MINUTES
    level: At = Level.FAULT
    override: Override = None
    reason: Reason = None


@app.command("run")
@grouped
def run(
    ctx: typer.Context,
    fault: Annotated[
        str | None,
        typer.Argument(
            metavar="[FAULT]",
            help="Which fault: " + ", ".join(FaultKind) + ". The first of them, unless it really goes in.",
        ),
    ] = None,
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Needed where there are several.")] = None,
    *,
    rehearsal: Rehearsal,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the drill; exit status 1 when it does not pass.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="DURATION", parser=duration, help="How long to wait.", show_default="10m"),
    ] = TEN_MINUTES,
    as_json: Json = False,
) -> None:
    """Run a drill now.

    With [bold]--level dry[/] no fault goes in and nothing is written: what would be done is asked, the target completes
    inferences, capacity, record and name servers are read. With [bold]--level synthetic[/] the probers are told to see
    the fault, and all that follows happens by itself to a canary record, _drill.NAME in place of NAME: the key must be
    allowed to change it, real traffic and capacity stay as they are. Both rehearse endpoints of your own.

    In a freeze window only a dry drill begins, unless you say [bold]--override freeze[/], with a reason.

    Example: [cyan]failover drill run region-blackhole chat --wait[/]
    """
    desk = desk_of(ctx)
    kind, service = _words(fault, service, rehearsal.level)
    name = service if service is not None else _only_service(desk)
    from workflows.wire import DrillRequest  # noqa: PLC0415 - start-up time

    request = DrillRequest(
        f"d-{uuid.uuid4().hex[:12]}",
        ServiceId(name),
        kind.value,
        EndpointId(rehearsal.target) if rehearsal.target else None,
        who(),
        rehearsal.maximum,
        rehearsal.level.value,
        *_set_aside(desk, rehearsal),
    )
    if rehearsal.level is not Level.DRY and not request.overrides:
        _must_not_be_frozen(desk, name)
    report = of_service(desk, name, lambda control, _: control.drill(request))
    if wait:
        report = _follow(desk, report, timeout, quiet=as_json)
    _tell(desk, report, as_json=as_json)
    if not wait and not as_json:
        desk.say(f"The drill goes on; look at it with 'failover drill show {name} {report.id}'.")
    if wait and report.verdict not in {"passed", "partial"}:
        raise Failed(f"drill {report.id} {report.verdict}: {report.text or 'see its phases'}")


def _words(first: str | None, second: str | None, level: Level) -> tuple[FaultKind, str | None]:
    """The fault and the service that were meant: where no fault goes in, it need not be named. Raises BadInput."""
    faults = [kind.value for kind in FaultKind]
    if first in faults:
        return FaultKind(first), second
    if level is not Level.FAULT and second is None:
        return FaultKind.BLACKHOLE, first
    listed = f"there are: {', '.join(faults)}"
    if first is None:
        raise BadInput(f"name the fault that goes in; {listed}")
    close = nearest(first, faults)
    hint = f"did you mean '{close}'? " if close else ""
    raise BadInput(f"there is no fault '{first}'; {hint}{listed}")


def _set_aside(desk: Desk, rehearsal: Rehearsal) -> tuple[tuple[str, ...], str]:
    """The rules that the drill sets aside, and why. Raises BadInput for those that no drill can."""
    named = rules(rehearsal.override)
    if any(name != "freeze" for name in named):
        raise BadInput("--override: a drill can set aside 'freeze' alone; what it moves meets all the other rules")
    return named, reason_of(desk, rehearsal.reason, "Why in a freeze window?") if named else ""


def _must_not_be_frozen(desk: Desk, name: str) -> None:
    """Raises Objected in a freeze window: a drill can wait."""
    status = of_service(desk, name, lambda control, service: control.status(service))
    for each in status.freezes:
        raise Objected(
            f"no drill begins until {at(each.until)}, because: {each.reason}; wait until then, rehearse with "
            "--level dry, or set it aside with --override freeze and a reason"
        )


def _only_service(desk: Desk) -> str:
    _, topology = desk.wait(desk.control().topology())
    names = [str(service.id) for service in topology.services]
    if len(names) != 1:
        raise BadInput(f"name the service that is drilled; there are: {', '.join(names)}")
    return names[0]


def _follow(desk: Desk, first: DrillReport, timeout_s: float, *, quiet: bool) -> DrillReport:
    """Poll the drill until it has a verdict, and show each phase as it ends."""
    from orchestrator.cli.render.text import cell, seconds  # noqa: PLC0415 - start-up time

    look = f"it goes on; look at it with 'failover drill show {first.service} {first.id}'"
    control = desk.control()

    async def watch() -> DrillReport:
        report, shown = first, 0
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    for phase in report.phases[shown:]:
                        if phase.ok is None:
                            break
                        shown += 1
                        if not quiet:
                            word = "ok" if phase.ok else "failed"
                            took = seconds(((phase.ended or now()) - phase.started).total_seconds())
                            desk.out.print(cell(f"{phase.name} {word} in {took}: {phase.text}"), soft_wrap=True)
                    if report.verdict != "running":
                        return report
                    await asyncio.sleep(0.2)
                    report = await control.drill_report(first.service, first.id)
        except TimeoutError:
            raise TimedOut(f"drill {first.id} has not ended within {seconds(timeout_s)}; {look}") from None
        except asyncio.CancelledError:
            raise Detached(f"detached from drill {first.id}; {look}") from None

    return desk.wait(watch())


def _tell(desk: Desk, report: DrillReport, *, as_json: bool) -> None:
    if as_json:
        desk.write(report)
        return
    from orchestrator.cli.render.drill import report as rendered  # noqa: PLC0415 - start-up time

    desk.show(rendered(report, now()))


@app.command("show")
def show(
    ctx: typer.Context,
    service: Service,
    drill: Annotated[str, typer.Argument(metavar="DRILL", help="A drill's id.")],
    *,
    as_json: Json = False,
) -> None:
    """Show one drill: its phases and what was measured.

    Example: [cyan]failover drill show chat d-5f2c9a01b7e3[/]
    """
    desk = desk_of(ctx)
    report = of_service(desk, service, lambda control, name: control.drill_report(name, drill))
    _tell(desk, report, as_json=as_json)


@app.command("abort")
def abort(
    ctx: typer.Context,
    service: Service,
    drill: Annotated[str, typer.Argument(metavar="DRILL", help="A drill's id.")],
    *,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """End a drill before its time: its fault comes out, and its canary goes home.

    Traffic that a real fault has moved stays where it went: bring it home with [bold]failover failback[/].

    Example: [cyan]failover drill abort chat d-5f2c9a01b7e3 --reason "a real incident"[/]
    """
    desk = desk_of(ctx)
    why = reason_of(desk, reason, "Why?")
    from workflows.wire.drill import AbortDrill  # noqa: PLC0415 - start-up time

    asked = AbortDrill(who(), why)
    report = of_service(desk, service, lambda control, name: control.abort_drill(name, drill, asked))
    if as_json:
        desk.write(report)
    else:
        desk.say(f"Drill {drill} ends; look at it with 'failover drill show {service} {drill}'.")


@app.command("schedule")
def schedule(
    ctx: typer.Context,
    name: Name,
    *,
    cron: Annotated[str, typer.Option("--cron", help="Five fields, UTC: '0 9 * * 2' is every Tuesday at nine.")],
    fault: Annotated[
        FaultKind | None,
        typer.Option("--fault", help="Which fault goes in.", show_default="needed where one really does"),
    ] = None,
    service: Annotated[str, typer.Option("--service", "-s", help="The service that is drilled.")],
    target: Target = None,
    maximum: MaxAge = TWO_MINUTES,
    level: At = Level.FAULT,
) -> None:
    """Rehearse regularly. One missed for more than minutes is not made up for.

    A drill whose time comes while another one of the service is held is skipped, and the history says so.

    Example: [cyan]failover drill schedule tuesday --cron "0 9 * * 2" --fault region-blackhole --service chat[/]
    """
    desk = desk_of(ctx)
    if len(cron.split()) != 5:
        raise BadInput(f"'{cron}' is not a cron expression of five fields; write it like '0 9 * * 2'")
    if fault is None and level is Level.FAULT:
        raise BadInput(f"--fault is missing: name the fault that goes in; there are: {', '.join(FaultKind)}")
    kind, _ = _words(fault, None, level)
    aim = EndpointId(target) if target else None
    from workflows.wire import DrillRequest  # noqa: PLC0415 - start-up time

    request = DrillRequest("", ServiceId(service), kind.value, aim, who(), maximum, level.value)
    of_service(desk, service, lambda control, service_id: control.status(service_id))
    desk.wait(desk.control().schedule_drill(name, cron, request))
    desk.say(f"Drill '{name}' is scheduled; see when it runs with 'failover drill list'.")


@app.command("list")
def list_schedules(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List the schedules and when each runs next.

    Example: [cyan]failover drill list[/]
    """
    desk = desk_of(ctx)
    found = desk.wait(desk.control().drill_schedules())
    if as_json:
        desk.write({"as_of": datetime.now(UTC), "schedules": found})
    elif not found:
        desk.say("No drill is scheduled; add one with 'failover drill schedule'.")
    else:
        from orchestrator.cli.render.drill import schedules  # noqa: PLC0415 - start-up time

        desk.show(schedules(found))


def _check(desk: Desk, name: str) -> None:
    """Raise NoSuch with the nearest name unless a schedule is called *name*."""
    from orchestrator.runtime.connection import NoSuch  # noqa: PLC0415 - it imports Temporal's client

    names = [schedule.name for schedule in desk.wait(desk.control().drill_schedules())]
    if name not in names:
        raise NoSuch(unknown("drill schedule", name, names))


@app.command("pause")
def pause(ctx: typer.Context, name: Name, *, reason: Reason = None) -> None:
    """Let a schedule rest; it stays listed.

    Example: [cyan]failover drill pause tuesday --reason "release week"[/]
    """
    _set(desk_of(ctx), name, reason, paused=True)


@app.command("resume")
def resume(ctx: typer.Context, name: Name, *, reason: Reason = None) -> None:
    """Let a paused schedule run again.

    Example: [cyan]failover drill resume tuesday --reason "release is out"[/]
    """
    _set(desk_of(ctx), name, reason, paused=False)


def _set(desk: Desk, name: str, reason: str | None, *, paused: bool) -> None:
    why = reason_of(desk, reason, "Why?")
    _check(desk, name)
    desk.wait(desk.control().pause_schedule(name, paused=paused, by=who(), reason=why))
    desk.say(f"Drill schedule '{name}' {'is paused' if paused else 'runs again'}.")


@app.command("unschedule")
def unschedule(ctx: typer.Context, name: Name) -> None:
    """Remove a schedule; drills that have run stay in the history.

    Example: [cyan]failover drill unschedule tuesday[/]
    """
    desk = desk_of(ctx)
    _check(desk, name)
    desk.wait(desk.control().unschedule_drill(name))
    desk.say(f"Drill schedule '{name}' is removed.")
