"""The ``failover`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console script; ends the process with one of the statuses of ``orchestrator.cli.errors``."""
    try:
        from orchestrator.cli.app import main as run  # noqa: PLC0415 - so that importing a part of the room stays cheap

        run()
    except KeyboardInterrupt:  # before any command ran
        sys.exit(130)
