"""Help as a person reads it, compared to the letter: what steers a run is reviewed like code.

Help that changed on purpose: delete its file, run the test once (it writes the file and fails), read the new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"
WORDS = ("plan", "run", "approve", "deny", "abort", "hold", "release", "skip", "retry", "switch", "extend")


@pytest.mark.parametrize("word", WORDS)
def test_help_is_what_was_reviewed(failover: Any, word: str) -> None:
    """The help of a command that steers a run is as it was read and agreed upon."""
    failover.env["COLUMNS"] = "100"
    lines = [line.rstrip() for line in failover(word, "--help").out.splitlines()]
    said = "\n".join(lines).strip("\n") + "\n"
    file = GOLDEN / f"{word}.txt"
    if not file.exists():
        file.write_text(said, encoding="utf-8")
        pytest.fail(f"{file.name} was written: read it, and run again")
    assert said == file.read_text(encoding="utf-8")


def test_every_reviewed_help_is_of_a_command() -> None:
    """No file is left behind by a command that has another name now."""
    assert sorted(file.stem for file in GOLDEN.iterdir()) == sorted(WORDS)
