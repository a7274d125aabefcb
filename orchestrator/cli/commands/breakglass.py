"""Break-glass: plans that need no Temporal, carried out from this machine, and taken into the record afterwards."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import now, of_service, reason_of
from orchestrator.cli.commands.runs import kind_of, plan_text, planned, show_refusal
from orchestrator.cli.desk import Desk, desk_of, who
from orchestrator.cli.groups import grouped
from orchestrator.cli.options import File, FileOption, Json, Reason, Service, Yes
from orchestrator.cli.wish import Wish, rules
from orchestrator.core.errors import BadInput
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import ServiceId
from orchestrator.core.record import RunStatus

if TYPE_CHECKING:
    from orchestrator.core.topology import Topology
    from orchestrator.runtime.breakglass.ahead import Seen
    from orchestrator.runtime.breakglass.journal import Journal
    from orchestrator.runtime.breakglass.sealed import Sealed

FAILOVER_YAML = Path("failover.yaml")

app = typer.Typer(
    name="break-glass",
    help="Carry a plan out from this machine while Temporal is away: same steps, same fence, with a journal.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="The key that signs plans.", show_default="$FAILOVER_PLAN_KEY"),
]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="A sealed plan's file.", show_default=False)]
Journals = Annotated[
    Path | None,
    typer.Option("--journal", metavar="DIR", help="Folder of journals.", show_default="journals, beside the plan"),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to.", show_default="SERVICE.plan.json")
]
Unverified = Annotated[
    bool, typer.Option("--unverified", help="Take a plan that is not signed, or whose signature cannot be checked.")
]
Approvals = Annotated[
    list[str] | None,
    typer.Option("--approve", metavar="NAME", help="Who has said yes, for steps that ask; repeat for more."),
]


class Decision(StrEnum):
    RETRY = "retry"
    SKIP = "skip"
    ABORT = "abort"


Decide = Annotated[
    Decision | None,
    typer.Option(
        "--decide",
        help="What to do with a step that ended without an answer; a step is retried once.",
        show_default="asked for",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The options of whose plans are taken."""

    key_file: KeyFile = None
    unverified: Unverified = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """The options of how a run is carried out."""

    journal: Journals = None
    approve: Approvals = None
    decide: Decide = None
    yes: Yes = False


# ------------------------------------------------------------------ plans


@grouped
def export_plan(
    ctx: typer.Context,
    service: Service,
    *,
    wish: Wish,
    reason: Reason = None,
    out: Out = None,
    key_file: KeyFile = None,
) -> None:
    """Write a signed plan that can be carried out later without Temporal, as long as the record stays as it is.

    Example: [cyan]failover export-plan chat --to us --reason "if eu fails tonight"[/]
    """
    from orchestrator.runtime.breakglass.ahead import as_run, run_id  # noqa: PLC0415 - start-up time
    from orchestrator.runtime.breakglass.sealed import KEY_ENV, Sealed, key_of  # noqa: PLC0415 - the same
    from orchestrator.runtime.connection import Stale  # noqa: PLC0415 - the same

    desk = desk_of(ctx)
    key = key_of(key_file)
    if key is None:
        raise BadInput(f"an exported plan is signed, and there is no key: put one in {KEY_ENV}, or use --key-file")
    status = of_service(desk, service, lambda control, name: control.status(name))
    trigger = Trigger(who(), reason_of(desk, reason, "What is this plan for?"), rules(wish.override))
    request = wish.request(status, kind_of(status), trigger)
    made = planned(desk, service, request, _again(f"export-plan {service}", wish, trigger))
    applied, topology = desk.wait(desk.control().topology())
    if applied.revision != made.revision:
        raise Stale(f"revision {applied.revision} of the topology has come into force just now: export the plan again")
    at = now()
    run = as_run(made, run_id(made.service, at))
    sealed = Sealed(run, topology.service(made.service), at, who(), orders=topology.orders)
    _keep(desk, sealed, out or Path(f"{service}.plan.json"), key)


@app.command("plan")
@grouped
def plan(
    ctx: typer.Context,
    file: File,
    service: Service,
    *,
    wish: Wish,
    reason: Reason = None,
    out: Out = None,
    key_file: KeyFile = None,
) -> None:
    """Plan from the topology file, the live record and this machine's own probes. Temporal is not asked.

    Says what could not be asked. Exit status 3 means that a safety rule refused.

    Example: [cyan]failover break-glass plan failover.yaml chat --to us --reason "eu is gone, Temporal with it"[/]
    """
    desk = desk_of(ctx)
    key = _key(key_file)
    sealed = _plan_here(desk, file, ServiceId(service), wish, reason)
    _keep(desk, sealed, out or Path(f"{service}.plan.json"), key)


