"""Is the control plane itself well: connection, topology, vantages, and the name servers it would write to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import now, unknown
from orchestrator.cli.desk import Desk, desk_of
from orchestrator.cli.errors import Failed
from orchestrator.cli.options import Json
from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.core.topology import SteeringSpec, Topology

if TYPE_CHECKING:
    from workflows.wire import ServiceStatus


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    about: str
    """``control-plane``, or a service's id."""
    check: str
    ok: bool | None
    """None: nothing is wrong, and there is advice."""
    text: str
    cure: str = ""


def doctor(
    ctx: typer.Context,
    *,
    dns: Annotated[
        bool, typer.Option("--dns", help="Also try key, grants and name servers; no answer changes.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Take the topology from this file.", show_default="the one in force"),
    ] = None,
    service: Annotated[str | None, typer.Option("--service", "-s", help="Look at this service alone.")] = None,
    as_json: Json = False,
) -> None:
    """Look for what would keep a failover from working: connection, workers, vantages, and name servers.

    With [bold]--dns --file FILE[/] the name servers are tried without Temporal. The exit status is 1 when a check
    fails, 5 when it is the control plane that is away.

    Example: [cyan]failover doctor --dns[/]
    """
    from orchestrator.runtime.connection import NoSuch  # noqa: PLC0415 - it imports Temporal's client

    desk = desk_of(ctx)
    checks: list[Check] = []
    topology, away = None, None
    if file is not None:
        from orchestrator.config import load  # noqa: PLC0415 - start-up time

        topology = load(file)
    if not (dns and file is not None):
        try:
            in_force = _plane(desk, service, checks)
            topology = topology or in_force
        except FailoverError as error:
            if service is not None and isinstance(error, NoSuch):
                raise
            away = error
            checks.append(Check("control-plane", "connection", False, str(error)))
    if dns and topology is not None:
        checks += _dns(desk, topology, service)
    _tell(desk, checks, as_json=as_json)
    if away is not None:
        raise away
    failed = sum(1 for check in checks if check.ok is False)
    if failed:
        raise Failed(f"{failed} of {len(checks)} checks failed")


def _plane(desk: Desk, service: str | None, checks: list[Check]) -> Topology | None:
    """Check connection, workers and vantages; returns the topology in force. Raises ControlPlaneAway."""
    from orchestrator.runtime.connection import NoSuch  # noqa: PLC0415 - it imports Temporal's client

    control = desk.control()
    checks.append(Check("control-plane", "connection", True, "Temporal answers"))
    try:
        applied, topology = desk.wait(control.topology())
    except NoSuch as error:
        text = str(error).partition(":")[0]
        checks.append(Check("control-plane", "topology", None, text, "run 'failover apply failover.yaml'"))
        return None
    services, vantages = _count(len(topology.services), "service"), _count(len(topology.vantages), "vantage")
    text = f"revision {applied.revision}, {services}, {vantages}"
    checks.append(Check("control-plane", "topology", True, text))
    _known(topology, service)
    statuses = desk.wait(control.statuses())
    silent = [status.service for status in statuses if any(reason.rule == "no-answer" for reason in status.held)]
    if not silent:
        checks.append(Check("control-plane", "workers", True, "every service answers"))
    checks += [Check("control-plane", "workflow", False, text) for text in desk.wait(control.stuck())]
    for status in statuses:
        if service in {None, status.service}:
            checks += _service(status, topology, now())
    return topology


def _known(topology: Topology, service: str | None) -> None:
    from orchestrator.runtime.connection import NoSuch  # noqa: PLC0415 - it imports Temporal's client

    names = [each.id for each in topology.services]
    if service is not None and service not in names:
        raise NoSuch(unknown("service", service, names))


