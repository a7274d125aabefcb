"""The JSON Schema and the reference page say what the model says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import model, reference, schema
from orchestrator.config.document import compose
from orchestrator.config.example import EXAMPLE
from orchestrator.config.part import Part

PARTS = [part for part in vars(model).values() if isinstance(part, type) and issubclass(part, Part)]
MODELS = [part for part in PARTS if part is not Part]


def _properties(name: str) -> dict[str, Any]:
    made = schema()
    found: dict[str, Any] = (made if name == "File" else made["$defs"][name])["properties"]
    return found


def _nodes(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
    if isinstance(node, list):
        for value in node:
            yield from _nodes(value)


def test_the_schema_is_well_formed() -> None:
    """It is JSON, every reference leads somewhere, every pattern compiles."""
    made = schema()
    assert json.loads(json.dumps(made)) == made
    for node in _nodes(made):
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/$defs/") in made["$defs"]
        if isinstance(node.get("pattern"), str):
            re.compile(node["pattern"])
    assert made["additionalProperties"] is False


@pytest.mark.parametrize("part", MODELS, ids=lambda part: part.__name__)
def test_every_field_has_a_title_and_a_description(part: type[Part]) -> None:
    """An editor can show what each field is for."""
    fields = _properties(part.__name__)
    assert set(fields) == {info.alias or name for name, info in part.model_fields.items()}
    for name, field in fields.items():
        assert field.get("description") or schema()["$defs"][field["$ref"].rpartition("/")[2]]["description"], name
        assert field.get("title") or "$ref" in json.dumps(field), name


def test_enums_and_durations_are_in_the_schema() -> None:
    """Editors complete names and check durations."""
    assert _properties("Policy")["mode"]["enum"] == ["observe", "approval", "automatic", "manual"]
    assert _properties("Policy")["rto"]["default"] == "5m"
    pattern = re.compile(_properties("Policy")["rto"]["pattern"])
    assert all(pattern.match(good) for good in ("800ms", "1m30s", "2h", "1.5s"))
    assert not any(pattern.match(bad) for bad in ("5", "5 s", "soon", "-1s", ""))


TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def _fits(value: object, node: dict[str, Any], made: dict[str, Any]) -> bool:
    """Whether *value* satisfies the parts of JSON Schema that this schema uses."""
    kinds = [node["type"]] if isinstance(node.get("type"), str) else node.get("type", [])
    return (
        ("$ref" not in node or _fits(value, made["$defs"][node["$ref"].rpartition("/")[2]], made))
        and ("anyOf" not in node or any(_fits(value, arm, made) for arm in node["anyOf"]))
        and (not kinds or any(isinstance(value, TYPES[kind]) for kind in kinds))
        and value in node.get("enum", [value])
        and value == node.get("const", value)
        and (not isinstance(value, str) or re.search(node.get("pattern", ""), value) is not None)
        and (not isinstance(value, list) or all(_fits(item, node.get("items", {}), made) for item in value))
        and (not isinstance(value, dict) or _fits_mapping(value, node, made))
    )


def _fits_mapping(value: dict[str, Any], node: dict[str, Any], made: dict[str, Any]) -> bool:
    known, other = node.get("properties", {}), node.get("additionalProperties", {})
    rest = [item for name, item in value.items() if name not in known]
    return (
        set(node.get("required", [])) <= set(value)
        and (not rest or (other is not False and all(_fits(item, other, made) for item in rest)))
        and all(_fits(item, known[name], made) for name, item in value.items() if name in known)
    )


def test_the_example_satisfies_the_schema() -> None:
    """The example on the reference page is good by the schema too, and a broken one is not."""
    made = schema()
    data = compose(EXAMPLE, "x").data
    assert _fits(data, made, made)
    data["services"][0]["policy"]["mode"] = "reckless"
    assert not _fits(data, made, made)


def test_the_reference_page_is_up_to_date() -> None:
    """docs/topology.md is what the model says; write it anew with ``reference()``."""
    page = Path(__file__).parents[2] / "docs" / "topology.md"
    assert page.read_text(encoding="utf-8") == reference()


def test_the_reference_page_names_every_field() -> None:
    """Nothing that may be written is left out of the page."""
    page = reference()
    for part in MODELS:
        for name, info in part.model_fields.items():
            assert f"| `{info.alias or name}` |" in page
