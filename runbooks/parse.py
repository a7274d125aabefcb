"""Runbook files: YAML text to a template and to runbooks, or every mistake in it at once, with place and cure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config.document import Document, Key, Trail, compose
from orchestrator.config.fields import SAID
from orchestrator.config.mistakes import Mistake, Mistakes, did_you_mean
from orchestrator.core.errors import BadInput
from orchestrator.core.names import nearest
from runbooks.model import API_VERSION, KIND, Parameter, ParameterType, Runbook, StepType, Value
from runbooks.plan import OnFailure, OnSilence, When
from runbooks.schemas import STEPS, BookSchema, MetadataSchema, ParameterSchema, frozen
from runbooks.sense import senseless
from runbooks.values import fitting, said_as, sample

PARAM = "param"
"""``{param: NAME}`` stands for the value of a parameter, in any place where a value may stand."""


@dataclass(frozen=True, slots=True)
class Template:
    """A runbook file that has been read: sound for the defaults of its parameters, and bound to values later."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    text: str
    """The file's text."""
    file: str


def read(text: str, file: str) -> Template:
    """The template that *text* describes; *file* stands in mistakes. Raises Mistakes, all of them at once.

    It is checked with the defaults of its parameters, and with an example where one has no default.
    """
    document = compose(text, file)
    mistakes = list(document.slips)
    if not isinstance(document.data, dict):
        raise Mistakes(
            [*mistakes, document.mistake((), f"a runbook is a mapping; begin with 'apiVersion: {API_VERSION}'")]
        )
    parameters, wrong = _parameters(document)
    mistakes += wrong
    examples = {each.name: sample(each.type) if each.default is None else each.default for each in parameters}
    bound, unknown = _bound(document, examples)
    book, slips = _validated(bound)
    mistakes += [*unknown, *slips, *senseless(bound)]
    if mistakes or book is None:
        raise Mistakes(mistakes)
    return Template(book.metadata.name, book.description.strip(), parameters, text, file)


def parse(text: str, file: str) -> Runbook:
    """The runbook that *text* describes, with the defaults of its parameters. Raises Mistakes and BadInput."""
    return bind(read(text, file))


def bind(template: Template, values: Mapping[str, Value] = MappingProxyType({})) -> Runbook:
    """*template* with *values* for its parameters, the defaults for the others.

    A value may be text as a person types it: ``4``, ``5,25,100``, ``true``. Raises BadInput for a value that no
    parameter takes, that does not fit or that is missing, and Mistakes where a step cannot use it.
    """
    where = f"runbook '{template.name}'"
    known = [each.name for each in template.parameters]
    for name in values:
        if name not in known:
            raise BadInput(f"{where} has no parameter '{name}'{did_you_mean(name, known)}; choose one that it has")
    chosen: dict[str, Value] = {}
    for each in template.parameters:
        if each.name in values:
            try:
                chosen[each.name] = fitting(values[each.name], each.type)
            except ValueError as error:
                raise BadInput(f"parameter '{each.name}' of {where}: {error}") from None
        elif each.default is None:
            raise BadInput(
                f"{where} needs a value for its parameter '{each.name}' ({each.description or each.type}); "
                f"give one with: --set {each.name}={said_as(sample(each.type))}"
            )
        else:
            chosen[each.name] = each.default
    document, _ = _bound(compose(template.text, template.file), chosen)
    book, mistakes = _validated(document)
    mistakes += senseless(document)
    if mistakes or book is None:
        raise Mistakes(mistakes)
    return Runbook(
        name=template.name,
        description=template.description,
        steps=tuple(each.step() for each in book.steps),
        parameters=template.parameters,
        values=tuple(sorted(chosen.items())),
    )


