"""How the command answers to words it does not understand, and what its help and documentation say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from orchestrator.cli.app import assemble
from orchestrator.cli.reference import reference

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("statsu",), "status"),
        (("run",), "SERVICE"),
        (("run", "chat", "--timeout", "soon"), "'soon' is no duration; write one such as 30s, 1m30s or 500ms"),
        (("drill", "run", "rain"), "region-blackhole"),
        (("serve", "--port", "99999"), "65535"),
        (("worker", "--domain", "here"), "cloud/region"),
        (("worker", "--domain", "AWS/US-East-1"), "cloud/region"),
        (("worker", "--domain", "aws/us-east-1", "--vantage", "U S"), "cannot be a vantage"),
        (("drill", "schedule", "x", "--cron", "0 9 * * 2", "--service", "chat"), "--fault"),
        (("probe", "us\x1b[31m\x07", "--file", "no\x1b]0;x\x07.yaml"), "there is no such file"),
        (("init", "--name", "a.test", "--endpoint", "http://127.0.0.1", "-o", "/dev/null", "--force"), "ordinary file"),
        (("--log-level", "loud", "status"), "loud"),
        (("demo", "--interval", "-1s"), "--interval"),
        (("demo", "--interval", "5ms"), "--interval of 0.005 s: the demo takes 0.1 s to 5 s"),
        (("run", "chat", "--reason", "x", "--yes", "--override", "capacity-shrt"), "did you mean 'capacity-short'?"),
        (("plan", "chat", "--override", "target-down"), "nobody can set rule 'target-down' aside; leave it out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_usage_is_one_sentence(failover: Any, words: tuple[str, ...], said: str) -> None:
    """Bad words on the command line end with 2, one sentence on standard error, and nothing on standard output."""
    ended = failover(*words)
    assert ended.status == 2
    assert ended.out == ""
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert ended.err.strip().isprintable(), "no name steers the terminal"


def commands() -> dict[str, Any]:
    """Every command by its words."""
    root = typer.main.get_command(assemble())
    assert isinstance(root, TyperGroup)
    found: dict[str, Any] = {}
    for name, command in root.commands.items():
        if isinstance(command, TyperGroup):
            found |= {f"{name} {below}": one for below, one in command.commands.items()}
        else:
            found[name] = command
    return found


@pytest.mark.parametrize("words", commands())
def test_help_teaches_with_an_example(failover: Any, words: str) -> None:
    """Each command's help shows an example of exactly that command."""
    ended = failover(*words.split(), "--help")
    assert ended.status == 0
    assert f"Example: failover {words}" in ended.out


def test_every_argument_is_explained() -> None:
    """No argument or option is without help."""
    silent = [f"{words} {each.name}" for words, one in commands().items() for each in one.params if not each.help]
    assert silent == []


def test_the_reference_is_what_the_commands_say() -> None:
    """docs/cli.md is what 'python -m orchestrator.cli.reference' writes."""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference()


def test_the_demo_offers_every_scenario() -> None:
    """The scenarios that 'demo --scenario' takes are those that the local world can play."""
    from orchestrator.cli.commands.processes import Scenario
    from orchestrator.local.demo import SCENARIOS

    assert tuple(Scenario) == SCENARIOS


def test_completion_offers_services_when_it_can(failover: Any, plane: Any) -> None:
    """Names of services are completed from the control plane, and nothing is said when it is away."""
    from orchestrator.cli.desk import Desk
    from orchestrator.cli.options import complete_services

    ctx = typer.Context(typer.main.get_command(assemble()), obj=Desk(connect=plane.reach))
    assert complete_services(ctx, "c") == ["chat"]
    plane.away = True
    assert complete_services(ctx, "c") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(process: Any, shell: str) -> None:
    """The command answers a shell's question for completions."""
    words = {"bash": "failover sta", "zsh": "failover sta", "fish": "failover sta"}[shell]
    ended = process(
        _FAILOVER_COMPLETE=f"complete_{shell}",
        COMP_WORDS=words,
        COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS=words,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert "status" in ended.out
