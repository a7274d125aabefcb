"""Asking one endpoint its questions now, without Temporal: probe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.calls import unknown
from orchestrator.cli.desk import Desk, desk_of
from orchestrator.cli.errors import Failed
from orchestrator.cli.options import FileOption, Json
from orchestrator.core.errors import BadInput
from orchestrator.core.names import EndpointId
from orchestrator.core.probe import PASSING, SOFT, Outcome, OutcomeKind
from orchestrator.core.topology import Endpoint, Service, Topology

FAILOVER_YAML = Path("failover.yaml")


@dataclass(frozen=True, slots=True)
class Asked:
    """One probe's answer."""

    probe: str
    kind: str
    outcome: Outcome


def probe(
    ctx: typer.Context,
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="An endpoint's id in the topology file.")],
    *,
    file: FileOption = FAILOVER_YAML,
    service: Annotated[
        str | None, typer.Option("--service", "-s", help="Where several services have such an id.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask one endpoint every question of its probes once, from this machine and without Temporal.

    The exit status is 1 unless every probe passes.

    Example: [cyan]failover probe us --file failover.yaml[/]
    """
    from orchestrator.config import load  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    owner, found = _find(load(file), endpoint, service, file)
    if not found.probes:
        raise BadInput(f"endpoint '{endpoint}' of '{owner.id}' has no probes; give it one in {file}")
    asked = desk.wait(_ask(owner, found))
    failed = [one for one in asked if one.outcome.kind not in PASSING]
    if as_json:
        desk.write({"service": owner.id, "endpoint": found.id, "url": found.url, "passed": not failed, "probes": asked})
    else:
        _show(desk, asked)
    if failed:
        raise Failed(f"{len(failed)} of {len(asked)} probes of '{endpoint}' did not pass")


def _find(topology: Topology, endpoint: str, service: str | None, file: Path) -> tuple[Service, Endpoint]:
    """The endpoint that is meant, and its service. Raises NoSuch for a service, BadInput for an endpoint."""
    from orchestrator.runtime.connection import NoSuch  # noqa: PLC0415 - Temporal's client is slow to import

    services = [each for each in topology.services if service is None or each.id == service]
    if not services:
        raise NoSuch(f"{file}: {unknown('service', service or '', [each.id for each in topology.services])}")
    found = [(each, one) for each in services for one in each.endpoints if one.id == EndpointId(endpoint)]
    if not found:
        names = [one.id for each in services for one in each.endpoints]
        raise BadInput(f"{file}: {unknown('endpoint', endpoint, sorted(set(names)))}")
    if len(found) > 1:
        owners = ", ".join(each.id for each, _ in found)
        raise BadInput(f"{file}: several services have an endpoint '{endpoint}' ({owners}); choose with --service")
    return found[0]


async def _ask(service: Service, endpoint: Endpoint) -> tuple[Asked, ...]:
    from providers.probes import Probes  # noqa: PLC0415 - start-up time

    client = Probes()
    try:
        asked = []
        for spec in endpoint.probes:
            outcome = await client.ask(spec, endpoint.url, name=service.name, fresh=True)
            asked.append(Asked(spec.id, spec.kind.value, outcome))
        return tuple(asked)
    finally:
        await client.close()


def _show(desk: Desk, asked: tuple[Asked, ...]) -> None:
    from rich.table import Table  # noqa: PLC0415 - start-up time

    from orchestrator.cli.render.text import cell, seconds  # noqa: PLC0415 - the same

    def style(kind: OutcomeKind) -> str:
        return "green" if kind in PASSING else "yellow" if kind in SOFT else "bold red"

    grid = Table.grid(padding=(0, 2))
    for one in asked:
        kind = one.outcome.kind
        words = one.outcome.detail + (" (completed inference)" if one.outcome.completed else "")
        took = seconds(one.outcome.latency_s)
        grid.add_row(cell(one.probe, "bold"), cell(one.kind, "dim"), cell(kind, style(kind)), took, cell(words.strip()))
    desk.show(grid)
