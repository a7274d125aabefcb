"""What the status of a service tells of what stands over it. No server: it is a pure answer of its state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.core.orders import Freeze, Orders, Span
from orchestrator.core.situation import Shift
from real.scenery import AT_HOME, TOLD, VANTAGES, service
from workflows.situation import status
from workflows.wire import ServiceState, Slice, StatusQuestion
from workflows.wire.service import Frozen

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_what_stands_over_a_service_is_in_its_status() -> None:
    """A freeze in force, the gate, a move for a time and a run to be looked at are told; a freeze to come is not."""
    over, to_come = (
        Freeze(why, Span(NOW + begins, NOW + 2 * HOUR)) for why, begins in (("vote", -HOUR), ("end", HOUR))
    )
    chat = service()
    chat = replace(chat, policy=replace(chat.policy, acknowledge=True, freezes=(over, to_come)))
    piece = Slice(1, chat, VANTAGES, notify=TOLD, orders=Orders(gate="rebuilding"))
    shift = Shift("chat-1", "ann", "patches", NOW + HOUR, AT_HOME)  # type: ignore[arg-type]  # a run's id is text
    state = ServiceState(piece, shift=shift, automatic=(NOW - HOUR,))
    seen = status(state, StatusQuestion(NOW))
    assert seen.freezes == (Frozen("vote", NOW + 2 * HOUR),)
    assert seen.gate == "rebuilding"
    assert seen.shift == shift
    assert seen.unacknowledged == NOW - HOUR
    after = status(replace(state, acknowledged=NOW), StatusQuestion(NOW + 3 * HOUR))
    assert (after.freezes, after.unacknowledged, after.acknowledged) == ((), None, NOW)
