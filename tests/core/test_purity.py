"""The core is pure: standard library and itself, no clock, no randomness, no IO."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import orchestrator.core

MODULES = sorted(Path(orchestrator.core.__file__).parent.glob("**/*.py"))
# fmt: off
IMPURE = frozenset({
    "asyncio", "ctypes", "glob", "http", "importlib", "io", "locale", "logging", "multiprocessing", "os",
    "pathlib", "platform", "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3", "ssl",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "warnings",
})
# fmt: on
CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__", "breakpoint", "globals", "hash", "id"})
CLOCKS = frozenset({"now", "utcnow", "today", "fromtimestamp", "astimezone"})


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_core_module_imports_only_the_standard_library_and_core(path: Path) -> None:
    """The rules can be read, tested and trusted without anything installed."""
    for name in imported(ast.parse(path.read_text())):
        top = name.split(".")[0]
        assert name.startswith("orchestrator.core") or top in sys.stdlib_module_names, name
        assert top not in IMPURE, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_core_module_reads_no_clock_and_touches_no_world(path: Path) -> None:
    """Time is an argument, and so is everything else a rule looks at."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                assert function.id not in CALLS, f"{path.name}:{node.lineno} calls {function.id}"
            elif isinstance(function, ast.Attribute):
                assert function.attr not in CLOCKS, f"{path.name}:{node.lineno} calls {function.attr}"
        assert not isinstance(node, ast.Global | ast.Await | ast.AsyncFunctionDef), f"{path.name}:{node.lineno}"


def test_there_is_a_core_to_look_at() -> None:
    """The check above looks at real files."""
    assert {"decision", "health", "quorum", "safety", "steering"} <= {path.stem for path in MODULES}
