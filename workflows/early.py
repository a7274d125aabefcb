"""What a run takes up when it begins late: what its leader has done, and what people have said of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.record import Entry, Mark
    from runbooks.plan import Steer
    from workflows import reading
    from workflows.wire import Acted, Carry, RunAct, StepResult
    from workflows.wire.run import Ahead, HeadStart


async def head_of(carry: Carry) -> HeadStart | None:
    """What its leader has done: as it said, or where nobody has heard of it, as the primary shows.

    The primary is asked only where people want something else than to go on, for whoever goes on finds out by itself.
    """
    if carry.head is not None or not carry.acts or not await reading.landed(carry.service, carry.plan.run):
        return carry.head
    done, now = [], workflow.now()
    for step in carry.plan.taken(planned=carry.plan.planned):
        text, steers = "done by its leader, who was not heard of any more", isinstance(step.work, Steer)
        mark = Mark.STEERED if steers else Mark.STEP_DONE
        done.append(Ahead(step.id, StepResult(text=text), (Entry(now, mark, f"{step.text}: {text}", step.id),)))
        if steers:
            break
    return HeadStart(carry.plan.run, now, tuple(done))


def carried_out(
    acts: tuple[RunAct, ...], may: Callable[[RunAct], None], act: Callable[[RunAct], Acted]
) -> Iterator[str]:
    """Do *acts*; yields a sentence for each that the run, as it now stands, refuses."""
    for each in acts:
        try:
            may(each)
        except ApplicationError as error:
            yield f"{each.kind} by {each.by} ({each.reason}) could not be done any more: {error.message}"
        else:
            act(each)
