"""Planning and starting runs: plan, run, failback, explain."""

from __future__ import annotations

import shlex
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.calls import follow, of_service, reason_of, settle
from orchestrator.cli.desk import Desk, desk_of, who
from orchestrator.cli.errors import Objected
from orchestrator.cli.options import TEN_MINUTES, Json, Override, Reason, Service, Timeout, To, Wait, Yes
from orchestrator.core.decision import Request
from orchestrator.core.errors import BadInput
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.quorum import Verdict
from runbooks.plan import Plan
from workflows.wire import FailoverRequest, Refusal, ServiceStatus, Started


class As(StrEnum):
    TEXT = "text"
    JSON = "json"
    NSUPDATE = "nsupdate"


def kind_of(status: ServiceStatus) -> MoveKind:
    """What a person's move away from the present routing is: unplanned when something that serves is down."""
    down = {seen.endpoint for seen in status.assessments if seen.verdict is Verdict.DOWN}
    serving = {brief.id for brief in status.endpoints if brief.weight}
    return MoveKind.FAILOVER if serving & down else MoveKind.SWITCHOVER


def checked(status: ServiceStatus, to: str | None) -> EndpointId | None:
    """*to* as an endpoint of the service. Raises BadInput with the nearest name."""
    from orchestrator.cli.calls import unknown  # noqa: PLC0415 - used on one path

    names = [str(brief.id) for brief in status.endpoints]
    if to is not None and names and to not in names:
        raise BadInput(f"{unknown('endpoint', to, names)} (endpoints of '{status.service}')")
    return EndpointId(to) if to is not None else None


def rules(override: list[str] | None) -> tuple[str, ...]:
    """*override* without doubles. Raises BadInput for what is no rule, with the nearest name."""
    from orchestrator.cli.calls import unknown  # noqa: PLC0415 - used on one path
    from orchestrator.core.safety import NAMES  # noqa: PLC0415 - the same

    for name in override or ():
        if name not in NAMES:
            raise BadInput(f"--override: {unknown('safety rule', name, NAMES)}")
    return tuple(sorted(set(override or ())))


def show_refusal(desk: Desk, refusal: Refusal, kind: MoveKind, again: str) -> Objected:
    """Show all that stands against a request; what to raise then."""
    from orchestrator.cli.render.plan import refusal as rendered  # noqa: PLC0415 - start-up time

    desk.err.print(rendered(refusal, planned=kind is not MoveKind.FAILOVER, again=again))
    return Objected("")


def planned(desk: Desk, service: str, request: Request, again: str) -> Plan:
    """The control plane's plan for *request*. Raises Objected, having shown why not."""
    answer = of_service(desk, service, lambda control, name: control.plan(name, request))
    if isinstance(answer, Refusal):
        raise show_refusal(desk, answer, request.kind, again)
    return answer


def plan_text(plan: Plan) -> str:
    """A plan as text that is fit for a terminal."""
    from orchestrator.cli.render.text import clean  # noqa: PLC0415 - start-up time
    from runbooks.planner import text  # noqa: PLC0415 - the same

    return "\n".join(clean(line) for line in text(plan).split("\n"))


def plan(
    ctx: typer.Context,
    service: Service,
    *,
    to: To = None,
    back: Annotated[bool, typer.Option("--back", help="Plan the way home instead.")] = False,
    override: Override = None,
    form: Annotated[As, typer.Option("--as", help="For people, for programs, or for nsupdate.")] = As.TEXT,
    as_json: Json = False,
) -> None:
    """Show what a run would do, step by step; nothing is started.

    With [bold]--as nsupdate[/] the change of the DNS answer alone is printed, for a person to make by hand.

    Example: [cyan]failover plan chat --to us[/]
    """
    desk = desk_of(ctx)
    status = of_service(desk, service, lambda control, name: control.status(name))
    kind = MoveKind.FAILBACK if back else kind_of(status)
    trigger = Trigger(who(), "only planned, not asked for", rules(override))
    target = checked(status, to)
    words = ["failover", "plan", service, *(["--to", to] if to else []), *(["--back"] if back else [])]
    made = planned(desk, service, Request(kind, trigger, target), shlex.join(words))
    if as_json or form is As.JSON:
        desk.write(made)
    elif form is As.NSUPDATE:
        from runbooks.planner import as_nsupdate  # noqa: PLC0415 - start-up time

        desk.emit(as_nsupdate(made).rstrip("\n") + "\n")
    else:
        desk.emit(plan_text(made).rstrip("\n") + "\n")


