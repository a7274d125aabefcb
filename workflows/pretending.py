"""What drills take as given: verdicts, for one that only asks; done steps, for one that moves a canary. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.record import Record
from runbooks.plan import Analyse, Call, Demote, Drain, FenceOff, Plan, Promote, Step, Wait

PRETENDED = "pretended: "
"""How the text of a step begins that is not really done."""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def taken_for_down(found: tuple[Assessment, ...], down: tuple[EndpointId, ...]) -> tuple[Assessment, ...]:
    """*found* as it would be if the endpoints *down* had been down for long enough for every rule."""
    return tuple(
        replace(each, verdict=Verdict.DOWN, text="taken for down", first_bad=LONG_AGO, proven=False)
        if each.endpoint in down
        else each
        for each in found
    )


def pretending(plan: Plan) -> Plan:
    """*plan* for a shadow: what would scale, drain or fence the real endpoints, or call somebody, does nothing.

    It is taken out of the plan itself, so that no worker can do it, whatever it knows of drills.
    """
    return replace(plan, steps=tuple(_pretended(step) for step in plan.steps))


def _pretended(step: Step) -> Step:
    if isinstance(step.work, Analyse) and any(each.room is not None for each in step.work.gainers):
        # What a pretended promotion would have made ready is taken for ready.
        others = tuple(replace(each, room=None) for each in step.work.others)
        return replace(step, work=replace(step.work, room=None, others=others), text=f"{step.text} (taken for ready)")
    if not isinstance(step.work, Promote | Drain | FenceOff | Demote | Call):
        return step
    return replace(step, work=Wait(0.0), text=f"{PRETENDED}{step.text}", undo=None, expected_s=0.0)


def pretended_in(record: Record) -> tuple[str, ...]:
    """The steps of a run that were not really done."""
    return tuple(step.id for step in record.steps if step.text.startswith(PRETENDED))
