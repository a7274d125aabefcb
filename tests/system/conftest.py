"""Who is told: a command that appends to a file, and a small server that keeps what webhooks bring."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.topology import Notify, NotifyKind, Secret, SecretSource, Topology

APPEND = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"


@dataclass
class People:
    """Everyone who is told, and what they were told."""

    folder: Path
    port: int = 0
    key: str = "a key of the hooks"
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers (lower case) and body of each webhook."""

    @property
    def told(self) -> list[dict[str, Any]]:
        """What the command was given, in order."""
        path = self.folder / "told"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def among(self, topology: Topology) -> Topology:
        """*topology* with these people to be told."""
        secret = self.folder / "hook.key"
        secret.write_text(self.key)
        return replace(
            topology,
            notify=(
                Notify(NotifyKind.EXEC, command=(sys.executable, "-c", APPEND, str(self.folder / "told"))),
                Notify(
                    NotifyKind.WEBHOOK,
                    url=f"http://127.0.0.1:{self.port}/hook",
                    secret=Secret(SecretSource.FILE, str(secret)),
                ),
            ),
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one POST."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            self.posts.append((headers, await reader.readexactly(int(headers["content-length"]))))
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[People]:
    """People who listen as long as the test runs."""
    folder = tmp_path / "people"
    folder.mkdir()
    found = People(folder)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    async with server:
        found.port = server.sockets[0].getsockname()[1]
        yield found
