"""Secrets stay on the workers that use them: no log, no history of Temporal's, no record and no page holds one."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.core.decision import Request
from orchestrator.core.errors import FailoverError
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Header, ProbeKind, Secret, SecretSource, Topology
from orchestrator.runtime.processes import end, spawn
from real.ports import free_port
from real.system import CHAT, PAIR, System, until

HOME = Request(MoveKind.FAILBACK, Trigger("ann@laptop", "the way home"))
TOKEN = "Bearer of-a-probe-3f9c1d"


def _with_token(topology: Topology, path: Path) -> Topology:
    """*topology* whose HTTP probes carry a secret header."""
    path.write_text(TOKEN, encoding="utf-8")
    header = Header("Authorization", Secret(SecretSource.FILE, str(path)))

    def carrying(service: Any) -> Any:
        endpoints = tuple(
            replace(
                endpoint,
                probes=tuple(
                    replace(spec, headers=(*spec.headers, header)) if spec.kind is ProbeKind.HTTP else spec
                    for spec in endpoint.probes
                ),
            )
            for endpoint in service.endpoints
        )
        return replace(service, endpoints=endpoints)

    return replace(topology, services=tuple(carrying(service) for service in topology.services))


def _everything_kept(state: Path, secrets: list[bytes]) -> list[str]:
    """The files under *state* that hold one of *secrets*: logs, Temporal's database, the history, the copies."""
    return [
        str(path.relative_to(state))
        for path in sorted(state.rglob("*"))
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    ]


async def _histories(system: System) -> str:
    """Every history of Temporal's, as anybody may read it there."""
    client = system.plane.client
    texts = []
    async for listed in client.list_workflows():
        handle = client.get_workflow_handle(listed.id, run_id=listed.run_id)
        events = [event async for event in handle.fetch_history_events()]
        texts += [event.SerializeToString().decode("latin-1") for event in events]
    return "\n".join(texts)


async def test_no_secret_leaves_the_worker_that_uses_it(tmp_path: Path, people: Any) -> None:
    """A failover, told and published, and then a wrong key: TSIG key, hook key and a probe's token stand nowhere."""
    token = tmp_path / "token"
    async with System.start(
        tmp_path, vantages=PAIR, change=lambda made: people.among(_with_token(made, token))
    ) as system:
        await system.steady()
        await system.black_hole("paris")
        record = await system.closed(await system.run())
        assert record.status is RunStatus.COMPLETED
        await until(lambda: asyncio.sleep(0, people.posts), bool, "word to the people")
        # The wrong key: refusals and their causes go through logs and histories too.
        right = system.dns.secret
        wrong = "d3JvbmctYnV0LWJhc2U2NC1rZXktMTIzNDU2Nzg5MA=="
        secrets = [text.encode() for text in (right, wrong, people.key, TOKEN)]
        said = []
        for key in (wrong, f"not base64: {wrong}"):
            _put(system, key)
            said.append(repr(await system.plane.plan(CHAT, HOME)))
            with pytest.raises(FailoverError) as refused:
                await system.plane.adopt(CHAT, by="ann")
            said.append(str(refused.value))
        page = await _page(system)
        kept = await _histories(system)
        assert len(kept) > 10_000
        seen = (kept, page, repr(record), *said, *(each for _, each in people.posts))
        for text in seen:
            found = text if isinstance(text, bytes) else text.encode("latin-1", "replace")
            assert not any(secret in found for secret in secrets)
        state = system.running.state
    assert await asyncio.to_thread(_everything_kept, state, secrets) == []


def _put(system: System, key: str) -> None:
    """Replace the TSIG key that the workers read."""
    Path(system.world.layout.key_file).write_text(key, encoding="utf-8")


async def _page(system: System) -> str:
    """The page and the JSON beside it."""
    port = free_port()
    log = system.running.state / "page.log"
    serving = await spawn(
        *(str(Path(sys.executable).with_name("failover")), "--address", system.running.temporal.address),
        *("serve", "--port", str(port), "--history", system.running.history),
        log=log,
        environment={},
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as client:

            async def answer() -> list[str]:
                try:
                    return [(await client.get(path)).text for path in ("/", "/api/services")]
                except httpx.HTTPError as error:
                    raise OSError(str(error)) from error

            return "\n".join(await until(answer, lambda texts: json.dumps(texts) != "[]", "the page"))
    finally:
        await end(serving)
