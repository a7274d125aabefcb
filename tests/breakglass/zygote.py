"""Runs the command in children that are forked ready-made, and kills them with SIGKILL at a chosen point.

A line on standard input: ``{"words": [...], "line": 4, "how": "before"}``; a line on standard output: how it ended.
``before`` and ``after`` are the writing of that line of the journal; ``torn`` leaves half of it; ``seconds`` kills at
that age, wherever it is.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

import orchestrator.cli.attending
import orchestrator.config
import orchestrator.runtime.control  # noqa: F401  imported here, so that no child has to
from orchestrator.cli.app import assemble
from orchestrator.runtime.breakglass.journal import Journal


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(line: int, how: str) -> None:
    append, count = Journal._append, 0

    def counted(self: Journal, what: Any) -> None:
        nonlocal count
        count += 1
        if count == line and how == "before":
            _die()
        if count == line and how == "torn":
            os.write(self._descriptor, b'0123456789abcdef {"at":"2026')
            _die()
        append(self, what)
        if count == line:
            _die()

    setattr(Journal, "_append", counted)  # noqa: B010  this process is about to be killed


def _child(order: dict[str, Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    os.dup2(1, 2)
    if "line" in order:
        _arm(order["line"], order["how"])
    if "seconds" in order:
        signal.signal(signal.SIGALRM, _die)
        signal.setitimer(signal.ITIMER_REAL, order["seconds"])
    status = 1
    try:
        assemble()(order["words"], prog_name="failover")
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    for text in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _child(json.loads(text))
        _, how = os.waitpid(pid, 0)
        out.write(json.dumps(os.waitstatus_to_exitcode(how)) + "\n")
        out.flush()


main()
