"""The account of a drill as it grows: its phases, one after another, each with what came of it."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.wire import DrillPhase, DrillReport


class Phases:
    """What a drill tells of itself. Its times are the workflow's."""

    def __init__(self, report: DrillReport) -> None:
        self.report = report

    def begin(self, name: str, text: str) -> None:
        """The next phase begins."""
        began = DrillPhase(name, None, text, workflow.now())
        self.report = replace(self.report, phases=(*self.report.phases, began))

    def end(self, *, ok: bool, text: str) -> None:
        """The phase that has begun is over; nothing where none is."""
        phases = self.report.phases
        if not phases or phases[-1].ended is not None:
            return
        ended = replace(phases[-1], ok=ok, text=text, ended=workflow.now())
        self.report = replace(self.report, phases=(*phases[:-1], ended))
