"""How values travel: the same bytes as Temporal's own pydantic converter, read back as the same values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.contrib.pydantic import pydantic_data_converter

from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Notify, NotifyKind
from orchestrator.runtime.payloads import Payloads, learn
from workflows.wire import Herald, Publication, Started, Telling

TOLD = Telling(
    (Notify(NotifyKind.EXEC, command=("/bin/page",)),),
    ServiceId("chat"),
    "held",
    "why",
    datetime(2026, 3, 1, tzinfo=UTC),
)
VALUES: tuple[tuple[Any, Any], ...] = (
    (Herald(TOLD, None), Herald),
    (Herald(None, Publication()), Herald),
    ("text", str),
    (None, None),
    (("a", 1), tuple[str, int]),
    ({"a": [1, 2]}, None),
    (Started("r", "failover/chat/r"), Started | str),  # type: ignore[arg-type]  # ids are plain strings when they travel
)


@pytest.mark.parametrize(("value", "hint"), VALUES)
def test_a_value_comes_back_as_it_was(value: Any, hint: Any) -> None:
    """What one worker writes another reads, whichever of the two converters each of them has."""
    ours, sdk = Payloads(), pydantic_data_converter.payload_converter
    written = ours.to_payload(value)
    assert written.data == sdk.to_payload(value).data
    assert ours.from_payload(written, hint) == sdk.from_payload(written, hint) == value


def test_what_does_not_fit_its_type_is_refused() -> None:
    """A payload of another shape is an error, never a value with holes."""
    ours = Payloads()
    learn(Herald)
    with pytest.raises(ValidationError):
        ours.from_payload(ours.to_payload({"telling": 7}), Herald)
