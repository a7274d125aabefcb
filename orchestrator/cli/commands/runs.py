"""Planning and starting runs: plan, run, failback, explain."""

from __future__ import annotations

import shlex
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import now, of_service, reason_of
from orchestrator.cli.desk import Desk, desk_of, who
from orchestrator.cli.errors import Objected
from orchestrator.cli.following import follow, settle
from orchestrator.cli.groups import grouped
from orchestrator.cli.options import (
    TEN_MINUTES,
    Json,
    MaybeService,
    Override,
    Reason,
    Service,
    Timeout,
    Wait,
    Yes,
    duration,
)
from orchestrator.cli.wish import Set, Wish, checked, given, rules
from orchestrator.core.errors import BadInput
from orchestrator.core.move import MoveKind, Objection, Trigger
from orchestrator.core.names import ServiceId
from orchestrator.core.quorum import Verdict

if TYPE_CHECKING:
    from orchestrator.core.decision import Request
    from runbooks.plan import Plan
    from workflows.wire import Refusal, ServiceStatus, Started

__all__ = [
    "checked",
    "explain",
    "failback",
    "kind_of",
    "plan",
    "plan_text",
    "planned",
    "rules",
    "run",
    "show_refusal",
]

BAD_INPUT = frozenset({"bad-runbook"})
"""Reasons to refuse that are mistakes in the words of the command."""


class As(StrEnum):
    TEXT = "text"
    JSON = "json"
    NSUPDATE = "nsupdate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """The options of how a run is started and followed."""

    reason: Reason = None
    wait: Wait = True
    timeout: Timeout = TEN_MINUTES
    yes: Yes = False


def kind_of(status: ServiceStatus) -> MoveKind:
    """What a person's move away from the present routing is: unplanned when something that serves is down."""
    down = {seen.endpoint for seen in status.assessments if seen.verdict is Verdict.DOWN}
    serving = {brief.id for brief in status.endpoints if brief.weight}
    return MoveKind.FAILOVER if serving & down else MoveKind.SWITCHOVER


def show_refusal(desk: Desk, refusal: Refusal, kind: MoveKind, again: str) -> Objected:
    """What is raised once the refusal is shown. Raises BadInput for what was only mistyped."""
    from orchestrator.cli.render.plan import refusal as rendered  # noqa: PLC0415 - start-up time

    if refusal.reasons and all(reason.rule in BAD_INPUT for reason in refusal.reasons):
        raise BadInput("; ".join(reason.text for reason in refusal.reasons))
    desk.err.print(rendered(refusal, planned=kind is not MoveKind.FAILOVER, again=again))
    return Objected("")


def planned(desk: Desk, service: str, request: Request, again: str) -> Plan:
    """The control plane's plan for *request*. Raises Objected, having shown why not, and BadInput."""
    from workflows.wire import Refusal  # noqa: PLC0415 - start-up time

    answer = of_service(desk, service, lambda control, name: control.plan(name, request))
    if isinstance(answer, Refusal):
        raise show_refusal(desk, answer, request.kind, again)
    return answer


def plan_text(plan: Plan) -> str:
    """A plan as text that is fit for a terminal."""
    from orchestrator.cli.render.text import clean  # noqa: PLC0415 - start-up time
    from runbooks.planner import text  # noqa: PLC0415 - the same

    return "\n".join(clean(line) for line in text(plan).split("\n"))


