"""From pydantic's errors to mistakes: the place in the file, the path, and a sentence with its cure."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config.document import Document, Key, Trail
from orchestrator.config.fields import SAID, quoted
from orchestrator.config.mistakes import Mistake, did_you_mean
from orchestrator.core.names import nearest

M = TypeVar("M", bound=BaseModel)


def check(model: type[M], document: Document) -> tuple[M | None, tuple[Mistake, ...]]:
    """*document* as *model*, or None and everything that is wrong with its shape."""
    try:
        return model.model_validate(document.data), ()
    except ValidationError as error:
        found = error.errors(include_url=False)
    mistakes = []
    for details in found:
        trail, at_key = _trail(document.data, details["loc"])
        match details["type"]:
            case "missing" if not _misspelt(model, document, trail, str(details["loc"][-1])):
                mistakes.append(_missing(model, document, trail, str(details["loc"][-1])))
            case "missing":
                pass
            case "extra_forbidden":
                close = did_you_mean(str(trail[-1]), field_names(model, trail[:-1]))
                cure = f"correct it{close}" if "mean" in close else f"remove it{close}"
                mistakes.append(document.mistake(trail, f"unknown field; {cure}", key=True))
            case _:
                mistakes.append(document.mistake(trail, _sentence(details), key=at_key))
    return None, tuple(mistakes)


def _absent(model: type[BaseModel], document: Document, trail: Trail) -> set[str]:
    """Fields that the mapping at *trail* may have and has not."""
    return field_names(model, trail) - set(_mapping_at(document.data, trail))


def _misspelt(model: type[BaseModel], document: Document, trail: Trail, name: str) -> bool:
    """Whether an unknown field of the mapping is *name* with a slip: then that is the mistake, not its absence."""
    given = set(_mapping_at(document.data, trail))
    absent = _absent(model, document, trail)
    return any(nearest(other, absent) == name for other in given - field_names(model, trail))


def _missing(model: type[BaseModel], document: Document, trail: Trail, name: str) -> Mistake:
    line, column = document.place(trail)
    about = field_of(model, trail, name)
    return Mistake(document.name, line, column, document.show((*trail, name)), f"is missing; add it{about}")


def _trail(data: Any, loc: tuple[int | str, ...]) -> tuple[Trail, bool]:
    """*loc* without the steps that are pydantic's own (union arms, tags), and whether a key is meant."""
    trail: list[Key] = []
    for step in loc:
        if isinstance(data, list):
            known = isinstance(step, int) and 0 <= step < len(data)
        else:
            known = isinstance(data, Mapping) and step in data
        if known:
            data = data[step]
            trail.append(step)
    return tuple(trail), bool(loc) and loc[-1] == "[key]"


def _mapping_at(data: Any, trail: Trail) -> Mapping[str, object]:
    for step in trail:
        data = data[step]
    return data if isinstance(data, Mapping) else {}


def _model_at(model: type[BaseModel], trail: Trail) -> type[BaseModel] | None:
    """The model that describes the mapping at *trail*, walking through lists and optional parts."""
    here: type[BaseModel] | None = model
    by_name = False
    for step in trail:
        if isinstance(step, int) or by_name:
            # The items of a mapping by name are all of one model, as those of a list are.
            by_name = False
            continue
        if here is None:
            return None
        fields = {info.alias or name: info.annotation for name, info in here.model_fields.items()}
        here, by_name = _model_in(fields.get(step)), get_origin(fields.get(step)) is dict
    return here


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, types.UnionType, list, dict, Annotated}:
        return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
    return None


def field_names(model: type[BaseModel], trail: Trail) -> set[str]:
    """The fields that the mapping at *trail* may have; empty where no model describes it."""
    here = _model_at(model, trail)
    return {info.alias or name for name, info in here.model_fields.items()} if here else set()


def field_of(model: type[BaseModel], trail: Trail, name: str) -> str:
    """``: what the field is``, from its description, or nothing."""
    here = _model_at(model, trail)
    for own, info in (here.model_fields if here else {}).items():
        if (info.alias or own) == name and info.description:
            sentence = info.description.split(". ")[0].rstrip(".").replace("`", "'")
            return f" ({sentence[0].lower()}{sentence[1:]})"
    return ""


_WANTED = {
    "string_type": ("text", "put quotes around it"),
    "int_type": ("a whole number", "write one without quotes"),
    "int_from_float": ("a whole number", "write it with digits alone"),
    "float_type": ("a number", "write one without quotes"),
    "float_parsing": ("a number", "write one like 0.1"),
    "bool_type": ("true or false", "write one of them without quotes"),
    "list_type": ("a list", "begin each item with '- ' or write [a, b]"),
    "dict_type": ("a mapping of names to values", "write 'name: value' lines under it"),
    "model_type": ("a mapping of fields", "write 'name: value' lines under it"),
    "model_attributes_type": ("a mapping of fields", "write 'name: value' lines under it"),
}


def _sentence(details: ErrorDetails) -> str:
    kind, given, limits = details["type"], details["input"], details.get("ctx", {})
    if kind == SAID:
        said = str(limits["text"])
    elif given is None:
        said = "is empty; give it a value, or remove the field"
    elif kind in _WANTED:
        wanted, cure = _WANTED[kind]
        if kind == "int_type" and isinstance(given, float):
            cure = "write it with digits alone"
        said = f"must be {wanted}, not {quoted(given)}; {cure}"
    elif kind == "literal_error":
        choices = str(limits["expected"]).replace("'", "")
        close = did_you_mean(str(given), choices.replace(" or ", ", ").split(", ")) if isinstance(given, str) else ""
        said = f"must be {choices}, not {quoted(given)}; correct it{close if 'mean' in close else ''}"
    else:
        said = _bounds(kind, given, limits) or f"{details['msg'][:1].lower()}{details['msg'][1:]}; correct it"
    return said


def _bounds(kind: str, given: object, limits: Mapping[str, Any]) -> str | None:
    match kind:
        case "greater_than_equal":
            return f"{given} is too small; write {limits['ge']:,} or more"
        case "less_than_equal":
            return f"{given} is too large; write {limits['le']:,} or less"
        case "finite_number":
            return f"{given} is no number to use here; write one like 0.1"
        case "too_short":
            return "is empty; write at least one item"
        case "too_long":
            return f"has more than {limits['max_length']} items; leave some out"
        case _:
            return None
