"""The JSON Schema of a runbook file for editors, and what docs/runbooks.md says of its fields, both from the model.

``python -m runbooks.reference docs/runbooks.md`` writes the library and the reference anew between their marks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.config.fields import DURATION, spoken
from orchestrator.core.errors import BadInput
from runbooks.books import LIBRARY
from runbooks.model import DEFAULTS, StepType
from runbooks.parse import PARAM
from runbooks.schemas import STEPS, AnalysisSchema, BookSchema, HookSchema, MetadataSchema, ParameterSchema, StepSchema
from runbooks.sense import HOLDERS, OF_ITS_STEPS
from runbooks.values import said_as

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
}
_PARTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", BookSchema),
    ("metadata", MetadataSchema),
    ("A parameter", ParameterSchema),
)
_WITHIN: tuple[tuple[str, type[BaseModel]], ...] = (("analysis", AnalysisSchema), ("hook", HookSchema))


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file. Any field of a step may also be ``{param: NAME}``."""
    made = BookSchema.model_json_schema()
    stand_in = {
        "type": "object",
        "description": "The value of a parameter.",
        "properties": {PARAM: {"type": "string"}},
        "required": [PARAM],
        "additionalProperties": False,
    }
    for name, part in made["$defs"].items():
        kind = part.get("properties", {}).get("type", {}).get("const")
        for field in OF_ITS_STEPS if kind in HOLDERS else ():
            part["properties"].pop(field, None)
        if name in {"MetadataSchema", "ParameterSchema"} or "properties" not in part:
            continue
        for field, node in part["properties"].items():
            if field not in {"id", "type", "branches"}:
                part["properties"][field] = _or_parameter(node)
    made["$defs"]["Param"] = stand_in
    _tidy(made)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A runbook"}
    return {**head, **{key: value for key, value in made.items() if key != "title"}}


def _or_parameter(node: dict[str, Any]) -> dict[str, Any]:
    """*node*, or a parameter in its place; what is told of it stays outside."""
    told: dict[str, Any] = {key: node[key] for key in ("description", "default", "title") if key in node}
    shape = {key: value for key, value in node.items() if key not in told}
    arms = shape["anyOf"] if set(shape) == {"anyOf"} else [shape]
    return {**told, "anyOf": [*deepcopy(arms), {"$ref": "#/$defs/Param"}]}


def _tidy(node: Any) -> None:  # a JSON Schema is plain data of any depth
    """No titles that say a field's name again; durations as people write them; no default where one is left out."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    if "default" in node and node["default"] in (None, [], {}, ()):
        del node["default"]
    if isinstance(node.get("default"), float) and _is_duration(node):
        node["default"] = spoken(node["default"])
    for value in node.values():
        _tidy(value)


def _is_duration(node: dict[str, Any]) -> bool:
    return any(arm.get("pattern") == f"^{DURATION.pattern}$" for arm in (node, *node.get("anyOf", [])))


# ------------------------------------------------------------------ the page


def library() -> str:
    """The runbooks of the library as a table."""
    lines = ["| runbook | what it is for | parameters |", "|---|---|---|"]
    for name, found in sorted(LIBRARY.items()):
        takes = (
            f"`{each.name}` (required)" if each.default is None else f"`{each.name}={said_as(each.default)}`"
            for each in found.parameters
        )
        lines.append(f"| `{name}` | {found.description} | {', '.join(takes)} |")
    return "\n".join(lines)


def fields() -> str:
    """Every field of a runbook file, in Markdown."""
    made = schema()
    lines: list[str] = []
    for heading, part in _PARTS:
        lines += _section(f"### {heading}", part, made)
    lines += ["### Every step", "", "| field | type | default | meaning |", "|---|---|---|---|"]
    lines += _rows(made["$defs"]["VerifyStep"], only=set(StepSchema.model_fields))
    lines += ["", "What a step has where its author says nothing:", ""]
    lines += ["| type | timeout | retry | on_failure | expected |", "|---|---|---|---|---|"]
    for kind, usual in DEFAULTS.items():
        if kind not in HOLDERS:
            times = f"{spoken(usual.timeout_s)} | {usual.attempts - 1} | `{usual.on_failure}`"
            lines.append(f"| `{kind}` | {times} | {spoken(usual.expected_s)} |")
    lines.append("")
    for kind in StepType:
        lines += _section(f"### `{kind}`", STEPS[kind], made, without={*StepSchema.model_fields, "type"})
    for heading, part in _WITHIN:
        lines += _section(f"### `{heading}`", part, made)
    return "\n".join(lines).rstrip()


def _section(heading: str, part: type[BaseModel], made: dict[str, Any], without: set[str] | None = None) -> list[str]:
    shape = made if part is BookSchema else made["$defs"][part.__name__]
    about = " ".join((part.__doc__ or "").split())
    rows = list(_rows(shape, without=without or set()))
    table = ["| field | type | default | meaning |", "|---|---|---|---|", *rows, ""] if rows else []
    return [heading, "", *([about, ""] if about else []), *table]


def _rows(shape: dict[str, Any], *, only: set[str] | None = None, without: set[str] = frozenset()) -> Iterator[str]:  # type: ignore[assignment]  # a frozen set is a set that nobody changes
    for name, node in shape["properties"].items():
        if name in without or (only is not None and name not in only):
            continue
        default = "required" if name in shape.get("required", []) else _default(node.get("default"))
        meaning = " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
        yield f"| `{name}` | {_type(node)} | {default} | {meaning} |"


def _default(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, list | tuple):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(node: dict[str, Any]) -> str:
    arms = [arm for arm in node.get("anyOf", [node]) if arm.get("type") != "null"]
    return " or ".join(dict.fromkeys(_arm(arm) for arm in arms if arm.get("$ref") != "#/$defs/Param"))


def _arm(arm: dict[str, Any]) -> str:
    kind = arm.get("type")
    named = {"When": "`planned`, `unplanned` or `always`", "ParameterType": "a type", "MetadataSchema": "mapping"}
    if "$ref" in arm:
        name = arm["$ref"].rpartition("/")[2]
        said = named.get(name) or f"[{name.removesuffix('Schema').lower()}](#{name.removesuffix('Schema').lower()})"
    elif "const" in arm or "enum" in arm:
        said = ", ".join(f"`{each}`" for each in arm.get("enum", [arm.get("const")]))
    elif "oneOf" in arm:
        said = "step"
    elif kind == "array":
        said = "list of lists of steps" if "items" in arm["items"] else f"list of {_type(arm['items'])}s"
    elif arm.get("pattern") == f"^{DURATION.pattern}$":
        said = "duration"
    elif isinstance(kind, list):
        said = " or ".join(_WORDS[str(each)] for each in kind)
    else:
        said = _WORDS.get(str(kind), "any value")
    return said


def renewed(page: str) -> str:
    """*page* with the library and the reference written anew between their marks. Raises BadInput without these."""
    for mark, text in (("library", library()), ("reference", fields())):
        begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        head, _, rest = page.partition(begin)
        _, closed, tail = rest.partition(end)
        if not closed:
            raise BadInput(f"the page has no place for its {mark}; write {begin} and {end} where it belongs")
        page = f"{head}{begin}\n\n{text}\n\n{end}{tail}"
    return page


def main(files: list[str]) -> None:
    """Write each of *files* anew."""
    for file in files:
        path = Path(file)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
