"""The command as a process of its own against a control plane in memory: ``driver.py PACE ENDING -- words``.

``ENDING/2`` lets every run wait for the yes of two people first.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from orchestrator.cli.app import assemble
from orchestrator.cli.desk import Desk
from orchestrator.core.record import RunStatus
from runbooks.plan import Approve, Asked


def main() -> None:
    spec = importlib.util.spec_from_file_location("cli_fake", Path(__file__).parent / "fake.py")
    assert spec is not None
    assert spec.loader is not None
    fake = importlib.util.module_from_spec(spec)
    sys.modules["cli_fake"] = fake
    spec.loader.exec_module(fake)
    pace, ending, _, *words = sys.argv[1:]
    plane = fake.FakeControlPlane("chat", "embed")
    ending, _, people = ending.partition("/")
    plane.pace_s, plane.ending = float(pace), RunStatus(ending)
    if people:
        plane.approval = Approve((Asked("sre", ("bo", "cy")),), int(people), 600.0, "abort")
    assemble()(words, prog_name="failover", obj=Desk(connect=plane.reach))


main()
