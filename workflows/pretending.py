"""What drills take as given: verdicts, for one that only asks; done steps, for one that moves a canary. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.record import Record
from orchestrator.core.rehearsal import cold_standbys
from orchestrator.core.steering import Routing
from orchestrator.core.topology import Service
from runbooks.plan import Analyse, Call, Demote, Drain, FenceOff, Plan, Promote, Step, Verify, Wait

PRETENDED = "pretended: "
"""How the text of a step begins that is not really done."""
UNREHEARSED = "not rehearsed: "
"""How the text of a step begins that a cold standby cannot be put to, as it was never really promoted."""
COLD = "target-cold"
"""The rule that an endpoint breaks which runs nothing until it is promoted."""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def taken_for_down(found: tuple[Assessment, ...], down: tuple[EndpointId, ...]) -> tuple[Assessment, ...]:
    """*found* as it would be if the endpoints *down* had been down for long enough for every rule."""
    return tuple(
        replace(each, verdict=Verdict.DOWN, text="taken for down", first_bad=LONG_AGO, proven=False)
        if each.endpoint in down
        else each
        for each in found
    )


def taken_for_promoted(
    found: tuple[Assessment, ...], service: Service, routing: Routing | None
) -> tuple[Assessment, ...]:
    """*found*, for a shadow: a cold standby that a run of its own has sent the canary to is taken for promoted.

    Nothing has really promoted it, so that it is as silent as before; the shadow would flee from it at once.
    """
    fence = routing.fence if routing is not None else None
    if fence is None or not fence.run.startswith(f"{service.id}-"):
        return found
    promoted = {name for name, weight in fence.weights if weight > 0} & set(cold_standbys(service))
    text = "taken for promoted: a synthetic drill takes no capacity"
    return tuple(
        replace(each, verdict=Verdict.HEALTHY, text=text, first_bad=None, proven=True)
        if each.endpoint in promoted and each.verdict in {Verdict.DOWN, Verdict.UNKNOWN}
        else each
        for each in found
    )


def pretending(plan: Plan, colds: tuple[EndpointId, ...] = ()) -> Plan:
    """*plan* for a shadow: what would scale, drain or fence the real endpoints, or call somebody, does nothing.

    It is taken out of the plan itself, so that no worker can do it, whatever it knows of drills. Where the target is
    one of *colds* and runs nothing, its proof is taken out, too: there is nothing to ask.
    """
    cold = colds if any(each.rule == COLD for each in plan.objections) else ()
    return replace(plan, steps=tuple(_pretended(step, cold) for step in plan.steps))


def _pretended(step: Step, colds: tuple[EndpointId, ...]) -> Step:
    work = step.work
    if isinstance(work, Analyse) and any(each.place.endpoint in colds for each in work.gainers):
        held = replace(work, analysis=None, room=None, others=())
        return replace(step, work=held, text=f"{UNREHEARSED}{step.text}")
    if isinstance(work, Analyse) and any(each.room is not None for each in work.gainers):
        # What a pretended promotion would have made ready is taken for ready.
        others = tuple(replace(each, room=None) for each in work.others)
        return replace(step, work=replace(work, room=None, others=others), text=f"{step.text} (taken for ready)")
    if isinstance(work, Verify) and work.place.endpoint in colds:
        return _nothing(step, UNREHEARSED)
    if isinstance(work, Promote) and work.endpoint in colds:
        return _nothing(step, UNREHEARSED)
    return _nothing(step, PRETENDED) if isinstance(work, Promote | Drain | FenceOff | Demote | Call) else step


def _nothing(step: Step, said: str) -> Step:
    return replace(step, work=Wait(0.0), text=f"{said}{step.text}", undo=None, expected_s=0.0)


def pretended_in(record: Record) -> tuple[str, ...]:
    """The steps of a run that were not really done."""
    return tuple(step.id for step in record.steps if step.text.startswith(PRETENDED))


def unrehearsed_in(record: Record) -> str:
    """What a run could not rehearse, in words; empty: nothing."""
    if not any(step.text.startswith(UNREHEARSED) for step in record.steps):
        return ""
    return (
        f"promotion of {record.target} and its proof were not rehearsed: it is a cold standby, and a synthetic drill "
        "takes no capacity"
    )
