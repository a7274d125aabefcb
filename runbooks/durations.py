"""Durations as people write them (``1m30s``, ``500ms``, ``2h``) and seconds as programs keep them."""

from __future__ import annotations

import re

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


def seconds(text: str) -> float:
    """The seconds that *text* means. Raises ValueError when it is no duration such as ``1m30s``."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"'{text}' is not a duration; write one such as 30s, 1m30s or 500ms")
    return round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), 3)


def spoken(span_s: float) -> str:
    """*span_s* seconds as people write them: ``1m30s``, ``500ms``, ``0s``; to the millisecond."""
    left = round(span_s * 1000)
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000)):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    if left and left < 1000 and not text:
        return f"{left}ms"
    if left:
        text += f"{left / 1000:g}s"
    return text or "0s"
