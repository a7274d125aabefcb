"""What people say to a service and ask of it that waits for nothing: each is done within one task."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.crashes import Memory
    from workflows import aftermath, questions, remembering, situation
    from workflows.wire import (
        Acknowledge,
        Explanation,
        Pause,
        PlanQuestion,
        ServiceState,
        ServiceStatus,
        SetMode,
        Slice,
        StatusQuestion,
    )
    from workflows.wire.drill import FaultNews


class Attended:
    """The part of a service's workflow that only changes its state, or reads it."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._news = True
        """Something was said that is not thought of yet."""
        self._look_due = True
        """The world is looked at anew before that."""

    @workflow.update
    def pause(self, pause: Pause) -> None:
        """No automatic run starts until somebody resumes. People may still start runs."""
        self._state = replace(self._state, paused=f"paused by {pause.by}: {pause.reason}")

    @workflow.update
    def resume(self, pause: Pause) -> None:
        """Automation goes on; standing holds are let go, and what somebody said no to is asked again."""
        self._state = replace(self._state, paused=None, held=(), question=questions.standing(self._state))
        self._news = self._look_due = True

    @workflow.update
    def acknowledge(self, word: Acknowledge) -> None:
        """A person has seen what automation did: it may go on."""
        self._state = aftermath.after_word(self._state, now=workflow.now())
        self._news = self._look_due = True

    @workflow.signal
    def faulted(self, news: FaultNews) -> None:
        """A drill is about to put a fault in, or has taken it out: what that brings about is its own."""
        self._state = aftermath.faulted(self._state, news, now=workflow.now())

    @workflow.update
    def set_mode(self, mode: SetMode) -> None:
        """What the orchestrator may do by itself, until the topology says otherwise."""
        self._state = replace(self._state, mode=mode.mode)
        self._news = True

    # ------------------------------------------------------------------ questions

    @workflow.query
    def status(self, question: StatusQuestion) -> ServiceStatus:
        """All that a page needs to know now."""
        return situation.status(self._state, question)

    @workflow.query
    def explain(self, question: PlanQuestion) -> Explanation:
        """What would be done now, and why (not)."""
        return situation.preview(self._state, question)

    @workflow.query
    def memory(self, question: StatusQuestion) -> Memory:
        """How it has served, for whoever asks which revision of the topology was good."""
        return remembering.memory(self._state, question.now)

    @workflow.query
    def slice(self) -> Slice:
        """The service as this workflow knows it."""
        return self._state.slice
