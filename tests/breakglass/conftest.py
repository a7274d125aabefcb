"""A world to break the glass in: model servers, BIND, and nothing of Temporal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import assemble
from orchestrator.cli.desk import Desk
from real.glass import Ended, Site, opened


async def nobody(address: str | None, namespace: str | None) -> NoReturn:
    """There is no Temporal, and nobody may ask for it."""
    raise AssertionError("break-glass asked for Temporal")


@dataclass
class Shell:
    """The command, in this process and in a folder of its own."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    connect: Any = nobody

    async def __call__(self, *words: str, typed: str | None = None, **env: str) -> Ended:
        """Run it; *typed* is what a person answers, None: nobody is there."""
        desk = Desk(connect=self.connect, interactive=typed is not None)
        runner = CliRunner(env={"FAILOVER_USER": "ada", "COLUMNS": "200", "NO_COLOR": "1", **self.env, **env})
        ended = await asyncio.to_thread(runner.invoke, assemble(), list(words), obj=desk, input=typed or "")
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return Ended(ended.exit_code, ended.stdout, ended.stderr)


@pytest.fixture
def failover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in [name for name in os.environ if name.startswith(("TEMPORAL_", "FAILOVER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A laptop's view of the local world, with BIND, and no Temporal anywhere."""
    async with opened(tmp_path) as found:
        yield found
