"""docs/providers.md, as far as the catalog says it: ``python -m orchestrator.cli.catalog docs/providers.md``.

The page is written by hand but for what stands between ``<!-- catalog: NAME -->`` or ``<!-- verbatim: FILE -->`` and
``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.cli.commands.providers import SPREADS, by_need, lives
from providers.catalog import Entry, Part
from providers.registry import entries

_MADE = re.compile(
    r"(?P<head><!-- (?P<kind>catalog|verbatim): (?P<what>\S+) -->\n).*?(?P<foot><!-- end -->)", re.DOTALL
)
_LANGUAGES = {".py": "python"}


def renewed(page: str, root: Path) -> str:
    """*page* with what the catalog says of our own providers, and the files under *root* that it quotes.

    Raises KeyError for a part that nobody makes, and OSError for a file that is not there.
    """

    def made(found: re.Match[str]) -> str:
        text = _MAKERS[found["what"]](ours()) if found["kind"] == "catalog" else _quoted(root / found["what"])
        return f"{found['head']}\n{text.rstrip()}\n\n{found['foot']}"

    return _MADE.sub(made, page)


def _quoted(file: Path) -> str:
    return f"```{_LANGUAGES.get(file.suffix, file.suffix[1:])}\n{file.read_text(encoding='utf-8').rstrip()}\n```"


def ours() -> tuple[Entry, ...]:
    """The providers of this package, by part."""
    return tuple(each for part in Part for each in entries(part) if each.factory.startswith("providers."))


def _overview(found: tuple[Entry, ...]) -> str:
    return "\n".join(_rows(found))


def _rows(found: tuple[Entry, ...]) -> Iterator[str]:
    for part in Part:
        inside = [each for each in found if each.part is part]
        yield from (f"### {part.value.capitalize()}", "")
        spread = " shares |" if part is Part.STEERING else ""
        yield f"| provider | what it does |{spread} control plane | extra |"
        yield f"|---|---|{'---|' if spread else ''}---|---|"
        for each in inside:
            shares = f" {SPREADS[each.shares]} |" if spread else ""
            planes = "<br>".join(dict.fromkeys(_plane(each)))
            extra = f"`{each.extra}`" if each.extra else ""
            yield f"| [`{each.name}`](#{anchor(_heading(each))}) | {_cell(each.says)} |{shares} {planes} | {extra} |"
        yield ""


def _details(found: tuple[Entry, ...]) -> str:
    return "\n".join(line for name in sorted({each.name for each in found}) for line in _provider(name, found))


def _provider(name: str, found: tuple[Entry, ...]) -> Iterator[str]:
    for entry in (each for each in found if each.name == name):
        yield from (f"### {_heading(entry)}", "", entry.says, "")
        yield from (f"- {each}" for each in _said(entry))
        yield ""
        if entry.options:
            yield from ("| option | |", "|---|---|")
            for option in by_need(entry):
                yield f"| `{option.name}` | {'**required**; ' if option.required else ''}{_cell(option.says)} |"
            yield ""


def _said(entry: Entry) -> Iterator[str]:
    if entry.part is Part.STEERING:
        yield f"Shares: {SPREADS[entry.shares]}."
        words = f"`answer: {{target: ...}}`: {entry.target}" if entry.target else "its addresses, or `{cname: ...}`"
        yield f"An endpoint's answer: {words}."
        fields = [f"`{each}`" for each in entry.needs] + [f"`{each}` if wanted" for each in entry.takes]
        if fields:
            yield f"Fields of `steering`: {', '.join(fields)}."
    elif entry.target:
        yield f"Its `target`: {entry.target}."
    for plane in entry.planes:
        yield f"Control plane{'' if plane.calls == 'all' else f' of {plane.calls}'}: {lives(plane)}."
    if entry.free_options:
        yield "Options of any name."
    yield f"Tested against {entry.proven or 'nothing yet'}."


def _proven(found: tuple[Entry, ...]) -> str:
    """What the tests of each speak to, its parts together where they say the same."""
    said: dict[tuple[str, str], list[str]] = {}
    for each in sorted(found, key=lambda entry: entry.name):
        said.setdefault((each.name, each.proven), []).append(each.part.value)
    rows = (
        f"| `{name}` | {', '.join(parts)} | {_cell(text) or 'nothing yet'} |" for (name, text), parts in said.items()
    )
    return "\n".join(["| provider | part | tested against |", "|---|---|---|", *rows])


def _plane(entry: Entry) -> Iterator[str]:
    for plane in entry.planes:
        calls = "" if plane.calls == "all" else f"{plane.calls}: "
        yield f"{calls}[`{plane.domain}`]({plane.source})" if plane.domain else f"{calls}{_cell(plane.source)}"


def _heading(entry: Entry) -> str:
    return f"{entry.name} ({entry.part})"


def anchor(heading: str) -> str:
    """As Markdown makes it of a heading: small letters, without brackets, spaces as hyphens."""
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_MAKERS: dict[str, Callable[[tuple[Entry, ...]], str]] = {
    "overview": _overview,
    "details": _details,
    "proven": _proven,
}


def main() -> None:
    """Renew the page in the file that is named."""
    file = Path(sys.argv[1])
    file.write_text(renewed(file.read_text(encoding="utf-8"), file.resolve().parents[1]), encoding="utf-8")


if __name__ == "__main__":
    main()
