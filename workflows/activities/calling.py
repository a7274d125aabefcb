"""Calls of a runbook's hooks: what the other side is told of the run."""

from __future__ import annotations

from runbooks.plan import Hook
from workflows.activities.pulse import Pulse
from workflows.wire import StepResult, StepTask


async def call(hook: Hook, task: StepTask, pulse: Pulse) -> StepResult:
    """Ask *hook* under the step's effect token. Raises Transient, Refused, BadInput."""
    from providers.hooks import web  # noqa: PLC0415 - an HTTP client is slow to import, and most runs call nobody

    facts = {
        "run": task.run,
        "step": task.step,
        "service": task.service,
        "source": list(task.source),
        "target": task.target,
        "kind": str(task.kind),
    }
    return StepResult(text=await pulse.through(web.call(hook, facts, key=task.key, within_s=task.timeout_s)))
