"""Long-running processes: demo, up, worker, serve."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.ahead import DEFAULT_TEMPORAL, Later, must_be_free, temporal_port, together, until_told
from orchestrator.cli.calls import unknown
from orchestrator.cli.desk import Desk, desk_of
from orchestrator.cli.errors import Failed
from orchestrator.cli.options import File, History, Json, duration
from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.core.names import Domain, VantageId

if TYPE_CHECKING:
    from orchestrator.runtime.control import ControlPlane
    from orchestrator.runtime.up import Running

LOOPBACK = "127.0.0.1"
PAGE_PORT = 8480
STATE = Path(".failover")
Port = Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Port of the status page.")]
Host = Annotated[str, typer.Option("--host", help="Address of the status page.")]
"""Loopback by default: the page has no log-in."""


def worker(
    ctx: typer.Context,
    *,
    domain: Annotated[
        str, typer.Option("--domain", metavar="CLOUD/REGION", help="The failure domain that this machine stands in.")
    ],
    vantage: Annotated[
        str | None,
        typer.Option("--vantage", metavar="ID", help="The vantage that it probes for.", show_default="probes nothing"),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Folder for its copy of the topology.", show_default="a temporary one"),
    ] = None,
    history: History = None,
) -> None:
    """Work on this machine: probe for a vantage, decide, and carry out the steps of runs. Ends with SIGTERM or Ctrl-C.

    Run workers in at least two failure domains, so that one of them outlives any loss.

    Example: [cyan]failover worker --domain aws/us-east-1 --vantage us[/]
    """
    from orchestrator.config.fields import DOMAIN, ID  # noqa: PLC0415 - start-up time

    if not DOMAIN.fullmatch(domain):
        raise BadInput(f"'{domain}' is no failure domain; write it as cloud/region, such as aws/us-east-1")
    if vantage is not None and not ID.fullmatch(vantage):
        raise BadInput(f"'{vantage}' cannot be a vantage; name one by its id in the topology, such as us-east")
    import uvloop  # noqa: PLC0415 - start-up time

    from orchestrator.runtime.connection import connect  # noqa: PLC0415 - Temporal's client is slow to import
    from orchestrator.runtime.control import ControlPlane  # noqa: PLC0415 - the same
    from orchestrator.runtime.logging import set_up  # noqa: PLC0415 - the same
    from orchestrator.runtime.worker import Post, run_worker  # noqa: PLC0415 - the same

    desk = desk_of(ctx)
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)
    post = Post(Domain(domain), VantageId(vantage) if vantage else None, state=state, history=history)

    if desk.log_level is None:
        set_up("info")

    async def work() -> None:
        client = await connect(desk.address, desk.namespace)
        if vantage:
            await _note_unknown(desk, ControlPlane(client), VantageId(vantage))
        await run_worker(client, post)

    uvloop.run(work())


async def _note_unknown(desk: Desk, control: ControlPlane, vantage: VantageId) -> None:
    """Say so where the topology in force has no such vantage. Not refused: it may come with the next one."""
    try:
        async with asyncio.timeout(2):
            _, topology = await control.topology()
    except (FailoverError, TimeoutError):
        return  # nobody knows yet: this may be the first worker
    names = [known.id for known in topology.vantages]
    if vantage not in names:
        desk.say(
            f"warning: {unknown('vantage', vantage, names)}; until the topology has it, this worker probes nothing"
        )


def serve(
    ctx: typer.Context,
    *,
    host: Host = LOOPBACK,
    port: Port = PAGE_PORT,
    history: History = None,
) -> None:
    """Serve the status page. It starts even while Temporal is away, and says so loudly.

    The page has no log-in: give it another address than loopback only behind something that has one.

    Example: [cyan]failover serve --port 8480 --history history.db[/]
    """
    from orchestrator.history import Store  # noqa: PLC0415 - SQLAlchemy is slow to import
    from orchestrator.status import create_app  # noqa: PLC0415 - start-up time
    from orchestrator.status import serve as listen  # noqa: PLC0415 - the same

    desk = desk_of(ctx)
    plane = Later(desk.reach)

    async def announce() -> None:
        desk.say(f"The status page is at http://{host}:{port}/ until Ctrl-C.")
        await asyncio.Event().wait()

    store = Store.at(history) if history else None
    desk.wait(together(listen(create_app(plane, store), host, port), announce()))


def up(
    ctx: typer.Context,
    file: File,
    *,
    state: Annotated[
        Path, typer.Option("--state", help="Folder on a local disk that keeps everything across restarts.")
    ] = STATE,
    host: Host = LOOPBACK,
    port: Port = PAGE_PORT,
) -> None:
    """Run everything on this machine for one topology file: Temporal, workers, and the status page.

    For trying it out, and for one machine that watches. Ends with SIGTERM or Ctrl-C; the state stays.

    Example: [cyan]failover up failover.yaml --state ./state[/]
    """
    from orchestrator.cli.commands.topology import refuse_errors  # noqa: PLC0415 - used on one path
    from orchestrator.config import load  # noqa: PLC0415 - start-up time
    from orchestrator.history import Store  # noqa: PLC0415 - SQLAlchemy is slow to import
    from orchestrator.runtime.up import up as everything  # noqa: PLC0415 - it imports Temporal's client
    from orchestrator.status import create_app  # noqa: PLC0415 - start-up time
    from orchestrator.status import serve as listen  # noqa: PLC0415 - the same

    desk = desk_of(ctx)
    topology = load(file)
    refuse_errors(desk, topology, file)
    if state.exists() and not state.is_dir():
        raise BadInput(f"{state}: is no folder; name one with --state")
    state.mkdir(parents=True, exist_ok=True)
    plane = Later(None)

    async def world() -> None:
        async with everything(topology, state, port=temporal_port()) as running:
            plane.ready(running.plane)
            address = running.temporal.address
            hint = "" if address == DEFAULT_TEMPORAL else f"; for other commands: export TEMPORAL_ADDRESS={address}"
            desk.say(f"Everything runs; the status page is at http://{host}:{port}/ until Ctrl-C{hint}.")
            if not topology.simulates_hosts:
                desk.say(
                    "note: all vantages of one machine count as one, and down needs two: an outage is seen and told, "
                    "and nothing is moved by itself; for that, run Temporal apart and 'failover worker' on three."
                )
            await asyncio.Event().wait()

    page = listen(create_app(plane, Store.at(state / "history.db")), host, port)
    desk.wait(together(page, world()))


class Scenario(StrEnum):
    """What can go wrong in the demo: the scenarios of ``orchestrator.local.demo``."""

    BLACKHOLE = "region-blackhole"
    KILL = "process-kill"
    ERRORS = "errors-5xx"
    HOLLOW = "health-lies"


def demo(
    ctx: typer.Context,
    *,
    interval: Annotated[
        float,
        typer.Option("--interval", metavar="DURATION", parser=duration, help="Between probes.", show_default="1s"),
    ] = 1.0,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="DURATION", parser=duration, help="Of one probe.", show_default="500ms"),
    ] = 0.5,
    fall: Annotated[int, typer.Option("--fall", min=1, help="Failures in a row that mean down.")] = 3,
    scenario: Annotated[Scenario, typer.Option("--scenario", help="What goes wrong.")] = Scenario.BLACKHOLE,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the world and its page running until Ctrl-C.")] = False,
    port: Port = PAGE_PORT,
    as_json: Json = False,
) -> None:
    """Fail a region over and back in a world on this machine, under real client load, and measure it.

    Needs no cloud account, no root and nothing else running. The exit status is 1 when the demo does not pass.

    Example: [cyan]failover demo[/]
    """
    from orchestrator.local.demo import run  # noqa: PLC0415 - it imports Temporal's client

    desk = desk_of(ctx)
    if keep:
        must_be_free(LOOPBACK, port)

    async def stay(running: Running) -> None:
        from orchestrator.history import Store  # noqa: PLC0415 - used on one path
        from orchestrator.status import create_app  # noqa: PLC0415 - the same
        from orchestrator.status import serve as listen  # noqa: PLC0415 - the same

        desk.say(f"The world stays, with its page at http://{LOOPBACK}:{port}/, until Ctrl-C. In another terminal:")
        desk.say(f"  export TEMPORAL_ADDRESS={running.temporal.address}; failover status")
        app = create_app(running.plane, Store.at(running.state / "history.db"))
        await together(listen(app, LOOPBACK, port))

    def say(line: str) -> None:
        desk.say(line, style="dim")

    played = run(
        interval_s=interval,
        timeout_s=timeout,
        fall=fall,
        scenario=scenario.value,
        say=say,
        keep=stay if keep else None,
    )
    report = desk.wait(until_told(played))
    if as_json:
        desk.write(report.document())
    else:
        from orchestrator.cli.calls import now  # noqa: PLC0415 - used on one path
        from orchestrator.cli.render.demo import report as rendered  # noqa: PLC0415 - start-up time

        desk.show(rendered(report, now(), ascii_only=not desk.out.encoding.startswith("utf")))
    if not report.passed:
        raise Failed("the demo did not pass; its figures say where")