@app.command("take-over")
@grouped
def take_over(
    ctx: typer.Context,
    file: File,
    service: Service,
    *,
    wish: Wish,
    manner: Manner,
    reason: Reason = None,
    key_file: KeyFile = None,
) -> None:
    """Finish, or go back from, what a run left half done: plan from the record as it stands, and carry it out.

    The fence says who wrote last. A run that holds an older generation is refused from then on.

    Example: [cyan]failover break-glass take-over failover.yaml chat --to us --reason "Temporal died half way"[/]
    """
    desk = desk_of(ctx)
    _must_be_able_to_ask(desk, manner)
    key = _key(key_file)
    sealed = _plan_here(desk, file, ServiceId(service), wish, reason)
    path = Path(f"{sealed.plan.run}.plan.json")
    _keep(desk, sealed, path, key, shown=False)
    _carry_out(desk, sealed, path, manner, Trust(key_file=key_file, unverified=key is None))


def _again(command: str, wish: Wish, trigger: Trigger) -> str:
    """The command as it was given, to be repeated with overrides."""
    given = "".join(f" --override {rule}" for rule in trigger.overrides)
    words = f" {wish.words}" if wish.words else ""
    return f"failover {command}{words} --reason {shlex.quote(trigger.reason)}{given}"


def _plan_here(desk: Desk, file: Path, service: ServiceId, wish: Wish, reason: str | None) -> Sealed:
    """A plan made on this machine alone. Raises Objected when a rule is against it, having shown why."""
    from orchestrator.config import load  # noqa: PLC0415 - start-up time
    from orchestrator.runtime.breakglass import ahead  # noqa: PLC0415 - the same
    from orchestrator.runtime.breakglass.sealed import Sealed  # noqa: PLC0415 - the same
    from workflows.wire import Refusal  # noqa: PLC0415 - the same

    topology = load(file)
    found = ahead.service_of(topology, service)
    trigger = Trigger(who(), reason_of(desk, reason, "Why is the traffic moved?"), rules(wish.override))
    # Names are looked at before anybody is asked anything: it may take seconds.
    wish.request(ahead.status(topology, service, ahead.NOTHING, now()), MoveKind.SWITCHOVER, trigger)
    seen = _seen(desk, topology, service)
    at = now()
    status = ahead.status(topology, service, seen, at)
    request = wish.request(status, kind_of(status), trigger)
    made = ahead.plan_here(topology, service, request, seen, now=at)
    if isinstance(made, ahead.Unplanned):
        again = _again(shlex.join(["break-glass", "plan", str(file), service]), wish, trigger)
        raise show_refusal(desk, Refusal(made.reasons), request.kind, again)
    return Sealed(made, found, at, who(), ahead.unasked(), topology.orders)


def _seen(desk: Desk, topology: Topology, service: ServiceId) -> Seen:
    """Ask from here, and show what was seen."""
    from orchestrator.runtime.breakglass import ahead  # noqa: PLC0415 - start-up time
    from providers.probes import Probes  # noqa: PLC0415 - the same

    found = ahead.service_of(topology, service)

    async def ask() -> Seen:
        probes = Probes()
        try:
            return await ahead.look(found, probes)
        finally:
            await probes.close()

    seen = desk.wait(ask())
    for each in seen.assessments:
        desk.say(f"{each.endpoint}: {each.text}")
    if seen.routing is not None:
        desk.say(f"the record: {ahead.ahead(seen.routing.fence)}")
    return seen


def _keep(desk: Desk, sealed: Sealed, path: Path, key: bytes | None, *, shown: bool = True) -> None:
    """Write the plan to *path*, and show it unless it is shown anyway."""
    from orchestrator.runtime.breakglass.sealed import keep, written  # noqa: PLC0415 - start-up time

    if shown:
        desk.emit(plan_text(sealed.plan).rstrip("\n") + "\n")
        for sentence in sealed.unasked:
            desk.say(f"note: {sentence}")
    keep(path, written(sealed, key))
    more = "" if key is not None else " --unverified"
    signed = "signed" if key is not None else "not signed, for there is no key"
    then = f" To carry it out: failover break-glass run {path}{more}" if shown else ""
    desk.say(f"Written to {path}, {signed}.{then}")


def _key(file: Path | None) -> bytes | None:
    from orchestrator.runtime.breakglass.sealed import key_of  # noqa: PLC0415 - start-up time

    return key_of(file)


# ------------------------------------------------------------------ runs


@app.command("run")
@grouped
def run(ctx: typer.Context, plan_file: PlanFile, *, manner: Manner, trust: Trust) -> None:
    """Carry a sealed plan out from this machine, or go on with one that was interrupted. Temporal is not asked.

    The journal survives Ctrl-C and kill -9: the same command goes on where it was, and does nothing twice. Exit
    status 3 means that the fence refused: somebody has written the record since the plan was made.

    Example: [cyan]failover break-glass run chat.plan.json[/]
    """
    from orchestrator.runtime.breakglass.sealed import load  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    _must_be_able_to_ask(desk, manner)
    sealed = load(plan_file, _key(trust.key_file), unverified=trust.unverified)
    _carry_out(desk, sealed, plan_file, manner, trust)


