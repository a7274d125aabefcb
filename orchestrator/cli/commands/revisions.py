"""The revisions of the topology: which there were, which served well, and the way back to one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli.calls import reason_of
from orchestrator.cli.commands.topology import show_changes, stranded, warn
from orchestrator.cli.desk import Desk, desk_of, who
from orchestrator.cli.errors import Objected, Status
from orchestrator.cli.options import Json, Reason, Yes
from orchestrator.core.errors import BadInput
from orchestrator.core.revisions import Judged, last_good
from orchestrator.core.topology import Topology

app = typer.Typer(
    name="topology",
    help="Look at the revisions of the topology, and go back to one that served well.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command("history")
def past(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List the revisions that are kept: when each was applied, by whom and why, and whether it is good.

    A revision is good once it has been in force for the bake time ([bold]bake[/] in the file) and every service has
    served well, to its end or to this day. One that crashed later than its gates is not good.

    Example: [cyan]failover topology history[/]
    """
    desk = desk_of(ctx)
    every = _judged(desk)[2]
    if as_json:
        desk.write([_told(each) for each in every])
        return
    from rich.table import Table  # noqa: PLC0415 - start-up time

    from orchestrator.cli.render.text import cell, stamp  # noqa: PLC0415 - the same

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("REVISION", "DIGEST", "APPLIED", "BY", "WHY", "GOOD"):
        grid.add_column(heading)
    for each in every:
        revision = each.revision
        number = f"{revision.number}{'' if revision.until else ' (in force)'}"
        kept = () if revision.kept else ("its document is not kept any more",)
        verdict = "; ".join((f"{'yes' if each.good else 'no'}: {each.why[0]}", *each.why[1:], *kept))
        row = (number, revision.digest, stamp(revision.since), revision.by, revision.reason or "-", verdict)
        grid.add_row(*(cell(text) for text in row))
    desk.show(grid)


@app.command("restore")
def restore(
    ctx: typer.Context,
    *,
    revision: Annotated[
        int | None,
        typer.Option(
            "--revision", metavar="N", min=1, help="The revision to go back to.", show_default="the newest good one"
        ),
    ] = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and change nothing.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put what an earlier revision said in force again, as a new revision. No traffic ever moves by this.

    It is checked as a file is by [bold]apply[/], shows what changes, and asks. Afterwards the file that was applied
    last still says what it said: mend it before somebody applies it again. Exit status 3 means that no revision is
    good, that a run holds an endpoint that would go, or that somebody else applied a topology meanwhile.

    Example: [cyan]failover topology restore --reason "chat has lost its standby"[/]
    """
    from orchestrator.config import difference, digest  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    number, current, every = _judged(desk)
    chosen = _chosen(every, revision)
    wanted = desk.wait(desk.control().revisions.document(chosen.revision.number))
    _refuse_errors(desk, wanted, chosen)
    changes, warnings = difference(current, wanted), _warnings(desk, current, wanted, chosen)
    done: dict[str, Any] = {"restored": chosen.revision.number, "applied": False, "revision": number}
    done |= {"digest": digest(wanted), "good": chosen.good, "why": chosen.why, "warnings": warnings, "changes": changes}
    if not as_json:
        show_changes(desk, changes)
        warn(desk, warnings)
    if dry_run or not changes:
        word = "a dry run" if changes else f"revision {number}, which is in force, says the same"
        desk.write(done) if as_json else desk.say(f"Nothing was changed: {word}.")
        return
    why = reason_of(desk, reason, "Why does it go back?")
    question = f"Put what revision {chosen.revision.number} said in force again, as revision {number + 1}?"
    if not desk.confirm(
        question, yes=yes, undecided="nobody can be asked here; add --yes to restore without a question"
    ):
        desk.say("Nothing was changed.")
        raise typer.Exit(int(Status.INTERRUPTED))
    why = f"back to revision {chosen.revision.number}: {why}"
    applied = desk.wait(desk.control().apply(wanted, expects=number, by=who(), reason=why))
    if as_json:
        desk.write(done | {"applied": True, "revision": applied.revision, "digest": applied.digest})
        return
    desk.say(
        f"What revision {chosen.revision.number} said is in force as revision {applied.revision}. Your file says what "
        "it said before: mend it before it is applied again."
    )


def _judged(desk: Desk) -> tuple[int, Topology, tuple[Judged, ...]]:
    """The revision in force, what it says, and every revision that is known. Raises NoSuch when there is none."""
    control = desk.control()
    applied, topology = desk.wait(control.topology())
    return applied.revision, topology, desk.wait(control.revisions.judged(topology))


def _chosen(every: tuple[Judged, ...], number: int | None) -> Judged:
    """The revision that was asked for, or the last good one. Raises NoSuch, Objected."""
    from orchestrator.runtime.connection import NoSuch  # noqa: PLC0415 - it imports Temporal's client

    if number is not None:
        found = next((each for each in every if each.revision.number == number), None)
        if found is None:
            there = ", ".join(str(each.revision.number) for each in every if each.revision.kept)
            raise NoSuch(f"there is no revision {number}, or it is not kept any more; there are: {there}")
        return found
    good = last_good(every, every[0].revision.digest)
    if good is None:
        others = [each for each in every if each.revision.digest != every[0].revision.digest]
        told = "; ".join(f"revision {each.revision.number}: {each.why[0]}" for each in others[:3] if not each.good)
        raise Objected(
            f"no revision but the one in force is known to be good ({told or 'there is no other one'}); look at "
            "failover topology history, and name one with --revision N"
        )
    return next(each for each in every if each.revision == good)


def _refuse_errors(desk: Desk, wanted: Topology, chosen: Judged) -> None:
    """Raise BadInput when a finding in *wanted* is an error: what may not be applied may not be restored."""
    from orchestrator.config import findings  # noqa: PLC0415 - start-up time

    errors = [each for each in findings(wanted) if each.severity == "error"]
    for each in errors:
        desk.say(f"error: revision {chosen.revision.number}: {each.path}: {each.text}; {each.cure}")
    if errors:
        raise BadInput(
            f"revision {chosen.revision.number} has {len(errors)} error{'s' if len(errors) > 1 else ''} by today's "
            "rules, and nothing was changed; name another one with --revision N, or mend the file and apply it"
        )


def _warnings(desk: Desk, current: Topology, wanted: Topology, chosen: Judged) -> tuple[str, ...]:
    """What speaks against going back, and forbids nothing: it is not good, or does not know where traffic goes now."""
    known = f"revision {chosen.revision.number} is not known to be good: {'; '.join(chosen.why)}"
    return (*(() if chosen.good else (known,)), *stranded(desk, current, wanted))


def _told(each: Judged) -> dict[str, Any]:
    """One revision for scripts."""
    revision = each.revision
    return {
        "revision": revision.number,
        "digest": revision.digest,
        "in_force": revision.until is None,
        "since": revision.since,
        "until": revision.until,
        "by": revision.by,
        "reason": revision.reason,
        "good": each.good,
        "why": each.why,
        "kept": revision.kept,
    }
