"""Runbook files: YAML text to a Runbook, or every mistake in it at once, each with its place and its cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from orchestrator.config.document import Document, Key, Trail, compose
from orchestrator.config.fields import seconds, spoken
from orchestrator.config.mistakes import Mistake, Mistakes, did_you_mean
from orchestrator.core.names import nearest
from runbooks.model import (
    API_VERSION,
    DEFAULTS,
    KIND,
    BookStep,
    ConvergeTask,
    DemoteTask,
    DrainTask,
    PromoteTask,
    Runbook,
    SteerTask,
    StepType,
    Task,
    VerifyTask,
    When,
)
from runbooks.plan import OnFailure

LONGEST_S = 7 * 86400.0


def _wrong(text: str) -> PydanticCustomError:
    return PydanticCustomError("ours", "{text}", {"text": text})


def _span(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _wrong(f"{value} has no unit; write {value}s if seconds are meant")
    if not isinstance(value, str):
        raise _wrong(f"{_shown(value)} is not a duration; write one such as 30s, 1m30s or 500ms")
    try:
        span = seconds(value)
    except ValueError:
        raise _wrong(f"'{value}' is not a duration; write one such as 30s, 1m30s or 500ms") from None
    if span > LONGEST_S:
        raise _wrong(f"{value} is longer than the {spoken(LONGEST_S)} that a step may take; shorten it")
    return span


_Seconds = Annotated[float, BeforeValidator(_span, json_schema_input_type=str)]
_Count = Annotated[StrictInt, Field(ge=1, le=100)]
_Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Step(_Schema):
    id: _Id
    timeout: _Seconds | None = None
    attempts: _Count | None = None
    when: When = When.ALWAYS
    on_failure: OnFailure | None = None
    enabled: StrictBool = True

    def task(self) -> Task:
        raise NotImplementedError


class _Promote(_Step):
    type: Literal["promote"]
    replicas: Annotated[StrictInt, Field(ge=1)] | None = None

    def task(self) -> Task:
        return PromoteTask(self.replicas)


class _Verify(_Step):
    type: Literal["verify"]
    passes: _Count = VerifyTask().passes

    def task(self) -> Task:
        return VerifyTask(self.passes)


class _Steer(_Step):
    type: Literal["steer"]

    def task(self) -> Task:
        return SteerTask()


class _Converge(_Step):
    type: Literal["converge"]

    def task(self) -> Task:
        return ConvergeTask()


class _Drain(_Step):
    type: Literal["drain"]

    def task(self) -> Task:
        return DrainTask()


class _Demote(_Step):
    type: Literal["demote"]
    bake: _Seconds = DemoteTask().bake_s

    def task(self) -> Task:
        return DemoteTask(self.bake)


class _Metadata(_Schema):
    name: _Id


_AnyStep = Annotated[_Promote | _Verify | _Steer | _Converge | _Drain | _Demote, Field(discriminator="type")]
_STEPS: Mapping[str, type[_Step]] = MappingProxyType(
    {"promote": _Promote, "verify": _Verify, "steer": _Steer, "converge": _Converge, "drain": _Drain, "demote": _Demote}
)


class _Book(_Schema):
    apiVersion: Literal["failover/v1"]  # noqa: N815  the file's own field name
    kind: Literal["Runbook"]
    metadata: _Metadata
    description: str = ""
    steps: tuple[_AnyStep, ...]


def parse(text: str, file: str) -> Runbook:
    """The runbook that *text* describes; *file* stands in mistakes. Raises Mistakes, all of them at once."""
    document = compose(text, file)
    mistakes = list(document.slips)
    if not isinstance(document.data, dict):
        raise Mistakes(
            [*mistakes, document.mistake((), f"a runbook is a mapping; begin with 'apiVersion: {API_VERSION}'")]
        )
    book: _Book | None = None
    try:
        book = _Book.model_validate(document.data)
    except ValidationError as error:
        mistakes += [_told(document, each) for each in error.errors(include_url=False)]
    mistakes += _senseless(document)
    if mistakes or book is None:
        raise Mistakes(mistakes)
    return Runbook(book.metadata.name, book.description.strip(), tuple(_step(each) for each in book.steps))


def schema() -> dict[str, Any]:  # JSON Schema is plain data
    """JSON Schema of a runbook file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_Book.model_json_schema()}


def _step(said: _Step) -> BookStep:
    task = said.task()
    usual = DEFAULTS[task.type]
    return BookStep(
        id=said.id,
        task=task,
        timeout_s=usual.timeout_s if said.timeout is None else said.timeout,
        attempts=usual.attempts if said.attempts is None else said.attempts,
        on_failure=usual.on_failure if said.on_failure is None else said.on_failure,
        when=said.when,
        enabled=said.enabled,
    )


# ------------------------------------------------------------------ what pydantic found, in words


def _told(document: Document, error: ErrorDetails) -> Mistake:
    trail: Trail = tuple(error["loc"])
    if len(trail) > 2 and trail[0] == "steps":
        trail = (*trail[:2], *trail[3:])  # pydantic names the step's type between the index and the field
    kind = error["type"]
    if kind == "extra_forbidden":
        known = _fields(document, trail[:-1])
        return document.mistake(trail, f"unknown field '{trail[-1]}'{did_you_mean(str(trail[-1]), known)}", key=True)
    if kind == "missing":
        return document.mistake(trail[:-1], f"'{trail[-1]}' is missing; add it")
    if kind == "union_tag_not_found":
        return document.mistake(trail, f"'type' is missing; add one of: {', '.join(StepType)}")
    if kind == "union_tag_invalid":
        said = str(document.data["steps"][trail[1]]["type"])
        return document.mistake((*trail, "type"), f"no step is of type '{said}'{did_you_mean(said, StepType)}")
    return document.mistake(trail, _sentence(kind, error, trail[-1] if trail else ""))


