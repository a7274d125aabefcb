"""Acts that take capacity away read the routing first: they go on only where it sends the endpoint nothing."""

from __future__ import annotations

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Routing, sends_to
from providers import registry
from providers.base import ChangedOutside, Refused, StaleGeneration
from workflows.activities.pulse import Pulse
from workflows.wire import StepTask


async def must_be_idle(
    task: StepTask, endpoint: EndpointId, verb: str, pulse: Pulse, *, undoing: bool = False
) -> Routing:
    """The routing, once it shows that *endpoint* gets nothing and that nobody else has written since.

    Raises StaleGeneration, ChangedOutside, Refused, Transient.
    """
    if task.steering is None:
        raise Refused(f"cannot {verb} {endpoint}: without steering nobody knows whether it carries traffic")
    now = await pulse.fresh(registry.steering(task.steering).read())
    fence = now.fence
    if fence is None and task.base == 0:
        # Nobody is ahead: the record was nobody's when the run began.
        raise Refused(f"cannot {verb} {endpoint}: the record is under no fence, so nobody knows whether it has traffic")
    if fence is None or not _ours(task, now, undoing=undoing):
        raise StaleGeneration(
            f"will not {verb} {endpoint}: the routing is at generation {now.generation}, "
            + (f"by run {fence.run}, step {fence.step}" if fence else "without a fence")
            + f", and not {'as this run left it' if undoing else f'our {task.generation}'}"
        )
    if dict(fence.weights).get(endpoint, 0) > 0:
        raise Refused(f"will not {verb} {endpoint}: it carries traffic")
    if task.own is not None and now.answer is not None and sends_to(now.answer, task.own):
        raise ChangedOutside(
            f"will not {verb} {endpoint}: {task.steering.name} answers {', '.join(now.answer.values)}, which sends it "
            "traffic although the fence says otherwise; somebody edited it by hand"
        )
    return now


def _ours(task: StepTask, now: Routing, *, undoing: bool) -> bool:
    """Whether *now* is as the run left it, or as it found it where it has not steered yet."""
    wrote = now.fence is not None and now.fence.run == task.run
    if undoing:
        return wrote or now.generation == task.base
    return now.generation == task.generation and (wrote or task.generation == task.base)
