"""Values of a runbook's parameters: what fits, and how a person writes it."""

from __future__ import annotations

from itertools import pairwise
from typing import assert_never

from orchestrator.config.fields import quoted, seconds
from runbooks.model import ParameterType, Value


def fitting(value: Value, kind: ParameterType) -> Value:
    """*value* as a parameter of *kind* holds it; text is read as a person types it. ValueError with the sentence."""
    match kind:
        case ParameterType.DURATION:
            return _duration(value)
        case ParameterType.INTEGER:
            return _integer(value)
        case ParameterType.NUMBER:
            return _number(value)
        case ParameterType.PERCENTS:
            return _percents(value)
        case ParameterType.BOOLEAN:
            return _boolean(value)
        case ParameterType.TEXT:
            if isinstance(value, str):
                return value
            raise ValueError(f"{shown(value)} is not text; write text, in quotes if need be")
        case _:
            assert_never(kind)


def sample(kind: ParameterType) -> Value:
    """A value of *kind*, to check a runbook with, or to show how one is written."""
    samples: dict[ParameterType, Value] = {
        ParameterType.DURATION: "30s",
        ParameterType.INTEGER: 1,
        ParameterType.NUMBER: 1.5,
        ParameterType.PERCENTS: (10, 50, 100),
        ParameterType.TEXT: "text",
        ParameterType.BOOLEAN: True,
    }
    return samples[kind]


def said_as(value: Value) -> str:
    """*value* as a person types it: ``5,25,100``, ``true``, ``30s``."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(str(each) for each in value)
        case _:
            return str(value)


def shown(value: Value) -> str:
    return quoted(list(value) if isinstance(value, tuple) else value)


def _duration(value: Value) -> Value:
    if isinstance(value, str):
        try:
            seconds(value)
        except ValueError:
            pass
        else:
            return value
    raise ValueError(f"{shown(value)} is not a duration; write one such as 30s, 1m30s or 500ms")


def _integer(value: Value) -> Value:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 12:
        return int(value)
    raise ValueError(f"{shown(value)} is not a whole number; write one such as 3")


def _number(value: Value) -> Value:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        number = float(value) if isinstance(value, str) else float("nan")
    except ValueError:
        number = float("nan")
    if number - number != 0:  # not a number, or without end
        raise ValueError(f"{shown(value)} is not a number; write one such as 1.5")
    return number


def _percents(value: Value) -> Value:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, tuple) else ()
    found: list[int] = []
    for part in parts:
        whole = part.strip() if isinstance(part, str) else part
        if isinstance(whole, str) and whole.isascii() and whole.isdigit() and len(whole) <= 3:
            whole = int(whole)
        if not isinstance(whole, int) or isinstance(whole, bool):
            found = []
            break
        found.append(whole)
    rising = all(a < b for a, b in pairwise(found))
    if not found or not rising or not all(1 <= each <= 100 for each in found):
        raise ValueError(f"{shown(value)} is no list of rising percents; write one such as 5,25,50,100")
    return tuple(found)


def _boolean(value: Value) -> Value:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f"{shown(value)} is neither true nor false; write one of them")
