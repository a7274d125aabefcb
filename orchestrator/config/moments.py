"""The kinds of value that speak of time and place for all services: moments, hours, days, zones, domains, the gate."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from orchestrator.config.fields import ID, quoted, say, text_of
from orchestrator.config.mistakes import did_you_mean
from orchestrator.core.orders import DAYS, MIDNIGHT_MIN, zone_of

_HOUR = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ANY_DOMAIN = re.compile(rf"{ID.pattern}(?:/{ID.pattern}){{0,2}}")
_LONG = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*", re.ASCII)


def _bound(value: object) -> datetime | int:
    """A moment as UTC, or an hour of the day as minutes after midnight."""
    text = text_of(value, "a moment like 2026-12-24T00:00:00Z, or with days an hour like 22:00")
    hour = _HOUR.fullmatch(text)
    if hour:
        minutes = int(hour[1]) * 60 + int(hour[2])
        if minutes > MIDNIGHT_MIN:
            say(f"{quoted(text)} is no hour of a day; write 00:00 to 24:00")
        return minutes
    if not _MOMENT.fullmatch(text):
        say(
            f"{quoted(text)} is no moment; write it with its time and zone like 2026-12-24T00:00:00Z, or with days an "
            "hour like 22:00"
        )
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        say(f"{quoted(text)} is no moment that there is; write one like 2026-12-24T00:00:00Z")


def _day(value: object) -> int:
    if isinstance(value, str) and value.lower() in _LONG:
        return _LONG.index(value.lower())
    if not isinstance(value, str) or value.lower() not in DAYS:
        close = did_you_mean(value, DAYS) if isinstance(value, str) else ""
        say(f"{quoted(value)} is no day; write one of {', '.join(DAYS)}{close if 'mean' in close else ''}")
    return DAYS.index(value.lower())


def _zone(value: object) -> str:
    text = text_of(value, "a time zone like UTC or Europe/Berlin")
    if not _ZONE.fullmatch(text) or zone_of(text) is None:
        say(f"{quoted(text)} is no time zone that is known here; write UTC, or a name like Europe/Berlin")
    return text


def _any_domain(value: object) -> str:
    text = text_of(value, "a domain like aws or aws/eu-central-1")
    if not _ANY_DOMAIN.fullmatch(text):
        say(f"{quoted(text)} is no domain; write cloud, cloud/region or cloud/region/zone, like aws/eu-central-1")
    return text


def _gate(value: object) -> str | None:
    if isinstance(value, bool) or (isinstance(value, str) and value in {"on", "off"}):
        return None if value in {"on", True} else ""
    if not isinstance(value, dict) or set(value) != {"off"}:
        say(f"must be on, off or {{off: REASON}}, not {quoted(value)}; write one of them")
    return _reason(value["off"])


def _reason(value: object) -> str:
    text = text_of(value, "why, for those who will read it").strip()
    if not text or not text.isprintable() or len(text) > 200:
        say("must be one line of at most 200 characters; write why, for those who will read it")
    return text


_BOUND_SCHEMA: dict[str, Any] = {"type": "string", "examples": ["2026-12-24T00:00:00Z", "22:00"]}
_GATE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"enum": ["on", "off"]},
        {
            "type": "object",
            "properties": {"off": {"type": "string", "description": "Why it is off."}},
            "required": ["off"],
            "additionalProperties": False,
        },
    ]
}

Bound = Annotated[datetime | int, PlainValidator(_bound), WithJsonSchema(_BOUND_SCHEMA)]
Day = Annotated[int, PlainValidator(_day), WithJsonSchema({"type": "string", "enum": list(DAYS)})]
ZoneName = Annotated[
    str, PlainValidator(_zone), WithJsonSchema({"type": "string", "examples": ["UTC", "Europe/Berlin"]})
]
AnyDomain = Annotated[
    str,
    PlainValidator(_any_domain),
    WithJsonSchema({"type": "string", "pattern": f"^{_ANY_DOMAIN.pattern}$", "examples": ["aws", "aws/eu-central-1"]}),
]
Automation = Annotated[str | None, PlainValidator(_gate), WithJsonSchema(_GATE_SCHEMA)]
Reason = Annotated[str, PlainValidator(_reason), WithJsonSchema({"type": "string", "maxLength": 200})]
