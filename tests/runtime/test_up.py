"""What ``up`` does where what it starts does not live."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.core.names import Domain, VantageId
from orchestrator.core.topology import Topology, Vantage
from orchestrator.runtime import up as module
from orchestrator.runtime.connection import ControlPlaneAway
from orchestrator.runtime.processes import spawn


async def test_workers_that_never_live_end_it_with_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker ends at once, again and again: it gives up, and says where the log is."""

    async def broken(*_: str, log: Path, environment: dict[str, str]) -> object:
        return await spawn("false", log=log, environment=environment)

    monkeypatch.setattr(module, "spawn", broken)
    monkeypatch.setattr(module, "RESTART_S", 0.2)
    east = Domain("watch/east")
    wanted = Topology(regions=(east,), vantages=(Vantage(VantageId("v1"), east),), services=())
    with pytest.raises(ControlPlaneAway, match=r"no worker stays alive; the end of .*worker-v1\.log says why"):
        async with module.up(wanted, tmp_path, keep_database=False):
            pass
