"""Workflow code is pure: what it may import, and what the sandbox does not let it do."""

from __future__ import annotations

import ast
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import workflows
from orchestrator.runtime.sandbox import runner
from real.stage import WORKFLOWS, time_skipping

ROOM = Path(workflows.__file__).parent
ALLOWED = (
    *("temporalio", "orchestrator.core", "runbooks", "workflows.wire"),
    *(f"workflows.{path.stem}" for path in sorted(ROOM.glob("*.py"))),
)
PURE = (
    "__future__",
    "asyncio",
    "base64",
    "collections",
    "contextlib",
    "dataclasses",
    "datetime",
    "enum",
    "math",
    "sys",
    "typing",
    "zlib",
)


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {f"workflows.{alias.name}" for alias in node.names} if module == "workflows" else {module}
    return found


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.py")) + sorted(ROOM.glob("wire/*.py")), ids=lambda path: path.stem)
def test_workflow_modules_import_what_is_pure(path: Path) -> None:
    """A workflow module imports core, runbooks and wire, and no library that could ask the world something."""
    for module in imported(path):
        pure = module.split(".", 1)[0] in PURE
        assert pure or any(module == name or module.startswith(name + ".") for name in ALLOWED), module


def test_every_workflow_is_played_on_the_stage() -> None:
    """Each workflow of the product is among those that these tests run."""
    defined = {
        node.name
        for path in ROOM.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and any("workflow.defn" in ast.unparse(d) for d in node.decorator_list)
    }
    assert defined == {played.__name__ for played in WORKFLOWS}


@workflow.defn(name="reads-the-clock", failure_exception_types=[Exception])
class ReadsTheClock:
    @workflow.run
    async def run(self) -> str:
        return f"{time.time()} {datetime.now()}"  # noqa: DTZ005 - the forbidden thing itself


@workflow.defn(name="draws-lots", failure_exception_types=[Exception])
class DrawsLots:
    @workflow.run
    async def run(self) -> float:
        return random.random()


@workflow.defn(name="makes-names", failure_exception_types=[Exception])
class MakesNames:
    @workflow.run
    async def run(self) -> str:
        return str(uuid.uuid4())


@workflow.defn(name="reads-files", failure_exception_types=[Exception])
class ReadsFiles:
    @workflow.run
    async def run(self) -> str:
        return open(__file__).read()  # noqa: ASYNC230 - the forbidden thing itself


FORBIDDEN: tuple[type, ...] = (ReadsTheClock, DrawsLots, MakesNames, ReadsFiles)


@pytest.fixture
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with time_skipping() as env:
        yield env


async def test_the_sandbox_raises_for_what_replays_otherwise(server: WorkflowEnvironment) -> None:
    """A workflow that reads the clock, draws a random number or opens a file is stopped by the sandbox."""
    async with Worker(server.client, task_queue="q", workflows=FORBIDDEN, workflow_runner=runner()):
        for forbidden in FORBIDDEN:
            name: Callable[..., object] = forbidden.run  # type: ignore[attr-defined] # each has one
            with pytest.raises(WorkflowFailureError) as caught:
                await server.client.execute_workflow(name, id=forbidden.__name__, task_queue="q")
            assert "restricted" in str(caught.value.cause).lower() or "Cannot access" in str(caught.value.cause)
