"""What stands over a service that people must know, in words, with the commands that help.

The command line and the page say the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.core.names import RunId
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import serving
from orchestrator.core.waiting import at
from orchestrator.runtime.waits import waits
from workflows.aftermath import in_vain
from workflows.wire import Question, RunState, ServiceStatus


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that stands."""

    label: str
    """``halted``, ``not acknowledged``, ``tried last``, ``for a time``, ``freeze`` or ``gate``."""
    text: str
    """A sentence without its end."""
    commands: tuple[str, ...] = ()
    needs_somebody: bool = False
    """Whether it stays until a person has done something."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One thing that waits for a person's answer: an element of ``asks`` in JSON documents."""

    service: str
    run: RunId | None
    """The run that waits; None: the service itself does."""
    text: str
    commands: tuple[str, ...]
    """What answers it, the usual answer first."""


def notices(status: ServiceStatus) -> Iterator[Notice]:
    """All that stands over the service, what needs somebody first."""
    name = shlex.quote(status.service)
    halted = halted_last(status)
    if halted is not None:
        text = f"its last run, {halted.run}, halted and left the world as it stands for a person"
        yield Notice("halted", text, (f"failover show {halted.run}", f"failover ack {name}"), needs_somebody=True)
    if status.unacknowledged is not None:
        text = f"automation waits until somebody has looked at its run that closed at {at(status.unacknowledged)}"
        yield Notice("not acknowledged", text, (f"failover ack {name}",), needs_somebody=True)
    for endpoint, record in dict(reversed(tuple(in_vain(status.last_runs, status.as_of)))).items():
        failed = record.first(Mark.STEP_FAILED)
        text = f"{endpoint} could not be made ready by run {record.run}: {failed.text if failed else 'see there'}"
        yield Notice("tried last", text, (f"failover show {record.run}",))
    if status.shift is not None:
        back = serving(status.shift.before)
        text = (
            f"moved until {at(status.shift.expires)} by {status.shift.by} ({status.shift.reason}); then the service "
            f"asks to go back to {', '.join(back)}"
        )
        yield Notice("for a time", text, (f"failover run {name} --to {shlex.quote(back[0])}",) if back else ())
    for each in status.freezes:
        what = "nothing is moved" if each.unplanned else "nothing is moved that need not be"
        yield Notice("freeze", f"{what} until {at(each.until)}, because: {each.reason}")
    if status.gate is not None:
        yield Notice("gate", f"automation of all services is off ({status.gate or 'no reason given'})")


def halted_last(status: ServiceStatus) -> Record | None:
    """The last run of the service, where it halted and nobody has said since that they have seen it."""
    last = next((each for each in status.last_runs if each.status is not RunStatus.OBSERVED), None)
    if last is None or status.run is not None or last.status is not RunStatus.HALTED or last.closed is None:
        return None
    seen = status.acknowledged is not None and status.acknowledged >= last.closed
    return None if seen else last


def asked_of_people(status: ServiceStatus, state: RunState | None) -> tuple[Asking, ...]:
    """All that the service, and its run under way (*state*: what that one waits for), wait for a person to answer."""
    found = list(asked_by_run(status.run, status.service, state)) if status.run else []
    if status.question is not None:
        asked = status.question
        why = "; ".join(reason.text for reason in asked.reasons)
        text = f"move {' and '.join(asked.source)} -> {asked.target}? {why}"
        found.append(Asking(status.service, None, text, answers(status.service, asked)))
    found += [Asking(status.service, None, each.text, each.commands) for each in notices(status) if each.needs_somebody]
    return tuple(found)


def answers(service: str, asked: Question) -> tuple[str, ...]:
    """What answers a question of *service*: yes, no, and a choice of one's own."""
    own = f"failover run {shlex.quote(service)} --to {shlex.quote(asked.target)}"
    return f"failover approve {asked.id}", f"failover deny {asked.id}", own


def asked_by_run(run: RunId, service: str, state: RunState | None) -> tuple[Asking, ...]:
    """All that *run* waits for a person to answer."""
    return tuple(Asking(service, run, each.text, each.commands) for each in waits(run, state)) if state else ()