def _service(status: ServiceStatus, topology: Topology, at: datetime) -> list[Check]:
    """What keeps one service from being judged or moved."""
    from workflows.options import FRESH_S  # noqa: PLC0415 - it imports Temporal's library

    found: list[Check] = []
    heard = {view.vantage: view for view in status.views}
    fresh = 0
    for vantage in topology.vantages:
        view = heard.get(vantage.id)
        age_s = (at - view.heard).total_seconds() if view else None
        if age_s is not None and age_s <= FRESH_S and view is not None and not view.isolated:
            fresh += 1
            continue
        word = "was never heard" if age_s is None else f"was last heard {age_s:.0f} s ago"
        text = f"vantage '{vantage.id}' " + ("suspects itself" if view and view.isolated else word)
        cure = f"run 'failover worker --vantage {vantage.id} --domain {vantage.region}' there"
        found.append(Check(status.service, "vantage", False, text, cure))
    if fresh:
        text = f"{fresh} of {len(topology.vantages)} vantages are fresh"
        found.append(Check(status.service, "vantages", True, text))
    hosts = {view.host for view in heard.values()}
    if fresh > 1 and len(hosts) < len(heard) and not topology.simulates_hosts:
        text = f"{len(heard)} vantages run on {_count(len(hosts), 'machine')}, and votes count by machine"
        cure = "run each vantage on a machine of its own; with fewer than two machines nothing is ever found down"
        found.append(Check(status.service, "machines", None, text, cure))
    found += [
        Check(status.service, "held", False, f"{reason.rule}: {reason.text}", f"run 'failover resume {status.service}'")
        for reason in status.held
    ]
    if status.paused:
        found.append(
            Check(
                status.service,
                "paused",
                None,
                status.paused,
                f"run 'failover resume {status.service}' when it may go on",
            )
        )
    if status.routing is None:
        found.append(
            Check(status.service, "routing", None, "the routing has not been read", "try 'failover doctor --dns'")
        )
    return found


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _dns(desk: Desk, topology: Topology, service: str | None) -> list[Check]:
    """Ask whoever steers each service: its name servers, its cloud."""
    from providers import registry  # noqa: PLC0415 - start-up time
    from providers.catalog import Part  # noqa: PLC0415 - the same

    _known(topology, service)
    checks: list[Check] = []
    steered = [each for each in topology.services if each.steering and service in {None, each.id}]
    if not steered:
        raise BadInput("no service is steered here, so there is nobody to ask; add steering")
    for each in steered:
        if each.steering is None:
            continue
        examine = registry.doctor(registry.entry(Part.STEERING, each.steering.provider))
        if examine is None:
            checks.append(_read(desk, each.id, each.steering))
            continue
        found = desk.wait(examine(each.steering))
        # The name server's doctor knows names, not the service's id.
        checks += [Check(each.id, one.check, one.ok, one.text, one.cure.replace("SERVICE", each.id)) for one in found]
    return checks


def _read(desk: Desk, service: str, spec: SteeringSpec) -> Check:
    """The least that can be tried of any steering: to read it."""
    from providers import registry  # noqa: PLC0415 - start-up time

    try:
        routing = desk.wait(registry.steering(spec).read())
    except FailoverError as error:
        return Check(service, spec.provider, False, str(error), "mend it, and look again")
    answer = ", ".join(routing.answer.values) if routing.answer else "nothing"
    fence = f"generation {routing.generation}" if routing.fence else "no fence yet"
    return Check(
        service, spec.provider, True, f"it reads as {answer}, {fence}; whether it may be written was not tried"
    )


def _tell(desk: Desk, checks: list[Check], *, as_json: bool) -> None:
    if as_json:
        desk.write({"passed": all(check.ok is not False for check in checks), "checks": checks})
        return
    from rich.table import Table  # noqa: PLC0415 - start-up time

    from orchestrator.cli.render.text import cell  # noqa: PLC0415 - the same

    words = {True: ("ok", "green"), None: ("note", "yellow"), False: ("FAILED", "bold red")}
    grid = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        word, style = words[check.ok]
        cure = f"; {check.cure}" if check.cure else ""
        grid.add_row(cell(word, style), cell(check.about, "bold"), cell(check.check), cell(check.text + cure))
    desk.show(grid)
