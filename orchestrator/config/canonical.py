"""A topology as canonical JSON and back, its digest, and the difference of two in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from orchestrator.config.fields import spoken
from orchestrator.core.errors import BadInput
from orchestrator.core.orders import Freeze, Pool, Weekly, hours
from orchestrator.core.topology import (
    Answer,
    Endpoint,
    Header,
    Notify,
    ProbeSpec,
    Secret,
    Service,
    SteeringSpec,
    Topology,
    TsigKey,
    Vantage,
    Workload,
)

DIGITS = 16
"""Hex digits of a digest: 64 bits tell any two revisions apart."""


def dump(topology: Topology) -> str:
    """Canonical JSON: every field, sorted, no spaces, ASCII. Equal topologies give equal text."""
    return json.dumps(asdict(topology), sort_keys=True, separators=(",", ":"), allow_nan=False, default=_moment)


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"a topology holds no {type(value).__name__}")


@cache
def _adapter() -> TypeAdapter[Topology]:
    return TypeAdapter(Topology)


def restore(text: str) -> Topology:
    """The topology that ``dump`` wrote. Raises BadInput for any other text."""
    try:
        return _adapter().validate_python(json.loads(text))
    except (ValidationError, ValueError, RecursionError) as error:
        detail = str(error).splitlines()[0] if not isinstance(error, ValidationError) else _first(error)
        raise BadInput(
            f"the stored topology cannot be read ({detail}); apply the file again with this program"
        ) from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"


def digest(topology: Topology) -> str:
    """A short name for exactly this topology: the first digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(dump(topology).encode()).hexdigest()[:DIGITS]


# ------------------------------------------------------------------ difference


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in which two topologies differ."""

    kind: Literal["added", "removed", "changed"]
    path: str
    """In the words of the file: ``services[chat].policy.mode``."""
    before: str | None
    after: str | None


_SPELLING = {
    "runbook_unplanned": "runbooks.unplanned",
    "runbook_planned": "runbooks.planned",
    "runbook_back": "runbooks.back",
    "book_values": "runbooks.with",
    "books": "runbooks",
    "orders": "",
    "freezes": "freeze",
    "gate": "automation",
    "least": "serving.least",
    "json_path": "json.path",
    "json_equals": "json.equals",
}


def difference(old: Topology | None, new: Topology) -> tuple[Change, ...]:
    """What *new* changes, by path; everything is added where there is no *old*. Empty when they are equal."""
    return tuple(sorted(_differ("", old or Topology((), (), ()), new), key=lambda change: change.path))


def _differ(path: str, old: object, new: object) -> Iterator[Change]:
    if old == new:
        return
    if _absent(old) or _absent(new):
        kind: Literal["added", "removed"] = "added" if _absent(old) else "removed"
        if _keyed(old) or _keyed(new):
            yield from _differ_keyed(path, old, new)
        else:
            yield Change(kind, path, None if _absent(old) else _words(old), None if _absent(new) else _words(new))
    elif is_dataclass(new) and type(old) is type(new) and not isinstance(new, Secret | Answer):
        for each in fields(new):
            before, after = getattr(old, each.name), getattr(new, each.name)
            if each.name.endswith("_s"):
                before, after = _spoken(before), _spoken(after)
            elif each.name == "gate":
                before, after = _gate(before), _gate(after)
            yield from _differ(_join(path, each.name), before, after)
    elif _keyed(old) or _keyed(new):
        yield from _differ_keyed(path, old, new)
    else:
        yield Change("changed", path, _words(old), _words(new))


def _differ_keyed(path: str, old: object, new: object) -> Iterator[Change]:
    before, after = _by_key(old), _by_key(new)
    for key in sorted(before.keys() | after.keys()):
        yield from _differ(f"{path}[{key}]", before.get(key), after.get(key))


def _absent(value: object) -> bool:
    return value is None or value == ()


def _keyed(value: object) -> bool:
    """Whether *value* is a collection whose items have names: services, endpoints, probes, options, headers."""
    if not isinstance(value, tuple) or not value:
        return False
    return all(isinstance(item, Notify) or _key(item) is not None for item in value)


def _key(item: object) -> str | None:
    if isinstance(item, Header):
        return item.name
    if isinstance(item, tuple) and len(item) == 2:
        return str(item[0])
    found = getattr(item, "id", None)
    return str(found) if found is not None else None


def _by_key(value: object) -> dict[str, object]:
    items = value if isinstance(value, tuple) else ()
    if items and isinstance(items[0], Notify):
        return {str(index): item for index, item in enumerate(items)}
    found: dict[str, object] = {}
    for item in items:
        content = item[1] if isinstance(item, tuple) else item.value if isinstance(item, Header) else item
        found[str(_key(item))] = content
    return found


def _join(path: str, name: str) -> str:
    spelt = _SPELLING.get(name, name.removesuffix("_s"))
    return f"{path}.{spelt}" if path and spelt else path or spelt


def _gate(reason: object) -> str:
    return "on" if reason is None else f"off ({reason})" if reason else "off"


def _spoken(value: object) -> object:
    return spoken(float(value)) if isinstance(value, int | float) else value


def _words(value: Any) -> str:  # any core value, told in one line
    match value:
        case Service():
            places = ", ".join(f"{each.id} ({each.role})" for each in value.endpoints)
            said = f"{value.name} at {places}; mode {value.policy.mode}"
        case Endpoint():
            said = f"{value.role} at {value.url} in {value.region}"
        case ProbeSpec():
            said = f"{value.kind} every {spoken(value.interval_s)}, timeout {spoken(value.timeout_s)}"
        case SteeringSpec():
            zone = f", zone {value.zone}" if value.zone else ""
            where = f" at {value.primary}" if value.primary else ""
            said = f"{value.provider}{zone}{where}, ttl {value.ttl_s}s"
        case Workload():
            said = f"{value.provider} {value.target}, {value.serving} serving, {value.standby} on standby"
        case TsigKey():
            said = f"{value.name} ({value.algorithm}), secret {_words(value.secret)}"
        case Freeze():
            said = _window(value)
        case tuple():
            said = ", ".join(_words(item) for item in value)
        case _:
            said = _plain(value)
    return said


def _plain(value: object) -> str:
    """A small value, or one of a kind that says itself."""
    match value:
        case Notify():
            said = f"webhook {value.url}" if value.url else f"exec {' '.join(value.command)}"
        case Secret():
            said = f"{{{value.source}: {value.name}}}"
        case Answer():
            said = " ".join((*(("cname",) if value.kind == "cname" else ()), *value.values))
        case Pool():
            said = f"capacity {value.capacity}"
        case bool():
            said = "true" if value else "false"
        case Vantage():
            said = str(value.region)
        case str() if "\n" in value:
            # A whole runbook would fill the screen.
            said = f"{len(value.splitlines())} lines, sha256 {hashlib.sha256(value.encode()).hexdigest()[:8]}"
        case _:
            said = str(value)
    return said


def _window(freeze: Freeze) -> str:
    when = freeze.when
    spoken_of = hours(when) if isinstance(when, Weekly) else f"{_moment(when.begins)} to {_moment(when.ends)}"
    return f"{spoken_of}{', unplanned moves too' if freeze.unplanned else ''} ({freeze.reason})"
