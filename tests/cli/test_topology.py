"""Describing what exists: init, validate, schema, apply, probe, doctor."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from real.bind import Bind


def test_a_valid_file_is_called_valid(failover: Any, topology_file: Path) -> None:
    """Warnings are shown and end with 0; the document lists them."""
    ended = failover("validate", str(topology_file))
    assert ended.status == 0
    assert "is valid" in ended.err
    assert "warning: " in ended.out
    document = failover("validate", str(topology_file), "--json").document
    assert document["valid"] is True
    assert document["mistakes"] == []
    assert {finding["severity"] for finding in document["findings"]} == {"warning"}


def test_every_mistake_is_told_at_once(failover: Any, topology_file: Path) -> None:
    """Two mistakes in one file are two lines with line and column, and the exit status is 2."""
    text = topology_file.read_text().replace("region: cloud/us", "region: cloud/uz").replace("ttl: 10s", "ttl: soon")
    topology_file.write_text(text)
    ended = failover("validate", str(topology_file))
    assert ended.status == 2
    lines = ended.out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"error: {topology_file}:") for line in lines)
    assert "cloud/us" in ended.out
    document = failover("validate", str(topology_file), "--json").document
    assert [mistake["line"] > 0 for mistake in document["mistakes"]] == [True, True]


def test_an_objective_that_cannot_be_met_is_an_error(failover: Any, plane: Any, topology_file: Path) -> None:
    """A file whose TTL and detection exceed the objective is refused by validate and by apply."""
    topology_file.write_text(topology_file.read_text().replace("rto: 2m", "rto: 5s"))
    assert failover("validate", str(topology_file)).status == 2
    before = plane.revision
    ended = failover("apply", str(topology_file), "--yes")
    assert ended.status == 2
    assert "above the objective" in ended.err
    assert plane.revision == before


@pytest.mark.parametrize("command", ["validate", "apply", "up"])
def test_a_file_that_is_none(process: Any, tmp_path: Path, command: str) -> None:
    """A missing file and a directory are one sentence each, naming the path, with exit status 2."""
    for path in (tmp_path / "missing.yaml", tmp_path):
        ended = process(command, str(path))
        assert ended.status == 2
        assert str(path) in ended.out + ended.err
        assert "internal error" not in ended.err


def test_the_schema_is_a_json_schema(process: Any) -> None:
    """'schema' prints a JSON Schema on standard output and nothing else."""
    document = process("schema").document
    assert document["$schema"].startswith("https://json-schema.org/")


def test_apply_shows_the_difference_and_asks(fake: Any, failover: Any, asked: Any, topology_file: Path) -> None:
    """Nothing is applied without a yes; a second apply of the same file changes nothing."""
    failover.plane = asked.plane = plane = fake.FakeControlPlane()
    path = str(topology_file)
    assert failover("apply", path).status == 2
    assert asked("apply", path, typed="n\n").status == 130
    assert plane.current is None
    ended = failover("apply", path, "--dry-run")
    assert ended.status == 0
    assert "services[chat]" in ended.out
    assert plane.current is None
    assert asked("apply", path, typed="y\n").status == 0
    assert plane.current.services[0].id == "chat"
    assert plane.calls == ["apply by ada"]
    ended = failover("apply", path)
    assert ended.status == 0
    assert "Nothing was changed" in ended.err
    topology_file.write_text(topology_file.read_text().replace("mode: observe", "mode: manual"))
    document = failover("apply", path, "--yes", "--json").document
    assert (document["applied"], document["revision"]) == (True, 2)
    assert [(c["path"], c["before"], c["after"]) for c in document["changes"]] == [
        ("services[chat].policy.mode", "observe", "manual")
    ]


def test_an_apply_that_was_overtaken_is_refused(fake: Any, topology_file: Path, asked: Any) -> None:
    """When somebody else applies between the difference and the yes, the exit status is 3 and theirs stands."""
    asked.plane = plane = fake.FakeControlPlane("embed")
    overtaken = plane.apply

    async def apply(topology: Any, *, expects: int, by: str, reason: str) -> Any:
        await overtaken(fake.make_topology("other"), expects=expects, by="bob")
        return await overtaken(topology, expects=expects, by=by, reason=reason)

    plane.apply = apply
    ended = asked("apply", str(topology_file), typed="y\n")
    assert ended.status == 3
    assert plane.current.services[0].id == "other"


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Silence."""


