"""docs/cli.md, written from the commands themselves: ``python -m orchestrator.cli.reference > docs/cli.md``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from orchestrator.cli.app import assemble
from orchestrator.cli.errors import MEANING
from orchestrator.core.safety import RULES, Yields

_HEAD = """\
# The `failover` command

Written by `python -m orchestrator.cli.reference` from the commands; a test keeps it true. Do not edit it.

## What scripts can rely on

- `--json` prints exactly one JSON document on standard output; logs, questions and errors go to standard error.
- Times are UTC in RFC 3339, durations are seconds in documents and `1m30s` in options, weights are integers
  from 0 to 100.
- An error is one sentence; `--debug` before the command adds where it came from.
- The connection follows Temporal's own environment configuration (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`,
  `TEMPORAL_PROFILE`, TLS and API key); `--address` and `--namespace` before the command win over it.
- `FAILOVER_USER` is the name that records and fences are given; without it, it is the login name and the host.
- `FAILOVER_HISTORY` is the history store where none is named.

| exit status | meaning |
|---|---|
"""


def reference() -> str:
    """The whole reference as Markdown."""
    root = typer.main.get_command(assemble())
    assert isinstance(root, TyperGroup)  # noqa: S101 - the root is a group by construction
    lines = [_HEAD + "\n".join(f"| {int(status)} | {meaning} |" for status, meaning in MEANING.items()), ""]
    lines += ["## Options before the command", "", *_parameters(root, "failover"), ""]
    panel = ""
    for name, command in root.commands.items():
        if (held := str(getattr(command, "rich_help_panel", ""))) != panel:
            panel = held
            lines += [f"## {panel}", ""]
        lines += _command(command, f"failover {name}")
    return "\n".join([*lines, *_rules()]).rstrip("\n") + "\n"


def _rules() -> Iterator[str]:
    """The safety rules by name, and what a person's request does to each."""
    words = {
        Yields.UNASKED: "does not bind people",
        Yields.TO_THE_REQUEST: "is recorded",
        Yields.TO_ITS_NAME: "takes `--override`",
        Yields.NEVER: "must be mended first",
    }
    yield from ["## Safety rules", "", "A refusal names every rule that speaks against a move, all at once.", ""]
    yield from ["| rule | why | before a person, source down | before a person, source serving |", "|---|---|---|---|"]
    for rule in RULES:
        yield f"| `{rule.name}` | {rule.why} | {words[rule.unplanned]} | {words[rule.planned]} |"


def _command(command: Any, path: str) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        yield from ["", _prose(command.help or ""), ""]
        for name, below in command.commands.items():
            yield from _command(below, f"{path} {name}")
        return
    yield from [f"### `{path}`", "", _prose(command.help or ""), ""]
    table = list(_parameters(command, path))
    yield from [*table, ""] if table else []


def _prose(text: str) -> str:
    """Help text as Markdown: Typer's markup becomes code, and an example a block."""
    paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n")]
    told = [re.sub(r"\[(?:bold|cyan)\](.*?)\[/\]", r"`\1`", part) for part in paragraphs]
    return "\n\n".join(re.sub(r"^Example: `(.*)`$", r"```console\n$ \1\n```", part) for part in told)


def _parameters(command: Any, path: str) -> Iterator[str]:
    """The table of arguments and options, or nothing."""
    shown = [each for each in command.params if each.name not in {"help", "install_completion", "show_completion"}]
    if shown:
        yield "| | |"
        yield "|---|---|"
    ctx = typer.Context(command, info_name=path)
    for each in shown:
        yield f"| {_name(each)} | {_told(each, ctx)} |"


def _name(parameter: TyperArgument | TyperOption) -> str:
    if isinstance(parameter, TyperArgument):
        return f"`{parameter.metavar or parameter.name.upper()}`"
    kind = parameter.type_descriptor
    plain = "PATH" if kind.is_path else "N" if kind.is_ranged else "CHOICE" if kind.is_choice else "TEXT"
    value = "" if parameter.is_flag else f" {parameter.metavar or plain}"
    names = ", ".join(f"`{option}{value}`" for option in sorted(parameter.opts, key=len, reverse=True))
    return names + "".join(f", `{option}`" for option in parameter.secondary_opts)


def _told(parameter: TyperArgument | TyperOption, ctx: typer.Context) -> str:
    text = (parameter.help or "").rstrip(".") + "."
    choices = parameter.type_descriptor.choices
    if choices:
        text += " One of " + ", ".join(f"`{getattr(choice, 'value', choice)}`" for choice in choices) + "."
    if parameter.required:
        return text + " Required."
    default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    flag = isinstance(parameter, TyperOption) and parameter.is_flag and not parameter.secondary_opts
    if default is None or flag or parameter.show_default is False:
        return text
    if isinstance(parameter, TyperOption) and parameter.is_flag:
        default = parameter.opts[0] if default else parameter.secondary_opts[0]
    return f"{text} Default: {getattr(default, 'value', default)}."


def main() -> None:
    """Write the reference to standard output."""
    sys.stdout.write(reference())


if __name__ == "__main__":
    main()
