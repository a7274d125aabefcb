"""Providers: what can steer, scale, drain and break, what each can express, and where its control plane lives."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.desk import Desk, desk_of
from orchestrator.cli.options import Json
from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Shares

if TYPE_CHECKING:
    from providers.catalog import Entry, Option, Plane

SPREADS: dict[Shares, str] = {
    Shares.ONE: "one endpoint at a time",
    Shares.EQUAL: "a set of endpoints, evenly",
    Shares.WEIGHTED: "any shares, in percent",
}
"""What a steering can express, in words."""


def complete_providers(incomplete: str) -> list[str]:
    """Names of providers; nothing where a package of somebody else's cannot be loaded."""
    try:
        return [name for name in dict.fromkeys(each.name for each in _entries()) if name.startswith(incomplete)]
    except BadInput:
        return []


Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="A provider's name: show its options.",
        autocompletion=complete_providers,
        show_default=False,
    ),
]


def providers(ctx: typer.Context, name: Name = None, *, as_json: Json = False) -> None:
    """List the providers: what each does, how it can spread traffic, and where its control plane lives.

    A control plane that stands where an endpoint does is lost with it. In a domain, [bold]{region}[/] is the value of
    that option. Packages of other people join by entry points (docs/providers.md).

    Example: [cyan]failover providers rfc2136[/]
    """
    desk, found = desk_of(ctx), _entries()
    if name is not None:
        found = tuple(each for each in found if each.name == name) or _nobody(name, found)
    if as_json:
        desk.write([described(each) for each in found])
        return
    show = _list if name is None else _details
    show(desk, found)


def described(entry: Entry) -> dict[str, Any]:
    """One provider in one part, as ``--json`` says it."""
    steers = entry.part.value == "steering"
    return {
        "name": entry.name,
        "part": entry.part,
        "does": entry.says,
        "shares": entry.shares if steers else None,
        "target": entry.target or None,
        "needs": entry.needs,
        "takes": entry.takes,
        "options": [{"name": each.name, "required": each.required, "says": each.says} for each in by_need(entry)],
        "any_option": entry.free_options,
        "control_planes": [
            {"calls": each.calls, "domain": each.domain or None, "source": each.source} for each in entry.planes
        ],
        "extra": entry.extra or None,
        "tested_against": entry.proven or None,
    }


def by_need(entry: Entry) -> tuple[Option, ...]:
    """The options of *entry*, required ones first, else as they stand there."""
    return tuple(sorted(entry.options, key=lambda option: not option.required))


def lives(plane: Plane) -> str:
    """Where a control plane lives, and who says so: ``aws/us-east-1 (https://...)``, or a phrase."""
    if not plane.domain:
        return plane.source or "wherever you run it"
    return f"{plane.domain} ({plane.source})" if plane.source else plane.domain


def _entries() -> tuple[Entry, ...]:
    from providers.catalog import Part  # noqa: PLC0415 - start-up time
    from providers.registry import entries  # noqa: PLC0415 - the same

    return tuple(each for part in Part for each in entries(part))


def _nobody(name: str, found: tuple[Entry, ...]) -> tuple[Entry, ...]:
    from orchestrator.config.mistakes import did_you_mean, shown  # noqa: PLC0415 - start-up time

    close = did_you_mean(name, {each.name for each in found})
    raise BadInput(f"no provider is called '{shown(name)}'{close}; 'failover providers' lists them")


# ------------------------------------------------------------------ what is shown


def _list(desk: Desk, found: tuple[Entry, ...]) -> None:
    """Every provider, by part."""
    for part in dict.fromkeys(each.part for each in found):
        inside = [each for each in found if each.part is part]
        longest = max(len(each.name) for each in inside)
        _line(desk, "", part.value.upper(), "bold")
        for each in inside:
            _line(desk, f"  {each.name:{longest}}  ", each.says)
            for heading, text in _facts(each):
                _line(desk, " " * (longest + 4), f"{heading}: {text}", "dim")


def _details(desk: Desk, found: tuple[Entry, ...]) -> None:
    """One provider, in each of its parts, with its options."""
    for entry in found:
        _line(desk, "", f"{entry.name}, {entry.part.value}", "bold")
        about = [("does", entry.says), *_facts(entry), *_wanted(entry)]
        about += [
            (f"option {each.name}", f"required; {each.says}" if each.required else each.says) for each in by_need(entry)
        ]
        longest = max(len(heading) for heading, _ in about)
        for heading, text in about:
            _line(desk, f"  {heading:{longest}}  ", text)


def _line(desk: Desk, head: str, text: str, style: str = "") -> None:
    """*head*, and *text* beside it: folded between words, since an address must stay whole to be copied."""
    from rich.text import Text  # noqa: PLC0415 - start-up time

    from orchestrator.cli.render.text import clean  # noqa: PLC0415 - the same

    width = max(40, desk.out.width - len(head))
    folded = textwrap.wrap(clean(text), width, break_long_words=False, break_on_hyphens=False)
    for index, part in enumerate(folded or [""]):
        before = clean(head) if index == 0 else " " * len(head)
        desk.out.print(Text.assemble((before, "cyan"), (part, style)), soft_wrap=True)


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    """What decides between providers: the spread, and what has to be alive."""
    if entry.part.value == "steering":
        yield "shares", SPREADS[entry.shares]
    for plane in entry.planes:
        yield "control plane" + ("" if plane.calls == "all" else f" of {plane.calls}"), lives(plane)


def _wanted(entry: Entry) -> Iterator[tuple[str, str]]:
    """What a person has to write, install and know."""
    if entry.part.value != "steering":
        yield from (("target", entry.target),) if entry.target else ()
    elif entry.target:
        yield "answer", f"{{target: ...}}: {entry.target}"
    else:
        yield "answer", "an endpoint's addresses, or {cname: ...}"
    if entry.needs:
        yield "steering needs", ", ".join(entry.needs)
    if entry.takes:
        yield "steering may have", ", ".join(entry.takes)
    yield "to install", f"pip install 'failover-orchestrator[{entry.extra}]'" if entry.extra else "nothing more"
    if entry.proven:
        yield "tested against", entry.proven
    if entry.free_options:
        yield "options", "of any name"
