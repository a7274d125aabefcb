"""A world to hold in one's hand: started, spoken to and ended from Python; ``python -m`` runs one by hand."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from orchestrator.core.errors import FailoverError
from orchestrator.core.topology import Workload
from orchestrator.local.layout import (
    WORLD_FILE,
    Layout,
    ModelSettings,
    Place,
    Settings,
    WorldFailed,
    read_layout,
)
from providers.base import NotFound
from providers.local.api import WorldApi, part

_START_S = 30.0
_END_S = 5.0


@dataclass
class World:
    """A running local world."""

    layout: Layout
    state: Path
    process: asyncio.subprocess.Process
    api: WorldApi

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls, state: Path, *, regions: int = 3, ttl_s: int = 1, model: ModelSettings | None = None
    ) -> AsyncIterator[World]:
        """Start a world that keeps its files in *state*, and end it with the block.

        It ends with this process too, however that ends. Raises WorldFailed.
        """
        model = model or ModelSettings()
        _make(state)
        command = [
            *(sys.executable, "-m", "orchestrator.local.world", "--end-with-stdin"),
            *("--state", str(state), "--regions", str(regions), "--ttl", str(ttl_s)),
            *(part for name, value in asdict(model).items() for part in (f"--{_flag(name)}", str(value))),
        ]
        with (state / "supervisor.log").open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                start_new_session=True,
            )
        try:
            await _ready(process, state)
            layout = read_layout(state / WORLD_FILE)
            yield cls(layout, state, process, WorldApi(Workload("local", "", options=(("world", layout.control),))))
        finally:
            await _end(process)

    # ------------------------------------------------------------ where things are

    @property
    def control(self) -> str:
        return self.layout.control

    @property
    def topology(self) -> Path:
        """A topology file that is ready to use."""
        return Path(self.layout.topology)

    @property
    def dns(self) -> tuple[str, int]:
        host, _, port = self.layout.dns.rpartition(":")
        return host, int(port)

    def url(self, name: str) -> str:
        """Base URL of the model server of endpoint or region *name*."""
        return self.layout.url(self.place(name))

    def place(self, name: str) -> Place:
        return self.layout.place(name)

    # ------------------------------------------------------------ what can be done to it

    async def inject(self, kind: str, target: str, *, key: str, seconds: float = 60.0) -> dict[str, Any]:
        """Put a fault in for *seconds* at most."""
        deadline = datetime.now(UTC) + timedelta(seconds=seconds)
        body = {"kind": str(kind), "target": target, "deadline": deadline.isoformat()}
        return await self.api.call("PUT", f"/faults/{part(key)}", body)

    async def clear(self, key: str) -> dict[str, Any] | None:
        """Take a fault out; None when it never was there."""
        return await self._maybe("DELETE", f"/faults/{part(key)}")

    async def fault(self, key: str) -> dict[str, Any] | None:
        return await self._maybe("GET", f"/faults/{part(key)}")

    async def scale(self, endpoint: str, replicas: int, *, key: str) -> dict[str, Any]:
        return await self.api.call("PUT", f"/endpoints/{endpoint}/replicas", {"replicas": replicas, "key": key})

    async def drain(self, endpoint: str, *, on: bool, key: str) -> dict[str, Any]:
        return await self.api.call("PUT", f"/endpoints/{endpoint}/drain", {"on": on, "key": key})

    async def pace(self, endpoint: str, **settings: float) -> dict[str, Any]:
        """Change fields of ModelSettings at one endpoint."""
        return await self.api.call("PUT", f"/endpoints/{endpoint}/pace", dict(settings))

    async def endpoint(self, endpoint: str) -> dict[str, Any]:
        """What stands there: desired, ready, in_flight, faults, pid."""
        return await self.api.call("GET", f"/endpoints/{endpoint}")

    async def restart(self, endpoint: str) -> dict[str, Any]:
        """Start a model server that died."""
        return await self.api.call("POST", f"/endpoints/{endpoint}/restart")

    async def events(self, since: int = 0) -> list[dict[str, Any]]:
        """The world's journal after event number *since*: what happened to it, on the wall clock."""
        events: list[dict[str, Any]] = (await self.api.call("GET", f"/events?since={since}"))["events"]
        return events

    async def _maybe(self, method: str, path: str) -> dict[str, Any] | None:
        try:
            return await self.api.call(method, path)
        except NotFound:
            return None


def _make(state: Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorldFailed(
            f"the directory {state} cannot be made ({error.strerror}); choose another with --state"
        ) from error


def _flag(name: str) -> str:
    return {"load_s": "load-time", "first_token_s": "first-token", "token_s": "token-time"}.get(name, name)


async def _ready(process: asyncio.subprocess.Process, state: Path) -> None:
    if process.stdout is None:
        raise WorldFailed("the local world was started without a pipe to hear from it")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START_S)
    except TimeoutError:
        raise WorldFailed(
            f"the local world did not start within {_START_S:.0f} s; see {state}/supervisor.log"
        ) from None
    if line.strip() != b"ready":
        said = (state / "supervisor.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise WorldFailed(said[-1] if said else f"the local world ended while starting; see {state}/supervisor.log")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _END_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# ---------------------------------------------------------------- the process


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.local.world",
        description="A world of regions on this machine: model servers, DNS and faults. Ends with Ctrl-C.",
    )
    parser.add_argument("--state", required=True, help="directory for world.json, failover.yaml, the key and logs")
    parser.add_argument("--regions", type=int, default=3)
    parser.add_argument("--ttl", type=int, default=1, help="time to live of the answer, seconds")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input is closed")
    model = ModelSettings()
    for name, value in asdict(model).items():
        parse = _seconds if isinstance(value, float) else type(value)
        parser.add_argument(f"--{_flag(name)}", dest=name, type=parse, default=value)
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    """``2``, ``2s`` or ``200ms`` in seconds."""
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the supervising process."""
    options = _options(arguments)
    names = asdict(ModelSettings())
    model = ModelSettings(**{name: getattr(options, name) for name in names})
    if not 1 <= options.regions <= 9:
        sys.exit(f"a local world has 1 to 9 regions, not {options.regions}; mend --regions")
    settings = Settings(state=options.state, regions=options.regions, ttl_s=options.ttl, model=model)
    # Imported here: the parent's side of this file needs neither DNS nor HTTP servers.
    from orchestrator.local.supervisor import supervise  # noqa: PLC0415  # see above

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        _make(Path(options.state))
        asyncio.run(supervise(settings, end_with_stdin=options.end_with_stdin))
    except FailoverError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