def schema() -> dict[str, Any]:  # JSON Schema is plain data
    """JSON Schema of a runbook file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **BookSchema.model_json_schema()}


def _validated(document: Document) -> tuple[BookSchema | None, list[Mistake]]:
    try:
        return BookSchema.model_validate(document.data), []
    except ValidationError as error:
        return None, [_told(document, each) for each in error.errors(include_url=False)]


# ------------------------------------------------------------------ parameters


def _parameters(document: Document) -> tuple[tuple[Parameter, ...], list[Mistake]]:
    """The parameters that can be understood, and what is wrong with the defaults."""
    found: list[Parameter] = []
    mistakes: list[Mistake] = []
    written = document.data.get("parameters")
    for name, said in written.items() if isinstance(written, dict) else ():
        try:
            shape = ParameterSchema.model_validate(said)
        except ValidationError:
            continue  # told with the rest of the document
        default: Value | None = None
        if shape.default is not None:
            try:
                default = fitting(frozen(shape.default), shape.type)
            except ValueError as error:
                mistakes.append(document.mistake(("parameters", name, "default"), str(error)))
        found.append(Parameter(str(name), shape.type, default, shape.description))
    used = set(_used(document.data.get("steps")))
    mistakes += [
        document.mistake(("parameters", each.name), f"no step uses '{each.name}'; remove it", key=True)
        for each in found
        if each.name not in used
    ]
    return tuple(found), mistakes


def _used(data: object) -> Iterator[str]:
    """The names of the parameters that *data* refers to."""
    match data:
        case {"param": str(name), **rest} if not rest:
            yield name
        case dict():
            for value in data.values():
                yield from _used(value)
        case list():
            for value in data:
                yield from _used(value)
        case _:
            return


def _bound(document: Document, values: Mapping[str, Value]) -> tuple[Document, list[Mistake]]:
    """*document* with the values of the parameters in their places, and references to none that there is."""
    mistakes: list[Mistake] = []

    def put(data: object, trail: Trail) -> object:
        if isinstance(data, dict) and set(data) == {PARAM}:
            name = data[PARAM]
            if isinstance(name, str) and name in values:
                value = values[name]
                return list(value) if isinstance(value, tuple) else value
            if name not in (document.data.get("parameters") or {}):
                text = f"no parameter is called '{name}'{did_you_mean(str(name), values)}; add it under parameters"
                mistakes.append(document.mistake(trail, text))
            return data
        if isinstance(data, dict):
            return {key: put(value, (*trail, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [put(value, (*trail, index)) for index, value in enumerate(data)]
        return data

    data = {key: put(value, (key,)) if key == "steps" else value for key, value in document.data.items()}
    return replace(document, data=data), mistakes


# ------------------------------------------------------------------ what pydantic found, in words


def _told(document: Document, error: ErrorDetails) -> Mistake:
    trail = _trail(document, error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        known = _fields(document, trail[:-1])
        return document.mistake(trail, f"unknown field '{trail[-1]}'{did_you_mean(str(trail[-1]), known)}", key=True)
    if kind == "missing":
        return document.mistake(trail[:-1], f"'{trail[-1]}' is missing; add it")
    if kind == "union_tag_not_found":
        return document.mistake(trail, f"'type' is missing; add one of: {', '.join(StepType)}")
    if kind == "union_tag_invalid":
        said = str(_at(document.data, trail)["type"])
        return document.mistake((*trail, "type"), f"no step is of type '{said}'{did_you_mean(said, StepType)}")
    return document.mistake(trail, _sentence(kind, error, trail[-1] if trail else ""))


def _trail(document: Document, where: Iterable[Key]) -> Trail:
    """Where pydantic found it, in the file: it names a step's type between the index and the field."""
    trail: list[Key] = []
    data: object = document.data
    in_steps = False
    for key in where:
        if in_steps and isinstance(data, dict) and key == data.get("type") and key in STEPS:
            in_steps = False
            continue
        in_steps = isinstance(key, int) and isinstance(data, list)
        trail.append(key)
        try:
            data = data[key]  # type: ignore[index]  # plain YAML data: what does not fit is caught
        except (KeyError, IndexError, TypeError):
            data = None
    return tuple(trail)


def _at(data: Any, trail: Trail) -> Any:  # plain YAML data has no better type
    for key in trail:
        data = data[key]
    return data


_WORDS: Mapping[str, str] = MappingProxyType(
    {
        SAID: "{text}",
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
_CHOICES: Mapping[str, list[str]] = MappingProxyType(
    {
        "when": [str(each) for each in When],
        "on_failure": list(get_args(OnFailure)),
        "on_timeout": list(get_args(OnSilence)),
        "type": [str(each) for each in ParameterType],
    }
)


def _expected(error: ErrorDetails) -> list[str]:
    """The words that pydantic would have taken."""
    said = str(error.get("ctx", {}).get("expected", ""))
    return [each.strip(" '") for each in said.replace(" or ", ", ").split(",")]


def _sentence(kind: str, error: ErrorDetails, field: Key) -> str:
    said = _shown(error["input"])
    if field in {"apiVersion", "kind"}:
        wanted = API_VERSION if field == "apiVersion" else KIND
        return f"{said} is not what this program reads; write {wanted}"
    if kind in {"literal_error", "enum"}:
        known = _CHOICES.get(str(field)) or [str(each) for each in _expected(error)]
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
    schema: Any = BookSchema  # a class of pydantic's, followed down the trail
    if trail == ("metadata",):
        schema = MetadataSchema
    elif trail[:1] == ("parameters",):
        schema = ParameterSchema
    elif trail:
        inner = [key for key in trail if isinstance(key, str)]
        step = next(t for t in (trail[:n] for n in range(len(trail), 0, -1)) if isinstance(t[-1], int))
        schema = STEPS[_at(document.data, step)["type"]]
        for key in trail[len(step) :] if inner else ():
            names = get_args(schema.model_fields[key].annotation) or (schema.model_fields[key].annotation,)
            schema = next(each for each in names if hasattr(each, "model_fields"))
    return [field.alias or name for name, field in schema.model_fields.items()]
