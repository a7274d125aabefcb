"""The house: a file imports only from its own floor or lower, and files form no circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "providers", "workflows", "runbooks")
FLOORS = {
    "orchestrator.core": 0,
    "orchestrator.config": 1,
    "orchestrator.history": 1,
    "providers": 1,
    "runbooks": 1,
    "workflows.wire": 1,
    "workflows.options": 1,
    "orchestrator.prober": 2,
    "workflows.activities": 2,
    "workflows": 3,
    "orchestrator.runtime": 4,
    "orchestrator.local": 4,
    "orchestrator.cli": 5,
    "orchestrator.status": 5,
}
SDKS = {
    "boto3": "providers.aws",
    "botocore": "providers.aws",
    "google": "providers.gcp",
    "grpc": "providers.gcp",
    "proto": "providers.gcp",
    "azure": "providers.azure",
    "kubernetes": "providers.onprem",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int | None:
    fits = [prefix for prefix in FLOORS if module == prefix or module.startswith(prefix + ".")]
    return FLOORS[max(fits, key=len)] if fits else None


def imported_by(path: Path, modules: set[str]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {member if member in modules else node.module for member in members}
    return found


SOURCES = {name_of(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
GRAPH = {name: imported_by(path, set(SOURCES)) for name, path in SOURCES.items()}


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_only_downwards(module: str) -> None:
    """A module imports nothing from a floor above its own, and no cloud SDK outside the SDK's own room."""
    mine = floor_of(module)
    for imported in GRAPH[module]:
        theirs = floor_of(imported) if imported in SOURCES else None
        assert mine is None or theirs is None or theirs <= mine, f"{module} (floor {mine}) imports {imported}"
        home = SDKS.get(imported.split(".")[0])
        assert home is None or module.startswith(home), f"{module} imports {imported}, which lives in {home}"
        if imported.startswith("orchestrator.local"):
            assert module.startswith(("orchestrator.local", "orchestrator.cli")), f"{module} imports the local world"


def test_no_circles() -> None:
    """No two modules import each other, however long the way round."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for imported in sorted(GRAPH.get(name, set()) & set(SOURCES)):
            if imported != name:
                visit(imported, (*trail, name))
        done.add(name)

    for module in sorted(GRAPH):
        visit(module, ())


def test_files_stay_small() -> None:
    """No source file becomes a hub: 450 lines at the most."""
    long = {name: n for name, path in SOURCES.items() if (n := path.read_text(encoding="utf-8").count("\n")) > 450}
    assert not long