_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "ours": "{text}",
        "string_pattern_mismatch": "{said} cannot be a name; use lower-case letters, digits and -, a letter first",
        "greater_than_equal": "{said} is too small; write {ge} or more",
        "less_than_equal": "{said} is too large; write {le} or less",
        "int_type": "{said} is not a whole number; write one without quotes",
        "bool_type": "{said} is neither true nor false; write one of them",
        "string_type": "{said} is not text; write text, in quotes if need be",
        "tuple_type": "{said} is not a list; begin each step with '- '",
        "model_type": "{said} stands where fields are expected; write 'name: value' lines",
        "model_attributes_type": "{said} stands where fields are expected; write 'name: value' lines",
    }
)
"""What pydantic's error types are in our words."""


def _sentence(kind: str, error: ErrorDetails, field: Key) -> str:
    said = _shown(error["input"])
    if field in {"apiVersion", "kind"}:
        wanted = API_VERSION if field == "apiVersion" else KIND
        return f"{said} is not what this program reads; write {wanted}"
    if kind in {"literal_error", "enum"}:
        known = [str(each) for each in (When if field == "when" else get_args(OnFailure))]
        close = nearest(str(error["input"]), known)
        return f"{said} is not known{f' (did you mean {close!r}?)' if close else ''}; choose {' | '.join(known)}"
    context = {**error.get("ctx", {}), "said": said}
    return _WORDS[kind].format_map(context) if kind in _WORDS else f"{error['msg'].lower()}; mend it"


def _shown(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}'"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return str(value)


def _fields(document: Document, trail: Trail) -> list[str]:
    """The fields that may stand in the mapping at *trail*."""
    if trail == ():
        return list(_Book.model_fields)
    if trail == ("metadata",):
        return list(_Metadata.model_fields)
    return list(_STEPS[document.data["steps"][trail[1]]["type"]].model_fields)


# ------------------------------------------------------------------ what no schema says

_NEVER = MappingProxyType(
    {
        ("demote", "rollback"): "capacity that is given back may not come back, so demote has no way back; "
        "choose halt or continue",
        ("steer", "continue"): "when steer fails, no later step makes sense; choose rollback or halt",
    }
)
"""Rules for failures that a type of step cannot have."""
_AFTER_STEER = frozenset({"converge", "drain", "demote"})
_BEFORE_STEER = frozenset({"promote"})


def _senseless(document: Document) -> Iterator[Mistake]:
    """Mistakes that each step alone does not show. Works on what was written, however wrong the rest is."""
    steps = document.data.get("steps")
    if not isinstance(steps, list):
        return
    if not steps:
        yield document.mistake(("steps",), "no steps are given; add at least one of type steer")
    written = [(index, step) for index, step in enumerate(steps) if isinstance(step, dict)]
    yield from _twice(document, written)
    for index, step in written:
        text = _NEVER.get((str(step.get("type")), str(step.get("on_failure"))))
        if text:
            yield document.mistake(("steps", index, "on_failure"), text)
    if any(str(step.get("type")) not in _STEPS for _, step in written):
        return  # a type that is misspelt would look like a step that is missing
    told: set[int] = set()
    for planned in (False, True):
        taken = [
            (index, str(step.get("type")))
            for index, step in written
            if step.get("enabled", True) is not False and step.get("when", "always") in _whens(planned=planned)
        ]
        for index, text in _misplaced(taken, "planned" if planned else "unplanned"):
            if index not in told:
                told.add(index)
                yield document.mistake(("steps", index) if index >= 0 else ("steps",), text)


def _whens(*, planned: bool) -> tuple[str, ...]:
    return tuple(when.value for when in When if when.holds(planned=planned))


def _twice(document: Document, written: list[tuple[int, dict[str, Any]]]) -> Iterator[Mistake]:
    first: dict[str, int] = {}
    for index, step in written:
        name = step.get("id")
        if not isinstance(name, str):
            continue
        if name in first:
            line, _ = document.place(("steps", first[name], "id"))
            yield document.mistake(
                ("steps", index, "id"), f"'{name}' is the id of the step in line {line} too; rename one"
            )
        first.setdefault(name, index)


def _misplaced(taken: list[tuple[int, str]], moves: str) -> Iterator[tuple[int, str]]:
    """Steps of one kind of move that stand in a place where they make no sense; -1 means the list itself."""
    steers = [index for index, kind in taken if kind == "steer"]
    if taken and not steers:
        yield -1, f"no step steers in {moves} moves, so no traffic would move; add a step of type steer"
    for index in steers[1:]:
        yield index, f"a second steer in {moves} moves; one write moves the traffic, remove this one"
    for index, kind in taken:
        if steers and kind in _AFTER_STEER and index < steers[0]:
            yield index, f"{kind} stands before steer, when traffic has not moved; put it after"
        if steers and kind in _BEFORE_STEER and index > steers[0]:
            yield index, f"{kind} stands after steer, when traffic has arrived already; put it before"
