"""What a run under way waits for a person for, in words, with the commands that answer it.

The command line and the page say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.names import RunId
from workflows.wire import RunState, Waiting


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that a run waits for."""

    text: str
    """A phrase for a person."""
    commands: tuple[str, ...]
    """What answers it, the usual answer first."""


def waits(run: RunId, state: RunState) -> tuple[Wait, ...]:
    """All that *run* waits for a person for; empty: it goes on by itself."""
    held = (Wait(state.paused, (f"failover release {run}",)),) if state.paused else ()
    # A Waiting without a step is the pause itself.
    return (*held, *(Wait(_asked(each), _answers(run, each)) for each in state.waiting if each.step is not None))


def _asked(waiting: Waiting) -> str:
    """What is asked of whom, and who has answered."""
    if not waiting.needed:
        return waiting.text
    whom = f"of role {' or '.join(waiting.roles)}" if waiting.roles else "of anybody"
    said = f" ({', '.join(waiting.approved)})" if waiting.approved else ""
    return f"step {waiting.step} needs {waiting.needed} yes {whom}, {len(waiting.approved)} given{said}"


def _answers(run: RunId, waiting: Waiting) -> tuple[str, ...]:
    step = f"{run} --step {waiting.step}"
    if waiting.needed:
        return f"failover approve {step}", f"failover deny {step}"
    return f"failover retry {step}", f"failover skip {step}", f"failover abort {run}"
