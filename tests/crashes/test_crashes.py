"""The crash matrix: whoever dies in whichever step, a run ends completed or unwound, and every effect is there once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from crashes.cases import SHORT, STORIES, Crash, every
from crashes.conftest import Theatre

Open = Callable[[], AbstractAsyncContextManager[Theatre]]
CHOSEN = os.environ.get("CRASH_MATRIX", "")


async def test_a_crash_in_any_step_is_made_up_for(theatre: Open, capsys: pytest.CaptureFixture[str]) -> None:
    """A few of the matrix's cases: workers die before, during and after an effect, all of them, and Temporal."""
    await _play(theatre, SHORT, capsys)


if CHOSEN:  # make crash-matrix: many minutes

    @pytest.mark.timeout(3600)
    async def test_the_whole_matrix(theatre: Open, capsys: pytest.CaptureFixture[str]) -> None:
        """Every kind of step, every moment, everybody who may die."""
        cases = tuple(case for case in every() if CHOSEN == "all" or case.story in CHOSEN.split(","))
        assert cases, f"no story is called {CHOSEN}; there are: {', '.join(STORIES)}"
        await _play(theatre, cases, capsys)


async def _play(theatre: Open, cases: tuple[Crash, ...], capsys: pytest.CaptureFixture[str]) -> None:
    async with theatre() as stage:
        for case in cases:
            began = time.monotonic()
            record = await stage.play(case)
            with capsys.disabled():
                sys.stdout.write(f"\ncrash matrix: {case}: {record.status} in {time.monotonic() - began:.1f} s")
        with capsys.disabled():
            sys.stdout.write(f"\ncrash matrix: {stage.played} cases ran, each effect exactly once\n")