@contextmanager
def http_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_probing_one_endpoint_now(process: Any, topology_file: Path) -> None:
    """'probe' asks every question once without Temporal: 0 when all pass, 1 when one does not."""
    with http_server() as port:
        topology_file.write_text(topology_file.read_text().replace("127.0.0.1:9", f"127.0.0.1:{port}", 1))
        ended = process("probe", "eu", "--file", str(topology_file), "--json")
        assert ended.status == 0
        assert ended.document["passed"] is True
        assert {probe["outcome"]["kind"] for probe in ended.document["probes"]} == {"passed"}
    ended = process("probe", "us", "--file", str(topology_file))
    assert ended.status == 1
    assert "refused" in ended.out


def test_probing_an_endpoint_that_is_not_there(failover: Any, topology_file: Path) -> None:
    """An unknown endpoint is bad input with the nearest name, an unknown service ends with 4."""
    ended = failover("probe", "uss", "--file", str(topology_file))
    assert ended.status == 2
    assert "did you mean 'us'?" in ended.err
    assert failover("probe", "us", "--service", "chatt", "--file", str(topology_file)).status == 4


def test_init_writes_a_file_once(process: Any, tmp_path: Path) -> None:
    """'init' refuses to overwrite, and wrong words are refused before anything is asked or written."""
    path = tmp_path / "failover.yaml"
    words = ("init", "--name", "chat.example", "--output", str(path), "--resolver")
    assert process(*words, "here", "--endpoint", "http://127.0.0.1:9").status == 2
    assert process(*words, "127.0.0.1:9", "--endpoint", "eu.example").status == 2
    assert not path.exists()
    path.write_text("mine")
    ended = process(*words, "127.0.0.1:9", "--endpoint", "http://127.0.0.1:9")
    assert ended.status == 2
    assert "--force" in ended.err
    assert path.read_text() == "mine"


async def test_init_reads_what_is_there(process: Any, tmp_path: Path) -> None:
    """'init' writes a file from live DNS that 'validate' accepts, in mode observe."""
    path = tmp_path / "failover.yaml"
    async with Bind(records=("chat 5 A 127.0.0.1",)) as server:
        words = ("--name", "chat.example", "--endpoint", "http://127.0.0.1:9", "--endpoint", "http://127.0.0.2:9")
        resolver = ("--resolver", f"127.0.0.1:{server.port}")
        ended = await asyncio.to_thread(process, "init", *words, *resolver, "--output", str(path))
    assert ended.status == 0, ended.err
    assert "mode: observe" in path.read_text()
    assert os.listdir(tmp_path) == ["failover.yaml"]
    ended = await asyncio.to_thread(process, "validate", str(path))
    assert ended.status == 0, ended.out


def test_doctor_finds_a_silent_vantage(failover: Any, plane: Any) -> None:
    """All well is 0; a vantage that is not heard, or a held service, is 1 with the cure."""
    ended = failover("doctor")
    assert ended.status == 0, ended.out
    document = failover("doctor", "--json").document
    assert document["passed"] is True
    status = asyncio.run(plane.status("chat"))

    async def statuses() -> Any:
        return (replace(status, views=status.views[:2]),)

    plane.statuses = statuses
    ended = failover("doctor")
    assert ended.status == 1
    assert "failover worker --vantage v3" in ended.out


def test_doctor_tries_name_servers_without_temporal(process: Any, topology_file: Path) -> None:
    """'doctor --dns --file' needs no control plane, and names the server that is away."""
    ended = process("doctor", "--dns", "--file", str(topology_file), "--json")
    assert ended.status == 1
    failed = [check for check in ended.document["checks"] if check["ok"] is False]
    assert any("127.0.0.1:9" in check["text"] for check in failed)


def test_doctor_says_that_the_control_plane_is_away(process: Any) -> None:
    """Without Temporal, doctor says so in its document and ends with 5."""
    ended = process("doctor", "--json")
    assert ended.status == 5
    assert json.loads(ended.out)["passed"] is False


def test_an_apply_warns_where_traffic_would_be_left_behind(plane: Any, failover: Any, topology_file: Path) -> None:
    """The file has no endpoint ap, and all traffic of chat goes there: apply says so, and how to move it before."""
    plane.entities["chat"].active = "ap"
    ended = failover("apply", str(topology_file), "--dry-run")
    assert ended.status == 0, ended.err
    assert "warning: 100 % of the traffic of chat goes to ap, which would be gone" in ended.err
    plane.entities["chat"].active = "us"
    warnings = failover("apply", str(topology_file), "--dry-run", "--json").document["warnings"]
    assert [each.split(";")[-1] for each in warnings] == [" to move it before: failover run embed"]
