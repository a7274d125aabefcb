"""A command line with a control plane in memory, in this process and as a real one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import assemble
from orchestrator.cli.desk import Desk

HERE = Path(__file__).parent


def _load_fake() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cli_fake", HERE / "fake.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cli_fake"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module with the control plane in memory and its values."""
    return sys.modules.get("cli_fake") or _load_fake()


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as exactly one JSON document."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs commands against *plane* in this process."""

    plane: Any
    interactive: bool = False
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, typed: str = "") -> Ended:
        desk = Desk(connect=self.plane.reach, interactive=self.interactive)
        env = {"FAILOVER_USER": "ada", "COLUMNS": "200", "NO_COLOR": "1", **self.env}
        ended = CliRunner(env=env).invoke(assemble(), list(words), obj=desk, input=typed)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return Ended(ended.exit_code, ended.stdout, ended.stderr)


@pytest.fixture
def plane(fake: ModuleType) -> Any:
    """A control plane with two services."""
    return fake.FakeControlPlane("chat", "embed")


@pytest.fixture
def failover(plane: Any) -> Shell:
    """The command, in this process, against *plane*; nobody can be asked."""
    return Shell(plane)


@pytest.fixture
def asked(plane: Any) -> Shell:
    """The command with a person at it who types."""
    return Shell(plane, interactive=True)


Process = Callable[..., Ended]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without a terminal and without settings of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "FAILOVER_"))}
    return kept | {"FAILOVER_USER": "ada", "NO_COLOR": "1", "TEMPORAL_ADDRESS": "127.0.0.1:9"} | more


@pytest.fixture
def process() -> Process:
    """The console script as a process of its own; Temporal is at a port where nobody listens."""

    def run(*words: str, **more: str) -> Ended:
        command = [str(Path(sys.executable).parent / "failover"), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(**more), timeout=60, check=False)
        assert "Traceback" not in done.stdout + done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def topology_file(tmp_path: Path) -> Path:
    """A valid topology file with a service 'chat' at two endpoints that answer on loopback ports nobody has."""
    path = tmp_path / "failover.yaml"
    path.write_text(TOPOLOGY, encoding="utf-8")
    return path


TOPOLOGY = """\
apiVersion: failover/v1
kind: Topology
regions: [cloud/eu, cloud/us, watch/r1, watch/r2, watch/r3]
vantages:
  - {id: v1, region: watch/r1}
  - {id: v2, region: watch/r2}
  - {id: v3, region: watch/r3}
services:
  - id: chat
    name: chat.example
    probes:
      - {id: http, kind: http, path: /, interval: 2s, timeout: 1500ms}
    endpoints:
      - {id: eu, url: "http://127.0.0.1:9", answer: [10.0.0.1], region: cloud/eu, role: active, capacity: 10}
      - {id: us, url: "http://127.0.0.1:9", answer: [10.0.0.2], region: cloud/us, role: standby, capacity: 10}
    steering:
      provider: rfc2136
      zone: example
      ttl: 10s
      primary: 127.0.0.1:9
    policy:
      mode: observe
      rto: 2m
      capacity: 5
"""