@app.command("abort")
@grouped
def abort(ctx: typer.Context, plan_file: PlanFile, *, reason: Reason = None, manner: Manner, trust: Trust) -> None:
    """End a break-glass run that was interrupted: what it has done is put back, as far as there is a safe way back.

    Example: [cyan]failover break-glass abort chat.plan.json --reason "eu is back"[/]
    """
    from orchestrator.runtime.breakglass.sealed import load  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    _must_be_able_to_ask(desk, manner)
    sealed = load(plan_file, _key(trust.key_file), unverified=trust.unverified)
    why = reason_of(desk, reason, "Why is it stopped?")
    _carry_out(desk, sealed, plan_file, manner, trust, abort=why)


def _must_be_able_to_ask(desk: Desk, manner: Manner) -> None:
    if not manner.yes and not desk.someone:
        raise BadInput("nobody can be asked here; add --yes to carry the plan out without a question")


def _carry_out(desk: Desk, sealed: Sealed, path: Path, manner: Manner, trust: Trust, *, abort: str = "") -> None:
    """Print, ask, carry out, and say how it ended. Raises what the exit status says."""
    from orchestrator.cli.attending import Attendant  # noqa: PLC0415 - start-up time
    from orchestrator.runtime.breakglass.journal import SUFFIX, Journal  # noqa: PLC0415 - the same

    folder = manner.journal if manner.journal is not None else path.parent / "journals"
    with Journal.open(folder / f"{sealed.plan.run}{SUFFIX}") as journal:
        journal.belongs_to(sealed)
        options = [
            *(("--journal", str(manner.journal)) if manner.journal is not None else ()),
            *(("--key-file", str(trust.key_file)) if trust.key_file is not None else ()),
            *(("--unverified",) if trust.unverified else ()),
        ]
        again = shlex.join(["failover", "break-glass", "run", str(path), *options])
        attendant = Attendant(desk, sealed, journal, again)
        attendant.said_yes = tuple(manner.approve or ())
        attendant.decision = str(manner.decide) if manner.decide else ""
        if abort:
            _must_be_under_way(journal, sealed)
        if journal.opened is not None:
            attendant.resume(yes=manner.yes, abort=abort)
        else:
            attendant.begin(yes=manner.yes)
        attendant.attend()


def _must_be_under_way(journal: Journal, sealed: Sealed) -> None:
    """Raise BadInput where there is nothing to stop."""
    plan = sealed.plan
    if journal.opened is None:
        raise BadInput(f"run {plan.run} was never begun under {journal.path}, so there is nothing to stop")
    if any(noted.status is RunStatus.COMPLETED for noted in journal.lines):
        back = f" --to {plan.source[0]}" if plan.source else ""
        raise BadInput(
            f"run {plan.run} is complete, so there is nothing to stop; to go back: failover break-glass "
            f"take-over failover.yaml {plan.service}{back}"
        )


JournalFile = Annotated[Path, typer.Argument(metavar="JOURNAL", help="A journal's file.", show_default=False)]


@app.command("show")
def show(ctx: typer.Context, journal: JournalFile, *, as_json: Json = False) -> None:
    """Show a break-glass run's timeline from its journal, under way or over. Temporal is not asked.

    Example: [cyan]failover break-glass show journals/chat-20260301-021500-1a2b.journal[/]
    """
    from orchestrator.cli.render.record import timeline  # noqa: PLC0415 - start-up time
    from orchestrator.runtime.breakglass.account import account, record  # noqa: PLC0415 - the same
    from orchestrator.runtime.breakglass.journal import read  # noqa: PLC0415 - the same

    desk = desk_of(ctx)
    told = record(account(*read(journal, busy=True)))
    if as_json:
        desk.write(told)
    else:
        desk.show(timeline(told, now()))


@app.command("take-in")
def take_in(ctx: typer.Context, journal: JournalFile, *, as_json: Json = False) -> None:
    """Take a break-glass run into the record, once Temporal is back: history, page and service know of it then.

    Doing it again changes nothing.

    Example: [cyan]failover break-glass take-in journals/chat-20260301-021500-1a2b.journal[/]
    """
    from orchestrator.runtime.breakglass.taking_in import record_of, take_in  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    record, routing = record_of(journal)
    taken = desk.wait(take_in(desk.control(), record, routing))
    if as_json:
        desk.write({"run": record.run, "service": record.service, "status": record.status, "new": taken})
        return
    word = "is in the record" if taken else "was in the record already"
    desk.say(f"Run {record.run} ({record.status}) {word}: failover show {record.run}")


# ------------------------------------------------------------------ the card


def card(ctx: typer.Context, service: Service, *, file: FileOption = FAILOVER_YAML) -> None:
    """Print a service's card: what to do by hand, command by command, when nothing else works.

    [bold]apply[/] writes the same text for each service; print it, and keep it where it can be read in an outage.

    Example: [cyan]failover card chat --file failover.yaml[/]
    """
    from orchestrator.config import load  # noqa: PLC0415 - start-up time
    from orchestrator.runtime.breakglass.ahead import service_of  # noqa: PLC0415 - the same
    from orchestrator.runtime.breakglass.cards import card as written  # noqa: PLC0415 - the same

    topology = load(file)
    service_of(topology, ServiceId(service))
    desk_of(ctx).emit(written(topology, ServiceId(service), file.resolve()))
