"""Runbook files: YAML text to a template and to runbooks, or every mistake in it at once, with place and cure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config.document import Document, Key, Trail, compose
from orchestrator.config.fields import SAID, quoted
from orchestrator.config.mistakes import Mistake, Mistakes, did_you_mean, shown
from orchestrator.core.errors import BadInput
from orchestrator.core.names import nearest
from runbooks.fields import LONGEST_NAME, frozen
from runbooks.model import API_VERSION, KIND, Parameter, ParameterType, Runbook, StepType, Value
from runbooks.plan import OnFailure, OnSilence, When
from runbooks.schemas import STEPS, BookSchema, MetadataSchema, ParameterSchema
from runbooks.sense import senseless
from runbooks.values import fitting, said_as, sample

START = "begin with one that 'failover runbook show NAME' prints"
"""How a runbook's file is begun."""
PARAM = "param"
"""``{param: NAME}`` stands for the value of a parameter, in any place where a value may stand."""


@dataclass(frozen=True, slots=True)
class Template:
    """A runbook file that has been read: sound for the defaults of its parameters, and bound to values later."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    data: str
    """What the file says, as JSON: workflows bind it to values, and read no YAML."""
    file: str
    text: str = ""
    """The file's text, for the places of mistakes; empty where it was packed."""


def read(text: str, file: str) -> Template:
    """The template that *text* describes; *file* stands in mistakes. Raises Mistakes, all of them at once.

    It is checked with the defaults of its parameters, and with an example where one has no default.
    """
    document = compose(text, file, start=START)
    mistakes = list(document.slips)
    if not isinstance(document.data, dict):
        raise Mistakes(
            [*mistakes, document.mistake((), f"a runbook is a mapping; begin with 'apiVersion: {API_VERSION}'")]
        )
    parameters, wrong = _parameters(document)
    mistakes += wrong
    examples = {each.name: sample(each.type) if each.default is None else each.default for each in parameters}
    bound = _bound(document, examples)
    # An example proves nothing: what a step makes of the value that will be given is seen when it is given.
    open_ = {each.name for each in parameters if each.default is None}
    slipped = {(slip.line, slip.column) for slip in document.slips}
    found = [*bound.unknown, *bound.mistakes(leaving=open_)]
    # What cannot be read stands as something else in the document: told of once is enough.
    mistakes += [each for each in found if (each.line, each.column) not in slipped]
    if mistakes:
        raise Mistakes(mistakes)
    said = str(document.data.get("description", "")).strip()
    return Template(document.data["metadata"]["name"], said, parameters, json.dumps(document.data), file, text)


def unpacked(data: str, file: str) -> Template:
    """The template whose ``data`` that is, of the file of that name. It was sound when it was read."""
    document = _document(data, file)
    parameters, _ = _parameters(document)
    said = str(document.data.get("description", "")).strip()
    return Template(document.data["metadata"]["name"], said, parameters, data, file)


def _document(data: str, file: str) -> Document:
    return Document(file, json.loads(data), MappingProxyType({}), MappingProxyType({}))


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
    bound = _bound(_document(template.data, template.file), chosen)
    if mistakes := bound.mistakes():
        raise Mistakes(_bound(compose(template.text, template.file), chosen).mistakes() if template.text else mistakes)
    book = BookSchema.model_validate(bound.document.data)
    return Runbook(
        name=template.name,
        description=template.description,
        steps=tuple(each.step() for each in book.steps),
        parameters=template.parameters,
        values=tuple(sorted(chosen.items())),
    )


@dataclass(frozen=True, slots=True)
class _Bound:
    """A document with values in the places of its parameters."""

    document: Document
    places: tuple[tuple[Trail, str], ...]
    """Where which parameter was put."""
    unknown: tuple[Mistake, ...]
    """References to parameters that there are not."""

    def mistakes(self, *, leaving: Collection[str] = ()) -> list[Mistake]:
        """What is wrong, but for what the values of the parameters *leaving* are to blame for."""
        found = [*self._misfits(), *senseless(self.document)]
        told: list[Mistake] = []
        for trail, mistake in found:
            of = next((name for place, name in self.places if trail[: len(place)] == place), None)
            if of is None:
                told.append(mistake)
            elif of not in leaving and of:
                told.append(replace(mistake, text=f"{mistake.text} (it is the value of parameter '{of}')"))
        return told

    def _misfits(self) -> Iterator[tuple[Trail, Mistake]]:
        try:
            BookSchema.model_validate(self.document.data)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                # A list whose only item is wrong is told of once, not as an empty one too.
                if not (each["type"] == "too_short" and each["input"]):
                    yield _told(self.document, each)


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
                default = fitting(_plain(shape.default), shape.type)
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


def _plain(value: object) -> Value:
    """*value* as a default holds it. Raises ValueError for what no parameter can be."""
    if isinstance(value, dict):
        raise ValueError("a mapping is no value of a parameter; write text, a number, true, false or whole percents")
    return frozen(value)


