"""What is known of a step that was given up: whether anything may have happened."""

from __future__ import annotations

import pytest

from orchestrator.core.names import EndpointId
from orchestrator.core.topology import Workload
from runbooks.plan import Call, Drain, Hook, Promote, Work
from runbooks.progress import Event
from workflows.attempting import StepFailed

HOOK = Hook("https://tickets.example/open")
CALL = Call(HOOK)


@pytest.mark.parametrize(
    ("work", "kind", "tries", "told"),
    [
        (CALL, "BadInput", 1, Event.REFUSE),
        (CALL, "BadInput", 2, Event.FAIL),
        (CALL, "Refused", 1, Event.FAIL),
        (Promote(EndpointId("us"), Workload("local", "us"), 2), "Refused", 1, Event.REFUSE),
        (Drain(EndpointId("eu"), Workload("local", "eu")), "Refused", 1, Event.FAIL),
    ],
)
def test_only_what_surely_did_nothing_is_not_put_back(work: Work, kind: str, tries: int, told: Event) -> None:
    """A call without its secret was never sent; one that was answered, or tried before, may have been heard."""
    assert StepFailed(kind, "", tries).event(work) is told
