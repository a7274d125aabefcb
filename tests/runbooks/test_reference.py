"""The reference page and the JSON Schema of runbooks: true, whole, and good examples only."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.document import compose
from orchestrator.config.load import parse as topology
from orchestrator.core.errors import BadInput
from runbooks.books import LIBRARY, Shelf
from runbooks.model import StepType
from runbooks.nesting import unnested
from runbooks.parse import bind, read
from runbooks.reference import renewed, schema
from runbooks.schemas import STEPS, AnalysisSchema, BookSchema, HookSchema, ParameterSchema
from runbooks.values import sample

PAGE = (Path(__file__).parents[2] / "docs" / "runbooks.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
HEAD = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: example}\n"
OURS = [text for text in EXAMPLES if not text.startswith("# in failover.yaml")]


def test_the_page_is_up_to_date() -> None:
    """docs/runbooks.md says what the model says; write it anew with ``python -m runbooks.reference``."""
    assert renewed(PAGE) == PAGE


def test_a_page_without_its_marks_is_refused() -> None:
    """The reference is not dropped in silence when somebody edits the page."""
    with pytest.raises(BadInput, match="no place for its reference"):
        renewed(PAGE.replace("<!-- end of reference -->", ""))


def test_the_page_names_every_field_type_and_runbook() -> None:
    """Nothing that may be written is left out."""
    for part in (BookSchema, ParameterSchema, AnalysisSchema, HookSchema, *STEPS.values()):
        for name, info in part.model_fields.items():
            assert f"| `{info.alias or name}` |" in PAGE or name == "type"
    assert all(f"### `{kind}`" in PAGE for kind in StepType)
    assert all(f"| `{name}` |" in PAGE for name in LIBRARY)


@pytest.mark.parametrize("number", range(len(OURS)))
def test_every_example_is_sound(number: int) -> None:
    """What people copy from the page passes lint: whole runbooks, parameters, and lists of steps."""
    text = OURS[number]
    if text.startswith("- "):
        text = "steps:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    whole = text if text.startswith("apiVersion") else HEAD + text
    template = read(whole, f"example-{number}.yaml")
    needed = {each.name: sample(each.type) for each in template.parameters if each.default is None}
    assert unnested(bind(template, needed), Shelf([template])).steps


def test_the_example_for_a_topology_is_one() -> None:
    """The lines for failover.yaml fit into a topology as they stand."""
    (lines,) = set(EXAMPLES) - set(OURS)
    policy = "".join(f"    {line}\n" for line in lines.splitlines())
    text = f"""\
apiVersion: failover/v1
kind: Topology
regions: [cloud/eu, cloud/us, watch/r1]
vantages: [{{id: v1, region: watch/r1}}]
services:
  - id: chat
    name: chat.example
    probes: [{{id: http, kind: http, path: /, interval: 2s, timeout: 1s}}]
    endpoints:
      - {{id: eu, url: "http://127.0.0.1:9", answer: [10.0.0.1], region: cloud/eu, role: active}}
      - {{id: us, url: "http://127.0.0.1:9", answer: [10.0.0.2], region: cloud/us, role: standby}}
{policy}"""
    (service,) = topology(text, "failover.yaml").services
    assert service.policy.runbook_planned == "canary-shift"


# ------------------------------------------------------------------ the schema


KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def fits(value: Any, node: dict[str, Any], made: dict[str, Any]) -> bool:
    """Whether *value* satisfies *node*: as much of JSON Schema as the file needs."""
    if "discriminator" in node:
        node = {"$ref": node["discriminator"]["mapping"][value["type"]]}
    if "$ref" in node:
        node = made["$defs"][node["$ref"].rpartition("/")[2]]
    if "anyOf" in node:
        return any(fits(value, arm, made) for arm in node["anyOf"])
    wanted = node.get("type", [])
    names = wanted if isinstance(wanted, list) else [wanted]
    sound = not names or any(isinstance(value, KINDS[name]) for name in names)
    sound = sound and value in node.get("enum", [node.get("const", value)])
    if isinstance(value, str):
        sound = sound and re.search(node.get("pattern", ""), value) is not None
    if isinstance(value, list):
        sound = sound and all(fits(item, node.get("items", {}), made) for item in value)
    if isinstance(value, dict) and names:
        known, other = node.get("properties", {}), node.get("additionalProperties", {})
        shapes = {name: known.get(name, other) for name in value}
        sound = sound and set(node.get("required", [])) <= set(value) and False not in shapes.values()
        sound = sound and all(fits(value[name], shape, made) for name, shape in shapes.items())
    return sound


def test_the_library_satisfies_the_schema() -> None:
    """Editors accept every runbook of the library, parameters in the places of values too, and refuse a slip."""
    made = schema()
    for name in LIBRARY:
        text = files("runbooks").joinpath("library", f"{name}.yaml").read_text(encoding="utf-8")
        data = compose(text, name).data
        assert fits(data, made, made), name
        data["steps"][0]["timeout"] = 30
        assert not fits(data, made, made), name


def test_the_schema_says_what_is_not_a_field_of_a_type() -> None:
    """A parallel has no timeout; each field has a meaning; durations are written as people write them."""
    made = schema()
    assert "timeout" not in made["$defs"]["ParallelStep"]["properties"]
    assert made["$defs"]["SteerStep"]["properties"]["hold"]["default"] == "1m"
    for name, part in made["$defs"].items():
        for field, node in part.get("properties", {}).items():
            assert "description" in node or field in {"type", "param"}, (name, field)
