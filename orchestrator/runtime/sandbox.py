"""The sandbox of workflow code."""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions


def runner() -> SandboxedWorkflowRunner:
    """The sandbox of workflow code. Core, runbooks and wire pass through: they are pure."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(
        "orchestrator.core",
        "runbooks",
        "workflows.wire",
        "workflows.options",
        "workflows.situation",
        "workflows.planning",
    )
    return SandboxedWorkflowRunner(restrictions=restrictions)
