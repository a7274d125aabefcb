"""What a person wishes for with plan and run: where traffic shall go, by which runbook, and what is set aside."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.calls import unknown
from orchestrator.cli.options import Override, To
from orchestrator.core.errors import BadInput
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId

if TYPE_CHECKING:
    from orchestrator.core.decision import Request
    from workflows.wire import ServiceStatus

From = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="ENDPOINT",
        help="Traffic leaves this endpoint, and stays at the others that carry it; repeat for more.",
        show_default="all that carry it",
    ),
]
Runbook = Annotated[
    str | None,
    typer.Option(
        "--runbook",
        metavar="NAME",
        help="The runbook; one without a step that steers makes an endpoint ready and moves no traffic.",
        show_default="the policy's",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A value for a parameter of the runbook; repeat for more."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options of a wish."""

    to: To = None
    leaving: From = None
    runbook: Runbook = None
    values: Set = None
    override: Override = None

    @property
    def empty(self) -> bool:
        """Whether nothing is wished for in particular."""
        return not (self.to or self.leaving or self.runbook or self.values or self.override)

    @property
    def words(self) -> str:
        """The wish as it was typed, but for the overrides."""
        return shlex.join(
            [
                *(("--to", self.to) if self.to else ()),
                *(word for name in self.leaving or () for word in ("--from", name)),
                *(("--runbook", self.runbook) if self.runbook else ()),
                *(word for value in self.values or () for word in ("--set", value)),
            ]
        )

    def request(self, status: ServiceStatus, kind: MoveKind, trigger: Trigger) -> Request:
        """What the service is asked for. Raises BadInput for an endpoint that it does not have, and for bad values."""
        from orchestrator.core.decision import Request  # noqa: PLC0415 - start-up time

        return Request(
            kind,
            trigger,
            checked(status, self.to),
            runbook=self.runbook,
            values=given(self.values or []),
            leaving=tuple(sorted({found for name in self.leaving or () if (found := checked(status, name))})),
        )


def checked(status: ServiceStatus, name: str | None) -> EndpointId | None:
    """*name* as an endpoint of the service. Raises BadInput with the nearest name."""
    known = [str(brief.id) for brief in status.endpoints]
    if name is not None and known and name not in known:
        raise BadInput(f"{unknown('endpoint', name, known)} (endpoints of '{status.service}')")
    return EndpointId(name) if name is not None else None


def rules(override: list[str] | None) -> tuple[str, ...]:
    """*override* without doubles. Raises BadInput for what is no rule, and for a rule that yields to nobody."""
    from orchestrator.core.safety import NAMES, Yields, rule  # noqa: PLC0415 - start-up time

    for name in override or ():
        known = rule(name)
        if known is None:
            raise BadInput(f"--override: {unknown('safety rule', name, NAMES)}")
        if {known.planned, known.unplanned} == {Yields.NEVER}:
            raise BadInput(f"--override: nobody can set rule '{name}' aside; leave it out, and mend what the rule says")
    return tuple(sorted(set(override or ())))


def given(said: list[str]) -> tuple[tuple[str, str], ...]:
    """``name=value`` as pairs, sorted. Raises BadInput."""
    found: dict[str, str] = {}
    for each in said:
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise BadInput(f"--set: '{each}' gives no value; write it as NAME=VALUE")
        if name.strip() in found:
            raise BadInput(f"--set: '{name.strip()}' is given twice; give it once")
        found[name.strip()] = value.strip()
    return tuple(sorted(found.items()))
