"""The command with everything behind it: 'failover up' on this machine, a real name server, real endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from real.bind import Bind, least
from real.ports import free_port

FILE = """\
apiVersion: failover/v1
kind: Topology
regions: [cloud/eu, cloud/us, a/r1, b/r2, c/r3]
simulates_hosts: true
vantages:
  - {{id: v1, region: a/r1}}
  - {{id: v2, region: b/r2}}
  - {{id: v3, region: c/r3}}
services:
  - id: chat
    name: chat.example
    as_name: false
    probes:
      - {{id: http, kind: http, path: /, interval: 500ms, timeout: 400ms}}
    endpoints:
      - {{id: eu, url: "http://127.0.0.1:{web}", answer: [127.0.0.1], region: cloud/eu, role: active, capacity: 10}}
      - {{id: us, url: "http://127.0.0.2:{web}", answer: [127.0.0.2], region: cloud/us, role: standby, capacity: 10}}
    steering:
      provider: rfc2136
      zone: example
      ttl: 1s
      primary: 127.0.0.1:{dns}
      key: {{name: failover., secret: {{env: CLI_TEST_TSIG}}}}
    policy: {{mode: observe, rto: 2m, capacity: 5}}
"""


class Web(asyncio.Protocol):
    """Answers every request with 200."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def test_a_service_is_watched_adopted_moved_and_brought_home(tmp_path: Path, process: Any) -> None:
    """up, status, doctor, adopt, plan, run, show, failback and history work on one machine, and Ctrl-C ends it all."""
    web, page = free_port(), str(free_port())
    loop = asyncio.get_running_loop()
    path, said = tmp_path / "failover.yaml", tmp_path / "up.log"
    async with contextlib.AsyncExitStack() as stack:
        for address in ("127.0.0.1", "127.0.0.2"):
            stack.callback((await loop.create_server(Web, address, web)).close)
        dns = Bind(records=("chat 1 A 127.0.0.1",), policy=least("chat.example."))
        await stack.enter_async_context(dns)
        path.write_text(FILE.format(web=web, dns=dns.port))
        up = stack.enter_context(_up(path, page, said, dns.secret))
        address = await _address(said, up)

        async def failover(*words: str) -> Any:
            return await asyncio.to_thread(process, *words, TEMPORAL_ADDRESS=address, CLI_TEST_TSIG=dns.secret)

        await _until(failover, _steady)
        ended = await failover("adopt", "chat")
        assert ended.status == 0, ended.err
        ended = await failover("doctor", "--dns")
        assert ended.status == 0, ended.out + ended.err
        ended = await failover("run", "chat", "--to", "us", "--reason", "rehearsal", "--yes")
        assert ended.status == 0, ended.out + ended.err
        assert await dns.ask("chat.example.", "A") == ("127.0.0.2",)
        # The service hears of its run's end a moment after those who follow the run.
        away = [["eu", 0], ["us", 100]]
        await _until(failover, lambda chat: not chat["run"] and chat["routing"]["fence"]["weights"] == away)
        runs = (await failover("history", "--json")).document["runs"]
        shown = await failover("show", runs[0]["run"])
        assert "Switchover of chat: eu -> us   completed" in shown.out
        assert (await failover("run", "chat", "--to", "us", "--reason", "again", "--yes")).status == 3
        ended = await failover("failback", "chat", "--reason", "home", "--yes")
        assert ended.status == 0, ended.out + ended.err
        assert await dns.ask("chat.example.", "A") == ("127.0.0.1",)
        assert (await failover("show", "chat-20260101-000000-abc")).status == 4
        assert (await failover("status", "chatt")).status == 4
        await _kept(process, tmp_path, 2)
        up.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(up.wait, 60) == 0
    assert [run["kind"] for run in await _history(process, tmp_path)] == ["failback", "switchover"]


async def _history(process: Any, folder: Path) -> list[Any]:
    """The runs in the history store."""
    words = ("history", "--history", str(folder / "state" / "history.db"), "--json")
    ended = await asyncio.to_thread(process, *words)
    return list(ended.document["runs"]) if ended.status == 0 else []


async def _kept(process: Any, folder: Path, count: int) -> None:
    """Until the history has so many closed runs: it is told a moment after a run has ended."""
    runs: list[Any] = []
    for _ in range(100):
        runs = await _history(process, folder)
        if sum(run["status"] == "completed" for run in runs) == count:
            return
    raise AssertionError(f"never kept: {runs}")


@contextlib.contextmanager
def _up(path: Path, page: str, said: Path, secret: str) -> Any:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "FAILOVER_"))}
    script = str(Path(sys.executable).parent / "failover")
    command = [script, "up", str(path), "--port", page, "--state", str(path.parent / "state")]
    with said.open("wb") as output:
        up = subprocess.Popen(command, stdout=output, stderr=output, env=kept | {"CLI_TEST_TSIG": secret})
        try:
            yield up
        finally:
            with contextlib.suppress(ProcessLookupError):
                up.terminate()
            up.wait(60)


async def _address(said: Path, up: subprocess.Popen[bytes]) -> str:
    """Where the embedded Temporal is, once everything runs."""
    text = ""
    for _ in range(1200):
        if "Everything runs" in (text := said.read_text()):  # noqa: ASYNC240 - a small local file
            break
        assert up.poll() is None, text
        await asyncio.sleep(0.05)
    assert "Everything runs" in text, text
    return (
        text.partition("TEMPORAL_ADDRESS=")[2].split()[0].rstrip(".")
        if "TEMPORAL_ADDRESS=" in text
        else "127.0.0.1:7233"
    )


def _steady(chat: Any) -> bool:
    """Whether both endpoints are healthy, and every vantage has been heard."""
    return all(one["verdict"] == "healthy" for one in chat["assessments"]) and len(chat["views"]) == 3


async def _until(failover: Any, true: Callable[[Any], bool]) -> None:
    """Until that is *true* of the service's status."""
    seen: Any = None
    for _ in range(100):
        ended = await failover("status", "--json")
        seen = ended.document["services"] if ended.status == 0 else ended
        if ended.status == 0 and true(seen[0]):
            return
    raise AssertionError(f"never came true: {seen}")
