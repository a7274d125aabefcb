"""What exists, put in force: validate, schema, apply."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from orchestrator.cli.desk import Desk, desk_of, who
from orchestrator.cli.errors import Status
from orchestrator.cli.options import File, Json, Yes
from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.core.topology import Topology

if TYPE_CHECKING:
    from orchestrator.config import Change, Finding

FAILOVER_YAML = Path("failover.yaml")


def validate(ctx: typer.Context, file: File = FAILOVER_YAML, *, as_json: Json = False) -> None:
    """Check a topology file: every mistake with its place, and what would not work as you expect.

    The exit status is 2 when there is an error; warnings alone end with 0.

    Example: [cyan]failover validate failover.yaml[/]
    """
    from orchestrator.config import Mistakes, findings, load  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    try:
        found = findings(load(file))
        mistakes = Mistakes(())
    except Mistakes as error:
        found, mistakes = (), error
    errors = len(mistakes.mistakes) + sum(1 for finding in found if finding.severity == "error")
    if as_json:
        desk.write({"file": str(file), "valid": not errors, "mistakes": mistakes.mistakes, "findings": found})
    else:
        for mistake in mistakes.mistakes:
            desk.out.print(_line(str(mistake), "error"), soft_wrap=True)
        _show_findings(desk, found, file)
    if errors:
        raise BadInput(f"{file}: {errors} error{'s' if errors > 1 else ''} to mend")
    if not as_json:
        desk.say(f"{file} is valid.")


def _line(text: str, severity: str) -> Text:
    from orchestrator.cli.render.text import cell  # noqa: PLC0415 - start-up time

    return Text.assemble(cell(f"{severity}: ", "bold red" if severity == "error" else "yellow"), cell(text))


def _show_findings(desk: Desk, found: tuple[Finding, ...], file: Path) -> None:
    for finding in found:
        line = _line(f"{file}: {finding.path}: {finding.text}; {finding.cure}", finding.severity)
        desk.out.print(line, soft_wrap=True)


def refuse_errors(desk: Desk, topology: Topology, file: Path) -> None:
    """Raise BadInput when a finding is an error; warnings are shown on standard error."""
    from orchestrator.config import findings  # noqa: PLC0415 - start-up time

    errors = 0
    for finding in findings(topology):
        errors += finding.severity == "error"
        line = _line(f"{file}: {finding.path}: {finding.text}; {finding.cure}", finding.severity)
        desk.err.print(line, soft_wrap=True)
    if errors:
        raise BadInput(f"{file}: {errors} error{'s' if errors > 1 else ''} to mend; nothing was changed")


def apply(
    ctx: typer.Context,
    file: File,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and change nothing.")] = False,
    cards: Annotated[
        Path | None,
        typer.Option(
            "--cards",
            metavar="DIR",
            help="Folder of the services' break-glass cards.",
            show_default=".failover/cards, beside the file",
        ),
    ] = None,
    reason: Annotated[
        str,
        typer.Option("--reason", "-r", metavar="TEXT", help="Why; it is kept with the revision.", show_default=False),
    ] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put a topology file in force: checks it, shows what changes, and asks. No traffic ever moves by this.

    Each service's break-glass card is written anew: print it. Exit status 3 means that somebody else applied a
    topology meanwhile. [bold]failover topology restore[/] goes back to an earlier revision.

    Example: [cyan]failover apply failover.yaml[/]
    """
    from orchestrator.config import difference, digest, load  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    wanted = load(file)
    refuse_errors(desk, wanted, file)
    revision, current = in_force(desk)
    changes, warnings = difference(current, wanted), stranded(desk, current, wanted)
    if not as_json:
        show_changes(desk, changes)
        warn(desk, warnings)
    if not changes and not dry_run and current is not None:
        # The same again mends: what was lost of it is made anew.
        desk.wait(desk.control().apply(wanted, expects=revision, by=who()))
        _refresh_cards(desk, wanted, file, cards)
    if dry_run or not changes:
        done = {"applied": False, "revision": revision, "digest": digest(wanted), "changes": changes}
        desk.write(done | {"warnings": warnings}) if as_json else _nothing(desk, revision, dry_run=dry_run)
        return
    question = f"Put {file} in force as revision {revision + 1}?"
    if not desk.confirm(question, yes=yes, undecided="nobody can be asked here; add --yes to apply without a question"):
        desk.say("Nothing was changed.")
        raise typer.Exit(int(Status.INTERRUPTED))
    applied = desk.wait(desk.control().apply(wanted, expects=revision, by=who(), reason=reason.strip()))
    if as_json:
        done = {"applied": True, "revision": applied.revision, "digest": applied.digest, "changes": changes}
        desk.write(done | {"warnings": warnings})
    else:
        desk.say(f"{file} is in force as revision {applied.revision}.")
    _refresh_cards(desk, wanted, file, cards)