def _used(data: object) -> Iterator[str]:
    """The names of the parameters that *data* refers to."""
    match data:
        case {"param": str(name), **rest}:
            yield name
            yield from _used(rest)
        case dict():
            for value in data.values():
                yield from _used(value)
        case list():
            for value in data:
                yield from _used(value)
        case _:
            return


def _bound(document: Document, values: Mapping[str, Value]) -> _Bound:
    """*document* with the values of the parameters in their places."""
    written = document.data.get("parameters")
    named = [*written] if isinstance(written, dict) else []
    places: list[tuple[Trail, str]] = []
    mistakes: list[Mistake] = []

    def put(data: object, trail: Trail) -> object:
        if isinstance(data, dict) and set(data) == {PARAM}:
            name = data[PARAM]
            known = isinstance(name, str) and name in values
            # What stands for nothing is told once, not also as a mapping in a wrong place.
            places.append((trail, name if known else ""))
            if known:
                value = values[name]
                return list(value) if isinstance(value, tuple) else value
            if name not in named:
                text = f"no parameter is called {quoted(name)}{did_you_mean(str(name), named)}; add it under parameters"
                mistakes.append(document.mistake(trail, text))
            return data
        if isinstance(data, dict):
            return {key: put(value, (*trail, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [put(value, (*trail, index)) for index, value in enumerate(data)]
        return data

    data = {key: put(value, (key,)) if key == "steps" else value for key, value in document.data.items()}
    return _Bound(replace(document, data=data), tuple(places), tuple(mistakes))


# ------------------------------------------------------------------ what pydantic found, in words


def _told(document: Document, error: ErrorDetails) -> tuple[Trail, Mistake]:
    """Where, and the mistake."""
    trail = _trail(document, error["loc"])
    kind = error["type"]
    if trail[-1:] == ("[key]",):
        return trail[:-1], document.mistake(trail[:-1], _sentence(kind, error, ""), key=True)
    if kind == "extra_forbidden":
        known = _fields(document, trail[:-1])
        text = f"unknown field '{shown(str(trail[-1]))}'{did_you_mean(str(trail[-1]), known)}"
        return trail, document.mistake(trail, text, key=True)
    if kind == "missing":
        return trail, document.mistake(trail[:-1], f"'{trail[-1]}' is missing; add it")
    if kind == "union_tag_not_found":
        return trail, document.mistake(trail, f"'type' is missing; add one of: {', '.join(StepType)}")
    if kind == "union_tag_invalid":
        said, here = str(_at(document.data, trail)["type"]), (*trail, "type")
        return here, document.mistake(here, f"no step is of type {quoted(said)}{did_you_mean(said, StepType)}")
    field = next((key for key in reversed(trail) if isinstance(key, str)), "")
    if field == "branches" and isinstance(trail[-1], int):
        field = "branch"
    return trail, document.mistake(trail, _sentence(kind, error, field))


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
        "tuple_type": "{said} is not a list; write one like [a, b]",
        "dict_type": "{said} stands where fields are expected; write 'name: value' lines",
        "float_type": "{said} is not a number; write one such as 1.5",
        "float_parsing": "{said} is not a number; write one such as 1.5",
        "too_short": "at least {min_length} belongs here; add what is missing",
        "too_long": "at most {max_length} may stand here; remove some",
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


def _closer(kind: str, given: object, said: str) -> str:
    """A sentence that fits better than that of the *kind* of error; empty where there is none."""
    if isinstance(given, dict) and isinstance(given.get(PARAM), str) and not kind.startswith("model"):
        return f"more than a parameter stands here; write {{{PARAM}: {shown(given[PARAM])}}}, and nothing beside it"
    if kind == "string_pattern_mismatch" and len(str(given)) > LONGEST_NAME:
        return f"{said} is longer than {LONGEST_NAME} characters; shorten it"
    return ""


def _sentence(kind: str, error: ErrorDetails, field: Key) -> str:
    said = "nothing" if error["input"] is None else quoted(error["input"])
    if closer := _closer(kind, error["input"], said):
        return closer
    if field in {"apiVersion", "kind"}:
        wanted = API_VERSION if field == "apiVersion" else KIND
        return f"{said} is not what this program reads; write {wanted}"
    if kind in {"literal_error", "enum"}:
        known = _CHOICES.get(str(field)) or [str(each) for each in _expected(error)]
        close = nearest(str(error["input"]), known)
        return f"{said} is not known{f' (did you mean {close!r}?)' if close else ''}; choose {' | '.join(known)}"
    if kind == "tuple_type" and field in {"steps", "branches"}:
        return f"{said} is not a list of {'steps' if field == 'steps' else 'branches'}; begin each with '- '"
    if kind == "tuple_type" and field == "branch":
        return f"{said} is not a list of steps, as each branch is; begin each step with '- '"
    context = {**error.get("ctx", {}), "said": said}
    return _WORDS[kind].format_map(context) if kind in _WORDS else f"{error['msg'].lower()}; mend it"


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
            info = schema.model_fields.get(key)
            names = (*get_args(info.annotation), info.annotation) if info is not None else ()
            schema = next((each for each in names if hasattr(each, "model_fields")), None)
            if schema is None:
                return []
    return [field.alias or name for name, field in schema.model_fields.items()]
