"""Other people's providers: an installed package joins by its entry point, and a broken one is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from real.thirdparty_places import MODULE, PACKAGE

TOPOLOGY = """\
apiVersion: failover/v1
kind: Topology
regions: [cloud/eu, cloud/us, watch/r1, watch/r2, watch/r3]
vantages:
  - {{id: v1, region: watch/r1}}
  - {{id: v2, region: watch/r2}}
  - {{id: v3, region: watch/r3}}
services:
  - id: chat
    name: chat.example
    endpoints:
      - {{id: eu, url: "https://eu.example", answer: {{target: paris}}, region: cloud/eu, role: active}}
      - {{id: us, url: "https://us.example", answer: {{target: ohio}}, region: cloud/us, role: standby}}
    steering:
      provider: json-file
      options: {options}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the example is installed: the wheel that its own pyproject.toml builds, unpacked."""
    source, folder = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def failover(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process that has what is installed in *site*."""
    command = [str(Path(sys.executable).parent / "failover"), *words]
    environment = os.environ | {"PYTHONPATH": str(site), "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_the_example_is_small() -> None:
    """A provider of one's own fits on a page."""
    lines = MODULE.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line and not line.startswith(("import", "from", '"""'))]) <= 50


def test_an_installed_package_is_listed(site: Path) -> None:
    """'failover providers' tells of it as of our own."""
    done = failover(site, "providers", "json-file", "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)
    assert (entry["part"], entry["shares"], entry["extra"]) == ("steering", "weighted", None)
    assert entry["options"] == [{"name": "file", "required": True, "says": "the file that the gateway reads"}]
    assert "json-file" in failover(site, "providers").stdout


def test_a_topology_may_name_it(site: Path, tmp_path: Path) -> None:
    """Its options and targets are checked, and what is missing is told in the usual words."""
    file = tmp_path / "failover.yaml"
    file.write_text(TOPOLOGY.format(options="{file: /run/chat.json}"), encoding="utf-8")
    done = failover(site, "validate", str(file))
    assert (done.returncode, done.stderr) == (0, f"{file} is valid.\n")
    file.write_text(TOPOLOGY.format(options="{flie: /run/chat.json}"), encoding="utf-8")
    done = failover(site, "validate", str(file))
    assert done.returncode == 2
    assert (
        "means nothing to the steering provider 'json-file'; correct it (did you mean 'file'?)"
        in done.stdout + done.stderr
    )


def test_without_the_package_its_name_is_unknown(tmp_path: Path) -> None:
    """The same topology where nobody has installed it."""
    file = tmp_path / "failover.yaml"
    file.write_text(TOPOLOGY.format(options="{file: /run/chat.json}"), encoding="utf-8")
    done = failover(tmp_path, "validate", str(file))
    assert done.returncode == 2
    assert "no steering provider is called 'json-file'" in done.stdout + done.stderr


STEERS = """
import asyncio, sys
from orchestrator.core.steering import SteeringChange, shares_of
from orchestrator.core.topology import SteeringSpec
from providers import registry
async def main():
    steering = registry.steering(SteeringSpec("json-file", "chat.", "", 0, "", options=(("file", sys.argv[1]),)))
    was = await steering.read()
    to = SteeringChange(0, was.answer, (("eu", 0), ("us", 100)), shares_of((("ohio", 100),)), "run", "steer")
    print((await steering.write(to)).generation)
asyncio.run(main())
"""


def test_the_registry_makes_it(site: Path, tmp_path: Path) -> None:
    """A worker that has it steers by it."""
    file = tmp_path / "chat.json"
    file.write_text('{"shares": {"paris": 100}}', encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-c", STEERS, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert done.stdout == "1\n"
    assert json.loads(file.read_text(encoding="utf-8"))["shares"] == {"ohio": 100}


@pytest.mark.parametrize(
    ("target", "why"),
    [("no_such_module:ENTRIES", "No module named 'no_such_module'"), ("json:nothing", "has no attribute 'nothing'")],
)
def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path, target: str, why: str) -> None:
    """One sentence with the package, the reason and the cure, and status 2; what is ours goes on."""
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[failover.providers]\nbroken = {target}\n", encoding="utf-8")
    done = failover(tmp_path, "providers")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"the provider package 'broken' ({target}) cannot be loaded: " in done.stderr
    assert why in done.stderr
    assert done.stderr.endswith("mend or uninstall it\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    code = (
        "from providers import registry\n"
        "from providers.catalog import Part\n"
        "print(registry.entry(Part.STEERING, 'rfc2136').name)\n"
    )
    ours = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert ours.stdout == "rfc2136\n"
