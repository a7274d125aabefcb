"""What a run under way waits for a person for, as lines of the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from orchestrator.cli.render.text import cell
from orchestrator.core.names import RunId
from orchestrator.runtime.waits import waits
from workflows.wire import RunState


def waiting_lines(run: RunId, state: RunState) -> Iterator[Text]:
    """A line for each thing that the run waits for, and below it what a person may type; nothing: it goes on."""
    for each in waits(run, state):
        yield cell(f"{run} waits: {each.text}", "bold yellow")
        for command in each.commands:
            yield cell(f"    {command}")
