"""YAML with places: plain data, and the line and column that each value and key came from.

Read as YAML 1.2 (``yes`` and ``off`` are text). Tags that would build objects, duplicate keys, numbers without
bounds and anchors that expand without bounds are mistakes, not data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from orchestrator.config.mistakes import Mistake, Mistakes, shown

Key: TypeAlias = str | int
Trail: TypeAlias = tuple[Key, ...]
"""Where a value is: mapping keys and list indexes from the root."""
Place: TypeAlias = tuple[int, int]
"""Line and column, counted from 1."""

START = "write one with 'failover init'"
"""How a topology file is begun."""
MOST_BYTES = 16 * 1024 * 1024
MOST_REPEATED = 100_000
"""Values that anchors may repeat: a thousand services that share their probes have 40,000."""
MOST_DIGITS = 18
_YAML = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain data (dict, list, str, int, float, bool, None) with places."""

    name: str
    data: Any  # plain YAML data has no better type
    values: Mapping[Trail, Place]
    keys: Mapping[Trail, Place]
    slips: tuple[Mistake, ...] = ()
    """Mistakes of the YAML itself that still left data to check: duplicate keys, tags, giant numbers."""

    def show(self, trail: Trail) -> str:
        """*trail* as a person reads it: ``services[chat].endpoints[us].url``; list items by id where they have one."""
        text = ""
        value = self.data
        for key in trail:
            if isinstance(key, int):
                item = value[key] if isinstance(value, list) and key < len(value) else None
                text += f"[{_label(item, key, value)}]"
                value = item
            else:
                text += f".{shown(key)}" if text else shown(key)
                value = value.get(key) if isinstance(value, dict) else None
        return text

    def place(self, trail: Trail, *, key: bool = False) -> Place:
        """Where the value at *trail* begins (its key, if *key*); the nearest thing around it that the file has."""
        if key and trail in self.keys:
            return self.keys[trail]
        for length in range(len(trail), -1, -1):
            found = self.values.get(trail[:length])
            if found is not None:
                return found
        return (1, 1)

    def mistake(self, trail: Trail, text: str, *, key: bool = False) -> Mistake:
        """A mistake at *trail*: at its key if *key* (unknown fields), else at its value."""
        line, column = self.place(trail, key=key)
        return Mistake(self.name, line, column, self.show(trail), text)


def _label(item: object, index: int, items: object) -> str:
    name = item.get("id") if isinstance(item, dict) else None
    if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 63 and isinstance(items, list):
        same = [other for other in items if isinstance(other, dict) and other.get("id") == name]
        if len(same) == 1:
            return name
    return str(index)


def read_text(path: Path, *, start: str = START) -> str:
    """The text of *path*; *start* is how a new one is begun.

    Raises Mistakes when it is missing, a directory, unreadable, too big or not UTF-8.
    """
    try:
        if path.is_dir():
            raise _whole(path, "is a directory; name the YAML file in it")
        if path.exists() and path.stat().st_size > MOST_BYTES:
            raise _whole(
                path, f"is larger than {MOST_BYTES // 1024 // 1024} MiB; split it or remove what is not needed"
            )
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _whole(path, f"there is no such file; check the path, or {start}") from None
    except OSError as error:
        raise _whole(path, f"cannot be read ({error.strerror}); check its permissions") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        begin = raw.rfind(b"\n", 0, error.start) + 1
        column = len(raw[begin : error.start].decode("utf-8", "replace")) + 1
        byte = raw[error.start]
        text = f"byte 0x{byte:02x} is not UTF-8 text; save the file as UTF-8"
        raise Mistakes([Mistake(str(path), line, column, "", text)]) from None


def _whole(path: Path, text: str) -> Mistakes:
    return Mistakes([Mistake(str(path), 0, 0, "", text)])


