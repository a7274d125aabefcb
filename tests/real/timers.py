"""Workers of the time-skipping server never cancel a timer: the server does not bear it.

It refuses a workflow task that cancels a timer which fired while the task was with the worker, and neither times that
task out nor gives it again (temporalio/sdk-java issues 2606 and 3088): the workflow stands still for ever. A timer
that is left to fire wakes a workflow that no longer waits for it, which changes nothing. The development server has no
such fault: there, and in every recorded history, timers are cancelled as in production.
"""

from __future__ import annotations

from typing import Any

from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

__all__ = ["TIMERS_STAY"]


class _Patient(WorkflowRunner):
    """Runs workflows as *inner* does, without a word of timers that are waited for no longer."""

    def __init__(self, inner: WorkflowRunner) -> None:
        self._inner = inner

    def prepare_workflow(self, defn: Any) -> None:
        self._inner.prepare_workflow(defn)

    def set_worker_level_failure_exception_types(self, types: Any) -> None:
        self._inner.set_worker_level_failure_exception_types(types)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = self._inner.create_instance(det)
        activate = instance.activate

        def without_cancelling(act: Any) -> Any:
            completion = activate(act)
            if completion.HasField("successful"):
                kept = [each for each in completion.successful.commands if not each.HasField("cancel_timer")]
                del completion.successful.commands[:]
                completion.successful.commands.extend(kept)
            return completion

        # The SDK's instances are of a closed class with more methods than its interface tells.
        instance.activate = without_cancelling  # type: ignore[method-assign]
        return instance


def _patient(runner: WorkflowRunner | None) -> WorkflowRunner:
    assert runner is not None
    return _Patient(runner)


TIMERS_STAY = SimplePlugin("timers-stay", workflow_runner=_patient)
