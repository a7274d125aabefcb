"""A topology's own runbooks: read from their directory, and every use of a runbook checked against what it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.config.document import Document, Trail, compose, read_text
from orchestrator.config.fields import book_value, quoted
from orchestrator.config.mistakes import Mistake, Mistakes, did_you_mean
from orchestrator.core.errors import BadInput

if TYPE_CHECKING:
    from runbooks.books import Shelf
    from runbooks.model import Value
    from runbooks.parse import Template

Books = tuple[tuple[str, str], ...]
"""File name and text of each, sorted."""

MOST_BYTES = 200_000
"""Of all own runbooks together: they go whole to the workflow of each service."""
USES = ("unplanned", "planned", "back")


def checked_books(document: Document, beside: Path) -> tuple[Books, tuple[Mistake, ...]]:
    """The own runbooks that *document* names, and what is wrong with them and with what it says of runbooks.

    Mistakes in a runbook carry its own file. A relative directory is looked for in *beside*.
    """
    # The runbooks read their files with this package: imported above, each would wait for the other.
    from runbooks.books import Shelf  # noqa: PLC0415

    named = document.data.get("runbooks") if isinstance(document.data, dict) else None
    own: list[tuple[Path, Template]] = []
    mistakes: list[Mistake] = []
    if isinstance(named, str) and named:
        own, mistakes = _read(document, beside / named)
    shelf = Shelf(template for _, template in own)
    roles = _roles(document)
    for path, template in own:
        book = compose(template.text, str(path))
        mistakes += (*nested(template, shelf), *_asking(book, roles))
    # A use of a runbook that cannot be read is no mistake of its own.
    if not mistakes:
        mistakes += _uses(document, shelf, roles)
    return tuple((path.name, template.text) for path, template in own), tuple(mistakes)


def _read(document: Document, directory: Path) -> tuple[list[tuple[Path, Template]], list[Mistake]]:
    """The runbooks in *directory*, sorted by file name, and what is wrong with them."""
    from runbooks.parse import read  # noqa: PLC0415 - as above

    try:
        files = sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
    except (OSError, ValueError) as error:
        # A path with a null character is a ValueError.
        told = error.strerror if isinstance(error, OSError) else None
        why = "is no directory" if isinstance(error, FileNotFoundError | NotADirectoryError) else told or "is no path"
        text = f"the runbooks cannot be read from {quoted(str(directory))} ({why}); name a directory beside this file"
        return [], [document.mistake(("runbooks",), text)]
    own: list[tuple[Path, Template]] = []
    mistakes: list[Mistake] = []
    first: dict[str, Path] = {}
    size = 0
    for path in files:
        if path.suffix != ".yaml":
            if path.suffix == ".yml":
                mistakes.append(Mistake(str(path), 0, 0, "", f"would not be read; name it {path.stem}.yaml"))
            continue
        try:
            text = read_text(path)
            if len(text) > MOST_BYTES:
                return [], [_too_large(document)]
            found = read(text, str(path))
        except Mistakes as error:
            mistakes += error.mistakes
            continue
        # What anchors repeat is written out where it travels.
        size += max(len(found.text.encode()), len(found.data))
        if size > MOST_BYTES:
            return [], [_too_large(document)]
        if found.name in first:
            twice = f"{quoted(found.name)} is the name of the runbook in {first[found.name].name} too; rename one"
            mistakes.append(compose(found.text, str(path)).mistake(("metadata", "name"), twice))
        first.setdefault(found.name, path)
        own.append((path, found))
    return own, mistakes


def _too_large(document: Document) -> Mistake:
    text = f"the runbooks in it are larger than {MOST_BYTES // 1000} kB together; remove what is not used"
    return document.mistake(("runbooks",), text)


# ------------------------------------------------------------------ what is said of runbooks


def nested(template: Template, shelf: Shelf) -> tuple[Mistake, ...]:
    """What is wrong with the runbooks that *template* calls as steps."""
    document = compose(template.text, template.file)
    return tuple(_nested(document, shelf)) or tuple(_together(document, template, shelf))


def _together(document: Document, template: Template, shelf: Shelf) -> Iterator[Mistake]:
    """Steps of nested runbooks that make no sense beside the others. An example for a parameter would prove nothing."""
    from runbooks.nesting import misplaced, unnested  # noqa: PLC0415 - as above
    from runbooks.parse import bind  # noqa: PLC0415 - as above

    places = {step.get("id"): trail for trail, step in _steps(document.data.get("steps"), ("steps",))}
    if all(each.default is not None for each in template.parameters):
        for name, text in misplaced(unnested(bind(template), shelf)):
            yield document.mistake(places.get(name, ("steps",)), text)


def _nested(document: Document, shelf: Shelf) -> Iterator[Mistake]:
    """What is wrong with the runbooks that an own runbook calls as steps."""
    from runbooks.fields import frozen  # noqa: PLC0415 - as above

    for trail, step in _steps(document.data.get("steps"), ("steps",)):
        name, given = step.get("runbook"), step.get("with")
        if step.get("type") != "runbook" or not isinstance(name, str):
            continue
        # A value that is a mapping is known only when the outer runbook gets its own.
        said = {key: None if isinstance(value, dict) else frozen(value) for key, value in _mapping(given).items()}
        yield from _wrong(_Use(document, (*trail, "runbook"), (*trail, "with"), name, said), shelf)


def _steps(steps: object, trail: Trail) -> Iterator[tuple[Trail, dict[str, Any]]]:
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict):
            yield (*trail, index), step
            branches = step.get("branches")
            for number, branch in enumerate(branches if isinstance(branches, list) else ()):
                yield from _steps(branch, (*trail, index, "branches", number))


def _roles(document: Document) -> dict[str, int]:
    """How many people are in each role."""
    said = _mapping(_mapping(document.data).get("roles"))
    return {role: len(people) for role, people in said.items() if isinstance(people, list)}


def _asking(document: Document, roles: Mapping[str, int]) -> Iterator[Mistake]:
    """Steps of an own runbook that ask people who are not there."""
    for trail, step in _steps(document.data.get("steps"), ("steps",)):
        if step.get("type") != "approve":
            continue
        people = step.get("people", 1)
        others = step.get("escalate")
        places: list[Trail] = [(*trail, "role")]
        places += [(*trail, "escalate", index) for index in range(len(others) if isinstance(others, list) else 0)]
        for place, role in zip(places, [step.get("role"), *(others or ())], strict=True):
            if isinstance(role, str) and isinstance(people, int):
                yield from (document.mistake(place, text) for text in _too_few(role, people, roles))


def _too_few(role: str, people: int, roles: Mapping[str, int]) -> Iterator[str]:
    if role not in roles:
        close = did_you_mean(role, roles)
        yield f"no role is called {quoted(role)}; name its people under roles of the topology{close}"
    elif roles[role] < people:
        yield f"role {quoted(role)} has {roles[role]} of the {people} people that must say yes; add people to it"


def _asked(use: _Use, shelf: Shelf, roles: Mapping[str, int]) -> Iterator[Mistake]:
    """People whom the runbook would ask, with the values that it gets here, and who are not there."""
    from runbooks.model import ApproveTask, ParallelTask  # noqa: PLC0415 - as above
    from runbooks.nesting import unnested  # noqa: PLC0415 - as above

    steps = list(unnested(shelf.book(use.name, {k: v for k, v in use.values.items() if v is not None}), shelf).steps)
    while steps:
        step = steps.pop(0)
        if isinstance(step.task, ParallelTask):
            steps += [each for branch in step.task.branches for each in branch]
        elif isinstance(step.task, ApproveTask):
            for role in (step.task.role, *step.task.escalate):
                for text in _too_few(role, step.task.people, roles) if role is not None else ():
                    yield use.wrong(f"step '{step.id}' of runbook '{use.name}': {text}")


def _uses(document: Document, shelf: Shelf, roles: Mapping[str, int]) -> Iterator[Mistake]:
    """What is wrong with the runbooks that services use."""
    services = _mapping(document.data).get("services")
    for index, service in enumerate(services if isinstance(services, list) else ()):
        books = _mapping(_mapping(_mapping(service).get("policy")).get("runbooks"))
        first: dict[str, dict[str, str]] = {}
        for use in USES:
            trail: Trail = ("services", index, "policy", "runbooks", use)
            given = books.get(use)
            name = _mapping(given).get("name") if isinstance(given, dict) else given
            if not isinstance(name, str) or not name:
                continue
            values = dict(_written(_mapping(_mapping(given).get("with"))))
            at_name = (*trail, "name") if isinstance(given, dict) else trail
            named = _Use(document, at_name, (*trail, "with"), name, values)
            wrong = tuple(_wrong(named, shelf))
            yield from wrong or _asked(named, shelf, roles)
            if values and first.setdefault(name, values) != values:
                text = f"runbook {quoted(name)} gets other values above; give it the same ones wherever it is used"
                yield document.mistake((*trail, "with"), text)


def _written(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        try:
            yield name, book_value(value)
        except ValueError:
            continue  # told with the shape of the file


@dataclass(frozen=True, slots=True)
class _Use:
    """A runbook that is named somewhere, with values for its parameters."""

    document: Document
    at_name: Trail
    at_values: Trail
    name: str
    values: Mapping[str, Value | None]
    """None: not known yet."""

    def wrong(self, text: str) -> Mistake:
        return self.document.mistake(self.at_name, text)


def _wrong(use: _Use, shelf: Shelf) -> Iterator[Mistake]:
    """What is wrong with one use of a runbook."""
    from runbooks.nesting import unnested  # noqa: PLC0415 - as above
    from runbooks.values import fitting, sample  # noqa: PLC0415 - as above

    name, values = use.name, use.values
    if name not in shelf.names:
        yield use.wrong(f"no runbook is called {quoted(name)}; correct it{did_you_mean(name, shelf.names)}")
        return
    takes = {each.name: each for each in shelf.template(name).parameters}
    examples = {key: sample(takes[key].type) for key, value in values.items() if value is None and key in takes}
    full = {key: value for key, value in values.items() if value is not None} | examples
    sound = True
    for key in values:
        try:
            if key in takes:
                fitting(full[key], takes[key].type)
                continue
            text = f"runbook '{name}' has no such parameter; correct it{did_you_mean(key, takes) or ' (it has none)'}"
        except ValueError as error:
            text = str(error)
        sound = False
        yield use.document.mistake((*use.at_values, key), text, key=key not in takes)
    for missing in (each for each in takes.values() if each.default is None and each.name not in values):
        sound = False
        what = missing.description or f"a value of type {missing.type}"
        yield use.wrong(f"runbook '{name}' needs '{missing.name}' ({what}); give it under with")
    try:
        if sound:
            unnested(shelf.book(name, full), shelf)
    except Mistakes as error:
        first = error.mistakes[0]
        yield use.wrong(f"with these values runbook '{name}' is wrong ({first.path}): {first.text}")
    except BadInput as error:
        yield use.wrong(str(error))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
