"""One JSON document per reading command: the only serializer of the room.

Frozen dataclasses become objects, tuples arrays, times UTC RFC 3339, durations seconds. A Record also carries its
measures (``ttd_s``, ``ttr_s``), so that a script need not know the marks.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from math import isfinite

from orchestrator.core.record import Record

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def plain(value: object) -> Json:
    """*value* as JSON's own types. Raises TypeError for what has no meaning in a document."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return _composed(value)


def _composed(value: object) -> Json:
    """A value made of others."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        written: dict[str, Json] = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return written | {"ttd_s": value.ttd_s, "ttr_s": value.ttr_s} if isinstance(value, Record) else written
    raise TypeError(f"{type(value).__name__} cannot stand in a JSON document")


def extended(value: object, **more: object) -> dict[str, Json]:
    """*value*, which becomes an object, with *more* keys in it."""
    written = plain(value)
    if not isinstance(written, dict):
        raise TypeError(f"{type(value).__name__} is no object, and takes no more keys")
    return written | {name: plain(each) for name, each in more.items()}


def document(value: object) -> str:
    """*value* as indented JSON text with a newline at its end."""
    import json  # noqa: PLC0415 - start-up time: most commands write no JSON

    return json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n"
