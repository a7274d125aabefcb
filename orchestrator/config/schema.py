"""The JSON Schema of ``failover.yaml`` for editors, and its reference page, both from the model."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from orchestrator.config import model, orders
from orchestrator.config.example import EXAMPLE
from orchestrator.config.fields import DURATION, spoken
from orchestrator.config.part import Part
from orchestrator.core.safety import RULES, Yields

_DURATION = f"^{DURATION.pattern}$"
_WORDS: dict[str, str] = {"string": "text", "integer": "whole number", "boolean": "true or false"}
_PARTS: tuple[type[Part], ...] = (
    model.File,
    model.Vantage,
    model.Notify,
    model.Service,
    model.Probe,
    model.Expect,
    model.JsonExpect,
    model.Endpoint,
    model.Answer,
    model.Workload,
    model.Signal,
    model.Readiness,
    model.Steering,
    model.Key,
    model.Policy,
    orders.Serving,
    orders.Questions,
    model.Runbooks,
    model.Book,
    orders.Freeze,
    orders.Pool,
    orders.Limits,
)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file, with titles, descriptions, enums and patterns."""
    made = _shape()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "failover.yaml",
        **{key: value for key, value in made.items() if key != "title"},
    }


def _shape() -> dict[str, Any]:
    made = model.File.model_json_schema()
    answer = made["$defs"]["Endpoint"]["properties"]["answer"]
    addresses = deepcopy(
        next(arm for arm in made["$defs"]["Answer"]["properties"]["addresses"]["anyOf"] if "items" in arm)
    )
    answer["anyOf"] = [addresses, *answer["anyOf"]]
    for use in made["$defs"]["Runbooks"]["properties"].values():
        use["anyOf"] = [{"type": "string"}, {"$ref": use.pop("$ref")}]
        use["default"] = use["default"]["name"]
    _tidy(made)
    return made