def run(
    ctx: typer.Context,
    service: Service,
    *,
    to: To = None,
    reason: Reason = None,
    override: Override = None,
    wait: Wait = True,
    timeout: Timeout = TEN_MINUTES,
    yes: Yes = False,
) -> None:
    """Move a service's traffic now: shows the plan, asks, and follows the run step by step.

    Ctrl-C stops looking, not the run. Exit status 3 means that a safety rule or a fence refused.

    Example: [cyan]failover run chat --to us --reason "eu loses packets"[/]
    """
    desk = desk_of(ctx)
    status = of_service(desk, service, lambda control, name: control.status(name))
    target = checked(status, to)
    wish = _Wish(
        kind=kind_of(status),
        target=target,
        reason=reason,
        override=override,
        wait=wait,
        timeout_s=timeout,
        yes=yes,
        words=("failover", "run", service, *(("--to", to) if to else ())),
    )
    _carry_out(desk, service, wish)


def failback(
    ctx: typer.Context,
    service: Service,
    *,
    reason: Reason = None,
    override: Override = None,
    wait: Wait = True,
    timeout: Timeout = TEN_MINUTES,
    yes: Yes = False,
) -> None:
    """Bring a service's traffic home to its active endpoint: planned, drained, undone when it fails.

    Example: [cyan]failover failback chat --reason "eu is mended"[/]
    """
    wish = _Wish(
        kind=MoveKind.FAILBACK,
        reason=reason,
        override=override,
        wait=wait,
        timeout_s=timeout,
        yes=yes,
        words=("failover", "failback", service),
    )
    _carry_out(desk_of(ctx), service, wish)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What a person asks for with run or failback."""

    kind: MoveKind
    target: EndpointId | None = None
    reason: str | None
    override: list[str] | None
    wait: bool
    timeout_s: float
    yes: bool
    words: tuple[str, ...]
    """The command as it was given, to be repeated with overrides."""


def _carry_out(desk: Desk, service: str, wish: _Wish) -> None:
    """Plan, show, ask, start, follow. Raises what the exit status says."""
    if not wish.yes and not desk.someone:
        raise BadInput("nobody can be asked here; add --yes to start the run without a question")
    overrides = rules(wish.override)
    reason = reason_of(desk, wish.reason, "Why is the traffic moved?")
    trigger = Trigger(who(), reason, overrides)
    request = Request(wish.kind, trigger, wish.target)
    given = "".join(f" --override {rule}" for rule in trigger.overrides)
    again = f"{shlex.join(wish.words)} --reason {shlex.quote(reason)}{given}"
    desk.emit(plan_text(planned(desk, service, request, again)).rstrip("\n") + "\n")
    if not desk.confirm("Carry this out?", yes=wish.yes, undecided=""):
        desk.say("Nothing was started.")
        raise typer.Exit(130)
    asked = FailoverRequest(uuid.uuid4().hex, request)
    answer = of_service(desk, service, lambda control, name: control.request(name, asked))
    if isinstance(answer, Refusal):
        raise show_refusal(desk, answer, request.kind, again)
    _started(desk, ServiceId(service), answer, wish)


def _started(desk: Desk, service: ServiceId, started: Started, wish: _Wish) -> None:
    from orchestrator.cli.render.record import headline, measure, timeline  # noqa: PLC0415 - start-up time

    if not wish.wait:
        desk.emit(f"Run {started.run} started; look at it with 'failover show {started.run} --watch'.\n")
        return
    record = follow(desk, service, started.run, timeout_s=wish.timeout_s)
    if desk.live:
        from orchestrator.cli.calls import now  # noqa: PLC0415 - used on one path

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
