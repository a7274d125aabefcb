"""Logs that cannot be written harm nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import logging, structlog
from orchestrator.runtime.logging import set_up
set_up("info")
for number in range(2000):
    structlog.get_logger().info("step.done", number=number)
    logging.getLogger("library").warning("said %s", number)
print("carried on")
"""


@pytest.mark.parametrize("stream", ["/dev/full", "a pipe nobody reads"])
def test_a_full_disk_under_the_log_stops_nobody(stream: str) -> None:
    """A worker whose standard error cannot be written goes on working: a step never fails for its log."""
    if stream == "/dev/full":
        out = os.open(stream, os.O_WRONLY)
    else:
        inside, out = os.pipe()
        os.close(inside)
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            check=False,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=out,
            timeout=60,
        )
    finally:
        os.close(out)
    assert done.stdout == b"carried on\n"
    assert done.returncode == 0
