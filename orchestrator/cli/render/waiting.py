"""What a run under way waits for a person for, and the commands that answer it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from orchestrator.cli.render.text import cell, listed
from orchestrator.core.names import RunId
from workflows.wire import RunState, Waiting


def waits(run: RunId, state: RunState) -> Iterator[Text]:
    """A sentence for each thing that the run waits for, and below it what a person may type; nothing: it waits not."""
    if state.paused:
        yield cell(f"{run} is {state.paused}", "bold yellow")
        yield cell(f"    failover release {run}")
    for each in state.waiting:
        if each.step is None:
            continue
        yield cell(f"{run} waits: {asked(each)}", "bold yellow")
        for command in answers(run, each):
            yield cell(f"    {command}")


def asked(waiting: Waiting) -> str:
    """What is asked of whom, and who has answered."""
    if not waiting.needed:
        return waiting.text
    whom = f"of role {' or '.join(waiting.roles)}" if waiting.roles else "of anybody"
    come = f"; {listed(waiting.approved)} said yes" if waiting.approved else ""
    return f"step {waiting.step} needs {waiting.needed} yes {whom}, {len(waiting.approved)} given{come}"


def answers(run: RunId, waiting: Waiting) -> tuple[str, ...]:
    """The commands that answer it."""
    step = f"{run} --step {waiting.step}"
    if waiting.needed:
        return f"failover approve {step}", f"failover deny {step}"
    return f"failover retry {step}", f"failover skip {step}", f"failover abort {run}"