@grouped
def plan(
    ctx: typer.Context,
    service: Service,
    *,
    wish: Wish,
    back: Annotated[bool, typer.Option("--back", help="Plan the way home instead.")] = False,
    form: Annotated[As, typer.Option("--as", help="For people, for programs, or for nsupdate.")] = As.TEXT,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Keep it, for 'run --plan'.", show_default=False, dir_okay=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a run would do, step by step; nothing is started.

    A plan that is saved can be carried out later by 'failover run --plan FILE'. It is refused then if anything that it
    stands on has changed.

    With [bold]--as nsupdate[/] the change of the DNS answer alone is printed, for a person to make by hand.

    Example: [cyan]failover plan chat --to us[/]
    """
    desk = desk_of(ctx)
    status = of_service(desk, service, lambda control, name: control.status(name))
    kind = MoveKind.FAILBACK if back else kind_of(status)
    trigger = Trigger(who(), "only planned, not asked for", rules(wish.override))
    request = wish.request(status, kind, trigger)
    again = " ".join(
        part for part in ("failover plan", shlex.quote(service), wish.words, "--back" if back else "") if part
    )
    made = planned(desk, service, request, again)
    if save is not None:
        from orchestrator.cli.saved import Saved, write  # noqa: PLC0415 - start-up time

        write(save, Saved(request, made))
        desk.say(f"{save} is written; carry it out with 'failover run --plan {shlex.quote(str(save))}'.")
    if as_json or form is As.JSON:
        desk.write(made)
    elif form is As.NSUPDATE:
        from runbooks.planner import as_nsupdate  # noqa: PLC0415 - start-up time

        desk.emit(as_nsupdate(made).rstrip("\n") + "\n")
    else:
        desk.emit(plan_text(made).rstrip("\n") + "\n")


@grouped
def run(
    ctx: typer.Context,
    service: MaybeService = None,
    *,
    wish: Wish,
    saved: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Carry out a plan that 'plan --save' wrote.",
            show_default=False,
            dir_okay=False,
        ),
    ] = None,
    expires: Annotated[
        float | None,
        typer.Option(
            "--expires",
            metavar="DURATION",
            parser=duration,
            help="The move is for so long; then the service asks to go back.",
            show_default="it is for good",
        ),
    ] = None,
    conduct: Conduct,
) -> None:
    """Move a service's traffic now: shows the plan, asks, and follows the run step by step.

    A runbook without a step that steers makes an endpoint ready, and no traffic moves.

    Ctrl-C stops looking, not the run; at a terminal it asks. Exit status 3 means that a safety rule or a fence refused.

    Example: [cyan]failover run chat --to us --reason "eu loses packets"[/]
    """
    from orchestrator.config.fields import spoken  # noqa: PLC0415 - start-up time

    desk = desk_of(ctx)
    until = None if expires is None else now() + timedelta(seconds=expires)
    if saved is not None:
        if not wish.empty:
            raise BadInput(
                "a saved plan says where to go and by which runbook; leave the other options out, or plan anew"
            )
        from orchestrator.cli.saved import read  # noqa: PLC0415 - start-up time

        kept = read(saved)
        if service is not None and service != kept.plan.service:
            raise BadInput(f"{saved}: is a plan for service '{kept.plan.service}', not for '{service}'")
        again = f"failover run --plan {shlex.quote(str(saved))}{f' --expires {spoken(expires)}' if expires else ''}"
        order = _Order(kept.plan.service, replace(kept.request, expires=until), again, conduct, kept.plan)
        _carry_out(desk, order)
        return
    if service is None:
        raise BadInput("name a SERVICE, or a saved plan with --plan FILE; 'failover status' lists the services")
    status = of_service(desk, service, lambda control, name: control.status(name))
    request = wish.request(status, kind_of(status), Trigger("", "", rules(wish.override)))
    ends = f"--expires {spoken(expires)}" if expires is not None else ""
    again = " ".join(part for part in ("failover run", shlex.quote(service), wish.words, ends) if part)
    _carry_out(desk, _Order(ServiceId(service), replace(request, expires=until), again, conduct))


@grouped
def failback(
    ctx: typer.Context,
    service: Service,
    *,
    values: Set = None,
    override: Override = None,
    conduct: Conduct,
) -> None:
    """Bring a service's traffic home to its active endpoint: by stages where the steering can weigh, drained, undone
    when it fails.

    [bold]--set stages=100[/] moves everything at once, [bold]--set hold=5m[/] looks longer at each stage. Where
    another failback had to turn back, the next ones into that region wait for a while: the rule setback says so.

    Example: [cyan]failover failback chat --reason "eu is mended"[/]
    """
    from orchestrator.core.decision import Request  # noqa: PLC0415 - start-up time

    request = Request(MoveKind.FAILBACK, Trigger("", "", rules(override)), values=given(values or []))
    said = shlex.join(["failover", "failback", service, *(word for value in values or () for word in ("--set", value))])
    _carry_out(desk_of(ctx), _Order(ServiceId(service), request, said, conduct))


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be carried out, and how."""

    service: ServiceId
    request: Request
    again: str
    """The command as it was given, to be repeated with overrides."""
    conduct: Conduct
    saved: Plan | None = None


def _carry_out(desk: Desk, order: _Order) -> None:
    """Plan, show, ask, start, follow. Raises what the exit status says."""
    from workflows.wire import FailoverRequest, Refusal  # noqa: PLC0415 - start-up time

    conduct = order.conduct
    if not conduct.yes and not desk.someone:
        raise BadInput("nobody can be asked here; add --yes to start the run without a question")
    reason = reason_of(desk, conduct.reason, "Why is the traffic moved?")
    request = replace(order.request, trigger=replace(order.request.trigger, by=who(), reason=reason))
    given = "" if order.saved else "".join(f" --override {rule}" for rule in request.trigger.overrides)
    again = f"{order.again} --reason {shlex.quote(reason)}{given}"
    made = planned(desk, order.service, request, again)
    if order.saved is not None:
        from runbooks.compare import moved  # noqa: PLC0415 - start-up time

        changed = tuple(Objection("world-moved", text) for text in moved(order.saved, made))
        if changed:
            raise show_refusal(desk, Refusal(changed), request.kind, again)
    desk.emit(plan_text(made).rstrip("\n") + "\n")
    if not desk.confirm("Carry this out?", yes=conduct.yes, undecided=""):
        desk.say("Nothing was started.")
        raise typer.Exit(130)
    asked = FailoverRequest(uuid.uuid4().hex, request, saved=order.saved)
    answer = of_service(desk, order.service, lambda control, name: control.request(name, asked))
    if isinstance(answer, Refusal):
        raise show_refusal(desk, answer, request.kind, again)
    _started(desk, order.service, answer, conduct)


def _started(desk: Desk, service: ServiceId, started: Started, conduct: Conduct) -> None:
    from orchestrator.cli.render.record import headline, measure, timeline  # noqa: PLC0415 - start-up time

    if not conduct.wait:
        desk.emit(f"Run {started.run} started; look at it with 'failover show {started.run} --watch'.\n")
        return
    record = follow(desk, service, started.run, timeout_s=conduct.timeout)
    if desk.live:
        desk.show(timeline(record, now()))
    else:
        desk.show(headline(record), measure(record))
    settle(record)


def explain(ctx: typer.Context, service: Service, as_json: Json = False) -> None:
    """Say what the orchestrator would do by itself now, and every reason for or against it.

    Example: [cyan]failover explain chat[/]
    """
    desk = desk_of(ctx)
    found = of_service(desk, service, lambda control, name: control.explain(name))
    if as_json:
        desk.write(found)
        return
    from orchestrator.cli.render.plan import explanation  # noqa: PLC0415 - start-up time

    desk.show(explanation(service, found.decision, found.reasons))
    if found.plan is not None:
        desk.show("", "What it would do:")
        desk.emit(plan_text(found.plan).rstrip("\n") + "\n")
