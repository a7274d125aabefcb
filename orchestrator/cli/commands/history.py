"""What has happened: history and show."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import now, of_service
from orchestrator.cli.desk import Desk, desk_of
from orchestrator.cli.following import follow, states
from orchestrator.cli.options import History, Json, complete_services
from orchestrator.core.errors import BadInput
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record, RunStatus

if TYPE_CHECKING:
    from orchestrator.history import Store
    from workflows.wire import ServiceStatus

OfService = Annotated[
    str | None,
    typer.Option(
        "--service", "-s", help="Of this service alone.", autocompletion=complete_services, show_default=False
    ),
]


def history(
    ctx: typer.Context,
    *,
    service: OfService = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many runs.")] = 20,
    store: History = None,
    as_json: Json = False,
) -> None:
    """List past runs, newest first.

    Without a history store the newest few of each service are shown, as the control plane remembers them.

    Example: [cyan]failover history --service chat[/]
    """
    desk = desk_of(ctx)
    found = _stored(store, service, limit) if store else _remembered(desk, service)[:limit]
    if as_json:
        desk.write({"as_of": now(), "runs": found})
    elif not found:
        desk.say("There is no run yet.")
    else:
        from orchestrator.cli.render.record import summary  # noqa: PLC0415 - start-up time

        desk.show(summary(found))


def _remembered(desk: Desk, service: str | None) -> tuple[Record, ...]:
    """The newest runs that the services themselves remember."""
    if service is not None:
        statuses: tuple[ServiceStatus, ...] = (of_service(desk, service, lambda control, name: control.status(name)),)
    else:
        statuses = desk.wait(desk.control().statuses())
    runs = [record for status in statuses for record in status.last_runs]
    return tuple(sorted(runs, key=lambda record: (record.started, record.run), reverse=True))


def _open(where: str) -> Store:
    """The history store for reading: a file that is not there is a mistake, not an empty history."""
    from orchestrator.history import Store  # noqa: PLC0415 - SQLAlchemy is slow to import

    if "://" not in where and not Path(where).is_file():
        raise BadInput(f"{where}: there is no history store; name the one that 'failover serve' or 'failover up' keeps")
    return Store.open(where)


def _stored(where: str, service: str | None, limit: int) -> tuple[Record, ...]:
    """The newest runs of the store; the control plane is not asked."""
    with contextlib.closing(_open(where)) as store:
        return store.runs(ServiceId(service) if service else None, limit)


def _record(desk: Desk, run: str, service: str | None, where: str | None) -> Record:
    """The record from the control plane, or, where a store is named, from there."""
    from orchestrator.runtime.connection import NoSuch  # noqa: PLC0415 - it imports Temporal's client

    owner = ServiceId(service) if service else None
    if where is None:
        control = desk.control()
        return desk.wait(control.record(RunId(run), owner))
    with contextlib.closing(_open(where)) as store:
        record = store.run(RunId(run), owner)
    if record is None:
        raise NoSuch(f"no run is called '{run}' in {where}; list them with 'failover history'")
    return record


def show(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, as 'failover history' lists it.")],
    *,
    service: OfService = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow a run that is still under way.")] = False,
    store: History = None,
    as_json: Json = False,
) -> None:
    """Show one run's timeline: offsets from the last good probe, each step as a bar.

    In JSON, [bold]asks[/] lists what a run under way waits for a person for, each with the commands that answer it.

    Example: [cyan]failover show 01jd7c9[/]
    """
    desk = desk_of(ctx)
    record = _record(desk, run, service, store)
    if watch and record.status is RunStatus.RUNNING:
        record = follow(desk, record.service, record.run, timeout_s=None)
    state = None
    if store is None and record.status is RunStatus.RUNNING:
        state = states(desk, ((record.run, record.service),)).get(record.run)
    if as_json:
        from orchestrator.cli.render.document import extended  # noqa: PLC0415 - start-up time
        from orchestrator.runtime.standing import asked_by_run  # noqa: PLC0415 - it imports workflows

        desk.write(extended(record, asks=asked_by_run(record.run, record.service, state)))
        return
    from orchestrator.cli.render.record import timeline  # noqa: PLC0415 - start-up time

    desk.show(timeline(record, now(), state, ascii_only=not desk.out.encoding.startswith("utf")))
