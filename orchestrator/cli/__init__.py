"""The ``failover`` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of the console script; ends the process with one of the statuses of ``orchestrator.cli.errors``."""
    _open_streams()
    try:
        from orchestrator.cli.app import main as run  # noqa: PLC0415 - so that importing a part of the room stays cheap

        run()
    except KeyboardInterrupt:  # before any command ran
        sys.exit(130)


def _open_streams() -> None:
    """Give a command that was started with closed streams (``>&-``) streams that lead nowhere.

    Else the first file or socket that is opened becomes standard output, and text is written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
