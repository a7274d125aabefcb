"""The library: the runbooks that come with the program, read once when this module is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

from orchestrator.config.mistakes import did_you_mean
from orchestrator.core.errors import BadInput
from runbooks.model import Runbook
from runbooks.parse import parse


def _read() -> Mapping[str, Runbook]:
    books: dict[str, Runbook] = {}
    for file in sorted(files("runbooks").joinpath("library").iterdir(), key=lambda each: each.name):
        if not file.name.endswith(".yaml"):
            continue
        found = parse(file.read_text(encoding="utf-8"), f"runbooks/library/{file.name}")
        if f"{found.name}.yaml" != file.name:
            raise BadInput(f"runbooks/library/{file.name} is named '{found.name}'; give the file its runbook's name")
        books[found.name] = found
    return MappingProxyType(books)


BOOKS: Mapping[str, Runbook] = _read()


def book(name: str) -> Runbook:
    """The runbook of that name. Raises BadInput with the nearest name."""
    try:
        return BOOKS[name]
    except KeyError:
        raise BadInput(f"no runbook is called '{name}'{did_you_mean(name, BOOKS)}; name one of the library") from None
