"""Somebody else's provider, the example in tests/thirdparty: a JSON file on this machine's disk."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from orchestrator.core.topology import Shares, SteeringSpec
from providers.base import Steering
from real.place import EU, US, Trouble

PACKAGE = Path(__file__).parents[1] / "thirdparty"
MODULE = PACKAGE / "failover_json_file.py"


@cache
def module() -> ModuleType:
    """The package's one module."""
    spec = spec_from_file_location(MODULE.stem, MODULE)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    sys.modules[MODULE.stem] = made
    spec.loader.exec_module(made)
    return made


class FilePlace:
    """Shares in a file that nothing stands before: no way that could be troubled."""

    cannot = frozenset(Trouble)

    def __init__(self) -> None:
        self.targets = {EU: "paris", US: "ohio"}
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "chat.json"
        self.spec = self._spec(self._file)
        self._seen: tuple[int, int] | None = None
        self._effects = -1

    def _spec(self, file: Path) -> SteeringSpec:
        options = (("file", str(file)),)
        return SteeringSpec("json-file", "chat.example.", "", 0, "", options=options, shares=Shares.WEIGHTED)

    async def open(self) -> None:
        self._file.write_text(json.dumps({"shares": {"paris": 100}}))

    def close(self) -> None:
        self._folder.cleanup()

    def steering(self) -> Steering:
        made: Steering = module().JsonFile(self.spec)
        return made

    def missing(self) -> Steering:
        made: Steering = module().JsonFile(self._spec(self._file.with_name("no-such.json")))
        return made

    async def now(self) -> dict[str, int]:
        return {target: share for target, share in json.loads(self._file.read_text())["shares"].items() if share}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        self._file.write_text(json.dumps(json.loads(self._file.read_text()) | {"shares": dict(shares)}))

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        raise NotImplementedError(f"{what} cannot happen to a file")

    @property
    def effects(self) -> int:
        """How often the file was found to be another one than when it was last looked at."""
        found = self._file.stat()
        if (now := (found.st_ino, found.st_mtime_ns)) != self._seen:
            self._seen = now
            self._effects += 1
        return self._effects


STEERED = {"third-party": FilePlace}
