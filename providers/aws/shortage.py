"""What AWS says of capacity that it cannot find. It says so afterwards: the request itself was accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

RECENT = timedelta(minutes=5)
"""What is older says nothing of now, where nobody knows when the present level was asked for."""
_NONE_LEFT = re.compile(
    r"capacity is unavailable|sufficient .*capacity|InsufficientInstanceCapacity|UnfulfillableCapacity"
    r"|LimitExceeded|reached the limit|vCPU capacity|MaxSpotInstanceCount",
    re.IGNORECASE,
)
_NO_ROOM_HERE = re.compile(r"no container instance met all of its requirements", re.IGNORECASE)
_UNPLACED = re.compile(r"unable to (consistently )?(place|start)", re.IGNORECASE)
_STARTED = re.compile(r"has started \d+ tasks|has reached a steady state", re.IGNORECASE)
_SAID = 200


def of_service(events: Iterable[dict[str, Any]], since: datetime, *, grows: bool) -> str | None:
    """Why ECS could not place tasks, by the newest of its *events* after *since* that speaks of it; None: it could.

    *grows*: a capacity provider adds machines by itself, so that none with room is no last word.
    """
    for event in sorted(events, key=lambda each: each["createdAt"], reverse=True):
        text = str(event["message"])
        if event["createdAt"] < since or _STARTED.search(text):
            return None
        if _UNPLACED.search(text) and (_NONE_LEFT.search(text) or (_NO_ROOM_HERE.search(text) and not grows)):
            return _short(text)
    return None


def of_group(activities: Iterable[dict[str, Any]], since: datetime, zones: frozenset[str]) -> str | None:
    """Why a group could not launch instances: all its newest activities after *since* failed so, in all its *zones*.

    A group tries its zones one after another; a failure in one is not the last word.
    """
    tried: set[str] = set()
    why: str | None = None
    for activity in sorted(activities, key=lambda each: each["StartTime"], reverse=True):
        text = str(activity.get("StatusMessage", ""))
        if activity["StartTime"] < since or activity["StatusCode"] != "Failed" or not _NONE_LEFT.search(text):
            return None
        why = why or _short(text)
        zone = _zone(str(activity.get("Details", "")))
        if zone is None or (tried := tried | {zone}) >= zones:
            return why
    return None


def _zone(details: str) -> str | None:
    try:
        said = json.loads(details)
    except ValueError:
        return None
    return said.get("Availability Zone") if isinstance(said, dict) else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else line[: _SAID - 1] + "…"