def _tidy(node: Any) -> None:  # a JSON Schema is plain data of any depth
    """Defaults as people write them: durations with units, none where a field is simply left out."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    if not isinstance(node, dict):
        return
    default = node.get("default")
    if "default" in node and default in (None, [], {}):
        del node["default"]
    elif isinstance(default, float) and _is_duration(node):
        node["default"] = spoken(default)
    elif isinstance(default, float) and "anyOf" in node:
        node["default"] = True
    for value in node.values():
        _tidy(value)


def _is_duration(node: dict[str, Any]) -> bool:
    arms = [node, *node.get("anyOf", [])]
    return any(arm.get("pattern") == _DURATION for arm in arms)


# ------------------------------------------------------------------ the page


def reference() -> str:
    """The reference page of the file, in Markdown."""
    lines = [
        "# failover.yaml",
        "",
        "Every field of the topology file. This page is generated from the model (`orchestrator/config/model.py`);",
        "`failover schema` prints the same as JSON Schema for editors.",
        "",
        "- Names are small words joined by underscores; `apiVersion` alone is spelt as files of its kind spell it.",
        "- Durations have a unit: `800ms`, `10s`, `1m30s`, `2h`, `1d`.",
        "- Ids are 1 to 63 small letters, digits and hyphens, and begin with no hyphen.",
        "- Secrets never stand in the file: write `{env: NAME}` or `{file: PATH}`, read on the worker that uses them.",
        "- The file is YAML 1.2. Anchors and `<<` work; tags and duplicate fields are mistakes.",
        "",
        "## Example",
        "",
        "```yaml",
        *EXAMPLE.rstrip().splitlines(),
        "```",
        "",
        "## Revisions",
        "",
        _REVISIONS,
        "",
    ]
    for part in _PARTS:
        lines += _section(part)
    lines += _rules()
    return "\n".join(lines).rstrip() + "\n"


_REVISIONS = """\
Each `failover apply` that changes anything makes a revision. The last ten are kept beside the one in force, with who
applied them, when and why (`--reason`): `failover topology history`. One that was in force for the time `bake`, and
under which every service has served well to its end, is good; one that crashed later than its checks is not.
`failover topology restore` puts the newest good one in force again, as a new revision, after the same checks and the
same question as `apply`. Neither moves traffic. [on-call.md](on-call.md#a-change-turned-out-bad) tells more.

An endpoint's `answer` may change while traffic goes there: the record keeps the old one until the next move, and the
service says so (`answer-outdated`)."""

_PEOPLE: dict[Yields, str] = {
    Yields.UNASKED: "goes ahead",
    Yields.TO_THE_REQUEST: "goes ahead, and it is recorded",
    Yields.TO_ITS_NAME: "is refused, unless they override it by name",
    Yields.NEVER: "is refused",
}


def _rules() -> Iterator[str]:
    """The safety rules, what each does to automation and what to people."""
    yield from ("## Safety rules", "", _RULES, "")
    yield "| rule | why | automation | a person, while the source is down | a person, while it serves |"
    yield "|---|---|---|---|---|"
    for rule in RULES:
        acts = "asks" if rule.asks else "holds"
        yield f"| `{rule.name}` | {rule.why} | {acts} | {_PEOPLE[rule.unplanned]} | {_PEOPLE[rule.planned]} |"


_RULES = """\
Before anything moves every rule is asked, and all those that object are told at once, each with its reason. An override
names the rule, the person and the reason (`--override RULE --reason WHY`), and stands in the record.

- A move needs room for the load that is declared (`policy.capacity`) or for what was observed, whichever is more; the
  objection names both. Every vantage asks the workload of each endpoint what it has in flight: every 10 seconds, and
  more rarely where there are more than 500. The most within a minute counts, probes included, summed over the
  endpoints that carry traffic. What an endpoint says while it fails is not believed: what it had before counts for a
  quarter of an hour, and as long as it stays down. Without a `workload`, or where its provider cannot tell, nothing
  is observed.
- What is not known counts against the move: silence of vantages, an unknown capacity, a pool that the file does not
  name, a jurisdiction that nobody gives, a time zone that the machine does not know.
- `residency` is never overridden by automation, nor while the source serves. In an outage a person may do so by name:
  where data goes then is theirs to answer for, and the record says who did.
- `freeze` refuses planned moves. An outage is no reason to wait: only a window with `unplanned: true` makes automation
  ask then.
- `cool-down` doubles with each automatic run within `flap_window`, up to a day, and `not-acknowledged` waits for
  `failover ack SERVICE`. Both keep automatic runs apart; a person's run, and one that a person approves, is not one,
  nor is one that a drill's fault has provoked.
- `pool-full` counts what other services were promised in the same pool: what they declare. A move asks for what was
  observed, where that is more.
- `too-many-at-once` and `change-guard` look at all services; a single change is never a crowd.
- `setback` holds up failbacks into a region where the stages of another one had to turn back: five minutes, twice as
  long each time it happens again, two hours at most. Those on their way there stay at the stage where they are. A
  failback by stages that passes ends it. What leaves an endpoint that is down is never held up.
- A move for a time (`expires`) needs a reason. When it is over the service says `shift-expired` and asks to send
  traffic back to where it went before; it does not do so by itself."""


def _section(part: type[BaseModel]) -> list[str]:
    heading = "The file" if part is model.File else part.__name__
    about = " ".join((part.__doc__ or "").split())
    lines = [f"## {heading}", "", about, "", "| field | type | default | meaning |", "|---|---|---|---|"]
    return [*lines, *_rows(part), ""]


def _rows(part: type[BaseModel]) -> Iterator[str]:
    shown = schema()
    described = shown if part is model.File else shown["$defs"][part.__name__]
    for own, info in part.model_fields.items():
        name = info.alias or own
        field = described["properties"][name]
        default = "required" if info.is_required() else _default(field, info.default)
        meaning = " ".join((info.description or "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_type(field)} | {default} | {meaning} |"


def _default(field: dict[str, Any], given: object) -> str:
    value = field.get("default")
    if value is None:
        return "" if given in (None, PydanticUndefined) else "empty"
    if isinstance(value, list):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(field: dict[str, Any]) -> str:
    arms = [arm for arm in field.get("anyOf", [field]) if arm.get("type") != "null"]
    return " or ".join(dict.fromkeys(_arm(arm) for arm in arms))


def _arm(arm: dict[str, Any]) -> str:
    kind = arm.get("type")
    if "$ref" in arm:
        name = arm["$ref"].rpartition("/")[2]
        said = f"[{name}](#{name.lower()})"
    elif "const" in arm:
        said = f"`{arm['const']}`"
    elif "enum" in arm:
        said = ", ".join(f"`{each}`" for each in arm["enum"] if each is not False)
    elif "anyOf" in arm:
        # Only addresses say their format in two ways.
        said = "IP address" if {"format": "ipv4"} in arm["anyOf"] else _type(arm)
    elif arm.get("pattern") == _DURATION:
        said = "duration"
    elif kind == "array":
        said = f"list of {_type(arm['items'])}" if "anyOf" not in arm["items"] else f"list of {_arm(arm['items'])}"
    elif kind == "object":
        of: dict[str, Any] = next(iter(arm.get("patternProperties", {}).values()), {})
        named = f"mapping of names to {_arm(of)}" if "$ref" in of else "mapping"
        said = "secret" if "env" in arm.get("properties", {}) else named
    elif isinstance(kind, list):
        said = " or ".join(_WORDS.get(str(each), str(each)) for each in kind)
    else:
        said = _WORDS.get(str(kind), str(kind))
    return said
