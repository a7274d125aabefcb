"""The runbooks there are: those of the topology first, then the library that comes with the program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType

from orchestrator.config.mistakes import did_you_mean
from orchestrator.core.errors import BadInput
from runbooks.model import Runbook, Value
from runbooks.parse import Template, bind, read, unpacked


def _library() -> Mapping[str, Template]:
    books: dict[str, Template] = {}
    for file in sorted(files("runbooks").joinpath("library").iterdir(), key=lambda each: each.name):
        if not file.name.endswith(".yaml"):
            continue
        found = read(file.read_text(encoding="utf-8"), f"runbooks/library/{file.name}")
        if f"{found.name}.yaml" != file.name:
            raise BadInput(f"runbooks/library/{file.name} is named '{found.name}'; give the file its runbook's name")
        books[found.name] = found
    return MappingProxyType(books)


LIBRARY: Mapping[str, Template] = _library()
"""Read once, when this module is imported."""


class Shelf:
    """Where runbooks are looked up by name: a topology's own come before the library's."""

    def __init__(self, own: Iterable[Template] = ()) -> None:
        self._books: Mapping[str, Template] = MappingProxyType({**LIBRARY, **{each.name: each for each in own}})

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._books))

    def template(self, name: str) -> Template:
        """The template of that name. Raises BadInput with the nearest name."""
        try:
            return self._books[name]
        except KeyError:
            raise BadInput(
                f"no runbook is called '{name}'{did_you_mean(name, self._books)}; name one that exists"
            ) from None

    def book(self, name: str, values: Mapping[str, Value] = MappingProxyType({})) -> Runbook:
        """The runbook of that name with *values* for its parameters. Raises BadInput."""
        # True equals 1, and a value of the one kind must not be answered with what was bound for the other.
        typed = tuple((name, type(value).__name__, value) for name, value in sorted(values.items()))
        return _bind(self.template(name), typed)


@lru_cache(maxsize=256)
def _bind(template: Template, values: tuple[tuple[str, str, Value], ...]) -> Runbook:
    # Without its text: to look up the place of a mistake is to read YAML, which no workflow may.
    # Binding checks the whole file again, which takes milliseconds: too long to do it in each decision.
    return bind(replace(template, text=""), {name: value for name, _, value in values})


@lru_cache(maxsize=256)
def packed(text: str, file: str) -> str:
    """The data of the runbook that *text* describes, for ``unpacked``: workflows read no YAML. Raises Mistakes."""
    return read(text, file).data


@lru_cache(maxsize=256)
def template_of(data: str, file: str) -> Template:
    """The template that was packed, unpacked once per process."""
    return unpacked(data, file)


def book(name: str, values: Mapping[str, Value] = MappingProxyType({})) -> Runbook:
    """A runbook of the library. Raises BadInput with the nearest name."""
    return Shelf().book(name, values)
