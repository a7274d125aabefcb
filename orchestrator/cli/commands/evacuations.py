"""Evacuating a failure domain: begin, look, stop."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import now, reason_of, unknown
from orchestrator.cli.desk import Desk, desk_of, who
from orchestrator.cli.errors import Detached, Failed, Objected, TimedOut
from orchestrator.cli.groups import grouped
from orchestrator.cli.options import Json, Override, Reason, Timeout, Wait, Yes
from orchestrator.cli.wish import rules
from orchestrator.core.errors import BadInput
from orchestrator.core.names import Domain

if TYPE_CHECKING:
    from workflows.wire.evacuation import EvacuationReport

Region = Annotated[
    str, typer.Argument(metavar="DOMAIN", help="A cloud, a region or a zone: aws, aws/us-east-1.", show_default=False)
]
ONE_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """The options of how it is begun and followed."""

    reason: Reason = None
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=1000, help="Services that move at one time.")] = 10
    override: Override = None
    wait: Wait = True
    timeout: Timeout = ONE_HOUR
    yes: Yes = False


@grouped
def evacuate(
    ctx: typer.Context,
    domain: Region,
    *,
    conduct: Conduct,
    as_json: Json = False,
) -> None:
    """Move everything out of a failure domain: shows the waves, asks, and follows every service.

    Services leave by tier, and after those they depend on. One that is refused holds up no other; its reason stands in
    the record. Exit status 3 when services were refused, 1 when some failed.

    Example: [cyan]failover evacuate aws/us-east-1 --reason "the cooling failed"[/]
    """
    from orchestrator.cli.render.evacuation import planned  # noqa: PLC0415 - start-up time
    from orchestrator.core.evacuation import leaving, waves  # noqa: PLC0415 - the same

    desk = desk_of(ctx)
    if not conduct.yes and not desk.someone:
        raise BadInput("nobody can be asked here; add --yes to begin without a question")
    overrides = rules(conduct.override)
    _, topology = desk.wait(desk.control().topology())
    known = sorted({part for region in topology.regions for part in (str(region), str(region).partition("/")[0])})
    inside = leaving(topology, Domain(domain))
    if not inside and domain not in known:
        raise BadInput(unknown("failure domain", domain, known))
    desk.say(planned(waves(inside), domain, conduct.at_once).rstrip("\n"))
    why = reason_of(desk, conduct.reason, "Why is it evacuated?")
    if not desk.confirm("Begin?", yes=conduct.yes, undecided=""):
        desk.say("Nothing was begun.")
        return
    from workflows.wire.evacuation import EvacuationRequest  # noqa: PLC0415 - start-up time

    request = EvacuationRequest(
        f"e-{uuid.uuid4().hex[:12]}", Domain(domain), who(), why, conduct.at_once, overrides=overrides
    )
    report = desk.wait(desk.control().evacuations.begin(request))
    if conduct.wait:
        report = _follow(desk, Domain(domain), conduct.timeout)
    _show(desk, report, as_json=as_json)
    if conduct.wait:
        _settle(report)


def evacuation(ctx: typer.Context, domain: Region, *, as_json: Json = False) -> None:
    """Show the last evacuation of a failure domain: each service, its run and its fate.

    Example: [cyan]failover evacuation aws/us-east-1[/]
    """
    desk = desk_of(ctx)
    _show(desk, desk.wait(desk.control().evacuations.report(Domain(domain))), as_json=as_json)


def stop_evacuation(ctx: typer.Context, domain: Region, *, reason: Reason = None) -> None:
    """Let no further service leave. Runs under way go on; 'failover abort' ends each by itself.

    Example: [cyan]failover stop-evacuation aws/us-east-1 --reason "the cooling is back"[/]
    """
    desk = desk_of(ctx)
    why = reason_of(desk, reason, "Why is it stopped?")
    from workflows.wire.evacuation import EvacuationStop  # noqa: PLC0415 - start-up time

    report = desk.wait(desk.control().evacuations.stop(Domain(domain), EvacuationStop(who(), why)))
    _show(desk, report, as_json=False)


def _follow(desk: Desk, domain: Domain, timeout_s: float) -> EvacuationReport:
    """Say each service's fate as it is known, to the end."""
    from orchestrator.cli.render.text import cell, seconds  # noqa: PLC0415 - start-up time

    look = f"it goes on; look at it with 'failover evacuation {domain}'"
    from workflows.wire.evacuation import Fate  # noqa: PLC0415 - start-up time

    over = {Fate.MOVED, Fate.REFUSED, Fate.FAILED, Fate.LEFT}

    async def watch() -> EvacuationReport:
        told: set[str] = set()
        last: EvacuationReport | None = None
        try:
            async with asyncio.timeout(timeout_s):
                async for report in desk.control().evacuations.follow(domain):
                    last = report
                    for each in report.departures:
                        if each.fate in over and each.service not in told:
                            told.add(each.service)
                            text = f": {each.text}" if each.text else ""
                            desk.err.print(cell(f"{each.service} {each.fate}{text}"), soft_wrap=True)
        except TimeoutError:
            raise TimedOut(f"the evacuation has not ended within {seconds(timeout_s)}; {look}") from None
        except asyncio.CancelledError:
            raise Detached(f"detached from the evacuation of {domain}; {look}") from None
        return last if last is not None else await desk.control().evacuations.report(domain)

    return desk.wait(watch())


def _show(desk: Desk, report: EvacuationReport, *, as_json: bool) -> None:
    if as_json:
        desk.write(report)
        return
    from orchestrator.cli.render.evacuation import report as rendered  # noqa: PLC0415 - start-up time

    desk.show(rendered(report, now()))


def _settle(report: EvacuationReport) -> None:
    """Raise what the end means for the exit status."""
    from orchestrator.cli.render.evacuation import summary  # noqa: PLC0415 - start-up time

    said = f"the evacuation of {report.domain} is over: {summary(report)}"
    from workflows.wire.evacuation import Fate  # noqa: PLC0415 - start-up time

    if report.count(Fate.FAILED):
        raise Failed(said)
    if report.count(Fate.REFUSED, Fate.LEFT):
        raise Objected(said)
