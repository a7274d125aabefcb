"""Runbooks as files: which there are, what they say, whether they are sound, and the plans that they would become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.desk import Desk, desk_of
from orchestrator.cli.options import Json
from orchestrator.core.errors import BadInput
from orchestrator.core.names import EndpointId, ServiceId

if TYPE_CHECKING:
    from orchestrator.config import Mistake
    from orchestrator.core.topology import Topology
    from runbooks.books import Shelf
    from runbooks.parse import Template
    from runbooks.trying import Tried

app = typer.Typer(
    name="runbook",
    help="Write runbooks: see which there are, check your own, and try them without moving anything.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

FAILOVER_YAML = Path("failover.yaml")
Own = Annotated[
    Path | None,
    typer.Option(
        "--topology", "-t", metavar="FILE", help="A topology file, whose own runbooks come first.", show_default=False
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A value for a parameter of the runbook; repeat for more."),
]


@app.command("list")
def list_books(ctx: typer.Context, *, topology: Own = None, as_json: Json = False) -> None:
    """List the runbooks there are, with their parameters.

    Example: [cyan]failover runbook list[/]
    """
    desk, shelf = desk_of(ctx), _shelf(topology)
    found = [shelf.template(name) for name in shelf.names]
    if as_json:
        desk.write([_described(each) for each in found])
        return
    from rich.table import Table  # noqa: PLC0415 - start-up time

    from orchestrator.cli.render.text import cell  # noqa: PLC0415 - the same

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("RUNBOOK", "PARAMETERS", "WHAT IT IS FOR"):
        grid.add_column(heading)
    for each in found:
        takes = ", ".join(f"{one.name}{'' if one.default is not None else ' (required)'}" for one in each.parameters)
        grid.add_row(cell(each.name), cell(takes or "none"), cell(each.description))
    desk.show(grid)


@app.command("show")
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A runbook's name.")],
    *,
    topology: Own = None,
    as_json: Json = False,
) -> None:
    """Print a runbook as it was written: a start for one of your own.

    Example: [cyan]failover runbook show switchover > runbooks/my-switchover.yaml[/]
    """
    desk, found = desk_of(ctx), _shelf(topology).template(name)
    if as_json:
        desk.write({**_described(found), "steps": json.loads(found.data)["steps"], "text": found.text})
        return
    desk.emit(found.text.rstrip("\n") + "\n")


@app.command("lint")
def lint(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Runbook files.")],
    *,
    as_json: Json = False,
) -> None:
    """Check runbook files: every mistake with its place and cure. Those beside a file may be named in it.

    The exit status is 2 when there is a mistake.

    Example: [cyan]failover runbook lint runbooks/*.yaml[/]
    """
    desk = desk_of(ctx)
    mistakes = _mistakes(files)
    if as_json:
        named = [str(file) for file in files]
        desk.write({"files": named, "valid": not mistakes, "mistakes": mistakes})
    else:
        from orchestrator.cli.render.text import cell  # noqa: PLC0415 - start-up time

        for mistake in mistakes:
            desk.out.print(cell(f"error: {mistake}"), soft_wrap=True)
    if mistakes:
        raise BadInput(f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} to mend")
    if not as_json:
        for file in files:
            desk.say(f"{file} is valid.")


@app.command("test")
def try_out(
    ctx: typer.Context,
    book: Annotated[str, typer.Argument(metavar="FILE", help="A runbook file, or the name of a runbook.")],
    *,
    service: Annotated[str, typer.Option("--service", "-s", help="The service whose traffic would move.")],
    topology: Annotated[
        Path, typer.Option("--topology", "-t", metavar="FILE", help="The topology file.")
    ] = FAILOVER_YAML,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="ENDPOINT", help="Where traffic would go.", show_default="as the policy prefers"),
    ] = None,
    given: Given = None,
    as_json: Json = False,
) -> None:
    """Print the plans that a runbook would become, planned and unplanned. Nothing is started, read or asked.

    Traffic is taken to go to the active endpoints. The exit status is 2 when there is no plan, with the reason.

    Example: [cyan]failover runbook test canary-shift --service chat --set stages=10,100[/]
    """
    from orchestrator.config import load  # noqa: PLC0415 - start-up time
    from runbooks.parse import bind  # noqa: PLC0415 - the same
    from runbooks.trying import tried  # noqa: PLC0415 - the same

    desk, world = desk_of(ctx), load(topology)
    found, shelf = _one(book, world)
    ids = [each.id for each in world.services]
    if service not in ids:
        raise BadInput(f"{topology} has no service '{service}'; there are: {', '.join(ids)}")
    runbook = bind(found, _values(given or []))
    target = EndpointId(to) if to else None
    tries = tried(runbook, world, world.service(ServiceId(service)), shelf, target)
    if as_json:
        desk.write({"runbook": found.name, "service": service, "tried": tries})
    else:
        _print(desk, tries)
    wrong = [each.why for each in tries if each.plan is None]
    if wrong:
        raise BadInput("" if as_json else "; ".join(dict.fromkeys(wrong)))


@app.command("schema")
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of a runbook file, for editors.

    Example: [cyan]failover runbook schema > runbook.schema.json[/]
    """
    from runbooks.reference import schema as made  # noqa: PLC0415 - start-up time

    desk_of(ctx).write(made())


# ------------------------------------------------------------------ files


def _shelf(topology: Path | None) -> Shelf:
    """The library, and before it the own runbooks of a topology file. Raises Mistakes."""
    from orchestrator.config import load  # noqa: PLC0415 - start-up time

    return _shelf_of(load(topology)) if topology is not None else _with([])


def _shelf_of(world: Topology) -> Shelf:
    from runbooks.parse import read  # noqa: PLC0415 - start-up time

    return _with([read(text, file) for file, text in world.books])


def _with(own: list[Template]) -> Shelf:
    from runbooks.books import Shelf  # noqa: PLC0415 - start-up time

    return Shelf(own)


def _one(book: str, world: Topology) -> tuple[Template, Shelf]:
    """The runbook in the file, or of the name, *book*, and those that it may name. Raises Mistakes and BadInput."""
    shelf = _shelf_of(world)
    path = Path(book)
    if path.exists() or path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        own, mistakes = _read([path])
        if mistakes:
            from orchestrator.config import Mistakes  # noqa: PLC0415 - start-up time

            raise Mistakes(mistakes)
        return own[0], _with([*(shelf.template(name) for name in shelf.names), *_neighbours([path]), *own])
    return shelf.template(book), shelf


def _mistakes(files: list[Path]) -> tuple[Mistake, ...]:
    """What is wrong with *files*, each by itself and with one another, in order."""
    from orchestrator.config import Mistakes  # noqa: PLC0415 - start-up time
    from orchestrator.config.books import nested  # noqa: PLC0415 - the same
    from orchestrator.config.document import compose  # noqa: PLC0415 - the same

    own, mistakes = _read(files)
    shelf = _with([*_neighbours(files), *own])
    first: dict[str, str] = {}
    for each in own:
        mistakes += nested(each, shelf)
        if first.setdefault(each.name, each.file) != each.file:
            text = f"'{each.name}' is the name of the runbook in {first[each.name]} too; rename one"
            mistakes.append(compose(each.text, each.file).mistake(("metadata", "name"), text))
    return Mistakes(mistakes).mistakes


def _read(files: list[Path]) -> tuple[list[Template], list[Mistake]]:
    from orchestrator.config import Mistakes  # noqa: PLC0415 - start-up time
    from orchestrator.config.document import read_text  # noqa: PLC0415 - the same
    from runbooks.parse import START, read  # noqa: PLC0415 - the same

    own: list[Template] = []
    mistakes: list[Mistake] = []
    for file in files:
        try:
            own.append(read(read_text(file, start=START), str(file)))
        except Mistakes as error:
            mistakes += error.mistakes
    return own, mistakes


def _neighbours(files: list[Path]) -> list[Template]:
    """The sound runbooks beside *files*: what is wrong with others is not asked here."""
    beside = {path for file in files if file.parent.is_dir() for path in file.parent.glob("*.yaml") if path.is_file()}
    return [each for path in sorted(beside - set(files)) for each in _read([path])[0]]


def _values(given: list[str]) -> dict[str, str]:
    """``name=value`` pairs. Raises BadInput for what is none, and for a name that is given twice."""
    values: dict[str, str] = {}
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise BadInput(f"'{pair}' sets nothing; write --set name=value")
        if name.strip() in values:
            raise BadInput(f"'{name.strip()}' is set twice; set it once")
        values[name.strip()] = value.strip()
    return values


# ------------------------------------------------------------------ what is shown


def _described(found: Template) -> dict[str, Any]:
    about = {"name": found.name, "description": found.description, "file": found.file}
    return {**about, "parameters": found.parameters}


def _print(desk: Desk, tries: tuple[Tried, ...]) -> None:
    from orchestrator.cli.render.text import clean  # noqa: PLC0415 - start-up time
    from runbooks.planner import text  # noqa: PLC0415 - the same

    made = [text(each.plan) for each in tries if each.plan is not None]
    desk.emit("".join(f"{clean(line)}\n" for line in "\n".join(made).splitlines()))