def compose(text: str, name: str, *, start: str = START) -> Document:
    """Read *text* as one YAML document; *name* stands for the file in mistakes. Raises Mistakes for broken YAML.

    *start* is how a new file of its kind is begun, for whoever has an empty one.
    """
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        code = ord(text[error.position])
        said = f"the character U+{code:04X} may not stand in YAML; remove it"
        raise Mistakes([Mistake(name, line, column, "", said)]) from None
    except MarkedYAMLError as error:
        raise Mistakes([_syntax(error, text, name)]) from None
    except RecursionError:
        raise Mistakes([Mistake(name, 1, 1, "", "the YAML is nested too deeply; flatten it")]) from None
    except (YAMLError, ValueError) as error:
        raise Mistakes([Mistake(name, 1, 1, "", f"the YAML cannot be read ({_first_line(error)}); mend it")]) from None
    if node is None:
        raise Mistakes([Mistake(name, 1, 1, "", f"the file is empty; {start}")])
    builder = _Builder(name)
    try:
        data = builder.build(node, ())
    except RecursionError:
        raise Mistakes([Mistake(name, 1, 1, "", "the YAML is nested too deeply; flatten it")]) from None
    document = Document(name, data, MappingProxyType(builder.values), MappingProxyType(builder.keys))
    slips = tuple(Mistake(name, *place, document.show(trail), said) for place, trail, said in builder.slips)
    return replace(document, slips=slips)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _syntax(error: MarkedYAMLError, text: str, name: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    problem = error.problem or _first_line(error)
    lines = text.splitlines()
    rest = lines[line - 1][column - 1 :] if line <= len(lines) else ""
    if rest.startswith("\t"):
        said = "a tab cannot indent YAML; use spaces"
    elif "undefined alias" in problem:
        said = f"{problem}; write its anchor (&name) before it"
    elif "another document" in problem:
        said = "a second document begins here; keep one document in a file"
    elif "mapping values are not allowed" in problem:
        said = "a second ':' cannot stand here; put quotes around the value, or mend the indentation"
    elif "expected <block end>" in problem or "could not find expected ':'" in problem:
        said = "the YAML breaks off here; check the indentation, and that each field has a ':'"
    elif "while parsing a flow" in str(error.context) and error.context_mark is not None:
        bracket = "{" if "mapping" in str(error.context) else "["
        said = (
            f"the '{bracket}' of line {error.context_mark.line + 1} is not closed before this; close it, or add a comma"
        )
    elif rest[:1] in {"@", "`", "%"}:
        said = f"a value cannot begin with '{rest[0]}'; put quotes around it"
    else:
        where = f" {error.context}" if error.context else ""
        said = f"the YAML is broken{where}: {problem}; mend it"
    return Mistake(name, line, column, "", said)


@dataclass(slots=True)
class _Builder:
    """Turns composed nodes into plain data, noting places and slips."""

    name: str
    values: dict[Trail, Place] = field(default_factory=dict)
    keys: dict[Trail, Place] = field(default_factory=dict)
    slips: list[tuple[Place, Trail, str]] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    repeated: int = 0

    def slip(self, node: Node, trail: Trail, text: str) -> None:
        self.slips.append((_begin(node), trail, text))

    def build(self, node: Node, trail: Trail) -> Any:  # plain YAML data has no better type
        self.repeated += id(node) in self.seen
        self.seen.add(id(node))
        if self.repeated > MOST_REPEATED:
            text = f"anchors expand to more than {MOST_REPEATED:,} values here; write them out, or use fewer"
            raise Mistakes([Mistake(self.name, *_begin(node), "", text)])
        if id(node) in self.open:
            text = "an anchor contains itself; remove the alias"
            raise Mistakes([Mistake(self.name, *_begin(node), "", text)])
        self.values[trail] = _begin(node)
        if isinstance(node, ScalarNode):
            return self.scalar(node, trail)
        self.open.append(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, trail)
            return self.sequence(node, trail)
        finally:
            self.open.pop()

    def sequence(self, node: Node, trail: Trail) -> list[object]:
        self.untagged(node, trail, "seq")
        return [self.build(item, (*trail, index)) for index, item in enumerate(node.value)]

    def mapping(self, node: MappingNode, trail: Trail) -> dict[str, object]:
        self.untagged(node, trail, "map")
        built: dict[str, object] = {}
        seen: dict[str, Place] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.slip(key, trail, "a field's name must be plain text; write 'name: value'")
                continue
            name = str(key.value)
            here = (*trail, name)
            if name == "<<" and key.style is None:
                merged += value.value if isinstance(value, SequenceNode) else [value]
                continue
            if name in seen:
                self.slip(key, here, f"'{shown(name)}' stands here twice (first in line {seen[name][0]}); remove one")
                continue
            seen[name] = _begin(key)
            self.keys[here] = _begin(key)
            built[name] = self.build(value, here)
            if built[name] is None:
                # An empty value has no place of its own: the scanner names whatever comes after it.
                self.values[here] = self.keys[here]
        for other in merged:
            self.merge(other, trail, built)
        return built

    def merge(self, node: Node, trail: Trail, built: dict[str, object]) -> None:
        """Take in the fields of a merge key (``<<: *base``) that are not there yet."""
        if not isinstance(node, MappingNode):
            self.slip(node, trail, "'<<' takes fields from an anchor on a mapping; name one")
            return
        if id(node) in self.open:
            raise Mistakes([Mistake(self.name, *_begin(node), "", "an anchor contains itself; remove the alias")])
        self.open.append(id(node))
        for key, value in node.value:
            name = str(key.value)
            if isinstance(key, ScalarNode) and name not in built and name != "<<":
                self.keys[(*trail, name)] = _begin(key)
                built[name] = self.build(value, (*trail, name))
        self.open.pop()

    def untagged(self, node: Node, trail: Trail, kind: str) -> None:
        if str(node.tag) != _YAML + kind:
            self.slip(node, trail, f"the tag '{node.tag}' is not used here; remove it")

    def scalar(self, node: ScalarNode, trail: Trail) -> object:
        text = str(node.value)
        match str(node.tag).removeprefix(_YAML):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return self.whole(node, text, trail)
            case "float":
                return _fraction(text)
            case "str" | "timestamp":
                return text
            case _:
                self.slip(node, trail, f"the tag '{node.tag}' is not used here; remove it")
                return text

    def whole(self, node: ScalarNode, text: str, trail: Trail) -> object:
        digits = text.replace("_", "")
        if len(digits) > MOST_DIGITS:
            self.slip(node, trail, f"the number has {len(digits)} digits; no number here needs more than {MOST_DIGITS}")
            return 0
        try:
            return int(digits, 0)
        except ValueError:
            return int(digits, 10) if digits.lstrip("+-").isdigit() else text


def _fraction(text: str) -> object:
    try:
        return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text


def _begin(node: Node) -> Place:
    return (node.start_mark.line + 1, node.start_mark.column + 1)