def _refresh_cards(desk: Desk, topology: Topology, file: Path, folder: Path | None) -> None:
    """Write the services' cards anew. What keeps it from being done is told, and fails nothing."""
    from orchestrator.runtime.breakglass.cards import refresh  # noqa: PLC0415 - start-up time

    folder = folder if folder is not None else file.parent / ".failover" / "cards"
    try:
        refresh(topology, file.resolve(), folder)
    except Exception as error:  # the topology is in force, whatever becomes of a piece of paper
        desk.say(f"warning: the break-glass cards were not written: {error}")


def in_force(desk: Desk) -> tuple[int, Topology | None]:
    """The revision in force and what it says; 0 and None where nothing was ever applied."""
    from orchestrator.runtime.connection import NoSuch  # noqa: PLC0415 - it imports Temporal's client

    try:
        applied, topology = desk.wait(desk.control().topology())
    except NoSuch:
        return 0, None
    return applied.revision, topology


def stranded(desk: Desk, current: Topology | None, wanted: Topology) -> tuple[str, ...]:
    """Where traffic would go on to an endpoint that *wanted* does not have any more; that forbids nothing."""
    told: list[str] = []
    kept = {(service.id, endpoint.id) for service in wanted.services for endpoint in service.endpoints}
    for service in current.services if current is not None else ():
        gone = {endpoint.id for endpoint in service.endpoints if (service.id, endpoint.id) not in kept}
        if not gone:
            continue
        try:
            seen = desk.wait(desk.control().status(service.id)).endpoints
        except FailoverError as error:
            told.append(f"nobody can say whether traffic of {service.id} goes to what would go ({error})")
            continue
        told += [
            f"{each.weight} % of the traffic of {service.id} goes to {each.id}, which would be gone: it stays there, "
            f"unwatched; to move it before: failover run {service.id}"
            for each in seen
            if each.weight and each.id in gone
        ]
    return tuple(told)


def warn(desk: Desk, warnings: tuple[str, ...]) -> None:
    """Say *warnings* on standard error, a line each."""
    for each in warnings:
        desk.say(f"warning: {each}", "yellow")


def _nothing(desk: Desk, revision: int, *, dry_run: bool) -> None:
    word = "a dry run" if dry_run else f"it is what revision {revision} says already"
    desk.say(f"Nothing was changed: {word}.")


def show_changes(desk: Desk, changes: tuple[Change, ...]) -> None:
    """Print *changes* to standard output, a line each; nothing where there are none."""
    from rich.table import Table  # noqa: PLC0415 - start-up time

    from orchestrator.cli.render.text import cell  # noqa: PLC0415 - the same

    marks = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
    grid = Table.grid(padding=(0, 2, 0, 0))
    for change in changes:
        sign, style = marks[change.kind]
        said = " -> ".join(side for side in (change.before, change.after) if side is not None)
        grid.add_row(cell(sign, style), cell(change.path, style), cell(said))
    if changes:
        desk.show(grid)


def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of the topology file, for editors.

    Example: [cyan]failover schema > failover.schema.json[/]
    """
    from orchestrator.config import schema as made  # noqa: PLC0415 - start-up time

    desk_of(ctx).write(made())
