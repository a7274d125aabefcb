"""What people ask of the governor."""

from __future__ import annotations

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError

from orchestrator.core.governing import Ledger
from workflows.wire import GOVERNOR_ID


async def held(client: Client) -> Ledger | None:
    """Who is on the move, and what each shared pool is promised to; None where the governor does not answer."""
    try:
        ledger: Ledger = await client.get_workflow_handle(GOVERNOR_ID).query("held", result_type=Ledger)
    except (RPCError, WorkflowQueryFailedError):
        return None
    return ledger
