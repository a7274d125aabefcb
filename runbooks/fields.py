"""The kinds of value that fields of a runbook take: each says what is wrong and the cure, and has a JSON Schema."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator, StrictInt, WithJsonSchema

from orchestrator.config import fields as f
from orchestrator.config.fields import seconds, spoken
from runbooks.model import Value

LONGEST_S = 7 * 86400.0


def _span(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        f.say(f"{value} has no unit; write {value}s if seconds are meant")
    if not isinstance(value, str):
        f.say(f"{f.quoted(value)} is not a duration; write one such as 30s, 1m30s or 500ms")
    try:
        span = seconds(value)
    except ValueError:
        f.say(f"'{value}' is not a duration; write one such as 30s, 1m30s or 500ms")
    if span > LONGEST_S:
        f.say(f"{value} is longer than the {spoken(LONGEST_S)} that a step may take; shorten it")
    return span


def _budget(value: object) -> float:
    span = _span(value)
    if span <= 0:
        f.say(f"{value} leaves no time to do anything; write how long it may take, such as 30s")
    return span


def _stages(value: object) -> tuple[int, ...]:
    numbers = value if isinstance(value, list | tuple) else None
    whole = numbers is not None and all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
    if not numbers or not whole:
        f.say(f"{f.quoted(value)} is no list of whole percents; write them like [5, 25, 50, 100]")
    if any(not 1 <= n <= 100 for n in numbers) or any(b <= a for a, b in pairwise(numbers)):
        f.say("the stages are percents of the move, from 1 to 100 and rising; write them like [5, 25, 50, 100]")
    return tuple(numbers)


def frozen(value: object) -> Value:
    """A parameter's value as it stands in a file, as a frozen one."""
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, str | int | float | bool | tuple) else str(value)


def _given(value: object) -> Value:
    whole = isinstance(value, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in value)
    if not whole and not isinstance(value, str | int | float):
        f.say(f"{f.quoted(value)} is no value of a parameter; write text, a number, true, false or whole percents")
    return frozen(value)


_DURATION = WithJsonSchema({"type": "string", "pattern": f"^{f.DURATION.pattern}$", "examples": ["30s", "1m30s"]})
Seconds = Annotated[float, BeforeValidator(_span), _DURATION]
Budget = Annotated[float, BeforeValidator(_budget), _DURATION]
Count = Annotated[StrictInt, Field(ge=1, le=100)]
Again = Annotated[StrictInt, Field(ge=0, le=99)]
_PERCENTS = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 100}, "minItems": 1}
Stages = Annotated[tuple[int, ...], BeforeValidator(_stages), WithJsonSchema({**_PERCENTS, "examples": [[5, 25, 50]]})]
Given = Annotated[
    Value,
    PlainValidator(_given),
    WithJsonSchema(
        {"anyOf": [{"type": ["string", "number", "boolean"]}, {"type": "array", "items": {"type": "integer"}}]}
    ),
]
LONGEST_NAME = 40
Name = Annotated[str, Field(pattern=rf"^[a-z][a-z0-9-]{{0,{LONGEST_NAME - 1}}}$")]
Percent = Annotated[float, Field(ge=0, le=100)]
