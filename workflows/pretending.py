"""What would be done if: verdicts taken as given, for a drill that only asks. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import Assessment, Verdict

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def taken_for_down(found: tuple[Assessment, ...], down: tuple[EndpointId, ...]) -> tuple[Assessment, ...]:
    """*found* as it would be if the endpoints *down* had been down for long enough for every rule."""
    return tuple(
        replace(each, verdict=Verdict.DOWN, text="taken for down", first_bad=LONG_AGO, proven=False)
        if each.endpoint in down
        else each
        for each in found
    )
